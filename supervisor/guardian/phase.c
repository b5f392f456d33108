/* phase.c - the contract is in phase.h. */
#include "supervisor/guardian/phase.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/child.h"
#include "supervisor/guardian/handover.h"
#include "supervisor/guardian/orders.h"
#include "supervisor/guardian/tree.h"

enum {
    UPGRADE_WAIT_MS = 5000,  /* for core and logger to leave by themselves */
    FLUSH_WAIT_MS = 10000,   /* for the logger to finish at the end */
    SWEEP_GRACE_MS = 1000,   /* between TERM and KILL of what an orderly shutdown left over */
    DOOMED_GRACE_MS = 10000, /* the same when no core could stop the services */
    SWEEP_KILL_MS = 50,      /* between rounds of KILL */
    SWEEP_MAX_MS = 30000,
    HOPELESS_FAILURES = 5, /* deaths of the core in a row: it cannot do the shutdown */
    STRIKES_MAX = 3,
};

bool phase_is_log(const char *name)
{
    size_t len = strlen(name);
    return strncmp(name, "log.", 4) == 0 && len > 6 && strcmp(name + len - 2, ".r") == 0;
}

static bool logger_wants(const char *name)
{
    static const char *const names[] = { "ledger", "streams", "poke",   "poke.logger",
                                         "hold.r", "hold.w",  "channel" };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return phase_is_log(name);
}

static bool has_logs(const struct store *store)
{
    for (size_t i = 0; i < store->count; i++)
        if (phase_is_log(store->entries[i].name))
            return true;
    return false;
}

static const char *program(const struct state *state)
{
    return state->options->program ? state->options->program : child_own_program();
}

static void start_failed(struct role *role, const struct err *err, int64_t now_ms)
{
    log_error(err->text, NULL);
    role_ended(role, now_ms);
}

/* For the thread that becomes its parent. */
struct birth {
    struct state *state;
    struct role *role;
    bool (*wanted)(const char *name);
    char *const *argv;
    struct err err;
    int rc;
};

static void give_birth(void *context)
{
    struct birth *birth = context;
    struct state *state = birth->state;
    birth->rc = role_start(birth->role, &state->ledger, &state->store, birth->wanted,
                           program(state), birth->argv, &birth->err);
}

static void start_role(struct state *state, struct role *role, bool (*wanted)(const char *name),
                       char *const argv[], int64_t now_ms)
{
    struct birth birth = { .state = state, .role = role, .wanted = wanted, .argv = argv };
    nursery_do(&state->nursery, give_birth, &birth);
    if (birth.rc < 0)
        start_failed(role, &birth.err, now_ms);
    else
        watch_set(&state->watch, role == &state->core ? STATE_CORE : STATE_LOGGER, role->channel,
                  EPOLLIN);
}

static void start_core(struct state *state, int64_t now_ms)
{
    const struct guardian_options *options = state->options;
    const char *argv[8] = { "supervisor", "core" };
    size_t n = 2;
    if (options->config) {
        argv[n++] = "--config";
        argv[n++] = options->config;
    }
    if (options->socket) {
        argv[n++] = "--socket";
        argv[n++] = options->socket;
    }
    if (options->verbose)
        argv[n++] = "--verbose";
    if (state->core.starts > 0)
        atomic_fetch_add(&state->ledger.header->core_restarts, 1);
    start_role(state, &state->core, NULL, (char *const *)(uintptr_t)argv, now_ms);
}

static void start_logger(struct state *state, int64_t now_ms)
{
    char *const argv[] = { (char *)(uintptr_t) "supervisor", (char *)(uintptr_t) "logger", NULL };
    outbox_clear(&state->outbox); /* the inventory tells it everything */
    state->outbox_polled = false;
    state->outbox_retry_ms = -1;
    if (state->logger.starts > 0)
        atomic_fetch_add(&state->ledger.header->logger_restarts, 1);
    start_role(state, &state->logger, logger_wants, argv, now_ms);
}

/* Not while the old one still runs, nor before there is anything to log. */
static bool logger_wanted(const struct state *state)
{
    if (state->logger.pid > 0 || state->old_logger_kill_ms >= 0)
        return false;
    if (state->phase == STATE_FLUSHING)
        return true;
    return state->phase == STATE_RUNNING && (state->logger.starts > 0 || has_logs(&state->store));
}

static void signal_role(const struct role *role, int signum)
{
    if (role->pid > 0)
        kill(role->pid, signum);
}

static void signal_rest(const struct state *state, int signum)
{
    if (!tree_empty())
        tree_signal(signum);
    if (!state->spare_strangers)
        strangers_signal(&state->strangers, signum);
}

static void begin_sweep(struct state *state, int64_t now_ms, int grace_ms)
{
    state->phase = STATE_SWEEPING;
    state->phase_due_ms = now_ms + grace_ms;
    state->phase_end_ms = now_ms + SWEEP_MAX_MS;
    signal_rest(state, SIGTERM);
}

