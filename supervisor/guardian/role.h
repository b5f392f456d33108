/* role.h - one of the guardian's own two processes: the core or the logger. */
#ifndef SUPERVISOR_GUARDIAN_ROLE_H
#define SUPERVISOR_GUARDIAN_ROLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "io/reaper.h"
#include "supervisor/ledger/ledger.h"
#include "supervisor/ledger/store.h"

enum { ROLE_CORE_RECORD = 0, ROLE_LOGGER_RECORD = 1 }; /* their places in the ledger */

struct role {
    const char *name;
    size_t record;
    pid_t pid;              /* 0 = not running */
    int channel;            /* our end of its pair, or -1 */
    int64_t started_ms;     /* monotonic */
    int64_t due_ms;         /* when to start it (again) */
    unsigned failures;      /* deaths in a row, each soon after its start */
    unsigned starts;        /* of this guardian */
    struct reaper_exit how; /* its last end */
    bool ended;             /* `how` is new: to be looked at after the sweep */
};

void role_init(struct role *role, const char *name, size_t record);
/* Starts the program with its channel and the store's entries that `wanted` names (NULL = all). */
int role_start(struct role *role, struct ledger *ledger, struct store *store,
               bool (*wanted)(const char *name), const char *program, char *const argv[],
               struct err *err);
/* After its death, or a failed start: closes the channel and decides when it is due: at once the
 * first time, then with a growing delay while it keeps dying young. */
void role_ended(struct role *role, int64_t now_ms);
/* "exit 1", "signal KILL", or the step of starting that failed. */
enum { ROLE_TEXT_MAX = 160 };
const char *role_how(const struct role *role, const struct ledger *ledger,
                     char text[static ROLE_TEXT_MAX]);

#endif
