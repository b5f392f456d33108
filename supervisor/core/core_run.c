/* core_run.c - the contract is in core_run.h. */
#include "supervisor/core/core_run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/child.h"
#include "io/durable.h"
#include "io/jsonx.h"
#include "io/listen.h"
#include "io/reserve.h"
#include "supervisor/core/announce.h"
#include "supervisor/core/audit.h"
#include "supervisor/core/control.h"
#include "supervisor/core/core.h"
#include "supervisor/core/core_cgroup.h"
#include "supervisor/core/core_leave.h"
#include "supervisor/core/core_plan.h"
#include "supervisor/core/core_reload.h"
#include "supervisor/core/core_store.h"
#include "supervisor/core/core_upgrade.h"
#include "supervisor/core/events.h"
#include "supervisor/core/jobs.h"
#include "supervisor/core/keeper.h"
#include "supervisor/health/notify.h"
#include "supervisor/host/tuning.h"
#include "supervisor/core/orders.h"
#include "supervisor/core/outputs.h"
#include "supervisor/release/releases.h"
#include "supervisor/core/troubles.h"
#include "supervisor/core/release_config.h"
#include "supervisor/core/sockets.h"

enum {
    CONTROL_BACKLOG = 128,
    LAG_MS = 50, /* how soon a subscriber that was full is tried again */
};

/* The parts that only this file wires together. */
struct run {
    struct core core;
    const struct core_options *options;
    struct orders *orders;
    struct notify *notify;
    struct upgrade *upgrade;
    struct announce *announce;
    struct loop_watch *poke_watch, *channel_watch;
    struct loop_timer *lag_timer;
    struct core_leave *leave;
    struct core_store *store;
    bool adopted;             /* a core before us left something */
    bool finished;            /* leave the loop */
    int exit_code;            /* of the core */
    char recalled[64 * 1024]; /* text of a pin, until the next one is recalled */
};

/* --- hands for the keeper and the releases --- */

static int exit_code_of(const struct unit *unit)
{
    const struct unit_exit *last = &unit->body.last;

    if (last->at_wall_us == 0 || !last->known)
        return 1;
    return last->signal ? 128 + last->signal : last->code;
}

static void on_changed(void *context, struct slot *slot)
{
    struct run *run = context;

    announce_changed(run->announce);
    jobs_changed(run->core.jobs, slot);
    if (slot->main->body.ended_all && !core_leave_begun(run->leave))
        core_leave_begin(run->leave, exit_code_of(slot->main),
                         "a service with on_exit = shutdown ended");
}

/* Of a core that was killed when it had written the end down, and done nothing about it yet. */
static void answer_ends(struct run *run)
{
    struct keeper *keeper = run->core.keeper;

    for (size_t i = 0; i < keeper->nslots && !core_leave_begun(run->leave); i++)
        on_changed(run, keeper->slots[i]);
}

static void on_hear(void *context) { notify_drain(((struct run *)context)->notify); }

static size_t instance_of(const struct slot *slot)
{
    return (size_t)(slot->number - slot->spec->set->numprocs_start);
}

/* By an operator, not by a fault; what it starts with after that is what is pinned then. */
static bool stopped_by_order(const struct slot *slot)
{
    enum lifecycle_state state = keeper_state(slot);

    return !slot->main->body.lc.wanted && !slot->main->body.pristine &&
           (state == LIFECYCLE_STOPPED || !lifecycle_settled(state));
}

static void on_replaced(void *context, struct slot *slot, const char *release, bool ok,
                        const char *reason)
{
    struct run *run = context;

    orders_replaced(run->orders, slot, ok, reason);
    /* A switch that a shutdown cuts short is neither good nor bad: the next start undoes it. */
    if (slot->removed || !slot->spec->release || core_leave_begun(run->leave))
        return;
    const char *id = release[0] ? release : slot->main->body.release;
    if (ok || stopped_by_order(slot))
        releases_ready(run->core.releases, slot->service, instance_of(slot), id);
    else
        releases_down(run->core.releases, slot->service, instance_of(slot), id, reason);
}

