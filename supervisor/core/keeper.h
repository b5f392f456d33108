/* keeper.h - holds all instances, feeds facts to their lifecycles and performs the acts.
 *
 * Facts come from exits, timers, checks and orders.  What an act brings about at once goes into a
 * queue that is drained at the end of each loop turn (keeper_turn), never by recursion.
 */
#ifndef SUPERVISOR_CORE_KEEPER_H
#define SUPERVISOR_CORE_KEEPER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "supervisor/core/core.h"
#include "supervisor/health/notify.h"
#include "supervisor/host/pressure.h"
#include "supervisor/core/unit.h"
#include "supervisor/ledger/ledger.h"
#include "supervisor/machine/breaker.h"

struct keeper_fact {
    struct unit *unit; /* NULL = the unit has gone meanwhile */
    enum lifecycle_event event;
};

/* Was in force before a reload. */
struct keeper_retired {
    struct plan *plan;
    struct arena users;
};

struct keeper_hands {
    void *context;
    void (*changed)(void *context, struct slot *slot); /* state or readiness */
    /* A replacement has ended; `release`: the id it was to run ("" = no release). */
    void (*replaced)(void *context, struct slot *slot, const char *release, bool ok,
                     const char *reason);
    void (*removed)(void *context, struct slot *slot); /* about to be freed */
    void (*hear)(void *context); /* tell what services have said up to now (keeper_notified) */
};

struct keeper {
    struct core *core;
    struct keeper_hands hands;
    struct slot **slots; /* owned; by service index, then number; removed ones at the end */
    size_t nslots, slots_cap;
    size_t *first_slot; /* [nservices + 1]: slots of service i are first_slot[i] .. [i + 1] */
    size_t *first_needer, *needers; /* services that need service i, likewise */
    struct arena users_arena;
    struct users_identity *users; /* per service */
    char **user_problems;         /* per service, NULL = none */
    uint64_t *digests;            /* per service: plan_digest() */
    struct unit **by_record;      /* [LEDGER_RECORDS] */
    struct keeper_fact *facts;
    size_t nfacts, facts_cap;
    struct keeper_retired *retired; /* removed slots still point into these */
    size_t nretired;
    uint64_t random;
    struct breaker breaker; /* of automatic restarts */
    struct loop_timer *breaker_timer;
    struct side_hook *side_hooks; /* owned; keeper_hooks.c */
    size_t nside_hooks;
    struct loop_timer *hooks_timer;
    struct loop_timer *checks_timer; /* some unit is unchecked */
    bool giving_turns;
    uint64_t orphans_seen;
    struct pressure_seen pressure, host_pressure; /* ours, and the host's, when a probe last timed
                                                   * out */
    struct kept *kept;                            /* descriptors that services left with us */
    int64_t refused_told_ms;
    ssize_t spared; /* a record that another part of the core looks after, or -1 */
    bool sweep_due;
    struct unit *swept;            /* whose leftovers are looked for, by next_swept */
    struct loop_timer *late_timer; /* keeper_late.c */
    bool late_told;                /* TERM was sent to whom it found */
    bool outputs_closing;          /* pipes wait for the logger to let go of them */
    bool stopping_all;             /* shutdown: nothing starts any more */
    bool stop_round_due;
    struct spec_filling fallback; /* settings of an adopted instance that no plan knows */
    struct users_identity nobody_set;
    struct arena fallback_arena;
    int64_t evidence_since_ms; /* how much was noted since then */
    unsigned evidence_count;
    bool *emptying; /* per service: releases asked for stop_all */
};

struct keeper *keeper_new(struct core *core, const struct keeper_hands *hands, struct err *err);
void keeper_free(struct keeper *keeper);

/* All of a plan that may fail, done before anything of it comes into force: users, the list of
 * instances, new ones with their records.  NULL with err (no memory): nothing was changed.  What
 * was prepared is taken over by keeper_configure in the same turn, or discarded (NULL: nothing).
 * Users that cannot be found are kept as the reason why their services do not start. */
struct keeper_next *keeper_prepare(struct keeper *keeper, const struct plan *plan, struct err *err);
void keeper_discard(struct keeper_next *next);
/* Before it comes into force: who runs with other settings than those of this plan goes on with
 * them, also when a core dies. */
void keeper_leave_outdated(struct keeper_next *next);
/* plan_digest() of what it would be started with, with the release that it has. */
uint64_t keeper_digest(const struct keeper *keeper, const struct unit *unit);
void keeper_leave_nobody(struct keeper *keeper); /* takes that back; and what has failed counts no
                                                  * more */
/* Takes the prepared plan, which is core->plan by now, into force; cannot fail, but some of it may
 * apply later than it should (`problems`, may be NULL).  Instances that are
 * gone are marked as removed (and stopped), the others point at their new settings.  `before` (the
 * plan until now, NULL at the start) is taken over and freed when nothing needs it. */
