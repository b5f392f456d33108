/* keeper_watchdog.c - services that have to say WATCHDOG=1 in time.
 *
 * The timer is not armed anew with each message: it looks when it fires how long ago the last one
 * was.  Before it judges, the socket is read: a message may wait there that was sent in time.
 */
#include "supervisor/core/keeper_notify.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/unit.h"
#include "io/jsonx.h"
#include "supervisor/core/events.h"

enum { LATE_MS = 500 }; /* a timer that fires this late says that we did not run ourselves */

struct unit_watchdog {
    struct loop_timer *timer;
    int64_t due_ms;
    bool late; /* it was given its time again */
};

static int64_t period(const struct unit *unit)
{
    const struct unit_said *said = &unit->said;

    return said->has_watchdog ? said->watchdog_ms : unit_spec(unit)->set->watchdog_ms;
}

static bool is_watched(const struct unit *unit)
{
    return unit->body.lc.state == LIFECYCLE_RUNNING && period(unit) > 0;
}

static int64_t now_ms(const struct unit *unit) { return loop_now_ms(unit->keeper->core->loop); }

static void give_time(struct unit *unit)
{
    int64_t due = now_ms(unit) + period(unit);

    unit->watchdog->due_ms = unit->said.extended_ms > due ? unit->said.extended_ms : due;
}

static void bite(struct unit *unit, const char *what)
{
    json_t *details = json_object();

    unit->said.watchdog_bit = true;
    unit->body.health = UNIT_HEALTH_BAD;
    keeper_reason(unit, "watchdog: %s", what);
    keeper_save(unit);
    jsonx_set_text(details, "instance", unit->slot->name);
    jsonx_set_text(details, "why", what);
    events_publish(unit->keeper->core->events, "watchdog", details);
    keeper_apply(unit->keeper, unit, LIFECYCLE_EV_SICK); /* now: a READY under way clears reasons */
}

static void on_due(void *context)
{
    struct unit *unit = context;
    struct keeper *keeper = unit->keeper;
    struct unit_watchdog *watchdog = unit->watchdog;
    char text[UNIT_TEXT_MAX + 32], within[UNIT_TEXT_MAX];

    keeper->hands.hear(keeper->hands.context);
    if (!is_watched(unit))
        return;
    if (unit->said.extended_ms > watchdog->due_ms)
        watchdog->due_ms = unit->said.extended_ms;
    int64_t over = now_ms(unit) - watchdog->due_ms;
    if (over > LATE_MS && !watchdog->late) {
        watchdog->late = true;
        give_time(unit);
        over = now_ms(unit) - watchdog->due_ms;
    }
    if (over < 0) {
        loop_timer_arm(watchdog->timer, -over);
        return;
    }
    unit_duration_text(period(unit), within);
    snprintf(text, sizeof text, "no WATCHDOG=1 within %s", within);
    bite(unit, text);
}

static bool make(struct unit *unit)
{
    if (unit->watchdog)
        return true;
    unit->watchdog = calloc(1, sizeof *unit->watchdog);
    if (unit->watchdog)
        unit->watchdog->timer = loop_timer_new(unit->keeper->core->loop, on_due, unit);
    if (unit->watchdog && unit->watchdog->timer)
        return true;
    log_error("no memory for a watchdog", "instance", unit->slot->name, NULL);
    free(unit->watchdog);
    unit->watchdog = NULL;
    return false;
}

void keeper_watchdog_follow(struct unit *unit)
{
    if (!is_watched(unit)) {
        if (unit->watchdog)
            loop_timer_disarm(unit->watchdog->timer);
        return;
    }
    if (!make(unit))
        return;
    give_time(unit);
    loop_timer_arm(unit->watchdog->timer, unit->watchdog->due_ms - now_ms(unit));
}

/* Where no live check says it, this does. */
static void show_health(struct unit *unit)
{
    if (unit->body.health != UNIT_HEALTH_UNKNOWN || unit_spec(unit)->set->live.target)
        return;
    unit->body.health = UNIT_HEALTH_OK;
    unit->keeper->hands.changed(unit->keeper->hands.context, unit->slot);
}

void keeper_watchdog_fed(struct unit *unit)
{
    if (is_watched(unit))
        show_health(unit);
    if (!is_watched(unit) || !unit->watchdog || !loop_timer_armed(unit->watchdog->timer)) {
        keeper_watchdog_follow(unit);
        return;
    }
    int64_t before = unit->watchdog->due_ms;
    unit->watchdog->late = false;
    give_time(unit);
    if (unit->watchdog->due_ms < before) /* a shorter time was asked for */
        loop_timer_arm(unit->watchdog->timer, unit->watchdog->due_ms - now_ms(unit));
}

void keeper_watchdog_triggered(struct unit *unit) { bite(unit, "it said WATCHDOG=trigger"); }

void keeper_watchdog_free(struct unit *unit)
{
    if (unit->watchdog)
        loop_timer_free(unit->watchdog->timer);
    free(unit->watchdog);
    unit->watchdog = NULL;
}
