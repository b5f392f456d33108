/* core.h - what all parts of the core share: the loop, what outlives us, and the plan in force.
 *
 * Built once by core_run(), passed as a context; there are no globals.  Parts that must tell
 * something upward get a function pointer when they are made.
 */
#ifndef SUPERVISOR_CORE_CORE_H
#define SUPERVISOR_CORE_CORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "io/loop.h"
#include "supervisor/host/cgroup.h"
#include "supervisor/host/rights.h"
#include "supervisor/ledger/feeds.h"
#include "supervisor/ledger/history.h"
#include "supervisor/ledger/ledger.h"
#include "supervisor/ledger/recorder.h"
#include "supervisor/ledger/store.h"
#include "supervisor/ledger/streams.h"
#include "supervisor/plan/plan.h"
#include "supervisor/sandbox/ability.h"
#include "supervisor/sandbox/filter.h"

struct core {
    struct loop *loop;
    struct store store; /* our mirror of what the guardian keeps; owns the descriptors */
    int channel;        /* to the guardian */
    int poke;           /* eventfd: the guardian or the logger has news */
    int poke_logger;
    struct ledger ledger;
    struct recorder recorder;
    uint64_t first_event; /* what lies before it in the recorder was told by cores before us */
    struct streams *streams;
    const char *config, *socket; /* as given on the command line */
    struct plan_source *source;  /* owned; texts of the plan in force */
    struct plan *plan;           /* owned */
    struct rights *rights;       /* owned; made from the plan */
    struct audit *audit;         /* owned */
    char *notify_name;           /* owned; for NOTIFY_SOCKET */
    bool logs_inherited;         /* log_dir cannot be written: outputs are inherited */
    bool state_in_memory;        /* state_dir cannot be written */
    bool tunes;                  /* limits and priorities of what runs can be changed */
    uint32_t log_troubles_seen;  /* troubles.h */
    size_t log_troubles;         /* streams that have an error or lost bytes */
    int64_t started_ms;
    struct cgroup cgroup;
    uint64_t host_oom_kills; /* of the whole host, as read at ... */
    int64_t host_oom_ms;     /* ... this time; 0 = not yet */
    int log_fd;              /* of our own log; up to STDERR_FILENO: none to close */
    char log_name[80];       /* identifier and role, in front of each line */

    struct ability ability; /* which sandboxes we can make; counts with ability_known */
    bool ability_known;
    struct filters filters; /* of system calls, by profile */

    struct history *history; /* NULL when there is no memory for it */
    struct feeds *feeds;     /* likewise */
    struct events *events;
    struct keeper *keeper;
    struct jobs *jobs;
    struct releases *releases;
    struct control *control;
};

/* Sends fd to the guardian under this name and keeps it in our mirror (fd is taken over in every
 * case).  Nothing that must outlive us is used before this has succeeded. */
int core_keep(struct core *core, const char *name, int fd, struct err *err);
void core_drop(struct core *core, const char *name);
void core_wake_logger(const struct core *core);

/* Puts text into a sealed memfd, for the store. */
int core_memory(const char *name, const void *data, size_t len, int *ret_fd, struct err *err);

#endif
