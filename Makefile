# One Makefile, no recursion into folders, no configure step.  Objects live under $(B), so the
# release, sanitizer and fuzz builds never disturb one another.
#
# Knobs: B=build/x  CC=clang  CFLAGS=...  DESTDIR= prefix= sbindir= bindir= sysconfdir=
#        SECONDS=60 (fuzz)  PYTEST_ARGS=...  NODEPS=1 (never install anything)
prefix     ?= /usr/local
sbindir    ?= $(prefix)/sbin
bindir     ?= $(prefix)/bin
sysconfdir ?= /etc
datadir    ?= $(prefix)/share
PKG_CONFIG ?= pkg-config
B          ?= build/release
CFLAGS     ?= -O2 -g
SECONDS    ?= 60
MAKEFLAGS  += --no-builtin-rules

# The layers, lowest first; each may include itself and what stands behind its name.  The same
# lists link the unit tests and feed `make lint`.
LAYERS := base io \
  supervisor/plan supervisor/machine supervisor/ledger supervisor/guardian supervisor/logger \
  supervisor/core supervisor/cli \
  deployctl/plan deployctl/wire deployctl/agent deployctl/fleet deployctl/cli

below_base                := base
below_io                  := io base
below_supervisor/plan     := supervisor/plan base
below_supervisor/machine  := supervisor/machine base
below_supervisor/ledger   := supervisor/ledger $(below_io)
below_supervisor/guardian := supervisor/guardian supervisor/ledger $(below_io)
below_supervisor/logger   := supervisor/logger supervisor/ledger $(below_io)
below_supervisor/core     := supervisor/core supervisor/ledger supervisor/machine supervisor/plan $(below_io)
below_supervisor/cli      := supervisor/cli supervisor/core supervisor/logger supervisor/guardian \
                             supervisor/ledger supervisor/machine supervisor/plan $(below_io)
below_deployctl/plan      := deployctl/plan base
below_deployctl/wire      := deployctl/wire deployctl/plan $(below_io)
below_deployctl/agent     := deployctl/agent deployctl/wire deployctl/plan $(below_io)
below_deployctl/fleet     := deployctl/fleet deployctl/wire deployctl/plan $(below_io)
below_deployctl/cli       := deployctl/cli deployctl/fleet deployctl/agent deployctl/wire \
                             deployctl/plan $(below_io)

# libuv, jansson and inih are linked from their archives, so that commands start fast.
PKGS        := libuv jansson inih libzstd libcrypto
PKG_CFLAGS  := $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
LIBS_BASE   := -l:libinih.a
LIBS_IO     := -l:libjansson.a -l:libuv_a.a $(LIBS_BASE) -lpthread -ldl
LIBS_DEPLOY := -l:libzstd.a -lcrypto

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 \
        -Wswitch-enum -Wpointer-arith -Wundef -Wimplicit-fallthrough -Werror
HARD := -fstack-protector-strong -fPIE -D_FORTIFY_SOURCE=2
VERSION := $(shell cat VERSION)
ALL_CFLAGS   = -std=c17 -D_GNU_SOURCE -DVERSION='"$(VERSION)"' -I. $(WARN) $(HARD) $(PKG_CFLAGS) \
               -MMD -MP $(CPPFLAGS) $(CFLAGS)
ALL_LDFLAGS  = -pie -Wl,-z,relro,-z,now $(LDFLAGS)

objects = $(patsubst %.c,$(B)/%.o,$(wildcard $(1)/*.c))
archive = $(B)/$(1).a
archives_below = $(foreach l,$(below_$(1)),$(call archive,$(l)))

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all

## all           build supervisor and deployctl (default)
all: $(B)/bin/supervisor $(B)/bin/deployctl

define layer_rules
$(call archive,$(1)): $(call objects,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@ && $(AR) rcs $$@ $$^
$(B)/tests/unit/$(1)/%: tests/unit/$(1)/%.c $(call archives_below,$(1))
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -o $$@ $$< $(call archives_below,$(1)) -lcmocka \
	  $$(LIBS_IO) $(if $(findstring deployctl,$(1)),$$(LIBS_DEPLOY))
endef
$(foreach l,$(LAYERS),$(eval $(call layer_rules,$(l))))

$(B)/bin/supervisor: $(B)/supervisor/main.o $(call archives_below,supervisor/cli)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_IO)
$(B)/bin/deployctl: $(B)/deployctl/main.o $(call archives_below,deployctl/cli)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_IO) $(LIBS_DEPLOY)
$(B)/%.o: %.c Makefile VERSION
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# Programs of the system tests: the real guardian around a core that does as it is told.
$(B)/tests/system/%: tests/system/%.c $(call archives_below,supervisor/guardian)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(call archives_below,supervisor/guardian) $(LIBS_IO)
$(B)/tests/system/agent_main: tests/system/agent_main.c $(call archives_below,deployctl/agent)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(call archives_below,deployctl/agent) \
	  $(LIBS_IO) $(LIBS_DEPLOY)

UNIT_TESTS := $(patsubst %.c,$(B)/%,$(foreach l,$(LAYERS),$(wildcard tests/unit/$(l)/test_*.c)))

## check-unit    unit tests only: no processes, no network, about a second
.PHONY: check-unit
check-unit: $(UNIT_TESTS)
	@set -e; for t in $^; do echo "$$t"; $$t; done

## clean         remove every build
.PHONY: clean
clean:
	rm -rf build

## help          this list
.PHONY: help
help:
	@sed -n 's/^## //p' $(firstword $(MAKEFILE_LIST))

-include $(shell find $(B) -name '*.d' 2>/dev/null)
