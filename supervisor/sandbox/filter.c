/* filter.c - the contract is in filter.h. */
#include "supervisor/sandbox/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"

void filter_init(struct filters *filters) { memset(filters, 0, sizeof(*filters)); }

void filter_done(struct filters *filters)
{
    for (int i = 0; i < SPEC_NSECCOMP; i++)
        for (int k = 0; k < SPEC_NDENIED; k++)
            free(filters->made[i][k].filter);
    filter_init(filters);
}

#ifndef HAVE_SECCOMP

bool filter_is_built(void) { return false; }

int filter_get(struct filters *filters, const struct spec_seccomp *wanted,
               const struct sock_fprog **ret, struct err *err)
{
    (void)filters;
    (void)ret;
    return err_set(err, ERR_DENIED, "%s: this program was built without libseccomp",
                   spec_seccomp_name(wanted->profile));
}

#else

#include <sched.h>
#include <seccomp.h>

#include "supervisor/sandbox/calls.h"

/* s390 has the two first arguments of clone the other way round. */
#ifdef __s390__
enum { CLONE_FLAGS_AT = 1 };
#else
enum { CLONE_FLAGS_AT = 0 };
#endif
enum { NAME_MAX_BYTES = 64, FILTER_BYTES_MAX = 4096 * sizeof(struct sock_filter) };

static const uint32_t namespace_flags[] = { CLONE_NEWNS,    CLONE_NEWUTS, CLONE_NEWIPC,
                                            CLONE_NEWUSER,  CLONE_NEWPID, CLONE_NEWNET,
                                            CLONE_NEWCGROUP };

bool filter_is_built(void) { return true; }

/* A filter in the making. */
struct making {
    scmp_filter_ctx context;
    uint32_t initial; /* action of what no rule names */
    int rc;           /* of the first call of the library that failed, -errno */
};

/* The library refuses rules that say what happens anyway. */
static void add(struct making *m, uint32_t action, int call, const struct scmp_arg_cmp *compare)
{
    if (m->rc != 0 || action == m->initial)
        return;
    int rc = seccomp_rule_add_array(m->context, action, call, compare ? 1 : 0, compare);
    if (rc != -EDOM && rc != -EEXIST) /* not on this machine; said twice */
        m->rc = rc;
}

static void add_named(struct making *m, uint32_t action, const char *name)
{
    int call = seccomp_syscall_resolve_name(name);

    if (call != __NR_SCMP_ERROR)
        add(m, action, call, NULL);
}

/* clone is looked at by its flags and does not come this way. */
static void add_group(struct making *m, uint32_t action, enum calls_group group)
{
    char name[NAME_MAX_BYTES];

    for (const char *at = calls_of(group); *at;) {
        size_t len = strcspn(at, " ");
        if (len < sizeof(name)) {
            memcpy(name, at, len);
            name[len] = '\0';
            if (strcmp(name, "clone") != 0)
                add_named(m, action, name);
        }
        at += len + (at[len] == ' ');
    }
}

static void add_clone(struct making *m, uint32_t denied)
{
    const unsigned at = CLONE_FLAGS_AT;
    scmp_datum_t all = 0;

    for (size_t i = 0; i < sizeof(namespace_flags) / sizeof(namespace_flags[0]); i++) {
        const scmp_datum_t flag = namespace_flags[i];
        const struct scmp_arg_cmp with = { at, SCMP_CMP_MASKED_EQ, flag, flag };
        add(m, denied, SCMP_SYS(clone), &with);
        all |= flag;
    }
    const struct scmp_arg_cmp without = { at, SCMP_CMP_MASKED_EQ, all, 0 };
    add(m, SCMP_ACT_ALLOW, SCMP_SYS(clone), &without);
}

static bool allows(int profile, enum calls_group group)
{
    switch (group) {
    case CALLS_HOST:
    case CALLS_KEYS:
        return false;
    case CALLS_LOOKING:
        return profile == SPEC_SECCOMP_DEFAULT;
    case CALLS_IDS:
    case CALLS_SHARE:
        return profile != SPEC_SECCOMP_STRICT;
    case CALLS_FILES:
    case CALLS_EVENTS:
    case CALLS_NETWORK:
    case CALLS_MEMORY:
    case CALLS_PROCESSES:
    case CALLS_SIGNALS:
    case CALLS_TIME:
    case CALLS_EXCHANGE:
    case CALLS_OWN_BOX:
    case CALLS_NGROUPS:
        break;
    }
    return true;
}

