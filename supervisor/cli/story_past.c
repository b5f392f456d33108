/* story_past.c - the contract is in story_past.h. */
#include "supervisor/cli/story_past.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/unit.h"
#include "base/when.h"
#include "io/jsonx.h"
#include "supervisor/cli/words.h"

enum { LINES_SHOWN = 12, TEXT_MAX = 512, INDENT_COLUMNS = 14, DETAILS_MAX = 400 };
#define BLANK_TIME "              "

static bool is(const json_t *object, const char *key, const char *value)
{
    return strcmp(jsonx_text(object, key, ""), value) == 0;
}

static int64_t time_of(const json_t *event)
{
    int64_t at = 0;

    return when_parse(jsonx_text(event, "at", ""), &at) ? at : 0;
}

int64_t story_since(const json_t *why, int64_t now_us)
{
    const json_t *events = json_object_get(why, "events"); /* newest first */
    double uptime = jsonx_real(why, "uptime_s", -1);
    json_t *event;
    size_t i;

    json_array_foreach((json_t *)events, i, event)
    {
        if (is(event, "event", "state") && !jsonx_bool(event, "twin", false))
            return time_of(event);
    }
    if (uptime >= 0)
        return now_us - (int64_t)(uptime * 1e6);
    return time_of(json_object_get(why, "last_exit"));
}

/* --- ends over time --- */

static bool has_blocks(void)
{
    const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        if (text && *text)
            return strcasestr(text, "utf-8") || strcasestr(text, "utf8");
    }
    return false;
}

/* One character for each `step` numbers: how many of `most` they are together. */
static void draw(const json_t *counts, size_t step, struct buf *out)
{
    static const char *const blocks[] = { "\u2581", "\u2582", "\u2583", "\u2584",
                                          "\u2585", "\u2586", "\u2587", "\u2588" };
    size_t size = json_array_size(counts), levels = sizeof blocks / sizeof *blocks;
    json_int_t sums[64] = { 0 }, most = 1;
    bool pretty = has_blocks();

    for (size_t i = 0; i < size && i / step < sizeof sums / sizeof *sums; i++) {
        sums[i / step] += json_integer_value(json_array_get(counts, i));
        most = sums[i / step] > most ? sums[i / step] : most;
    }
    for (size_t i = 0; i < (size + step - 1) / step; i++) {
        if (sums[i] == 0)
            buf_puts(out, pretty ? "\u00b7" : ".");
        else if (pretty)
            buf_puts(out, blocks[(size_t)(sums[i] * (json_int_t)(levels - 1) / most)]);
        else
            buf_putc(out, sums[i] > 9 ? '#' : (char)('0' + sums[i]));
    }
}

static json_int_t sum(const json_t *counts, size_t last)
{
    size_t size = json_array_size(counts);
    json_int_t total = 0;

    for (size_t i = size > last ? size - last : 0; i < size; i++)
        total += json_integer_value(json_array_get(counts, i));
    return total;
}

void story_put_ends(const json_t *why, struct buf *out)
{
    const json_t *exits = json_object_get(why, "exits");
    const json_t *minutes = json_object_get(exits, "minutes"),
                 *hours = json_object_get(exits, "hours");
    json_int_t hour = sum(minutes, 60), day = sum(hours, 24);
    int64_t restarts = jsonx_int(why, "restarts", 0);

    if (restarts == 0 && day == 0)
        return;
    buf_printf(out, "  %-13s %lld in all", "restarts", (long long)restarts);
    if (day == 0) {
        buf_puts(out, "; no end in the last day\n");
        return;
    }
    buf_printf(out, "; ends: %lld in 5 minutes, %lld in an hour, %lld in a day\n",
               (long long)sum(minutes, 5), (long long)hour, (long long)day);
    if (hour > 1) {
        buf_printf(out, "  %-13s ", "last hour");
        draw(minutes, 2, out);
        buf_puts(out, " now\n");
    }
    if (day > hour) {
        buf_printf(out, "  %-13s ", "last day");
        draw(hours, 1, out);
        buf_puts(out, " now\n");
    }
}

/* --- the timeline --- */

