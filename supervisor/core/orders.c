/* orders.c - the contract is in orders.h. */
#include "supervisor/core/orders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "io/jsonx.h"
#include "supervisor/core/events.h"
#include "supervisor/core/jobs.h"
#include "supervisor/core/orders_names.h"
#include "supervisor/core/outputs.h"
#include "supervisor/core/spawn.h"

enum {
    TAIL_LINES = 10,
    TAIL_BYTES = 4096,
    DRAIN_WAIT_MS = 500,
    RELOADING_MS = 2000, /* for RELOADING=1; most never say it */
};

enum item_state { ITEM_WAITING, ITEM_DRAINING, ITEM_DONE };

/* One instance a client waits for. */
struct item {
    struct slot *slot; /* NULL once it has gone */
    char name[SPEC_NAME_MAX * 2];
    enum item_state state;
    bool ok, touched; /* touched: it has left the state it was in when ordered */
    bool replacing;
    bool by_name; /* not as one of all, or of a group */
    char reason[UNIT_REASON_MAX + 64];
    char log[1024];    /* path of its output */
    const char *final; /* name of the state it ended in */
    /* ORDERS_RELOAD: whom it was told when, and until when that is waited for. */
    int32_t pid;
    int64_t told_us, until_ms;
};

struct wait {
    struct orders *orders;
    enum orders_verb verb;
    struct rpc_call *call;
    struct item *items;
    size_t count;
    struct loop_timer *drain_timer, *reload_timer;
    struct wait *next;
};

/* Of a service whose needs are not there yet. */
struct outlook {
    bool needs_come; /* something that it waits for may still become ready */
    bool comes;      /* an instance of it may */
};

struct orders {
    struct core *core;
    struct wait *waits;
    bool due;                /* an item is done: look whether a wait is */
    bool looked_ahead;       /* in this turn */
    struct outlook *outlook; /* owned; per service */
};

struct orders *orders_new(struct core *core, struct err *err)
{
    struct orders *orders = calloc(1, sizeof *orders);

    if (!orders) {
        err_set(err, ERR_MEMORY, "no memory for orders");
        return NULL;
    }
    orders->core = core;
    return orders;
}

static void wait_free(struct wait *wait)
{
    loop_timer_free(wait->drain_timer);
    loop_timer_free(wait->reload_timer);
    free(wait->items);
    free(wait);
}

void orders_free(struct orders *orders)
{
    const struct err leaving = { .code = ERR_UNREACHABLE, .text = "the supervisor is leaving" };

    if (!orders)
        return;
    while (orders->waits) {
        struct wait *wait = orders->waits;
        orders->waits = wait->next;
        rpc_fail(wait->call, &leaving, NULL);
        wait_free(wait);
    }
    free(orders->outlook);
    free(orders);
}

int orders_select(struct orders *orders, json_t *names, struct slot ***ret, size_t *ret_count,
                  struct err *err)
{
    return orders_names_select(orders->core, names, ret, ret_count, err);
}

/* --- waiting --- */

static json_t *item_json(const struct item *item)
{
    json_t *row = json_object();

    jsonx_set_text(row, "instance", item->name);
    jsonx_set_bool(row, "ok", item->ok);
    jsonx_set_text(row, "state", item->final);
    jsonx_set_text(row, "reason", item->reason[0] ? item->reason : NULL);
    if (!item->ok && item->log[0]) {
        char *tail = outputs_tail(item->log, TAIL_LINES, TAIL_BYTES);
        if (tail && tail[0]) {
            jsonx_set_text(row, "output", tail);
            jsonx_set_text(row, "log", item->log);
        }
        free(tail);
    }
    return row;
}

static void answer(struct wait *wait)
{
    json_t *result = json_object(), *rows = json_array();
    bool ok = true;

    for (size_t i = 0; i < wait->count; i++) {
        ok &= wait->items[i].ok;
        json_array_append_new(rows, item_json(&wait->items[i]));
    }
    json_object_set_new(result, "results", rows);
    jsonx_set_bool(result, "ok", ok);
    rpc_reply(wait->call, result);
}

