/* sandbox.c - the contract is in sandbox.h. */
#include "supervisor/sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"
#include "supervisor/plan/capability.h"
#include "supervisor/sandbox/boxed.h"

static bool in_namespace(const struct spec_sandbox *spec, enum spec_namespace number)
{
    return spec->namespaces & 1u << number;
}

int sandbox_shared_namespaces(const struct spec_sandbox *spec, const struct ability *ability)
{
    static const int flags[SPEC_NNAMESPACES] = { [SPEC_NAMESPACE_NET] = CLONE_NEWNET,
                                                 [SPEC_NAMESPACE_IPC] = CLONE_NEWIPC,
                                                 [SPEC_NAMESPACE_UTS] = CLONE_NEWUTS,
                                                 [SPEC_NAMESPACE_CGROUP] = CLONE_NEWCGROUP };
    bool mounts = spec_sandbox_mounts(spec) && !ability_only_chroot(ability, spec);
    int ret = mounts ? CLONE_NEWNS : 0;

    for (int i = 0; i < SPEC_NNAMESPACES; i++)
        if (in_namespace(spec, (enum spec_namespace)i))
            ret |= flags[i];
    return ret;
}

/* --- namespaces --- */

static void unshare_one(struct boxed *box, enum spec_namespace number, enum builder_act act,
                        int flag)
{
    if (in_namespace(box->spec, number))
        BUILDER_CALL(&box->builder, act, NULL, 0, SYS_unshare, (unsigned long)flag);
}

static void switch_loopback_on(struct boxed *box)
{
    struct builder *b = &box->builder;
    struct ifreq *request = arena_alloc(b->arena, sizeof(*request));

    b->failed |= !request;
    if (!request)
        return;
    memcpy(request->ifr_name, "lo", sizeof("lo"));
    request->ifr_flags = IFF_UP;
    BUILDER_CALL(b, BUILDER_LOOPBACK, NULL, CHILD_CALL_KEEP, SYS_socket, AF_INET,
                 SOCK_DGRAM | SOCK_CLOEXEC);
    BUILDER_CALL(b, BUILDER_LOOPBACK, NULL, CHILD_CALL_ON_KEPT, SYS_ioctl, 0, SIOCSIFFLAGS,
                 BUILDER_POINTER(request));
    BUILDER_CALL(b, BUILDER_LOOPBACK, NULL, CHILD_CALL_ON_KEPT, SYS_close);
}

static void make_namespaces(struct boxed *box)
{
    unshare_one(box, SPEC_NAMESPACE_NET, BUILDER_NET, CLONE_NEWNET);
    if (in_namespace(box->spec, SPEC_NAMESPACE_NET))
        switch_loopback_on(box);
    unshare_one(box, SPEC_NAMESPACE_IPC, BUILDER_IPC, CLONE_NEWIPC);
    unshare_one(box, SPEC_NAMESPACE_UTS, BUILDER_UTS, CLONE_NEWUTS);
    unshare_one(box, SPEC_NAMESPACE_CGROUP, BUILDER_CGROUP, CLONE_NEWCGROUP);
}

static void change_root_only(struct boxed *box)
{
    static const char here[] = ".", whole[] = "/";

    BUILDER_CALL(&box->builder, BUILDER_ROOT_CHANGE, NULL, 0, SYS_chroot, BUILDER_POINTER(here));
    BUILDER_CALL(&box->builder, BUILDER_ROOT_CHANGE, NULL, 0, SYS_chdir, BUILDER_POINTER(whole));
}

/* A folder that one is in stays what it was, whatever is mounted over it: through it a private /tmp
 * would be left.  So the way there is gone again; to one that is not there any more it ends in /.
 */
static int enter_directory_again(struct boxed *box, struct err *err)
{
    static const char whole[] = "/";
    char path[PATH_MAX];

    if (!getcwd(path, sizeof(path)))
        memcpy(path, whole, sizeof(whole));
    const char *kept = arena_strdup(box->builder.arena, path);
    if (!kept)
        return err_set(err, ERR_MEMORY, "no memory for the calls of a sandbox");
    BUILDER_CALL(&box->builder, BUILDER_DIRECTORY, whole, 0, SYS_chdir, BUILDER_POINTER(whole));
    BUILDER_CALL(&box->builder, BUILDER_DIRECTORY, kept, CHILD_CALL_MAY_LACK, SYS_chdir,
                 BUILDER_POINTER(kept));
    return 0;
}

/* --- capabilities --- */