static void step_sweep(struct state *state, int64_t now_ms)
{
    if (tree_empty() && (state->spare_strangers || state->strangers.living == 0)) {
        state->phase = STATE_DONE;
    } else if (now_ms >= state->phase_end_ms) {
        log_error("leaving although some processes cannot be killed", NULL);
        state->phase = STATE_DONE;
    } else if (now_ms >= state->phase_due_ms) {
        signal_rest(state, SIGKILL);
        state->phase_due_ms = now_ms + SWEEP_KILL_MS;
    }
}

static void begin_flush(struct state *state, int64_t now_ms)
{
    bool any = state->logger.pid > 0 || state->logger.starts > 0 || state->old_logger_kill_ms >= 0;
    if (!any) {
        begin_sweep(state, now_ms, SWEEP_GRACE_MS);
        return;
    }
    state->phase = STATE_FLUSHING;
    state->phase_due_ms = now_ms + FLUSH_WAIT_MS;
    state->logger.due_ms = now_ms;
}

static void step_flush(struct state *state, int64_t now_ms)
{
    if (now_ms < state->phase_due_ms)
        return;
    log_error("the logger does not finish: killing it, the last output may be missing", NULL);
    signal_role(&state->logger, SIGKILL);
    begin_sweep(state, now_ms, SWEEP_GRACE_MS);
}

/* Nothing could be started, so nothing is to be flushed.  What an earlier supervisor left running
 * goes on, and its ledger stays for the next attempt. */
static void refuse(struct state *state, int64_t now_ms)
{
    state->exit_code = 1;
    state->spare_strangers = state->strangers.living > 0;
    begin_sweep(state, now_ms, SWEEP_GRACE_MS);
}

static void go_on(struct state *state, int64_t now_ms)
{
    state->phase = STATE_RUNNING;
    state->phase_due_ms = -1;
    state->core.due_ms = state->logger.due_ms = now_ms;
}

/* Pidfds of strangers are not handed on: the new guardian opens them again from the ledger. */
static void exec_upgrade(struct state *state, int64_t now_ms)
{
    const struct guardian_options *options = state->options;
    const char *argv[10] = { "supervisor", "guardian" };
    size_t n = 2;
    struct err err;
    if (options->config) {
        argv[n++] = "--config";
        argv[n++] = options->config;
    }
    if (options->socket) {
        argv[n++] = "--socket";
        argv[n++] = options->socket;
    }
    if (options->verbose)
        argv[n++] = "--verbose";
    log_info("executing the new binary", "path", state->upgrade, NULL);
    store_exec(&state->store, state->upgrade, (char *const *)(uintptr_t)argv, &err);
    log_error("the upgrade failed, going on with the binary before", "reason", err.text, NULL);
    go_on(state, now_ms);
}

/* Services lose their parent, and nothing else. */
static void hand_over(struct state *state, int64_t now_ms)
{
    struct err err;
    if (handover_give(&state->upward, &state->store, state->options, &err) < 0) {
        log_error("the store cannot be handed over, going on", "reason", err.text, NULL);
        go_on(state, now_ms);
        return;
    }
    log_info("leaving, services go on", NULL);
    state->spare_strangers = true;
    state->phase = STATE_DONE;
}

static void step_upgrade(struct state *state, int64_t now_ms)
{
    if (state->core.pid == 0 && state->logger.pid == 0) {
        if (state->upgrade)
            exec_upgrade(state, now_ms);
        else
            hand_over(state, now_ms);
    } else if (now_ms >= state->phase_due_ms) {
        signal_role(&state->core, SIGKILL);
        signal_role(&state->logger, SIGKILL);
        state->phase_due_ms = now_ms + UPGRADE_WAIT_MS;
    }
}

static void begin_upgrade(struct state *state, char *path, int64_t now_ms)
{
    free(state->upgrade);
    state->upgrade = path;
    state->phase = STATE_UPGRADING;
    state->phase_due_ms = now_ms + UPGRADE_WAIT_MS;
    signal_role(&state->logger, SIGTERM);
}

void phase_upgrade(struct state *state, const char *path, int64_t now_ms)
{
    char *copy = state->phase == STATE_RUNNING ? strdup(path) : NULL;
    if (copy) /* else it is leaving already; or no memory: the core is started again as it was */
        begin_upgrade(state, copy, now_ms);
}

void phase_hand_over(struct state *state, int64_t now_ms)
{
    if (state->phase == STATE_RUNNING)
        begin_upgrade(state, NULL, now_ms);
}

