# The benchmark, included by the Makefile: docs/performance.md.

BENCH_PROGRAMS := build/bench/load build/bench/floor
BENCH_OBJECTS := $(patsubst bench/%.c,build/obj/bench/%.o,$(wildcard bench/*.c))
# Such as ARGS='--rounds 3 --runs eventsource.*'; bench.py --help tells them.
BENCH_JSON ?= build/bench/figures.json

.PHONY: bench bench-programs bench-test instructions

build/bench/load: $(addprefix build/obj/bench/,load.o reader.o usage.o)
	@mkdir -p $(@D)
	$(CC) -pie $(LINK) -o $@ $^

build/bench/floor: build/obj/bench/floor.o
	@mkdir -p $(@D)
	$(CC) -pie $(LINK) -o $@ $^

bench-programs: build/pushserver $(BENCH_PROGRAMS)

build/stamps/bench: scripts/setup.sh
	@mkdir -p $(@D)
	scripts/setup.sh bench
	@touch $@

bench: bench-programs build/stamps/bench
	$(PYTHON) bench/bench.py --json $(BENCH_JSON) $(ARGS)

instructions: bench-programs
	$(PYTHON) bench/instructions.py $(ARGS)

# That the load program sees what is wrong, that every run of the benchmark works, and that
# instructions stay within their budgets.
bench-test: bench-programs
	$(PYTEST) tests/bench
	$(PYTEST) -n 0 tests/instructions

-include $(BENCH_OBJECTS:.o=.d)