void keeper_configure(struct keeper *keeper, struct keeper_next *next, struct plan *before,
                      struct err_list *problems);

/* At the start of a core: adopt() makes slots of what the ledger knows (before keeper_configure;
 * without memory it fails, and the next core tries again), tell_releases() says which releases run,
 * resume() takes every unit up where it was, autostart() starts what never had an order. */
int keeper_adopt(struct keeper *keeper, struct err *err);
void keeper_tell_releases(struct keeper *keeper);
void keeper_resume(struct keeper *keeper);
void keeper_autostart(struct keeper *keeper);
/* The ledger was lost: finds processes by their environment.  It fails when that may go better a
 * moment later: whoever is not found is started again. */
int keeper_rebuild(struct keeper *keeper, size_t *ret_found, struct err *err);

void keeper_order(struct keeper *keeper, struct unit *unit, enum lifecycle_event event,
                  const char *reason);
/* Makes the slot part of an ordered stop, or takes that back; a new core knows of it. */
void keeper_stop_ordered(struct slot *slot, bool on);
/* Ordered stop of a set of slots (keeper_stop_ordered): those that others in the set need stop
 * after them. */
void keeper_stop_round(struct keeper *keeper);
void keeper_shutdown(struct keeper *keeper, bool hurry);
bool keeper_all_down(const struct keeper *keeper);

/* Makes the instance run this release ("" = the one it has): overlapped when its restart_mode says
 * so and it runs, else stop first.  One instance of a service after another. */
void keeper_replace(struct keeper *keeper, struct slot *slot, const char *release);
/* Sends reload_signal, which there is, to its main process. */
void keeper_reread(struct keeper *keeper, struct unit *unit);
/* Those that run with other settings than the plan's are replaced, unless they are left; also by
 * the next core if this one dies. */
void keeper_outdated(struct keeper *keeper);
/* Whether it has a process that was started with other settings than the plan's. */
bool keeper_runs_outdated(const struct keeper *keeper, const struct unit *unit);
/* The first release is undone: all instances stop and wait. */
void keeper_empty(struct keeper *keeper, size_t service);
void keeper_probe_faster(struct keeper *keeper, size_t service, bool on);
/* Why the latest check of its newest process failed; borrowed, "" = it passed, or there is none. */
const char *keeper_check(const struct keeper *keeper, size_t service, size_t instance);

void keeper_exits(struct keeper *keeper); /* the guardian poked: look at the exit slots */
/* keeper_notify.c.  May be called before keeper_resume(): what was said while no core lived. */
void keeper_notified(struct keeper *keeper, const struct notify_message *message);
void keeper_lines(struct keeper *keeper); /* the logger poked: lines that mean "ready" */
void keeper_turn(struct keeper *keeper);
bool keeper_pending(const struct keeper *keeper); /* the last turn left something to do */

struct slot *keeper_find(const struct keeper *keeper, const char *name); /* "web:0" or NULL */
size_t keeper_slots_of(const struct keeper *keeper, size_t service, struct slot *const **ret);
pid_t keeper_pid(const struct keeper *keeper, const struct unit *unit); /* 0 = no process */
/* The state people see; of the main unit. */
enum lifecycle_state keeper_state(const struct slot *slot);

