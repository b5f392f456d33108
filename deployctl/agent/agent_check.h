/* agent_check.h - answers a load balancer's agent-check: is this host to get traffic?
 *
 * A service of its own, without any right but to read PATH/.deploy; the only port that a part of
 * deployctl ever opens.  Each connection gets one line and is closed: "drain" while the host is to
 * be out of the traffic (drain_mark.h), else "ready".  What cannot be known is not answered, which
 * leaves a load balancer with what it had.
 */
#ifndef DEPLOYCTL_AGENT_AGENT_CHECK_H
#define DEPLOYCTL_AGENT_AGENT_CHECK_H

#include "base/err.h"

/* Serves until it is killed; returns only what keeps it from beginning, or from going on. */
int agent_check_run(const char *path, const char *listen, struct err *err);

#endif
