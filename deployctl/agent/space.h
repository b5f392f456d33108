/* space.h - does a release fit on the disk, with a reserve, before its first byte is written; and
 * the room for it kept until it comes, where the file system can do that.
 */
#ifndef DEPLOYCTL_AGENT_SPACE_H
#define DEPLOYCTL_AGENT_SPACE_H

#include "base/err.h"
#include "deployctl/agent/reuse.h"
#include "deployctl/agent/stage.h"

/* ERR_LIMIT says what is needed, what is free, what is kept. */
int space_check(struct stage *stage, const struct reuse *reuse, struct err *err);

/* Once it is known what is missing.  ERR_LIMIT: somebody was faster. */
int space_reserve(struct stage *stage, struct err *err);
/* A content of this size is about to be written. */
void space_use(struct stage *stage, uint64_t size);

#endif
