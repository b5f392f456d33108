/* probe.c - when to ask, and what comes of it.  The contract is in probe.h. */
#include "supervisor/health/probe.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/unit.h"
#include "supervisor/health/probe_lookup.h"
#include "supervisor/health/probe_talk.h"
#include "supervisor/machine/spread.h"

enum {
    REQUEST_MAX = 8192,
    FIRST_SPREAD_MS = 1000,
    EAGER_MOST_MS = 1000,
    FASTER_LEAST_MS = 200,
    DRAIN_MS = 1000,
    LATE_MS = 500, /* a time-out that comes this late says that we did not run */
};

enum phase { PHASE_IDLE, PHASE_LOOKUP, PHASE_TALKING, PHASE_EXEC };

struct probe {
    struct loop *loop;
    const struct instance_check *check;
    const struct spec_check *timing;
    struct probe_hands hands;
    enum phase phase;
    bool eager, faster;
    bool failed;                     /* the last attempt */
    bool lacking;                    /* the last attempt could not be made, and that was logged */
    bool late;                       /* this attempt was given its time again */
    struct loop_timer *next, *limit; /* the next attempt; the end of this one */
    uint64_t attempts;
    uint32_t number;
    bool timing_out; /* the verdict under way is a time-out */
    int64_t started_ms, gap_ms;
    struct probe_lookup *lookup; /* NULL when the address is known */
    struct probe_talk *talk;     /* NULL for exec: */
    struct buf request;
    bool exec_running, exec_killed;
    size_t token;
};

/* --- when --- */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t interval_of(const struct probe *probe)
{
    int64_t interval = probe->timing->interval_ms;

    return probe->faster ? least(interval, most(interval / 10, FASTER_LEAST_MS)) : interval;
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
        int64_t interval = interval_of(probe), now = loop_now_ms(probe->loop);
        wait = spread_next(probe->number, interval, probe->started_ms + interval / 2) - now;
        if (wait <= 0) /* it took longer than that */
            wait = spread_next(probe->number, interval, now) - now;
        wait = most(wait, least(PROBE_EAGER_MS, most(probe->timing->interval_ms, 1)));
    }
    loop_timer_arm(probe->next, wait);
}

static void schedule_first(struct probe *probe)
{
    int64_t spread =
        probe->eager
            ? 0
            : spread_phase(probe->number, least(probe->timing->interval_ms, FIRST_SPREAD_MS));

    loop_timer_arm(probe->next, probe->timing->delay_ms + spread);
}

/* A change of pace while we wait for the next attempt. */
static void schedule_again(struct probe *probe)
{
    if (probe->attempts > 0 && probe->phase == PHASE_IDLE && loop_timer_armed(probe->next))
        schedule(probe);
}

/* --- the end of an attempt --- */

static void rest(struct probe *probe)
{
    probe->phase = PHASE_IDLE;
    loop_timer_disarm(probe->limit);
    schedule(probe);
}

/* The owner may free the probe in here: nobody may touch it afterwards. */
static void __attribute__((format(printf, 3, 0)))
tell(struct probe *probe, bool ok, const char *fmt, va_list args)
{
    struct probe_result result = { .ok = ok, .timed_out = probe->timing_out };

    vsnprintf(result.text, sizeof result.text, fmt, args);
    probe->failed = !ok;
    probe->lacking = false;
    probe->hands.done(probe->hands.context, &result);
}

static void __attribute__((format(printf, 3, 4)))
finish(struct probe *probe, bool ok, const char *fmt, ...)
{
    va_list args;

    rest(probe);
    va_start(args, fmt);
    tell(probe, ok, fmt, args);
    va_end(args);
}

/* We could not ask, so nothing is known about the service: no result. */
static void lack(struct probe *probe, const char *what)
{
    rest(probe);
    if (!probe->lacking)
        log_warn("a check could not be made", "check", probe->timing->target, "error", what, NULL);
    probe->lacking = true;
}

static long long took_ms(const struct probe *probe)
{
    return (long long)(loop_now_ms(probe->loop) - probe->started_ms);
}

/* --- http, tcp, unix --- */

static void on_talked(void *context, enum probe_talk_end how, const char *text)
{
    struct probe *probe = context;

    switch (how) {
    case PROBE_TALK_OK:
        finish(probe, true, "%s in %lld ms", text, took_ms(probe));
        break;
    case PROBE_TALK_BAD:
        finish(probe, false, "%s", text);
        break;
    case PROBE_TALK_LACK:
        lack(probe, text);
        break;
    }
}

static void begin_talk(struct probe *probe, const struct addr *addrs, size_t count)
{
    probe->phase = PHASE_TALKING;
    probe_talk_begin(probe->talk, addrs, count, least(probe->timing->timeout_ms, DRAIN_MS));
}

static void fail_lookup(struct probe *probe)
{
    finish(probe, false, "cannot look up %.64s: %s", probe->check->host,
           probe_lookup_error(probe->lookup));
}

static void begin_lookup(struct probe *probe)
{
    bool asking = probe_lookup_refresh(probe->lookup, probe->failed);

    if (probe_lookup_count(probe->lookup) > 0)
        begin_talk(probe, probe_lookup_addrs(probe->lookup), probe_lookup_count(probe->lookup));
    else if (asking)
        probe->phase = PHASE_LOOKUP;
    else
        fail_lookup(probe);
}

