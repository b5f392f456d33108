/* upward.c - the contract is in upward.h. */
#include "supervisor/guardian/upward.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/log.h"

enum { BEATS = 2 /* in the time after which the manager gives us up */ };

/* A path, or "@" and an abstract name. */
static void find_manager(struct upward *upward)
{
    const char *name = getenv("NOTIFY_SOCKET");
    size_t len = name ? strlen(name) : 0;
    if (len < 2 || (name[0] != '/' && name[0] != '@'))
        return;
    if (len >= sizeof(upward->to.sun_path)) {
        log_warn("NOTIFY_SOCKET is too long, nothing is told to the manager", NULL);
        return;
    }
    upward->to.sun_family = AF_UNIX;
    memcpy(upward->to.sun_path, name, len);
    if (name[0] == '@')
        upward->to.sun_path[0] = '\0';
    upward->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

/* What is meant for another process (we were started below it) is none of our business. */
static int64_t wished_beat_ms(bool heir)
{
    const char *wish = getenv("WATCHDOG_USEC"), *whose = getenv("WATCHDOG_PID");
    char *end;
    if (!wish || (whose && !heir && strtoll(whose, NULL, 10) != getpid()))
        return 0;
    errno = 0;
    long long us = strtoll(wish, &end, 10);
    if (errno || *end || us <= 0)
        return 0;
    int64_t ms = us / 1000 / BEATS;
    return ms > 0 ? ms : 1;
}

/* 0 or the reason why not. */
static int send_now(const struct upward *upward, const char *text)
{
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const struct sockaddr *to = (const struct sockaddr *)&upward->to;
    if (fd < 0)
        return errno;
    return sendto(fd, text, strlen(text), MSG_NOSIGNAL, to, upward->to_len) < 0 ? errno : 0;
}

static bool is_passing(int why)
{
    return why == EAGAIN || why == ENOBUFS || why == ENOMEM || why == EMFILE || why == ENFILE ||
           why == EINTR;
}

static void keep(struct upward *upward, const char *text, int64_t now_ms)
{
    size_t len = strlen(upward->waiting), more = strlen(text);
    if (len + more + 2 > sizeof(upward->waiting))
        len = 0; /* the manager is deaf: only the latest matters */
    snprintf(upward->waiting + len, sizeof(upward->waiting) - len, "%s%s", len > 0 ? "\n" : "",
             text);
    upward->retry_ms = now_ms + UPWARD_RETRY_MS;
}

void upward_tell(struct upward *upward, const char *text, int64_t now_ms)
{
    if (upward->to_len == 0)
        return;
    int why = upward->retry_ms >= 0 ? EAGAIN : send_now(upward, text);
    if (is_passing(why))
        keep(upward, text, now_ms);
    else if (why)
        log_warn("cannot tell the service manager", "error", strerror(why), NULL);
}

void upward_init(struct upward *upward, bool heir)
{
    char text[32];
    int64_t now_ms = clock_mono_ms();
    *upward = (struct upward){ .retry_ms = -1 };
    find_manager(upward);
    if (upward->to_len == 0)
        return;
    upward->beat_ms = wished_beat_ms(heir);
    upward->beat_due_ms = now_ms;
    snprintf(text, sizeof(text), "MAINPID=%d", (int)getpid());
    if (heir)
        upward_tell(upward, text, now_ms);
}

int64_t upward_due(const struct upward *upward)
{
    if (upward->retry_ms >= 0 || upward->beat_ms == 0)
        return upward->retry_ms;
    return upward->beat_due_ms;
}

void upward_tick(struct upward *upward, int64_t now_ms)
{
    char text[UPWARD_TEXT_MAX];
    if (upward->retry_ms >= 0 && now_ms >= upward->retry_ms) {
        memcpy(text, upward->waiting, sizeof(text));
        upward->waiting[0] = '\0';
        upward->retry_ms = -1;
        upward_tell(upward, text, now_ms);
    }
    if (upward->beat_ms == 0 || upward->retry_ms >= 0 || now_ms < upward->beat_due_ms)
        return;
    upward->beat_due_ms = now_ms + upward->beat_ms;
    upward_tell(upward, "WATCHDOG=1", now_ms);
}
