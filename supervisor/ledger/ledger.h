/* ledger.h - the memory that outlives the core: one record per process, mapped by guardian and
 * core.
 *
 * A file on tmpfs beside the control socket ("SOCKET.ledger", flock'ed by the guardian), or a memfd
 * where none is writable.  Writers: the guardian writes exit slots and its own counters, the kernel
 * writes pids (CLONE_PARENT_SETTID), the core writes all the rest.  An update is a memory store, so
 * it is current at any SIGKILL.
 *
 * Life of a record: free -> claimed (kind, instance, generation; pid 0, no exit) -> spawning -> pid
 * stored by the kernel -> exit slot filled by the guardian -> core clears it for the next
 * process of the same owner, or frees the record.
 */
#ifndef SUPERVISOR_LEDGER_LEDGER_H
#define SUPERVISOR_LEDGER_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/err.h"
#include "io/child.h"
#include "io/reaper.h"

enum {
    LEDGER_VERSION = 5, /* a new one needs a row in ledger_old.c */
    LEDGER_RECORDS = 16384,
    LEDGER_NAME_MAX = 88,    /* a service's name, a colon and a number */
    LEDGER_BODY_MAX = 1024,  /* bytes the core may keep per record */
    LEDGER_UNIT_BYTES = 832, /* of these, what it keeps of a unit; another size, another version */
    LEDGER_BODY_NEAR = 224,  /* of these, bytes in the record itself; grows with struct unit_body */
};

enum ledger_kind {
    LEDGER_FREE,
    LEDGER_CORE,
    LEDGER_LOGGER,
    LEDGER_SERVICE, /* the primary record of an instance: lives as long as the instance */
    LEDGER_TWIN,    /* the new process of an overlapped restart */
    LEDGER_HOOK,    /* pre_start, post_stop, self-test */
    LEDGER_PROBE,   /* exec: check */
    LEDGER_NKINDS
};
const char *ledger_kind_name(enum ledger_kind kind);

enum ledger_exit { LEDGER_LIVING, LEDGER_EXITED, LEDGER_EXIT_UNKNOWN };

struct ledger_body_head {
    uint64_t sequence; /* of two whole ones the newer counts; 0 = none */
    uint32_t crc;
    uint16_t len, kept; /* as put; without the zeros at its end */
};
/* Zeros at the end are not kept, so a body that ends in empty texts fits in here; only what is
 * longer goes on in a place apart, whose memory is allocated when it is needed first. */
struct ledger_body {
    struct ledger_body_head head;
    unsigned char data[LEDGER_BODY_NEAR];
};
/* The body that is being put: written here as a whole, then copied into its record.  Whoever is
 * killed on the way leaves one of the two whole, and a record needs no room for a second body. */
struct ledger_draft {
    uint64_t index;
    struct ledger_body_head head;
    unsigned char data[LEDGER_BODY_MAX];
};

struct ledger_record {
    _Atomic uint32_t kind; /* enum ledger_kind; set last when claimed, first when freed */
    uint32_t generation;   /* grows with each start of this instance */
    char instance[LEDGER_NAME_MAX];
    uint64_t start_time; /* child_start_time() of the process, 0 = not read yet */
    struct child_report report;
    uint32_t far_ready; /* the memory for what does not fit in `body` is allocated */

    _Atomic uint32_t exited; /* enum ledger_exit; stored last */
    int32_t exit_code;       /* CLD_EXITED, CLD_KILLED, CLD_DUMPED */
    int32_t exit_status;
    int32_t exit_pid; /* whose: MAINPID= may have given the record another process meanwhile */
    int64_t exit_mono_ms, exit_wall_us;
    uint64_t user_us, system_us, max_rss_kb;

    struct ledger_body body;
};