static bool wait_done(const struct wait *wait)
{
    for (size_t i = 0; i < wait->count; i++)
        if (wait->items[i].state != ITEM_DONE)
            return false;
    return true;
}

/* Where its last words are, or will be. */
static bool find_log(const struct core *core, const struct unit *unit, char *log, size_t size)
{
    struct arena arena;

    arena_init(&arena);
    const struct instance *made = spawn_look(core, unit, &arena);
    bool found = made && made->stdout_log && made->stdout_log[0] == '/';
    if (found)
        snprintf(log, size, "%s",
                 made->stderr_log && made->stderr_log[0] == '/' ? made->stderr_log
                                                                : made->stdout_log);
    arena_done(&arena);
    return found;
}

static void item_done(struct wait *wait, struct item *item, bool ok, const char *reason)
{
    item->ok = ok;
    snprintf(item->reason, sizeof item->reason, "%s", reason ? reason : "");
    item->final = item->slot ? lifecycle_state_name(keeper_state(item->slot)) : "stopped";
    item->state = ITEM_DONE;
    wait->orders->due = true;
    bool untold = wait->verb == ORDERS_RELOAD && item->told_us == 0;
    if (ok || !item->slot || untold)
        return;
    if (find_log(wait->orders->core, item->slot->main, item->log, sizeof item->log)) {
        /* Its last words may still be in the pipe. */
        outputs_ask(wait->orders->core, item->name);
        item->state = ITEM_DRAINING;
        loop_timer_arm(wait->drain_timer, DRAIN_WAIT_MS);
    }
}

static void judge_start(struct wait *wait, struct item *item)
{
    const struct unit *unit = item->slot->main;
    const struct lifecycle *lc = &unit->body.lc;
    char text[UNIT_REASON_MAX + 64];

    switch ((enum lifecycle_state)lc->state) {
    case LIFECYCLE_RUNNING:
        item_done(wait, item, true, NULL);
        break;
    case LIFECYCLE_EXITED:
        item_done(wait, item, lc->expected, lc->expected ? NULL : unit->reason);
        break;
    case LIFECYCLE_FAILED:
    case LIFECYCLE_STOPPED:
        item_done(wait, item, false, unit->reason[0] ? unit->reason : "was stopped");
        break;
    case LIFECYCLE_BACKOFF:
        snprintf(text, sizeof text, "%s; trying again in %.1f s", unit->reason,
                 (double)(lc->deadline_ms - loop_now_ms(wait->orders->core->loop)) / 1000.0);
        item_done(wait, item, false, text);
        break;
    case LIFECYCLE_WAITING:
        if (keeper_listening(item->slot))
            item_done(wait, item, true, NULL);
        break;
    case LIFECYCLE_PRE_START:
    case LIFECYCLE_STARTING:
    case LIFECYCLE_STOPPING:
    case LIFECYCLE_KILLING:
    case LIFECYCLE_CLEANING:
    case LIFECYCLE_POST_STOP:
    case LIFECYCLE_NSTATES:
        break;
    }
}

/* Not ready yet, but may become so without another order; `needs` = what it waits for may. */
static bool may_come(const struct slot *slot, bool needs)
{
    enum lifecycle_state state = keeper_state(slot);

    if (slot->main->body.lc.ready || state == LIFECYCLE_FAILED || state == LIFECYCLE_BACKOFF ||
        state == LIFECYCLE_STOPPED)
        return false;
    return state != LIFECYCLE_WAITING || needs || slot->main->reason[0] == '\0';
}

/* One pass over the services finds who waits for nothing that may come: in a plan needs stand
 * before their needers.  False without memory: nobody is told that it waits in vain, then. */
