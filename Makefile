# One Makefile, no recursion into folders, no configure step.  Objects live under $(B), so the
# release, sanitizer and fuzz builds never disturb one another.
#
# Knobs: B=build/x  CC=clang  CFLAGS=...  DESTDIR= prefix= sbindir= bindir= sysconfdir=
#        STATIC=1 (no shared libraries)  SECCOMP= (without libseccomp)  SECONDS=60 (fuzz)
#        PYTEST_ARGS=...  JOBS=2
#        TEST_JOBS=4 (0: no tests side by side)
prefix     ?= /usr/local
sbindir    ?= $(prefix)/sbin
bindir     ?= $(prefix)/bin
sysconfdir ?= /etc
datadir    ?= $(prefix)/share
mandir     ?= $(datadir)/man
PKG_CONFIG ?= pkg-config
B          ?= build/$(if $(STATIC),static,release)
CFLAGS     ?= -O2 -g
SECONDS    ?= 60
MAKEFLAGS  += --no-builtin-rules

# The layers, lowest first; each may include itself and what stands behind its name.  The same
# lists link the unit tests and feed `make lint`.
LAYERS := base io \
  supervisor/plan supervisor/machine supervisor/ledger supervisor/guardian supervisor/logger \
  supervisor/sandbox supervisor/host supervisor/health supervisor/release supervisor/core \
  supervisor/cli \
  deployctl/plan deployctl/wire deployctl/agent deployctl/fleet deployctl/cli

below_base                := base
below_io                  := io base
below_supervisor/plan     := supervisor/plan base
below_supervisor/machine  := supervisor/machine base
below_supervisor/ledger   := supervisor/ledger $(below_io)
below_supervisor/guardian := supervisor/guardian supervisor/ledger $(below_io)
below_supervisor/logger   := supervisor/logger supervisor/ledger $(below_io)
below_supervisor/sandbox  := supervisor/sandbox supervisor/plan $(below_io)
below_supervisor/host     := supervisor/host $(below_supervisor/sandbox)
below_supervisor/health   := supervisor/health supervisor/machine $(below_supervisor/host)
below_supervisor/release  := supervisor/release supervisor/machine supervisor/plan $(below_io)
below_supervisor/core     := supervisor/core supervisor/release supervisor/health supervisor/host \
                             supervisor/sandbox supervisor/ledger supervisor/machine \
                             supervisor/plan $(below_io)
below_supervisor/cli      := supervisor/cli supervisor/core supervisor/release supervisor/health \
                             supervisor/host supervisor/sandbox supervisor/logger \
                             supervisor/guardian supervisor/ledger supervisor/machine \
                             supervisor/plan $(below_io)
below_deployctl/plan      := deployctl/plan base
below_deployctl/wire      := deployctl/wire deployctl/plan $(below_io)
below_deployctl/agent     := deployctl/agent deployctl/wire deployctl/plan $(below_io)
below_deployctl/fleet     := deployctl/fleet deployctl/wire deployctl/plan $(below_io)
below_deployctl/cli       := deployctl/cli deployctl/fleet deployctl/agent deployctl/wire \
                             deployctl/plan $(below_io)

# libuv, jansson and inih are linked from their archives, so that commands start fast.
PKGS        := libuv jansson inih libzstd zlib libcrypto
PKG_CFLAGS  := $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
LIBS_BASE   := -l:libinih.a
LIBS_IO     := -l:libjansson.a -l:libuv_a.a $(LIBS_BASE) -lpthread -ldl
LIBS_DEPLOY := -l:libzstd.a -l:libz.a -lcrypto -lm
# Optional: without it seccomp = is refused, and supervisor doctor says so.  SECCOMP= leaves it out.
SECCOMP     ?= $(shell $(PKG_CONFIG) --exists libseccomp 2>/dev/null && echo yes)
ifneq ($(SECCOMP),)
PKG_CFLAGS  += -DHAVE_SECCOMP $(shell $(PKG_CONFIG) --cflags libseccomp 2>/dev/null)
LIBS_IO     += -l:libseccomp.a
endif

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 \
        -Wswitch-enum -Wpointer-arith -Wundef -Wimplicit-fallthrough -Werror
