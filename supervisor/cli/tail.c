/* tail.c - the contract is in tail.h. */
#include "supervisor/cli/tail.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 32 * 1024, TRIES_MAX = 20 };

void tail_init(struct tail *tail, const char *path)
{
    *tail = (struct tail){ .path = path };
    chain_init(&tail->file);
    buf_init(&tail->in, TAIL_LINE_MAX + BLOCK);
}

void tail_done(struct tail *tail)
{
    chain_close(&tail->file);
    buf_done(&tail->in);
}

/* --- where to begin --- */

/* Counts the lines of an open file to its end; a last one without an end counts. */
static int count_lines(struct chain_file *file, uint64_t *ret)
{
    char block[BLOCK], last = '\n';

    *ret = 0;
    for (;;) {
        ssize_t n = read(file->fd, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        for (const char *at = block; (at = memchr(at, '\n', (size_t)(block + n - at))); at++)
            ++*ret;
        last = block[n - 1];
    }
    *ret += last != '\n';
    return 0;
}

/* Where the last `*lines` lines of a plain file begin; *lines are what is left to be found in the
 * file before it. */
static off_t find_start(int fd, uint64_t *lines)
{
    char block[BLOCK];
    off_t end = lseek(fd, 0, SEEK_END), at = end;
    uint64_t seen = 0;

    if (end < 0)
        return -errno;
    if (*lines == 0)
        return end;
    while (at > 0) {
        size_t size = at > (off_t)sizeof block ? sizeof block : (size_t)at;
        ssize_t got = pread(fd, block, size, at - (off_t)size);
        if (got < 0)
            return -errno;
        if ((size_t)got < size)
            break; /* cut while we look at it */
        for (size_t i = size; i-- > 0;) {
            off_t place = at - (off_t)(size - i);
            if (block[i] == '\n' && place + 1 < end && ++seen == *lines) {
                *lines = 0;
                return place + 1;
            }
        }
        at -= (off_t)size;
    }
    *lines -= end > 0 ? seen + 1 : 0;
    return 0;
}

/* Goes back file by file until the lines are found.  1: it was rotated meanwhile. */
static int go_back(struct tail *tail, uint64_t lines, struct err *err)
{
    struct stat before = { 0 }, after = { 0 };
    uint32_t oldest = chain_oldest(tail->path);

    bool there = stat(tail->path, &before) == 0;
    for (uint32_t number = 0; number <= oldest; number++) {
        struct chain_file file;
        int rc = chain_open(tail->path, number, &file, err);
        if (rc != 0 || file.fd < 0) {
            if (rc != 0)
                return rc;
            continue;
        }
        chain_close(&tail->file);
        tail->file = file;
        tail->at = 0;
        tail->skip = 0;
        if (!file.packed) {
            off_t start = find_start(file.fd, &lines);
            if (start < 0)
                return err_sys(err, (int)-start, "reading %s", tail->path);
            tail->at = start;
        } else {
            uint64_t have;
            rc = count_lines(&tail->file, &have);
            if (rc != 0)
                return err_sys(err, -rc, "unpacking an old file of %s", tail->path);
            tail->skip = have > lines ? have - lines : 0;
            lines -= have > lines ? lines : have;
            chain_close(&tail->file); /* and once more from its beginning */
            rc = chain_open(tail->path, number, &tail->file, err);
            if (rc != 0)
                return rc;
        }
        if (lines == 0)
            break;
    }
    bool same = there == (stat(tail->path, &after) == 0);
    return same && (!there || (before.st_ino == after.st_ino && before.st_dev == after.st_dev)) ? 0
                                                                                                : 1;
}

int tail_from_end(struct tail *tail, uint64_t lines, struct err *err)
{
    int rc = 1;

    for (int tries = 0; rc == 1 && tries < TRIES_MAX; tries++) {
        chain_close(&tail->file);
        tail->at = 0;
        tail->skip = 0;
        rc = go_back(tail, lines, err);
    }
    return rc < 0 ? rc : 0;
}

int tail_from_time(struct tail *tail, int64_t wall_us, struct err *err)
{
    uint32_t oldest = chain_oldest(tail->path), number = 0;

    while (number < oldest && chain_time_us(tail->path, number + 1) >= wall_us)
        number++;
    /* A rotation meanwhile moves older lines here, which the caller leaves out by their time. */
    for (; number > 0; number--) {
        int rc = chain_open(tail->path, number, &tail->file, err);
        if (rc != 0 || tail->file.fd >= 0)
            return rc;
    }
    return chain_open(tail->path, 0, &tail->file, err);
}

/* --- reading on --- */

static void compact(struct tail *tail)
{
    buf_consume(&tail->in, tail->given);
    tail->scanned -= tail->given;
    tail->given = 0;
}

/* Bytes read, 0 at the end of what is there. */
static ssize_t fill(struct tail *tail)
{
    ssize_t n;

    compact(tail);
    if (!buf_reserve(&tail->in, BLOCK))
        return -ENOMEM;
    char *to = tail->in.data + tail->in.len;
    do {
        n = tail->file.packed ? read(tail->file.fd, to, BLOCK)
                              : pread(tail->file.fd, to, BLOCK, tail->at);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    tail->in.len += (size_t)n;
    tail->in.data[tail->in.len] = '\0';
    tail->at += n;
    return n;
}

/* Whether nobody writes to the open file any more: another one has its name. */
static bool is_finished(const struct tail *tail)
{
    struct stat there;

    return tail->file.packed ||
           (stat(tail->path, &there) == 0 &&
            (there.st_ino != tail->file.id.st_ino || there.st_dev != tail->file.id.st_dev));
}

static void look_for_cut(struct tail *tail)
{
    struct stat now;

    if (tail->file.packed || fstat(tail->file.fd, &now) != 0 || now.st_size >= tail->at)
        return;
    tail->at = 0;
    tail->missed = true;
}

/* 1: there is more to read, 0: not now. */
static int move_on(struct tail *tail, struct err *err)
{
    struct chain_file next;
    bool missed;

    int rc = chain_next(tail->path, &tail->file, &next, &missed, err);
    if (rc != 0)
        return rc;
    if (next.fd < 0)
        return 0;
    chain_close(&tail->file);
    tail->file = next;
    tail->at = 0;
    tail->missed |= missed;
    return 1;
}

/* More bytes into `in`: 1, or 0: there are none now. */
static int more(struct tail *tail, struct err *err)
{
    for (;;) {
        if (tail->file.fd < 0) {
            int rc = move_on(tail, err);
            if (rc <= 0)
                return rc;
        }
        look_for_cut(tail);
        bool finished = is_finished(tail); /* asked before the rest of it is read */
        ssize_t n = fill(tail);
        if (n < 0)
            return err_sys(err, (int)-n, "reading %s", tail->path);
        if (n > 0)
            return 1;
        if (!finished)
            return 0;
        int rc = chain_end(tail->path, &tail->file, err);
        if (rc != 0) { /* what was read of it is given; the next one follows */
            tail->missed = true;
            err->code = 0;
        }
        rc = move_on(tail, err);
        if (rc <= 0)
            return rc;
    }
}

static bool take_line(struct tail *tail, const char **ret, size_t *ret_len)
{
    const char *from = tail->in.data + tail->given;
    size_t have = tail->in.len - tail->given, known = tail->scanned - tail->given;
    const char *end = have > known ? memchr(from + known, '\n', have - known) : NULL;

    if (!end && have < TAIL_LINE_MAX) {
        tail->scanned = tail->in.len;
        return false;
    }
    *ret = from;
    *ret_len = end ? (size_t)(end - from) : have;
    tail->given += *ret_len + (end != NULL);
    tail->scanned = tail->given;
    return true;
}

int tail_next(struct tail *tail, const char **ret, size_t *ret_len, struct err *err)
{
    for (;;) {
        if (take_line(tail, ret, ret_len)) {
            if (tail->skip == 0)
                return 1;
            tail->skip--;
            continue;
        }
        int rc = more(tail, err);
        if (rc <= 0)
            return rc;
    }
}

bool tail_rest(struct tail *tail, const char **ret, size_t *ret_len)
{
    if (tail->given == tail->in.len)
        return false;
    *ret = tail->in.data + tail->given;
    *ret_len = tail->in.len - tail->given;
    tail->given = tail->scanned = tail->in.len;
    return true;
}
