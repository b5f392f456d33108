/* limits.h - what deploy.ini and the command line allow a rollout, for so many hosts; and which
 * hosts are meant by a pattern, where names and labels both count.
 */
#ifndef DEPLOYCTL_PLAN_LIMITS_H
#define DEPLOYCTL_PLAN_LIMITS_H

#include "deployctl/plan/recipe.h"
#include "deployctl/plan/rollout.h"

struct limits_asked {
    const char *canary_hosts;        /* pattern; NULL = so many */
    struct unit_share canary, batch; /* as they are to be used */
    int64_t bake_ms;
    bool hold, now; /* now: a rollback takes all hosts at once */
};

/* Where there are groups, batch and both max_unavailable are of each one's hosts, and the canary is
 * of the first group that has any. */
void limits_make(const struct recipe *recipe, const struct limits_asked *asked,
                 struct rollout_limits *ret_limits);
/* ERR_INVALID: a canary is named that is not in the first group. */
int limits_check(const struct recipe *recipe, const struct limits_asked *asked, struct err *err);
/* Tells the machine which hosts are named as canaries, and which group and zone each is in.  A host
 * without the zone label is in a zone of its own kind, with all others that have none. */
void limits_describe(const struct recipe *recipe, const struct limits_asked *asked,
                     struct rollout *rollout);

#endif
