/* config_check.h - a staged release and the files of this host: do they go together?
 *
 * A service may take settings from its release (the supervisor's release_config).  The supervisor
 * knows what is allowed and what fits; it is asked as soon as the release is here, so that one that
 * it would refuse is refused before any host switches.
 */
#ifndef DEPLOYCTL_AGENT_CONFIG_CHECK_H
#define DEPLOYCTL_AGENT_CONFIG_CHECK_H

#include <jansson.h>

#include "deployctl/agent/talk.h"

/* Ends the act: with `answer` (stolen), or with ERR_INVALID, the first error of the service file
 * and all of them in "errors".  Who does not answer, or is too old to know, has no objection: the
 * switch asks again. */
void config_check(struct act *act, const char *id, json_t *answer);

#endif
