/* switch.h - the verbs that change what runs: switch, confirm, extend, revert.
 *
 * With services they are the supervisor's release.* calls; without, the agent swaps `current`.
 */
#ifndef DEPLOYCTL_AGENT_SWITCH_H
#define DEPLOYCTL_AGENT_SWITCH_H

#include "deployctl/agent/talk.h"

void switch_verb(struct act *act);
void switch_confirm_verb(struct act *act);
void switch_extend_verb(struct act *act);
void switch_revert_verb(struct act *act);

#endif
