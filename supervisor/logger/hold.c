/* hold.c - the contract is in hold.h. */
#include "supervisor/logger/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { PAGE = 4096 }; /* of a pipe; the first may be partly read */

static int set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* Scratch must have room for as many pieces as hold, or it could not show all of it. */
static int match_sizes(struct hold *hold, struct err *err)
{
    int hold_size = fcntl(hold->w, F_GETPIPE_SZ), size = fcntl(hold->scratch_w, F_GETPIPE_SZ);

    if (hold_size < 0 || size < 0)
        return err_sys(err, errno, "size of the hold pipe");
    if (size >= hold_size || fcntl(hold->scratch_w, F_SETPIPE_SZ, hold_size) >= hold_size)
        return 0;
    if (fcntl(hold->w, F_SETPIPE_SZ, size) < 0)
        hold->bare = true;
    return 0;
}

int hold_init(struct hold *hold, int r, int w, struct err *err)
{
    int scratch[2];

    *hold = (struct hold){ .r = r, .w = w, .scratch_r = -1, .scratch_w = -1, .null = -1 };
    if (r < 0 || w < 0)
        return err_set(err, ERR_NOT_FOUND, "hold.r or hold.w is missing in the store");
    if (pipe2(scratch, O_CLOEXEC | O_NONBLOCK) != 0)
        return err_sys(err, errno, "making a pipe");
    hold->scratch_r = scratch[0];
    hold->scratch_w = scratch[1];
    if (set_nonblocking(r) != 0 || set_nonblocking(w) != 0)
        return err_sys(err, errno, "hold pipe");
    hold->null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    return match_sizes(hold, err);
}

void hold_done(struct hold *hold)
{
    int *all[] = { &hold->r, &hold->w, &hold->scratch_r, &hold->scratch_w, &hold->null };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (*all[i] >= 0)
            close(*all[i]);
        *all[i] = -1;
    }
}

size_t hold_bytes(const struct hold *hold)
{
    int n = 0;
    return ioctl(hold->r, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

ssize_t hold_take(struct hold *hold, int pipe, size_t max)
{
    for (;;) {
        ssize_t n = splice(pipe, NULL, hold->w, NULL, max, SPLICE_F_NONBLOCK);
        if (n >= 0)
            return n;
        if (errno != EINTR)
            return -errno;
    }
}

static ssize_t read_all(int fd, char *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, data + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return -errno;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static int read_away(int fd)
{
    char trash[4096];
    ssize_t n;
    do {
        n = read(fd, trash, sizeof trash);
    } while (n > 0 || (n < 0 && errno == EINTR));
    return n < 0 && errno != EAGAIN ? -errno : 0;
}

/* What tee() has copied.  Nothing may be left there: it would come before the next copy. */
static ssize_t read_scratch(struct hold *hold, char *data, size_t len)
{
    ssize_t got = read_all(hold->scratch_r, data, len);
    if (got != (ssize_t)len)
        (void)read_away(hold->scratch_r);
    return got < 0 || got == (ssize_t)len ? got : -EIO;
}

ssize_t hold_peek(struct hold *hold, char *data, size_t size)
{
    if (hold->bare)
        return read_all(hold->r, data, size);
    ssize_t n = 0;
    do {
        n = tee(hold->r, hold->scratch_w, size, SPLICE_F_NONBLOCK);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    return read_scratch(hold, data, (size_t)n);
}

size_t hold_whole_lines(struct hold *hold, int pipe, char *data, size_t size)
{
    ssize_t n = 0;
    int there = 0;
    if (ioctl(pipe, FIONREAD, &there) != 0)
        return size;
    do {
        n = tee(pipe, hold->scratch_w, size, SPLICE_F_NONBLOCK);
    } while (n < 0 && errno == EINTR);
    if (n <= 0)
        return size; /* nothing there, or it cannot be looked at: whoever takes it will see */
    n = read_scratch(hold, data, (size_t)n);
    const char *newline = n > 0 ? memrchr(data, '\n', (size_t)n) : NULL;
    if (newline)
        return (size_t)(newline + 1 - data);
    int room = fcntl(pipe, F_GETPIPE_SZ);
    size_t full = room > 2 * PAGE ? (size_t)room - PAGE : (size_t)(room > 0 ? room : 0) / 2;
    bool all_seen = n > 0 && n >= there;
    return all_seen && (size_t)n < full && (size_t)n < size ? 0 : size;
}

int hold_empty(struct hold *hold)
{
    if (hold->bare) { /* now it is empty, so it can be made small enough */
        struct err err;
        int rc = read_away(hold->r);
        hold->bare = false;
        (void)match_sizes(hold, &err);
        return rc;
    }
    while (hold->null >= 0) {
        ssize_t n = splice(hold->r, NULL, hold->null, NULL, 1 << 20, SPLICE_F_NONBLOCK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        if (hold_bytes(hold) == 0)
            return 0;
    }
    return read_away(hold->r);
}
