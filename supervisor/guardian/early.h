/* early.h - what PID 1 needs before it can do anything.
 *
 * A kernel starts the init of a host with a root file system and hardly more.  Here come only the
 * file systems without which the supervisor itself is blind; everything else of a boot (checks,
 * remounting, swap, devices, network) is done by ordinary services (examples/host-init).
 */
#ifndef SUPERVISOR_GUARDIAN_EARLY_H
#define SUPERVISOR_GUARDIAN_EARLY_H

#include <stdbool.h>
#include <stddef.h>

struct early_mount {
    const char *path, *type, *data;
    unsigned long flags;
};
/* In the order in which they are made; each is made only where nothing is mounted yet. */
extern const struct early_mount early_mounts[];
extern const size_t early_nmounts;

/* As PID 1: /proc where it is missing.  As the init of a host also the rest of the table, standard
 * streams on the console if there are none, a PATH, and ctrl-alt-del becomes a signal.  Otherwise
 * nothing.  What fails is said on stderr and left.  Doing it again is harmless. */
void early_prepare(void);
/* PID 1 of the initial pid namespace, where leaving means a kernel panic. */
bool early_is_host_init(void);

#endif
