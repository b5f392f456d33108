/* story.h - what can happen to a rollout, made up at random from a seed, and told to the end.
 *
 * A story is some faults, perhaps an order of the operator, perhaps the death of deployctl, after
 * which somebody goes on from elsewhere; that one may die as well.  The same seed is the same story
 * on every machine.
 */
#ifndef DEPLOYCTL_PLAN_STORY_H
#define DEPLOYCTL_PLAN_STORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "deployctl/plan/sim.h"

enum { STORY_FAULTS_MAX = 6, STORY_DEATHS_MAX = 2 };

/* The faults that people can name, and those that are made up: one row each. */
struct story_step {
    const char *name; /* as in --fail HOST=NAME */
    enum rollout_act act;
    enum sim_fault_kind kind;
    int64_t delay_ms;
    const char *help; /* what happens to the host */
};
extern const struct story_step story_steps[];
extern const size_t story_nsteps;

struct story {
    struct sim_fault faults[STORY_FAULTS_MAX];
    size_t nfaults;
    enum rollout_event_kind order; /* START = none */
    size_t order_at;
    size_t die_at[STORY_DEATHS_MAX]; /* 0 = it does not */
    enum rollout_kind then[STORY_DEATHS_MAX];
    int64_t gap_ms[STORY_DEATHS_MAX];
    unsigned unhealthy; /* one of so many hosts is unhealthy before; 0 = none */
};

uint64_t story_random(uint64_t *state); /* splitmix64 */
void story_make(uint64_t *state, size_t count, struct story *story);
/* Plays it with sim, which sim_init has just made ready, to its settled end.  The promise that was
 * broken, or NULL. */
const char *story_tell(struct story *story, struct sim *sim);

#endif