static bool look_ahead(struct orders *orders)
{
    const struct keeper *keeper = orders->core->keeper;
    const struct plan *plan = orders->core->plan;
    struct outlook *outlook = reallocarray(orders->outlook, plan->nservices + 1, sizeof *outlook);

    if (!outlook)
        return false;
    orders->outlook = outlook;
    for (size_t i = 0; i < plan->nservices; i++) {
        const struct spec_service *spec = &plan->services[i];
        struct slot *const *slots;
        size_t count = keeper_slots_of(keeper, i, &slots);

        outlook[i] = (struct outlook){ 0 };
        for (size_t k = 0; k < spec->nneeds; k++)
            outlook[i].needs_come |= outlook[spec->needs[k]].comes;
        for (size_t k = 0; k < count && !outlook[i].comes; k++)
            outlook[i].comes = may_come(slots[k], outlook[i].needs_come);
    }
    return true;
}

/* Waiting for something that will not come by itself is an answer too. */
static bool waits_in_vain(struct orders *orders, const struct slot *slot)
{
    if (slot->removed || keeper_state(slot) != LIFECYCLE_WAITING)
        return false;
    if (!orders->looked_ahead)
        orders->looked_ahead = look_ahead(orders);
    return orders->looked_ahead && !orders->outlook[slot->service].needs_come &&
           slot->main->reason[0] != '\0';
}

static void wait_until(struct wait *wait, struct item *item, int64_t ms)
{
    item->until_ms = loop_now_ms(wait->orders->core->loop) + ms;
    loop_timer_arm(wait->reload_timer, ms + 1);
}

static void judge_reload(struct wait *wait, struct item *item)
{
    const struct unit *unit = item->slot->main;
    const struct spec_settings *set = unit_spec(unit)->set;
    bool begun = unit->said.reload_us >= item->told_us;
    bool late = loop_now_ms(wait->orders->core->loop) >= item->until_ms;
    char text[UNIT_REASON_MAX + 64];

    if (keeper_pid(wait->orders->core->keeper, unit) != item->pid) {
        snprintf(text, sizeof text, "it ended meanwhile: %s", unit->reason);
        item_done(wait, item, false, text);
    } else if (begun && !unit->said.reloading) {
        item_done(wait, item, true, NULL);
    } else if (begun && !item->touched) {
        item->touched = true;
        wait_until(wait, item, set->ready_timeout_ms);
    } else if (begun && late) {
        snprintf(text, sizeof text, "READY=1 did not come within ready_timeout (%lld ms)",
                 (long long)set->ready_timeout_ms);
        item_done(wait, item, false, text);
    } else if (late) {
        snprintf(text, sizeof text, "was sent %s", signals_name(set->reload_signal));
        item_done(wait, item, true, text);
    }
}

/* Only makes a turn of the loop, which judges. */
static void on_reload_time(void *context)
{
    struct wait *wait = context;
    int64_t now = loop_now_ms(wait->orders->core->loop), next = 0;

    for (size_t i = 0; i < wait->count; i++) {
        int64_t until = wait->items[i].until_ms;
        if (wait->items[i].state == ITEM_WAITING && until > now && (next == 0 || until < next))
            next = until;
    }
    if (next > 0)
        loop_timer_arm(wait->reload_timer, next - now + 1);
}

static void judge(struct wait *wait, struct item *item)
{
    struct slot *slot = item->slot;
    char text[UNIT_REASON_MAX + 64];

    if (item->state != ITEM_WAITING || !slot)
        return;
    /* A stop or a reload has called the replacement off: its state tells. */
    if (!slot->replacing && !slot->replace_queued && !slot->on_trial)
        item->replacing = false;
    if (item->replacing)
        return;
    if (wait->verb == ORDERS_RELOAD) {
        judge_reload(wait, item);
        return;
    }
    if (wait->verb == ORDERS_STOP) {
        if (!slot->twin && !slot->in_stop && lifecycle_settled(keeper_state(slot)))
            item_done(wait, item, true, NULL);
        else if (!slot->in_stop && !slot->removed && slot->main->body.lc.wanted)
            item_done(wait, item, false, "was started again meanwhile");
        return;
    }
    judge_start(wait, item);
    if (item->state == ITEM_WAITING && waits_in_vain(wait->orders, slot)) {
        snprintf(text, sizeof text, "waits for %s", slot->main->reason);
        item_done(wait, item, false, text);
    }
}

