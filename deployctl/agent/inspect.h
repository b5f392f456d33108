/* inspect.h - the verbs that look closely at releases and change nothing: verify, diff. */
#ifndef DEPLOYCTL_AGENT_INSPECT_H
#define DEPLOYCTL_AGENT_INSPECT_H

#include "deployctl/agent/act.h"

void inspect_verify_verb(struct act *act);
/* Without "to" a manifest follows, as for `stage` (release_verbs.h collects it). */
void inspect_diff_verb(struct act *act);

#endif
