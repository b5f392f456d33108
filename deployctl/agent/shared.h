/* shared.h - shared_dirs and shared_files: links from a release to PATH/shared. */
#ifndef DEPLOYCTL_AGENT_SHARED_H
#define DEPLOYCTL_AGENT_SHARED_H

#include <stdbool.h>

#include "base/err.h"
#include "deployctl/agent/stage.h"

/* Before anything is written: the release brings nothing there, each shared file exists. */
int shared_check(const struct stage *stage, struct err *err);
/* Makes missing shared folders and puts the links into the tree. */
int shared_link(struct stage *stage, struct err *err);
/* Is NAME of the release opened as `root` the link that shared_link makes? */
bool shared_is_link(int root, const char *name);

#endif
