/* upward.h - what the service manager above us is told: systemd, or another supervisor.
 *
 * The protocol is sd_notify(3): lines of KEY=VALUE in a datagram to NOTIFY_SOCKET.  The core knows
 * what there is to say (core/announce.h); it is sent from here because a manager trusts the main
 * process, which is the guardian.  Without NOTIFY_SOCKET all of this does nothing.
 */
#ifndef SUPERVISOR_GUARDIAN_UPWARD_H
#define SUPERVISOR_GUARDIAN_UPWARD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { UPWARD_TEXT_MAX = 4096, UPWARD_RETRY_MS = 100 };

struct upward {
    struct sockaddr_un to;
    socklen_t to_len; /* 0 = nobody listens */
    /* What could not be sent for the moment, as one datagram; what is told again later wins. */
    char waiting[UPWARD_TEXT_MAX];
    int64_t retry_ms;             /* monotonic, -1 = nothing waits */
    int64_t beat_ms, beat_due_ms; /* WATCHDOG=1 so often, as the manager wishes; 0 = never */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.  `heir`: we are not the process that the
 * manager started but go on in its place, and say so (MAINPID=). */
void upward_init(struct upward *upward, bool heir);
/* Never blocks: what the manager cannot take now is sent soon. */
void upward_tell(struct upward *upward, const char *text, int64_t now_ms);
/* When upward_tick() wants to be called, or -1. */
int64_t upward_due(const struct upward *upward);
void upward_tick(struct upward *upward, int64_t now_ms);

#endif
