/* sock_diag.h - the TCP sockets of this host as the kernel lists them: who listens where, and how
 * many connections are established there.  No privilege is needed for the list itself.
 */
#ifndef DEPLOYCTL_AGENT_SOCK_DIAG_H
#define DEPLOYCTL_AGENT_SOCK_DIAG_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum { SOCK_DIAG_PORTS_MAX = 64 };
struct sock_diag_ports {
    uint16_t at[SOCK_DIAG_PORTS_MAX];
    size_t count;
};
/* Adds a port once; more than SOCK_DIAG_PORTS_MAX are left out. */
void sock_diag_add(struct sock_diag_ports *ports, uint16_t port);
/* Adds the ports that this process or one of its descendants listens on.  ERR_DENIED: what it has
 * open may not be seen by this user. */
int sock_diag_listening(pid_t pid, struct sock_diag_ports *ports, struct err *err);
/* Established connections to these ports; a negative err_code. */
int64_t sock_diag_established(const struct sock_diag_ports *ports, struct err *err);

#endif