struct ledger_header {
    char magic[8]; /* "SUPLEDG" */
    uint32_t version, record_size, nrecords;
    char boot_id[CLOCK_BOOT_ID_MAX];
    _Atomic uint32_t used; /* records below this index may be in use; grows only */
    _Atomic int32_t guardian_pid;
    uint64_t guardian_start_time;
    /* Chance, never 0: tells our processes from those of another supervisor on this host
     * (SUPERVISOR_RUN in their environment).  Kept when the ledger is cleared. */
    uint64_t run;
    int64_t started_mono_ms;
    _Atomic uint32_t core_restarts, logger_restarts, guardian_restarts;
    _Atomic uint32_t
        core_loading; /* 1 while a core adopts this ledger; the guardian counts deaths */
    _Atomic uint32_t
        core_strikes;         /* deaths in a row while loading; 3 = start with an empty ledger */
    _Atomic uint32_t rebuilt; /* 1: the core must rebuild from SUPERVISOR_INSTANCE, told loudly */
    _Atomic uint64_t orphans; /* reaped processes that no record knew */
    /* Orders from the guardian's signals; the core compares with what it has seen. */
    _Atomic uint32_t shutdown_orders, reload_orders;
    _Atomic uint32_t shutdown_signal;    /* of the last shutdown order */
    uint32_t reload_seen, shutdown_seen; /* written by the core */
    /* 1 while a core puts a plan into force: what it has not come to is the next one's. */
    uint32_t applying;
    /* One bit per record whose exit slot was filled and not looked at yet. */
    _Atomic uint64_t exited_bits[LEDGER_RECORDS / 64];
    _Atomic uint32_t finished;         /* 1: orderly shutdown is done, the guardian may leave ... */
    int32_t finish_code;               /* ... with this exit code */
    uint64_t nofile_soft, nofile_hard; /* limits before we raised them, for the services */
    /* Grows when the guardian could not keep what the core put into the store: put it again. */
    _Atomic uint32_t store_lost;
    struct ledger_draft draft; /* core */
    uint32_t unit_bytes;       /* LEDGER_UNIT_BYTES; since version 5 */
};

struct ledger {
    struct ledger_header *header;
    int32_t *pids; /* [LEDGER_RECORDS], apart from the records so that a search is one sweep */
    struct ledger_record *records;
    unsigned char *far; /* what bodies have beyond LEDGER_BODY_NEAR */
    size_t used;        /* as of the last ledger_used() or claim through this mapping */
    size_t free_from;   /* no record below this one is free, as far as this mapping knows */
    bool settled;       /* no put of who wrote before us is left half done */
    int fd;
};

/* Guardian.  Creates or opens the ledger for `path` (NULL or unwritable: memfd) and locks it.
 * *ret_takeover: the file holds records of this boot whose guardian is gone.  ERR_EXISTS: the
 * lock is held, i.e. another supervisor lives (message names its pid). */
int ledger_create(const char *path, struct ledger *ret, bool *ret_takeover, struct err *err);
/* Core.  Maps an inherited descriptor (taken over).  ERR_CORRUPT when magic, version or size do not
 * fit. */
int ledger_map(int fd, struct ledger *ret, struct err *err);
/* A new guardian, when nobody else uses it: the same, and one of the version before becomes one of
 * this version first (ledger_old.h). */
int ledger_map_old(int fd, struct ledger *ret, struct err *err);
/* Whether ledger_map_old() would; touches nothing.  ERR_CORRUPT with the version and what to do. */
int ledger_readable(int fd, struct err *err);
void ledger_unmap(struct ledger *ledger);
/* For a command that only looks (status without a core, recover): maps read-only, also one of the
 * version before. */
int ledger_peek(const char *path, struct ledger *ret, struct err *err);

/* Forgets all that is in it (a takeover of something unreadable, a test). */
void ledger_clear(struct ledger *ledger);

/* Records below this index may be in use.  Refreshes ledger->used. */
size_t ledger_used(struct ledger *ledger);
/* Core: claims a free record (pid 0, nothing exited).  Index or ERR_LIMIT. */
ssize_t ledger_claim(struct ledger *ledger, enum ledger_kind kind, const char *instance,
                     uint32_t generation, struct err *err);
void ledger_release(struct ledger *ledger, size_t index);
/* Core: forgets the exit and the pid, keeps the identity; for the next start. */
void ledger_rearm(struct ledger *ledger, size_t index, uint32_t generation);
/* Without memory for it, only the first LEDGER_BODY_NEAR bytes are kept and the rest reads as
 * zeros: what must not be lost comes first. */
void ledger_body_put(struct ledger *ledger, size_t index, const void *data, size_t len);
/* Copies the newest whole body (at most len bytes); false if there is none of exactly len. */
bool ledger_body_get(const struct ledger *ledger, size_t index, void *data, size_t len);

/* Index of the living or unconsumed process with this pid, or -1.  One sweep over the pids. */
ssize_t ledger_find_pid(const struct ledger *ledger, pid_t pid);
/* A process that was started and whose end nobody has recorded yet. */
bool ledger_living(const struct ledger *ledger, size_t index);
/* Guardian: fills the exit slot of a record (stores `exited` last). */
void ledger_record_exit(struct ledger *ledger, size_t index, const struct reaper_exit *how,
                        bool known);

/* Core: the next record whose exit slot was filled since it was last returned, or -1.  The slot
 * stays as it is.  recheck() marks every filled slot again, for a core that has just started. */
ssize_t ledger_next_exit(struct ledger *ledger);
void ledger_recheck_exits(struct ledger *ledger);

#endif
