/* top.c - the contract is in top.h. */
#include "supervisor/cli/top.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/unit.h"
#include "io/jsonx.h"
#include "supervisor/core/status.h"
#include "supervisor/core/table.h"

enum { TEXT_MAX = 1024 * 1024, FRAME_LINES = 4, CELL_MAX = 40 };

const char *top_order_name(enum top_order order)
{
    static const char *const names[TOP_NORDERS] = { [TOP_BY_CPU] = "cpu",
                                                    [TOP_BY_MEMORY] = "memory",
                                                    [TOP_BY_RESTARTS] = "restarts",
                                                    [TOP_BY_NAME] = "name" };
    return names[order];
}

static size_t count_instances(const json_t *status)
{
    json_t *service;
    size_t i, count = 0;

    json_array_foreach(json_object_get(status, "services"), i, service)
    {
        count += json_array_size(json_object_get(service, "instances"));
    }
    return count;
}

static void fill(struct top *top)
{
    json_t *service, *instance;
    size_t i, k;

    json_array_foreach(json_object_get(top->status, "services"), i, service)
    {
        json_array_foreach(json_object_get(service, "instances"), k, instance)
        {
            pid_t pid = (pid_t)jsonx_int(instance, "pid", 0);
            top->rows[top->count++] =
                (struct top_row){ .instance = instance, .sum = { .main = pid }, .cpu = -1 };
        }
    }
}

static int by_main(const void *a, const void *b)
{
    const struct top_row *x = a, *y = b;

    return x->sum.main < y->sum.main ? -1 : x->sum.main > y->sum.main;
}

static const struct top_row *row_of(const struct top *top, pid_t main)
{
    const struct top_row key = { .sum = { .main = main } };

    return top && main > 0 ? bsearch(&key, top->rows, top->count, sizeof key, by_main) : NULL;
}

/* Children that ended between two looks took their time with them: never below nothing. */
static double cpu_of(const struct top_row *row, const struct top_row *old, int64_t passed_ms)
{
    if (!old || passed_ms <= 0)
        return -1;
    double seconds =
        (double)(row->sum.cpu_ticks - old->sum.cpu_ticks) / (double)sysconf(_SC_CLK_TCK);
    return seconds > 0 ? seconds * 1000.0 / (double)passed_ms * 100.0 : 0;
}

bool top_look(json_t *status, const struct usage *usage, const struct top *before, int64_t now_ms,
              struct top *ret)
{
    size_t count = count_instances(status);
    struct usage_sum *sums = calloc(count + 1, sizeof *sums);

    *ret = (struct top){ .status = status, .at_ms = now_ms };
    ret->rows = calloc(count + 1, sizeof *ret->rows);
    if (!sums || !ret->rows) {
        free(sums);
        top_done(ret);
        return false;
    }
    fill(ret);
    qsort(ret->rows, ret->count, sizeof *ret->rows, by_main);
    for (size_t i = 0; i < count; i++)
        sums[i].main = ret->rows[i].sum.main;
    usage_attribute(usage, sums, count);
    for (size_t i = 0; i < count; i++) {
        ret->rows[i].sum = sums[i];
        ret->rows[i].cpu = cpu_of(&ret->rows[i], row_of(before, sums[i].main),
                                  before ? now_ms - before->at_ms : 0);
    }
    free(sums);
    return true;
}

void top_done(struct top *top)
{
    json_decref(top->status);
    free(top->rows);
    *top = (struct top){ .count = 0 };
}

static const char *id_of(const struct top_row *row) { return jsonx_text(row->instance, "id", "?"); }

static json_int_t restarts_of(const struct top_row *row)
{
    return jsonx_int(row->instance, "restarts", 0);
}

/* Most first; equal ones by name, so that lines do not jump about. */
static int by_order(const void *a, const void *b, void *context)
{
    const struct top_row *x = *(const struct top_row *const *)a;
    const struct top_row *y = *(const struct top_row *const *)b;
    double more = 0;

    switch (*(const enum top_order *)context) {
    case TOP_BY_CPU:
        more = y->cpu - x->cpu;
        break;
    case TOP_BY_MEMORY:
        more = (double)(y->sum.rss_bytes - x->sum.rss_bytes);
        break;
    case TOP_BY_RESTARTS:
        more = (double)(restarts_of(y) - restarts_of(x));
        break;
    case TOP_BY_NAME:
    case TOP_NORDERS:
        break;
    }
    return more > 0 ? 1 : more < 0 ? -1 : strcmp(id_of(x), id_of(y));
}

static const struct table_column columns[] = {
    { "NAME", false, false },    { "STATE", false, false }, { "READY", false, false },
    { "HEALTH", false, true },   { "PID", true, false },    { "CPU%", true, false },
    { "MEMORY", true, false },   { "PROCS", true, false },  { "UPTIME", true, false },
    { "RESTARTS", true, false }, { "NOTE", false, true },
};

