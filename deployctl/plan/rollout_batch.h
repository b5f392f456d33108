/* rollout_batch.h - the inside of rollout: whose turn is next, as canary, in a batch, on the way
 * back.
 *
 * Groups come before zones, zones before health: a batch is of one group and one zone, and in it
 * the unhealthy hosts go first.  Only rollout.c and rollout_stage.c call these.
 */
#ifndef DEPLOYCTL_PLAN_ROLLOUT_BATCH_H
#define DEPLOYCTL_PLAN_ROLLOUT_BATCH_H

#include "deployctl/plan/rollout.h"

/* The canary hosts: those named, else the first that can take part; healthy ones before others, and
 * no second one of a zone before each has one.  All are of the first group that has any host to
 * switch. */
void rollout_batch_canary(struct rollout *r);
/* Gives the hosts of the next batch its number and enters the group whose turn it is; how many. */
size_t rollout_batch_fill(struct rollout *r);
/* So many healthy hosts of the group may be out at the same time, forward or in a rollback. */
size_t rollout_batch_unavailable(const struct rollout *r, size_t group);
size_t rollout_batch_undo_unavailable(const struct rollout *r, size_t group);
/* Is `group` to be brought back before `other`? */
bool rollout_batch_before_undo(const struct rollout *r, size_t group, size_t other);
bool rollout_batch_takes_part(const struct rollout_host *host);

#endif