static void on_removed(void *context, struct slot *slot)
{
    struct run *run = context;

    jobs_removed(run->core.jobs, slot);
    orders_removed(run->orders, slot);
}

static void releases_replace_hand(void *context, size_t service, size_t instance, const char *id)
{
    struct run *run = context;
    struct slot *const *slots;
    size_t count = keeper_slots_of(run->core.keeper, service, &slots);

    if (instance >= count)
        return;
    struct slot *slot = slots[instance];
    struct unit *unit = slot->main;
    enum lifecycle_state state = keeper_state(slot);
    bool same = strcmp(unit->body.release, id) == 0;
    if (core_leave_begun(run->leave))
        return;
    if (jobs_is(slot)) { /* its next run takes what is pinned then */
        if (lifecycle_settled(state))
            snprintf(unit->body.release, sizeof unit->body.release, "%s", id);
        keeper_save(unit);
        releases_ready(run->core.releases, service, instance, id);
        return;
    }
    if (stopped_by_order(slot)) { /* which is not taken back here */
        if (state == LIFECYCLE_STOPPED)
            snprintf(unit->body.release, sizeof unit->body.release, "%s", id);
        keeper_save(unit);
        releases_ready(run->core.releases, service, instance, id);
        return;
    }
    if (same && !slot->on_trial && unit->body.unproven)
        return; /* on its way, too */
    bool serves = (unit->body.lc.ready && state == LIFECYCLE_RUNNING) || keeper_listening(slot);
    if (same && !slot->on_trial && serves && !unit->body.next_release[0]) {
        releases_ready(run->core.releases, service, instance, id);
        return;
    }
    if (same && !unit->body.next_release[0] && !slot->on_trial &&
        (state == LIFECYCLE_STARTING || state == LIFECYCLE_PRE_START))
        return; /* on its way; its change tells */
    keeper_replace(run->core.keeper, slot, id);
}

static void releases_empty_hand(void *context, size_t service)
{
    keeper_empty(((struct run *)context)->core.keeper, service);
}

static void releases_faster_hand(void *context, size_t service, bool on)
{
    keeper_probe_faster(((struct run *)context)->core.keeper, service, on);
}

static const char *releases_check_hand(void *context, size_t service, size_t instance)
{
    return keeper_check(((struct run *)context)->core.keeper, service, instance);
}

static void releases_event_hand(void *context, const char *kind, json_t *details)
{
    events_publish(((struct run *)context)->core.events, kind, details);
}

static int releases_remember_hand(void *context, const char *name, const char *text)
{
    struct core *core = &((struct run *)context)->core;
    char kept[STORE_NAME_MAX];
    struct err err = { 0 };
    int fd;

    snprintf(kept, sizeof kept, "pin.%s", name);
    if (core_memory("pin", text, strlen(text) + 1, &fd, &err) != 0 ||
        core_keep(core, kept, fd, &err) != 0) {
        log_error("cannot keep a pin", "name", name, "error", err.text, NULL);
        return -1;
    }
    return 0;
}

static const char *releases_recall_hand(void *context, const char *name)
{
    struct run *run = context;
    char kept[STORE_NAME_MAX];

    snprintf(kept, sizeof kept, "pin.%s", name);
    int fd = store_get(&run->core.store, kept);
    ssize_t len = fd >= 0 ? pread(fd, run->recalled, sizeof run->recalled - 1, 0) : -1;
    if (len <= 0)
        return NULL;
    run->recalled[len] = '\0';
    return run->recalled;
}

/* --- hands for the control socket --- */

static void on_reload(void *context, struct rpc_call *call, json_t *params)
{
    struct run *run = context;

    if (jsonx_bool(params, "plan", false)) {
        core_reload(&run->core, call, params);
        return;
    }
    announce_reloading(run->announce);
    core_reload(&run->core, call, params);
    announce_reloaded(run->announce);
}

