/* cgroup.c - the contract is in cgroup.h. */
#include "supervisor/host/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "supervisor/host/cgroup_path.h"
#include "supervisor/host/cgroup_tree.h"

enum {
    MOUNTINFO_MAX = 16 * 1024 * 1024, /* hosts with containers have thousands of mounts */
    OWN_BYTES = CGROUP_PATH_MAX + 1024,
    CREATE_TRIES = 4,
    LIST_BYTES = 1024,
    PID_TEXT = 16,
};

static const char leaf[] = CGROUP_LEAF, prefix[] = "supervisor.";

const char *cgroup_controller_name(enum cgroup_controller controller)
{
    static const char *const names[CGROUP_NCONTROLLERS] = {
        [CGROUP_MEMORY] = "memory",
        [CGROUP_PIDS] = "pids",
        [CGROUP_CPU] = "cpu",
        [CGROUP_IO] = "io",
    };
    return names[controller];
}

/* --- where we are --- */

static bool own_path(pid_t pid, char *ret, size_t size)
{
    char file[48], text[OWN_BYTES];

    snprintf(file, sizeof file, "/proc/%d/cgroup", (int)pid);
    AUTO_CLOSE int fd = open(file, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    for (ssize_t n = 1; fd >= 0 && n > 0 && len<sizeof text - 1; len += n> 0 ? (size_t)n : 0)
        n = read(fd, text + len, sizeof text - 1 - len);
    text[len] = '\0';
    return fd >= 0 && cgroup_path_own(text, ret, size);
}

/* The folder of `own`, opened; the first mount that shows it counts. */
static int open_own(const char *own, char *dir, size_t size, struct err *err)
{
    struct cgroup_mount mount;
    struct buf text;
    bool any = false;
    int fd = -1;

    buf_init(&text, MOUNTINFO_MAX);
    int rc = buf_read_file(&text, AT_FDCWD, "/proc/self/mountinfo");
    const char *at = buf_text(&text);
    while (rc == 0 && fd < 0 && cgroup_path_mount(&at, &mount)) {
        any = true;
        if (cgroup_path_join(&mount, own, dir, size))
            fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    buf_done(&text);
    if (rc != 0)
        return err_sys(err, -rc, "reading /proc/self/mountinfo");
    if (fd >= 0)
        return fd;
    if (!any)
        return err_set(err, ERR_NOT_FOUND,
                       "cgroup2 is not mounted; mount it: mount -t cgroup2 none /sys/fs/cgroup");
    return err_set(err, ERR_NOT_FOUND,
                   "the group that we are in (%.80s) is not among what is mounted; give the "
                   "container a cgroup namespace of its own",
                   own);
}

bool cgroup_where(pid_t pid, char *ret, size_t size)
{
    char own[CGROUP_PATH_MAX];
    struct err err = { 0 };

    AUTO_CLOSE int fd = own_path(pid, own, sizeof own) ? open_own(own, ret, size, &err) : -1;
    return fd >= 0;
}

bool cgroup_inside(const struct cgroup *cgroup, pid_t pid, char *ret, size_t size)
{
    char own[CGROUP_PATH_MAX];

    return cgroup->fd >= 0 && own_path(pid, own, sizeof own) &&
           cgroup_path_inside(own, cgroup->name, ret, size);
}

/* --- our folder --- */

static int write_file(int dirfd, const char *name, const char *text)
{
    AUTO_CLOSE int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC);

    return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int refused(int error, const char *dir, struct err *err)
{
    if (error == EROFS || error == EACCES || error == EPERM)
        return err_set(err, ERR_DENIED,
                       "%.100s cannot be written (%s); delegate it (Delegate=yes, or a container "
                       "with writable cgroups)",
                       dir, strerror(error));
    return err_sys(err, error, "making a control group in %.100s", dir);
}

/* What supervisors that are gone left here.  One that has just been made has nobody in it either:
 * whoever makes one tries again when it vanishes. */
static void remove_abandoned(int parent)
{
    int copy = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    char file[sizeof entry->d_name + 32];

    if (!dir && copy >= 0)
        close(copy);
    while (dir && (entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, prefix, sizeof prefix - 1) != 0 || entry->d_type != DT_DIR)
            continue;
        snprintf(file, sizeof file, "%s/cgroup.events", entry->d_name);
        AUTO_CLOSE int events = openat(parent, file, O_RDONLY | O_CLOEXEC);
        if (events >= 0 && cgroup_group_populated(events) == 0)
            cgroup_tree_remove(parent, entry->d_name);
    }
    if (dir)
        closedir(dir);
}

int cgroup_move_in(int fd, const pid_t ours[CGROUP_KNOWN_PIDS], struct err *err)
{
    char text[PID_TEXT], file[64];

    if (mkdirat(fd, leaf, 0755) != 0 && errno != EEXIST)
        return err_sys(err, errno, "making a control group for the supervisor itself");
    snprintf(file, sizeof file, "%s/cgroup.procs", leaf);
    for (int i = 0; i < CGROUP_KNOWN_PIDS; i++) {
        snprintf(text, sizeof text, "%d", (int)ours[i]);
        int rc = ours[i] > 0 ? write_file(fd, file, text) : 0;
        if (rc != 0 && rc != -ESRCH) /* it may just have ended */
            return err_sys(err, -rc, "moving process %s into a control group", text);
    }
    return 0;
}

static int create_in(int parent, const pid_t *ours, const char *dir, struct err *err)
{
    char name[CGROUP_OURS_MAX];
    uint32_t chance = (uint32_t)getpid();

    (void)!getrandom(&chance, sizeof chance, GRND_NONBLOCK);
    snprintf(name, sizeof name, "%s%08x", prefix, chance);
    if (mkdirat(parent, name, 0755) != 0)
        return refused(errno, dir, err);
    AUTO_CLOSE int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? err_sys(err, errno, "opening the new control group")
                    : cgroup_move_in(fd, ours, err);
    if (rc == 0)
        return take_fd(&fd);
    cgroup_tree_remove(parent, name);
    return rc;
}

int cgroup_create(const pid_t ours[CGROUP_KNOWN_PIDS], struct err *err)
{
    char own[CGROUP_PATH_MAX], dir[CGROUP_PATH_MAX];
    int fd = ERR_STATE;

    if (!own_path(getpid(), own, sizeof own))
        return err_set(err, ERR_NOT_FOUND,
                       "this process is in no control group of version 2; the kernel needs it");
    AUTO_CLOSE int parent = open_own(own, dir, sizeof dir, err);
    if (parent < 0)
        return parent;
    remove_abandoned(parent);
    for (int i = 0; i < CREATE_TRIES && fd < 0; i++)
        fd = create_in(parent, ours, dir, err);
    return fd;
}

int cgroup_find(pid_t pid, struct err *err)
{
    char own[CGROUP_PATH_MAX], dir[CGROUP_PATH_MAX], part[CGROUP_OURS_MAX];
    char *at = own_path(pid, own, sizeof own) ? strstr(own, "/supervisor.") : NULL;
    char *last = NULL;

    for (; at; at = strstr(at + 1, "/supervisor.")) /* the innermost: we may be in one ourselves */
        last = at;
    char *end = last ? strchr(last + 1, '/') : NULL;
    if (!end || (size_t)(end - last) >= sizeof part)
        return err_set(err, ERR_NOT_FOUND, "process %d is in no group of ours", (int)pid);
    *end = '\0';
    return open_own(own, dir, sizeof dir, err);
}

void cgroup_use(struct cgroup *cgroup, int fd)
{
    char link[48], path[CGROUP_PATH_MAX];

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    const char *slash = strrchr(path, '/');
    *cgroup = (struct cgroup){ .fd = fd };
    snprintf(cgroup->name, sizeof cgroup->name, "%.60s", slash ? slash + 1 : path);
}

void cgroup_without(struct cgroup *cgroup, const char *why)
{
    *cgroup = (struct cgroup){ .fd = -1 };
    snprintf(cgroup->why_not, sizeof cgroup->why_not, "%.*s", CGROUP_WHY_MAX - 1, why);
}

void cgroup_leave(struct cgroup *cgroup, const pid_t ours[CGROUP_KNOWN_PIDS])
{
    char text[PID_TEXT];

    if (cgroup->fd < 0)
        return;
    cgroup_tree_prune(cgroup->fd); /* our own leaf stays as long as we are in it */
    for (int i = 0; i < CGROUP_KNOWN_PIDS; i++) {
        snprintf(text, sizeof text, "%d", (int)ours[i]);
        if (ours[i] > 0)
            (void)write_file(cgroup->fd, "../cgroup.procs", text);
    }
    AUTO_CLOSE int parent = openat(cgroup->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent >= 0)
        cgroup_tree_remove(parent, cgroup->name);
}

/* --- controllers --- */

static bool lists(int dirfd, const char *file, const char *word)
{
    AUTO_CLOSE int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC);
    char text[LIST_BYTES];
    size_t len = strlen(word);

    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    for (const char *at = text; *at; at += strspn(at, " \n")) {
        size_t size = strcspn(at, " \n");
        if (size == len && memcmp(at, word, len) == 0)
            return true;
        at += size;
    }
    return false;
}

