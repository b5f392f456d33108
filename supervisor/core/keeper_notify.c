/* keeper_notify.c - what services say of themselves (sd_notify), and who said it. */
#include "supervisor/core/keeper_notify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/jsonx.h"
#include "supervisor/core/events.h"
#include "supervisor/core/kept.h"
#include "supervisor/host/procfs.h"
#include "supervisor/core/remark.h"
#include "supervisor/core/unit_group.h"

enum {
    DEPTH_MAX = 64,          /* processes above the one that speaks */
    REFUSED_AGAIN_MS = 1000, /* a service that asks all the time does not fill our log */
};
static const int64_t most_us = INT64_C(86400) * 1000 * 1000; /* of a time that it asks for */

/* --- who --- */

struct ancestry {
    struct procfs_stat all[DEPTH_MAX]; /* from the process itself upwards */
    size_t count;
    bool inside; /* it ends below the guardian */
};

static void trace(const struct keeper *keeper, pid_t pid, struct ancestry *ret)
{
    pid_t guardian = (pid_t)keeper->core->ledger.header->guardian_pid;

    ret->count = 0;
    ret->inside = false;
    while (ret->count < DEPTH_MAX && pid > 1 && pid != guardian && pid != getpid()) {
        struct procfs_stat *at = &ret->all[ret->count];

        if (!procfs_stat(pid, at))
            return;
        ret->count++;
        pid = at->parent;
    }
    /* After a guardian's death what it had started has another parent. */
    ret->inside = pid == guardian || keeper->core->ledger.header->guardian_restarts > 0;
}

static struct unit *unit_at(const struct keeper *keeper, pid_t pid)
{
    ssize_t index = ledger_find_pid(&keeper->core->ledger, pid);

    return index >= 0 ? keeper->by_record[index] : NULL;
}

/* A name and a generation, so that what an earlier process left behind does not speak for the one
 * that runs. */
static struct unit *unit_named(const struct keeper *keeper, const struct procfs_name *name)
{
    const struct slot *slot = keeper_find(keeper, name->text);
    struct unit *units[] = { slot ? slot->main : NULL, slot ? slot->twin : NULL };

    for (size_t i = 0; i < 2; i++)
        if (units[i] &&
            keeper->core->ledger.records[units[i]->record].generation == name->generation)
            return units[i];
    return NULL;
}

static struct unit *unit_by_name(const struct keeper *keeper, const struct ancestry *ancestry)
{
    char *space = ancestry->inside ? malloc(PROCFS_SPACE_BYTES) : NULL;
    struct procfs_name name = { 0 };
    struct unit *unit = NULL;

    for (size_t i = ancestry->count; space && i > 0 && !name.text; i--)
        procfs_name(&ancestry->all[i - 1], space, &name);
    if (name.text)
        unit = unit_named(keeper, &name);
    free(name.text);
    free(space);
    return unit;
}

struct unit *keeper_unit_of(struct keeper *keeper, pid_t pid, bool *ret_main)
{
    struct unit *unit = unit_at(keeper, pid); /* also of one that is reaped by now */
    struct ancestry ancestry;

    *ret_main = unit && keeper->core->ledger.pids[unit->record] == pid;
    if (unit)
        return unit;
    unit = unit_group_holder(keeper, pid); /* exact, and cannot be got out of */
    if (unit && unit_spec(unit)->set->kill_mode != SPEC_KILL_PROCESS)
        return unit; /* otherwise what an earlier process left may be in there, too */
    trace(keeper, pid, &ancestry);
    for (size_t i = 1; i < ancestry.count; i++)
        if ((unit = unit_at(keeper, ancestry.all[i].pid)))
            return unit;
    for (size_t i = 0; i < ancestry.count && ancestry.inside; i++)
        if ((unit = unit_at(keeper, ancestry.all[i].session)))
            return unit;
    return unit_by_name(keeper, &ancestry);
}

static bool may_speak(const struct unit *unit, bool is_main)
{
    switch ((enum notify_access)unit->said.access) {
    case NOTIFY_ACCESS_NONE:
        return false;
    case NOTIFY_ACCESS_MAIN:
        return is_main;
    case NOTIFY_ACCESS_ALL:
        return true;
    case NOTIFY_ACCESS_UNSAID:
        break;
    }
    return unit_spec(unit)->set->notify_access == SPEC_NOTIFY_ALL ||
           (unit_spec(unit)->set->notify_access == SPEC_NOTIFY_MAIN && is_main);
}

/* --- what --- */

static void publish(struct unit *unit, const char *what, const char *key, int64_t value)
{
    json_t *details = json_object();

    jsonx_set_text(details, "instance", unit->slot->name);
    jsonx_set_text(details, "says", what);
    if (key)
        jsonx_set_int(details, key, value);
    events_publish(unit->keeper->core->events, "notify", details);
}

