/* view_why.c - view_why() of view.h.
 *
 * What happened comes from three places: the history of the instance, which nobody else can turn
 * out; that of orders; and the recorder, for the states.  Each event is parsed only when its text
 * has a name in it that may mean this instance.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "io/jsonx.h"
#include "supervisor/core/outputs.h"
#include "supervisor/release/releases.h"
#include "supervisor/core/spawn.h"
#include "supervisor/core/view.h"

enum {
    WHY_EVENTS = 60, /* of which so many ... */
    WHY_STATES = 20, /* ... states at most */
    WHY_LINES = 20,
    WHY_BYTES = 8192,
    CHAIN_MAX = 16,
    MARK_MAX = 2 * SPEC_NAME_MAX + 4,
};

struct find_events {
    const struct slot *slot;
    char mark[MARK_MAX]; /* the instance as it stands in the text of an event */
    size_t mark_len, states;
    json_t *found; /* in any order; some twice */
};

static bool names_it(const json_t *names, const struct slot *slot)
{
    const char *group = slot->spec->group ? slot->spec->group : "";
    json_t *name;
    size_t i;

    json_array_foreach((json_t *)names, i, name)
    {
        const char *text = json_string_value(name);
        size_t len = text ? strlen(text) : 0;
        if (!text)
            continue;
        if (strcmp(text, slot->name) == 0 || strcmp(text, slot->spec->name) == 0 ||
            strcmp(text, "all") == 0)
            return true;
        if (len > 2 && strcmp(text + len - 2, ":*") == 0 && strlen(group) == len - 2 &&
            strncmp(text, group, len - 2) == 0)
            return true;
    }
    return false;
}

static bool concerns(const json_t *event, const struct slot *slot)
{
    static const char *const all[] = { "core-start", "reload", "shutdown", "ledger-rebuilt",
                                       "upgrade" };
    const char *path = jsonx_text(event, "path", "");
    const char *kind = jsonx_text(event, "event", "");

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(kind, all[i]) == 0)
            return true;
    return (slot->spec->release && strcmp(path, slot->spec->release) == 0) ||
           strcmp(jsonx_text(event, "instance", ""), slot->name) == 0 ||
           (strcmp(kind, "scale") == 0 &&
            strcmp(jsonx_text(event, "service", ""), slot->spec->name) == 0) ||
           names_it(json_object_get(event, "names"), slot);
}

static void take(struct find_events *find, const char *text, size_t len)
{
    struct err err = { 0 };
    json_t *event = jsonx_parse(text, len, &err);

    if (event && concerns(event, find->slot))
        json_array_append(find->found, event);
    json_decref(event);
}

static void take_own(void *context, uint64_t number, const char *text, size_t len)
{
    (void)number;
    take(context, text, len);
}

static bool take_state(void *context, uint64_t number, const char *text, size_t len)
{
    struct find_events *find = context;

    (void)number;
    if (!memmem(text, len, find->mark, find->mark_len))
        return true;
    find->states += memmem(text, len, "\"event\":\"state\"", 15) != NULL;
    take(find, text, len);
    return find->states < WHY_STATES;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = jsonx_int(*(json_t *const *)a, "seq", 0);
    int64_t y = jsonx_int(*(json_t *const *)b, "seq", 0);

    return x < y ? 1 : x > y ? -1 : 0;
}

/* Sorted, each once, at most WHY_EVENTS. */
static json_t *in_order(const json_t *found)
{
    size_t count = json_array_size(found);
    json_t **all = calloc(count + 1, sizeof(json_t *)), *ret = json_array();
    int64_t before = -1;

    for (size_t i = 0; all && i < count; i++)
        all[i] = json_array_get(found, i);
    if (all)
        qsort(all, count, sizeof(json_t *), newest_first);
    for (size_t i = 0; all && i < count && json_array_size(ret) < WHY_EVENTS; i++) {
        int64_t number = jsonx_int(all[i], "seq", 0);
        if (number != before)
            json_array_append(ret, all[i]);
        else if (!jsonx_bool(all[i], "cut", false)) /* a whole one instead of its head */
            json_array_set(ret, json_array_size(ret) - 1, all[i]);
        before = number;
    }
    free(all);
    return ret;
}

static json_t *events_of(const struct core *core, const struct slot *slot)
{
    struct find_events find = { .slot = slot, .found = json_array() };

    find.mark_len = (size_t)snprintf(find.mark, sizeof find.mark, "\"%s\"", slot->name);
    if (core->history) {
        history_read(core->history, slot->name, take_own, &find);
        history_read(core->history, NULL, take_own, &find);
    }
    recorder_read_back(&core->recorder, take_state, &find);
    json_t *ret = in_order(find.found);
    json_decref(find.found);
    return ret;
}

