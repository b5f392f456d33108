/* file.c - the contract is in file.h. */
#include "supervisor/logger/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "io/durable.h"

enum { FILE_PATH_MAX = 4096, FILE_MODE = 0640, FOLDER_MODE = 0755 };
/* O_NONBLOCK so that a FIFO under this name is an error and not a wait. */
static const int open_flags = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

void file_init(struct file *file) { *file = (struct file){ .fd = -1 }; }

void file_close(struct file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file_init(file);
}

int file_look(struct file *file)
{
    struct stat st;
    if (fstat(file->fd, &st) != 0)
        return -errno;
    file->regular = S_ISREG(st.st_mode);
    if (!file->regular && !S_ISCHR(st.st_mode))
        return -ENOTSUP;
    file->deleted = st.st_nlink == 0;
    file->dev = (uint64_t)st.st_dev;
    file->ino = (uint64_t)st.st_ino;
    file->size = file->regular ? (uint64_t)st.st_size : 0;
    file->written_s = (int64_t)st.st_mtim.tv_sec;
    return 0;
}

static int make_folder(const char *path)
{
    char folder[FILE_PATH_MAX];
    const char *slash = strrchr(path, '/');
    struct err err = { 0 };

    if (!slash || slash == path || (size_t)(slash - path) >= sizeof folder)
        return -ENOENT;
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    if (durable_make_dirs(folder, FOLDER_MODE, &err) != 0)
        return err.sys ? -err.sys : -ENOENT;
    return 0;
}

/* Makes the file; -EEXIST if somebody was faster. */
static int create_file(const char *path, uint32_t uid, uint32_t gid)
{
    int flags = O_RDWR | O_CREAT | O_EXCL | open_flags;
    int fd = open(path, flags, FILE_MODE);

    if (fd < 0 && errno == ENOENT) {
        int rc = make_folder(path);
        if (rc != 0)
            return rc;
        fd = open(path, flags, FILE_MODE);
    }
    if (fd < 0)
        return -errno;
    /* Refused when we are not root: then the file is ours, which is still a log. */
    if ((uid != (uint32_t)-1 || gid != (uint32_t)-1) && fchown(fd, uid, gid) != 0)
        return fd;
    return fd;
}

int file_open(struct file *file, const char *path, bool create, uint32_t uid, uint32_t gid)
{
    file_close(file);
    for (int tries = 0; tries < 3 && file->fd < 0; tries++) {
        file->fd = open(path, O_RDWR | open_flags);
        if (file->fd < 0 && errno == EACCES)
            file->fd = open(path, O_WRONLY | open_flags);
        if (file->fd >= 0)
            break;
        if (errno != ENOENT || !create)
            return -errno;
        file->fd = create_file(path, uid, gid);
        if (file->fd < 0 && file->fd != -EEXIST) {
            int rc = file->fd;
            file_init(file);
            return rc;
        }
    }
    if (file->fd < 0) {
        file_init(file);
        return -EEXIST;
    }
    int rc = file_look(file);
    if (rc != 0)
        file_close(file);
    return rc;
}

bool file_ends_in_line(const struct file *file)
{
    char last = '\n';
    if (file->regular && file->size > 0 && pread(file->fd, &last, 1, (off_t)(file->size - 1)) != 1)
        return true;
    return last == '\n';
}

int file_write(struct file *file, const void *data, size_t len, uint64_t offset)
{
    for (size_t done = 0; done < len;) {
        const char *at = (const char *)data + done;
        ssize_t n = file->regular ? pwrite(file->fd, at, len - done, (off_t)(offset + done))
                                  : write(file->fd, at, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENOSPC;
        done += (size_t)n;
    }
    return 0;
}

int file_truncate(struct file *file, uint64_t size)
{
    if (!file->regular)
        return 0;
    return ftruncate(file->fd, (off_t)size) == 0 ? 0 : -errno;
}
