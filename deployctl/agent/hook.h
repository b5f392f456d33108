/* hook.h - commands of the operator, run on the host: own session, timeout, bounded output. */
#ifndef DEPLOYCTL_AGENT_HOOK_H
#define DEPLOYCTL_AGENT_HOOK_H

#include "deployctl/agent/talk.h"

enum { HOOK_OUTPUT_MAX = 64 * 1024, HOOK_KILL_MS = 5000, HOOK_DRAIN_MS = 200 };
void hook_verb(struct act *act);

struct hook_order {
    const char *name, *command;
    const json_t *env; /* texts; NULL = none */
    int64_t timeout_ms;
};
struct hook_end {
    const char *output;    /* its last part; gone after the call */
    int code;              /* 128 + N for a signal */
    const struct err *err; /* NULL, or that it took too long and was killed */
};
typedef void hook_fn(void *context, const struct hook_end *end);
/* Runs the command; fn is called once, later, unless this fails.  The order is not needed after
 * this returns. */
int hook_start(struct talk *talk, const struct hook_order *order, hook_fn *fn, void *context,
               struct err *err);

#endif
