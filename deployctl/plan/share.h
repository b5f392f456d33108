/* share.h - "25%" or "3" of so many hosts, rounded as each key promises.
 *
 * A canary and a batch are rounded up, so that something happens; what may be out of service at
 * the same time is rounded down, so that capacity is kept.  Percentages are of all hosts selected.
 */
#ifndef DEPLOYCTL_PLAN_SHARE_H
#define DEPLOYCTL_PLAN_SHARE_H

#include <stddef.h>

#include "base/unit.h"

/* Rounded up, at least 1, and fewer than all unless 100 % or at least all were asked for; one host
 * is its own canary.  A share of 0 or "0%" is 0: no canary. */
size_t share_canary(struct unit_share share, size_t total);
/* Rounded up, at least 1, at most all. */
size_t share_batch(struct unit_share share, size_t total);
/* Rounded down, at least 1, at most all. */
size_t share_unavailable(struct unit_share share, size_t total);
/* Rounded down; 0 is allowed (max_failed, max_unreachable). */
size_t share_budget(struct unit_share share, size_t total);

#endif
