/* releases.h - all release sets of this host: which release each instance runs, and switching it.
 *
 * Services with the same `release` folder form one set: switched, confirmed and reverted together,
 * instance after instance (services in start order, instances in number order).  What is pinned is
 * kept in state_dir (release/pin.h); the decisions are those of machine/release.h.
 *
 * Knows nothing of processes: the keeper gives hands, and tells what became of its instances.
 * The life of it in a core:
 *
 *   releases_new -> releases_configure(START...) -> releases_ready() for what was adopted
 *     -> releases_begin -> [orders, releases_ready, releases_down, releases_configure(RELOAD)]*
 *     -> releases_free (in the middle of anything: the pin files carry on)
 *
 * `service` is everywhere the index into plan->services of the plan given last; `instance` counts
 * from 0 (instance 0 of numprocs_start = 5 is NAME:5).  All calls but
 * configure and free may be made from within the hands and from within `done`.
 */
#ifndef SUPERVISOR_RELEASE_RELEASES_H
#define SUPERVISOR_RELEASE_RELEASES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "io/loop.h"
#include "supervisor/machine/release.h"
#include "supervisor/plan/plan.h"

struct releases;

struct releases_hands {
    void *context;
    /* Make this instance run `id`, by its restart_mode, and tell once by releases_ready(.., id) or
     * releases_down(.., id, why).  Asked again for what it is doing or running already: only the
     * telling.  An instance that is not wanted up (stopped by an operator) is `ready` at once
     * and uses `id` when it is started; a oneshot is ready when it has exited 0. */
    void (*replace)(void *context, size_t service, size_t instance, const char *id);
    /* The first release is undone: stop all instances of it; they wait for a release again.  Tell
     * by releases_stopped() when none of its processes is left, also if there was none. */
    void (*stop_all)(void *context, size_t service);
    void (*probe_faster)(void *context, size_t service, bool on); /* bake: tenth of the interval */
    /* Why its latest check failed, for the reason of a time-out; borrowed, "" = unknown.  NULL
     * hand: the reason goes without. */
    const char *(*check)(void *context, size_t service, size_t instance);
    void (*event)(void *context, const char *kind, json_t *details); /* steals details */
    /* Where state_dir cannot be written: keep this text under this name (in the guardian's store).
     * 0, or -1 if that failed too.  NULL hands = not kept. */
    int (*remember)(void *context, const char *name, const char *text);
    const char *(*recall)(void *context, const char *name); /* borrowed, or NULL */
};

/* `boot_id` is the kernel's (clock_boot_id()); tests give another one to play a reboot.  The hands
 * are copied. */
struct releases *releases_new(struct loop *loop, const struct releases_hands *hands,
                              const char *boot_id, struct err *err);
/* Who still waits for an answer gets ERR_UNREACHABLE.  Writes nothing. */
void releases_free(struct releases *releases);

/* What the plan does not say about a service; one per plan->services. */
struct releases_service {
    size_t instances; /* how many it has now */
    uid_t owner;      /* of its `user`, else the supervisor's own */
};
enum releases_start {
    RELEASES_START_FRESH,    /* nothing of an earlier core runs (also after a reboot) */
    RELEASES_START_ADOPTING, /* a core before us left instances that live */
    RELEASES_RELOAD          /* another plan, or another number of instances */
};
/* Takes the sets from `plan` (not kept) and, for sets of which nothing is known, reads their pins
 * (on a reload, too: state_dir may be mounted only now); an unconfirmed release of an earlier boot,
 * and whatever else must be, is undone here, before any start. state_dir comes from the plan.
 * Problems of single services or sets go to `errors` (one line each, may be NULL) and into
 * releases_problem(); the others work.  Fails only without memory, and then all is as before.  In a
 * set that lost all its services those who wait get ERR_STATE. */
int releases_configure(struct releases *releases, const struct plan *plan,
                       const struct releases_service *services, enum releases_start start,
                       struct err_list *errors, struct err *err);
/* After the first configure, once all adopted instances have been told: from now on it acts. */
void releases_begin(struct releases *releases);

/* Folder of the service's set, NULL if it has no release.  Valid until the next configure. */
const char *releases_path(const struct releases *releases, size_t service);
/* Why this service cannot have its release at all (no explicit user for root, damaged pin), or
 * NULL.  Such a service is not started. */
