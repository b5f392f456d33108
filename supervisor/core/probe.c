/* probe.c - when to ask, and what an answer means.  The contract is in probe.h.
 *
 * A connection is closed in order, never by a reset: a server that is still writing its page, or
 * has not accepted yet, would log a reset as an error every few seconds.  So after the verdict the
 * rest is read for a moment (drained) until the server closes; then TIME_WAIT is the server's too,
 * as with any client that says Connection: close.  Only what did not answer is dropped at once.
 */
#include "supervisor/core/probe.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/unit.h"
#include "io/listen.h"
#include "supervisor/core/probe_lookup.h"

enum {
    ANSWER_MAX = 8192,
    REQUEST_MAX = 8192,
    FIRST_SPREAD_MS = 1000,
    EAGER_MOST_MS = 1000,
    FASTER_LEAST_MS = 200,
    SPREAD_PERCENT = 10,
    DRAIN_MS = 1000,
    DRAIN_BYTES = 1 << 20,
    LATE_MS = 500, /* a time-out that comes this late says that we did not run */
    QUOTE_LEN = 24,
};

enum phase { PHASE_IDLE, PHASE_LOOKUP, PHASE_CONNECTING, PHASE_TALKING, PHASE_EXEC };

struct probe {
    struct loop *loop;
    const struct instance_check *check;
    const struct spec_check *timing;
    struct probe_hands hands;
    enum phase phase;
    bool eager, faster;
    bool failed;  /* the last attempt */
    bool lacking; /* the last attempt could not be made, and that was logged */
    bool late;    /* this attempt was given its time again */
    bool draining;
    struct loop_timer *next, *limit; /* the next attempt; the end of this one, or of draining */
    uint64_t attempts, random;
    int64_t started_ms, gap_ms;
    struct probe_lookup *lookup; /* NULL when the address is known */
    size_t address;              /* which of them is being tried */
    int fd;
    struct loop_watch *watch;
    struct buf request, answer;
    size_t sent, drained;
    bool exec_running, exec_killed;
    size_t token;
};

/* --- when --- */