static void on_lookup(void *context)
{
    struct probe *probe = context;

    if (probe->phase != PHASE_LOOKUP)
        return; /* refreshed behind an attempt that used what we had */
    if (probe_lookup_count(probe->lookup) > 0)
        begin_talk(probe, probe_lookup_addrs(probe->lookup), probe_lookup_count(probe->lookup));
    else
        fail_lookup(probe);
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
        (err.code == ERR_SYSTEM &&
         (err.sys == EMFILE || err.sys == ENFILE || err.sys == ENOBUFS || err.sys == EAGAIN)))
        lack(probe, err.text);
    else
        finish(probe, false, "cannot be started: %.120s", err.text);
}

void probe_exec_ended(struct probe *probe, size_t token, const char *unstarted, bool signalled,
                      int status)
{
    if (!probe->exec_running || token != probe->token)
        return;
    probe->exec_running = false;
    if (probe->exec_killed)
        return; /* which was told then */
    if (unstarted)
        finish(probe, false, "could not be started: %s", unstarted);
    else if (signalled)
        finish(probe, false, "killed by SIG%s", signals_name(status));
    else if (status != 0)
        finish(probe, false, "exited with code %d", status);
    else
        finish(probe, true, "exited with code 0 in %lld ms", took_ms(probe));
}

/* --- one attempt --- */

static void on_next(void *context)
{
    struct probe *probe = context;

    probe->attempts++;
    probe->started_ms = loop_now_ms(probe->loop);
    probe->late = probe->timing_out = false;
    if (probe->exec_running) {
        probe->timing_out = true;
        finish(probe, false, "the run before was killed and has not ended yet");
        return;
    }
    loop_timer_arm(probe->limit, probe->timing->timeout_ms);
    if (probe->check->kind == SPEC_CHECK_EXEC)
        start_exec(probe);
    else if (probe->lookup)
        begin_lookup(probe);
    else
        begin_talk(probe, &probe->check->addr, 1);
}

static void fail_timeout(struct probe *probe)
{
    char within[UNIT_TEXT_MAX];
    const char *missing;

    unit_duration_text(probe->timing->timeout_ms, within);
    probe->timing_out = true;
    switch (probe->phase) {
    case PHASE_LOOKUP:
        finish(probe, false, "no address of %.64s within %s", probe->check->host, within);
        break;
    case PHASE_EXEC:
        probe->exec_killed = true;
        probe->hands.exec_kill(probe->hands.context, probe->token, false);
        finish(probe, false, "still running after %s, killed", within);
        break;
    case PHASE_TALKING:
        missing = probe_talk_missing(probe->talk);
        probe_talk_hang_up(probe->talk);
        finish(probe, false, "%s within %s", missing, within);
        break;
    case PHASE_IDLE:
        break;
    }
}

static void on_limit(void *context)
{
    struct probe *probe = context;

    /* It may be served before an answer that came while we did not run. */
    if (probe->phase == PHASE_TALKING && probe_talk_catch_up(probe->talk))
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

bool probe_is_asked(enum spec_check_kind kind)
{
    return kind == SPEC_CHECK_HTTP || kind == SPEC_CHECK_TCP || kind == SPEC_CHECK_UNIX ||
           kind == SPEC_CHECK_EXEC || kind == SPEC_CHECK_GRPC;
}

static int prepare(struct probe *probe, struct err *err)
{
    const struct instance_check *check = probe->check;

    if (!probe_is_asked(check->kind))
        return err_set(err, ERR_INVALID, "nothing to be asked");
    int rc = make_request(probe, err);
    if (rc != 0)
        return rc;
    bool talks = check->kind != SPEC_CHECK_EXEC, looks = talks && check->host;
    const struct probe_talk_ask ask = {
        .request = buf_text(&probe->request),
        .authority = check->kind == SPEC_CHECK_GRPC ? check->authority : NULL,
        .service = check->path,
    };
    if (talks)
        probe->talk = probe_talk_new(probe->loop, &ask, on_talked, probe);
    if (looks)
        probe->lookup = probe_lookup_new(probe->loop, check->host, check->port, on_lookup, probe);
    probe->next = loop_timer_new(probe->loop, on_next, probe);
    probe->limit = loop_timer_new(probe->loop, on_limit, probe);
    if (!probe->next || !probe->limit || (talks && !probe->talk) || (looks && !probe->lookup))
        return err_set(err, ERR_MEMORY, "no memory for a check");
    return 0;
}

struct probe *probe_new(struct loop *loop, const struct instance_check *check,
                        const struct spec_check *timing, const struct probe_hands *hands,
                        uint32_t number, bool eager, struct err *err)
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
    probe->number = number;
    probe->eager = eager;
    probe->gap_ms = PROBE_EAGER_MS;
    buf_init(&probe->request, REQUEST_MAX);
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
    if (probe->exec_running)
        probe->hands.exec_kill(probe->hands.context, probe->token, true);
    probe_talk_free(probe->talk);
    loop_timer_free(probe->next);
    loop_timer_free(probe->limit);
    probe_lookup_free(probe->lookup);
    buf_done(&probe->request);
    free(probe);
}

void probe_retime(struct probe *probe)
{
    if (probe->attempts == 0)
        return; /* the first one comes as it was to */
    schedule_again(probe);
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
