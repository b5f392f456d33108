/* reload_view.c - the contract is in reload_view.h. */
#include "supervisor/cli/reload_view.h"

#include <stdio.h>
#include <string.h>

#include "io/jsonx.h"
#include "supervisor/core/table.h"

enum { NAME_COLUMNS_MAX = 24, VALUE_INDENT = 4, LINE_MAX = 16 * 1024, LISTED_MAX = 4 };

struct view {
    const json_t *answer;
    struct buf *out;
    size_t width, column; /* column: where sentences begin */
    bool colour, applied;
};

/* What happens to instances of a service, in the order in which it is told. */
static const struct fate {
    const char *name;
    const char *all;  /* of all of a service */
    const char *some; /* in front of the names of some; NULL: they are only counted */
} fates[] = {
    { "restarts", "restarts", NULL },
    { "stops", "is stopped and removed", "stops " },
    { "removed", "is removed (it did not run)", "removes " },
    { "signalled", "is sent ", NULL },
    { "left", "goes on with what it was started with", NULL },
    { "live", "changes while it runs", NULL },
    { "starts", "is new, and starts", "starts " },
    { "added", "is new, and is not started", "adds " },
    { "later", "does not run", "applies when they are started: " },
    { "scheduled", "runs by its schedule from now on", NULL },
    { "begins", "runs by its schedule no more, and starts", NULL },
    { "ends", "runs by its schedule no more, and is not started", NULL },
};
enum { NFATES = sizeof fates / sizeof *fates };

static bool is(const json_t *row, const char *key, const char *value)
{
    return strcmp(jsonx_text(row, key, ""), value) == 0;
}

static size_t count_of(const json_t *service, const char *fate)
{
    json_t *instance;
    size_t i, count = 0;

    json_array_foreach(json_object_get(service, "instances"), i, instance) count +=
        is(instance, "fate", fate);
    return count;
}

static bool interrupts(const json_t *service)
{
    json_t *instance;
    size_t i;

    json_array_foreach(json_object_get(service, "instances"), i, instance)
    {
        if (jsonx_bool(instance, "interrupts", false))
            return true;
    }
    return false;
}

static bool is_told(const json_t *service)
{
    return !is(service, "change", "same") || json_object_get(service, "scaled") ||
           json_array_size(json_object_get(service, "instances")) > 0;
}

/* --- a sentence --- */

static void put_names(const json_t *service, const struct fate *fate, struct buf *out)
{
    json_t *instance;
    size_t i, count = 0, all = count_of(service, fate->name);

    json_array_foreach(json_object_get(service, "instances"), i, instance)
    {
        if (!is(instance, "fate", fate->name) || ++count > LISTED_MAX)
            continue;
        buf_printf(out, "%s%s", count > 1 ? ", " : "", jsonx_text(instance, "id", "?"));
    }
    if (all > LISTED_MAX)
        buf_printf(out, " and %zu more", all - LISTED_MAX);
}

static const json_t *first_with(const json_t *service, const char *fate)
{
    json_t *instance;
    size_t i;

    json_array_foreach(json_object_get(service, "instances"), i, instance)
    {
        if (is(instance, "fate", fate))
            return instance;
    }
    return NULL;
}

/* In the words of the state that it is in. */
static void put_later(const json_t *instance, struct buf *out)
{
    const char *state = jsonx_text(instance, "state", "down");
    bool coming = strcmp(state, "waiting") == 0 || strcmp(state, "backoff") == 0;

    buf_printf(out, "is %s: applies %s", state,
               coming                            ? "at once"
               : strcmp(state, "scheduled") == 0 ? "from its next run on"
                                                 : "at its next start");
}

static void put_whole(const json_t *service, const struct fate *fate, struct buf *out)
{
    const json_t *first = first_with(service, fate->name);
    bool again = is(first, "fate", "restarts") && !interrupts(service);
    size_t count = count_of(service, fate->name), all = (size_t)jsonx_int(service, "of", 0);

    if (is(first, "fate", "later")) {
        put_later(first, out);
    } else if (is(first, "fate", "scheduled") && interrupts(service)) {
        buf_printf(out, "is stopped, and %s", fate->all);
    } else if (again && is(first, "state", "running")) {
        buf_puts(out, "is replaced, the new one first");
    } else if (again) {
        buf_printf(out, "is started again (%s)", jsonx_text(first, "state", "down"));
    } else {
        buf_printf(out, "%s%s", fate->all, jsonx_text(first, "signal", ""));
    }
    if (count < all)
        buf_printf(out, " (%zu of %zu instances)", count, all);
    else if (count > 1)
        buf_printf(out, " (%zu instances)", count);
}

