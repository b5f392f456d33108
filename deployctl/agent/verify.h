/* verify.h - whether a release that lies here is still what its manifest says.
 *
 * Reads every content, so it takes as long as the disk does: call it on a thread.  What is there
 * besides (links to shared folders) does not matter.
 */
#ifndef DEPLOYCTL_AGENT_VERIFY_H
#define DEPLOYCTL_AGENT_VERIFY_H

#include "base/err.h"
#include "deployctl/agent/host.h"

/* ERR_CORRUPT names the first entry that differs, how, and the remedy. */
int verify_release(const struct host *host, const char *id, struct err *err);

#endif
