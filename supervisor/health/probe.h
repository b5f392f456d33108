/* probe.h - one check of one unit, repeated: http, grpc, tcp, unix, exec.
 *
 * Never blocks the loop; at most one attempt at a time; an attempt that is not answered within
 * the time-out failed.  Intervals are spread so that a thousand probes do not fire together.
 * A host name is looked up on the thread pool when the probe begins and again at most every 60 s
 * after failures (every 5 s while there is no address at all); a dead resolver only fails this
 * probe, and not while an older answer serves.
 * An attempt that could not be made for want of our own memory or descriptors has no result: it
 * says nothing about the service.  It is logged once and made again at the next time.
 */
#ifndef SUPERVISOR_HEALTH_PROBE_H
#define SUPERVISOR_HEALTH_PROBE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "io/loop.h"
#include "supervisor/plan/instance.h"

struct probe;
struct probe_result {
    bool ok;
    bool timed_out; /* it had not answered when its time was over */
    char text[160]; /* "200 in 3 ms", "connection refused", "503 Service Unavailable", ... */
};
struct probe_hands {
    void *context;
    /* After each attempt.  The probe may be freed inside. */
    void (*done)(void *context, const struct probe_result *result);
    /* Starts an exec: check; the end comes by probe_exec_ended().  0 and a token, or err. */
    int (*exec_start)(void *context, char *const *argv, size_t *ret_token, struct err *err);
    /* At a time-out, whose end comes as any other; or `gone`: the probe is freed, nobody is left
     * who could be told. */
    void (*exec_kill)(void *context, size_t token, bool gone);
};

/* `check` and `timing` must outlive the probe.  The first attempt
 * comes after timing->delay_ms plus a part of the interval, at most a second; the others an
 * interval after each other, all by `number` (machine/spread.h).  While `eager` (before the first
 * success of a readiness check) the first comes at once after delay_ms, and the others 50, 100,
 * 200, 400, 800 ms, then a second (or the interval, if that is shorter) after the end of the one
 * before, so that a service is not kept waiting for ten seconds. */
enum { PROBE_EAGER_MS = 50 };
struct probe *probe_new(struct loop *loop, const struct instance_check *check,
                        const struct spec_check *timing, const struct probe_hands *hands,
                        uint32_t number, bool eager, struct err *err);
void probe_free(struct probe *probe);
/* `timing` has changed: the time of the next attempt, when none is under way, is set anew. */
void probe_retime(struct probe *probe);
void probe_set_eager(struct probe *probe, bool eager);
/* Bake: a tenth of the interval, not under 200 ms. */
void probe_set_faster(struct probe *probe, bool faster);
/* Any other token than that of the running exec: is ignored.  unstarted: why its program never
 * ran, else NULL; status: the exit code, or the signal. */
void probe_exec_ended(struct probe *probe, size_t token, const char *unstarted, bool signalled,
                      int status);

/* Pure: whether we ask, or the service tells by itself. */
bool probe_is_asked(enum spec_check_kind kind);
/* Pure: the HTTP/1.x status line of an answer, whole or without its end.  200-399 is healthy.
 * 1 = ok, 0 = bad, -1 = not HTTP (then *ret_code is not written). */
int probe_http_status(const char *answer, size_t len, int *ret_code);

#endif