HARD := -fstack-protector-strong -fPIE -D_FORTIFY_SOURCE=2
VERSION := $(shell cat VERSION)
ALL_CFLAGS   = -std=c17 -D_GNU_SOURCE -DVERSION='"$(VERSION)"' -I. $(WARN) $(HARD) $(PKG_CFLAGS) \
               -MMD -MP $(CPPFLAGS) $(CFLAGS)
SHARED_LDFLAGS = -pie -Wl,-z,relro,-z,now $(LDFLAGS)
ALL_LDFLAGS    = $(SHARED_LDFLAGS)
ifneq ($(STATIC),)
# Users and groups come from files then (base/accounts.h), host names of probes from files and DNS
# (health/probe_lookup.c): no module is loaded, whatever the linker fears.
ALL_CFLAGS  += -DACCOUNTS_FILES
# ld.bfd by name: others do not know how to be silent.
ALL_LDFLAGS  = -static-pie -fuse-ld=bfd -Wl,-z,relro,-z,now,--no-warnings $(LDFLAGS)
endif

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
	$$(CC) $$(ALL_CFLAGS) $$(SHARED_LDFLAGS) -o $$@ $$< $(call archives_below,$(1)) -lcmocka \
	  $$(LIBS_IO) $(if $(findstring deployctl,$(1)),$$(LIBS_DEPLOY))
endef
$(foreach l,$(LAYERS),$(eval $(call layer_rules,$(l))))
# Makes allocations fail in turn.
$(B)/tests/unit/supervisor/core/test_keeper_prepare: SHARED_LDFLAGS += \
  -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray

$(B)/bin/supervisor: $(B)/supervisor/main.o $(call archives_below,supervisor/cli)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_IO)
$(B)/bin/deployctl: $(B)/deployctl/main.o $(call archives_below,deployctl/cli)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_IO) $(LIBS_DEPLOY)
$(B)/%.o: %.c Makefile VERSION
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<
# What `deployctl bootstrap` brings to a host.
$(B)/deployctl/plan/bootstrap_script.o: conf.d/supervisor.ini examples/ssh/supervisor.service \
  debian/process-supervisor.supervisor.init

# Programs of the system tests: the real guardian around a core that does as it is told.
$(B)/tests/system/%: tests/system/%.c $(call archives_below,supervisor/guardian)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(call archives_below,supervisor/guardian) $(LIBS_IO)
# The real logger in a handmade store.
$(B)/tests/system/logger_%: tests/system/logger_%.c $(call archives_below,supervisor/logger)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(call archives_below,supervisor/logger) $(LIBS_IO)
$(B)/tests/bench/limit: tests/bench/limit.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $<
# The table of doc/verdict.md.
$(B)/tests/bench/verdict: tests/bench/verdict.c $(call archives_below,deployctl/plan)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(call archives_below,deployctl/plan) \
	  $(LIBS_BASE) -lm
$(B)/tests/bench/%_logger: tests/bench/%_logger.c $(call archives_below,supervisor/logger)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(call archives_below,supervisor/logger) $(LIBS_IO)
$(B)/tests/system/agent_main $(B)/tests/system/transport_main: $(B)/tests/system/%: tests/system/%.c \
  $(call archives_below,deployctl/agent)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(call archives_below,deployctl/agent) \
	  $(LIBS_IO) $(LIBS_DEPLOY)

# Of the chaos tests: the service, what makes calls fail, what refuses memory and
# sets clocks.
$(B)/tests/chaos/witness: tests/chaos/witness.c
	@mkdir -p $(@D)
	$(CC) $(filter-out -fsanitize%,$(ALL_CFLAGS)) -static -o $@ $<
$(B)/tests/chaos/inject: tests/chaos/inject.c
	@mkdir -p $(@D)
	$(CC) $(filter-out -fsanitize%,$(ALL_CFLAGS)) -o $@ $<
$(B)/tests/chaos/preload.so: tests/chaos/preload.c
	@mkdir -p $(@D)
	$(CC) $(filter-out -fsanitize% -fPIE,$(ALL_CFLAGS)) -fPIC -shared -o $@ $<