static void finish_waits(struct orders *orders)
{
    orders->due = false;
    for (struct wait **at = &orders->waits; *at;) {
        struct wait *wait = *at;

        if (!wait_done(wait)) {
            at = &wait->next;
            continue;
        }
        *at = wait->next;
        answer(wait);
        wait_free(wait);
    }
}

static void on_drain_timeout(void *context)
{
    struct wait *wait = context;

    for (size_t i = 0; i < wait->count; i++)
        if (wait->items[i].state == ITEM_DRAINING)
            wait->items[i].state = ITEM_DONE;
    wait->orders->due = true;
}

void orders_turn(struct orders *orders)
{
    orders->looked_ahead = false;
    for (struct wait *wait = orders->waits; wait; wait = wait->next) {
        for (size_t i = 0; i < wait->count; i++) {
            struct item *item = &wait->items[i];

            judge(wait, item);
            if (item->state == ITEM_DRAINING && outputs_settled(orders->core, item->name)) {
                item->state = ITEM_DONE;
                orders->due = true;
            }
        }
    }
    if (orders->due)
        finish_waits(orders);
}

void orders_changed(struct orders *orders, struct slot *slot) { (void)orders, (void)slot; }

void orders_replaced(struct orders *orders, struct slot *slot, bool ok, const char *reason)
{
    for (struct wait *wait = orders->waits; wait; wait = wait->next) {
        for (size_t i = 0; i < wait->count; i++) {
            struct item *item = &wait->items[i];

            if (item->slot != slot || !item->replacing || item->state != ITEM_WAITING)
                continue;
            item->replacing = false;
            item_done(wait, item, ok, ok ? NULL : reason);
        }
    }
}

void orders_removed(struct orders *orders, struct slot *slot)
{
    for (struct wait *wait = orders->waits; wait; wait = wait->next) {
        for (size_t i = 0; i < wait->count; i++) {
            struct item *item = &wait->items[i];

            if (item->slot != slot)
                continue;
            item->slot = NULL;
            if (item->state == ITEM_WAITING)
                item_done(wait, item, wait->verb == ORDERS_STOP, "was removed");
        }
    }
}

void orders_gone(struct orders *orders, struct rpc_conn *conn)
{
    for (struct wait **at = &orders->waits; *at;) {
        struct wait *wait = *at;

        if (rpc_call_conn(wait->call) != conn && rpc_call_conn(wait->call) != NULL) {
            at = &wait->next;
            continue;
        }
        *at = wait->next;
        rpc_reply(wait->call, NULL); /* into the void */
        wait_free(wait);
    }
}

/* --- giving orders --- */

/* An ordered stop that is not over yet ends here: what waits for it to be down would wait for
 * ever. */
static void take_stop_back(struct slot *slot)
{
    if (slot->in_stop)
        keeper_stop_ordered(slot, false);
}

/* What is needed comes up too, unless it is wanted already. */
static void start_needs(struct orders *orders, const struct slot *slot, const char *who)
{
    struct keeper *keeper = orders->core->keeper;

    for (size_t i = 0; i < slot->spec->nneeds; i++) {
        struct slot *const *others;
        size_t count = keeper_slots_of(keeper, slot->spec->needs[i], &others);

        if (!slot->spec->need_ready[i])
            continue;
        for (size_t k = 0; k < count; k++) {
            const struct lifecycle *lc = &others[k]->main->body.lc;
            if (!others[k]->in_stop && (lc->wanted || lc->ready))
                continue;
            take_stop_back(others[k]);
            keeper_order(keeper, others[k]->main, LIFECYCLE_EV_START, who);
            start_needs(orders, others[k], who);
        }
    }
}

static void give_start(struct orders *orders, struct item *item, const char *who)
{
    take_stop_back(item->slot);
    start_needs(orders, item->slot, who);
    keeper_order(orders->core->keeper, item->slot->main, LIFECYCLE_EV_START, who);
}

