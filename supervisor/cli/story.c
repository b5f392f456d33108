/* story.c - the contract is in story.h. */
#include "supervisor/cli/story.h"

#include <stdio.h>
#include <string.h>

#include "base/unit.h"
#include "base/when.h"
#include "io/jsonx.h"
#include "supervisor/cli/evidence_words.h"
#include "supervisor/cli/lines.h"
#include "supervisor/cli/story_past.h"
#include "supervisor/core/status.h"
#include "supervisor/core/table.h"
#include "supervisor/cli/words.h"
#include "supervisor/core/status.h"

enum { OUTPUT_LINES = 8, CHAIN_WORDS_MAX = 512, SETTINGS_MAX = 8192 };

static bool is(const json_t *object, const char *key, const char *value)
{
    return strcmp(jsonx_text(object, key, ""), value) == 0;
}

/* --- lines --- */

enum { LABEL_COLUMNS = 16 };
#define BLANK_LABEL "                "
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
static const char *state_words(const json_t *why)
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
        { "scheduled", "is scheduled" },
        { "failed", "is down and was given up" },
    };
    bool is_job = json_object_get(why, "next_run") != NULL;
    const char *words =
        jsonx_bool(why, "ready", false) ? "runs and is ready" : "runs, but is not ready";

    if (is_job && is(why, "state", "failed"))
        return "is scheduled, its last run was not good";
    if (is_job && is(why, "state", "running"))
        return "has a run under way";

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is(why, "state", names[i].state))
            words = names[i].words;
    return words;
}

static void put_headline(const json_t *why, bool colour, struct buf *out)
{
    buf_printf(out, "%s ", jsonx_text(why, "id", "?"));
    table_put(out, state_words(why), status_paint(why), colour);
    if (!is(why, "state", jsonx_text(why, "detail", "")) && !json_object_get(why, "next_run"))
        buf_printf(out, " (%s)", jsonx_text(why, "detail", ""));
    buf_putc(out, '\n');
}

/* "success after 3m, 03:00:12 (5h ago)". */
static void put_last_run(const json_t *last, int64_t now_us, struct buf *out)
{
    int64_t at;

    if (!json_is_object(last))
        return;
    put_label(out, "last run");
    buf_puts(out, jsonx_text(last, "result", "?"));
    if (jsonx_real(last, "duration_s", -1) >= 0) {
        buf_puts(out, " after ");
        put_seconds(out, jsonx_real(last, "duration_s", 0));
    }
    if (when_parse(jsonx_text(last, "started", ""), &at)) {
        buf_puts(out, ", begun ");
        put_when(out, at, now_us);
    }
    buf_printf(out, "%s\n", jsonx_text(last, "due", NULL) ? "" : ", by order");
}

/* When it runs, how it went, when it runs next. */
static void put_schedule(const json_t *why, int64_t now_us, struct buf *out)
{
    const json_t *runs = json_object_get(why, "runs");
    const char *lines = jsonx_text(why, "schedule", NULL);

    put_label(out, "runs");
    if (lines)
        buf_printf(out, "%s (%s)", lines, jsonx_text(why, "schedule_timezone", "local"));
    else {
        buf_puts(out, "every ");
        put_seconds(out, jsonx_real(why, "every_s", 0));
    }
    buf_printf(out, "; %lld so far, %lld failed, %lld missed, %lld skipped\n",
               (long long)jsonx_int(runs, "total", 0), (long long)jsonx_int(runs, "failed", 0),
               (long long)jsonx_int(runs, "missed", 0), (long long)jsonx_int(runs, "skipped", 0));
    put_last_run(json_object_get(why, "last_run"), now_us, out);
    put_label(out, "next run");
    struct buf words;
    buf_init(&words, CHAIN_WORDS_MAX);
    status_put_next_run(why, &words);
    const char *text = buf_text(&words);
    bool known = strncmp(text, "next run ", 9) == 0;
    buf_printf(out, "%s%s; %s: supervisor start %s\n", known ? text + 9 : text,
               jsonx_bool(runs, "queued", false) ? ", and one when this one has ended" : "",
               jsonx_bool(why, "suspended", false) ? "it goes on, and runs now, with" : "now with",
               jsonx_text(why, "service", "?"));
    buf_done(&words);
}

