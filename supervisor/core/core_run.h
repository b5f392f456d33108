/* core_run.h - the core process: starts from what it inherited, runs its loop, leaves in order. */
#ifndef SUPERVISOR_CORE_CORE_RUN_H
#define SUPERVISOR_CORE_CORE_RUN_H

#include <stdbool.h>

enum { CORE_CONFIG_ERROR = 78 };

struct core_options {
    const char *config; /* NULL = the default places */
    const char *socket;
    bool verbose;
};

/* `supervisor core`: the inventory is at STORE_INVENTORY_FD.  Returns the exit code: 0 after an
 * orderly shutdown or before an upgrade, CORE_CONFIG_ERROR when the configuration cannot be used
 * (said on stderr, all errors), 1 when what it inherited cannot be used. */
int core_run(const struct core_options *options);

#endif
