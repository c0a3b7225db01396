# Fuzzing, included by the Makefile: docs/fuzzing.md.

FUZZ_TARGETS := request fastpath location template percent position config negotiate store table wsframe wsdeflate wshandshake
# For each target. A long run is `make fuzz FUZZ_SECONDS=1800`.
FUZZ_SECONDS ?= 60
FUZZ_CC ?= clang-14
FUZZ_SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer

.PHONY: fuzz fuzz-programs fuzz-corpus fuzz-merge fuzz-compiler

# The store's target has the memory store in itself, to look at its books.
FUZZ_LIBRARY := $(filter-out relay/main.c,$(SOURCES))
fuzz_objects = $(patsubst %.c,$(1)/%.o,$(filter-out $(if $(filter store,$(2)),store/memory.c),$(FUZZ_LIBRARY)) \
    tests/fuzz/fuzz_$(2).c)

# ---- the corpora as a test: gcc, every input once ------------------------------------

FUZZ_LIBS_wsframe := -lwslay

define fuzz_rules
build/asan/fuzz/$(1): $(call fuzz_objects,build/asan/obj,$(1)) build/asan/obj/tests/fuzz/main.o
	@mkdir -p $$(@D)
	$$(CC) $$(SANITIZE) $$(LINK) -o $$@ $$^ $$(LINK_LIBS) $(FUZZ_LIBS_$(1))

build/fuzz/$(1): $(call fuzz_objects,build/fuzz/obj,$(1))
	@mkdir -p $$(@D)
	$$(FUZZ_CC) -fsanitize=fuzzer $$(FUZZ_SANITIZE) $$(LINK) -o $$@ $$^ $$(LINK_LIBS) $(FUZZ_LIBS_$(1))
endef
$(foreach t,$(FUZZ_TARGETS),$(eval $(call fuzz_rules,$(t))))

fuzz-corpus: $(FUZZ_TARGETS:%=build/asan/fuzz/%)
	@set -e; for t in $(FUZZ_TARGETS); do $(ASAN_ENV) build/asan/fuzz/$$t tests/fuzz/corpus/$$t; done

# ---- fuzzing: clang and libFuzzer -----------------------------------------------------

fuzz-compiler:
	@mkdir -p build/fuzz
	@echo 'int LLVMFuzzerTestOneInput(const void *d, unsigned long n) { (void)d; (void)n; return 0; }' | \
	    $(FUZZ_CC) -x c -fsanitize=fuzzer,address -o build/fuzz/.try - 2>/dev/null || { \
	    echo "make fuzz needs clang and its sanitizers: apt-get install clang-14 libclang-rt-14-dev" >&2; \
	    echo "(or FUZZ_CC=... for another clang)" >&2; exit 1; }

build/fuzz/obj/%.o: %.c VERSION Makefile tests/fuzz/fuzz.mk build/pkg.mk | fuzz-compiler
	@mkdir -p $(@D)
	$(FUZZ_CC) $(CPPFLAGS) $(ALL_CFLAGS) -O1 -fsanitize=fuzzer-no-link $(FUZZ_SANITIZE) -MMD -MP -c -o $@ $<

fuzz-programs: $(FUZZ_TARGETS:%=build/fuzz/%)

# What is new goes to build/fuzz/corpus/, what fails to build/fuzz/found/.
FUZZ_RUN = nice -n 15 build/fuzz/$(1) -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
    -artifact_prefix=build/fuzz/found/$(1)- $(addprefix -dict=,$(wildcard tests/fuzz/dict/$(1).dict))
fuzz: fuzz-programs
	@mkdir -p build/fuzz/found $(FUZZ_TARGETS:%=build/fuzz/corpus/%)
	@set -e; $(foreach t,$(FUZZ_TARGETS),echo "== $(t), $(FUZZ_SECONDS) s"; \
	    $(call FUZZ_RUN,$(t)) -max_total_time=$(FUZZ_SECONDS) build/fuzz/corpus/$(t) tests/fuzz/corpus/$(t) \
	    > build/fuzz/$(t).log 2>&1 || { tail -n 60 build/fuzz/$(t).log; exit 1; }; \
	    grep -E '^stat::|DONE' build/fuzz/$(t).log | grep -E 'DONE|executed|new_units';)

# Of the inputs found, those that reach what no input in the tree does go into the tree.
fuzz-merge: fuzz-programs
	@set -e; $(foreach t,$(FUZZ_TARGETS),mkdir -p build/fuzz/corpus/$(t); \
	    build/fuzz/$(t) -merge=1 tests/fuzz/corpus/$(t) build/fuzz/corpus/$(t) 2>&1 | tail -n 1;)

-include $(patsubst %,build/fuzz/obj/%.d,$(basename $(FUZZ_LIBRARY) $(FUZZ_TARGETS:%=tests/fuzz/fuzz_%)))
-include $(patsubst %,build/asan/obj/tests/fuzz/%.d,main $(FUZZ_TARGETS:%=fuzz_%))
