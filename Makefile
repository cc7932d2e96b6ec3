# sluice: everything that is built stands in $(B); `make help` lists the targets.
B      ?= build
PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
SYSCONFDIR ?= /etc
V      ?= 0
Q      := $(if $(filter 1,$(V)),,@)

CLANG        ?= $(firstword $(foreach c,clang-19 clang-20 clang-18 clang,$(if $(shell command -v $(c) 2>/dev/null),$(c),)))
CLANG_FORMAT ?= $(firstword $(foreach c,clang-format-19 clang-format-20 clang-format-18 clang-format,$(if $(shell command -v $(c) 2>/dev/null),$(c),)))
BPFTOOL      ?= $(firstword $(shell command -v bpftool 2>/dev/null) $(wildcard /usr/sbin/bpftool) bpftool)
PKGS         := libsystemd libbpf libevent libevent_extra libmnl yaml-0.1 jansson
CLI_PKGS     := jansson libcurl

ARCH := $(shell uname -m | sed 's/x86_64/x86/; s/aarch64/arm64/; s/ppc64le/powerpc/; s/riscv64/riscv/')
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)

WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter
CFLAGS  ?= -O2 -g
CFLAGS_ALL = -std=gnu11 $(CFLAGS) $(WARN) -D_GNU_SOURCE -Iinclude -Iuser -I$(B) $(shell pkg-config --cflags $(PKGS) $(CLI_PKGS))
LIBS     = $(shell pkg-config --libs $(PKGS)) -lcap
CLI_LIBS = $(shell pkg-config --libs $(CLI_PKGS))
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) -Iinclude -Ibpf $(if $(MULTIARCH),-I/usr/include/$(MULTIARCH)) \
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

.PHONY: all bpf clean
all: $(B)/sluiced $(B)/sluice

bpf: $(SKELS)

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

$(B)/sluice: $(CLI_OBJ)
	@echo "  LINK    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(CLI_LIBS)

$(B)/tests/%: tests/unit/%.c $(B)/libsluice.a
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) -Itests/unit $< $(B)/libsluice.a -o $@ $(LIBS) $(shell pkg-config --libs cmocka)

unit-build: $(UNIT_BIN)

clean:
	rm -rf build build-san

-include $(shell find $(B) -name '*.d' 2>/dev/null)
