/* guardian.c - the contract is in guardian.h.
 *
 * One loop over epoll: signals (SIGCHLD among them), the channels of core and logger, pidfds of
 * strangers.  It sleeps without a timeout unless something is due.
 */
#include "supervisor/guardian/guardian.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervisor/guardian/alone.h"
#include "supervisor/guardian/early.h"
#include "supervisor/guardian/handover.h"
#include "supervisor/guardian/leave.h"
#include "supervisor/guardian/orders.h"
#include "supervisor/guardian/phase.h"
#include "supervisor/guardian/state.h"

enum {
    EVENTS_MAX = 64,
    SWEEP_MAX = 4096, /* exits a turn, so that a storm does not keep us from signals */
    MESSAGES_MAX = 256,
    OUTBOX_RETRY_MS = 10,
    /* A storm: so many orphans in such a window.  Reaping one per wake-up among thousands of living
     * children is quadratic, so the sweeps are then spaced. */
    STORM_ORPHANS = 32,
    STORM_WINDOW_MS = 10,
    STORM_SPACING_MS = 1,
    /* Of several that end together SIGCHLD tells of one.  To look through thousands of services
     * for the others at each end costs more than the end itself. */
    NURSERY_SPACING_MS = 2,
    OLD_LOGGER_MS = 5000, /* for the logger of a dead guardian to leave */
    FAILED_WAIT_MS = 100, /* after an epoll that fails for no good reason */
};

static void on_exit_seen(void *context, const struct reaper_exit *how)
{
    struct state *state = context;
    struct role *role = how->pid == state->core.pid     ? &state->core
                        : how->pid == state->logger.pid ? &state->logger
                                                        : NULL;
    ssize_t index = role ? (ssize_t)role->record : ledger_find_pid(&state->ledger, how->pid);
    if (index >= 0 && ledger_living(&state->ledger, (size_t)index)) {
        ledger_record_exit(&state->ledger, (size_t)index, how, true);
    } else {
        atomic_fetch_add(&state->ledger.header->orphans, 1);
        state->swept_orphans++;
    }
    if (role) {
        role->how = *how;
        role->ended = true;
    }
}

static void on_stranger_end(void *context, size_t index, const struct reaper_exit *how, bool known)
{
    struct state *state = context;
    ledger_record_exit(&state->ledger, index, how, known);
    if (index == ROLE_LOGGER_RECORD)
        state->old_logger_kill_ms = -1;
    state_poke(state);
}

static void listen_to_signals(struct state *state, bool on)
{
    watch_set(&state->watch, STATE_SIGNALS, state->signals, on ? EPOLLIN : 0);
}

/* Decides from what a sweep found whether SIGCHLD may wake us up again or a timer does. */
static void space_sweeps(struct state *state, size_t orphans, int64_t now_ms)
{
    if (now_ms - state->window_ms >= STORM_WINDOW_MS) {
        state->window_ms = now_ms;
        state->window_orphans = 0;
    }
    state->window_orphans += (unsigned)orphans;
    bool storm = state->storm ? orphans > 0 : state->window_orphans >= STORM_ORPHANS;
    if (storm)
        state->sweep_due_ms = now_ms + STORM_SPACING_MS;
    if (storm != state->storm)
        listen_to_signals(state, !storm);
    state->storm = storm;
}

static bool take_messages(struct state *state, struct role *role, size_t max);

/* Those whom SIGCHLD did not tell of: looked for when it comes twice in a short time, or a moment
 * after it came once. */
static size_t sweep_nursery(struct state *state, bool told, int64_t now_ms)
{
    if (!state->nursery.open)
        return 0; /* all children are our own */
    if (told && state->nursery_due_ms < 0) {
        state->nursery_due_ms = now_ms + NURSERY_SPACING_MS;
        return 0;
    }
    state->nursery_due_ms = -1;
    return reaper_sweep(on_exit_seen, state, SWEEP_MAX);
}