static void give_restart(struct orders *orders, struct item *item, const char *who)
{
    struct slot *slot = item->slot;

    take_stop_back(slot);
    if (slot->spec->set->restart_mode == SPEC_OVERLAP && keeper_state(slot) == LIFECYCLE_RUNNING) {
        item->replacing = true;
        /* One after another: a core after us carries on with those whose turn has not come. */
        slot->main->body.outdated = true;
        keeper_save(slot->main);
        keeper_replace(orders->core->keeper, slot, "");
        return;
    }
    start_needs(orders, slot, who);
    keeper_order(orders->core->keeper, slot->main, LIFECYCLE_EV_RESTART, who);
}

/* Without `ready = notify` nobody would ever say that it is done. */
static void give_reload(struct orders *orders, struct wait *wait, struct item *item)
{
    struct keeper *keeper = orders->core->keeper;
    struct unit *unit = item->slot->main;
    const struct spec_settings *set = item->slot->spec->set;
    bool speaks = set->ready.target && strcmp(set->ready.target, "notify") == 0;
    char text[64];

    item->pid = keeper_pid(keeper, unit);
    if (set->reload_signal == 0) {
        item_done(wait, item, false, "it has no reload_signal, restart it instead");
    } else if (item->pid <= 0) {
        item_done(wait, item, false, "it does not run");
    } else {
        item->told_us = clock_mono_ms() * 1000;
        keeper_reread(keeper, unit);
        snprintf(text, sizeof text, "was sent %s", signals_name(set->reload_signal));
        if (speaks)
            wait_until(wait, item, RELOADING_MS);
        else
            item_done(wait, item, true, text);
    }
}

/* Who is asked for by name runs now; as one of many only its times count again: "start all" is not
 * meant to run every nightly job at noon.  `asked_ms`: whoever asks again after a crash of the core
 * has asked then, and may have got what was asked for. */
static void give_job(struct orders *orders, struct wait *wait, struct item *item, int64_t asked_ms,
                     const char *who)
{
    struct slot *slot = item->slot;
    const struct schedule *s = jobs_schedule(slot);
    bool done = asked_ms > 0 && s->started_ms >= asked_ms;

    take_stop_back(slot);
    if (wait->verb == ORDERS_RESTART && s->running && !done) {
        keeper_order(orders->core->keeper, slot->main, LIFECYCLE_EV_RESTART, who);
        return;
    }
    if (item->by_name && !done)
        start_needs(orders, slot, who);
    jobs_start(orders->core->jobs, slot, item->by_name && !done, who);
    if (item->by_name)
        return;
    item_done(wait, item, true, NULL);
    item->final = "scheduled";
}

static void give(struct orders *orders, struct wait *wait, int64_t asked_ms, const char *who)
{
    for (size_t i = 0; i < wait->count; i++) {
        struct item *item = &wait->items[i];
        bool is_job = jobs_is(item->slot);

        switch (wait->verb) {
        case ORDERS_START:
        case ORDERS_RESTART:
            if (is_job)
                give_job(orders, wait, item, asked_ms, who);
            else if (wait->verb == ORDERS_START)
                give_start(orders, item, who);
            else
                give_restart(orders, item, who);
            break;
        case ORDERS_RELOAD:
            give_reload(orders, wait, item);
            break;
        case ORDERS_STOP:
            if (is_job)
                jobs_suspend(orders->core->jobs, item->slot);
            keeper_stop_ordered(item->slot, true);
            if (!lifecycle_settled(keeper_state(item->slot)))
                keeper_reason(item->slot->main, "%s", who);
            break;
        }
    }
    if (wait->verb == ORDERS_STOP)
        orders->core->keeper->stop_round_due = true;
}

static const char *const verb_names[] = {
    [ORDERS_START] = "start",
    [ORDERS_STOP] = "stop",
    [ORDERS_RESTART] = "restart",
    [ORDERS_RELOAD] = "reload",
};

static void who_text(char *text, size_t size, const char *verb, const struct rpc_peer *peer)
{
    snprintf(text, size, "%s ordered by uid %u (%s, pid %d)", verb, (unsigned)peer->uid,
             peer->command, (int)peer->pid);
}

