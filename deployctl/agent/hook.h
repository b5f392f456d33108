/* hook.h - commands of the operator, run on the host: own session, timeout, bounded output. */
#ifndef DEPLOYCTL_AGENT_HOOK_H
#define DEPLOYCTL_AGENT_HOOK_H

#include "deployctl/agent/talk.h"

enum { HOOK_OUTPUT_MAX = 64 * 1024, HOOK_KILL_MS = 5000, HOOK_DRAIN_MS = 200 };
void hook_verb(struct act *act);

#endif