/* Inside the keeper, shared between its files. */
void keeper_apply(struct keeper *keeper, struct unit *unit, enum lifecycle_event event);
void keeper_fact(struct keeper *keeper, struct unit *unit, enum lifecycle_event event);
/* So that keeper_fact() needs no memory when there is none; false without it. */
enum { KEEPER_FACTS_PER_UNIT = 4 };
bool keeper_room_for_facts(struct keeper *keeper, size_t room);
void keeper_perform(struct keeper *keeper, struct unit *unit, unsigned acts);
void keeper_reason(struct unit *unit, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct lifecycle_policy keeper_policy(const struct unit *unit);
/* "; restart_on says never", for the reason of its last end; "" when no rule spoke. */
const char *keeper_rule_note(const struct unit *unit);
void keeper_save(struct unit *unit);
void keeper_arm(struct unit *unit);
struct unit *keeper_unit_new(struct keeper *keeper, struct slot *slot, enum ledger_kind kind,
                             ssize_t record, struct err *err);
void keeper_unit_free(struct unit *unit);
struct slot *keeper_slot_alloc(const char *name); /* zeroed but for its name, or NULL */
void keeper_begin_checks(struct keeper *keeper, struct unit *unit);
void keeper_end_checks(struct unit *unit);
/* Its checks are those of its settings now; what was asked before goes on as it was. */
void keeper_follow_checks(struct keeper *keeper, struct unit *unit);
void keeper_check_again(void *context); /* of checks_timer: those that are unchecked */
/* Frees unit->made unless something still needs it. */
void keeper_drop_made(struct unit *unit);
void keeper_main_ended(struct keeper *keeper, struct unit *unit);
void keeper_tell_release(struct keeper *keeper, struct unit *unit);
/* What asks it to leave; after a miss of the watchdog another one than else. */
int keeper_stop_signal(const struct unit *unit);
/* It said that it is ready, in this way; a crash from here on does not forget it. */
void keeper_told_ready(struct unit *unit, enum unit_told how);
/* How this one says so itself; 0 = it is asked, or not even that. */
enum unit_told keeper_way_to_tell(const struct instance *made);
/* keeper_perform.c: it starts at the first connection; it waits for one now, as well as ready. */
bool keeper_at_call(const struct unit *unit);
bool keeper_listening(const struct slot *slot);
void keeper_tell_listening(struct keeper *keeper, struct slot *slot); /* keeper.c */
/* keeper_turns.c: false when the breaker holds it back, which is its reason then.  `waits_since`:
 * when that began, 0 = it did not yet. */
bool keeper_may_restart(struct keeper *keeper, struct unit *unit, int64_t waits_since);
bool keeper_waits_for_turn(const struct unit *unit);
/* After a reload: what they wait for may be there, or needed no more. */
void keeper_ask_waiting(struct keeper *keeper);
/* The breaker's timer: those that wait go in their order, as many as may. */
void keeper_next_turns(void *context);
/* Sets turn_place and turn_wait_ms of all that wait; how many, and when the last one will go. */
size_t keeper_number_turns(const struct keeper *keeper, int64_t *ret_open_ms);
/* keeper_evidence.c: publishes "evidence" about all processes of the unit, once per process and
 * kind, unless there was a lot of it just now. */
void keeper_evidence(struct keeper *keeper, struct unit *unit, enum unit_evidence what);
/* Limits, priorities, where its output goes: as the plan says, for what runs. */
void keeper_refresh(struct keeper *keeper, struct unit *unit, struct err_list *problems);
/* All processes of the unit, the main one first; at most `max`. */
size_t keeper_pids(struct keeper *keeper, const struct unit *unit, pid_t *ret, size_t max);
/* keeper_tune.c: it starts with the limits and priorities of its plan; it gets those of the plan
 * now, and what cannot be done is a problem (NULL: only logged). */
void keeper_tuned(struct unit *unit);
void keeper_tune(struct keeper *keeper, struct unit *unit, struct err_list *problems);
void keeper_send_stop(struct keeper *keeper, struct unit *unit);
/* keeper_hooks.c: hooks beside the lifecycle (post_start, pre_stop, on_failed). */
void keeper_hooks_changed(struct keeper *keeper, struct unit *unit, enum lifecycle_state before,
                          bool was_ready);
/* True: pre_stop runs, and keeper_send_stop() is called when it has ended. */
bool keeper_hooks_before_stop(struct keeper *keeper, struct unit *unit);
/* The exit of a hook: true if it was one of these. */
bool keeper_hooks_ended(struct keeper *keeper, size_t record);
/* A new core found a hook: true if it is one of these and goes on. */
bool keeper_hooks_adopt(struct keeper *keeper, struct slot *slot, size_t record);
void keeper_hooks_forget(struct keeper *keeper, struct unit *unit); /* it is about to be freed */
void keeper_hooks_free(struct keeper *keeper);
/* Tells how a hook ended, as an event and in the log. */
void keeper_hooks_tell(struct keeper *keeper, const struct unit *unit, const char *hook,
                       size_t record);
/* keeper_leave.c */
void keeper_signal(struct keeper *keeper, struct unit *unit, int signum, bool all);
void keeper_kill(struct keeper *keeper, struct unit *unit);
void keeper_clean(struct keeper *keeper, struct unit *unit);
void keeper_clean_no_more(struct keeper *keeper, struct unit *unit); /* it is freed */
void keeper_sweep(struct keeper *keeper);
struct leftovers *keeper_look(struct keeper *keeper, enum leftovers_scope scope); /* or NULL */
bool keeper_cleans_up(const struct spec_service *spec);
/* keeper_late.c: somebody was started again after a quick look: all is looked at when that is done.
 * And that look. */
void keeper_look_later(struct keeper *keeper);
void keeper_late_look(void *context);
/* keeper_replace.c: the twin is gone and freed; a unit has changed: a replacement may have come to
 * its end. */
void keeper_replace_alone(struct keeper *keeper, struct slot *slot);
/* A stop has ended a replacement without a twin: whoever waits for it is told. */
void keeper_replace_called_off(struct keeper *keeper, struct slot *slot, const char *reason);
void keeper_replace_changed(struct keeper *keeper, struct slot *slot, struct unit *unit);

#endif
