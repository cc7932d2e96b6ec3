# sluice: everything that is built stands in $(B); `make help` lists the targets.
B      ?= build
PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
SYSCONFDIR ?= /etc
V      ?= 0
Q      := $(if $(filter 1,$(V)),,@)

# The first of these programs that runs. Ubuntu keeps bpftool beside the kernel's tools, behind a wrapper that may not run.
first         = $(firstword $(foreach c,$(1),$(if $(shell $(c) $(2) >/dev/null 2>&1 && echo y),$(c),)) $(lastword $(1)))
CLANG        ?= $(call first,clang-19 clang-21 clang-20 clang-18 clang-17 clang-16 clang,--version)
CLANG_FORMAT ?= $(call first,clang-format-19 clang-format-21 clang-format-20 clang-format-18 clang-format-17 clang-format,--version)
BPFTOOL      ?= $(call first,$(wildcard /usr/lib/linux-tools/*/bpftool /usr/lib/linux-tools-*/bpftool) /usr/sbin/bpftool bpftool,version)
PYTHON       ?= /usr/bin/python3
PKGS         := libsystemd libbpf libevent libevent_extra libmnl yaml-0.1 jansson
CLI_PKGS     := jansson libcurl yaml-0.1

ARCH := $(shell uname -m | sed 's/x86_64/x86/; s/aarch64/arm64/; s/ppc64le/powerpc/; s/riscv64/riscv/')
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)

WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter
CFLAGS  ?= -O2 -g
# Keys are hashed and compared as words, whatever their members are.
ALIAS   := -fno-strict-aliasing
CFLAGS_ALL = -std=gnu11 $(ALIAS) $(CFLAGS) $(WARN) -D_GNU_SOURCE -Iinclude -Iuser -I$(B) $(shell pkg-config --cflags $(PKGS) $(CLI_PKGS))
LIBS     = $(shell pkg-config --libs $(PKGS)) -lcap
CLI_LIBS = $(shell pkg-config --libs $(CLI_PKGS))
BPF_CFLAGS := -O2 -g $(ALIAS) -target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) -Iinclude -Ibpf $(if $(MULTIARCH),-I/usr/include/$(MULTIARCH)) \
	-Wall -Wextra -Werror -Wno-unused-parameter -Wno-unused-function -Wno-address-of-packed-member

ifeq ($(SAN),1)
B := build-san
CFLAGS := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
endif

