/* rollout_stage.h - the inside of rollout: what is due in each stage, and which comes next.
 *
 * Only rollout.c calls these.
 */
#ifndef DEPLOYCTL_PLAN_ROLLOUT_STAGE_H
#define DEPLOYCTL_PLAN_ROLLOUT_STAGE_H

#include "deployctl/plan/rollout.h"

/* Asks for what is due; true when the stage has changed and there may be more. */
bool rollout_stage_advance(struct rollout *r);
void rollout_stage_ask(struct rollout *r, size_t host, enum rollout_act act);
/* Ends it: lets go of every lock. */
bool rollout_stage_over(struct rollout *r, enum rollout_outcome outcome);
/* True from canary to batches. */
bool rollout_stage_forward(const struct rollout *r);
bool rollout_stage_touched(const struct rollout *r); /* any host */
/* Counts one host anew; whoever changes a host outside of a change of stage calls it. */
void rollout_stage_note(struct rollout *r, size_t host);
void rollout_stage_survey(struct rollout *r); /* all of them */
bool rollout_stage_hopeless(const struct rollout *r);
void rollout_stage_foresee(struct rollout *r);
size_t rollout_stage_out(const struct rollout *r);

#endif
