/* state.h - all that a guardian has in its hands; shared by the files of this folder only. */
#ifndef SUPERVISOR_GUARDIAN_STATE_H
#define SUPERVISOR_GUARDIAN_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supervisor/guardian/guardian.h"
#include "supervisor/guardian/nursery.h"
#include "supervisor/guardian/outbox.h"
#include "supervisor/guardian/role.h"
#include "supervisor/guardian/strangers.h"
#include "supervisor/guardian/upward.h"
#include "supervisor/guardian/watch.h"
#include "supervisor/ledger/ledger.h"
#include "supervisor/ledger/store.h"

enum state_phase {
    STATE_RUNNING,
    STATE_UPGRADING, /* core and logger are leaving, then the new binary is executed, or the
                        store handed over */
    STATE_FLUSHING,  /* the core has left for good, the logger finishes what is in the pipes */
    STATE_SWEEPING,  /* what is left gets TERM, then KILL */
    STATE_DONE
};

/* What an epoll event is about; in the low byte of its data.  The first ones are sources of
 * `watch`. */
enum state_source { STATE_SIGNALS, STATE_CORE, STATE_LOGGER, STATE_STRANGER };
_Static_assert((int)STATE_STRANGER == (int)WATCH_SOURCES, "strangers watch for themselves");

struct state {
    const struct guardian_options *options;
    struct ledger ledger;
    struct store store;
    struct role core, logger;
    struct nursery nursery; /* of these */
    struct outbox outbox;
    int64_t outbox_retry_ms; /* -1 = not waiting for a moment */
    bool outbox_polled;      /* waiting for room in the pair */
    struct strangers strangers;
    int64_t old_logger_kill_ms; /* an old guardian's logger still runs; -1 = none */
    int epoll, signals;
    int inventory_fd; /* of guardian_resume() */
    struct watch watch;
    struct upward upward;

    enum state_phase phase;
    int64_t phase_due_ms; /* the phase's next step; -1 = it waits for events only */
    int64_t phase_end_ms; /* SWEEPING: not a moment longer */
    bool spare_strangers; /* leave them, and the ledger that knows them, alone */
    int exit_code;
    char *upgrade; /* owned; path of the new binary; NULL = the store is handed over */

    int64_t sweep_due_ms;    /* -1 = SIGCHLD will tell */
    pid_t ended_pid;         /* of whom it told last; 0 = nobody */
    int64_t nursery_due_ms;  /* when the nursery is looked through for whom it did not tell of */
    int64_t window_ms;       /* beginning of the window in which orphans are counted */
    unsigned window_orphans; /* reaped since then */
    bool storm;              /* sweeps are spaced, SIGCHLD is not listened to */
    size_t swept_orphans;    /* by the present sweep */
};

/* Before anything else. */
void state_init(struct state *state, const struct guardian_options *options);
/* The ledger beside the socket, and its first two records. */
int state_open_ledger(struct state *state, bool *ret_takeover, struct err *err);
/* These steps may be repeated after a failure: an heir must not leave for want of memory. */

/* Blocks signals, opens epoll and signalfd. */
int state_listen(struct state *state, struct err *err);
/* As it comes with the store of a guardian before us. */
int state_inherit_ledger(struct state *state, struct err *err);
/* Makes what every guardian has in its store and this one has not yet. */
int state_fill_store(struct state *state, struct err *err);
/* Releases all; unlinks the ledger if `leave`. */
void state_done(struct state *state, bool leave);
/* Wakes the core up to look at the ledger.  Never blocks. */
void state_poke(const struct state *state);

#endif