static void put_fate(const json_t *service, const struct fate *fate, struct buf *out)
{
    size_t count = count_of(service, fate->name), all = (size_t)jsonx_int(service, "of", 0);
    bool stays = !is(service, "change", "added") && !is(service, "change", "removed");
    bool one = count == 1 && all == 1 && strcmp(fate->name, "later") == 0;

    if (out->len > 0)
        buf_puts(out, "; ");
    if (fate->some && stays && !one) {
        buf_puts(out, fate->some);
        put_names(service, fate, out);
    } else {
        put_whole(service, fate, out);
    }
}

static void put_sentence(const json_t *service, struct buf *out)
{
    for (size_t i = 0; i < NFATES; i++)
        if (count_of(service, fates[i].name) > 0)
            put_fate(service, &fates[i], out);
    if (out->len == 0)
        buf_puts(out, is(service, "change", "removed") ? "is removed"
                      : is(service, "change", "added") ? "is new, without an instance"
                      : is(service, "change", "same")  ? "stays as it is"
                                                       : "changes");
}

/* --- values --- */

static void put_cut(const struct view *view, const char *text, size_t indent)
{
    size_t len = strlen(text), room = view->width > indent ? view->width - indent : 0;
    bool cut = view->width > 0 && len > room;

    if (cut)
        len = room > 3 ? room - 3 : 0;
    while (cut && len > 0 && (text[len] & 0xC0) == 0x80) /* not within a letter */
        len--;
    for (size_t i = 0; i < len; i++)
        buf_putc(view->out, text[i] == '\n' || text[i] == '\t' ? ' ' : text[i]);
    buf_puts(view->out, cut ? "...\n" : "\n");
}

static void put_line(const struct view *view, size_t indent, const char *text)
{
    buf_printf(view->out, "%*s", (int)indent, "");
    put_cut(view, text, indent);
}

/* "key: old -> new", on two lines where that is too long. */
static void put_change(const struct view *view, const json_t *change, size_t indent,
                       const char *after)
{
    const char *release = jsonx_text(change, "release", NULL);
    char more[128];
    snprintf(more, sizeof more, "%s%s%s%s", release ? " (as release " : "", release ? release : "",
             release ? " says)" : "", after);
    const char *variables = jsonx_text(change, "variables", NULL);
    const char *old = jsonx_text(change, "old", "(none)"),
               *new = jsonx_text(change, "new", "(none)");
    const char *key = jsonx_text(change, "key", "?");
    bool whole = variables || strcmp(old, new) == 0;
    struct buf line;

    buf_init(&line, LINE_MAX);
    if (variables)
        buf_printf(&line, "%s: %s%s", key, variables, more);
    else if (strcmp(old, new) == 0)
        buf_printf(&line, "%s: what it is filled in with has changed%s", key, more);
    else
        buf_printf(&line, "%s: %s -> %s%s", key, old, new, more);
    if (view->width == 0 || line.len + indent <= view->width || whole) {
        put_line(view, indent, buf_text(&line));
    } else {
        buf_clear(&line);
        buf_printf(&line, "%s: %s", key, old);
        put_line(view, indent, buf_text(&line));
        buf_clear(&line);
        buf_printf(&line, "-> %s%s", new, more);
        put_line(view, indent + 2, buf_text(&line));
    }
    buf_done(&line);
}

/* First what makes it restart, then the rest. */
static void put_changes(const struct view *view, const json_t *service)
{
    json_t *change;
    size_t i;

    for (int restart = 1; restart >= 0; restart--) {
        json_array_foreach(json_object_get(service, "changes"), i, change)
        {
            if (is(change, "takes", "restart") == restart)
                put_change(view, change, VALUE_INDENT, "");
        }
    }
}