static void on_scale(void *context, struct rpc_call *call, json_t *params)
{
    core_plan_scale(&((struct run *)context)->core, call, params);
}

static void on_upgrade(void *context, struct rpc_call *call, json_t *params)
{
    upgrade_run(((struct run *)context)->upgrade, call, params);
}

static void on_shutdown(void *context, struct rpc_call *call, json_t *params)
{
    struct run *run = context;
    const char *action = jsonx_text(params, "action", "exit");
    struct err err = { 0 };

    if (jsonx_bool(params, "keep_services", false)) {
        upgrade_hand_over(run->upgrade, call);
        return;
    }
    if (core_leave_accept(&run->core, action, &err) != 0) {
        rpc_fail(call, &err, NULL);
        return;
    }
    char why[128];
    const struct rpc_peer *peer = rpc_call_peer(call);
    snprintf(why, sizeof why, "ordered by uid %u (%s, pid %d)", (unsigned)peer->uid, peer->command,
             (int)peer->pid);
    rpc_reply(call, NULL);
    core_leave_begin(run->leave, 0, why);
}

/* --- what comes from outside --- */

static void take_signal_orders(struct run *run)
{
    struct ledger_header *header = run->core.ledger.header;

    while (header->shutdown_seen != header->shutdown_orders) {
        header->shutdown_seen++;
        audit_note(run->core.audit, "shutdown", "a signal to the supervisor");
        core_leave_begin(run->leave, 0, "a signal to the supervisor");
    }
    if (header->reload_seen != header->reload_orders) {
        header->reload_seen = header->reload_orders;
        audit_note(run->core.audit, "reload", "a signal to the supervisor");
        announce_reloading(run->announce);
        core_reload_signal(&run->core);
        announce_reloaded(run->announce);
    }
}

static void on_poke(void *context, unsigned events)
{
    struct run *run = context;
    uint64_t count;

    (void)events;
    if (read(run->core.poke, &count, sizeof count) < 0 && errno != EAGAIN)
        log_warn("reading the poke", "error", strerror(errno), NULL);
    upgrade_check(run->upgrade);
    notify_drain(run->notify);
    keeper_lines(run->core.keeper);
    keeper_exits(run->core.keeper);
    troubles_look(&run->core);
    if (run->core.keeper->outputs_closing)
        outputs_release(&run->core);
    take_signal_orders(run);
    core_store_look(run->store);
}

/* The guardian is gone: we become it, in this pid; a new core carries on from the ledger. */
static void on_channel(void *context, unsigned events)
{
    struct run *run = context;
    char *const argv[] = { (char *)"supervisor",     (char *)"guardian",
                           (char *)"--takeover",     (char *)"--config",
                           (char *)run->core.config, (char *)"--socket",
                           (char *)run->core.socket, NULL };
    struct store_message message;
    struct err err = { 0 };

    (void)events;
    int rc = store_receive(run->core.channel, &message, &err);
    if (rc == 0)
        return;
    if (rc > 0 || err.code != ERR_UNREACHABLE) { /* the guardian has nothing to say to us */
        if (rc > 0 && message.fd >= 0)
            close(message.fd);
        return;
    }
    log_error("the guardian is gone, taking its place", NULL);
    store_exec(&run->core.store, child_own_program(), argv, &err);
    log_error("cannot become the guardian", "error", err.text, NULL);
    loop_watch_set(run->channel_watch, 0);
}

static void on_notify(void *context, const struct notify_message *message)
{
    keeper_notified(((struct run *)context)->core.keeper, message);
}

static void on_lag(void *context)
{
    struct run *run = context;

    events_flush(run->core.events);
    if (events_lagging(run->core.events))
        loop_timer_arm(run->lag_timer, LAG_MS);
}