/* Three deaths while loading the same ledger: it may be the ledger that kills. */
static void count_strike(struct state *state)
{
    struct ledger_header *header = state->ledger.header;
    if (!atomic_exchange(&header->core_loading, 0)) {
        atomic_store(&header->core_strikes, 0);
        return;
    }
    if (atomic_fetch_add(&header->core_strikes, 1) + 1 < STRIKES_MAX)
        return;
    log_error("the core died three times while loading the ledger: it starts with an empty one "
              "and looks for the running services",
              NULL);
    for (size_t i = ROLE_LOGGER_RECORD + 1; i < ledger_used(&state->ledger); i++)
        ledger_release(&state->ledger, i);
    atomic_store(&header->core_strikes, 0);
    atomic_store(&header->rebuilt, 1);
}

static bool is_config_error(const struct state *state)
{
    return state->core.how.code == CLD_EXITED && state->core.how.status == GUARDIAN_CONFIG_ERROR &&
           store_get(&state->store, "plan") < 0;
}

/* A core that lives, however many died before it, is asked to do it. */
static void give_up_if_hopeless(struct state *state, int64_t now_ms)
{
    if (state->core.pid > 0 || state->core.failures < HOPELESS_FAILURES ||
        state->phase != STATE_RUNNING || !orders_shutting_down(state->ledger.header))
        return;
    log_error("no core stays alive to do the shutdown: stopping everything without it", NULL);
    state->exit_code = 1;
    signal_role(&state->logger, SIGTERM);
    begin_sweep(state, now_ms, DOOMED_GRACE_MS);
}

void phase_core_ended(struct state *state, int64_t now_ms)
{
    char text[ROLE_TEXT_MAX];
    struct ledger_header *header = state->ledger.header;
    bool leaving = state->phase == STATE_UPGRADING;
    role_how(&state->core, &state->ledger, text);
    watch_end(&state->watch, STATE_CORE);
    role_ended(&state->core, now_ms);
    if (state->phase == STATE_SWEEPING)
        return;
    if (atomic_load(&header->finished)) {
        state->exit_code = header->finish_code;
        begin_flush(state, now_ms);
    } else if (is_config_error(state)) {
        refuse(state, now_ms);
    } else if (!leaving) {
        log_error("core died, starting another", "how", text, NULL);
        count_strike(state);
        give_up_if_hopeless(state, now_ms);
    }
}

void phase_logger_ended(struct state *state, int64_t now_ms)
{
    char text[ROLE_TEXT_MAX];
    bool good = state->logger.how.code == CLD_EXITED && state->logger.how.status == 0;
    role_how(&state->logger, &state->ledger, text);
    watch_end(&state->watch, STATE_LOGGER);
    role_ended(&state->logger, now_ms);
    outbox_clear(&state->outbox);
    if (state->phase == STATE_FLUSHING && good)
        begin_sweep(state, now_ms, SWEEP_GRACE_MS);
    else if (state->phase == STATE_RUNNING && good)
        log_info("logger has written everything and left", NULL);
    else if (state->phase == STATE_RUNNING || state->phase == STATE_FLUSHING)
        log_error("logger died, starting another", "how", text, NULL);
}

void phase_shutdown(struct state *state, int64_t now_ms)
{
    if (state->phase == STATE_SWEEPING)
        state->phase_due_ms = now_ms; /* ordered again: no more grace */
    give_up_if_hopeless(state, now_ms);
}

static void step_running(struct state *state, int64_t now_ms)
{
    if (state->core.pid == 0 && now_ms >= state->core.due_ms)
        start_core(state, now_ms);
}

static void kill_old_logger(struct state *state, int64_t now_ms)
{
    if (state->old_logger_kill_ms < 0 || now_ms < state->old_logger_kill_ms)
        return;
    child_pidfd_signal(strangers_pidfd(&state->strangers, ROLE_LOGGER_RECORD), SIGKILL);
    state->old_logger_kill_ms = now_ms + UPGRADE_WAIT_MS;
}

void phase_step(struct state *state, int64_t now_ms)
{
    kill_old_logger(state, now_ms);
    switch (state->phase) {
    case STATE_RUNNING:
        step_running(state, now_ms);
        break;
    case STATE_UPGRADING:
        step_upgrade(state, now_ms);
        break;
    case STATE_FLUSHING:
        step_flush(state, now_ms);
        break;
    case STATE_SWEEPING:
        step_sweep(state, now_ms);
        break;
    case STATE_DONE:
        break;
    }
    if (logger_wanted(state) && now_ms >= state->logger.due_ms)
        start_logger(state, now_ms);
}

static void sooner(int64_t *due, int64_t at)
{
    if (at >= 0 && (*due < 0 || at < *due))
        *due = at;
}

int64_t phase_due(const struct state *state)
{
    int64_t due = state->phase == STATE_RUNNING ? -1 : state->phase_due_ms;
    if (state->phase == STATE_RUNNING && state->core.pid == 0)
        sooner(&due, state->core.due_ms);
    if (logger_wanted(state))
        sooner(&due, state->logger.due_ms);
    sooner(&due, state->old_logger_kill_ms);
    return due;
}
