/* leave_disks.h - everything on disk, and no file system in use any more. */
#ifndef SUPERVISOR_GUARDIAN_LEAVE_DISKS_H
#define SUPERVISOR_GUARDIAN_LEAVE_DISKS_H

/* Syncs, ends swapping, unmounts, lets loop and device-mapper devices go, and does it again as long
 * as that makes headway: one may lie on another.  What is left, and the root, becomes read-only;
 * what cannot even be that is named on stderr. */
void leave_disks(void);

#endif