static void add_count(struct table *table, int64_t count)
{
    char text[CELL_MAX];

    snprintf(text, sizeof text, "%lld", (long long)count);
    table_add(table, count ? text : NULL, TABLE_PLAIN);
}

static void add_row(struct table *table, const struct top_row *row)
{
    const json_t *instance = row->instance;
    const char *health = jsonx_text(instance, "health", "unknown");
    double uptime = jsonx_real(instance, "uptime_s", -1);
    bool runs = row->sum.processes > 0;
    char text[UNIT_TEXT_MAX], cpu[CELL_MAX];
    struct buf note;

    snprintf(cpu, sizeof cpu, "%.1f", row->cpu);
    table_add(table, id_of(row), TABLE_PLAIN);
    table_add(table, jsonx_text(instance, "state", "?"), status_paint(instance));
    table_add(table, jsonx_bool(instance, "ready", false) ? "yes" : "no", TABLE_PLAIN);
    table_add(table, strcmp(health, "unknown") == 0 ? NULL : health,
              strcmp(health, "bad") == 0 ? TABLE_BAD : TABLE_PLAIN);
    add_count(table, row->sum.main);
    table_add(table, runs && row->cpu >= 0 ? cpu : NULL, TABLE_PLAIN);
    table_add(table, runs ? unit_size_text(row->sum.rss_bytes, text) : NULL, TABLE_PLAIN);
    add_count(table, (int64_t)row->sum.processes);
    table_add(table, uptime >= 0 ? unit_duration_text((int64_t)uptime * 1000, text) : NULL,
              TABLE_PLAIN);
    add_count(table, restarts_of(row));
    buf_init(&note, TEXT_MAX);
    status_note(instance, &note);
    table_add(table, buf_text(&note), TABLE_DIM);
    buf_done(&note);
}

struct totals {
    double cpu;
    int64_t rss_bytes;
    size_t processes, well;
};

static struct totals totals_of(const struct top *top)
{
    struct totals all = { .cpu = 0 };

    for (size_t i = 0; i < top->count; i++) {
        const struct top_row *row = &top->rows[i];

        all.cpu += row->cpu > 0 ? row->cpu : 0;
        all.rss_bytes += row->sum.rss_bytes;
        all.processes += row->sum.processes;
        all.well += status_well(row->instance);
    }
    return all;
}

static void put_head(const struct top *top, enum top_order order, struct buf *out)
{
    const json_t *supervisor = json_object_get(top->status, "supervisor");
    struct totals all = totals_of(top);
    char up[UNIT_TEXT_MAX], size[UNIT_TEXT_MAX];

    buf_printf(out, "supervisor %s, up %s, %zu instances: %zu well, %zu not\n",
               jsonx_text(supervisor, "version", "?"),
               unit_duration_text((int64_t)jsonx_real(supervisor, "uptime_s", 0) * 1000, up),
               top->count, all.well, top->count - all.well);
    buf_printf(out, "%.1f%% cpu, %s in %zu processes; by %s\n\n", all.cpu,
               unit_size_text(all.rss_bytes, size), all.processes, top_order_name(order));
}

void top_print(const struct top *top, enum top_order order, size_t lines, size_t width, bool colour,
               struct buf *out)
{
    const struct top_row **sorted = calloc(top->count + 1, sizeof *sorted);
    size_t shown = top->count;
    struct table table;

    if (!sorted)
        return;
    for (size_t i = 0; i < top->count; i++)
        sorted[i] = &top->rows[i];
    qsort_r(sorted, top->count, sizeof *sorted, by_order, &order);
    if (lines > 0 && shown + FRAME_LINES > lines)
        shown = lines > FRAME_LINES ? lines - FRAME_LINES : 0;
    put_head(top, order, out);
    table_init(&table, columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < shown; i++)
        add_row(&table, sorted[i]);
    table_print(&table, width, colour, out);
    table_done(&table);
    free(sorted);
}

json_t *top_json(const struct top *top)
{
    struct totals all = totals_of(top);
    json_t *result = json_object(), *instances = json_array();

    jsonx_set_real(result, "cpu_percent", all.cpu);
    jsonx_set_int(result, "memory_bytes", all.rss_bytes);
    for (size_t i = 0; i < top->count; i++) {
        const struct top_row *row = &top->rows[i];
        json_t *instance = json_deep_copy(row->instance);

        if (row->cpu >= 0)
            jsonx_set_real(instance, "cpu_percent", row->cpu);
        else
            json_object_set_new(instance, "cpu_percent", json_null());
        jsonx_set_int(instance, "memory_bytes", row->sum.rss_bytes);
        jsonx_set_int(instance, "processes", (json_int_t)row->sum.processes);
        json_array_append_new(instances, instance);
    }
    json_object_set_new(result, "instances", instances);
    return result;
}