static void on_turn(void *context)
{
    struct run *run = context;

    keeper_turn(run->core.keeper);
    orders_turn(run->orders);
    jobs_turn(run->core.jobs);
    if (!core_leave_begun(run->leave))
        release_config_follow(&run->core);
    if (keeper_pending(run->core.keeper)) /* the turn was cut short: come back at once */
        loop_timer_arm(run->lag_timer, 0);
    else if (events_lagging(run->core.events) && !loop_timer_armed(run->lag_timer))
        loop_timer_arm(run->lag_timer, LAG_MS);
    core_leave_turn(run->leave);
}

static void leave_loop(void *context)
{
    struct run *run = context;

    audit_let_go(run->core.audit);
    run->finished = true;
    loop_stop(run->core.loop);
}

static bool tell_audit(void *context, const char *kind, json_t *details)
{
    const struct core *core = context;

    if (core->events)
        events_publish(core->events, kind, details);
    else
        json_decref(details);
    return core->events != NULL;
}

/* --- start --- */

/* Of a descriptor in the store, for a part that closes its own. */
static int copy_of(const struct core *core, const char *name)
{
    return fcntl(store_get(&core->store, name), F_DUPFD_CLOEXEC, 0);
}

static int inherit(struct run *run, struct err *err)
{
    struct core *core = &run->core;

    store_init(&core->store);
    int rc = store_inherit(STORE_INVENTORY_FD, &core->store, err);
    if (rc == 0)
        rc = ledger_map(copy_of(core, "ledger"), &core->ledger, err);
    if (rc == 0)
        rc = recorder_map(store_get(&core->store, "recorder"), &core->recorder, err);
    if (rc != 0)
        return err_wrap(err, "taking over from the guardian");
    core->first_event = recorder_next(&core->recorder);
    core->streams = streams_map(store_get(&core->store, "streams"), err);
    core->poke = store_get(&core->store, "poke");
    core->poke_logger = store_get(&core->store, "poke.logger");
    core->channel = store_take(&core->store, "channel");
    if (!core->streams || core->poke < 0 || core->channel < 0)
        return err_set(err, ERR_CORRUPT, "the guardian's inventory is incomplete");
    return 0;
}

static int open_control(struct core *core, struct err *err)
{
    struct listen_options options = { .backlog = CONTROL_BACKLOG };
    struct addr addr;

    if (store_get(&core->store, "control") >= 0)
        return 0;
    int rc = core_plan_control(core, &options, err);
    if (rc == 0)
        rc = addr_parse(core->socket, &addr, err);
    if (rc != 0)
        return rc;
    int fd = listen_open(&addr, &options, err);
    return fd < 0 ? fd : core_keep(core, "control", fd, err);
}

static int open_notify(struct core *core, struct err *err)
{
    char path[4096];
    int fd = store_get(&core->store, "notify");

    if (fd >= 0) {
        core->notify_name = notify_name(fd);
        return 0;
    }
    snprintf(path, sizeof path, "%s.notify", core->socket);
    int rc = notify_open(path, &fd, &core->notify_name, err);
    if (rc != 0)
        return rc;
    if (core->notify_name[0] == '/')
        chmod(core->notify_name, 0666); /* services run as other users; senders are checked */
    return core_keep(core, "notify", fd, err);
}

static int make_releases(struct run *run, struct err *err)
{
    const struct releases_hands hands = { .context = run,
                                          .replace = releases_replace_hand,
                                          .stop_all = releases_empty_hand,
                                          .probe_faster = releases_faster_hand,
                                          .check = releases_check_hand,
                                          .event = releases_event_hand,
                                          .remember = releases_remember_hand,
                                          .recall = releases_recall_hand };
    char boot_id[CLOCK_BOOT_ID_MAX];

    clock_boot_id(boot_id);
    run->core.releases = releases_new(run->core.loop, &hands, boot_id, err);
    return run->core.releases ? 0 : (int)err->code;
}

static int configure_releases(struct run *run, struct err *err)
{
    struct err_list problems;

    err_list_init(&problems);
    int rc = core_plan_releases(
        &run->core, run->adopted ? RELEASES_START_ADOPTING : RELEASES_START_FRESH, &problems, err);
    for (size_t i = 0; i < problems.count; i++)
        log_error(problems.lines[i], NULL);
    err_list_done(&problems);
    return rc;
}

