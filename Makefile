# SPDX-License-Identifier: MIT
# The front door. Meson and Ninja do the building; these targets do everything around it, from the
# missing Debian packages on.

BUILD = build
ARGS =
PREFIX = /usr/local

SOURCE_FOLDERS = $(wildcard bench cli examples guests hv include ports src tests tools)

.DEFAULT_GOAL = help
.PHONY: help setup build run test test-long bench micro scale check-format \
	install clean

help:
	@echo "make build         build everything; the command is $(BUILD)/vmmu"
	@echo "make run           boot the default guest and show what the MMU did"
	@echo "                   (ARGS='--huge off ...' for options; vmmu run --help lists them)"
	@echo "make test          every test, then the guest boots; about 12 minutes on two cores"
	@echo "make test-long     the same, and the long tests"
	@echo "make bench         the costs beside Linux KVM's, in instructions, and the figures of"
	@echo "                   make scale; about 10 minutes"
	@echo "                   (ARGS=--quick: the most important ones, in two minutes)"
	@echo "make micro         the library's own paths in instructions and nanoseconds"
	@echo "make scale         up to 64 vCPUs that fault at once; forgetting a terabyte; harvesting"
	@echo "                   (ARGS=--hot=10: the cache lines that cost 64 vCPUs most)"
	@echo "make check-format  is every C file formatted as .clang-format says?"
	@echo "make install       install library, headers and command below PREFIX=$(PREFIX)"
	@echo "make clean         remove $(BUILD)/"
	@echo
	@echo "Missing Debian packages are installed first, as root or through sudo."

setup:
	@scripts/setup.sh

$(BUILD)/build.ninja: | setup
	meson setup --prefix $(PREFIX) $(BUILD)

build: setup $(BUILD)/build.ninja
	@ninja -C $(BUILD)

run: build
	@$(BUILD)/vmmu run $(ARGS)

test: build
	@python3 scripts/run-tests.py $(BUILD) $(ARGS)

test-long: build
	@python3 scripts/run-tests.py $(BUILD) --long $(ARGS)

bench: build
	@scripts/setup.sh bench
	@python3 bench/run.py $(BUILD) $(ARGS)

micro: build
	@scripts/setup.sh bench
	@python3 bench/micro.py $(BUILD) $(ARGS)

scale: build
	@scripts/setup.sh bench
	@python3 bench/scale.py $(BUILD) $(ARGS)

check-format: setup
	@find $(SOURCE_FOLDERS) -name '*.[ch]' -print0 | xargs -0 clang-format --dry-run -Werror

install: build
	meson configure $(BUILD) -Dprefix=$(PREFIX)
	meson install -C $(BUILD)

clean:
	rm -rf $(BUILD)