/* What an event says; empty: it is not worth a line. */
static void put_end(const json_t *event, struct buf *out)
{
    const char *why = jsonx_text(event, "why", NULL);

    if (jsonx_text(event, "error", NULL)) {
        buf_puts(out, jsonx_text(event, "error", ""));
        return;
    }
    words_put_exit(out, event);
    if (jsonx_text(event, "release", NULL))
        buf_printf(out, ", release %s", jsonx_text(event, "release", ""));
    if (jsonx_text(event, "said_error", NULL))
        buf_printf(out, ", it said: %s", jsonx_text(event, "said_error", ""));
    if (jsonx_text(event, "said_error_name", NULL))
        buf_printf(out, ", it said: %s", jsonx_text(event, "said_error_name", ""));
    if (why)
        buf_printf(out, "; %s", why);
}

/* Only one that went wrong is worth a line. */
static void put_hook(const json_t *event, struct buf *out)
{
    if (is(event, "hook", "") || (jsonx_int(event, "code", -1) == 0))
        return;
    buf_printf(out, "its %s failed: ", jsonx_text(event, "hook", "?"));
    if (jsonx_text(event, "error", NULL))
        buf_puts(out, jsonx_text(event, "error", ""));
    else
        words_put_exit(out, event);
}

static void put_who(const json_t *event, struct buf *out)
{
    const char *who = jsonx_text(event, "who", NULL);

    if (who)
        buf_printf(out, " by %s", who);
    else if (json_is_integer(json_object_get(event, "uid"))) {
        buf_puts(out, " by ");
        words_put_user(out, jsonx_int(event, "uid", 0));
        buf_printf(out, " (%s, pid %lld)", jsonx_text(event, "command", "?"),
                   (long long)jsonx_int(event, "pid", 0));
    }
}

static void put_order(const json_t *event, struct buf *out)
{
    const char *name;
    json_t *names = json_object_get(event, "names");

    buf_puts(out, jsonx_text(event, "order", jsonx_text(event, "event", "?")));
    if (jsonx_text(event, "release", NULL))
        buf_printf(out, " %s", jsonx_text(event, "release", ""));
    name = json_string_value(json_array_get(names, 0));
    if (name)
        buf_printf(out, " %s%s", name, json_array_size(names) > 1 ? " and others" : "");
    put_who(event, out);
}

/* One kind of line for all good runs, so that many of them are one line. */
static void put_job(const json_t *event, struct buf *out)
{
    const char *why = jsonx_text(event, "why", NULL), *result = jsonx_text(event, "result", "");
    int64_t count = jsonx_int(event, "count", 0);

    if (is(event, "event", "job-started"))
        return; /* its end tells */
    if (is(event, "event", "job-finished"))
        buf_printf(out, "a run ended: %s%s%s", result, why ? "; " : "", why ? why : "");
    else
        buf_printf(out, "%lld run%s %s: %s", (long long)count, count == 1 ? " was" : "s were",
                   is(event, "event", "job-missed") ? "missed" : "skipped", why ? why : "?");
}

/* An event that we have no words for: its members. */
static void put_other(const json_t *event, struct buf *out)
{
    static const char *const plain[] = { "seq", "at", "event", "instance", NULL };
    const char *key, *between = ": ";
    json_t *value;

    buf_puts(out, jsonx_text(event, "event", "?"));
    json_object_foreach((json_t *)event, key, value)
    {
        bool known = false;
        for (const char *const *at = plain; *at; at++)
            known |= strcmp(*at, key) == 0;
        if (known || out->len > DETAILS_MAX)
            continue;
        buf_printf(out, "%s%s ", between, key);
        if (json_is_string(value))
            buf_puts(out, json_string_value(value));
        else {
            char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
            buf_puts(out, text ? text : "?");
            free(text);
        }
        between = ", ";
    }
}