/* With its own devices it may not make others. */
static uint64_t kept_capabilities(const struct boxed *box)
{
    const struct spec_capabilities *wanted = &box->spec->capabilities;
    const struct ability *ability = box->start->ability;
    uint64_t all = ability->bounding;

    if (wanted->given)
        all = wanted->all_but ? all & ~wanted->named : all & wanted->named;
    if (box->spec->private_devices)
        all &= ~(1ULL << CAP_MKNOD | 1ULL << CAP_SYS_RAWIO);
    return all;
}

static void bound_capabilities(struct boxed *box)
{
    const struct ability *ability = box->start->ability;
    uint64_t kept = kept_capabilities(box);

    for (int i = 0; i <= ability->last; i++)
        if (ability->bounding & ~kept & 1ULL << i)
            BUILDER_CALL(&box->builder, BUILDER_BOUND, capability_name(i), 0, SYS_prctl,
                         PR_CAPBSET_DROP, (unsigned long)i);
    if (box->spec->capabilities.given && box->start->set_ids)
        BUILDER_CALL(&box->builder, BUILDER_KEEP, NULL, 0, SYS_prctl, PR_SET_KEEPCAPS, 1);
}

static struct __user_cap_data_struct *cap_data(struct boxed *box, uint64_t kept)
{
    struct __user_cap_data_struct *data =
        arena_array(box->builder.arena, _LINUX_CAPABILITY_U32S_3, sizeof(*data));

    for (int i = 0; data && i < _LINUX_CAPABILITY_U32S_3; i++) {
        uint32_t word = (uint32_t)(kept >> (32 * i));
        data[i].effective = data[i].permitted = word;
        data[i].inheritable = box->start->set_ids ? word : 0;
    }
    return data;
}

/* An ordinary user's program keeps what is ambient; root's gets what it is bounded to.  "All but
 * some" of an ordinary user bounds what it could get, and gives it nothing. */
static void set_capabilities(struct boxed *box)
{
    struct builder *b = &box->builder;
    const struct spec_capabilities *wanted = &box->spec->capabilities;
    uint64_t kept = kept_capabilities(box) & box->start->ability->effective;

    if (!wanted->given)
        return;
    if (wanted->all_but && box->start->set_ids)
        kept = 0;
    struct __user_cap_header_struct *head = arena_alloc(b->arena, sizeof(*head));
    struct __user_cap_data_struct *data = cap_data(box, kept);
    b->failed |= !head || !data;
    if (b->failed)
        return;
    head->version = _LINUX_CAPABILITY_VERSION_3;
    BUILDER_CALL(b, BUILDER_CAPABILITIES, NULL, 0, SYS_capset, BUILDER_POINTER(head),
                 BUILDER_POINTER(data));
    for (int i = 0; box->start->set_ids && i <= box->start->ability->last; i++)
        if (kept >> i & 1)
            BUILDER_CALL(b, BUILDER_AMBIENT, capability_name(i), 0, SYS_prctl, PR_CAP_AMBIENT,
                         PR_CAP_AMBIENT_RAISE, (unsigned long)i);
}

/* --- the whole --- */

static void last_calls(struct boxed *box)
{
    struct builder *b = &box->builder;

    set_capabilities(box);
    if (box->spec->no_new_privs)
        BUILDER_CALL(b, BUILDER_NO_NEW_PRIVS, NULL, 0, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1);
    if (box->start->filter)
        BUILDER_CALL(b, BUILDER_FILTER, NULL, 0, SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0,
                     BUILDER_POINTER(box->start->filter));
}

static int first_calls(struct boxed *box, struct err *err)
{
    bool chroot_only = ability_only_chroot(box->start->ability, box->spec);
    bool beside = box->start->beside_fd >= 0;
    int rc = 0;

    if (!beside)
        make_namespaces(box);
    if (!beside && spec_sandbox_mounts(box->spec) && !chroot_only)
        rc = boxed_mounts(box, err);
    if (rc == 0 && spec_sandbox_mounts(box->spec) && !box->spec->root)
        rc = enter_directory_again(box, err);
    if (chroot_only)
        change_root_only(box);
    if (box->spec->capabilities.given || box->spec->private_devices)
        bound_capabilities(box);
    box->builder.first = box->builder.count;
    return rc;
}

static int name_root(struct boxed *box, char *path, struct err *err)
{
    char link[64];

    box->root = "/";
    if (box->start->root_fd < 0)
        return 0;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", box->start->root_fd);
    ssize_t len = readlink(link, path, PATH_MAX - 1);
    if (len < 0)
        return err_sys(err, errno, "root: %s", box->spec->root);
    path[len] = '\0';
    box->root = path;
    box->root_fd = box->start->root_fd;
    return 0;
}