/* Who keeps the group that we were started in busy, for people. */
static void name_squatter(int parent, char *ret, size_t size)
{
    char path[48], comm[32] = "";
    pid_t pid = 0;

    if (cgroup_tree_pids(parent, &pid, 1) == 0 || pid <= 0) {
        snprintf(ret, size, "other processes");
        return;
    }
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, comm, sizeof comm - 1);
    comm[n > 0 ? n - 1 : 0] = '\0';
    snprintf(ret, size, "process %d (%s)", (int)pid, comm);
}

static void explain(int parent, const char *name, int error, char *why, size_t size)
{
    char who[64];

    if (!lists(parent, "cgroup.controllers", name)) {
        bool root = faccessat(parent, "cgroup.events", F_OK, 0) != 0;
        if (root)
            snprintf(why, size,
                     "the kernel has no %s controller for cgroup2: it is used by version 1 or "
                     "switched off; boot with systemd.unified_cgroup_hierarchy=1 or "
                     "cgroup_no_v1=all",
                     name);
        else
            snprintf(why, size,
                     "the %s controller was not delegated to us; give it to the group we are "
                     "started in (Delegate=yes, cgroup.subtree_control)",
                     name);
    } else if (error == EBUSY) {
        name_squatter(parent, who, sizeof who);
        snprintf(why, size,
                 "%s shares the group we were started in, so that controllers cannot be handed "
                 "on; start the supervisor in a group of its own",
                 who);
    } else {
        snprintf(why, size, "the %s controller is refused: %s", name, strerror(error));
    }
}