/* Reasons that are no keys. */
static void put_reasons(const struct view *view, const json_t *service)
{
    static const char *const wordy[][2] = {
        { "contents of environment_file", "what its environment_file says has changed" },
        { "contents of reload_files", "what its reload_files say has changed" },
        { "settings of before an earlier reload",
          "runs with settings of before an earlier reload" },
    };
    json_t *instance, *reason;
    size_t i, k;
    unsigned told = 0;
    long long scaled = (long long)jsonx_int(service, "scaled", -1);
    char line[128];

    snprintf(line, sizeof line, "numprocs: \"supervisor scale\" has set it to %lld, which stays",
             scaled);
    if (scaled >= 0)
        put_line(view, VALUE_INDENT, line);

    json_array_foreach(json_object_get(service, "instances"), i, instance)
    {
        json_array_foreach(json_object_get(instance, "because"), k, reason)
        {
            for (size_t w = 0; w < sizeof wordy / sizeof *wordy; w++) {
                if (strcmp(json_string_value(reason), wordy[w][0]) != 0 || told >> w & 1)
                    continue;
                told |= 1u << w;
                put_line(view, VALUE_INDENT, wordy[w][1]);
            }
        }
    }
}

/* --- services --- */

static void put_service(const struct view *view, const json_t *service)
{
    const char *name = jsonx_text(service, "service", "?");
    bool bad = interrupts(service);
    struct buf sentence;

    buf_init(&sentence, LINE_MAX);
    put_sentence(service, &sentence);
    buf_printf(view->out, "  %-*s  ", (int)view->column, name);
    table_put(view->out, buf_text(&sentence), bad ? TABLE_WARN : TABLE_PLAIN, view->colour);
    buf_putc(view->out, '\n');
    buf_done(&sentence);
    put_changes(view, service);
    put_reasons(view, service);
}

/* How many there were. */
static size_t put_part(const struct view *view, bool interrupted, const char *heading)
{
    json_t *service;
    size_t i, count = 0;

    json_array_foreach(json_object_get(view->answer, "services"), i, service)
    {
        if (!is_told(service) || interrupts(service) != interrupted)
            continue;
        if (count++ == 0)
            buf_printf(view->out, "%s\n", heading);
        put_service(view, service);
    }
    return count;
}

static size_t column_of(const json_t *answer)
{
    json_t *service;
    size_t i, column = 0;

    json_array_foreach(json_object_get(answer, "services"), i, service)
    {
        size_t len = strlen(jsonx_text(service, "service", ""));
        if (is_told(service) && len > column)
            column = len;
    }
    return column < NAME_COLUMNS_MAX ? column : NAME_COLUMNS_MAX;
}

static size_t put_list(const struct view *view, const char *key, const char *what)
{
    const json_t *names = json_object_get(view->answer, key);
    size_t count = json_array_size(names);

    if (count > 0)
        buf_puts(view->out, what);
    for (size_t i = 0; i < count; i++)
        buf_printf(view->out, "%s%s", i ? ", " : "", json_string_value(json_array_get(names, i)));
    if (count > 0)
        buf_putc(view->out, '\n');
    return count;
}

static size_t put_supervisor(const struct view *view)
{
    json_t *changes = json_object_get(view->answer, "supervisor_changes"), *change;
    size_t i;

    if (json_array_size(changes) > 0)
        buf_puts(view->out, "[supervisor]\n");
    json_array_foreach(changes, i, change)
        put_change(view, change, VALUE_INDENT,
                   is(change, "takes", "restart") ? " (when the supervisor starts again)" : "");
    return json_array_size(changes) + put_list(view, "sockets", "sockets that change: ") +
           put_list(view, "access", "rights that change: ");
}

void reload_view(const json_t *answer, size_t width, bool colour, struct buf *out)
{
    const struct view view = { .answer = answer,
                               .out = out,
                               .width = width,
                               .column = column_of(answer),
                               .colour = colour,
                               .applied = jsonx_bool(answer, "applied", false) };
    size_t all = json_array_size(json_object_get(answer, "services"));

    size_t told = put_part(&view, true, view.applied ? "interrupted:" : "would be interrupted:");
    told += put_part(&view, false, view.applied ? "not interrupted:" : "would not be interrupted:");
    size_t same = all - told;
    told += put_supervisor(&view);
    if (told == 0)
        buf_printf(out, "nothing has changed (%zu service%s)\n", same, same == 1 ? "" : "s");
    else
        buf_printf(out, "%zu service%s unchanged\n", same, same == 1 ? "" : "s");
}