static void sweep(struct state *state)
{
    state->sweep_due_ms = -1;
    state->swept_orphans = 0;
    /* The core begins with the one that SIGCHLD told of while we look for others among all. */
    bool told = state->ended_pid > 0 && reaper_one(state->ended_pid, on_exit_seen, state);
    if (told)
        state_poke(state);
    state->ended_pid = 0;
    int64_t now_ms = clock_mono_ms();
    size_t seen = reaper_sweep_own(on_exit_seen, state, SWEEP_MAX);
    seen += sweep_nursery(state, told, now_ms);
    space_sweeps(state, state->swept_orphans, now_ms);
    if (seen >= SWEEP_MAX)
        state->sweep_due_ms = now_ms;
    if (seen > 0) /* an orphan may be the last process that an instance left behind */
        state_poke(state);
    if (state->core.ended) {
        /* What it sent before it died counts; all of it is in the queue now. */
        if (take_messages(state, &state->core, SIZE_MAX)) {
            state->core.ended = false;
            phase_core_ended(state, now_ms);
        } else {
            state->sweep_due_ms = now_ms + WATCH_RETRY_MS;
        }
    }
    if (state->logger.ended) {
        state->logger.ended = false;
        phase_logger_ended(state, now_ms);
    }
}

static void flush_outbox(struct state *state)
{
    if (state->logger.channel < 0)
        return;
    enum outbox_state left = outbox_flush(&state->outbox, state->logger.channel, &state->store);
    bool polled = left == OUTBOX_FULL_PAIR;
    state->outbox_retry_ms = left == OUTBOX_LATER ? clock_mono_ms() + OUTBOX_RETRY_MS : -1;
    if (left == OUTBOX_BROKEN) /* it is dying; the next one gets the inventory */
        outbox_clear(&state->outbox);
    if (polled != state->outbox_polled)
        watch_set(&state->watch, STATE_LOGGER, state->logger.channel,
                  polled ? EPOLLIN | EPOLLOUT : EPOLLIN);
    state->outbox_polled = polled;
}

static void tell_logger(struct state *state, enum store_op op, const char *name)
{
    if (!phase_is_log(name) || state->logger.pid == 0)
        return; /* a logger that starts later gets the inventory */
    if (!outbox_add(&state->outbox, op, name)) {
        log_error("the logger does not take what it is told, replacing it", NULL);
        outbox_clear(&state->outbox);
        kill(state->logger.pid, SIGKILL);
        return;
    }
    flush_outbox(state);
}

/* For want of memory or descriptors.  The core has it still. */
static void ask_for_it_again(struct state *state, const char *why)
{
    log_error("cannot keep what the core gave, it is asked to give it again", "reason", why, NULL);
    atomic_fetch_add(&state->ledger.header->store_lost, 1);
    state_poke(state);
}

static void on_message(struct state *state, struct store_message *message)
{
    struct err err;
    switch (message->op) {
    case STORE_PUT:
        if (store_put(&state->store, message->name, message->fd, &err) < 0)
            ask_for_it_again(state, err.text);
        else
            tell_logger(state, STORE_PUT, message->name);
        break;
    case STORE_DROP:
        store_drop(&state->store, message->name);
        tell_logger(state, STORE_DROP, message->name);
        break;
    case STORE_UPGRADE:
        phase_upgrade(state, message->name, clock_mono_ms());
        break;
    case STORE_TELL:
        upward_tell(&state->upward, message->name, clock_mono_ms());
        break;
    case STORE_HAND_OVER:
        phase_hand_over(state, clock_mono_ms());
        break;
    case STORE_NOPS:
        break;
    }
}

/* Reads at most `max` messages; false: they cannot be read just now, and are waiting.  At the end
 * of file the descriptor is not looked at any more, but stays until the process is reaped. */