static void put_words(const json_t *event, struct buf *out)
{
    if (is(event, "event", "state") || is(event, "event", "evidence"))
        return;
    if (is(event, "event", "hook"))
        put_hook(event, out);
    else if (is(event, "event", "exit"))
        put_end(event, out);
    else if (is(event, "event", "order"))
        put_order(event, out);
    else if (strncmp(jsonx_text(event, "event", ""), "job-", 4) == 0)
        put_job(event, out);
    else if (is(event, "event", "core-start"))
        buf_printf(out, "%s",
                   jsonx_int(event, "restarts", 0) > 0 ? "the supervisor's core was restarted"
                                                       : "the supervisor started");
    else if (is(event, "event", "reload"))
        buf_puts(out, "the configuration was reloaded");
    else if (is(event, "event", "log-error"))
        buf_printf(out, "its log (%s) could not be written: %s", jsonx_text(event, "output", "?"),
                   jsonx_text(event, "error", "?"));
    else if (is(event, "event", "log-ok"))
        buf_printf(out, "its log (%s) could be written again", jsonx_text(event, "output", "?"));
    else
        put_other(event, out);
}

struct line {
    int64_t first_us, last_us;
    size_t times;
    bool end, twin;
    double least_s, most_s; /* uptimes of ends; -1 = not known */
    char text[TEXT_MAX];
};

static void note_uptime(struct line *line, const json_t *event)
{
    double uptime = jsonx_real(event, "uptime_s", -1);

    if (uptime < 0 || jsonx_text(event, "error", NULL))
        return;
    if (line->most_s < 0 || uptime < line->least_s)
        line->least_s = uptime;
    if (uptime > line->most_s)
        line->most_s = uptime;
}

/* From the newest back: the lines that fit, the newest first.  Returns how many. */
static size_t make_lines(const json_t *events, struct line *lines, size_t *ret_more)
{
    size_t count = 0, i;
    json_t *event;

    *ret_more = 0;
    json_array_foreach((json_t *)events, i, event)
    {
        struct buf words;
        buf_init(&words, TEXT_MAX);
        put_words(event, &words);
        const char *text = buf_text(&words);
        struct line *before = count > 0 ? &lines[count - 1] : NULL;
        bool end = is(event, "event", "exit") && !jsonx_text(event, "error", NULL);
        bool twin = jsonx_bool(event, "twin", false);
        if (*text && before && *ret_more == 0 && strcmp(before->text, text) == 0 &&
            before->end == end && before->twin == twin) {
            before->times++;
            before->first_us = time_of(event);
            note_uptime(before, event);
        } else if (*text && count == LINES_SHOWN) {
            ++*ret_more;
        } else if (*text) {
            struct line *line = &lines[count++];
            *line = (struct line){ .times = 1, .end = end, .twin = twin, .most_s = -1 };
            line->first_us = line->last_us = time_of(event);
            snprintf(line->text, sizeof line->text, "%s", text);
            note_uptime(line, event);
        }
        buf_done(&words);
    }
    return count;
}

static void put_line(const struct line *line, int64_t now_us, struct buf *out)
{
    char clock[WHEN_TEXT_MAX], text[UNIT_TEXT_MAX];
    struct buf words;

    buf_init(&words, 2 * TEXT_MAX);
    if (line->end)
        buf_puts(&words, line->twin ? "its replacement ended" : "ended");
    if (line->most_s >= 0) {
        char most[UNIT_TEXT_MAX];
        buf_printf(&words, " after %s",
                   unit_duration_text((int64_t)(line->least_s * 1000.0), text));
        unit_duration_text((int64_t)(line->most_s * 1000.0), most);
        if (strcmp(text, most) != 0)
            buf_printf(&words, " to %s", most);
    }
    buf_printf(&words, "%s%s", line->end ? ": " : "", line->text);
    if (line->times > 1)
        buf_printf(&words, " (%zu times, until %s)", line->times,
                   when_clock(line->last_us, now_us, clock));
    when_clock(line->first_us, now_us, clock);
    buf_printf(out, "    %s  ", clock);
    buf_wrap(out, buf_text(&words), 4 + strlen(clock) + 2, BLANK_TIME);
    buf_done(&words);
}

void story_put_past(const json_t *why, int64_t now_us, struct buf *out)
{
    struct line *lines = calloc(LINES_SHOWN, sizeof *lines);
    size_t more, count = lines ? make_lines(json_object_get(why, "events"), lines, &more) : 0;

    if (count > 0)
        buf_printf(out, "\n  What happened%s:\n", more > 0 ? " lately" : "");
    for (size_t i = count; i-- > 0;)
        put_line(&lines[i], now_us, out);
    free(lines);
}