LIB_SRC := $(filter-out user/sluiced.c,$(wildcard user/*.c))
LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o)
CLI_SRC := $(wildcard user/cli/*.c)
CLI_OBJ := $(CLI_SRC:%.c=$(B)/%.o)
BPF_SRC := $(wildcard bpf/*.bpf.c)
SKELS   := $(BPF_SRC:bpf/%.bpf.c=$(B)/%.skel.h)
UNIT_SRC := $(wildcard tests/unit/*_test.c)
UNIT_BIN := $(UNIT_SRC:tests/unit/%.c=$(B)/tests/%)

.PHONY: all bpf clean unit-build net-build
.SECONDARY:
all: $(B)/sluiced $(B)/sluice ## sluiced and sluice into build/ (SAN=1: with address and undefined-behaviour sanitizers, into build-san/)

bpf: $(SKELS) ## the BPF objects and their skeletons alone

$(B)/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/*.h include/sluice/*.h) Makefile
	@mkdir -p $(@D)
	@echo "  BPF     $@"
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@

$(B)/%.skel.h: $(B)/%.bpf.o
	@echo "  SKEL    $@"
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf > $@.tmp && mv $@.tmp $@

$(B)/%.o: %.c Makefile | $(SKELS)
	@mkdir -p $(@D)
	@echo "  CC      $@"
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

$(B)/libsluice.a: $(LIB_OBJ)
	@echo "  AR      $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/sluiced: $(B)/user/sluiced.o $(B)/libsluice.a
	@echo "  LINK    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LIBS)

# `sluice check` reads a file as sluiced does, by the model in the library.
$(B)/sluice: $(CLI_OBJ) $(B)/libsluice.a
	@echo "  LINK    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(CLI_LIBS)

# Of the data plane's headers some are compiled into them.
$(B)/tests/%: tests/unit/%.c $(B)/libsluice.a $(wildcard tests/unit/*.h tests/unit/bpf/*.h bpf/*.h)
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) -Itests/unit $< $(B)/libsluice.a -o $@ $(LIBS) $(shell pkg-config --libs cmocka)

$(B)/tests/cli_test: tests/unit/cli_test.c $(filter-out %/main.o,$(CLI_OBJ)) $(B)/libsluice.a
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) -Iuser/cli $^ -o $@ $(CLI_LIBS) $(shell pkg-config --libs cmocka)

unit-build: $(UNIT_BIN)

# What tests/net needs beside sluiced and sluice.
net-build: $(B)/tests/flow_fill $(B)/tests/slow_grace.so

$(B)/tests/flow_fill: tests/net/flow_fill.c $(B)/libsluice.a
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)

$(B)/tests/slow_grace.so: tests/net/slow_grace.c
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(CFLAGS_ALL) -fPIC -shared $(LDFLAGS) $< -o $@

# ---- benchmarks
BENCH_BPF := $(patsubst bench/bpf/%.bpf.c,$(B)/bench/%.bpf.o,$(wildcard bench/bpf/*.bpf.c))
ONLY ?=
comma := ,

.PHONY: bench bench-build bench-fib
bench: ## all benchmarks in ten minutes, tables and plots into build/bench/ (ONLY=datapath,flows,ageing,instructions,forward,tcp,tables,change: some). Needs root
	@scripts/install-deps.sh build run test kernels bench
	@tests/kernels/fetch.sh $(COST_KERNEL) || true # said by the part that wants it
	@$(MAKE) --no-print-directory all bench-build cost-build
	@exec env B='$(B)' CLANG='$(CLANG)' COST_KERNEL='$(COST_KERNEL)' $(PYTHON) bench/run.py $(ONLY)

bench-build: $(B)/bench/tcp_line $(BENCH_BPF) $(B)/bench/fib_bench $(B)/bench/fib_bench.bpf.o $(B)/bench/flow_bench $(B)/bench/flow_bench.bpf.o

bench-fib: $(B)/bench/fib_bench $(B)/bench/fib_bench.bpf.o ## what a lookup, a build, a change of the FIB cost at the size of the Internet's tables. Needs root
	@$^

.PHONY: soak-build
soak-build: $(B)/bench/fib_soak $(B)/bench/fib_soak.bpf.o $(B)/bench/gen_xdp.bpf.o

.PHONY: bench-flow
bench-flow: $(B)/bench/flow_bench $(B)/bench/flow_bench.bpf.o ## what look-ups and insertions cost in the flow table, beside the kernel's hash. Needs root
	@$^

# Instructions per packet, counted in a virtual machine.
COST_KERNEL ?= 6.1
REASON ?=
export REASON
COST = @B='$(B)' CLANG='$(CLANG)' COST_KERNEL='$(COST_KERNEL)' $(PYTHON) bench/cost.py
.PHONY: bench-cost cost-check cost-baseline cost-ready cost-build
bench-cost: cost-ready ## instructions per packet, counted in a virtual machine (ONLY=xdp-snat: jobs that begin so; PROFILE=1: where they are executed; AGAINST=COMMIT)
	$(COST) $(if $(filter 1,$(PROFILE)),--profile) $(if $(AGAINST),--against '$(AGAINST)') $(subst $(comma), ,$(ONLY))

cost-check: cost-ready ## a small form of that: fails where a packet needs 5 % more than bench/cost-baseline.json says
	$(COST) --check

cost-baseline: cost-ready ## counts all, and makes that the baseline; REASON="why a packet may cost that"
	$(COST) --baseline "$$REASON"

cost-ready:
	@scripts/install-deps.sh build run test kernels
	@tests/kernels/fetch.sh $(COST_KERNEL)
	@$(MAKE) --no-print-directory all cost-build

cost-build: $(BENCH_BPF) $(B)/bench/cost_guest $(B)/bench/cost_line $(B)/bench/cost_symbols $(B)/bench/cost_plugin.so $(B)/bench/tcp_line

$(B)/bench/cost_%: bench/cost/cost_%.c bench/cost/cost.h
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) $< -o $@ -lbpf

# The version of the interface that this qemu speaks: what the plugin uses is the same in all of them.
$(B)/bench/cost_plugin.so: bench/cost/cost_plugin.c
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(CFLAGS_ALL) -DPLUGIN_VERSION=$(if $(filter 6 7 8,$(shell qemu-system-x86_64 --version | sed -n 's/.*version \([0-9]*\).*/\1/p')),1,2) -shared -fPIC $^ -o $@

$(B)/bench/tcp_line: bench/tcp/tcp_line.c
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@

vpath %.bpf.c bench/fib bench/flow bench/bpf
vpath %_bench.c bench/fib bench/flow
vpath %_soak.c bench/fib

$(B)/bench/%.bpf.o: %.bpf.c $(wildcard bench/bpf/*.h bpf/*.h include/sluice/*.h)
	@mkdir -p $(@D)
	@echo "  BPF     $@"
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@

$(B)/bench/%: %.c bench/bpfkit.c $(B)/libsluice.a
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)

# ---- manual pages, installation
MAN_SRC := $(wildcard docs/man/*.scd)
MANDIR  ?= $(PREFIX)/share/man
BINDIR  ?= $(PREFIX)/bin
UNITDIR ?= /usr/lib/systemd/system
MAN     := $(MAN_SRC:docs/man/%.scd=$(B)/man/%)

.PHONY: man install
man: $(MAN) ## the manual pages into build/man/

$(B)/man/%: docs/man/%.scd
	@mkdir -p $(@D)
	@echo "  MAN     $@"
	$(Q)scdoc < $< > $@.tmp && mv $@.tmp $@

install: all man ## installs programs, manual pages, unit, completion, example (DESTDIR, PREFIX, SYSCONFDIR, UNITDIR)
	install -D -m 0755 $(B)/sluiced $(DESTDIR)$(SBINDIR)/sluiced
	install -D -m 0755 $(B)/sluice $(DESTDIR)$(BINDIR)/sluice
	install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSCONFDIR)/sluice
	sed 's|@SBINDIR@|$(SBINDIR)|g; s|@SYSCONFDIR@|$(SYSCONFDIR)|g' packaging/sluiced.service > $(DESTDIR)$(UNITDIR)/sluiced.service
	install -D -m 0644 packaging/sluice.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/sluice
	install -D -m 0644 packaging/sluice.yaml $(DESTDIR)$(PREFIX)/share/sluice/sluice.yaml
	$(foreach m,$(MAN),install -D -m 0644 $(m) $(DESTDIR)$(MANDIR)/man$(lastword $(subst ., ,$(m)))/$(notdir $(m)) &&) true

clean: ## removes build/ and build-san/
	rm -rf build build-san

# ---- the house: dependencies, tests, lint, demo. What installs comes first, then a make of its own: variables above (the
# compiler found, the multiarch directory) are worked out when a Makefile is read.
.PHONY: help deps check unit-build unit-check prog-check net-check nat-property nat-stress fuzz kernels soak lint demo demo-clean

help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r t d; do printf '  make %-12s %s\n' "$$t" "$$d"; done

deps: ## installs what is missing to build, run, test and lint (Debian 12 and 13, Ubuntu 24.04)
	@scripts/install-deps.sh

check: ## installs what is missing, builds, runs all tests; needs root. SAN=1: the unit tests under sanitizers
	@scripts/install-deps.sh build run test
	@$(MAKE) --no-print-directory all unit-build soak-build net-build
	@B='$(B)' PYTHON='$(PYTHON)' scripts/check.sh $(if $(filter 1,$(SAN)),unit,unit prog net)

unit-check: all unit-build ## the unit tests alone (no root)
	@B='$(B)' PYTHON='$(PYTHON)' scripts/check.sh unit

prog-check: all soak-build ## the data plane's tests alone: packets through BPF_PROG_RUN
	@B='$(B)' PYTHON='$(PYTHON)' scripts/check.sh prog

nat-property: all ## 10000 random sequences of 40 packets against a model of the NAT; 24 in `make check` (SLUICE_NAT_SEED=N: others)
	@SLUICE_NAT_SEQUENCES=10000 SLUICE_NAT_STEPS=40 SLUICE_BUILD='$(abspath $(B))' $(PYTHON) -m pytest -q tests/prog/test_nat_property.py

nat-stress: all soak-build net-build ## two million SYNs, scans, full tables, changes under traffic, in `make check` as well: none of 10000 connections is lost
	@B='$(B)' $(PYTHON) -m pytest -q -s tests/net/test_flood.py tests/net/test_resize.py tests/net/test_nat_live.py tests/net/test_nat_rules.py

net-check: all soak-build net-build ## the tests with real traffic between network namespaces alone
	@B='$(B)' PYTHON='$(PYTHON)' scripts/check.sh net

soak: all soak-build ## what takes too long for every day: routes flipped under traffic, a million routes, BGP with a big table. Needs root
	@scripts/install-deps.sh build run test
	@$(B)/bench/fib_soak $(B)/bench/fib_soak.bpf.o $(or $(SOAK_S),60)
	SLUICE_BGP_ROUTES=100000 SLUICE_ROUTES=1000000 B='$(B)' timeout 1800 $(PYTHON) -m pytest -s -q tests/net/test_bgp.py tests/net/test_big_table.py \
		tests/net/test_failover_time.py::test_beside_a_full_table

fuzz: ## hostile configurations, saved flows and filters by libFuzzer, FUZZ_S seconds each (60)
	@scripts/install-deps.sh build fuzz
	@B='$(B)' CLANG='$(CLANG)' FUZZ_S='$(or $(FUZZ_S),60)' tests/fuzz/run.sh

kernels: ## the data plane on Debian's kernels 6.1 and 6.12 under qemu: verified, attached, packets; about ten minutes. Needs root
	@scripts/install-deps.sh build run test kernels
	@$(MAKE) --no-print-directory all
	@tests/kernels/run.sh

demo: ## a gateway, a second switch, routers and hosts in namespaces, real traffic, numbers; KEEP=1 leaves it standing. Needs root
	@scripts/install-deps.sh build run
	@$(MAKE) --no-print-directory all
	@[ -z "$$SUDO_UID" ] || chown -R "$$SUDO_UID:$$SUDO_GID" '$(B)' # what sudo built belongs to who asked for it
	@$(PYTHON) scripts/demo $(if $(filter 1,$(KEEP)),--keep)

demo-clean: ## removes what `make demo KEEP=1` left
	@$(PYTHON) scripts/demo --clean

# Warnings are errors for both compilers; every header stands on its own; the rules of docs/architecture.md on who includes whom.
C_FILES     := $(sort $(wildcard include/sluice/*.h bpf/*.h bpf/*.c user/*.h user/*.c user/*/*.h user/*/*.c tests/*/*.h tests/*/*.c bench/*.h bench/*.c bench/*/*.h bench/*/*.c))
BPF_HEADERS := $(wildcard bpf/*.h)
USER_HEADERS := $(wildcard include/sluice/*.h user/*.h user/*/*.h)
SCRIPTS     := $(wildcard scripts/*.sh .ci/run tests/*/*.sh bench/*.sh)
PY_FILES    := scripts/demo scripts/lint-docs.py $(wildcard tests/*/*.py tests/*.py bench/*.py)
CLANG_WARN  := -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wwrite-strings -Wundef -Wloop-analysis \
	-Wunreachable-code -Wunused-macros -Wextra-semi -Wheader-hygiene -Wstrict-prototypes -Wmissing-prototypes \
	-Wmissing-variable-declarations -Wvla -Wno-unused-parameter \
	-Wno-gnu-variable-sized-type-not-at-end

lint: ## formatting, warnings of gcc and clang, headers alone, who may include whom, shell and Python
	@scripts/install-deps.sh build test lint
	@$(MAKE) --no-print-directory all unit-build net-build lint-all

.PHONY: format lint-all lint-format lint-clang lint-headers lint-scripts
lint-all: lint-format lint-clang lint-headers lint-scripts
	@echo "lint: no complaints: $(words $(C_FILES)) C files, $(words $(BPF_HEADERS) $(USER_HEADERS)) headers alone, $(words $(SCRIPTS)) shell scripts, $(words $(PY_FILES)) Python files"

format: ## formats our C as lint wants it
	$(Q)$(CLANG_FORMAT) -i $(C_FILES)

lint-format:
	@echo "  FORMAT  $(words $(C_FILES)) files ($(CLANG_FORMAT))"
	$(Q)$(CLANG_FORMAT) --dry-run -Werror $(C_FILES)

lint-clang: $(SKELS)
	@echo "  CLANG   $(words $(LIB_SRC) $(CLI_SRC)) files"
	$(Q)for f in $(wildcard user/sluiced.c) $(LIB_SRC) $(CLI_SRC); do \
		$(CLANG) -std=gnu11 -O1 -D_GNU_SOURCE -Iinclude -Iuser -isystem $(B) $(shell pkg-config --cflags $(PKGS) $(CLI_PKGS)) \
			$(CLANG_WARN) -fsyntax-only $$f || exit 1; done

lint-headers: $(SKELS)
	@echo "  HEADERS $(words $(BPF_HEADERS)) for bpf, $(words $(USER_HEADERS)) native"
	@# What works on a packet in either context (ctx_t), itself or by what it includes, is given one: tc's, which has all that XDP's has.
	$(Q)for h in $(BPF_HEADERS) $(wildcard include/sluice/*.h); do \
		ctx=; case $$h in */ctx_*) ;; *) ! grep -q 'ctx_t \*' $$($(CLANG) $(BPF_CFLAGS) -MM $$h | tr -d '\\' | cut -d: -f2) || ctx='-include bpf/ctx_tc.h';; esac; \
		$(CLANG) $(BPF_CFLAGS) -Wno-unused-const-variable -fsyntax-only $$ctx -include $$h -x c /dev/null || { echo "$$h does not compile alone (bpf)"; exit 1; }; done
	$(Q)for h in $(USER_HEADERS); do \
		$(CC) $(CFLAGS_ALL) -fsyntax-only -include $$h -x c /dev/null || { echo "$$h does not compile alone"; exit 1; }; done

lint-scripts:
	@echo "  SCRIPTS includes, documents, shellcheck, pyflakes"
	$(Q)scripts/lint-includes.sh
	$(Q)B='$(B)' $(PYTHON) scripts/lint-docs.py
	$(Q)shellcheck $(SCRIPTS)
	$(Q)$(PYTHON) -m pyflakes $(PY_FILES)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
