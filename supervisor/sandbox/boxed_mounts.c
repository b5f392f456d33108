/* boxed_mounts.c - the mounts of a sandbox; the contract is in boxed.h. */
#include "supervisor/sandbox/boxed.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "supervisor/sandbox/mounts.h"

enum {
    MOUNTINFO_BYTES_MAX = 8 * 1024 * 1024,
    FIXED_RULES = 6, /* /, /dev, /proc, /sys, /tmp, /var/tmp */
    CLOSED = MS_NOSUID | MS_NODEV | MS_NOEXEC,
    LACK = CHILD_CALL_MAY_LACK,
};
static const char whole[] = "/", proc[] = "/proc", dev[] = "/dev", sys[] = "/sys", tmp[] = "/tmp",
                  var_tmp[] = "/var/tmp", here[] = ".", tmpfs[] = "tmpfs";

/* --- beginning --- */

static const char *first_key(const struct spec_sandbox *spec)
{
    return spec->private_tmp.on        ? "private_tmp"
           : spec->private_devices     ? "private_devices"
           : spec->read_only.all       ? "read_only"
           : spec->read_only.count > 0 ? "read_only"
           : spec->hidden.count > 0    ? "hidden_paths"
           : spec->root                ? "root"
                                       : "namespaces";
}

/* What we mount later comes to it, what it mounts does not come to us. */
static void begin(struct boxed *box)
{
    const char *key = first_key(box->spec);

    BUILDER_CALL(&box->builder, BUILDER_MOUNTS, key, 0, SYS_unshare, CLONE_NEWNS);
    BUILDER_CALL(&box->builder, BUILDER_SLAVE, key, 0, SYS_mount, 0, BUILDER_POINTER(whole), 0,
                 MS_REC | MS_SLAVE);
}

/* --- the root --- */

static void bring(struct boxed *box, const char *from, const char *to)
{
    builder_mount(&box->builder, BUILDER_ROOT_BRING, LACK, from, to, NULL, MS_BIND | MS_REC, NULL);
}

/* The working directory is the folder.  It is mounted over /proc, which is left in the next moment
 * anyway, because a mount at "." would lie below us. */
static void enter_root(struct boxed *box)
{
    struct builder *b = &box->builder;

    if (!(box->spec->namespaces & 1u << SPEC_NAMESPACE_PID))
        bring(box, proc, proc + 1);
    if (!box->spec->private_devices)
        bring(box, dev, dev + 1);
    bring(box, sys, sys + 1);
    if (box->start->notify)
        bring(box, box->start->notify, box->start->notify + 1);
    builder_mount(b, BUILDER_ROOT_ENTER, 0, here, proc, NULL, MS_BIND | MS_REC, NULL);
    BUILDER_CALL(b, BUILDER_ROOT_CHANGE, NULL, 0, SYS_chdir, BUILDER_POINTER(proc));
    BUILDER_CALL(b, BUILDER_ROOT_CHANGE, NULL, 0, SYS_pivot_root, BUILDER_POINTER(here),
                 BUILDER_POINTER(here));
    BUILDER_CALL(b, BUILDER_ROOT_LEAVE, NULL, 0, SYS_umount2, BUILDER_POINTER(here), MNT_DETACH);
    BUILDER_CALL(b, BUILDER_ROOT_CHANGE, NULL, 0, SYS_chdir, BUILDER_POINTER(whole));
}

/* --- folders of its own --- */

static void mount_tmp(struct boxed *box)
{
    const struct spec_private_tmp *wanted = &box->spec->private_tmp;
    const char *data = "mode=1777";

    if (!wanted->on)
        return;
    if (wanted->bytes > 0)
        data = arena_printf(box->builder.arena, "mode=1777,size=%lld", (long long)wanted->bytes);
    box->builder.failed |= !data;
    builder_mount(&box->builder, BUILDER_TMP, 0, tmpfs, tmp, tmpfs, MS_NOSUID | MS_NODEV, data);
    builder_mount(&box->builder, BUILDER_TMP, LACK, tmpfs, var_tmp, tmpfs, MS_NOSUID | MS_NODEV,
                  data);
}

static void make_device(struct builder *b, const char *path, unsigned major, unsigned minor)
{
    const mode_t mode = 0666;

    BUILDER_CALL(b, BUILDER_DEVICE, path, 0, SYS_mknodat, (unsigned long)AT_FDCWD,
                 BUILDER_POINTER(path), S_IFCHR | mode, makedev(major, minor));
    /* Whatever the umask is. */
    BUILDER_CALL(b, BUILDER_DEVICE, path, 0, SYS_fchmodat, (unsigned long)AT_FDCWD,
                 BUILDER_POINTER(path), mode);
}

