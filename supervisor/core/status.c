/* status.c - the contract is in status.h. */
#include "supervisor/core/status.h"

#include <stdio.h>
#include <string.h>

#include "base/calendar.h"
#include "base/unit.h"
#include "io/jsonx.h"

enum { NOTE_MAX = 1024 };

static bool is_state(const json_t *instance, const char *state)
{
    return strcmp(jsonx_text(instance, "state", ""), state) == 0;
}

/* Members that only a scheduled service has. */
static bool is_scheduled(const json_t *instance)
{
    return json_object_get(instance, "next_run") != NULL;
}

bool status_well(const json_t *instance)
{
    if (is_scheduled(instance)) /* as its last run was */
        return jsonx_bool(instance, "ready", false) || !jsonx_bool(instance, "wanted", false);
    if (is_state(instance, "running"))
        return jsonx_bool(instance, "ready", false);
    if (is_state(instance, "exited"))
        return jsonx_bool(instance, "expected", false);
    if (is_state(instance, "waiting")) /* for a connection, as it should */
        return jsonx_bool(instance, "listening", false);
    return is_state(instance, "stopped") && !jsonx_bool(instance, "wanted", false);
}

bool status_all_well(const json_t *status)
{
    json_t *service, *instance;
    size_t i, k;

    json_array_foreach(json_object_get(status, "services"), i, service)
    {
        json_array_foreach(json_object_get(service, "instances"), k, instance)
        {
            if (!status_well(instance))
                return false;
        }
    }
    return true;
}

enum table_paint status_paint(const json_t *instance)
{
    if (is_state(instance, "failed") || is_state(instance, "backoff"))
        return TABLE_BAD;
    if (is_state(instance, "stopped"))
        return TABLE_DIM;
    if ((is_state(instance, "running") || is_state(instance, "scheduled")) && status_well(instance))
        return TABLE_GOOD;
    return status_well(instance) ? TABLE_PLAIN : TABLE_WARN;
}

static const char *seconds_text(double seconds, char text[static UNIT_TEXT_MAX])
{
    /* Past ten seconds nobody reads the tenths. */
    int64_t ms = (int64_t)(seconds * 1000.0);
    return unit_duration_text(ms >= 10000 ? ms / 1000 * 1000 : ms, text);
}

/* "Mon 03:00" within a week, else "2026-12-24 03:00", of an RFC 3339 time as it stands. */
static void put_time(const char *at, double in_s, struct buf *out)
{
    static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    enum { WEEK_S = 7 * 24 * 60 * 60 };
    int year, month, day;

    if (in_s < WEEK_S && sscanf(at, "%4d-%2d-%2d", &year, &month, &day) == 3)
        buf_printf(out, "%s %.5s", days[calendar_weekday(calendar_day(year, month, day))], at + 11);
    else
        buf_printf(out, "%.10s %.5s", at, strlen(at) > 11 ? at + 11 : "");
}

void status_put_next_run(const json_t *instance, struct buf *out)
{
    const json_t *next = json_object_get(instance, "next_run");
    const char *problem = jsonx_text(instance, "schedule_problem", NULL);
    double in_s = jsonx_real(next, "in_s", 0);
    char text[UNIT_TEXT_MAX];

    if (problem)
        buf_printf(out, "no next run: %s", problem);
    else if (json_is_object(next)) {
        buf_printf(out, "next run in %s (", seconds_text(in_s > 0 ? in_s : 0, text));
        put_time(jsonx_text(next, "at", ""), in_s, out);
        buf_puts(out, ")");
    } else
        buf_puts(out, jsonx_bool(instance, "suspended", false)
                          ? "suspended, no next run"
                          : "no next run before the supervisor starts again");
}

/* Between two runs: how the last one ended if it did not end well, and when the next one comes. */
static void put_schedule(const json_t *instance, struct buf *out)
{
    const json_t *last = json_object_get(instance, "last_run");
    const char *reason = jsonx_text(instance, "reason", "");

    if (is_state(instance, "failed") && strcmp(jsonx_text(last, "result", ""), "lost") == 0)
        buf_puts(out, "its last run was lost, the supervisor went down under it; ");
    else if (is_state(instance, "failed"))
        buf_printf(out, "its last run failed%s%s; ", *reason ? ": " : "", reason);
    status_put_next_run(instance, out);
}

