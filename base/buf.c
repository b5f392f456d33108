/* buf.c - the contract is in buf.h. */
#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"

enum { FIRST_CAP = 64, READ_CHUNK = 16 * 1024 };

void buf_init(struct buf *buf, size_t max) { *buf = (struct buf){ .max = max }; }

void buf_done(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){ .max = buf->max };
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->failed = false;
    if (buf->data)
        buf->data[0] = '\0';
}

/* `cap` counts the byte for the NUL; doubling stops at max + 1. */
static bool grow(struct buf *buf, size_t need)
{
    size_t cap = buf->cap ? buf->cap : FIRST_CAP;

    while (cap < need)
        cap = cap > need / 2 ? need : cap * 2;
    if (cap < buf->cap * 2)
        cap = buf->cap * 2;
    if (buf->max < cap - 1)
        cap = buf->max + 1;
    char *data = realloc(buf->data, cap);
    if (!data)
        return false;
    buf->data = data;
    buf->cap = cap;
    data[buf->len] = '\0';
    return true;
}

bool buf_reserve(struct buf *buf, size_t len)
{
    if (buf->failed)
        return false;
    if (len > buf->max - buf->len) {
        buf->failed = true;
        return false;
    }
    size_t need;
    if (__builtin_add_overflow(buf->len + 1, len, &need) || (need > buf->cap && !grow(buf, need))) {
        buf->failed = true;
        return false;
    }
    return true;
}

void buf_put(struct buf *buf, const void *data, size_t len)
{
    if (!buf_reserve(buf, len))
        return;
    if (len)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void buf_puts(struct buf *buf, const char *text) { buf_put(buf, text, strlen(text)); }
void buf_putc(struct buf *buf, char c) { buf_put(buf, &c, 1); }

void buf_vprintf(struct buf *buf, const char *fmt, va_list args)
{
    va_list again;

    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    if (len < 0) {
        buf->failed = true;
    } else if (buf_reserve(buf, (size_t)len)) {
        vsnprintf(buf->data + buf->len, (size_t)len + 1, fmt, again);
        buf->len += (size_t)len;
    }
    va_end(again);
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    buf_vprintf(buf, fmt, args);
    va_end(args);
}

void buf_consume(struct buf *buf, size_t len)
{
    if (!buf->data)
        return;
    if (len > buf->len)
        len = buf->len;
    buf->len -= len;
    memmove(buf->data, buf->data + len, buf->len + 1);
}

const char *buf_text(const struct buf *buf) { return buf->data ? buf->data : ""; }

char *buf_take(struct buf *buf)
{
    char *data = buf->data ? buf->data : calloc(1, 1);

    *buf = (struct buf){ .max = buf->max };
    return data;
}

void buf_wrap(struct buf *buf, const char *text, size_t indent, const char *prefix)
{
    size_t column = indent;

    for (bool first = true; *(text += strspn(text, " \n")); first = false) {
        size_t len = strcspn(text, " \n");
        if (!first && column + 1 + len > BUF_COLUMNS) {
            buf_printf(buf, "\n%s", prefix);
            column = strlen(prefix);
        } else if (!first) {
            buf_putc(buf, ' ');
            column++;
        }
        buf_put(buf, text, len);
        column += len;
        text += len;
    }
    buf_putc(buf, '\n');
}

/* True when the file ends here although the buffer is full. */
static int check_end(int fd)
{
    char more;
    ssize_t got;

    do
        got = read(fd, &more, 1);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got > 0 ? -EFBIG : 0;
}

int buf_read_fd(struct buf *buf, int fd)
{
    while (!buf->failed) {
        size_t room = buf->max - buf->len;
        if (room == 0) {
            int end = check_end(fd);
            buf->failed = end == -EFBIG;
            return end;
        }
        if (room > READ_CHUNK)
            room = READ_CHUNK;
        if (!buf_reserve(buf, room))
            return -ENOMEM;
        ssize_t got = read(fd, buf->data + buf->len, room);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got == 0)
            return 0;
        if (got > 0) {
            buf->len += (size_t)got;
            buf->data[buf->len] = '\0';
        }
    }
    return -ENOMEM;
}

int buf_read_file(struct buf *buf, int dirfd, const char *path)
{
    struct stat st;
    /* O_NONBLOCK: opening a FIFO that somebody left in a folder must not hang us. */
    AUTO_CLOSE int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
        return -EINVAL;
    return buf_read_fd(buf, fd);
}
