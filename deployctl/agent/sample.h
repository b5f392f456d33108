/* sample.h - this host's counters, read once: the verb `sample`. */
#ifndef DEPLOYCTL_AGENT_SAMPLE_H
#define DEPLOYCTL_AGENT_SAMPLE_H

#include "deployctl/agent/talk.h"

void sample_verb(struct act *act);
/* Ends the one under way, and forgets how far a log was read. */
void sample_stop(struct talk *talk);

#endif
