/* audit_sync.c - the contract is in audit_sync.h. */
#include "supervisor/core/audit_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/auto.h"

enum { PATH_BYTES = 4096 };

/* One sync, also while the core goes on. */
struct round {
    struct audit_sync *sync; /* not touched by the thread */
    int fds[AUDIT_SYNC_LEFT_MAX + 1];
    size_t count;
    char folder[PATH_BYTES]; /* "" = its name was there before */
    uint64_t number;         /* of the last write that it covers */
    int rc;
};

struct waiting {
    struct rpc_call *call;
    uint64_t number;
    STAILQ_ENTRY(waiting) link;
};

struct audit_sync {
    struct loop *loop;
    struct loop_work *work; /* under way, or NULL */
    struct loop_timer *patience;
    void (*told)(void *context, int rc);
    void *context;
    int fd; /* of the file as it is now, a copy; -1 = nothing was written since the last sync */
    int left[AUDIT_SYNC_LEFT_MAX];
    size_t nleft;
    char folder[PATH_BYTES];
    uint64_t written;
    STAILQ_HEAD(, waiting) waiting;
};

static void begin(struct audit_sync *sync);

static void answer_until(struct audit_sync *sync, uint64_t number)
{
    struct waiting *first;

    while ((first = STAILQ_FIRST(&sync->waiting)) != NULL && first->number <= number) {
        STAILQ_REMOVE_HEAD(&sync->waiting, link);
        rpc_call_release(first->call);
        free(first);
    }
    if (!first)
        loop_timer_disarm(sync->patience);
}

void audit_sync_let_go(struct audit_sync *sync) { answer_until(sync, UINT64_MAX); }

static void on_patience_over(void *context)
{
    struct audit_sync *sync = context;

    sync->told(sync->context, -ETIMEDOUT);
    audit_sync_let_go(sync);
}

/* --- on the thread --- */

static int sync_folder(const char *path)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 && fsync(fd) == 0 ? 0 : -errno;
}

static void work(void *context)
{
    struct round *round = context;

    for (size_t i = 0; i < round->count; i++)
        if (fdatasync(round->fds[i]) != 0)
            round->rc = -errno;
    if (round->folder[0] && round->rc == 0)
        round->rc = sync_folder(round->folder);
}

/* --- on the loop --- */

static void release(void *context)
{
    struct round *round = context;

    for (size_t i = 0; i < round->count; i++)
        close(round->fds[i]);
    free(round);
}

static void done(void *context)
{
    const struct round *round = context;
    struct audit_sync *sync = round->sync;

    sync->work = NULL;
    sync->told(sync->context, round->rc);
    answer_until(sync, round->number); /* also what could not be synced: orders go on */
    begin(sync);
}

static struct round *make_round(struct audit_sync *sync)
{
    struct round *round = calloc(1, sizeof *round);

    if (!round)
        return NULL;
    round->sync = sync;
    round->number = sync->written;
    memcpy(round->fds, sync->left, sync->nleft * sizeof *sync->left);
    round->count = sync->nleft;
    if (sync->fd >= 0)
        round->fds[round->count++] = sync->fd;
    memcpy(round->folder, sync->folder, sizeof round->folder);
    sync->fd = -1;
    sync->nleft = 0;
    sync->folder[0] = '\0';
    return round;
}

static void begin(struct audit_sync *sync)
{
    if (sync->work || (sync->fd < 0 && sync->nleft == 0))
        return;
    struct round *round = make_round(sync);
    if (round)
        sync->work = loop_work_start(sync->loop, work, done, release, round);
    if (sync->work)
        return;
    if (round)
        release(round);
    sync->told(sync->context, -ENOMEM);
    audit_sync_let_go(sync);
}

void audit_sync_written(struct audit_sync *sync, int fd, const char *path, bool folder)
{
    const char *slash = strrchr(path, '/');

    sync->written++;
    if (sync->fd < 0)
        sync->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (sync->fd < 0) {
        sync->told(sync->context, -errno);
        return;
    }
    if (folder && slash)
        snprintf(sync->folder, sizeof sync->folder, "%.*s", slash > path ? (int)(slash - path) : 1,
                 path);
    begin(sync);
}

void audit_sync_leave(struct audit_sync *sync, int fd)
{
    bool unsynced = sync->fd >= 0;

    close(fd);
    if (!unsynced)
        return;
    if (sync->nleft < AUDIT_SYNC_LEFT_MAX) {
        sync->left[sync->nleft++] = sync->fd;
    } else { /* rotated so often during one sync: its lines are the disk's own time away */
        close(sync->fd);
        sync->told(sync->context, -EAGAIN);
    }
    sync->fd = -1;
}

void audit_sync_hold(struct audit_sync *sync, struct rpc_call *call)
{
    struct waiting *waiting = sync->work ? malloc(sizeof *waiting) : NULL;

    if (!waiting)
        return;
    *waiting = (struct waiting){ .call = call, .number = sync->written };
    STAILQ_INSERT_TAIL(&sync->waiting, waiting, link);
    rpc_call_hold(call);
    if (!loop_timer_armed(sync->patience))
        loop_timer_arm(sync->patience, AUDIT_SYNC_MS);
}

bool audit_sync_settled(const struct audit_sync *sync)
{
    return !sync->work && STAILQ_EMPTY(&sync->waiting);
}

/* --- its life --- */

struct audit_sync *audit_sync_new(struct loop *loop, void (*told)(void *context, int rc),
                                  void *context)
{
    struct audit_sync *sync = calloc(1, sizeof *sync);

    if (!sync)
        return NULL;
    *sync = (struct audit_sync){ .loop = loop, .told = told, .context = context, .fd = -1 };
    STAILQ_INIT(&sync->waiting);
    sync->patience = loop_timer_new(loop, on_patience_over, sync);
    if (sync->patience)
        return sync;
    free(sync);
    return NULL;
}

void audit_sync_free(struct audit_sync *sync)
{
    if (!sync)
        return;
    if (sync->work)
        loop_work_cancel(sync->work);
    audit_sync_let_go(sync);
    if (sync->fd >= 0)
        close(sync->fd);
    for (size_t i = 0; i < sync->nleft; i++)
        close(sync->left[i]);
    loop_timer_free(sync->patience);
    free(sync);
}
