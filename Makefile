# pushserver: `make demo` to see it, `make test` to test it, `make help` for the rest.
#
# One file, not recursive. Flags of the libraries are in build/pkg.mk, made when the
# libraries are there; `make demo` and `make test` install them first.

VERSION := $(shell cat VERSION)
CC ?= cc
PREFIX ?= /usr/local
DESTDIR ?=
PYTHON ?= python3
VENV := .venv

.DEFAULT_GOAL := all

# ---- what it is made of -----------------------------------------------------------

LIBS := libevent_core libevent_pthreads yaml-0.1 libcurl libpcre2-8 zlib libcrypto
DIRS := base store passthrough relay
SOURCES := $(foreach d,$(DIRS),$(sort $(wildcard $(d)/*.c)))
UNIT_SOURCES := $(sort $(wildcard tests/unit/test_*.c))
UNIT_NAMES := $(UNIT_SOURCES:tests/unit/%.c=%)

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes \
    -Wpointer-arith -Wvla -Wundef -Wformat=2
ifdef CI
WARNINGS += -Werror
endif
CPPFLAGS += -I. -D_GNU_SOURCE -DPUSHSERVER_VERSION='"$(VERSION)"'
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu11 $(WARNINGS) $(CFLAGS) -fno-strict-aliasing -pthread $(PKG_CFLAGS)
HARDENING := -fstack-protector-strong -fPIE
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LINK = -pthread $(LDFLAGS)
LINK_LIBS = -lhttp_parser $(PKG_LIBS)

# ---- the daemon -------------------------------------------------------------------

OBJECTS := $(SOURCES:%.c=build/obj/%.o)
ASAN_OBJECTS := $(SOURCES:%.c=build/asan/obj/%.o)
TSAN_OBJECTS := $(SOURCES:%.c=build/tsan/obj/%.o)
DAEMON_IN_PACKAGE := django_pushserver/pushserver/bin/pushserver

.PHONY: all run demo test unit relay-test conformance django-test js-test browser-test clients asan later tsan memcheck lint \
    format install clean help
all: build/pushserver $(DAEMON_IN_PACKAGE)

build/pushserver: $(OBJECTS)
	$(CC) -pie -Wl,-z,relro,-z,now $(LINK) -o $@.new $(OBJECTS) $(LINK_LIBS)
	@mv $@.new $@

$(DAEMON_IN_PACKAGE): build/pushserver
	@mkdir -p $(@D)
	cp $< $@.new && mv $@.new $@

build/obj/%.o: %.c VERSION Makefile build/pkg.mk
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(HARDENING) -D_FORTIFY_SOURCE=2 -MMD -MP -c -o $@ $<

# For the tests: with AddressSanitizer and UndefinedBehaviorSanitizer.
build/asan/pushserver: $(ASAN_OBJECTS)
	$(CC) $(SANITIZE) $(LINK) -o $@.new $(ASAN_OBJECTS) $(LINK_LIBS)
	@mv $@.new $@

build/asan/obj/%.o: %.c VERSION Makefile build/pkg.mk
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -O1 $(SANITIZE) -MMD -MP -c -o $@ $<

# With a store that answers later: tests/relay/later_store.c.
LATER_OBJECTS := $(ASAN_OBJECTS) build/asan/obj/tests/relay/later_store.o
build/later/pushserver: $(LATER_OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(SANITIZE) $(LINK) -Wl,--wrap=memory_store_open -Wl,--wrap=event_base_loop -o $@.new \
	    $(LATER_OBJECTS) $(LINK_LIBS)
	@mv $@.new $@

# ThreadSanitizer, for what workers share.
build/tsan/pushserver: $(TSAN_OBJECTS)
	$(CC) -fsanitize=thread $(LINK) -o $@.new $(TSAN_OBJECTS) $(LINK_LIBS)
	@mv $@.new $@

build/tsan/obj/%.o: %.c VERSION Makefile build/pkg.mk
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -O1 -fsanitize=thread -MMD -MP -c -o $@ $<

build/asan/unit/%: build/asan/obj/tests/unit/%.o $(filter-out %/relay/main.o,$(ASAN_OBJECTS))
	@mkdir -p $(@D)
	$(CC) $(SANITIZE) $(LINK) -o $@ $^ $(LINK_LIBS) -lcmocka $(UNIT_LIBS_$(@F))

# A second reader of frames, to compare with: of the tests only.
UNIT_LIBS_test_wsframe := -lwslay -lz -Wl,--wrap=malloc,--wrap=realloc

-include $(OBJECTS:.o=.d) $(ASAN_OBJECTS:.o=.d) $(TSAN_OBJECTS:.o=.d) build/asan/obj/tests/relay/later_store.d $(UNIT_NAMES:%=build/asan/obj/tests/unit/%.d)
# Kept for the next time, though they are made on the way only. No other target: a missing
# stamp must be made even where what it is for is there.
.SECONDARY: $(UNIT_NAMES:%=build/asan/obj/tests/unit/%.o)

# The libraries' flags. Goals that promise the set-up install what is missing first.
ifneq (,$(filter-out clean help format,$(or $(MAKECMDGOALS),all)))
include build/pkg.mk
endif
ifneq (,$(filter test,$(MAKECMDGOALS)))
build/pkg.mk: build/stamps/test
else ifneq (,$(filter demo,$(MAKECMDGOALS)))
build/pkg.mk: build/stamps/demo
endif
build/pkg.mk: Makefile scripts/setup.sh
	@mkdir -p $(@D)
	@scripts/setup.sh check-libraries $(LIBS)
	@echo "PKG_CFLAGS := $$(pkg-config --cflags $(LIBS))" > $@.new
	@echo "PKG_LIBS := $$(pkg-config --libs $(LIBS))" >> $@.new
	@mv $@.new $@

# ---- set-up: once, again only when what it installs has changed -------------------

build/stamps/demo: scripts/setup.sh pyproject.toml
	@mkdir -p $(@D)
	PYTHON=$(PYTHON) scripts/setup.sh demo
	@touch $@

build/stamps/test: scripts/setup.sh pyproject.toml tests/requirements.txt package-lock.json
	@mkdir -p $(@D)
	PYTHON=$(PYTHON) scripts/setup.sh test
	@touch $@ build/stamps/demo

# ---- run --------------------------------------------------------------------------

run: all
	build/pushserver -c config/pushserver.yaml

demo: all build/stamps/demo
	exec $(VENV)/bin/python examples/django/demo.py $(ARGS)

# ---- test -------------------------------------------------------------------------

test: lint unit fuzz-corpus asan later tsan memcheck conformance bench-test django-test js-test browser-test clients
	@echo "all tests passed"

# Leaks are errors as well; a report ends the program, so that no test passes over it.
ASAN_ENV := ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99 \
    UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
# Mostly waiting: eight at a time, whatever the number of cores.
PYTEST = $(VENV)/bin/python -W error -m pytest -q -n 8

unit: $(UNIT_NAMES:%=build/asan/unit/%)
	@set -e; for t in $^; do echo "== $$t"; $(ASAN_ENV) $$t; done

# The relay's tests, with 1 and with 4 workers.
asan relay-test: build/asan/pushserver
	$(ASAN_ENV) PUSHSERVER_BINARY=build/asan/pushserver $(PYTEST) tests/relay

CONFORMANCE_RUN = $(PYTEST) tests/conformance/test_conformance.py -k test_our_relay_passes_every_check

# Once more with a store that answers later, as one behind a network will.
later: build/later/pushserver
	$(ASAN_ENV) PUSHSERVER_BINARY=build/later/pushserver PUSHSERVER_WORKERS=4 $(PYTEST) tests/relay

# Once more where threads share things; it suppresses nothing.
tsan: build/tsan/pushserver
	TSAN_OPTIONS=exitcode=66 PUSHSERVER_BINARY=build/tsan/pushserver PUSHSERVER_WORKERS=4 \
	    $(PYTEST) tests/relay
	TSAN_OPTIONS=exitcode=66 PUSHSERVER_BINARY=build/tsan/pushserver $(CONFORMANCE_RUN)

# No error and no leak over the conformance suite, with 1 and with 4 workers.
memcheck: all
	PUSHSERVER_BINARY=tests/conformance/under_valgrind.sh $(CONFORMANCE_RUN)

# Of the daemon with 1 and 4 workers, and of the suite itself: docs/conformance.md.
conformance: build/asan/pushserver
	$(ASAN_ENV) PUSHSERVER_BINARY=build/asan/pushserver $(PYTEST) tests/conformance

django-test: all
	$(PYTEST) tests/django

js-test: all
	npm run --silent check
	npm run --silent test

browser-test: all
	node --test tests/browser/*.test.mjs

# Clients that others have written, with 1 and with 4 workers. The one test that is not mostly
# waiting runs twice at a time.
clients: build/asan/pushserver
	$(ASAN_ENV) PUSHSERVER_BINARY=build/asan/pushserver $(PYTEST) tests/clients \
	    --ignore=tests/clients/test_switching.py
	$(ASAN_ENV) PUSHSERVER_BINARY=build/asan/pushserver $(PYTEST) -n 2 tests/clients/test_switching.py
	$(ASAN_ENV) PUSHSERVER_BINARY=build/asan/pushserver node --test tests/clients/*.test.mjs

include tests/fuzz/fuzz.mk
include bench/bench.mk

# ---- form -------------------------------------------------------------------------

C_DIRS := $(DIRS) bench tests/unit tests/fuzz tests/relay
C_FILES = $(foreach d,$(C_DIRS),$(wildcard $(d)/*.[ch]))
TIDY_STAMPS = $(patsubst %.c,build/lint/%.tidy,$(filter %.c,$(C_FILES)))
MYPY = $(VENV)/bin/mypy
MYPY_FILES = $(MYPY) --explicit-package-bases

# The quick ones first. Examples are checked without Django's plugin, which would have to
# import them: what it infers, the types of fields, is not asked for.
lint: build/stamps/test
	@clang-format --dry-run -Werror $(C_FILES)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	node_modules/.bin/eslint --max-warnings 0 .
	$(MYPY)
	MYPYPATH=django_pushserver:.:tests/django $(MYPY_FILES) hatch_build.py tests/relay tests/django
	MYPYPATH=tests/conformance $(MYPY_FILES) tests/conformance
	MYPYPATH=tests $(MYPY_FILES) tests/clients
	MYPYPATH=bench $(MYPY_FILES) bench tests/bench tests/instructions
	MYPYPATH=django_pushserver:examples/django $(MYPY_FILES) \
	    --disable-error-code var-annotated --disable-error-code no-any-return examples/django
	@mkdir -p build/lint/cppcheck
	cppcheck --quiet --enable=warning,performance,portability --std=c11 --inline-suppr \
	    --error-exitcode=1 --cppcheck-build-dir=build/lint/cppcheck $(CPPFLAGS) $(C_DIRS)
	@$(MAKE) --no-print-directory --keep-going -j2 $(TIDY_STAMPS)
	@echo "nothing to be mended"

# Minutes for all; again only for what has changed.
build/lint/%.tidy: %.c .clang-tidy tests/.clang-tidy VERSION
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) -std=gnu11 $(PKG_CFLAGS) -MM -MP -MT $@ -MF $(@:.tidy=.d) $<
	clang-tidy --quiet $< -- $(CPPFLAGS) -std=gnu11 $(PKG_CFLAGS) 2>$@.log || { cat $@.log >&2; exit 1; }
	@touch $@

-include $(TIDY_STAMPS:.tidy=.d)

format:
	clang-format -i $(C_FILES)
	$(VENV)/bin/ruff format .

# ---- install ----------------------------------------------------------------------

install: build/pushserver
	install -D -m 755 build/pushserver $(DESTDIR)$(PREFIX)/bin/pushserver
	install -D -m 644 config/pushserver.yaml $(DESTDIR)/etc/pushserver/pushserver.yaml
	install -D -m 644 docs/pushserver.8 $(DESTDIR)$(PREFIX)/share/man/man8/pushserver.8
	install -D -m 644 docs/pushserver.yaml.5 $(DESTDIR)$(PREFIX)/share/man/man5/pushserver.yaml.5

clean:
	rm -rf build $(DAEMON_IN_PACKAGE)

help:
	@echo "make          build build/pushserver"
	@echo "make demo     set up, and run the relay and the Django example;"
	@echo "              ARGS='--port 8010 --relay-port 8011' for other ports"
	@echo "make test     set up, and run every test"
	@echo "make run      run the relay with config/pushserver.yaml"
	@echo "make install  to PREFIX (/usr/local), below DESTDIR"
	@echo "make asan, make tsan, make memcheck  the relay's tests under sanitizers and Valgrind"
	@echo "make later            the relay's tests with a store that answers later"
	@echo "make conformance      the clauses of the protocol, one by one"
	@echo "make clients          curl, Chromium and other clients against the relay"
	@echo "make bench            the relay beside the least that is possible, and beside Nchan;"
	@echo "                      ARGS='--rounds 3 --runs longpoll.*' for less"
	@echo "make instructions     how many each poll, delivery and publish takes"
	@echo "make fuzz             FUZZ_SECONDS for each target (60); needs clang"
	@echo "make lint, make format, make clean"
