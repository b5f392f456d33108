/* core_leave.c - the contract is in core_leave.h. */
#include "supervisor/core/core_leave.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/pidns.h"
#include "supervisor/core/audit.h"
#include "supervisor/core/core_cgroup.h"
#include "supervisor/core/events.h"
#include "supervisor/core/jobs.h"
#include "supervisor/core/keeper.h"

enum {
    HURRY_AGAIN_MS = 1000,
    GIVE_UP_MS = 10000, /* of killing */
};

struct core_leave {
    struct core *core;
    struct announce *announce;
    void (*finished)(void *context);
    void *context;
    struct loop_timer *timer;
    bool begun, hurried, given_up, done;
    int64_t give_up_ms; /* when what cannot be killed is left behind; 0 = nothing is killed yet */
};

/* The signal that orders the same of the guardian, 0 = none does. */
static uint32_t signal_for(const char *action)
{
    return strcmp(action, "reboot") == 0     ? SIGTERM
           : strcmp(action, "poweroff") == 0 ? SIGUSR2
           : strcmp(action, "halt") == 0     ? SIGUSR1
                                             : 0;
}

int core_leave_accept(struct core *core, const char *action, struct err *err)
{
    struct ledger_header *header = core->ledger.header;
    bool is_host = header->guardian_pid == 1 && pidns_is_initial();
    uint32_t signum = signal_for(action);

    if (signum == 0 && strcmp(action, "exit") != 0)
        return err_set(err, ERR_INVALID, "\"%.32s\" is not what can come after a shutdown", action);
    if (is_host && signum == 0)
        return err_set(err, ERR_STATE,
                       "this supervisor is the init of its host, which cannot be without one: say "
                       "--poweroff, --reboot or --halt");
    if (!is_host && signum != 0)
        return err_set(err, ERR_STATE, "this supervisor is not the init of a host: it cannot %s it",
                       action);
    if (signum != 0)
        header->shutdown_signal = signum;
    return 0;
}

void core_leave_begin(struct core_leave *leave, int code, const char *why)
{
    struct core *core = leave->core;
    struct ledger_header *header = core->ledger.header;

    if (leave->begun) {
        leave->hurried = true;
        keeper_shutdown(core->keeper, true);
        loop_timer_arm(leave->timer, HURRY_AGAIN_MS);
        return;
    }
    leave->begun = true;
    if (header->shutdown_orders == 0) { /* not by a signal, which the guardian has counted */
        header->finish_code = code;
        header->shutdown_orders = header->shutdown_seen = 1;
    }
    log_info("shutting down", "why", why, NULL);
    events_publish(core->events, "shutdown", json_pack("{s:s}", "why", why));
    announce_stopping(leave->announce, core->plan->supervisor.shutdown_timeout_ms);
    keeper_shutdown(core->keeper, false);
    loop_timer_arm(leave->timer, core->plan->supervisor.shutdown_timeout_ms);
}

bool core_leave_begun(const struct core_leave *leave) { return leave->begun; }

void core_leave_go_on(struct core_leave *leave)
{
    struct ledger_header *header = leave->core->ledger.header;

    if (header->shutdown_orders == 0 || leave->begun)
        return;
    header->shutdown_seen = header->shutdown_orders;
    core_leave_begin(leave, header->finish_code, "it was ordered before the core was replaced");
}

/* --- the end --- */

static void give_up(struct core_leave *leave)
{
    const struct keeper *keeper = leave->core->keeper;

    for (size_t i = 0; i < keeper->nslots; i++)
        if (keeper->slots[i]->twin || !lifecycle_settled(keeper_state(keeper->slots[i])))
            log_error("leaving although it cannot be killed", "instance", keeper->slots[i]->name,
                      NULL);
    leave->given_up = true;
    core_leave_turn(leave);
}

static void on_timer(void *context)
{
    struct core_leave *leave = context;
    int64_t now_ms = clock_mono_ms();

    if (!leave->hurried)
        log_warn("shutdown_timeout is over, killing what is left", NULL);
    leave->hurried = true;
    if (leave->give_up_ms == 0)
        leave->give_up_ms = now_ms + GIVE_UP_MS;
    if (now_ms >= leave->give_up_ms) {
        give_up(leave);
        return;
    }
    keeper_shutdown(leave->core->keeper, true);
    loop_timer_arm(leave->timer, HURRY_AGAIN_MS);
}

static void finish(struct core_leave *leave)
{
    struct core *core = leave->core;

    audit_let_go(core->audit);
    if (!leave->given_up)
        log_info("all services are down", NULL);
    core_cgroup_end(core);
    streams_order_finish(core->streams);
    core_wake_logger(core);
    if (core->socket[0] == '/') {
        unlink(core->socket);
        if (core->notify_name && core->notify_name[0] == '/')
            unlink(core->notify_name);
    }
    core->ledger.header->finished = 1;
    leave->done = true;
    leave->finished(leave->context);
}

void core_leave_turn(struct core_leave *leave)
{
    struct core *core = leave->core;
    bool down = leave->given_up || (leave->begun && keeper_all_down(core->keeper));

    if (leave->done || !down)
        return;
    /* How the last runs ended, and who ordered this, is being kept. */
    bool settled = jobs_settle(core->jobs) && audit_settled(core->audit);
    if (settled || leave->hurried)
        finish(leave);
}

struct core_leave *core_leave_new(struct core *core, struct announce *announce,
                                  void (*finished)(void *context), void *context)
{
    struct core_leave *leave = calloc(1, sizeof *leave);

    if (!leave)
        return NULL;
    *leave = (struct core_leave){
        .core = core, .announce = announce, .finished = finished, .context = context
    };
    leave->timer = loop_timer_new(core->loop, on_timer, leave);
    if (leave->timer)
        return leave;
    free(leave);
    return NULL;
}

void core_leave_free(struct core_leave *leave)
{
    if (!leave)
        return;
    loop_timer_free(leave->timer);
    free(leave);
}
