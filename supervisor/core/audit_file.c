/* audit_file.c - the contract is in audit_file.h. */
#include "supervisor/core/audit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    MODE = 0640,
    PATH_BYTES = 4096,
    PRIORITY = 10 * 8 + 6, /* authpriv, info */
};
static const char dev_log[] = "/dev/log", syslog_word[] = "syslog";

void audit_file_init(struct audit_file *file, void (*leave)(void *context, int fd), void *context)
{
    *file = (struct audit_file){ .fd = -1, .leave = leave, .context = context };
}

static void shut(struct audit_file *file)
{
    if (file->fd >= 0 && file->syslog)
        close(file->fd);
    else if (file->fd >= 0)
        file->leave(file->context, file->fd);
    file->fd = -1;
}

void audit_file_done(struct audit_file *file)
{
    shut(file);
    free(file->where);
    file->where = NULL;
}

/* --- where it goes --- */

/* Never anything that a write could wait for. */
static int open_file(struct audit_file *file)
{
    int flags = O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    int fd = open(file->where, flags, MODE);
    struct stat st;
    char last;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return -EINVAL;
    }
    file->fd = fd;
    file->dev = st.st_dev;
    file->ino = st.st_ino;
    file->size = st.st_size;
    file->fresh |= st.st_size == 0;
    file->torn = st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) == 1 && last != '\n';
    return 0;
}

static int open_syslog(struct audit_file *file)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };

    if (strlen(file->syslog) >= sizeof to.sun_path)
        return -ENAMETOOLONG;
    memcpy(to.sun_path, file->syslog, strlen(file->syslog));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    file->fd = fd;
    return 0;
}

static int open_it(struct audit_file *file)
{
    return file->syslog ? open_syslog(file) : open_file(file);
}

/* Rotated meanwhile: what we have open is no longer what the name says. */
static bool was_moved(const struct audit_file *file)
{
    struct stat st;

    return file->fd >= 0 && !file->syslog &&
           (lstat(file->where, &st) != 0 || st.st_dev != file->dev || st.st_ino != file->ino);
}

int audit_file_configure(struct audit_file *file, const struct audit_settings *settings,
                         struct err *err)
{
    bool wanted = settings->where && strcmp(settings->where, "none") != 0;
    size_t len = strlen(syslog_word);

    shut(file);
    free(file->where);
    file->syslog = NULL;
    file->maxbytes = settings->maxbytes;
    file->backups = settings->backups;
    file->where = wanted ? strdup(settings->where) : NULL;
    if (!file->where)
        return wanted ? err_set(err, ERR_MEMORY, "no memory for the audit log, it is off") : 0;
    if (strncmp(file->where, syslog_word, len) == 0)
        file->syslog = file->where[len] == ':' ? file->where + len + 1 : dev_log;
    int rc = open_it(file);
    if (rc == -EINVAL)
        return err_set(err, ERR_INVALID, "audit_log %s is no file; orders go on without it",
                       file->where);
    return rc == 0 ? 0
                   : err_sys(err, -rc, "audit_log %s cannot be opened, orders go on without it",
                             file->where);
}

/* --- rotation --- */

static bool name_of(const struct audit_file *file, int64_t number, char to[PATH_BYTES])
{
    int len = number ? snprintf(to, PATH_BYTES, "%s.%lld", file->where, (long long)number)
                     : snprintf(to, PATH_BYTES, "%s", file->where);
    return len > 0 && len < PATH_BYTES;
}

/* The first number that is free, or the last of all. */
static int64_t first_gap(const struct audit_file *file)
{
    char name[PATH_BYTES];
    struct stat st;

    for (int64_t n = 1; n < file->backups; n++)
        if (!name_of(file, n, name) || (lstat(name, &st) != 0 && errno == ENOENT))
            return n;
    return file->backups;
}

/* From the oldest on: what cannot be moved stops it before anything is moved over it. */
static int move_all(const struct audit_file *file)
{
    char from[PATH_BYTES], to[PATH_BYTES];

    if (file->backups == 0)
        return unlink(file->where) == 0 ? 0 : -errno;
    for (int64_t n = first_gap(file); n > 0; n--) {
        if (!name_of(file, n - 1, from) || !name_of(file, n, to))
            return -ENAMETOOLONG;
        if (rename(from, to) != 0)
            return -errno;
    }
    return 0;
}

static void rotate_for(struct audit_file *file, const struct buf *line)
{
    if (file->syslog || file->maxbytes == 0 || file->size == 0 ||
        file->size + (int64_t)line->len <= file->maxbytes || move_all(file) != 0)
        return;
    shut(file);
}

/* --- lines --- */

static int send_line(const struct audit_file *file, const struct buf *line)
{
    time_t now = (time_t)(clock_wall_us() / 1000000);
    char head[96], stamp[32];
    struct tm tm;

    localtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%b %e %T", &tm);
    int len =
        snprintf(head, sizeof head, "<%d>%s supervisor[%d]: ", PRIORITY, stamp, (int)getpid());
    struct iovec parts[] = { { head, (size_t)len }, { line->data, line->len - strlen("\n") } };
    const struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
    return sendmsg(file->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int append_line(struct audit_file *file, const struct buf *line)
{
    if (file->torn && write(file->fd, "\n", 1) != 1)
        return -errno;
    file->torn = false;
    ssize_t done = write(file->fd, line->data, line->len);
    file->size += done > 0 ? done : 0;
    if (done == (ssize_t)line->len)
        return 0;
    file->torn = done > 0;
    return done < 0 ? -errno : -ENOSPC;
}

int audit_file_put(struct audit_file *file, const struct buf *line)
{
    if (was_moved(file))
        shut(file);
    if (file->fd >= 0)
        rotate_for(file, line);
    int rc = file->fd < 0 ? open_it(file) : 0;
    if (rc == 0)
        rc = file->syslog ? send_line(file, line) : append_line(file, line);
    if (rc != 0 && file->syslog) { /* its reader may have been started anew */
        shut(file);
        rc = open_it(file);
        rc = rc == 0 ? send_line(file, line) : rc;
    }
    return rc;
}
