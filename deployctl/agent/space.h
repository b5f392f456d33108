/* space.h - does a release fit on the disk, with a reserve, before its first byte is written. */
#ifndef DEPLOYCTL_AGENT_SPACE_H
#define DEPLOYCTL_AGENT_SPACE_H

#include "base/err.h"
#include "deployctl/agent/reuse.h"
#include "deployctl/agent/stage.h"

/* ERR_LIMIT says what is needed, what is free, what is kept. */
int space_check(const struct stage *stage, const struct reuse *reuse, struct err *err);

#endif