/* Down two steps: to our folder, then to the instances. */
static void enable_one(struct cgroup *cgroup, int parent, enum cgroup_controller controller)
{
    const char *name = cgroup_controller_name(controller);
    char *why = cgroup->missing[controller];
    char order[16];
    int rc = 0;

    snprintf(order, sizeof order, "+%s", name);
    if (!lists(cgroup->fd, "cgroup.controllers", name))
        rc = write_file(parent, "cgroup.subtree_control", order);
    if (rc == 0)
        rc = write_file(cgroup->fd, "cgroup.subtree_control", order);
    why[0] = '\0';
    if (rc == 0)
        cgroup->enabled |= 1u << controller;
    else
        explain(parent, name, -rc, why, CGROUP_WHY_MAX);
}

void cgroup_enable(struct cgroup *cgroup, unsigned wanted)
{
    if (cgroup->fd < 0)
        return;
    AUTO_CLOSE int parent = openat(cgroup->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; parent >= 0 && i < CGROUP_NCONTROLLERS; i++)
        if (wanted & ~cgroup->enabled & (1u << i))
            enable_one(cgroup, parent, (enum cgroup_controller)i);
}

/* --- only looking --- */

/* A group with processes of others in it cannot hand anything on; the root's may. */
static bool is_shared(int parent, size_t ours)
{
    return faccessat(parent, "cgroup.events", F_OK, 0) == 0 && cgroup_tree_alone(parent) > ours;
}

static void foresee(struct cgroup *ret, int parent, bool shared)
{
    for (int i = 0; i < CGROUP_NCONTROLLERS; i++) {
        const char *name = cgroup_controller_name((enum cgroup_controller)i);
        bool handed_on = lists(parent, "cgroup.subtree_control", name);

        if (ret->enabled & 1u << i || ret->missing[i][0])
            continue;
        if (lists(parent, "cgroup.controllers", name) && (handed_on || !shared))
            ret->enabled |= 1u << i;
        else
            explain(parent, name, EBUSY, ret->missing[i], CGROUP_WHY_MAX);
    }
}

void cgroup_foresee(struct cgroup *copy)
{
    if (copy->fd < 0)
        return;
    AUTO_CLOSE int parent = openat(copy->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent >= 0) /* with ourselves out of it any process there is one too many */
        foresee(copy, parent, is_shared(parent, 0));
}

void cgroup_look(struct cgroup *ret)
{
    char own[CGROUP_PATH_MAX], dir[CGROUP_PATH_MAX];
    struct err err = { 0 };

    cgroup_without(ret, "this process is in no control group of version 2");
    if (!own_path(getpid(), own, sizeof own))
        return;
    AUTO_CLOSE int parent = open_own(own, dir, sizeof dir, &err);
    if (parent >= 0 && faccessat(parent, "cgroup.procs", W_OK, 0) != 0)
        (void)refused(errno, dir, &err);
    if (err.code != 0) {
        cgroup_without(ret, err.text);
        return;
    }
    ret->why_not[0] = '\0';
    foresee(ret, parent, is_shared(parent, 1));
}