static uint32_t action_of(int denied)
{
    return denied == SPEC_DENIED_KILL  ? SCMP_ACT_KILL_PROCESS
           : denied == SPEC_DENIED_LOG ? SCMP_ACT_LOG
                                       : SCMP_ACT_ERRNO(EPERM);
}

static void add_other_machines(struct making *m)
{
#if defined(__x86_64__)
    const uint32_t other = SCMP_ARCH_X86;
#elif defined(__aarch64__)
    const uint32_t other = SCMP_ARCH_ARM;
#else
    const uint32_t other = SCMP_ARCH_NATIVE;
#endif
    int rc = other == SCMP_ARCH_NATIVE ? 0 : seccomp_arch_add(m->context, other);

    if (m->rc == 0 && rc != -EEXIST)
        m->rc = rc;
}

static void fill(struct making *m, const struct spec_seccomp *wanted)
{
    uint32_t denied = action_of(wanted->denied);

    add_other_machines(m);
    if (m->rc == 0)
        m->rc = seccomp_attr_set(m->context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
    if (m->rc == 0)
        m->rc = seccomp_attr_set(m->context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (int group = 0; group < CALLS_NGROUPS; group++)
        add_group(m, allows(wanted->profile, (enum calls_group)group) ? SCMP_ACT_ALLOW : denied,
                  (enum calls_group)group);
    add_clone(m, denied);
    if (wanted->denied != SPEC_DENIED_LOG)
        add(m, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), NULL);
}

/* Older versions of the library only write to descriptors. */
static int export(const struct making *m, struct sock_fprog *ret, struct err *err)
{
    AUTO_CLOSE int fd = memfd_create("filter", MFD_CLOEXEC);
    struct stat st;

    if (fd < 0)
        return err_sys(err, errno, "making memory for the filter");
    int rc = seccomp_export_bpf(m->context, fd);
    if (rc != 0)
        return err_sys(err, -rc, "making the filter");
    if (fstat(fd, &st) != 0)
        return err_sys(err, errno, "reading the filter");
    size_t bytes = (size_t)st.st_size;
    if (bytes == 0 || bytes % sizeof(struct sock_filter) != 0 || bytes > FILTER_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "the filter has %zu bytes", bytes);
    AUTO_FREE struct sock_filter *code = malloc(bytes);
    if (!code)
        return err_set(err, ERR_MEMORY, "no memory for the filter");
    if (pread(fd, code, bytes, 0) != (ssize_t)bytes)
        return err_sys(err, EIO, "reading the filter");
    ret->len = (unsigned short)(bytes / sizeof(*code));
    ret->filter = code;
    code = NULL;
    return 0;
}

static int make(const struct spec_seccomp *wanted, struct sock_fprog *ret, struct err *err)
{
    bool open = wanted->profile == SPEC_SECCOMP_DEFAULT;
    struct making m = { .initial = open                                ? SCMP_ACT_ALLOW
                                   : wanted->denied == SPEC_DENIED_LOG ? SCMP_ACT_LOG
                                                                       : SCMP_ACT_ERRNO(ENOSYS) };

    m.context = seccomp_init(m.initial);
    if (!m.context)
        return err_set(err, ERR_MEMORY, "no memory for the filter");
    fill(&m, wanted);
    int rc = m.rc == 0 ? export(&m, ret, err) : err_sys(err, -m.rc, "making the filter");
    seccomp_release(m.context);
    return rc;
}

int filter_get(struct filters *filters, const struct spec_seccomp *wanted,
               const struct sock_fprog **ret, struct err *err)
{
    struct sock_fprog *made = &filters->made[wanted->profile][wanted->denied];

    if (made->len == 0) {
        int rc = make(wanted, made, err);
        if (rc != 0)
            return rc;
    }
    *ret = made;
    return 0;
}

#endif