/* 0 to most - 1; xorshift is plenty for spreading. */
static int64_t random_below(struct probe *probe, int64_t most)
{
    probe->random ^= probe->random << 13;
    probe->random ^= probe->random >> 7;
    probe->random ^= probe->random << 17;
    return most > 0 ? (int64_t)(probe->random % (uint64_t)most) : 0;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t spread_interval(struct probe *probe)
{
    int64_t interval = probe->timing->interval_ms;

    if (probe->faster)
        interval = least(interval, most(interval / 10, FASTER_LEAST_MS));
    int64_t spread = interval * SPREAD_PERCENT / 100;
    return interval - spread + random_below(probe, 2 * spread + 1);
}

/* Eager attempts are counted from the end of the one before, others from its beginning. */
static void schedule(struct probe *probe)
{
    int64_t wait;

    if (probe->eager) {
        wait = probe->gap_ms;
        probe->gap_ms = least(probe->gap_ms * 2, EAGER_MOST_MS);
        wait = most(least(wait, probe->timing->interval_ms), 1);
    } else {
        wait = probe->started_ms + spread_interval(probe) - loop_now_ms(probe->loop);
        wait = most(wait, least(PROBE_EAGER_MS, most(probe->timing->interval_ms, 1)));
    }
    loop_timer_arm(probe->next, wait);
}

static void schedule_first(struct probe *probe)
{
    int64_t spread =
        probe->eager ? 0
                     : random_below(probe, least(probe->timing->interval_ms, FIRST_SPREAD_MS) + 1);

    loop_timer_arm(probe->next, probe->timing->delay_ms + spread);
}

/* A change of pace while we wait for the next attempt. */
static void schedule_again(struct probe *probe)
{
    if (probe->attempts > 0 && probe->phase == PHASE_IDLE && loop_timer_armed(probe->next))
        schedule(probe);
}

/* --- the end of an attempt --- */

static void hang_up(struct probe *probe)
{
    loop_watch_free(probe->watch);
    probe->watch = NULL;
    if (probe->fd >= 0)
        close(probe->fd);
    probe->fd = -1;
    probe->draining = false;
    buf_done(&probe->answer);
}

static void rest(struct probe *probe)
{
    probe->phase = PHASE_IDLE;
    loop_timer_disarm(probe->limit);
    schedule(probe);
}

/* The owner may free the probe in here: nobody may touch it afterwards. */
static void tell(struct probe *probe, bool ok, const char *fmt, va_list args)
{
    struct probe_result result = { .ok = ok };

    vsnprintf(result.text, sizeof result.text, fmt, args);
    probe->failed = !ok;
    probe->lacking = false;
    probe->hands.done(probe->hands.context, &result);
}

static void __attribute__((format(printf, 2, 3))) fail(struct probe *probe, const char *fmt, ...)
{
    va_list args;

    hang_up(probe);
    rest(probe);
    va_start(args, fmt);
    tell(probe, false, fmt, args);
    va_end(args);
}

static void __attribute__((format(printf, 3, 4)))
answered(struct probe *probe, bool ok, const char *fmt, ...)
{
    va_list args;

    rest(probe);
    if (probe->fd >= 0) {
        probe->draining = true;
        probe->drained = 0;
        loop_watch_set(probe->watch, LOOP_READ);
        loop_timer_arm(probe->limit, least(probe->timing->timeout_ms, DRAIN_MS));
    }
    va_start(args, fmt);
    tell(probe, ok, fmt, args);
    va_end(args);
}

/* We could not ask, so nothing is known about the service: no result. */
static void lack(struct probe *probe, const char *what)
{
    hang_up(probe);
    rest(probe);
    if (!probe->lacking)
        log_warn("a check could not be made", "check", probe->timing->target, "error", what, NULL);
    probe->lacking = true;
}

static bool is_lack(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

/* strerror in the middle of a sentence. */
static void fail_sys(struct probe *probe, int error)
{
    char text[128];

    if (is_lack(error)) {
        lack(probe, strerror(error));
        return;
    }
    snprintf(text, sizeof text, "%s",
             error == EAGAIN ? "its queue of connections is full" : strerror(error));
    text[0] = (char)tolower((unsigned char)text[0]);
    fail(probe, "%s", text);
}

static long long took_ms(const struct probe *probe)
{
    return (long long)(loop_now_ms(probe->loop) - probe->started_ms);
}

/* --- talking --- */

static void drain(struct probe *probe)
{
    char rubbish[16384];

    ssize_t n = recv(probe->fd, rubbish, sizeof rubbish, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    probe->drained += n > 0 ? (size_t)n : 0;
    if (n > 0 && probe->drained < DRAIN_BYTES)
        return;
    loop_timer_disarm(probe->limit);
    hang_up(probe);
}

/* What a server sent, fit to be printed. */
static const char *quote(const char *text, size_t len, char *ret, size_t size)
{
    size_t n = least((int64_t)len, (int64_t)size - 1);

    for (size_t i = 0; i < n; i++)
        ret[i] = isprint((unsigned char)text[i]) ? text[i] : '?';
    ret[n] = '\0';
    return ret;
}

static void judge_line(struct probe *probe, const char *line, size_t len)
{
    char text[96];
    int code = 0;

    while (len > 0 && isspace((unsigned char)line[len - 1]))
        len--;
    int rc = probe_http_status(line, len, &code);
    if (rc < 0)
        fail(probe, "not an HTTP answer: \"%s\"", quote(line, len, text, QUOTE_LEN));
    else if (rc == 1)
        answered(probe, true, "%d in %lld ms", code, took_ms(probe));
    else /* behind "HTTP/1.1 ": 503 Service Unavailable */
        answered(probe, false, "%s", quote(line + 9, len - 9, text, sizeof text));
}

/* "HTTP/1.1 103 Early Hints" and its lines are not the answer yet.  The length of such a part, 0
 * when it is not complete, -1 when it is none. */
static ssize_t interim_len(const char *text, size_t len)
{
    int code;

    if (probe_http_status(text, len, &code) != 0 || code >= 200)
        return -1;
    for (size_t i = 1; i < len; i++)
        if (text[i] == '\n' &&
            (text[i - 1] == '\n' || (i > 1 && text[i - 1] == '\r' && text[i - 2] == '\n')))
            return (ssize_t)i + 1;
    return 0;
}

static bool may_be_http(const char *text, size_t len)
{
    return memcmp(text, "HTTP/1.", len < 7 ? len : 7) == 0;
}

/* True when the attempt is over; the probe may be gone then. */
static bool judge(struct probe *probe)
{
    for (;;) {
        const char *text = probe->answer.data;
        size_t len = probe->answer.len;
        const char *end = len ? memchr(text, '\n', len) : NULL;
        ssize_t interim = end ? interim_len(text, len) : 0;

        if (interim > 0) {
            buf_consume(&probe->answer, (size_t)interim);
            continue;
        }
        if (end && interim < 0) {
            judge_line(probe, text, (size_t)(end - text));
            return true;
        }
        if (!end && len > 0 && !may_be_http(text, len)) {
            judge_line(probe, text, len);
            return true;
        }
        if (len < ANSWER_MAX)
            return false;
        fail(probe, "over %d bytes without an end of the status line", ANSWER_MAX);
        return true;
    }
}

static bool read_answer(struct probe *probe)
{
    char space[ANSWER_MAX];

    for (;;) {
        ssize_t n = recv(probe->fd, space, ANSWER_MAX - probe->answer.len, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n < 0) {
            fail_sys(probe, errno);
            return true;
        }
        if (n == 0) {
            fail(probe, probe->answer.len ? "closed in the middle of its answer"
                                          : "closed before answering");
            return true;
        }
        buf_put(&probe->answer, space, (size_t)n);
        if (probe->answer.failed) {
            lack(probe, strerror(ENOMEM));
            return true;
        }
        if (judge(probe))
            return true;
    }
}

/* A server may answer and close before it has read the request: then writing fails, and reading
 * tells. */
static bool talk(struct probe *probe)
{
    while (probe->sent < probe->request.len) {
        ssize_t n = send(probe->fd, probe->request.data + probe->sent,
                         probe->request.len - probe->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return false;
        probe->sent = n < 0 ? probe->request.len : probe->sent + (size_t)n;
    }
    loop_watch_set(probe->watch, LOOP_READ);
    return read_answer(probe);
}

/* --- connecting --- */

/* A port of the ephemeral range that nobody listens on may be given to us as our own, and then we
 * talk to ourselves. */
static bool is_ourselves(int fd)
{
    struct addr here = { .len = sizeof here.at }, there = { .len = sizeof there.at };
    char a[ADDR_TEXT_MAX], b[ADDR_TEXT_MAX];

    if (getsockname(fd, (struct sockaddr *)&here.at, &here.len) != 0 ||
        getpeername(fd, (struct sockaddr *)&there.at, &there.len) != 0 ||
        here.at.ss_family == AF_UNIX)
        return false;
    return strcmp(addr_text(&here, a), addr_text(&there, b)) == 0;
}

static void on_watch(void *context, unsigned events);

static const struct addr *address_at(const struct probe *probe, size_t index)
{
    if (!probe->lookup)
        return index == 0 ? &probe->check->addr : NULL;
    return index < probe_lookup_count(probe->lookup) ? probe_lookup_at(probe->lookup, index) : NULL;
}

/* Begins with probe->address and goes on with the next while one refuses at once. */
static bool dial(struct probe *probe)
{
    const struct addr *addr;
    struct err err = { 0 };
    int fd = -ECONNREFUSED;

    while ((addr = address_at(probe, probe->address)) && (fd = listen_connect(addr)) < 0 &&
           !is_lack(-fd) && address_at(probe, probe->address + 1))
        probe->address++;
    if (fd < 0) {
        fail_sys(probe, -fd);
        return true;
    }
    probe->fd = fd;
    probe->watch = loop_watch_new(probe->loop, fd, on_watch, probe, &err);
    if (!probe->watch) {
        lack(probe, err.text);
        return true;
    }
    buf_init(&probe->answer, ANSWER_MAX);
    probe->sent = 0;
    probe->phase = PHASE_CONNECTING;
    loop_watch_set(probe->watch, LOOP_WRITE);
    return false;
}

static bool connected(struct probe *probe)
{
    int error = 0;
    socklen_t len = sizeof error;

    if (getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error == 0 && is_ourselves(probe->fd))
        error = ECONNREFUSED;
    if (error != 0 && address_at(probe, probe->address + 1)) {
        hang_up(probe);
        probe->address++;
        return dial(probe);
    }
    if (error != 0) {
        fail_sys(probe, error);
        return true;
    }
    if (probe->check->kind == SPEC_CHECK_HTTP) {
        probe->phase = PHASE_TALKING;
        return talk(probe);
    }
    shutdown(probe->fd, SHUT_WR);
    answered(probe, true, "connected in %lld ms", took_ms(probe));
    return true;
}

/* True when the attempt is over; the probe may be gone then. */
static bool step(struct probe *probe)
{
    switch (probe->phase) {
    case PHASE_CONNECTING:
        return connected(probe);
    case PHASE_TALKING:
        return talk(probe);
    case PHASE_IDLE:
    case PHASE_LOOKUP:
    case PHASE_EXEC:
        break;
    }
    return false;
}

static void on_watch(void *context, unsigned events)
{
    struct probe *probe = context;

    (void)events;
    if (probe->draining)
        drain(probe);
    else
        step(probe);
}

static void on_lookup(void *context)
{
    struct probe *probe = context;

    if (probe->phase != PHASE_LOOKUP)
        return; /* refreshed behind an attempt that used what we had */
    if (probe_lookup_count(probe->lookup) > 0)
        dial(probe);
    else
        fail(probe, "cannot look up %.64s: %s", probe->check->host,
             probe_lookup_error(probe->lookup));
}

/* --- exec --- */

static void start_exec(struct probe *probe)
{
    struct err err = { 0 };

    probe->phase = PHASE_EXEC;
    probe->exec_killed = false;
    if (probe->hands.exec_start(probe->hands.context, probe->check->argv, &probe->token, &err) ==
        0) {
        probe->exec_running = true;
        return;
    }
    if (err.code == ERR_MEMORY || err.code == ERR_LIMIT ||
        (err.code == ERR_SYSTEM && (is_lack(err.sys) || err.sys == EAGAIN)))
        lack(probe, err.text);
    else
        fail(probe, "cannot be started: %.120s", err.text);
}

void probe_exec_ended(struct probe *probe, size_t token, bool signalled, int status)
{
    if (!probe->exec_running || token != probe->token)
        return;
    probe->exec_running = false;
    if (probe->exec_killed)
        return; /* which was told then */
    if (signalled)
        fail(probe, "killed by SIG%s", signals_name(status));
    else if (status != 0)
        fail(probe, "exited with code %d", status);
    else
        answered(probe, true, "exited with code 0 in %lld ms", took_ms(probe));
}

/* --- one attempt --- */

static void on_next(void *context)
{
    struct probe *probe = context;

    if (probe->draining)
        hang_up(probe);
    probe->attempts++;
    probe->started_ms = loop_now_ms(probe->loop);
    probe->address = 0;
    probe->late = false;
    if (probe->exec_running) {
        fail(probe, "the run before was killed and has not ended yet");
        return;
    }
    loop_timer_arm(probe->limit, probe->timing->timeout_ms);
    if (probe->check->kind == SPEC_CHECK_EXEC) {
        start_exec(probe);
        return;
    }
    bool asking = probe->lookup && probe_lookup_refresh(probe->lookup, probe->failed);
    if (address_at(probe, 0))
        dial(probe);
    else if (asking)
        probe->phase = PHASE_LOOKUP;
    else
        fail(probe, "cannot look up %.64s: %s", probe->check->host,
             probe_lookup_error(probe->lookup));
}

/* The time-out may be served before an answer that came while we did not run. */
static bool has_news(const struct probe *probe)
{
    struct pollfd poll_fd = { .fd = probe->fd,
                              .events = probe->phase == PHASE_CONNECTING ? POLLOUT : POLLIN };

    return probe->fd >= 0 && poll(&poll_fd, 1, 0) > 0;
}

static void fail_timeout(struct probe *probe)
{
    char within[UNIT_TEXT_MAX];

    unit_duration_text(probe->timing->timeout_ms, within);
    switch (probe->phase) {
    case PHASE_LOOKUP:
        fail(probe, "no address of %.64s within %s", probe->check->host, within);
        break;
    case PHASE_CONNECTING:
        fail(probe, "no connection within %s", within);
        break;
    case PHASE_EXEC:
        probe->exec_killed = true;
        probe->hands.exec_kill(probe->hands.context, probe->token);
        fail(probe, "still running after %s, killed", within);
        break;
    case PHASE_TALKING:
    case PHASE_IDLE:
        fail(probe, probe->answer.len ? "only part of an answer within %s" : "no answer within %s",
             within);
        break;
    }
}

static void on_limit(void *context)
{
    struct probe *probe = context;

    if (probe->draining) {
        hang_up(probe);
        return;
    }
    if (has_news(probe) && step(probe))
        return;
    /* We were stopped ourselves, so the service did not have its time. */
    if (!probe->late && took_ms(probe) > probe->timing->timeout_ms + LATE_MS) {
        probe->late = true;
        loop_timer_arm(probe->limit, probe->timing->timeout_ms);
        return;
    }
    fail_timeout(probe);
}

/* --- life --- */

static bool is_sendable(const char *text)
{
    for (; text && *text; text++)
        if (!isgraph((unsigned char)*text))
            return false;
    return text != NULL;
}

static int make_request(struct probe *probe, struct err *err)
{
    const struct instance_check *check = probe->check;

    if (check->kind != SPEC_CHECK_HTTP)
        return 0;
    if (!is_sendable(check->path) || !is_sendable(check->authority))
        return err_set(err, ERR_INVALID, "the address of an http check has a blank in it");
    buf_printf(&probe->request,
               "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: supervisor-probe\r\n"
               "Connection: close\r\n\r\n",
               check->path, check->authority);
    return probe->request.failed
               ? err_set(err, ERR_LIMIT, "the address of an http check is too long")
               : 0;
}

static int prepare(struct probe *probe, struct err *err)
{
    const struct instance_check *check = probe->check;

    if (check->kind != SPEC_CHECK_HTTP && check->kind != SPEC_CHECK_TCP &&
        check->kind != SPEC_CHECK_UNIX && check->kind != SPEC_CHECK_EXEC)
        return err_set(err, ERR_INVALID, "nothing to be asked");
    int rc = make_request(probe, err);
    if (rc != 0)
        return rc;
    if (getrandom(&probe->random, sizeof probe->random, GRND_NONBLOCK) < 0 || probe->random == 0)
        probe->random = (uint64_t)loop_now_ms(probe->loop) ^ (uintptr_t)probe;
    probe->random |= 1; /* xorshift stays at 0 for ever */
    if (check->host && check->kind != SPEC_CHECK_EXEC)
        probe->lookup = probe_lookup_new(probe->loop, check->host, check->port, on_lookup, probe);
    probe->next = loop_timer_new(probe->loop, on_next, probe);
    probe->limit = loop_timer_new(probe->loop, on_limit, probe);
    if (!probe->next || !probe->limit || (check->host && !probe->lookup))
        return err_set(err, ERR_MEMORY, "no memory for a check");
    return 0;
}

struct probe *probe_new(struct loop *loop, const struct instance_check *check,
                        const struct spec_check *timing, const struct probe_hands *hands,
                        bool eager, struct err *err)
{
    struct probe *probe = calloc(1, sizeof *probe);

    if (!probe) {
        err_set(err, ERR_MEMORY, "no memory for a check");
        return NULL;
    }
    probe->loop = loop;
    probe->check = check;
    probe->timing = timing;
    probe->hands = *hands;
    probe->eager = eager;
    probe->gap_ms = PROBE_EAGER_MS;
    probe->fd = -1;
    buf_init(&probe->request, REQUEST_MAX);
    buf_init(&probe->answer, ANSWER_MAX);
    if (prepare(probe, err) != 0) {
        probe_free(probe);
        return NULL;
    }
    schedule_first(probe);
    return probe;
}

void probe_free(struct probe *probe)
{
    if (!probe)
        return;
    if (probe->exec_running && !probe->exec_killed)
        probe->hands.exec_kill(probe->hands.context, probe->token);
    hang_up(probe);
    loop_timer_free(probe->next);
    loop_timer_free(probe->limit);
    probe_lookup_free(probe->lookup);
    buf_done(&probe->request);
    free(probe);
}

void probe_set_eager(struct probe *probe, bool eager)
{
    if (probe->eager == eager)
        return;
    probe->eager = eager;
    probe->gap_ms = PROBE_EAGER_MS;
    schedule_again(probe);
}

void probe_set_faster(struct probe *probe, bool faster)
{
    if (probe->faster == faster)
        return;
    probe->faster = faster;
    schedule_again(probe);
}