static int make_parts(struct run *run, struct err *err)
{
    struct core *core = &run->core;
    const struct keeper_hands hands = { .context = run,
                                        .changed = on_changed,
                                        .replaced = on_replaced,
                                        .removed = on_removed,
                                        .hear = on_hear };

    core_store_open(core);
    core->events = events_new(&core->recorder, core->history);
    core->keeper = core->events ? keeper_new(core, &hands, err) : NULL;
    core->jobs = core->keeper ? jobs_new(core, err) : NULL;
    run->orders = core->jobs ? orders_new(core, err) : NULL;
    run->upgrade = upgrade_new(core, leave_loop, run);
    run->notify = notify_new(core->loop, store_get(&core->store, "notify"), on_notify, run, err);
    run->lag_timer = loop_timer_new(core->loop, on_lag, run);
    run->store = core_store_new(core);
    run->announce = announce_new(core);
    run->leave = core_leave_new(core, run->announce, leave_loop, run);
    if (!run->orders || !run->announce || !run->upgrade || !run->notify || !run->lag_timer ||
        !run->leave || !run->store)
        return err_set(err, ERR_MEMORY, "no memory for the core");
    return make_releases(run, err);
}

/* In this order: what lives is known before anything is decided, and decided before anything
 * starts. */
static int take_up(struct run *run, struct err *err)
{
    struct core *core = &run->core;
    struct err_list problems;
    size_t found = 0;

    int rc = keeper_adopt(core->keeper, err);
    if (rc != 0)
        return rc;
    run->adopted = core->keeper->nslots > 0 || core->ledger.header->core_restarts > 0;
    core_cgroup_begin(core);
    err_list_init(&problems);
    sockets_configure(core, core->plan, &problems);
    err_list_done(&problems);
    struct keeper_next *next = keeper_prepare(core->keeper, core->plan, err);
    rc = next ? 0 : err->code;
    if (rc == 0)
        keeper_configure(core->keeper, next, NULL, NULL);
    if (rc == 0)
        jobs_configure(core->jobs);
    if (rc == 0)
        rc = configure_releases(run, err);
    if (rc != 0)
        return rc;
    rc = core->ledger.header->rebuilt ? keeper_rebuild(core->keeper, &found, err) : 0;
    if (rc != 0)
        return rc;
    run->adopted |= found > 0;
    troubles_look(core);   /* what the core before us did not tell */
    outputs_release(core); /* what the logger freed while no core lived */
    core->keeper->outputs_closing = true;
    core->keeper->stopping_all = core->ledger.header->shutdown_orders > 0;
    keeper_tell_releases(core->keeper);
    notify_drain(run->notify);
    keeper_resume(core->keeper);
    releases_begin(core->releases);
    keeper_autostart(core->keeper);
    jobs_begin(core->jobs);
    return 0;
}

static int open_doors(struct run *run, struct err *err)
{
    const struct control_hands hands = { .context = run,
                                         .reload = on_reload,
                                         .scale = on_scale,
                                         .shutdown = on_shutdown,
                                         .upgrade = on_upgrade };
    struct core *core = &run->core;

    int fd = copy_of(core, "control");
    core->control = control_new(core, fd, run->orders, &hands, err);
    if (!core->control)
        return (int)err->code;
    run->poke_watch = loop_watch_new(core->loop, core->poke, on_poke, run, err);
    run->channel_watch = loop_watch_new(core->loop, core->channel, on_channel, run, err);
    if (!run->poke_watch || !run->channel_watch)
        return (int)err->code;
    loop_watch_set(run->poke_watch, LOOP_READ);
    loop_watch_set(run->channel_watch, LOOP_READ | LOOP_HANGUP);
    return 0;
}

