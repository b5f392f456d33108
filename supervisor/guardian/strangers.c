/* strangers.c - the contract is in strangers.h. */
#include "supervisor/guardian/strangers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "base/clock.h"
#include "io/child.h"
#include "supervisor/guardian/tree.h"

enum {
    ADOPT_AGAIN_MS = 200,
    REAP_WAIT_MS = 2000, /* for the other parent, before the status counts as unknown */
    ENVIRON_MAX = 2 * 1024 * 1024,
};

void strangers_init(struct strangers *strangers, int epoll, uint64_t tag)
{
    *strangers = (struct strangers){ .epoll = epoll, .tag = tag };
}

void strangers_done(struct strangers *strangers)
{
    for (size_t i = 0; i < strangers->count; i++)
        if (strangers->slots[i].pidfd >= 0)
            close(strangers->slots[i].pidfd);
    free(strangers->slots);
    *strangers = (struct strangers){ 0 };
}

/* Our child between clone and exec is still this program. */
static bool is_our_program(pid_t pid)
{
    char path[64];
    struct stat ours, its;
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    return stat("/proc/self/exe", &ours) == 0 && stat(path, &its) == 0 &&
           ours.st_ino == its.st_ino && ours.st_dev == its.st_dev;
}

/* "SUPERVISOR_INSTANCE=web:0.7" among the NUL-separated pairs. */
static bool carries_instance(pid_t pid, const struct ledger_record *record)
{
    char path[64], want[LEDGER_NAME_MAX + 64];
    struct buf text;
    int len = snprintf(want, sizeof(want), "SUPERVISOR_INSTANCE=%.*s.%u", LEDGER_NAME_MAX,
                       record->instance, record->generation);
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    buf_init(&text, ENVIRON_MAX);
    bool found = false;
    if (buf_read_file(&text, AT_FDCWD, path) == 0)
        for (size_t at = 0; at < text.len && !found; at += strlen(text.data + at) + 1)
            found = strcmp(text.data + at, want) == 0;
    buf_done(&text);
    return found && len > 0;
}

/* Asked after the pidfd was opened, so the answer is about the process behind it.  One that cannot
 * be looked at (no descriptor, or it is gone just now, which the pidfd tells) counts as ours: taken
 * for somebody else's there would soon be a second copy. */
static bool is_the_one(pid_t pid, const struct ledger_record *record)
{
    uint64_t start = child_start_time(pid);
    if (record->start_time || start == 0)
        return start == 0 || start == record->start_time;
    return carries_instance(pid, record) || is_our_program(pid);
}

static void report(strangers_fn *fn, void *context, const struct ledger *ledger, size_t index,
                   const struct reaper_exit *told)
{
    struct reaper_exit how = { .pid = ledger->pids[index] };
    fn(context, index, told ? told : &how, told != NULL);
}

static bool watch(struct strangers *strangers, size_t index, int pidfd)
{
    struct stranger *slots = reallocarray(strangers->slots, strangers->count + 1, sizeof(*slots));
    if (!slots)
        return false;
    strangers->slots = slots;
    struct epoll_event event = { .events = EPOLLIN,
                                 .data.u64 = strangers->tag | (uint64_t)strangers->count << 8 };
    if (epoll_ctl(strangers->epoll, EPOLL_CTL_ADD, pidfd, &event) < 0)
        return false;
    slots[strangers->count++] = (struct stranger){ .index = index, .pidfd = pidfd };
    strangers->living++;
    return true;
}

static void forget(struct strangers *strangers, struct stranger *stranger)
{
    epoll_ctl(strangers->epoll, EPOLL_CTL_DEL, stranger->pidfd, NULL);
    close(stranger->pidfd);
    stranger->pidfd = -1;
    stranger->give_up_ms = 0;
    strangers->living--;
}

static void adopt_one(struct strangers *strangers, const struct ledger *ledger, size_t index,
                      strangers_fn *fn, void *context)
{
    pid_t pid = ledger->pids[index];
    AUTO_CLOSE int pidfd = child_pidfd(pid);
    if (pidfd == -ESRCH || (pidfd >= 0 && !is_the_one(pid, &ledger->records[index])))
        report(fn, context, ledger, index, NULL);
    else if (pidfd >= 0 && watch(strangers, index, pidfd))
        take_fd(&pidfd);
    else /* for want of descriptors or memory; unwatched for a while is better than a second copy */
        strangers->again_ms = clock_mono_ms() + ADOPT_AGAIN_MS;
}

void strangers_adopt(struct strangers *strangers, const struct ledger *ledger, strangers_fn *fn,
                     void *context)
{
    size_t used = atomic_load(&ledger->header->used);
    for (size_t i = 0; i < used && i < LEDGER_RECORDS; i++)
        if (ledger_living(ledger, i) && strangers_pidfd(strangers, i) < 0 &&
            !tree_owns(ledger->pids[i]))
            adopt_one(strangers, ledger, i, fn, context);
}

void strangers_event(struct strangers *strangers, const struct ledger *ledger, size_t slot,
                     uint32_t events, strangers_fn *fn, void *context)
{
    struct reaper_exit how;
    if (slot >= strangers->count || strangers->slots[slot].pidfd < 0)
        return;
    struct stranger *stranger = &strangers->slots[slot];
    size_t index = stranger->index;
    bool told = reaper_told(ledger->pids[index], stranger->pidfd, &how);
    if (told || events & EPOLLHUP) {
        forget(strangers, stranger);
        report(fn, context, ledger, index, told ? &how : NULL);
        return;
    }
    /* A zombie that we may not look into: the hang-up comes when its parent has reaped it, and
     * cannot be masked. */
    struct epoll_event event = { .data.u64 = strangers->tag | (uint64_t)slot << 8 };
    epoll_ctl(strangers->epoll, EPOLL_CTL_MOD, stranger->pidfd, &event);
    stranger->give_up_ms = clock_mono_ms() + REAP_WAIT_MS;
}

int64_t strangers_due(const struct strangers *strangers)
{
    int64_t due = strangers->again_ms > 0 ? strangers->again_ms : -1;
    for (size_t i = 0; strangers->living > 0 && i < strangers->count; i++) {
        int64_t at = strangers->slots[i].give_up_ms;
        if (at > 0 && (due < 0 || at < due))
            due = at;
    }
    return due;
}

void strangers_tick(struct strangers *strangers, const struct ledger *ledger, int64_t now_ms,
                    strangers_fn *fn, void *context)
{
    if (strangers->again_ms > 0 && strangers->again_ms <= now_ms) {
        strangers->again_ms = 0;
        strangers_adopt(strangers, ledger, fn, context);
    }
    for (size_t i = 0; strangers->living > 0 && i < strangers->count; i++)
        if (strangers->slots[i].give_up_ms > 0 && strangers->slots[i].give_up_ms <= now_ms)
            strangers_event(strangers, ledger, i, EPOLLHUP, fn, context);
}

void strangers_signal(const struct strangers *strangers, int signum)
{
    for (size_t i = 0; strangers->living > 0 && i < strangers->count; i++)
        if (strangers->slots[i].pidfd >= 0)
            child_pidfd_signal(strangers->slots[i].pidfd, signum);
}

int strangers_pidfd(const struct strangers *strangers, size_t index)
{
    for (size_t i = 0; i < strangers->count; i++)
        if (strangers->slots[i].pidfd >= 0 && strangers->slots[i].index == index)
            return strangers->slots[i].pidfd;
    return -1;
}
