/* checks.h - the checks of one running unit: startup gates the others, ready publishes, live
 * restarts.
 *
 * Counts successes and failures in a row against the thresholds and tells only verdicts.  `notify`
 * and `fd:N` readiness do not come from here but through checks_told_ready().
 */
#ifndef SUPERVISOR_HEALTH_CHECKS_H
#define SUPERVISOR_HEALTH_CHECKS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "io/loop.h"
#include "supervisor/host/pressure.h"
#include "supervisor/plan/instance.h"

enum checks_verdict {
    CHECKS_READY,   /* ready passed `successes` times (or the service said so itself) */
    CHECKS_UNREADY, /* ready failed `threshold` times after it was ready */
    CHECKS_ALIVE,   /* live passed after it was unknown or bad */
    CHECKS_SICK,    /* startup or live failed `threshold` times */
    CHECKS_STARTED, /* the startup check passed: remembered across a crash of the core */
};
struct checks_hands {
    void *context;
    void (*verdict)(void *context, enum checks_verdict verdict, const char *reason);
    void (*counted)(void *context, bool ok, const char *reason); /* each attempt, for status */
    /* Asked only when an attempt has timed out; where it was looked for: "on this host". */
    enum pressure (*pressure)(void *context, const char **ret_where);
    void (*excused)(void *context, const char *reason); /* the first of those in a row that do not
                                                         * count, because the host is starved */
    int (*exec_start)(void *context, char *const *argv, size_t *ret_token, struct err *err);
    void (*exec_kill)(void *context, size_t token, bool gone);
};
struct checks;

/* So many time-outs in a row are the host's fault at most: one that is short of CPU for ever must
 * not hide a service that is dead. */
enum { CHECKS_EXCUSES_MAX = 10 };

/* `number`: of this unit among all, for the phases of its probes.  What is asked is copied out of
 * `instance`.  `started`: the startup check passed before (a core before us saw it); `ready`: it
 * was ready before.  No verdict comes before this has returned. */
struct checks *checks_new(struct loop *loop, const struct instance *instance,
                          const struct checks_hands *hands, uint32_t number, bool started,
                          bool ready, struct err *err);
/* The checks of other settings of the same process: what asks for the same goes on with its counts
 * and in its rhythm, the rest begins anew.  On failure (no memory) they may be no more than a part
 * of what they should be: make new ones. */
int checks_follow(struct checks *checks, const struct instance *instance, struct err *err);
void checks_free(struct checks *checks); /* NULL is fine; may be called from within a verdict */
void checks_told_ready(struct checks *checks); /* READY=1, or the newline on fd N */
void checks_exec_ended(struct checks *checks, size_t token, const char *unstarted, bool signalled,
                       int status);
void checks_set_faster(struct checks *checks, bool faster);

#endif
