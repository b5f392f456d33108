/* story.c - the contract is in story.h. */
#include "supervisor/cli/story.h"

#include <stdio.h>
#include <string.h>

#include "base/unit.h"
#include "io/jsonx.h"
#include "supervisor/cli/evidence_words.h"
#include "supervisor/cli/status.h"
#include "supervisor/cli/when.h"
#include "supervisor/cli/words.h"

enum { LINE_MAX_BYTES = 4096, ORDERS_SHOWN = 5, EXITS_SHOWN = 5, EVIDENCE_SHOWN = 1 };
enum { MINUTE_S = 60, HOUR_S = 3600 };
static const int64_t second_us = 1000 * 1000;

static bool is(const json_t *object, const char *key, const char *value)
{
    return strcmp(jsonx_text(object, key, ""), value) == 0;
}

static bool names_it(const json_t *event, const json_t *why)
{
    const char *group = jsonx_text(why, "group", "");
    json_t *name;
    size_t i;

    json_array_foreach(json_object_get(event, "names"), i, name)
    {
        const char *text = json_string_value(name);
        size_t len = text ? strlen(text) : 0;

        if (!text)
            continue;
        if (strcmp(text, "all") == 0 || is(why, "id", text) || is(why, "service", text))
            return true;
        if (len > 2 && strcmp(text + len - 2, ":*") == 0 && strlen(group) == len - 2 &&
            strncmp(group, text, len - 2) == 0)
            return true;
    }
    return false;
}

bool story_concerns(const json_t *event, const json_t *why)
{
    const char *path = jsonx_text(event, "path", NULL);

    return is(event, "instance", jsonx_text(why, "id", "?")) ||
           (path && is(why, "release_path", path)) ||
           (is(event, "event", "scale") && is(event, "service", jsonx_text(why, "service", "?"))) ||
           names_it(event, why);
}

static int64_t time_of(const json_t *event)
{
    int64_t at = 0;

    return when_parse(jsonx_text(event, "at", ""), &at) ? at : 0;
}

/* --- lines --- */

static void put_label(struct buf *out, const char *label) { buf_printf(out, "  %-13s ", label); }

static void put_when(struct buf *out, int64_t at_us, int64_t now_us)
{
    char clock[WHEN_TEXT_MAX], ago[WHEN_TEXT_MAX];

    buf_printf(out, "%s (%s)", when_clock(at_us, now_us, clock), when_ago(at_us, now_us, ago));
}

static void put_seconds(struct buf *out, double seconds)
{
    char text[UNIT_TEXT_MAX];

    buf_puts(out, unit_duration_text((int64_t)(seconds * 1000.0), text));
}

/* The state as one would say it. */
static void put_headline(const json_t *why, bool colour, struct buf *out)
{
    static const struct {
        const char *state, *words;
    } names[] = {
        { "stopped", "is stopped" },
        { "waiting", "waits, it is not started yet" },
        { "starting", "is starting" },
        { "stopping", "is being stopped" },
        { "backoff", "is down and will be tried again" },
        { "exited", "has ended and is not restarted" },
        { "failed", "is down and was given up" },
    };
    const char *words =
        jsonx_bool(why, "ready", false) ? "runs and is ready" : "runs, but is not ready";

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is(why, "state", names[i].state))
            words = names[i].words;
    buf_printf(out, "%s ", jsonx_text(why, "id", "?"));
    table_put(out, words, status_paint(why), colour);
    if (!is(why, "state", jsonx_text(why, "detail", "")))
        buf_printf(out, " (%s)", jsonx_text(why, "detail", ""));
    buf_putc(out, '\n');
}

/* When it came into its present state. */
static int64_t state_since(const json_t *why, const json_t *events)
{
    for (size_t i = json_array_size(events); i-- > 0;) {
        const json_t *event = json_array_get(events, i);
        if (is(event, "event", "state") && is(event, "instance", jsonx_text(why, "id", "?")) &&
            !jsonx_bool(event, "twin", false))
            return time_of(event);
    }
    return 0;
}

static void put_state(const json_t *why, const json_t *events, int64_t now_us, struct buf *out)
{
    const char *reason = jsonx_text(why, "reason", NULL);
    const char *words = jsonx_text(why, "status", NULL);
    int64_t since = state_since(why, events);
    double retry = jsonx_real(why, "next_retry_s", -1);

    if (reason && !json_is_string(json_object_get(why, "waiting_for"))) {
        put_label(out, "reason");
        buf_printf(out, "%s\n", reason);
    }
    if (since) {
        put_label(out, "since");
        put_when(out, since, now_us);
        buf_putc(out, '\n');
    }
    if (retry >= 0) {
        put_label(out, "next try");
        buf_puts(out, "in ");
        put_seconds(out, retry);
        buf_puts(out, "; at once with: supervisor start ");
        buf_printf(out, "%s\n", jsonx_text(why, "id", "?"));
    } else if (is(why, "state", "failed") || is(why, "state", "exited") ||
               is(why, "state", "stopped")) {
        put_label(out, "next try");
        buf_printf(out, "none by itself; start it with: supervisor start %s\n",
                   jsonx_text(why, "id", "?"));
    }
    if (words) {
        put_label(out, "it says");
        buf_printf(out, "%s\n", words);
    }
}

