/* jobs_tell.c - scheduled services as events and in status. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/unit.h"
#include "io/jsonx.h"
#include "supervisor/core/jobs_inside.h"
#include "supervisor/core/keeper.h"
#include "supervisor/plan/options.h"

static void set_time(json_t *row, const char *key, int64_t wall_ms)
{
    char text[CLOCK_TEXT_MAX];

    jsonx_set_text(row, key, wall_ms > 0 ? clock_text(wall_ms * 1000, text) : NULL);
}

static json_t *about(const struct slot *slot)
{
    const struct schedule *s = jobs_schedule(slot);
    json_t *row = json_object();

    jsonx_set_text(row, "instance", slot->name);
    jsonx_set_int(row, "runs", s->runs);
    jsonx_set_int(row, "failures", s->failures);
    return row;
}

void jobs_tell_started(const struct jobs *jobs, const struct job *job, const char *who)
{
    const struct schedule *s = &job->s;
    json_t *details = about(job->slot);

    set_time(details, "due", s->due_ms);
    if (s->due_ms > 0)
        jsonx_set_real(details, "late_s",
                       (double)(s->started_ms - s->due_ms - job->policy.shift_ms) / 1000.0);
    jsonx_set_text(details, "why", who);
    events_publish(jobs->core->events, "job-started", details);
}

static int64_t duration_ms(const struct schedule *s)
{
    int64_t ms = s->ended_ms - s->started_ms;

    return s->ended_ms > 0 && ms > 0 ? ms : 0;
}

/* Of the last attempt. */
static void put_exit(const struct unit_exit *last, json_t *details)
{
    if (last->at_wall_us == 0 || !last->known || last->error != 0)
        return;
    if (last->signal)
        jsonx_set_text(details, "signal", signals_name(last->signal));
    else
        jsonx_set_int(details, "code", last->code);
}

void jobs_tell_finished(const struct jobs *jobs, const struct slot *slot)
{
    const struct unit *unit = slot->main;
    const struct schedule *s = jobs_schedule(slot);
    json_t *details = about(slot);
    bool ended = s->result == SCHEDULE_SUCCESS || s->result == SCHEDULE_FAILURE;

    set_time(details, "due", s->due_ms);
    set_time(details, "started", s->started_ms);
    jsonx_set_text(details, "result", schedule_result_name((enum schedule_result)s->result));
    if (s->result != SCHEDULE_LOST) {
        jsonx_set_real(details, "duration_s", (double)duration_ms(s) / 1000.0);
        jsonx_set_int(details, "attempts", unit->body.lc.starts);
        put_exit(&unit->body.last, details);
    }
    if (s->result == SCHEDULE_LOST)
        jsonx_set_text(details, "why", "the supervisor went down under it");
    else if ((!ended || s->result == SCHEDULE_FAILURE) && unit->reason[0])
        jsonx_set_text(details, "why", unit->reason);
    events_publish(jobs->core->events, "job-finished", details);
}

void jobs_tell_verdict(const struct jobs *jobs, const struct job *job,
                       const struct schedule_verdict *verdict)
{
    const char *name = job->slot->name;

    if (verdict->clock_set)
        log_warn("the clock was wrong before: the schedule goes on from now", "instance", name,
                 NULL);
    if (verdict->missed > 0) {
        json_t *details = about(job->slot);
        jsonx_set_int(details, "count", verdict->missed);
        set_time(details, "first", verdict->first_ms);
        set_time(details, "last", verdict->last_ms);
        jsonx_set_text(details, "why", schedule_why_text(verdict->why));
        events_publish(jobs->core->events, "job-missed", details);
        log_warn("a scheduled run was missed", "instance", name, "why",
                 schedule_why_text(verdict->why), NULL);
    }
    if (verdict->skipped > 0) {
        json_t *details = about(job->slot);
        jsonx_set_int(details, "count", verdict->skipped);
        set_time(details, "due", verdict->last_ms);
        jsonx_set_text(details, "why", "the run before was still under way");
        events_publish(jobs->core->events, "job-skipped", details);
        log_warn("a scheduled run was skipped, the one before is still under way", "instance", name,
                 NULL);
    }
}

/* --- status --- */

bool jobs_well(const struct slot *slot)
{
    uint8_t result = jobs_schedule(slot)->result;

    return result != SCHEDULE_FAILURE && result != SCHEDULE_LOST;
}

const char *jobs_state_name(const struct slot *slot)
{
    enum lifecycle_state state = keeper_state(slot);

    if (lifecycle_settled(state) && jobs_schedule(slot)->active)
        return jobs_well(slot) ? "scheduled" : lifecycle_state_name(LIFECYCLE_FAILED);
    if (lifecycle_settled(state))
        return lifecycle_state_name(LIFECYCLE_STOPPED);
    if (state == LIFECYCLE_STARTING)
        return lifecycle_state_name(LIFECYCLE_RUNNING);
    return lifecycle_state_name(state);
}

static json_t *last_run_json(const struct slot *slot)
{
    const struct schedule *s = jobs_schedule(slot);
    json_t *row = json_object();

    if (s->started_ms == 0) {
        json_decref(row);
        return json_null();
    }
    set_time(row, "due", s->due_ms);
    set_time(row, "started", s->started_ms);
    set_time(row, "ended", s->ended_ms);
    jsonx_set_text(row, "result",
                   s->running ? "running" : schedule_result_name((enum schedule_result)s->result));
    if (!s->running && s->result != SCHEDULE_LOST)
        jsonx_set_real(row, "duration_s", (double)duration_ms(s) / 1000.0);
    return row;
}

static json_t *next_run_json(const struct slot *slot)
{
    int64_t next = slot->job && slot->job->problem.code == 0
                       ? schedule_next(jobs_schedule(slot), &slot->job->policy)
                       : SCHEDULE_NEVER;
    json_t *row;

    if (next == SCHEDULE_NEVER)
        return json_null();
    row = json_object();
    set_time(row, "at", next);
    jsonx_set_real(row, "in_s", (double)(next - jobs_now().wall_ms) / 1000.0);
    return row;
}

static const char *text_of(const struct slot *slot, const char *key)
{
    const struct opt *row = opt_find(&options_service, key);

    return spec_text(slot->spec, (size_t)(row - options_service.rows));
}

void jobs_put_json(const struct slot *slot, json_t *row)
{
    const struct spec_settings *set = slot->spec->set;
    const struct schedule *s = jobs_schedule(slot);

    jsonx_set_text(row, "schedule", text_of(slot, "schedule"));
    if (set->every_ms > 0)
        jsonx_set_real(row, "every_s", (double)set->every_ms / 1000.0);
    else
        jsonx_set_text(row, "schedule_timezone", set->schedule_timezone);
    jsonx_set_bool(row, "suspended", !s->active);
    json_object_set_new(row, "next_run", next_run_json(slot));
    json_object_set_new(row, "last_run", last_run_json(slot));
    json_object_set_new(row, "runs",
                        json_pack("{s:I,s:I,s:I,s:I,s:b}", "total", (json_int_t)s->runs, "failed",
                                  (json_int_t)s->failures, "missed", (json_int_t)s->missed,
                                  "skipped", (json_int_t)s->skipped, "queued", s->queued_ms != 0));
    if (slot->job && slot->job->problem.code != 0)
        jsonx_set_text(row, "schedule_problem", slot->job->problem.text);
}
