/* release_verbs.h - the verbs that bring releases in and remove them. */
#ifndef DEPLOYCTL_AGENT_RELEASE_VERBS_H
#define DEPLOYCTL_AGENT_RELEASE_VERBS_H

#include "deployctl/agent/talk.h"

/* `act->data` is a struct stage from here on: frames of the manifest belong to it. */
void release_verbs_expect(struct act *act); /* when the request arrives, before its turn */
void release_verbs_manifest(struct act *act, const char *data, size_t len);
void release_verbs_stage(struct act *act);
void release_verbs_chunks(struct act *act);
void release_verbs_seal(struct act *act);
void release_verbs_unstage(struct act *act);
void release_verbs_prune(struct act *act);
/* The act leaves without having had its turn. */
void release_verbs_forget(struct act *act);

#endif
