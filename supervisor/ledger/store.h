/* store.h - descriptors under names: what the guardian keeps for the core and the logger.
 *
 * The core sends PUT and DROP on a SOCK_SEQPACKET pair and waits for no answer: a sent message
 * survives the sender, and the guardian reads the pair until end of file before it starts
 * another core.  A new core (logger, guardian) inherits the descriptors over fork and exec;
 * an inventory (a memfd, passed as STORE_INVENTORY_FD) says which number has which name.
 *
 * Names in use:
 *   ledger recorder streams feeds  shared memory      channel      this process's end of its pair
 *   poke                       eventfd: core, look    poke.logger  eventfd: logger, look
 *   plan  plan.undo            sealed memfds          control      listening control socket
 *   notify                     sd_notify socket       socket.NAME.N  listening sockets
 *
 *   log.INDEX.r  log.INDEX.w   ends of an output pipe (INDEX of streams.h); .r: the logger's, too
 *
 *   hold.r  hold.w             the logger's hold pipe
 *
 *   ready.INSTANCE.RECORD      read end of an `fd:N` readiness pipe
 *
 *   kept.INSTANCE.N?.NAME      FDSTORE=1 of sd_notify (core/keeper_kept.c)
 *
 *   pin.NAME                   text of a pin file where state_dir cannot be written
 */
#ifndef SUPERVISOR_LEDGER_STORE_H
#define SUPERVISOR_LEDGER_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum {
    STORE_NAME_MAX = 512,
    STORE_TEXT_MAX = 4096, /* of a message: a name, the path of a binary, or what is told */
    STORE_INVENTORY_FD = 3,
    STORE_ENTRIES_MAX = 65536
};

struct store_entry {
    char *name; /* owned */
    int fd;     /* owned */
};
struct store {
    struct store_entry *entries; /* owned; sorted by name */
    size_t count, cap;
};

void store_init(struct store *store);
void store_done(struct store *store); /* closes everything */
/* Takes fd over in every case; replaces (and closes) an older one of that name.  A descriptor at or
 * below STORE_INVENTORY_FD is moved up, so ask store_get() for the number. */
int store_put(struct store *store, const char *name, int fd, struct err *err);
int store_get(const struct store *store, const char *name); /* borrowed descriptor or -1 */
int store_take(struct store *store, const char *name);      /* leaves the store, or -1 */
void store_drop(struct store *store, const char *name);     /* closes; a missing one is fine */

/* Writes the inventory into a new memfd (all entries; or those for which `wanted` says so). */
int store_inventory(const struct store *store, bool (*wanted)(const char *name), int *ret_fd,
                    struct err *err);
/* After exec: reads the inventory at `fd`, checks each number and makes it close-on-exec.  `fd` is
 * closed on success; after a failure it is as it was, and so are the descriptors that it names:
 * what failed for want of memory may be tried again. */
int store_inherit(int fd, struct store *ret, struct err *err);
/* The same for descriptors that have come under other numbers than those of the inventory at `fd`:
 * `find` tells the number that an entry has here, -1 = it did not come and is left out.  `fd` is
 * borrowed.  After a failure nothing was closed or taken. */
int store_restore(int fd, int (*find)(void *context, int number), void *context, struct store *ret,
                  struct err *err);
/* Clears close-on-exec of every entry, for an exec that hands all of them on. */
int store_pass_on(const struct store *store, struct err *err);
/* Execs `path` in this process with the inventory at STORE_INVENTORY_FD and every entry handed on.
 * Returns only when that failed, with everything as it was before.  The environment and
 * the signal mask are handed on as they are. */
int store_exec(const struct store *store, const char *path, char *const argv[], struct err *err);

/* One message of a pair. */
enum store_op { STORE_PUT = 1, STORE_DROP, STORE_UPGRADE, STORE_TELL, STORE_HAND_OVER, STORE_NOPS };
struct store_message {
    enum store_op op;
    char name[STORE_TEXT_MAX]; /* UPGRADE: path of the binary; TELL: lines of sd_notify;
                                  HAND_OVER: who wants it */
    int fd;                    /* PUT: owned by the receiver, else -1 */
};
/* Sends one message; fd is borrowed.  Waits up to timeout_ms while the pair is full or too many
 * descriptors are in flight; 0 = never waits.  ERR_TIMEOUT: it was full all the time (err->sys is
 * EAGAIN: poll for POLLOUT, or ETOOMANYREFS: try again later); ERR_UNREACHABLE: nobody reads. */
int store_send(int channel, enum store_op op, const char *name, int fd, int timeout_ms,
               struct err *err);
/* Never waits.  1 = a message, 0 = nothing there now, ERR_UNREACHABLE = the other end is gone and
 * all it sent has been read; ERR_PROTOCOL, ERR_LIMIT (no free descriptor) = that message is lost,
 * the next one may be read. */
int store_receive(int channel, struct store_message *ret, struct err *err);

#endif