static void make_link(struct builder *b, const char *path, const char *target)
{
    BUILDER_CALL(b, BUILDER_DEVICE, path, 0, SYS_symlinkat, BUILDER_POINTER(target),
                 (unsigned long)AT_FDCWD, BUILDER_POINTER(path));
}

static void make_folder(struct builder *b, const char *path)
{
    BUILDER_CALL(b, BUILDER_DEVICE, path, 0, SYS_mkdirat, (unsigned long)AT_FDCWD,
                 BUILDER_POINTER(path), 0755);
}

static void make_devices(struct boxed *box)
{
    static const struct {
        const char *path;
        unsigned major, minor;
    } nodes[] = { { "/dev/null", 1, 3 },   { "/dev/zero", 1, 5 },    { "/dev/full", 1, 7 },
                  { "/dev/random", 1, 8 }, { "/dev/urandom", 1, 9 }, { "/dev/tty", 5, 0 } };
    static const char *const links[][2] = {
        { "/dev/fd", "/proc/self/fd" },       { "/dev/stdin", "/proc/self/fd/0" },
        { "/dev/stdout", "/proc/self/fd/1" }, { "/dev/stderr", "/proc/self/fd/2" },
        { "/dev/ptmx", "pts/ptmx" },          { "/dev/log", "/run/systemd/journal/dev-log" }
    };
    struct builder *b = &box->builder;

    if (!box->spec->private_devices)
        return;
    builder_mount(b, BUILDER_DEVICES, 0, tmpfs, dev, tmpfs, MS_NOSUID | MS_NOEXEC,
                  "mode=755,size=64k");
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
        make_device(b, nodes[i].path, nodes[i].major, nodes[i].minor);
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
        make_link(b, links[i][0], links[i][1]);
    make_folder(b, "/dev/pts");
    make_folder(b, "/dev/shm");
    builder_mount(b, BUILDER_DEVICES, 0, "devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
                  "newinstance,ptmxmode=0666,mode=620");
    builder_mount(b, BUILDER_DEVICES, 0, tmpfs, "/dev/shm", tmpfs, MS_NOSUID | MS_NODEV,
                  "mode=1777");
    builder_mount(b, BUILDER_DEVICES, 0, NULL, dev, NULL,
                  MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL);
}

/* --- paths as they really are --- */

static int open_inside(const struct boxed *box, const char *path)
{
    struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
    int fd = (int)syscall(SYS_openat2, box->root_fd, path, &how, sizeof(how));

    if (fd < 0 && errno == ENOSYS && strcmp(box->root, whole) == 0)
        fd = open(path, O_PATH | O_CLOEXEC);
    return fd;
}

/* A path of the configuration without its links, as seen from the root; *ret is NULL when it may be
 * missing and is. */
static int resolve(struct boxed *box, const char *key, const char *path, const char **ret,
                   bool *ret_folder, struct err *err)
{
    char link[64], real[PATH_MAX];
    bool optional = *path == '-';
    struct stat st;

    path += optional;
    *ret = NULL;
    AUTO_CLOSE int fd = open_inside(box, path);
    if (fd < 0 && optional && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (fd < 0 || fstat(fd, &st) != 0)
        return err_sys(err, errno, "%s: %s", key, path);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, real, sizeof(real) - 1);
    if (len < 0)
        return err_sys(err, errno, "%s: %s", key, path);
    real[len] = '\0';
    size_t skip = strcmp(box->root, whole) == 0 ? 0 : strlen(box->root);
    if (skip > (size_t)len || strncmp(real, box->root, skip) != 0)
        skip = (size_t)len; /* the root was moved meanwhile; the child will fail to find it */
    *ret = arena_strdup(box->builder.arena, real[skip] ? real + skip : whole);
    *ret_folder = S_ISDIR(st.st_mode);
    return *ret ? 0 : err_set(err, ERR_MEMORY, "no memory for the paths of a sandbox");
}

/* --- read_only --- */

struct rules {
    struct mounts_rule *list;
    size_t count;
};

static int add_rules(struct boxed *box, const char *key, const struct spec_paths *paths,
                     bool read_only, struct rules *rules, struct err *err)
{
    const char *path;
    bool folder;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < paths->count; i++) {
        rc = resolve(box, key, paths->list[i], &path, &folder, err);
        if (rc == 0 && path)
            rules->list[rules->count++] = (struct mounts_rule){ path, read_only };
    }
    return rc;
}

/* A folder that the kernel fills, or that is its own, is left alone. */
static void leave_alone(struct boxed *box, const char *path, struct rules *rules)
{
    AUTO_CLOSE int fd = open_inside(box, path);

    if (fd >= 0)
        rules->list[rules->count++] = (struct mounts_rule){ path, false };
}

