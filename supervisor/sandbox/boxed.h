/* boxed.h - what the mounts of one sandbox share while they are worked out.  Not for other folders.
 */
#ifndef SUPERVISOR_SANDBOX_BOXED_H
#define SUPERVISOR_SANDBOX_BOXED_H

#include "supervisor/sandbox/builder.h"
#include "supervisor/sandbox/sandbox.h"

/* A sandbox in the making. */
struct boxed {
    const struct sandbox_start *start;
    const struct spec_sandbox *spec;
    struct builder builder;
    const char *root; /* path of its root, "/" when it has ours */
    int root_fd;      /* of that */
};
/* Everything that wants mounts, from making them to entering the root. */
int boxed_mounts(struct boxed *boxed, struct err *err);

#endif
