/* host_verbs.h - the small verbs: lock, fence, record, step, mark, close, request, history. */
#ifndef DEPLOYCTL_AGENT_HOST_VERBS_H
#define DEPLOYCTL_AGENT_HOST_VERBS_H

#include "deployctl/agent/talk.h"

void host_verbs_ping(struct act *act);
void host_verbs_lock(struct act *act);
void host_verbs_unlock(struct act *act);
void host_verbs_fence(struct act *act);
void host_verbs_record(struct act *act);
void host_verbs_step(struct act *act);
void host_verbs_mark(struct act *act);
void host_verbs_verdict(struct act *act);
void host_verbs_close(struct act *act);
void host_verbs_request(struct act *act);
void host_verbs_history(struct act *act);

#endif