CHAOS_PROGRAMS := $(B)/tests/chaos/witness $(B)/tests/chaos/inject $(B)/tests/chaos/preload.so

JOBS ?= $(shell nproc)
# Tests mostly wait, so there are more of them at once than processors.
TEST_JOBS ?= $(shell expr 1 + $(JOBS))
PYTEST ?= /usr/bin/python3 -m pytest -q -rs -p no:cacheprovider -n $(TEST_JOBS) --dist loadgroup
SYSTEM_PROGRAMS := $(patsubst %.c,$(B)/%,$(wildcard tests/system/*.c))
EXAMPLES := $(patsubst %.c,$(B)/%,$(wildcard examples/*/*.c))
FUZZ_ARCHIVES = $(foreach l,deployctl/agent deployctl/wire deployctl/plan supervisor/core \
  supervisor/release supervisor/health supervisor/host supervisor/sandbox supervisor/logger \
  supervisor/ledger \
  supervisor/machine supervisor/plan io base,$(call archive,$(l)))
$(B)/examples/%: examples/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< -lpthread

UNIT_TESTS := $(patsubst %.c,$(B)/%,$(foreach l,$(LAYERS),$(wildcard tests/unit/$(l)/test_*.c)))

## check         everything below that a green build means: unit, system and fleet tests
.PHONY: check
check: deps-check
	+$(MAKE) --no-print-directory -j$(JOBS) all tests-built
	+$(MAKE) --no-print-directory check-unit
	@rm -f $(B)/failed-tests
	B=$(abspath $(B)) $(PYTEST) $(PYTEST_ARGS) tests/fleet tests/system tests/boot tests/chaos || \
	  B=$(abspath $(B)) tests/again

## check-unit    unit tests only: about a second
.PHONY: check-unit
check-unit: $(UNIT_TESTS)
	@set -e; for t in $^; do $$t >$$t.log 2>&1 || { cat $$t.log; echo "FAILED $$t"; exit 1; }; \
	  tail -n 1 $$t.log | sed "s|^|$${t#$(B)/tests/unit/}: |"; done

## check-system  real processes on this machine, one temporary folder and socket each
.PHONY: check-system
check-system: deps-check all tests-built
	B=$(abspath $(B)) $(PYTEST) $(PYTEST_ARGS) tests/system

## check-chaos   faults, kills and floods; the short form, half a minute
## chaos         the same for long: ROUNDS=1000 SEED=n, ROUND='...' or SWEEP='...' (tests/chaos)
.PHONY: check-chaos chaos
check-chaos: all tests-built
	B=$(abspath $(B)) $(PYTEST) $(PYTEST_ARGS) tests/chaos
ROUNDS ?= 1000
chaos: all tests-built
	B=$(abspath $(B)) ROUNDS='$(ROUNDS)' SEED='$(SEED)' ROUND='$(ROUND)' SWEEP='$(SWEEP)' \
	  nice $(PYTEST) $(PYTEST_ARGS) tests/chaos$(if $(ROUND)$(SWEEP),/test_rounds.py)

## check-fleet   network namespaces with a real sshd per host (skipped loudly where not allowed)
.PHONY: check-fleet
check-fleet: deps-check all examples
	B=$(abspath $(B)) $(PYTEST) $(PYTEST_ARGS) tests/fleet

## check-boot    a real kernel in qemu: SLOW_TESTS=1 asks for it, otherwise skipped loudly
.PHONY: check-boot
check-boot: all examples
	@[ "$$SLOW_TESTS" != 1 ] || { tools/deps $(PACKAGES_BOOT) && tests/boot/kernel && tests/boot/debian; }
	B=$(abspath $(B)) $(PYTEST) $(PYTEST_ARGS) tests/boot

.PHONY: tests-built
tests-built: $(UNIT_TESTS) $(SYSTEM_PROGRAMS) $(CHAOS_PROGRAMS) $(B)/tests/bench/verdict examples

## examples      the services that examples and tests run
.PHONY: examples
examples: $(EXAMPLES)

## demo          install what is missing, build, run the main job on this machine, end by itself
.PHONY: demo
demo: deps-build
	+$(MAKE) --no-print-directory -j$(JOBS) all examples
	examples/demo/run $(abspath $(B))/bin