static void print_errors(const struct err_list *errors)
{
    for (size_t i = 0; i < errors->count; i++)
        fprintf(stderr, "%s\n", errors->lines[i]);
    if (errors->total > errors->count)
        fprintf(stderr, "... and %zu more\n", errors->total - errors->count);
}

/* The configuration decides about the exit code: 78 only before anything is kept. */
static int load(struct run *run)
{
    struct core *core = &run->core;
    bool first = store_get(&core->store, "plan") < 0;
    struct err_list errors;
    struct err err = { 0 };

    err_list_init(&errors);
    int rc = core_plan_load(core, &errors);
    if (rc != 0)
        print_errors(&errors);
    err_list_done(&errors);
    if (rc != 0)
        return first ? CORE_CONFIG_ERROR : 1;
    core_plan_settings(core, NULL);
    rc = open_control(core, &err);
    if (rc == 0)
        rc = open_notify(core, &err);
    if (rc == 0)
        return 0;
    fprintf(stderr, "supervisor: %s\n", err.text);
    if (!first)
        return 1;
    core_drop(core, "plan"); /* so that the guardian knows that nothing could be started */
    return CORE_CONFIG_ERROR;
}

static void announce(struct run *run)
{
    struct core *core = &run->core;
    const struct ledger_header *header = core->ledger.header;

    events_publish(core->events, "core-start",
                   json_pack("{s:i,s:I,s:b,s:s}", "pid", (int)getpid(), "restarts",
                             (json_int_t)header->core_restarts, "adopted", run->adopted, "version",
                             VERSION));
    log_info(run->adopted ? "core has taken over" : "core is up", "socket", core->socket, NULL);
}

static void run_free(struct run *run)
{
    struct core *core = &run->core;

    control_free(core->control);
    notify_free(run->notify);
    orders_free(run->orders);
    jobs_free(core->jobs);
    upgrade_free(run->upgrade);
    announce_free(run->announce);
    releases_free(core->releases);
    loop_watch_free(run->poke_watch);
    loop_watch_free(run->channel_watch);
    loop_timer_free(run->lag_timer);
    core_leave_free(run->leave);
    core_store_free(run->store);
    audit_free(core->audit); /* after all that may still answer a call */
    rights_free(core->rights);
    /* The keeper is not freed: its records are the ledger's, and they stay. */
    loop_free(core->loop);
}

static int run_core(struct run *run)
{
    struct core *core = &run->core;
    struct err err = { 0 };

    if (inherit(run, &err) != 0) {
        fprintf(stderr, "supervisor core: %s\n", err.text);
        return 1;
    }
    reserve_for_json();
    core->tunes = tuning_allowed();
    core->loop = loop_new(&err);
    core->audit = core->loop ? audit_new(core->loop, tell_audit, core) : NULL;
    int rc = core->audit ? load(run) : 1;
    if (rc != 0)
        return rc;
    core->ledger.header->core_loading = 1;
    if (make_parts(run, &err) != 0 || take_up(run, &err) != 0 || open_doors(run, &err) != 0) {
        core->ledger.header->core_loading = 0; /* we leave by ourselves: it has not killed us */
        log_error("the core cannot start", "error", err.text, NULL);
        return 1;
    }
    announce(run);
    core->ledger.header->core_loading = 0;
    core->ledger.header->core_strikes = 0;
    core_leave_go_on(run->leave);
    answer_ends(run);
    take_signal_orders(run);
    announce_changed(run->announce);
    release_config_follow(core);
    loop_run(core->loop, on_turn, run);
    run_free(run);
    return run->exit_code;
}

int core_run(const struct core_options *options)
{
    struct run *run = calloc(1, sizeof *run);

    if (!run)
        return 1;
    /* A terminal's ctrl-C goes to the whole group: the guardian decides what it means. */
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of the write */
    log_open(STDERR_FILENO, options->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "core");
    run->options = options;
    run->core.config = options->config;
    run->core.socket = options->socket;
    int code = run_core(run);
    free(run);
    return code;
}