static void put_needs(const json_t *why, struct buf *out)
{
    json_t *need;
    size_t i;

    if (json_is_string(json_object_get(why, "waiting_for"))) {
        put_label(out, "waits for");
        buf_puts(out, jsonx_text(why, "waiting_for", ""));
        if (is(why, "waiting_for", "release"))
            buf_printf(out, ": %s has none yet; `deployctl release` brings one",
                       jsonx_text(why, "release_path", "its folder"));
        buf_putc(out, '\n');
    }
    json_array_foreach(json_object_get(why, "needs"), i, need)
    {
        put_label(out, i == 0 ? "needs" : "");
        buf_printf(out, "%s: %s%s\n", jsonx_text(need, "instance", "?"),
                   jsonx_text(need, "state", "?"),
                   jsonx_bool(need, "ready", false) ? ", ready" : ", not ready");
    }
}

/* What is asked, how often it was, and what was wrong the last time. */
static void put_checks(const json_t *why, struct buf *out)
{
    int64_t probes = jsonx_int(why, "probes", 0);
    const char *ready = jsonx_text(why, "ready_check", NULL);
    const char *error = jsonx_text(why, "check_error", NULL);

    if (ready) {
        put_label(out, "ready when");
        buf_printf(out, "%s\n", ready);
    }
    if (probes > 0) {
        put_label(out, "checks");
        buf_printf(out, "%lld made, %lld failed", (long long)probes,
                   (long long)jsonx_int(why, "probe_failures", 0));
        if (!is(why, "health", "unknown"))
            buf_printf(out, "; health: %s", jsonx_text(why, "health", "?"));
        buf_printf(out, "%s%s\n", error ? "; the last: " : "", error ? error : "");
    }
}

static void put_process(const json_t *why, struct buf *out)
{
    int64_t pid = jsonx_int(why, "pid", 0);
    const char *release = jsonx_text(why, "release", NULL);
    const char *limits = jsonx_text(why, "limits_not_enforced", NULL);

    if (pid > 0) {
        put_label(out, "process");
        buf_printf(out, "pid %lld, for ", (long long)pid);
        put_seconds(out, (double)(int64_t)jsonx_real(why, "uptime_s", 0));
        buf_putc(out, '\n');
    }
    put_checks(why, out);
    if (limits) {
        put_label(out, "NOT LIMITED");
        buf_printf(out, "%s\n", limits);
    }
    if (release) {
        put_label(out, "release");
        buf_printf(out, "%s in %s\n", release, jsonx_text(why, "release_path", "?"));
    }
}

static void put_last_exit(const json_t *why, int64_t now_us, struct buf *out)
{
    const json_t *last = json_object_get(why, "last_exit");
    int64_t at;

    if (!json_is_object(last))
        return;
    put_label(out, "last exit");
    words_put_exit(out, last);
    if (!jsonx_text(last, "error", NULL)) {
        buf_puts(out, " after ");
        put_seconds(out, jsonx_real(last, "uptime_s", 0));
    }
    if (when_parse(jsonx_text(last, "at", ""), &at)) {
        buf_puts(out, ", ");
        put_when(out, at, now_us);
    }
    buf_putc(out, '\n');
    if (jsonx_text(last, "cause", NULL)) {
        put_label(out, "we ended it");
        buf_printf(out, "%s\n", jsonx_text(last, "cause", ""));
    }
}

/* --- from the events --- */

static bool is_exit(const json_t *event, const json_t *why)
{
    return is(event, "event", "exit") && is(event, "instance", jsonx_text(why, "id", "?"));
}

static size_t exits_since(const json_t *why, const json_t *events, int64_t from_us)
{
    size_t count = 0, i;
    json_t *event;

    json_array_foreach((json_t *)events, i, event) count +=
        is_exit(event, why) && time_of(event) >= from_us;
    return count;
}

static void put_restarts(const json_t *why, const json_t *events, int64_t now_us, struct buf *out)
{
    size_t all = exits_since(why, events, 0);

    if (all == 0 && jsonx_int(why, "restarts", 0) == 0)
        return;
    put_label(out, "restarts");
    buf_printf(out, "%lld in all; exits: %zu in the last minute, %zu in the last hour\n",
               (long long)jsonx_int(why, "restarts", 0),
               exits_since(why, events, now_us - MINUTE_S * second_us),
               exits_since(why, events, now_us - HOUR_S * second_us));
}

