/* leave_mounts.h - what to do with each mounted file system before the machine stops.  Pure. */
#ifndef SUPERVISOR_GUARDIAN_LEAVE_MOUNTS_H
#define SUPERVISOR_GUARDIAN_LEAVE_MOUNTS_H

#include <stdbool.h>

enum leave_act {
    LEAVE_KEEP,      /* the kernel's own, or memory: nothing can be lost */
    LEAVE_READ_ONLY, /* the root: cannot be unmounted from within */
    LEAVE_UNMOUNT,
    LEAVE_FORCE, /* unmount, and do not wait for a server that may be gone */
};

struct leave_mount {
    char *path, *type; /* in the line */
    bool read_only;    /* the file system, not only this place of it */
    enum leave_act act;
};

/* One line of /proc/self/mountinfo, which is changed; false: it is not one. */
bool leave_mount_parse(char *line, struct leave_mount *ret);

#endif