const char *releases_problem(const struct releases *releases, size_t service);
/* The release that a fresh start of an instance uses (a crash restart keeps the one it had); false:
 * the service waits for a release. */
bool releases_pinned(const struct releases *releases, size_t service,
                     char id[static RELEASE_ID_MAX]);
/* The releases that its pin speaks of: what is pinned, what an undo returns to, what is being
 * undone; those that there are, valid until the next call of any kind. */
enum { RELEASES_IDS = 3 };
size_t releases_ids(const struct releases *releases, size_t service,
                    const char *ret[static RELEASES_IDS]);
/* Opens releases/ID of the service's set, without following any link: *ret_fd (the caller's,
 * O_PATH: good for fchdir and as the start of other paths) and the absolute folder. */
int releases_open(struct releases *releases, size_t service, const char *id, int *ret_fd,
                  char *ret_dir, size_t size, struct err *err);

/* What became of an instance; told at every change, asked for or not.  Stopped by order counts as
 * `ready` while a replace is under way: there is nothing to wait for. */
void releases_ready(struct releases *releases, size_t service, size_t instance, const char *id);
/* It ended (each exit, also during its start), gave up, or lost its readiness. */
void releases_down(struct releases *releases, size_t service, size_t instance, const char *id,
                   const char *reason);
void releases_stopped(struct releases *releases, size_t service); /* answer to stop_all */

struct releases_order {
    const char *path; /* folder of the set */
    const char *id;
    const char *token;         /* "EPOCH:ROLLOUT"; NULL or "" = by hand */
    int64_t confirm_within_ms; /* 0 = no lease (switch) */
    int64_t
        ready_timeout_ms; /* of the whole switch; 0 = what the services' ready_timeouts add up to */
    bool stay;            /* on_fail=stay */
    const char *who;      /* who ordered, for the events; NULL = unknown */
};
struct releases_answer {
    enum release_result result;
    const char *path, *id, *from; /* id: as asked for; from: "" = there was none */
    const char *pinned;           /* what is pinned now, "" = none */
    const char *reason;           /* "" for switched */
    const char *warning;          /* e.g. pins are kept in memory only; "" = none */
    bool confirmed;
    int64_t deadline_ms; /* time left of the lease, -1 = none */
};
/* Called exactly once, perhaps before the order returns; answer is NULL when err is not. Everything
 * is borrowed for the call. */
typedef void releases_done_fn(void *context, const struct releases_answer *answer,
                              const struct err *err);
/* ERR_INVALID id or token, ERR_NOT_FOUND set or release, ERR_STALE, ERR_STATE (`current` is a
 * folder, problem of a service), ERR_SYSTEM pin not written; then nothing has changed. */
void releases_switch(struct releases *releases, const struct releases_order *order,
                     releases_done_fn *done, void *context);
/* Uses path, id, token, who. */
void releases_confirm(struct releases *releases, const struct releases_order *order,
                      releases_done_fn *done, void *context);
/* Uses path, id, token, confirm_within_ms. */
void releases_extend(struct releases *releases, const struct releases_order *order,
                     releases_done_fn *done, void *context);
/* Uses path, id, token, who. */
void releases_revert(struct releases *releases, const struct releases_order *order,
                     releases_done_fn *done, void *context);
/* Switches to order->id, or if that is NULL to the newest good release on disk other than the
 * pinned one; on_fail=stay, no lease.  While `from` is what it would go to (a switch under way or
 * unconfirmed) it is a revert. */
void releases_rollback(struct releases *releases, const struct releases_order *order,
                       releases_done_fn *done, void *context);
/* What releases_rollback(order) would switch to; false: it would undo what is under way, or refuse.
 */
bool releases_rollback_id(struct releases *releases, const struct releases_order *order,
                          char id[static RELEASE_ID_MAX]);
/* New reference {pinned, from, good[], confirmed, deadline_s, token, phase, reason, problem}; the
 * caller adds in_use[] and the rest.  ERR_NOT_FOUND. */
int releases_state(struct releases *releases, const char *path, json_t **ret, struct err *err);

#endif