static void finish(const struct boxed *box, struct sandbox *ret)
{
    const struct sandbox_start *start = box->start;
    const struct builder *b = &box->builder;
    bool beside = start->beside_fd >= 0;
    bool enters = !beside || ability_only_chroot(start->ability, box->spec);

    *ret = (struct sandbox){
        .child = { .first = b->calls,
                   .nfirst = b->first,
                   .last = b->calls + b->first,
                   .nlast = b->count - b->first,
                   .root_fd = enters ? start->root_fd : -1,
                   .join_fd = start->beside_fd,
                   .join = beside ? sandbox_shared_namespaces(box->spec, start->ability) : 0,
                   .join_report = start->beside_report,
                   .new_processes = !beside && in_namespace(box->spec, SPEC_NAMESPACE_PID) },
        .subjects = b->subjects,
        .ncalls = b->count,
    };
}

int sandbox_make(const struct sandbox_start *start, struct arena *arena, struct sandbox *ret,
                 struct err *err)
{
    char path[PATH_MAX];
    AUTO_CLOSE int ours = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct boxed box = { .start = start, .spec = start->spec, .builder = { .arena = arena } };

    if (ours < 0)
        return err_sys(err, errno, "opening /");
    box.root_fd = ours;
    int rc = name_root(&box, path, err);
    if (rc == 0)
        rc = first_calls(&box, err);
    if (rc != 0)
        return rc;
    last_calls(&box);
    if (box.builder.failed)
        return err_set(err, ERR_MEMORY, "no memory for the calls of a sandbox");
    finish(&box, ret);
    return 0;
}

/* --- words --- */

const char *sandbox_step_text(int32_t step, const struct sandbox *sandbox,
                              char text[static SANDBOX_TEXT_MAX])
{
    uint32_t what = step < 0 ? 0 : (uint32_t)step >> CHILD_WHAT_SHIFT;
    uint32_t act = what & ((1u << BUILDER_ACT_BITS) - 1), number = what >> BUILDER_ACT_BITS;
    const char *format = act == BUILDER_NOTHING ? NULL : builder_act_text(act);
    const char *subject = sandbox && number < sandbox->ncalls ? sandbox->subjects[number] : NULL;
    const char *place = format ? strstr(format, "%s") : NULL;

    if (!format)
        return child_step_name(step);
    if (!subject)
        subject = act == BUILDER_MOUNTS || act == BUILDER_SLAVE ? "sandbox" : "something";
    if (place)
        snprintf(text, SANDBOX_TEXT_MAX, "%.*s%s%s", (int)(place - format), format, subject,
                 place + 2);
    else
        snprintf(text, SANDBOX_TEXT_MAX, "%s", format);
    return text;
}

static void begin_key(struct buf *out, const char *key)
{
    if (out->len > 0)
        buf_puts(out, ", ");
    buf_puts(out, key);
}

static void put_paths(struct buf *out, const char *key, const struct spec_paths *paths)
{
    if (!paths->all && paths->count == 0)
        return;
    begin_key(out, key);
    for (size_t i = 0; i < paths->count; i++)
        buf_printf(out, " %s", paths->list[i]);
}

static void put_rights(struct buf *out, const struct spec_sandbox *spec)
{
    if (spec->no_new_privs)
        begin_key(out, "no_new_privs");
    if (spec->capabilities.given) {
        begin_key(out, spec->capabilities.all_but ? "capabilities without " : "capabilities ");
        capability_put(spec->capabilities.named, out);
    }
    if (spec->seccomp.profile != SPEC_SECCOMP_NONE) {
        begin_key(out, "seccomp ");
        buf_puts(out, spec_seccomp_name(spec->seccomp.profile));
        if (spec->seccomp.denied != SPEC_DENIED_ERROR)
            buf_printf(out, ":%s", spec_denied_name(spec->seccomp.denied));
    }
}

void sandbox_summary(const struct spec_sandbox *spec, struct buf *out)
{
    put_rights(out, spec);
    if (spec->private_tmp.on)
        begin_key(out, "private_tmp");
    if (spec->private_devices)
        begin_key(out, "private_devices");
    put_paths(out, "read_only", &spec->read_only);
    put_paths(out, "but not", &spec->read_write);
    put_paths(out, "hidden", &spec->hidden);
    if (spec->root) {
        begin_key(out, "root ");
        buf_puts(out, spec->root);
    }
    if (spec->namespaces == 0)
        return;
    begin_key(out, "its own");
    for (int i = 0; i < SPEC_NNAMESPACES; i++)
        if (in_namespace(spec, (enum spec_namespace)i))
            buf_printf(out, " %s", spec_namespace_name(i));
}