void status_note(const json_t *instance, struct buf *out)
{
    const char *reason = jsonx_text(instance, "reason", "");
    const char *waiting = jsonx_text(instance, "waiting_for", NULL);
    const char *words = jsonx_text(instance, "status", NULL), *detail;
    char text[UNIT_TEXT_MAX];

    if (is_scheduled(instance) && (is_state(instance, "scheduled") ||
                                   is_state(instance, "failed") || is_state(instance, "stopped")))
        put_schedule(instance, out);
    else if (waiting) {
        const json_t *turn = json_object_get(instance, "turn");
        buf_printf(out, "waits for %s", waiting);
        if (turn)
            buf_printf(out, "; number %lld, in about %s", (long long)jsonx_int(turn, "place", 0),
                       seconds_text(jsonx_real(turn, "in_s", 0), text));
    } else if (is_state(instance, "backoff")) {
        double retry = jsonx_real(instance, "next_retry_s", 0);
        buf_printf(out, "%s%snext try in %s", reason, *reason ? "; " : "",
                   seconds_text(retry > 0 ? retry : 0, text));
    } else if (is_state(instance, "running")) {
        const json_t *trouble = json_array_get(json_object_get(instance, "log_troubles"), 0);
        if (jsonx_text(trouble, "error", NULL))
            buf_printf(out, "its log cannot be written: %s", jsonx_text(trouble, "error", ""));
        else if (words)
            buf_puts(out, words);
        else if (json_is_integer(json_object_get(instance, "twin_pid")))
            buf_puts(out, "is being replaced");
        else if (jsonx_bool(instance, "outdated", false))
            buf_puts(out, "runs with older settings, a restart applies the new ones");
        else if (!jsonx_bool(instance, "ready", false))
            buf_puts(out, *reason ? reason : "not ready");
    } else {
        detail = jsonx_text(instance, "detail", "");
        if (is_state(instance, "starting") && jsonx_text(instance, "check_error", NULL))
            reason = jsonx_text(instance, "check_error", "");
        if (is_state(instance, "failed") && jsonx_text(instance, "supervisord_state", NULL))
            buf_printf(out, "%s%s", jsonx_text(instance, "supervisord_state", ""),
                       *reason ? ": " : "");
        if (*detail && !is_state(instance, detail))
            buf_printf(out, "%s%s", detail, *reason ? ": " : "");
        buf_puts(out, reason);
    }
}

static const struct table_column columns[] = {
    { "NAME", false, false },   { "STATE", false, false },  { "READY", false, false },
    { "HEALTH", false, true },  { "PID", true, false },     { "UPTIME", true, false },
    { "RESTARTS", true, true }, { "RELEASE", false, true }, { "NOTE", false, true },
};

static void add_number(struct table *table, json_int_t number)
{
    char text[32];

    snprintf(text, sizeof text, "%lld", (long long)number);
    table_add(table, number ? text : NULL, TABLE_PLAIN);
}

void status_begin(struct table *table)
{
    table_init(table, columns, sizeof columns / sizeof *columns);
}

void status_add(struct table *table, const struct status_row *row)
{
    char text[UNIT_TEXT_MAX];

    table_add(table, row->id, TABLE_PLAIN);
    table_add(table, row->state, row->paint);
    table_add(table, row->ready ? "yes" : "no", TABLE_PLAIN);
    table_add(table, strcmp(row->health, "unknown") == 0 ? NULL : row->health,
              strcmp(row->health, "bad") == 0 ? TABLE_BAD : TABLE_PLAIN);
    add_number(table, row->pid);
    table_add(table, row->uptime_s >= 0 ? seconds_text((double)row->uptime_s, text) : NULL,
              TABLE_PLAIN);
    add_number(table, row->restarts);
    table_add(table, row->release, TABLE_PLAIN);
    table_add(table, row->note, TABLE_PLAIN);
}

