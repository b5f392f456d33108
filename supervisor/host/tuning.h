/* tuning.h - limits and priorities of processes that run already. */
#ifndef SUPERVISOR_HOST_TUNING_H
#define SUPERVISOR_HOST_TUNING_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "io/child.h"

enum { TUNING_LIMITS_MAX = 16 };

struct tuning {
    struct child_limit limits[TUNING_LIMITS_MAX];
    size_t nlimits;
    bool set_nice, set_oom_score;
    int nice; /* added to our own, as at a start */
    int oom_score_adj;
};

/* Whether we may change all of these for any process of ours, in any direction. */
bool tuning_allowed(void);
int tuning_own_oom_score(void); /* what is inherited from us */
/* A process with all of its threads, which must not be reaped meanwhile.  Does what it can; 0, also
 * when it has ended, or the first failure by name. */
int tuning_apply(pid_t pid, const struct tuning *tuning, struct err *err);

#endif
