/* watch.c - the contract is in watch.h. */
#include "supervisor/guardian/watch.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>

#include "base/clock.h"

void watch_init(struct watch *watch, int epoll)
{
    *watch = (struct watch){ .epoll = epoll, .due_ms = -1 };
    for (unsigned i = 0; i < WATCH_SOURCES; i++)
        watch->wishes[i].fd = -1;
}

static bool apply(const struct watch *watch, unsigned source, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.u64 = source };
    int fd = watch->wishes[source].fd;
    if (epoll_ctl(watch->epoll, EPOLL_CTL_MOD, fd, &event) == 0)
        return true;
    return errno == ENOENT && epoll_ctl(watch->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void ask_again(struct watch *watch, unsigned source)
{
    watch->wishes[source].open = true;
    if (watch->due_ms < 0)
        watch->due_ms = clock_mono_ms() + WATCH_RETRY_MS;
}

void watch_set(struct watch *watch, unsigned source, int fd, uint32_t events)
{
    watch->wishes[source] = (struct watch_wish){ .fd = fd, .events = events };
    if (fd >= 0 && !apply(watch, source, events))
        ask_again(watch, source);
}

void watch_rest(struct watch *watch, unsigned source)
{
    (void)apply(watch, source, 0); /* refused: it only wakes us up more often */
    ask_again(watch, source);
}

void watch_end(struct watch *watch, unsigned source)
{
    if (watch->wishes[source].fd >= 0)
        epoll_ctl(watch->epoll, EPOLL_CTL_DEL, watch->wishes[source].fd, NULL);
    watch->wishes[source] = (struct watch_wish){ .fd = -1 };
}

void watch_tick(struct watch *watch, int64_t now_ms)
{
    if (watch->due_ms < 0 || now_ms < watch->due_ms)
        return;
    watch->due_ms = -1;
    for (unsigned i = 0; i < WATCH_SOURCES; i++) {
        struct watch_wish *wish = &watch->wishes[i];
        if (wish->fd < 0 || !wish->open)
            continue;
        wish->open = false;
        if (!apply(watch, i, wish->events))
            ask_again(watch, i);
    }
}