## sanitize      unit, system and chaos tests again under address and undefined-behaviour sanitizers
.PHONY: sanitize
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=undefined
# What the optimiser guesses about code with checks in it is no reason to stop (-Wno-error).
SANITIZE = $(MAKE) --no-print-directory B=build/asan LDFLAGS='$(SANITIZERS)' \
  CFLAGS='-O1 -g -fno-omit-frame-pointer -U_FORTIFY_SOURCE -Wno-error $(SANITIZERS)'
sanitize: deps-check
	+$(SANITIZE) -j$(JOBS) all tests-built
	+$(SANITIZE) check-unit
	@# The core leaves its memory to the kernel when it goes: leaks are looked for above.
	+ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0 $(SANITIZE) check-system check-chaos

## fuzz          every fuzz target for SECONDS each (needs clang)
.PHONY: fuzz
fuzz: deps-lint
	+$(MAKE) --no-print-directory -j$(JOBS) B=build/fuzz CC=clang \
	  CFLAGS='-O1 -g -U_FORTIFY_SOURCE -fsanitize=fuzzer-no-link,address,undefined' \
	  LDFLAGS='-fsanitize=address,undefined' fuzz-built
	@printf '%s\n' $(FUZZERS) | xargs -P $(JOBS) -I{} tests/fuzz/run build/fuzz {} $(SECONDS)
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
.PHONY: fuzz-built
fuzz-built: $(FUZZERS:%=$(B)/tests/fuzz/%)
$(B)/tests/fuzz/%: tests/fuzz/%.c $(FUZZ_ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer $(ALL_LDFLAGS) -o $@ $< $(FUZZ_ARCHIVES) \
	  $(LIBS_IO) $(LIBS_DEPLOY)

## lint          layers, headers alone, formatting, clang-tidy, cppcheck, sizes
.PHONY: lint
lint: deps-lint
	tests/lint/run

## bench         every figure against a bare-syscall limit in the same run; PEERS=1 installs others to measure
.PHONY: bench
bench: all $(B)/tests/bench/bench_logger $(B)/tests/bench/limit
	$(if $(PEERS),@tools/deps $(PACKAGES_PEERS))
	B=$(abspath $(B)) tests/bench/run

## bench-fleet   deployctl against ssh itself and what others do, HOSTS=3,10,30 ROUNDS=5 PARTS=ways (jump: HOSTS=100); PEERS=1 as above
.PHONY: bench-fleet
HOSTS ?= 3,10,30
ROUNDS ?= 5
PARTS ?= ways kept far many
bench-fleet: all examples
	$(if $(PEERS),@tools/deps $(PACKAGES_FLEET_PEERS))
	B=$(abspath $(B)) tests/bench/fleet --hosts $(HOSTS) --rounds $(ROUNDS) $(PARTS)

## sample        make conf.d/supervisor.ini.sample anew from the option tables
.PHONY: sample
sample: $(B)/tools/sample
	$< >conf.d/supervisor.ini.sample.new && mv conf.d/supervisor.ini.sample.new conf.d/supervisor.ini.sample
$(B)/tools/%: tools/%.c $(call archives_below,supervisor/plan)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(call archives_below,supervisor/plan) $(LIBS_BASE)

## install-init  the links by which it is the init of a host: init, poweroff, reboot, ...
.PHONY: install-init
install-init:
	for name in init telinit poweroff reboot halt shutdown; do \
	  ln -sf $(sbindir)/supervisor $(DESTDIR)/sbin/$$name || exit 1; done

COMPLETIONS := bash-completion/completions zsh/site-functions fish/vendor_completions.d
## install       honours DESTDIR, prefix, sbindir, bindir, sysconfdir
.PHONY: install
install: all
	install -Dm755 $(B)/bin/supervisor $(DESTDIR)$(sbindir)/supervisor
	install -Dm755 $(B)/bin/deployctl $(DESTDIR)$(bindir)/deployctl
	install -d $(DESTDIR)$(mandir)/man1 $(DESTDIR)$(mandir)/man5 $(DESTDIR)$(mandir)/man8 \
	  $(addprefix $(DESTDIR)$(datadir)/,$(COMPLETIONS))
	$(B)/bin/supervisor manual 8 >$(DESTDIR)$(mandir)/man8/supervisor.8
	$(B)/bin/supervisor manual 5 >$(DESTDIR)$(mandir)/man5/supervisor.ini.5
	$(B)/bin/deployctl manual 1 >$(DESTDIR)$(mandir)/man1/deployctl.1
	$(B)/bin/deployctl manual 5 >$(DESTDIR)$(mandir)/man5/deploy.ini.5
	for p in supervisor deployctl; do \
	  $(B)/bin/$$p completion bash >$(DESTDIR)$(datadir)/bash-completion/completions/$$p && \
	  $(B)/bin/$$p completion zsh >$(DESTDIR)$(datadir)/zsh/site-functions/_$$p && \
	  $(B)/bin/$$p completion fish >$(DESTDIR)$(datadir)/fish/vendor_completions.d/$$p.fish \
	  || exit 1; done
	install -d $(DESTDIR)$(sysconfdir)/supervisor/conf.d
	install -Dm644 conf.d/supervisor.ini.sample $(DESTDIR)$(sysconfdir)/supervisor/supervisor.ini.sample
	test -e $(DESTDIR)$(sysconfdir)/supervisor/supervisor.ini || \
	  install -m644 conf.d/supervisor.ini $(DESTDIR)$(sysconfdir)/supervisor/supervisor.ini

# Without the symbols that only a debugger reads.
STRIPPED := build/static/stripped
.PHONY: stripped
stripped:
	+$(MAKE) --no-print-directory STATIC=1 all
	@mkdir -p $(STRIPPED)
	strip -o $(STRIPPED)/supervisor build/static/bin/supervisor
	strip -o $(STRIPPED)/deployctl build/static/bin/deployctl

## deb           Debian packages into build/deb, checked by lintian (needs Debian 12)
.PHONY: deb
deb:
	@tools/deps $(PACKAGES_DEB)
	JOBS=$(JOBS) tools/deb build/deb
	lintian --allow-root --fail-on error,warning build/deb/*.changes

## tarball       build/supervisor-VERSION-linux-MACHINE.tar.gz: static binaries for any Linux
.PHONY: tarball
tarball: deps-build stripped
	tools/tarball build $(STRIPPED)

## image         build/image: a container image (OCI layout), the static binary its entrypoint
.PHONY: image
image: deps-build stripped
	tools/image build/image $(STRIPPED)/supervisor $(STRIPPED)/deployctl

## deps          install what is missing to build and test (apt), or print the one command
.PHONY: deps deps-build deps-check deps-lint
deps: deps-check
PACKAGES_BUILD := gcc libc6-dev make pkg-config libuv1-dev libinih-dev libjansson-dev libzstd-dev zlib1g-dev libssl-dev \
  libseccomp-dev
PACKAGES_CHECK := $(PACKAGES_BUILD) libcmocka-dev python3-pytest python3-pytest-xdist python3-grpcio zstd \
  openssh-server openssh-client iproute2 procps nginx-light redis-server supervisor \
  mandoc zsh fish tzdata haproxy
PACKAGES_BOOT  := qemu-system-x86 busybox-static cpio kmod e2fsprogs openssh-client debootstrap kexec-tools
PACKAGES_DEB   := $(PACKAGES_BUILD) libcmocka-dev dpkg-dev debhelper lintian
PACKAGES_PEERS := tini runit s6 daemontools supervisor
PACKAGES_FLEET_PEERS := rsync pssh ansible capistrano git zstd
PACKAGES_LINT  := $(PACKAGES_CHECK) clang-14 clang-format-14 clang-tidy-14 cppcheck
deps-build:
	@tools/deps $(PACKAGES_BUILD)
deps-check:
	@tools/deps $(PACKAGES_CHECK)
deps-lint:
	@tools/deps $(PACKAGES_LINT)

## clean         remove every build
.PHONY: clean
clean:
	rm -rf build

## help          this list
.PHONY: help
help:
	@sed -n 's/^## //p' $(firstword $(MAKEFILE_LIST))

-include $(shell find $(B) -name '*.d' 2>/dev/null)