/* Ends in the last minutes and hours, the present ones last. */
static json_t *counts_json(const struct core *core, const struct slot *slot)
{
    struct history_counts counts = { 0 };
    json_t *row = json_object(), *minutes = json_array(), *hours = json_array();

    if (core->history)
        history_counts(core->history, slot->name, clock_wall_us() / 1000000, &counts);
    for (size_t i = 0; i < HISTORY_MINUTES; i++)
        json_array_append_new(minutes, json_integer(counts.minutes[i]));
    for (size_t i = 0; i < HISTORY_HOURS; i++)
        json_array_append_new(hours, json_integer(counts.hours[i]));
    json_object_set_new(row, "minutes", minutes);
    json_object_set_new(row, "hours", hours);
    return row;
}

static json_t *needs_json(const struct core *core, const struct slot *slot)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < slot->spec->nneeds; i++) {
        struct slot *const *others;
        size_t count = keeper_slots_of(core->keeper, slot->spec->needs[i], &others);

        for (size_t k = 0; k < count; k++) {
            json_t *row = json_object();
            jsonx_set_text(row, "instance", others[k]->name);
            jsonx_set_text(row, "state", lifecycle_state_name(keeper_state(others[k])));
            jsonx_set_bool(row, "ready", others[k]->main->body.lc.ready);
            json_array_append_new(rows, row);
        }
    }
    return rows;
}

/* Whom it waits for, whom that one waits for, and so on to one that does not wait. */
static json_t *chain_json(const struct core *core, const struct slot *slot)
{
    json_t *rows = json_array();

    while (slot && slot->main->body.lc.state == LIFECYCLE_WAITING &&
           json_array_size(rows) < CHAIN_MAX) {
        char name[MARK_MAX];
        const char *reason = slot->main->reason; /* "db:0 (backoff)" */
        snprintf(name, sizeof name, "%.*s", (int)strcspn(reason, " "), reason);
        slot = keeper_find(core->keeper, name);
        if (slot)
            json_array_append_new(rows, view_instance(core->keeper, slot));
    }
    return rows;
}

static void put_stream(json_t *row, const char *log, const char *log_key, const char *output_key)
{
    if (!log || log[0] != '/')
        return;
    char *tail = outputs_tail(log, WHY_LINES, WHY_BYTES);
    jsonx_set_text(row, log_key, log);
    jsonx_set_text(row, output_key, tail ? tail : "");
    free(tail);
}

static void put_made(const struct core *core, const struct slot *slot, json_t *row)
{
    struct arena arena;

    arena_init(&arena);
    const struct instance *made = spawn_look(core, slot->main, &arena);
    if (made) {
        put_stream(row, made->stdout_log, "log", "output");
        put_stream(row, made->stderr_log, "stderr_log", "stderr_output");
        jsonx_set_text(row, "stdout", made->stdout_log);
        jsonx_set_text(row, "stderr", made->stderr_log);
    }
    arena_done(&arena);
}

/* Which of its settings came with its release. */
static void put_release_keys(const struct spec_service *spec, json_t *row)
{
    json_t *keys = json_array();

    for (size_t i = 0; i < spec->release_keys.count; i++)
        json_array_append_new(keys, json_string(spec->release_keys.names[i]));
    if (spec->release_id)
        json_object_set(row, "release_keys", keys);
    json_decref(keys);
}

json_t *view_why(const struct core *core, const struct slot *slot)
{
    int64_t open_ms;

    keeper_number_turns(core->keeper, &open_ms);
    json_t *row = view_instance(core->keeper, slot);

    json_object_set_new(row, "events", events_of(core, slot));
    json_object_set_new(row, "exits", counts_json(core, slot));
    json_object_set_new(row, "needs", slot->removed ? json_array() : needs_json(core, slot));
    json_object_set_new(row, "waits_for", chain_json(core, slot));
    jsonx_set_text(row, "service", slot->spec->name);
    jsonx_set_text(row, "group", slot->spec->group);
    jsonx_set_text(row, "release_path", slot->spec->release);
    jsonx_set_text(row, "ready_check", unit_spec(slot->main)->set->ready.target);
    jsonx_set_text(row, "live_check", unit_spec(slot->main)->set->live.target);
    put_release_keys(unit_spec(slot->main), row);
    jsonx_set_text(row, "file", slot->spec->file);
    jsonx_set_int(row, "line", slot->spec->line);
    jsonx_set_text(row, "command", unit_spec(slot->main)->command);
    jsonx_set_bool(row, "removed", slot->removed);
    jsonx_set_int(row, "core_restarts", core->ledger.header->core_restarts);
    put_made(core, slot, row);
    return row;
}
