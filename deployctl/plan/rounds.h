/* rounds.h - counters of many hosts, read together again and again, as counts of the two sides.
 *
 * All hosts are read at the same time, a round; a side's count of a round is what its hosts'
 * counters have grown since the round before.  A host counts only with two rounds in a row: one
 * that was not there begins anew, as does one whose process was restarted (a counter went back, or
 * its start time changed).  So nothing is counted on one side that could not be on the other.
 */
#ifndef DEPLOYCTL_PLAN_ROUNDS_H
#define DEPLOYCTL_PLAN_ROUNDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "deployctl/plan/verdict.h"

struct rounds_sample {
    struct verdict_counts counters; /* since the process began */
    double bound;                   /* of a slow request, seconds; 0 = no times */
    double started;                 /* of the process; 0 = not told */
};
/* All zeros: never read. */
struct rounds_host {
    bool based; /* `last` is of the round before */
    struct rounds_sample last;
    int64_t resets;
    int64_t odd; /* rounds with more hits than requests */
};
struct rounds_sums {
    struct verdict_counts canary, rest;
    double bound;
};

/* One host of the present round; now NULL: it did not answer.  Canary hosts come first: times of a
 * host whose bound differs from theirs are not counted. */
void rounds_add(struct rounds_host *host, bool canary, const struct rounds_sample *now,
                struct rounds_sums *sums);

#endif
