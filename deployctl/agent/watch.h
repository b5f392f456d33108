/* watch.h - health of the services after a switch, told as events. */
#ifndef DEPLOYCTL_AGENT_WATCH_H
#define DEPLOYCTL_AGENT_WATCH_H

#include "deployctl/agent/talk.h"

void watch_verb(struct act *act);
void watch_stop(struct talk *talk);
/* A switch was made: gates and counters begin anew. */
void watch_rebase(struct talk *talk);

#endif