void status_add_json(struct table *table, const json_t *instance)
{
    struct buf note;

    buf_init(&note, NOTE_MAX);
    status_note(instance, &note);
    const struct status_row row = { .id = jsonx_text(instance, "id", "?"),
                                    .state = jsonx_text(instance, "state", "?"),
                                    .health = jsonx_text(instance, "health", "unknown"),
                                    .release = jsonx_text(instance, "release", NULL),
                                    .note = buf_text(&note),
                                    .paint = status_paint(instance),
                                    .ready = jsonx_bool(instance, "ready", false),
                                    .pid = jsonx_int(instance, "pid", 0),
                                    .uptime_s = (int64_t)jsonx_real(instance, "uptime_s", -1),
                                    .restarts = jsonx_int(instance, "restarts", 0) };
    status_add(table, &row);
    buf_done(&note);
}

static void put_times(struct buf *out, const char *what, int64_t count)
{
    if (count > 0)
        buf_printf(out, ", %s %lld time%s", what, (long long)count, count == 1 ? "" : "s");
}

/* The promises that do not hold here; those that do are not worth a line each time. */
static void put_guarantees(const json_t *guarantees, struct buf *out)
{
    const char *output = jsonx_text(guarantees, "output", "");
    const char *pins = jsonx_text(guarantees, "pins", "durable");
    const char *exits = jsonx_text(guarantees, "exit_status", NULL);

    if (strncmp(output, "captured", 8) != 0 && *output)
        buf_printf(out, "note: output is %s\n", output);
    if (strcmp(pins, "durable") != 0)
        buf_printf(out, "note: pins of releases are %s\n", pins);
    if (exits)
        buf_printf(out, "note: %s\n", exits);
}

static void put_audit(const json_t *audit, struct buf *out)
{
    long long lost = (long long)jsonx_int(audit, "lost_lines", 0);

    if (!audit)
        return;
    buf_printf(out, "note: audit_log %s: %s", jsonx_text(audit, "file", "?"),
               jsonx_text(audit, "error", "?"));
    if (lost > 0)
        buf_printf(out, "; %lld line%s lost, orders go on\n", lost, lost == 1 ? " is" : "s are");
    else
        buf_puts(out, "; orders go on\n");
}

static void put_breaker(const json_t *breaker, struct buf *out)
{
    char text[UNIT_TEXT_MAX];
    long long waiting = (long long)jsonx_int(breaker, "waiting", 0);

    if (waiting > 0)
        buf_printf(out,
                   "note: many services restart at once, so restarts are spaced (restart_burst = "
                   "%lld): %lld wait%s, the last one for about %s\n",
                   (long long)jsonx_int(breaker, "burst", 0), waiting, waiting == 1 ? "s" : "",
                   seconds_text(jsonx_real(breaker, "open_s", 0), text));
}

static void put_supervisor(const json_t *supervisor, struct buf *out)
{
    char text[UNIT_TEXT_MAX];

    buf_printf(out, "supervisor %s, pid %lld, up %s", jsonx_text(supervisor, "version", "?"),
               (long long)jsonx_int(supervisor, "pid", 0),
               seconds_text((double)(int64_t)jsonx_real(supervisor, "uptime_s", 0), text));
    put_times(out, "core restarted", jsonx_int(supervisor, "core_restarts", 0));
    put_times(out, "logger restarted", jsonx_int(supervisor, "logger_restarts", 0));
    if (jsonx_bool(supervisor, "stopping", false))
        buf_puts(out, ", is shutting down");
    buf_putc(out, '\n');
    put_breaker(json_object_get(supervisor, "breaker"), out);
    put_audit(json_object_get(supervisor, "audit_log"), out);
    put_guarantees(json_object_get(supervisor, "guarantees"), out);
}

void status_end(struct table *table, const json_t *supervisor, size_t width, bool colour,
                struct buf *out)
{
    if (table->ncells > 0)
        table_print(table, width, colour, out);
    else
        buf_puts(out, "no services\n");
    table_done(table);
    buf_putc(out, '\n');
    put_supervisor(supervisor, out);
}

void status_print(const json_t *status, size_t width, bool colour, struct buf *out)
{
    json_t *service, *instance;
    struct table table;
    size_t i, k;

    status_begin(&table);
    json_array_foreach(json_object_get(status, "services"), i, service)
    {
        json_array_foreach(json_object_get(service, "instances"), k, instance)
            status_add_json(&table, instance);
    }
    status_end(&table, json_object_get(status, "supervisor"), width, colour, out);
}
