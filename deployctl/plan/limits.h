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

void limits_make(const struct recipe *recipe, const struct limits_asked *asked,
                 struct rollout_limits *ret_limits);
/* Tells the machine which hosts are named as canaries, and which zone each is in.  A host without
 * the zone label is in a zone of its own kind, with all others that have none. */
void limits_describe(const struct recipe *recipe, const struct limits_asked *asked,
                     struct rollout *rollout);

#endif