static void record_order(struct orders *orders, const char *verb, const struct rpc_call *call,
                         json_t *params)
{
    const struct rpc_peer *peer = rpc_call_peer(call);
    json_t *details = json_object();

    jsonx_set_text(details, "order", verb);
    json_object_set(details, "names", json_object_get(params, "names"));
    jsonx_set_int(details, "uid", (json_int_t)peer->uid);
    jsonx_set_int(details, "pid", peer->pid);
    jsonx_set_text(details, "command", peer->command);
    events_publish(orders->core->events, "order", details);
}

static struct wait *wait_new(struct orders *orders, enum orders_verb verb, struct rpc_call *call,
                             struct slot **slots, size_t count)
{
    struct wait *wait = calloc(1, sizeof *wait);
    struct item *items = calloc(count + 1, sizeof *items);

    if (!wait || !items) {
        free(wait);
        free(items);
        return NULL;
    }
    wait->orders = orders;
    wait->verb = verb;
    wait->call = call;
    wait->items = items;
    wait->count = count;
    wait->drain_timer = loop_timer_new(orders->core->loop, on_drain_timeout, wait);
    wait->reload_timer = loop_timer_new(orders->core->loop, on_reload_time, wait);
    for (size_t i = 0; i < count; i++) {
        items[i].slot = slots[i];
        snprintf(items[i].name, sizeof items[i].name, "%s", slots[i]->name);
    }
    return wait;
}

void orders_run(struct orders *orders, enum orders_verb verb, struct rpc_call *call, json_t *params)
{
    struct err err = { 0 };
    struct slot **slots;
    size_t count;
    char who[128];

    if (orders_select(orders, json_object_get(params, "names"), &slots, &count, &err) != 0) {
        rpc_fail(call, &err, NULL);
        return;
    }
    if (orders->core->keeper->stopping_all) {
        free(slots);
        err_set(&err, ERR_STATE, "the supervisor is shutting down");
        rpc_fail(call, &err, NULL);
        return;
    }
    struct wait *wait = wait_new(orders, verb, call, slots, count);
    free(slots);
    if (!wait || !wait->drain_timer || !wait->reload_timer) {
        if (wait)
            wait_free(wait);
        err_set(&err, ERR_MEMORY, "no memory for the order");
        rpc_fail(call, &err, NULL);
        return;
    }
    who_text(who, sizeof who, verb_names[verb], rpc_call_peer(call));
    record_order(orders, verb_names[verb], call, params);
    for (size_t i = 0; i < count; i++)
        wait->items[i].by_name =
            orders_names_has(json_object_get(params, "names"), wait->items[i].slot);
    give(orders, wait, jsonx_int(params, "asked_ms", 0), who);
    if (!jsonx_bool(params, "wait", true)) {
        for (size_t i = 0; i < wait->count; i++) {
            if (wait->items[i].state != ITEM_WAITING)
                continue;
            wait->items[i].ok = true;
            wait->items[i].state = ITEM_DONE;
            wait->items[i].final = lifecycle_state_name(keeper_state(wait->items[i].slot));
        }
    }
    wait->next = orders->waits;
    orders->waits = wait;
    orders->due = true;
}

void orders_signal(struct orders *orders, struct rpc_call *call, json_t *params)
{
    struct err err = { 0 };
    struct slot **slots;
    const char *name;
    size_t count, sent = 0;
    int signum;

    if (jsonx_need_text(params, "signal", &name, &err) != 0 ||
        signals_parse(name, &signum, &err) != 0 ||
        orders_select(orders, json_object_get(params, "names"), &slots, &count, &err) != 0) {
        rpc_fail(call, &err, NULL);
        return;
    }
    record_order(orders, "signal", call, params);
    for (size_t i = 0; i < count; i++) {
        if (keeper_pid(orders->core->keeper, slots[i]->main) <= 0)
            continue;
        keeper_signal(orders->core->keeper, slots[i]->main, signum, false);
        sent++;
    }
    free(slots);
    json_t *result = json_object();
    jsonx_set_int(result, "signalled", (json_int_t)sent);
    jsonx_set_int(result, "selected", (json_int_t)count);
    rpc_reply(call, result);
}