/* Of a library that it uses; a failed start may have no number for it. */
static void take_error_name(struct unit *unit, const char *of, const char *name)
{
    char text[UNIT_ERROR_MAX];

    snprintf(text, sizeof text, "%s %s", of, name);
    if (!name[0] || strcmp(unit->error, text) == 0)
        return;
    remark_set(&unit->error, UNIT_ERROR_MAX, "%s", text);
    json_t *details = json_object();
    jsonx_set_text(details, "instance", unit->slot->name);
    jsonx_set_text(details, "says", strcmp(of, "Varlink") == 0 ? "VARLINKERROR" : "BUSERROR");
    jsonx_set_text(details, "name", name);
    events_publish(unit->keeper->core->events, "notify", details);
}

static void take_state(struct unit *unit, const struct notify_message *message)
{
    struct unit_said *said = &unit->said;

    if (message->reloading) {
        bool first = !said->reloading;
        said->reloading = true;
        said->reload_us =
            message->monotonic_us > 0 ? message->monotonic_us : clock_mono_ms() * 1000 + 999;
        if (first)
            publish(unit, "RELOADING=1", NULL, 0);
    }
    if (message->ready && said->reloading && !message->reloading) {
        said->reloading = false;
        publish(unit, "READY=1", NULL, 0);
    }
    if (message->error > 0 && said->error != message->error) {
        said->error = (int32_t)message->error;
        publish(unit, "ERRNO", "errno", said->error);
    }
    take_error_name(unit, "D-Bus", message->bus_error);
    take_error_name(unit, "Varlink", message->varlink_error);
    if (message->exit_status >= 0) {
        said->has_exit_status = true;
        said->exit_status = (int32_t)message->exit_status;
    }
    if (message->access != NOTIFY_ACCESS_UNSAID)
        said->access = (uint8_t)message->access;
    if (message->has_status)
        remark_set(&unit->status, UNIT_STATUS_MAX, "%s", message->status);
}

static void take_more_time(struct unit *unit, int64_t us)
{
    const struct lifecycle_policy policy = keeper_policy(unit);
    int64_t until = loop_now_ms(unit->keeper->core->loop) + (us < most_us ? us : most_us) / 1000;

    if (until > unit->said.extended_ms)
        unit->said.extended_ms = until;
    if (lifecycle_extend(&unit->body.lc, &policy, until))
        keeper_arm(unit);
}

static void take_watchdog_time(struct unit *unit, int64_t us)
{
    struct unit_said *said = &unit->said;

    said->has_watchdog = true;
    said->watchdog_ms = ((us < most_us ? us : most_us) + 999) / 1000;
}

static void take_fds(struct keeper *keeper, struct unit *unit, const struct notify_message *message)
{
    const struct slot *slot = unit->slot;
    int64_t now = loop_now_ms(keeper->core->loop);

    if (message->fd_remove && message->fd_name[0])
        kept_remove(keeper->kept, slot->name, message->fd_name);
    if (!message->fd_store || message->nfds == 0 || message->main_pidfd)
        return;
    size_t refused =
        kept_put(keeper->kept, slot->name, message->fd_name, !message->fd_unpolled,
                 slot->removed ? 0 : slot->spec->set->fd_store_max, message->fds, message->nfds);
    if (refused > 0 && now >= keeper->refused_told_ms + REFUSED_AGAIN_MS) {
        keeper->refused_told_ms = now;
        log_warn("a descriptor is not kept: see fd_store_max", "instance", slot->name, NULL);
    }
}

static void take_end(struct keeper *keeper, struct unit *unit, const struct notify_message *message)
{
    if (!message->stopping || unit->said.stopping)
        return;
    unit->said.stopping = true;
    publish(unit, "STOPPING=1", NULL, 0);
    keeper_apply(keeper, unit, LIFECYCLE_EV_LEAVING);
}

void keeper_notified(struct keeper *keeper, const struct notify_message *message)
{
    bool is_main;
    struct unit *unit = keeper_unit_of(keeper, message->sender, &is_main);

    if (!unit || !may_speak(unit, is_main) ||
        !lifecycle_has_process((enum lifecycle_state)unit->body.lc.state)) {
        log_debug("a notification that does not count", "instance", unit ? unit->slot->name : "",
                  NULL);
        return;
    }
    if (message->main_pidfd)
        keeper_main_take_pidfd(keeper, unit, message->nfds == 1 ? message->fds[0] : -1);
    else if (message->main_pid > 0)
        keeper_main_take(keeper, unit, (pid_t)message->main_pid);
    take_state(unit, message);
    take_fds(keeper, unit, message);
    if (message->restart_reset)
        lifecycle_forgive(&unit->body.lc);
    if (message->extend_timeout_us > 0)
        take_more_time(unit, message->extend_timeout_us);
    if (message->watchdog_us >= 0)
        take_watchdog_time(unit, message->watchdog_us);
    if (message->watchdog || message->watchdog_us >= 0)
        keeper_watchdog_fed(unit);
    if (message->ready)
        keeper_told_ready(unit, UNIT_TOLD_NOTIFY);
    else
        keeper_save(unit);
    take_end(keeper, unit, message);
    if (message->watchdog_trigger)
        keeper_watchdog_triggered(unit);
}
