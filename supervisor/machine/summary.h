/* summary.h - what is told about all instances together to the service manager above us.
 *
 * A manager that waits for READY=1 kills what does not say it in time, and one broken service must
 * not take all others with it.  So "ready" means that nothing is on its way any more: what could
 * start has started, and what could not is in the status line.
 */
#ifndef SUPERVISOR_MACHINE_SUMMARY_H
#define SUPERVISOR_MACHINE_SUMMARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supervisor/machine/lifecycle.h"

/* Of one instance. */
enum summary_kind {
    SUMMARY_UNWANTED, /* stopped, as it should be */
    SUMMARY_WELL,     /* ready; or ended as it should; or waits for its first connection */
    SUMMARY_UNDERWAY, /* it is being started, or stopped to be started again */
    SUMMARY_BAD,      /* anything else */
    SUMMARY_NKINDS
};
enum summary_kind summary_of(const struct lifecycle *lc, bool listening);

struct summary {
    size_t counts[SUMMARY_NKINDS];
    /* The first that is bad (else on its way), and its state; borrowed, NULL = none. */
    const char *first, *state;
    enum summary_kind first_kind;
};
/* `name`, `state`: borrowed, for as long as the summary is used. */
void summary_add(struct summary *summary, enum summary_kind kind, const char *name,
                 const char *state);

enum { SUMMARY_PATIENCE_MS = 60000, SUMMARY_TEXT_MAX = 200 };
/* The start is over: nothing is on its way, or it has taken longer than anybody should wait. */
bool summary_started(const struct summary *summary, int64_t since_start_ms);
/* "3 instances, 1 not as it should be: web:0 (backoff)" */
const char *summary_text(const struct summary *summary, char text[static SUMMARY_TEXT_MAX]);

#endif
