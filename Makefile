# A thin front of CMake: `make help` says what there is. Everything is built below build/.

PRESET ?= release
BUILD := build/$(PRESET)
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help deps build all run test test-full bench lint format docs install dist deb clean

help:
	@echo "make run        install what is missing, build, and open a root shell in a copy-on-write view of this machine"
	@echo "make build      build $(BUILD)/usl"
	@echo "make test       install what is missing, build everything, run the tests"
	@echo "make test-full  the same with the long tests too"
	@echo "make bench      run the benchmarks and write docs/benchmarks.md"
	@echo "make lint       formatting, dependency direction, file sizes, generated docs"
	@echo "make tidy       clang-tidy over all sources"
	@echo "make format     lay out all sources as lint wants them"
	@echo "make docs       write the generated pages anew (docs/compatibility.md, docs/man/usl.1)"
	@echo "make install    install to PREFIX=$(PREFIX) (DESTDIR is honoured)"
	@echo "make dist deb   a tarball of the static executable; a Debian package; both in dist/"
	@echo "Other builds: make build PRESET=debug|asan|tsan"

deps:
	@scripts/deps.sh build

$(BUILD)/build.ninja:
	@command -v cmake >/dev/null && command -v ninja >/dev/null || \
	  { echo "make: cmake or ninja is missing; run scripts/deps.sh build" >&2; exit 1; }
	cmake --preset $(PRESET)

build: $(BUILD)/build.ninja
	cmake --build $(BUILD) -j $(JOBS) --target usl

all: $(BUILD)/build.ninja
	cmake --build $(BUILD) -j $(JOBS)

run: deps
	@$(MAKE) --no-print-directory build
	@if [ -t 0 ]; then exec $(BUILD)/usl run $(ARGS); else exec scripts/demo.sh $(BUILD)/usl; fi

test:
	@scripts/deps.sh build test
	@$(MAKE) --no-print-directory all
	scripts/test.sh $(BUILD) -LE full $(ARGS)

test-full:
	@scripts/deps.sh build test
	@$(MAKE) --no-print-directory all
	scripts/test.sh $(BUILD) $(ARGS)

bench:
	@scripts/deps.sh build bench
	@$(MAKE) --no-print-directory all
	bench/run.py --usl $(BUILD)/usl --output docs/benchmarks.md $(ARGS)

lint:
	@scripts/deps.sh build lint
	@$(MAKE) --no-print-directory all
	scripts/lint.sh $(BUILD)

format:
	@scripts/deps.sh lint
	git ls-files '*.cc' '*.h' '*.c' | xargs clang-format-14 -i

# Findings are to be mended file by file; TIDY_SECONDS bounds one run, and what passed is not checked again.
TIDY_SECONDS ?= 3600
tidy:
	@scripts/deps.sh build lint
	@$(MAKE) --no-print-directory all
	python3 tools/run_clang_tidy.py $(BUILD) --budget $(TIDY_SECONDS)

docs: all
	scripts/docs.sh $(BUILD)

install: build
	cmake --install $(BUILD) --prefix $(PREFIX) --strip

dist: build
	cd $(BUILD) && cpack -G TGZ -B $(CURDIR)/dist && rm -rf $(CURDIR)/dist/_CPack_Packages

deb: build
	cd $(BUILD) && cpack -G DEB -B $(CURDIR)/dist && rm -rf $(CURDIR)/dist/_CPack_Packages

clean:
	rm -rf build dist
