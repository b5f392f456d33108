/* tail.c - the contract is in tail.h. */
#include "supervisor/cli/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 64 * 1024, LINE_MAX_BYTES = 1024 * 1024 };

off_t tail_start(int fd, uint64_t lines)
{
    char block[4096];
    off_t end = lseek(fd, 0, SEEK_END), at = end;
    uint64_t seen = 0;

    if (end < 0)
        return -errno;
    if (lines == 0)
        return end;
    while (at > 0) {
        size_t size = at > (off_t)sizeof block ? sizeof block : (size_t)at;
        ssize_t got = pread(fd, block, size, at - (off_t)size);
        if (got < 0)
            return -errno;
        if ((size_t)got < size)
            return at; /* cut while we look at it */
        for (size_t i = size; i-- > 0;) {
            off_t place = at - (off_t)(size - i);
            if (block[i] == '\n' && place + 1 < end && ++seen == lines)
                return place + 1;
        }
        at -= (off_t)size;
    }
    return 0;
}

static int open_file(struct tail *tail, struct err *err)
{
    tail->fd = open(tail->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (tail->fd >= 0 || errno == ENOENT)
        return 0;
    return err_sys(err, errno, "opening %s", tail->path);
}

int tail_open(struct tail *tail, const char *path, const char *prefix, uint64_t lines,
              struct err *err)
{
    *tail = (struct tail){ .path = path, .prefix = prefix, .fd = -1 };
    buf_init(&tail->partial, LINE_MAX_BYTES);
    int rc = open_file(tail, err);
    if (rc != 0 || tail->fd < 0)
        return rc;
    off_t start = tail_start(tail->fd, lines);
    if (start < 0)
        return err_sys(err, (int)-start, "reading %s", path);
    tail->at = start;
    return 0;
}

void tail_done(struct tail *tail)
{
    if (tail->fd >= 0)
        close(tail->fd);
    tail->fd = -1;
    buf_done(&tail->partial);
}

void tail_flush(struct tail *tail, FILE *to)
{
    if (tail->partial.len > 0)
        fprintf(to, "%s%s\n", tail->prefix, buf_text(&tail->partial));
    buf_clear(&tail->partial);
}

/* Whole lines only, so that those of several instances do not mix. */
static void put_lines(struct tail *tail, const char *data, size_t len, FILE *to)
{
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t part = end ? (size_t)(end - data) : len;

        buf_put(&tail->partial, data, part);
        if (tail->partial.failed || end) {
            fputs(tail->prefix, to);
            fwrite(tail->partial.data ? tail->partial.data : "", 1, tail->partial.len, to);
            fputc('\n', to);
            buf_clear(&tail->partial);
        }
        part += end != NULL;
        data += part;
        len -= part;
    }
}

static int print_rest(struct tail *tail, FILE *to, struct err *err)
{
    char block[BLOCK];

    for (;;) {
        ssize_t got = pread(tail->fd, block, sizeof block, tail->at);
        if (got < 0)
            return err_sys(err, errno, "reading %s", tail->path);
        if (got == 0)
            return 0;
        tail->at += got;
        if (tail->prefix)
            put_lines(tail, block, (size_t)got, to);
        else
            fwrite(block, 1, (size_t)got, to);
    }
}

static bool is_another(const struct stat *a, const struct stat *b)
{
    return a->st_ino != b->st_ino || a->st_dev != b->st_dev;
}

int tail_print(struct tail *tail, FILE *to, struct err *err)
{
    struct stat open_one, there;

    if (tail->fd < 0) {
        int rc = open_file(tail, err);
        if (rc != 0 || tail->fd < 0)
            return rc;
        tail->at = 0;
    }
    if (fstat(tail->fd, &open_one) != 0)
        return err_sys(err, errno, "looking at %s", tail->path);
    if (open_one.st_size < tail->at)
        tail->at = open_one.st_size;
    /* Asked before the rest is read: what is renamed after this is found the next time. */
    bool moved = stat(tail->path, &there) == 0 && is_another(&open_one, &there);
    int rc = print_rest(tail, to, err);
    if (rc != 0 || !moved)
        return rc;
    close(tail->fd);
    tail->at = 0;
    rc = open_file(tail, err);
    return rc != 0 || tail->fd < 0 ? rc : print_rest(tail, to, err);
}