static bool take_messages(struct state *state, struct role *role, size_t max)
{
    for (size_t i = 0; i < max && role->channel >= 0; i++) {
        struct store_message message;
        struct err err;
        int rc = store_receive(role->channel, &message, &err);
        if (rc == 0)
            return true;
        if (rc == ERR_LIMIT && role == &state->core) {
            ask_for_it_again(state, err.text);
        } else if (rc == ERR_PROTOCOL || rc == ERR_LIMIT) {
            log_error("a message is lost", "from", role->name, "reason", err.text, NULL);
        } else if (rc == ERR_UNREACHABLE) {
            watch_end(&state->watch, role == &state->core ? STATE_CORE : STATE_LOGGER);
            return true;
        } else if (rc < 0) {
            watch_rest(&state->watch, role == &state->core ? STATE_CORE : STATE_LOGGER);
            return false;
        } else if (role == &state->core) {
            on_message(state, &message);
        } else if (message.fd >= 0) {
            close(message.fd); /* the logger has nothing to tell */
        }
    }
    return true;
}

static void on_signals(struct state *state)
{
    struct signalfd_siginfo infos[16];
    ssize_t n = read(state->signals, infos, sizeof(infos));
    for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(*infos); i++) {
        int signum = (int)infos[i].ssi_signo;
        enum orders_kind kind = orders_of(signum);
        if (kind == ORDERS_CHILD) {
            state->sweep_due_ms = 0;
            state->ended_pid = (pid_t)infos[i].ssi_pid;
        } else if (kind != ORDERS_NONE) {
            orders_record(state->ledger.header, kind, signum);
            state_poke(state);
            if (kind == ORDERS_SHUTDOWN)
                phase_shutdown(state, clock_mono_ms());
        }
    }
}

static void on_event(struct state *state, const struct epoll_event *event)
{
    switch ((enum state_source)(event->data.u64 & 0xff)) {
    case STATE_SIGNALS:
        on_signals(state);
        break;
    case STATE_CORE:
        take_messages(state, &state->core, MESSAGES_MAX);
        break;
    case STATE_LOGGER:
        if (event->events & EPOLLOUT)
            flush_outbox(state);
        take_messages(state, &state->logger, MESSAGES_MAX);
        break;
    case STATE_STRANGER:
        strangers_event(&state->strangers, &state->ledger, (size_t)(event->data.u64 >> 8),
                        event->events, on_stranger_end, state);
        break;
    }
}

static int64_t soonest(int64_t a, int64_t b) { return a < 0 ? b : b < 0 || a < b ? a : b; }

/* Milliseconds to sleep, -1 = until something happens. */
static int sleep_ms(const struct state *state)
{
    int64_t due = soonest(phase_due(state), state->sweep_due_ms);
    due = soonest(due, soonest(state->outbox_retry_ms, strangers_due(&state->strangers)));
    due = soonest(due, soonest(state->watch.due_ms, upward_due(&state->upward)));
    due = soonest(due, state->nursery_due_ms);
    if (due < 0)
        return -1;
    int64_t left = due - clock_mono_ms();
    return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

static bool is_due(int64_t at_ms, int64_t now_ms) { return at_ms >= 0 && now_ms >= at_ms; }

/* Everything that a clock decides. */
static void tick(struct state *state)
{
    int64_t now_ms = clock_mono_ms();
    watch_tick(&state->watch, now_ms);
    if (is_due(state->sweep_due_ms, now_ms) || is_due(state->nursery_due_ms, now_ms))
        sweep(state);
    if (state->outbox_retry_ms >= 0 && now_ms >= state->outbox_retry_ms)
        flush_outbox(state);
    strangers_tick(&state->strangers, &state->ledger, now_ms, on_stranger_end, state);
    upward_tick(&state->upward, now_ms);
    phase_step(state, now_ms);
}

static void loop(struct state *state)
{
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        tick(state);
        if (state->phase == STATE_DONE)
            return;
        int n = epoll_wait(state->epoll, events, EVENTS_MAX, sleep_ms(state));
        if (n < 0 && errno != EINTR)
            usleep(FAILED_WAIT_MS * 1000);
        for (int i = 0; i < n; i++)
            on_event(state, &events[i]);
    }
}

