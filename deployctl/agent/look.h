/* look.h - what this host is: everything deployctl decides by, read without changing anything. */
#ifndef DEPLOYCTL_AGENT_LOOK_H
#define DEPLOYCTL_AGENT_LOOK_H

#include "deployctl/agent/talk.h"

void look_verb(struct act *act);
/* Ids that are good: remembered as such or named by the supervisor, not bad, complete here; newest
 * first.  `state` is release.state's answer or NULL. */
json_t *look_good(struct talk *talk, const struct host_releases *list, const json_t *state);

#endif
