/* lock.c - the contract is in lock.h. */
#include "deployctl/agent/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "io/durable.h"
#include "io/jsonx.h"

#define LOCK_NAME "lock"
enum { LOCK_MODE = 0644, HOLDER_MAX = 4096, READ_TRIES = 5, READ_AGAIN_NS = 2000000 };

int lock_take(struct lock *lock, int meta, struct err *err)
{
    AUTO_CLOSE int fd =
        durable_open_beneath(meta, LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW, LOCK_MODE);
    if (fd < 0)
        return err_sys(err, -fd, "opening .deploy/lock");
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? err_set(err, ERR_EXISTS, "another deployctl holds this host")
                                    : err_sys(err, errno, "locking .deploy/lock");
    lock->fd = take_fd(&fd);
    return 0;
}

void lock_release(struct lock *lock)
{
    if (lock->fd >= 0 && ftruncate(lock->fd, 0) < 0)
        errno = 0; /* a stale text is never shown: nobody holds the lock */
    auto_close_(&lock->fd);
    lock->fd = -1;
}

bool lock_held(const struct lock *lock) { return lock->fd >= 0; }

void lock_describe(struct lock *lock, const json_t *holder)
{
    char padded[HOLDER_MAX];
    struct buf text;
    buf_init(&text, HOLDER_MAX);
    memset(padded, ' ', sizeof padded); /* always as long: a reader sees no rest of another text */
    if (jsonx_put(holder, &text)) {
        memcpy(padded, text.data, text.len);
        if (pwrite(lock->fd, padded, sizeof padded, 0) < 0)
            errno = 0;
    }
    buf_done(&text);
}

json_t *lock_holder(int meta)
{
    AUTO_CLOSE int fd =
        meta < 0 ? -1 : durable_open_beneath(meta, LOCK_NAME, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return NULL;
    for (int tries = 0; tries < READ_TRIES; tries++) { /* it may just be written */
        char text[HOLDER_MAX];
        ssize_t n = pread(fd, text, sizeof text, 0);
        json_t *holder = n > 0 ? jsonx_parse(text, (size_t)n, NULL) : NULL;
        if (json_is_object(holder))
            return holder;
        json_decref(holder);
        nanosleep(&(struct timespec){ .tv_nsec = READ_AGAIN_NS }, NULL);
    }
    return json_pack("{s:s}", "who", "?");
}
