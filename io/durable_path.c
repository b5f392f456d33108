/* durable_path.c - paths that cannot be tricked; the contract is in durable.h. */
#include "io/durable.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"

enum {
    OPEN_TRIES = 32,     /* the kernel says EAGAIN when somebody renames on the way */
    TREE_DEPTH_MAX = 64, /* folders open at once, twice each; what is deeper is moved up */
    TREE_NAME_MAX = 32,
    PARENT_MODE = 0755,
};

/* The next part of *path, copied to `part`; false at the end, part[0] is 0 if it is too long. */
static bool next_part(const char **path, char part[static NAME_MAX + 1])
{
    *path += strspn(*path, "/");
    size_t len = strcspn(*path, "/");
    if (len == 0)
        return false;
    bool fits = len <= NAME_MAX;
    memcpy(part, *path, fits ? len : 0);
    part[fits ? len : 0] = '\0';
    *path += len;
    return true;
}

/* O_NOFOLLOW alone gives a descriptor of the link itself together with O_PATH. */
static int refuse_link(int fd)
{
    struct stat st;

    if (fd < 0 || (fstat(fd, &st) == 0 && !S_ISLNK(st.st_mode)))
        return fd < 0 ? -errno : fd;
    close(fd);
    return -ELOOP;
}

/* One folder, or a link to be told from other things: openat() says ENOTDIR for both. */
static int open_folder(int dirfd, const char *name, int flags)
{
    struct stat st;
    int fd = openat(dirfd, name, flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd >= 0)
        return fd;
    int error = errno;
    if (error == ENOTDIR && fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISLNK(st.st_mode))
        error = ELOOP;
    return -error;
}

/* For kernels and sandboxes without openat2: part by part, and ".." is refused altogether. */
static int walk_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
    AUTO_CLOSE int dir = openat(dirfd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char part[NAME_MAX + 1], next[NAME_MAX + 1];

    if (dir < 0)
        return -errno;
    if (path[0] == '/')
        return -EXDEV;
    if (!next_part(&path, part))
        return -ENOENT;
    for (;;) {
        if (part[0] == '\0')
            return -ENAMETOOLONG;
        if (strcmp(part, "..") == 0)
            return -EXDEV;
        bool ends_in_slash = *path == '/';
        if (!next_part(&path, next))
            return refuse_link(
                openat(dir, part,
                       flags | O_NOFOLLOW | O_CLOEXEC | (ends_in_slash ? O_DIRECTORY : 0), mode));
        int below = open_folder(dir, part, O_PATH);
        if (below < 0)
            return below;
        close(dir);
        dir = below;
        memcpy(part, next, sizeof(part));
    }
}

static int open_resolved(int dirfd, const char *path, int flags, mode_t mode, unsigned long resolve)
{
    bool creates = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
    struct open_how how = {
        .flags = (unsigned)flags | O_CLOEXEC,
        .mode = creates ? mode & 07777 : 0,
        .resolve = resolve,
    };
    long fd = -1;

    for (int i = 0; i < OPEN_TRIES; i++) {
        fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return fd < 0 ? -errno : (int)fd;
}

int durable_open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
    int fd = open_resolved(dirfd, path, flags, mode,
                           RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);

    /* EPERM: what older container sandboxes answer to a call they do not know. */
    if (fd == -ENOSYS || fd == -EPERM)
        fd = walk_beneath(dirfd, path, flags, mode);
    return fd;
}

/* A folder whose entries only root and `owner` can exchange. */
static int check_parent(int fd, uid_t owner, const char *path, int len, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return err_sys(err, errno, "looking at %.*s", len, path);
    if (st.st_uid != 0 && st.st_uid != owner)
        return err_set(err, ERR_DENIED,
                       "%.*s belongs to user %u, who could replace what is inside; make it root's",
                       len, path, (unsigned)st.st_uid);
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) && !(st.st_mode & S_ISVTX))
        return err_set(err, ERR_DENIED, "%.*s can be written by others; try chmod go-w %.*s", len,
                       path, len, path);
    return 0;
}

static int fail_part(int error, const char *path, int len, struct err *err)
{
    if (error == ELOOP)
        return err_set(err, ERR_DENIED, "%.*s is a symbolic link; name the folder itself", len,
                       path);
    if (error == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "there is no folder %.*s", len, path);
    return err_sys(err, error, "opening %.*s", len, path);
}

int durable_open_trusted(const char *path, uid_t owner, struct err *err)
{
    AUTO_CLOSE int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *at = path;
    char part[NAME_MAX + 1];

    if (path[0] != '/')
        return err_set(err, ERR_INVALID, "%s is not an absolute path", path);
    if (dir < 0)
        return err_sys(err, errno, "opening /");
    for (int before = 1; next_part(&at, part); before = (int)(at - path)) {
        int len = (int)(at - path);
        if (strcmp(part, ".") == 0)
            continue;
        if (strcmp(part, "..") == 0 || part[0] == '\0')
            return err_set(err, ERR_INVALID, "%s: the path may not contain \"..\" or long names",
                           path);
        int rc = check_parent(dir, owner, path, before, err);
        if (rc < 0)
            return rc;
        /* Parents need not be readable. */
        int below = open_folder(dir, part, at[strspn(at, "/")] ? O_PATH : O_RDONLY);
        if (below < 0)
            return fail_part(-below, path, len, err);
        close(dir);
        dir = below;
    }
    return take_fd(&dir);
}

