/* guardian.h - the process that never exits by itself: parent of core, logger and all services.
 *
 * libc only.  It reaps, records exits in the ledger, keeps descriptors for the core, and starts
 * core and logger again when they die.  It decides nothing about services.
 *
 * Core and logger are this same binary, with the inventory of what they inherit at
 * STORE_INVENTORY_FD, all signals at their defaults, none blocked:
 *     supervisor core --config PATH --socket PATH [--verbose]
 *     supervisor logger
 * A core that finds its channel hung up execs the guardian in its own pid (store_exec):
 *     supervisor guardian --takeover --config PATH --socket PATH [--verbose]
 * and the guardian execs a new binary after `upgrade` the same way without --takeover.  A service
 * manager may keep the store while it starts another guardian (handover.h).
 *
 * What a core may tell by leaving: exit code GUARDIAN_CONFIG_ERROR before it has put a "plan" =
 * nothing can be started, it has said why; header->finished set = the orderly shutdown is done.
 * Anything else is a crash, and another core is started.
 */
#ifndef SUPERVISOR_GUARDIAN_GUARDIAN_H
#define SUPERVISOR_GUARDIAN_GUARDIAN_H

#include <stdbool.h>

enum {
    GUARDIAN_CONFIG_ERROR = 78, /* exit code of a core that cannot use the configuration */
    GUARDIAN_PATH_MAX = 4096
};

struct guardian_options {
    const char *config;  /* passed on to the core; NULL = it looks in the default places */
    const char *socket;  /* path or "@abstract"; a path has the ledger beside it (".ledger") */
    const char *program; /* executed for core and logger; NULL = this one */
    bool verbose;
};

/* `supervisor run`.  Returns the exit code of the process: the shutdown's, 1 when the configuration
 * cannot be used or another supervisor has this socket (the reason is on stderr).  As the init of a
 * host a shutdown ends the machine (leave.h), so only a start that failed returns. */
int guardian_run(const struct guardian_options *options);

/* `supervisor guardian`: entered by exec with the whole store at inventory_fd (taken over).
 * `takeover`: we are the former core, in its pid, and the old guardian is dead; otherwise an
 * upgrade.  Descriptors that are missing are made anew. */
int guardian_resume(const struct guardian_options *options, int inventory_fd, bool takeover);

/* `supervisor run` below a manager that has kept the store of the guardian before (handover.h):
 * services go on, and the configuration is loaded again.  Takes `handed` over. */
struct handover;
int guardian_continue(const struct guardian_options *options, struct handover *handed);

/* `supervisor run -- COMMAND [ARG...]`: a container's entrypoint.  Standard streams and terminal
 * are the command's; signals are passed on to it; when it ends, what it left behind gets TERM, ten
 * seconds (a further TERM, INT or QUIT cuts them short) and KILL.  Returns its exit code,
 * 128+N for a signal; 127 not found, 126 not executable, said on stderr. */
int guardian_alone(char **argv);

#endif
