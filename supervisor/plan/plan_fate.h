/* plan_fate.h - what a reload does to one instance: files, the plan in force, and what really runs.
 *
 * Pure: the same facts tell people beforehand what would happen, and are looked at again when it
 * happens.
 */
#ifndef SUPERVISOR_PLAN_PLAN_FATE_H
#define SUPERVISOR_PLAN_PLAN_FATE_H

#include <stdbool.h>

enum plan_fate {
    PLAN_FATE_SAME,      /* nothing of it has changed */
    PLAN_FATE_STARTS,    /* new, and started */
    PLAN_FATE_RESTS,     /* new, and not started by itself */
    PLAN_FATE_STOPS,     /* not there any more: stopped */
    PLAN_FATE_GOES,      /* not there any more, and it did not run */
    PLAN_FATE_RESTARTS,  /* runs with settings that only a start can change; ends a wait, too */
    PLAN_FATE_LEFT,      /* the same, but it was asked to restart nothing */
    PLAN_FATE_SIGNALLED, /* told by reload_signal to read its files again */
    PLAN_FATE_LIVE,      /* changes are applied to what runs */
    PLAN_FATE_LATER,     /* does not run: changes apply when it is started */
    PLAN_FATE_SCHEDULED, /* by the clock from now on: what runs is ended, its times count */
    PLAN_FATE_BEGINS,    /* by the clock no more, and started at once */
    PLAN_FATE_ENDS,      /* by the clock no more, and not started by itself */
    PLAN_NFATES
};
const char *plan_fate_name(enum plan_fate fate); /* "same", "starts", ... */

struct plan_fate_facts {
    bool before, after; /* there is such an instance in force; in the files */
    bool autostart;     /* of the files: a new one is started */
    bool wanted;        /* it is to run: no order has stopped it */
    bool process;       /* it has one */
    bool changed;       /* some key of its service is another */
    bool outdated;      /* what it was started with last differs from what the files say */
    bool files;         /* environment_file says something else than when it was started */
    bool told;          /* one of its own files does (reload_files) */
    bool signal;        /* it has a reload_signal */
    bool scheduled;     /* it runs by the clock: what runs is left alone, the next run is another */
    bool to_clock;      /* it will run by the clock, and did not */
    bool from_clock;    /* it did, and will not any more */
    bool times;         /* its times count; before they do: no order holds it down */
    bool no_restart;    /* as the operator asked */
};
enum plan_fate plan_fate(const struct plan_fate_facts *facts);
/* Whether the service is interrupted. */
bool plan_fate_interrupts(enum plan_fate fate);

#endif
