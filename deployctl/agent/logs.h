/* logs.h - the output of this host's services as it is written: the verb `logs`.
 *
 * The supervisor is asked for what came since, by cursors: so whoever has its right to logs sees
 * them, whether or not the files may be read.  Nobody is asked while what was told before is still
 * on its way: who reads slowly is served slowly.
 */
#ifndef DEPLOYCTL_AGENT_LOGS_H
#define DEPLOYCTL_AGENT_LOGS_H

#include "deployctl/agent/talk.h"

void logs_verb(struct act *act);
void logs_stop(struct talk *talk);

#endif