static int make_rules(struct boxed *box, struct rules *rules, struct err *err)
{
    const struct spec_sandbox *spec = box->spec;
    size_t most = FIXED_RULES + spec->read_only.count + spec->read_write.count;

    *rules = (struct rules){ .list = arena_array(box->builder.arena, most, sizeof(*rules->list)) };
    if (!rules->list)
        return err_set(err, ERR_MEMORY, "no memory for the paths of a sandbox");
    if (spec->read_only.all) {
        rules->list[rules->count++] = (struct mounts_rule){ whole, true };
        leave_alone(box, dev, rules);
        leave_alone(box, proc, rules);
        leave_alone(box, sys, rules);
    }
    int rc = add_rules(box, "read_only", &spec->read_only, true, rules, err);
    if (rc == 0)
        rc = add_rules(box, "read_write_paths", &spec->read_write, false, rules, err);
    return rc;
}

static int read_mounts(struct boxed *box, struct mounts *ret, struct err *err)
{
    struct buf text;

    buf_init(&text, MOUNTINFO_BYTES_MAX);
    int rc = buf_read_file(&text, AT_FDCWD, "/proc/self/mountinfo");
    rc = rc == 0 ? mounts_parse(buf_text(&text), box->root, box->builder.arena, ret, err)
                 : err_sys(err, -rc, "read_only: reading /proc/self/mountinfo");
    buf_done(&text);
    return rc;
}

static int plan_read_only(struct boxed *box, struct mounts_plan *ret, struct err *err)
{
    struct mounts mounts;
    struct rules rules;

    *ret = (struct mounts_plan){ 0 };
    if (!box->spec->read_only.all && box->spec->read_only.count == 0)
        return 0;
    int rc = make_rules(box, &rules, err);
    if (rc == 0)
        rc = read_mounts(box, &mounts, err);
    return rc == 0
               ? mounts_read_only(&mounts, rules.list, rules.count, box->builder.arena, ret, err)
               : rc;
}

static bool is_inside(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    return strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* What gets something else put over it is not seen, and so not written to. */
static bool is_replaced(const struct boxed *box, const char *path)
{
    return (box->spec->private_tmp.on && (is_inside(path, tmp) || is_inside(path, var_tmp))) ||
           (box->spec->private_devices && is_inside(path, dev));
}

static void bind_all(struct boxed *box, const struct mounts_plan *plan)
{
    for (size_t i = 0; i < plan->nbinds; i++)
        builder_mount(&box->builder, BUILDER_BIND, 0, plan->binds[i], plan->binds[i], NULL,
                      MS_BIND | MS_REC, NULL);
}

/* Of what is mounted somewhere below, some may be covered by another mount and not be reached. */
static void remount_all(struct boxed *box, const struct mounts_plan *plan)
{
    for (size_t i = 0; i < plan->nremounts; i++) {
        const struct mounts_entry *entry = &plan->remounts[i];
        bool below = strcmp(entry->path, whole) != 0;

        if (!is_replaced(box, entry->path))
            builder_mount(&box->builder, BUILDER_REMOUNT, below ? LACK : 0, NULL, entry->path, NULL,
                          MS_REMOUNT | MS_BIND | entry->flags, NULL);
    }
}

/* --- hidden_paths --- */

static int hide(struct boxed *box, struct err *err)
{
    const struct spec_paths *paths = &box->spec->hidden;
    const char *path;
    bool folder;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < paths->count; i++) {
        rc = resolve(box, "hidden_paths", paths->list[i], &path, &folder, err);
        if (rc != 0 || !path)
            continue;
        if (folder)
            builder_mount(&box->builder, BUILDER_HIDE, 0, tmpfs, path, tmpfs, MS_RDONLY | CLOSED,
                          "mode=000,size=4k");
        else
            builder_mount(&box->builder, BUILDER_HIDE, 0, "/dev/null", path, NULL, MS_BIND, NULL);
    }
    return rc;
}

int boxed_mounts(struct boxed *box, struct err *err)
{
    struct mounts_plan plan;

    int rc = plan_read_only(box, &plan, err);
    if (rc != 0)
        return rc;
    begin(box);
    if (box->spec->root)
        enter_root(box);
    if (box->spec->namespaces & 1u << SPEC_NAMESPACE_PID)
        builder_mount(&box->builder, BUILDER_PROC, box->spec->root ? LACK : 0, "proc", proc, "proc",
                      CLOSED, NULL);
    bind_all(box, &plan);
    mount_tmp(box);
    make_devices(box);
    remount_all(box, &plan);
    return hide(box, err);
}