/* "code 3" of an event, whose members are flat. */
static void put_exit_line(const json_t *event, int64_t now_us, struct buf *out)
{
    char clock[WHEN_TEXT_MAX];

    buf_printf(out, "    %s  ", when_clock(time_of(event), now_us, clock));
    if (jsonx_text(event, "error", NULL)) {
        buf_printf(out, "could not start: %s\n", jsonx_text(event, "error", ""));
        return;
    }
    words_put_exit(out, event);
    buf_puts(out, " after ");
    put_seconds(out, jsonx_real(event, "uptime_s", 0));
    if (jsonx_int(event, "max_rss_kb", 0) > 0)
        buf_printf(out, ", used %.1f s of CPU, %lld KB of memory", jsonx_real(event, "cpu_s", 0),
                   (long long)jsonx_int(event, "max_rss_kb", 0));
    if (jsonx_text(event, "release", NULL))
        buf_printf(out, ", release %s", jsonx_text(event, "release", ""));
    if (jsonx_text(event, "said_error", NULL))
        buf_printf(out, ", it said: %s", jsonx_text(event, "said_error", ""));
    buf_putc(out, '\n');
}

static void put_order_line(const json_t *event, int64_t now_us, struct buf *out)
{
    char clock[WHEN_TEXT_MAX];
    const char *who = jsonx_text(event, "who", NULL);

    buf_printf(out, "    %s  %s", when_clock(time_of(event), now_us, clock),
               jsonx_text(event, "order", jsonx_text(event, "event", "?")));
    if (jsonx_text(event, "release", NULL))
        buf_printf(out, " %s", jsonx_text(event, "release", ""));
    if (who)
        buf_printf(out, " by %s", who);
    else if (json_is_integer(json_object_get(event, "uid")))
        buf_printf(out, " by uid %lld (%s, pid %lld)", (long long)jsonx_int(event, "uid", 0),
                   jsonx_text(event, "command", "?"), (long long)jsonx_int(event, "pid", 0));
    buf_putc(out, '\n');
}

static bool is_evidence(const json_t *event, const json_t *why)
{
    return is(event, "event", "evidence") && is(event, "instance", jsonx_text(why, "id", "?"));
}

static bool is_order(const json_t *event, const json_t *why)
{
    return !is(event, "event", "state") && !is(event, "event", "exit") &&
           !is(event, "event", "evidence") && story_concerns(event, why);
}

/* The newest ones that fit, in the order in which they happened. */
static void put_newest(const json_t *why, const json_t *events, const char *title, size_t most,
                       bool (*wanted)(const json_t *event, const json_t *why),
                       void (*put)(const json_t *event, int64_t now_us, struct buf *out),
                       int64_t now_us, struct buf *out)
{
    size_t total = 0, seen = 0, i;
    json_t *event;

    json_array_foreach((json_t *)events, i, event) total += wanted(event, why);
    if (total == 0)
        return;
    buf_printf(out, "\n  %s", title);
    if (total > most)
        buf_printf(out, " (the last %zu of %zu)", most, total);
    buf_puts(out, ":\n");
    json_array_foreach((json_t *)events, i, event)
    {
        if (wanted(event, why) && ++seen + most > total)
            put(event, now_us, out);
    }
}

static void put_output(const json_t *why, const char *log_key, const char *output_key,
                       const char *title, struct buf *out)
{
    const char *log = jsonx_text(why, log_key, NULL), *text = jsonx_text(why, output_key, "");

    if (!log)
        return;
    if (*text) {
        buf_printf(out, "\n  Last lines of %s (%s):\n", title, log);
        words_put_output(out, text);
    } else {
        buf_printf(out, "\n  Nothing in %s (%s)\n", title, log);
    }
}

void story_print(const json_t *why, const json_t *events, int64_t now_us, bool colour,
                 struct buf *out)
{
    put_headline(why, colour, out);
    put_state(why, events, now_us, out);
    put_needs(why, out);
    put_process(why, out);
    put_last_exit(why, now_us, out);
    put_restarts(why, events, now_us, out);
    put_label(out, "command");
    buf_printf(out, "%s\n", jsonx_text(why, "command", "?"));
    put_label(out, "set in");
    buf_printf(out, "%s:%lld\n", jsonx_text(why, "file", "?"),
               (long long)jsonx_int(why, "line", 0));
    put_newest(why, events, "Orders", ORDERS_SHOWN, is_order, put_order_line, now_us, out);
    put_newest(why, events, "What it was doing when it was killed", EVIDENCE_SHOWN, is_evidence,
               evidence_words_put, now_us, out);
    put_newest(why, events, "Ends", EXITS_SHOWN, is_exit, put_exit_line, now_us, out);
    put_output(why, "log", "output", "standard output", out);
    put_output(why, "stderr_log", "stderr_output", "standard error", out);
}