struct removal {
    int top; /* the folder that is being removed */
    struct err *err;
};
static int empty_folder(struct removal *removal, int fd, int depth);

/* Trees deeper than we may open folders are cut in pieces that hang from the top. */
static int move_up(struct removal *removal, int dirfd, const char *name)
{
    char moved[TREE_NAME_MAX];
    unsigned long long random = 0;

    if (getrandom(&random, sizeof(random), 0) < 0 ||
        snprintf(moved, sizeof(moved), ".deep-%016llx", random) < 0 ||
        renameat2(dirfd, name, removal->top, moved, RENAME_NOREPLACE) != 0)
        return err_sys(removal->err, errno, "%s", name);
    return 0;
}

/* Neither a link nor a mount point is entered: what is behind it is not ours to remove. */
static int open_to_remove(struct removal *removal, int dirfd, const char *name)
{
    int fd = open_resolved(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0,
                           RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    if (fd == -ENOSYS || fd == -EPERM)
        fd = open_folder(dirfd, name, O_RDONLY);
    if (fd == -EXDEV)
        return err_set(removal->err, ERR_STATE, "%s is a mount point", name);
    return fd < 0 ? err_sys(removal->err, -fd, "%s", name) : fd;
}

static int remove_folder(struct removal *removal, int dirfd, const char *name, int depth)
{
    if (depth >= TREE_DEPTH_MAX)
        return move_up(removal, dirfd, name);
    AUTO_CLOSE int fd = open_to_remove(removal, dirfd, name);
    struct stat st;
    if (fd < 0)
        return fd;
    /* Releases are read-only, also for their owner. */
    if (fstat(fd, &st) == 0 && (st.st_mode & S_IRWXU) != S_IRWXU)
        (void)fchmod(fd, S_IRWXU);
    if (depth == 0)
        removal->top = fd;
    int rc = empty_folder(removal, fd, depth);
    if (rc == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        return err_sys(removal->err, errno, "%s", name);
    return rc < 0 ? err_wrap(removal->err, "%s", name) : 0;
}

static int remove_entry(struct removal *removal, int dirfd, const char *name, int depth)
{
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    int error = errno;
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
        return remove_folder(removal, dirfd, name, depth);
    return err_sys(removal->err, error, "%s", name);
}

/* Removing while reading may skip entries, so it is read until nothing was found. */
static int empty_folder(struct removal *removal, int fd, int depth)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0), rc = 0;
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *entry;
    bool found = true;

    if (!dir) {
        int error = errno;
        if (copy >= 0)
            close(copy);
        return err_sys(removal->err, error, "reading the folder");
    }
    while (rc == 0 && found) {
        found = false;
        rewinddir(dir);
        for (errno = 0; rc == 0 && (entry = readdir(dir)) != NULL; errno = 0) {
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                continue;
            found = true;
            rc = remove_entry(removal, fd, entry->d_name, depth + 1);
        }
        if (rc == 0 && errno != 0)
            rc = err_sys(removal->err, errno, "reading the folder");
    }
    closedir(dir);
    return rc;
}

int durable_remove_tree(int dirfd, const char *name, struct err *err)
{
    struct err own;
    struct removal removal = { -1, err ? err : &own };
    struct stat st;

    if (name[0] == '\0' || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return err_set(err, ERR_INVALID, "removing \"%s\": that is not the name of an entry", name);
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
        return 0;
    int rc = remove_entry(&removal, dirfd, name, 0);
    if (rc == 0)
        rc = durable_sync_dir(dirfd, removal.err);
    return rc < 0 ? err_wrap(removal.err, "removing") : 0;
}

/* Makes one level; its parent is synced when something was made. */
static int make_level(int dirfd, const char *name, mode_t mode)
{
    struct err err = { .sys = 0 };

    if (mkdirat(dirfd, name, mode) != 0)
        return errno == EEXIST ? 0 : errno;
    return durable_sync_dir(dirfd, &err) < 0 ? err.sys : 0;
}

int durable_make_dirs(const char *path, mode_t mode, struct err *err)
{
    AUTO_CLOSE int dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    const char *at = path;
    char part[NAME_MAX + 1];

    if (path[0] != '/')
        return err_set(err, ERR_INVALID, "%s is not an absolute path", path);
    if (dir < 0)
        return err_sys(err, errno, "opening /");
    while (next_part(&at, part)) {
        int len = (int)(at - path);
        bool last = at[strspn(at, "/")] == '\0';
        int below = openat(dir, part, O_PATH | O_DIRECTORY | O_CLOEXEC), error = errno;
        if (below < 0 && error == ENOENT) {
            error = make_level(dir, part, last ? mode : PARENT_MODE);
            if (error == 0)
                below = openat(dir, part, O_PATH | O_DIRECTORY | O_CLOEXEC);
            if (error == 0 && below < 0)
                error = errno;
        }
        if (below < 0)
            return err_sys(err, error, "making the folder %.*s", len, path);
        close(dir);
        dir = below;
    }
    return 0;
}