static int run_loop(struct state *state)
{
    loop(state);
    int code = state->exit_code;
    int signum = (int)atomic_load(&state->ledger.header->shutdown_signal);
    bool ordered = orders_shutting_down(state->ledger.header);
    state_done(state, !state->spare_strangers);
    if (ordered && early_is_host_init())
        leave_host(leave_how_of(signum));
    return code;
}

static void adopt(struct state *state)
{
    strangers_adopt(&state->strangers, &state->ledger, on_stranger_end, state);
    if (strangers_pidfd(&state->strangers, ROLE_LOGGER_RECORD) >= 0)
        state->old_logger_kill_ms = clock_mono_ms() + OLD_LOGGER_MS;
}

static void open_log(const struct guardian_options *options)
{
    log_open(STDERR_FILENO, options->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "guardian");
}

static int refuse_start(struct state *state, const struct err *err)
{
    fprintf(stderr, "supervisor: %s\n", err->text);
    state_done(state, false);
    return 1;
}

int guardian_run(const struct guardian_options *options)
{
    struct state state;
    struct err err;
    bool takeover = false;
    open_log(options);
    state_init(&state, options);
    upward_init(&state.upward, false);
    if (state_listen(&state, &err) < 0 || state_open_ledger(&state, &takeover, &err) < 0 ||
        state_fill_store(&state, &err) < 0)
        return refuse_start(&state, &err);
    if (takeover) {
        log_warn("guardian and core before are dead, taking over what still runs", NULL);
        atomic_fetch_add(&state.ledger.header->guardian_restarts, 1);
        adopt(&state);
    }
    return run_loop(&state);
}

/* The core's record has our own pid in it, or that of a core that has left for the upgrade. */
static void forget_core(struct ledger *ledger)
{
    ledger_rearm(ledger, ROLE_CORE_RECORD, ledger->records[ROLE_CORE_RECORD].generation);
    atomic_store(&ledger->header->core_loading, 0);
}

/* Services are below us already, and we may be PID 1: what cannot be done now is done later, there
 * is no way back. */
static void insist(struct state *state, int (*step)(struct state *state, struct err *err))
{
    struct err err;
    while (step(state, &err) < 0) {
        log_error("cannot take over yet, trying again", "reason", err.text, NULL);
        usleep(FAILED_WAIT_MS * 1000);
    }
}

/* What cannot be read at all will not be readable later either. */
static int inherit_store(struct state *state, struct err *err)
{
    int rc = store_inherit(state->inventory_fd, &state->store, err);
    if (rc != ERR_CORRUPT)
        return rc;
    log_error("the inherited descriptors cannot be used", "reason", err->text, NULL);
    return 0;
}

int guardian_resume(const struct guardian_options *options, int inventory_fd, bool takeover)
{
    struct state state;
    open_log(options);
    state_init(&state, options);
    upward_init(&state.upward, takeover);
    state.inventory_fd = inventory_fd;
    insist(&state, state_listen);
    insist(&state, inherit_store);
    store_drop(&state.store, "channel"); /* the core's end of a pair that is no more */
    insist(&state, state_inherit_ledger);
    insist(&state, state_fill_store);
    forget_core(&state.ledger);
    if (takeover) {
        log_warn("the guardian was killed, taking over", NULL);
        atomic_fetch_add(&state.ledger.header->guardian_restarts, 1);
    }
    adopt(&state);
    return run_loop(&state);
}

/* Some of the orders to the guardian before may have come after its core had left. */
int guardian_continue(const struct guardian_options *options, struct handover *handed)
{
    struct state state;
    open_log(options);
    state_init(&state, options);
    upward_init(&state.upward, false);
    state.store = handed->store;
    insist(&state, state_listen);
    insist(&state, state_inherit_ledger);
    insist(&state, state_fill_store);
    forget_core(&state.ledger);
    orders_forget(state.ledger.header);
    orders_record(state.ledger.header, ORDERS_RELOAD, SIGHUP);
    atomic_fetch_add(&state.ledger.header->guardian_restarts, 1);
    log_info("started anew: services go on", NULL);
    handover_release(handed);
    adopt(&state);
    return run_loop(&state);
}

int guardian_alone(char **argv) { return alone_run(argv); }
