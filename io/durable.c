/* durable.c - the contract is in durable.h; finding and removing paths is in durable_path.c. */
#include "io/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"

enum { TEMPORARY_MAX = 32, TEMPORARY_TRIES = 16 };

/* Not to be guessed: the folder may belong to somebody who would like to put a link there. */
static int temporary_name(char name[static TEMPORARY_MAX], struct err *err)
{
    unsigned long long random;

    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return err_sys(err, errno, "choosing a temporary name");
    snprintf(name, TEMPORARY_MAX, ".new-%016llx", random);
    return 0;
}

/* Opened anew, so that path-only descriptors and AT_FDCWD will do as well. */
int durable_sync_dir(int dirfd, struct err *err)
{
    AUTO_CLOSE int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return err_sys(err, errno, "opening the folder to sync it");
    /* Some file systems do not know how to sync a folder; there is nothing to wait for then. */
    if (fsync(fd) != 0 && errno != EINVAL && errno != EROFS)
        return err_sys(err, errno, "syncing the folder");
    return 0;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t put = write(fd, data, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? errno : ENOSPC;
        data += put;
        len -= (size_t)put;
    }
    return 0;
}

/* Returns 0 or an errno.  close() is looked at too: some file systems tell of a full disk there. */
static int fill(int fd, const void *data, size_t len, mode_t mode)
{
    int error = fchmod(fd, mode) != 0 ? errno : write_all(fd, data, len);

    if (error == 0 && fsync(fd) != 0)
        error = errno;
    if (close(fd) != 0 && error == 0 && errno != EINTR)
        error = errno;
    return error;
}

static int create_temporary(int dirfd, char name[static TEMPORARY_MAX], struct err *err)
{
    int fd = -1;

    for (int i = 0; i < TEMPORARY_TRIES && fd < 0; i++) {
        int rc = temporary_name(name, err);
        if (rc < 0)
            return rc;
        fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    return fd < 0 ? err_sys(err, errno, "creating a temporary file") : fd;
}

int durable_write(int dirfd, const char *name, const void *data, size_t len, mode_t mode,
                  struct err *err)
{
    char temporary[TEMPORARY_MAX];
    int fd = create_temporary(dirfd, temporary, err);

    if (fd < 0) {
        err_wrap(err, "writing %s", name);
        return fd;
    }
    int error = fill(fd, data, len, mode);
    if (error == 0 && renameat(dirfd, temporary, dirfd, name) != 0)
        error = errno;
    if (error != 0) {
        unlinkat(dirfd, temporary, 0);
        return err_sys(err, error, "writing %s", name);
    }
    int rc = durable_sync_dir(dirfd, err);
    if (rc < 0)
        err_wrap(err, "writing %s", name);
    return rc;
}

static bool links_to(int dirfd, const char *name, const char *target)
{
    char now[PATH_MAX];
    ssize_t len = readlinkat(dirfd, name, now, sizeof(now));

    return len >= 0 && (size_t)len == strlen(target) && memcmp(now, target, (size_t)len) == 0;
}

static int create_link(int dirfd, const char *target, char name[static TEMPORARY_MAX],
                       struct err *err)
{
    for (int i = 0; i < TEMPORARY_TRIES; i++) {
        int rc = temporary_name(name, err);
        if (rc < 0 || symlinkat(target, dirfd, name) == 0)
            return rc;
        if (errno != EEXIST)
            break;
    }
    return err_sys(err, errno, "creating a temporary link");
}

static int replace_link(int dirfd, const char *name, const char *target, struct err *err)
{
    char temporary[TEMPORARY_MAX];
    struct stat st;

    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
        return err_set(err, ERR_STATE, "it is a folder, not a link; move it away");
    int rc = create_link(dirfd, target, temporary, err);
    if (rc < 0)
        return rc;
    if (renameat(dirfd, temporary, dirfd, name) != 0) {
        int error = errno;
        unlinkat(dirfd, temporary, 0);
        if (error == EISDIR) /* somebody was quicker */
            return err_set(err, ERR_STATE, "it is a folder, not a link; move it away");
        return err_sys(err, error, "putting it in place");
    }
    return durable_sync_dir(dirfd, err);
}

int durable_symlink(int dirfd, const char *name, const char *target, struct err *err)
{
    int rc = links_to(dirfd, name, target) ? 0 : replace_link(dirfd, name, target, err);

    if (rc < 0)
        err_wrap(err, "linking %s to %s", name, target);
    return rc;
}

int durable_unlink(int dirfd, const char *name, struct err *err)
{
    if (unlinkat(dirfd, name, 0) != 0)
        return errno == ENOENT ? 0 : err_sys(err, errno, "removing %s", name);
    int rc = durable_sync_dir(dirfd, err);
    if (rc < 0)
        err_wrap(err, "removing %s", name);
    return rc;
}

/* For file systems without RENAME_NOREPLACE the question is asked first: not atomic, but there
 * is nothing better there. */
static int rename_new(int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    struct stat st;

    if (renameat2(from_dirfd, from, to_dirfd, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
    if (fstatat(to_dirfd, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return EEXIST;
    return renameat(from_dirfd, from, to_dirfd, to) == 0 ? 0 : errno;
}

int durable_rename(int from_dirfd, const char *from, int to_dirfd, const char *to, bool replace,
                   struct err *err)
{
    int error = 0;

    if (!replace)
        error = rename_new(from_dirfd, from, to_dirfd, to);
    else if (renameat(from_dirfd, from, to_dirfd, to) != 0)
        error = errno;
    if (error == EEXIST && !replace)
        return err_set(err, ERR_EXISTS, "renaming %s to %s: it is there already", from, to);
    if (error != 0)
        return err_sys(err, error, "renaming %s to %s", from, to);
    int rc = durable_sync_dir(to_dirfd, err);
    if (rc == 0 && from_dirfd != to_dirfd)
        rc = durable_sync_dir(from_dirfd, err);
    if (rc < 0)
        err_wrap(err, "renaming %s to %s", from, to);
    return rc;
}

int durable_mkdir(int dirfd, const char *name, mode_t mode, struct err *err)
{
    struct stat st;

    if (mkdirat(dirfd, name, mode) != 0) {
        int error = errno;
        if (error != EEXIST || fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            return err_sys(err, error, "making the folder %s", name);
        if (!S_ISDIR(st.st_mode))
            return err_set(err, ERR_EXISTS, "making the folder %s: a %s of that name is there",
                           name, S_ISLNK(st.st_mode) ? "link" : "file");
    }
    /* Also when it was there: the one who made it may have died before this. */
    int rc = durable_sync_dir(dirfd, err);
    if (rc < 0)
        err_wrap(err, "making the folder %s", name);
    return rc;
}