static void put_state(const json_t *why, int64_t now_us, struct buf *out)
{
    const char *reason = jsonx_text(why, "reason", NULL);
    const char *words = jsonx_text(why, "status", NULL);
    int64_t since = story_since(why, now_us);
    double retry = jsonx_real(why, "next_retry_s", -1);

    if (reason && !json_is_string(json_object_get(why, "waiting_for")) &&
        !is(why, "state", "scheduled")) {
        put_label(out, "reason");
        buf_wrap(out, reason, LABEL_COLUMNS, BLANK_LABEL);
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
    } else if (json_object_get(why, "next_run")) {
        put_schedule(why, now_us, out);
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

/* "db:0, which is down and will be tried again in 4.2s (exited with code 3)". */
static void put_link(const json_t *link, struct buf *out)
{
    const char *reason = jsonx_text(link, "reason", NULL);
    double retry = jsonx_real(link, "next_retry_s", -1);
    char text[UNIT_TEXT_MAX];

    buf_printf(out, "%s, which ", jsonx_text(link, "id", "?"));
    if (retry >= 0)
        buf_printf(out, "is down and will be tried again in %s",
                   unit_duration_text((int64_t)(retry * 1000.0), text));
    else if (jsonx_text(link, "waiting_for", NULL)) {
        buf_puts(out, "waits as well");
        return;
    } else
        buf_puts(out, state_words(link));
    if (reason)
        buf_printf(out, " (%s)", reason);
}

/* The chain down to the one that does not wait. */
static void put_chain(const json_t *why, struct buf *out)
{
    json_t *link;
    size_t i;

    json_array_foreach(json_object_get(why, "waits_for"), i, link)
    {
        struct buf words;
        buf_init(&words, CHAIN_WORDS_MAX);
        put_link(link, &words);
        put_label(out, i == 0 ? "waits for" : "which needs");
        buf_wrap(out, buf_text(&words), LABEL_COLUMNS, BLANK_LABEL);
        buf_done(&words);
    }
}

static void put_needs(const json_t *why, struct buf *out)
{
    json_t *need;
    size_t i;

    if (json_array_size(json_object_get(why, "waits_for")) > 0)
        put_chain(why, out);
    else if (json_is_string(json_object_get(why, "waiting_for"))) {
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
    if (jsonx_text(why, "live_check", NULL)) {
        put_label(out, "alive while");
        buf_printf(out, "%s\n", jsonx_text(why, "live_check", ""));
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

/* Which settings are not this host's. */
static void put_release_keys(const json_t *why, struct buf *out)
{
    const json_t *keys = json_object_get(why, "release_keys");
    struct buf words;

    if (!keys)
        return;
    buf_init(&words, SETTINGS_MAX);
    for (size_t i = 0; i < json_array_size(keys); i++)
        buf_printf(&words, "%s%s", i ? ", " : "", json_string_value(json_array_get(keys, i)));
    buf_printf(&words, "%s from %s", words.len ? "" : "nothing",
               jsonx_text(why, "release_file", "its release"));
    put_label(out, "settings");
    buf_wrap(out, buf_text(&words), LABEL_COLUMNS, BLANK_LABEL);
    buf_done(&words);
}

static void put_process(const json_t *why, struct buf *out)
{
    int64_t pid = jsonx_int(why, "pid", 0);
    const char *release = jsonx_text(why, "release", NULL);

    if (pid > 0) {
        put_label(out, "process");
        buf_printf(out, "pid %lld, for ", (long long)pid);
        put_seconds(out, (double)(int64_t)jsonx_real(why, "uptime_s", 0));
        buf_putc(out, '\n');
    }
    put_checks(why, out);
    if (jsonx_int(why, "oom_kills", 0) > 0) {
        put_label(out, "memory");
        buf_printf(out, "the kernel killed %lld of its processes for want of it\n",
                   (long long)jsonx_int(why, "oom_kills", 0));
    }
    if (jsonx_text(why, "limits_not_enforced", NULL)) {
        put_label(out, "NOT LIMITED");
        buf_wrap(out, jsonx_text(why, "limits_not_enforced", ""), LABEL_COLUMNS, BLANK_LABEL);
    }
    if (jsonx_text(why, "sandbox", NULL)) {
        put_label(out, "sandbox");
        buf_wrap(out, jsonx_text(why, "sandbox", ""), LABEL_COLUMNS, BLANK_LABEL);
    }
    if (release) {
        put_label(out, "release");
        buf_printf(out, "%s in %s\n", release, jsonx_text(why, "release_path", "?"));
    }
    put_release_keys(why, out);
}

static void put_last_exit(const json_t *why, int64_t now_us, struct buf *out)
{
    const json_t *last = json_object_get(why, "last_exit");
    struct buf words;
    int64_t at;

    if (!json_is_object(last))
        return;
    buf_init(&words, CHAIN_WORDS_MAX);
    words_put_exit(&words, last);
    if (!jsonx_text(last, "error", NULL)) {
        buf_puts(&words, " after ");
        put_seconds(&words, jsonx_real(last, "uptime_s", 0));
    }
    if (when_parse(jsonx_text(last, "at", ""), &at)) {
        buf_puts(&words, ", ");
        put_when(&words, at, now_us);
    }
    put_label(out, "last exit");
    buf_wrap(out, buf_text(&words), LABEL_COLUMNS, BLANK_LABEL);
    buf_done(&words);
    if (jsonx_text(last, "cause", NULL)) {
        put_label(out, "we ended it");
        buf_wrap(out, jsonx_text(last, "cause", ""), LABEL_COLUMNS, BLANK_LABEL);
    }
}

static void put_log(const json_t *why, struct buf *out)
{
    json_t *trouble;
    char text[UNIT_TEXT_MAX];
    size_t i;

    json_array_foreach(json_object_get(why, "log_troubles"), i, trouble)
    {
        const char *error = jsonx_text(trouble, "error", NULL);
        int64_t lost = jsonx_int(trouble, "lost_bytes", 0);

        struct buf words;
        buf_init(&words, CHAIN_WORDS_MAX);
        buf_printf(&words, "%s%s%s", jsonx_text(trouble, "output", "?"),
                   error ? " cannot be written: " : "", error ? error : "");
        if (lost > 0)
            buf_printf(&words, "%s %s of output were dropped", error ? ";" : ":",
                       unit_size_text(lost, text));
        put_label(out, "its log");
        buf_wrap(out, buf_text(&words), LABEL_COLUMNS, BLANK_LABEL);
        buf_done(&words);
    }
}

/* The last lines of a text. */
static const char *last_lines(const char *text, size_t lines)
{
    const char *at = text + strlen(text);

    if (at > text && at[-1] == '\n')
        at--;
    while (at > text && (at[-1] != '\n' || --lines > 0))
        at--;
    return at;
}

/* A line as people read it: the time of day instead of the whole stamp, the message of an object.
 */
static void put_shown(const char *line, size_t len, int64_t now_us, struct buf *out)
{
    const char *blank = memchr(line, ' ', len);
    char clock[WHEN_TEXT_MAX];
    struct err err = { 0 };
    int64_t at;

    if (!lines_time(line, len, &at)) {
        buf_put(out, line, len);
        return;
    }
    json_t *object = *line == '{' ? jsonx_parse(line, len, &err) : NULL;
    if (object)
        buf_printf(out, "%s %s", when_clock(at, now_us, clock), jsonx_text(object, "message", ""));
    else if (*line != '{' && blank) {
        buf_puts(out, when_clock(at, now_us, clock));
        buf_put(out, blank, len - (size_t)(blank - line));
    } else
        buf_put(out, line, len);
    json_decref(object);
}

static void put_lines(const char *text, int64_t now_us, struct buf *out)
{
    struct buf shown;

    buf_init(&shown, WORDS_OUTPUT_MAX);
    while (*text) {
        size_t len = strcspn(text, "\n");
        put_shown(text, len, now_us, &shown);
        buf_putc(&shown, '\n');
        text += len + (text[len] == '\n');
    }
    words_put_output(out, buf_text(&shown));
    buf_done(&shown);
}

static void put_stream(const json_t *why, const char *log_key, const char *output_key,
                       const char *title, int64_t now_us, struct buf *out)
{
    const char *log = jsonx_text(why, log_key, NULL), *text = jsonx_text(why, output_key, "");

    if (!log)
        return;
    if (*text) {
        buf_printf(out, "\n  Last lines of %s (%s):\n", title, log);
        put_lines(last_lines(text, OUTPUT_LINES), now_us, out);
    } else {
        buf_printf(out, "\n  Nothing in %s (%s)\n", title, log);
    }
}

static void put_outputs(const json_t *why, int64_t now_us, struct buf *out)
{
    const char *where = jsonx_text(why, "stdout", NULL);

    put_stream(why, "log", "output", "standard output", now_us, out);
    put_stream(why, "stderr_log", "stderr_output", "standard error", now_us, out);
    if (jsonx_text(why, "log", NULL) || !where)
        return;
    if (strncmp(where, "journald", 8) == 0)
        buf_printf(out, "\n  Its output is in the journal: journalctl SUPERVISOR_INSTANCE=%s\n",
                   jsonx_text(why, "id", "?"));
    else
        buf_printf(out, "\n  Its output is not kept here (stdout_logfile = %s)\n", where);
}

/* The newest only: it is long. */
static void put_evidence(const json_t *why, int64_t now_us, struct buf *out)
{
    json_t *event;
    size_t i;

    json_array_foreach(json_object_get(why, "events"), i, event)
    {
        if (!is(event, "event", "evidence") || !json_object_get(event, "processes"))
            continue;
        buf_puts(out, "\n  What it was doing when it was killed:\n");
        evidence_words_put(event, now_us, out);
        return;
    }
}

void story_print(const json_t *why, int64_t now_us, bool colour, struct buf *out)
{
    put_headline(why, colour, out);
    put_state(why, now_us, out);
    put_needs(why, out);
    put_process(why, out);
    put_last_exit(why, now_us, out);
    story_put_ends(why, out);
    put_log(why, out);
    put_label(out, "command");
    buf_printf(out, "%s\n", jsonx_text(why, "command", "?"));
    put_label(out, "set in");
    buf_printf(out, "%s:%lld%s\n", jsonx_text(why, "file", "?"),
               (long long)jsonx_int(why, "line", 0),
               jsonx_bool(why, "removed", false) ? " (not there any more)" : "");
    story_put_past(why, now_us, out);
    put_evidence(why, now_us, out);
    put_outputs(why, now_us, out);
}
