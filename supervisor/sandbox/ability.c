/* ability.c - the contract is in ability.h. */
#include "supervisor/sandbox/ability.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "supervisor/plan/capability.h"
#include "supervisor/sandbox/filter.h"

enum { CAPABILITIES_MAX = 64 };

/* --- looking --- */

static void look_at_capabilities(struct ability *ret)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

    if (syscall(SYS_capget, &head, data) == 0)
        ret->effective = data[0].effective | (uint64_t)data[1].effective << 32;
    ret->last = -1;
    for (int i = 0; i < CAPABILITIES_MAX; i++) {
        int held = prctl(PR_CAPBSET_READ, i, 0, 0, 0);
        if (held < 0)
            break;
        ret->last = i;
        ret->bounding |= (uint64_t)held << i;
    }
}

/* Namespaces of mounts belong to threads, so this one takes what it made with it. */
static void *try_mounts(void *ret_error)
{
    int *error = ret_error;

    *error = unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0
                 ? errno
                 : 0;
    return NULL;
}

static void look_at_mounts(struct ability *ret)
{
    pthread_t thread;
    int tried = 0;

    ret->mounts = pthread_create(&thread, NULL, try_mounts, &tried);
    if (ret->mounts != 0)
        return;
    pthread_join(thread, NULL);
    ret->mounts = tried;
}

static const char *look_at_filters(void)
{
    uint32_t action = SECCOMP_RET_ERRNO;

    if (!filter_is_built())
        return "this program was built without libseccomp";
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0)
        return "this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER, Linux 4.14)";
    return NULL;
}

void ability_look(struct ability *ret)
{
    *ret = (struct ability){ .no_filters = look_at_filters() };
    look_at_capabilities(ret);
    look_at_mounts(ret);
}

/* --- checking --- */

bool ability_has(const struct ability *ability, int number)
{
    return ability->effective >> number & 1;
}

bool ability_only_chroot(const struct ability *ability, const struct spec_sandbox *sandbox)
{
    struct spec_sandbox rest = *sandbox;

    rest.root = NULL;
    return sandbox->root && ability->mounts != 0 && !spec_sandbox_mounts(&rest) &&
           ability_has(ability, CAP_SYS_CHROOT);
}

static const char *key_with_mounts(const struct spec_sandbox *sandbox)
{
    return sandbox->private_tmp.on        ? "private_tmp"
           : sandbox->private_devices     ? "private_devices"
           : sandbox->read_only.all       ? "read_only"
           : sandbox->read_only.count > 0 ? "read_only"
           : sandbox->hidden.count > 0    ? "hidden_paths"
           : sandbox->root                ? "root"
                                          : "namespaces";
}

static const char as_root[] =
    "start the supervisor as root (in a container: with --cap-add SYS_ADMIN)";

static int check_mounts(const struct ability *ability, const struct spec_sandbox *sandbox,
                        const char **ret_key, struct err *err)
{
    if (!spec_sandbox_mounts(sandbox) || ability->mounts == 0 ||
        ability_only_chroot(ability, sandbox))
        return 0;
    *ret_key = key_with_mounts(sandbox);
    return err_set(err, ERR_DENIED, "wants mounts of its own, which we may not make (%s): %s",
                   strerror(ability->mounts), as_root);
}

static int check_namespaces(const struct ability *ability, const struct spec_sandbox *sandbox,
                            const char **ret_key, struct err *err)
{
    if (sandbox->namespaces == 0 || ability_has(ability, CAP_SYS_ADMIN))
        return 0;
    *ret_key = "namespaces";
    return err_set(err, ERR_DENIED, "we may not make any (no CAP_SYS_ADMIN): %s", as_root);
}

static int check_capabilities(const struct ability *ability, const struct spec_sandbox *sandbox,
                              const char **ret_key, struct err *err)
{
    const struct spec_capabilities *wanted = &sandbox->capabilities;

    if (!wanted->given && !sandbox->private_devices)
        return 0;
    *ret_key = wanted->given ? "capabilities" : "private_devices";
    if (!ability_has(ability, CAP_SETPCAP))
        return err_set(err, ERR_DENIED,
                       "cannot be taken away for good without CAP_SETPCAP: start the supervisor as "
                       "root; no_new_privs = true keeps an ordinary user without any");
    for (int i = 0; wanted->given && !wanted->all_but && i < CAPABILITIES_MAX; i++)
        if (wanted->named >> i & 1 && !(ability->effective & ability->bounding & 1ULL << i))
            return err_set(err, ERR_DENIED,
                           "%s is not ours to give, we were started without it (in a container: "
                           "--cap-add %s)",
                           capability_name(i), capability_name(i));
    return 0;
}

static int check_filters(const struct ability *ability, const struct spec_sandbox *sandbox,
                         const char **ret_key, struct err *err)
{
    if (sandbox->seccomp.profile == SPEC_SECCOMP_NONE || !ability->no_filters)
        return 0;
    *ret_key = "seccomp";
    return err_set(err, ERR_DENIED, "there are no filters here: %s", ability->no_filters);
}

int ability_check(const struct ability *ability, const struct spec_sandbox *sandbox,
                  const char **ret_key, struct err *err)
{
    int rc = check_mounts(ability, sandbox, ret_key, err);

    if (rc == 0)
        rc = check_namespaces(ability, sandbox, ret_key, err);
    if (rc == 0)
        rc = check_capabilities(ability, sandbox, ret_key, err);
    return rc == 0 ? check_filters(ability, sandbox, ret_key, err) : rc;
}
