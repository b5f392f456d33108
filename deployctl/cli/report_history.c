/* report_history.c - deployctl history: the journals of all hosts as one.
 *
 * What many hosts did in the same rollout is one line for people: three hundred times the same says
 * nothing.  Programs get each line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "deployctl/cli/report.h"
#include "deployctl/cli/table.h"
#include "io/jsonx.h"

enum {
    DIGEST_SHOWN = 8,
    VALUE_SHOWN = 160,
    REST_MAX = 600,
    NAMED = 3,
    NAMED_WIDTH = 48,
    NAMES_MAX = 400
};

struct entry {
    const char *host;
    const json_t *line;
};

static int newer(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = strcmp(jsonx_text(y->line, "at", ""), jsonx_text(x->line, "at", ""));
    if (order == 0) {
        int64_t left = jsonx_int(y->line, "n", 0), right = jsonx_int(x->line, "n", 0);
        order = (left > right) - (left < right);
    }
    return order;
}

/* Everything of a line that has no column of its own. */
static const char *rest_of(const json_t *line, char *text, size_t size)
{
    static const char *const shown[] = {
        "n", "at", "act", "id", "release", "crc32", "token", NULL
    };
    const char *key;
    const json_t *value;
    size_t len = 0;
    text[0] = '\0';
    json_object_foreach((json_t *)line, key, value)
    {
        bool skip = !json_is_string(value) && !json_is_integer(value) && !json_is_true(value);
        for (size_t i = 0; shown[i]; i++)
            skip = skip || strcmp(shown[i], key) == 0;
        if (skip || len >= size)
            continue;
        if (json_is_string(value))
            len += (size_t)snprintf(text + len, size - len, "%s%s=%.*s", len ? " " : "", key,
                                    strcmp(key, "digest") == 0 ? DIGEST_SHOWN : VALUE_SHOWN,
                                    json_string_value(value));
        else if (json_is_integer(value))
            len += (size_t)snprintf(text + len, size - len, "%s%s=%lld", len ? " " : "", key,
                                    (long long)json_integer_value(value));
        else
            len += (size_t)snprintf(text + len, size - len, "%s%s", len ? " " : "", key);
    }
    return text;
}

/* Lines that differ only in the host and the moment. */
struct row {
    struct entry newest;
    const char *hosts[NAMED];
    size_t count;
};

static bool same_text(const json_t *a, const json_t *b, const char *key)
{
    return strcmp(jsonx_text(a, key, ""), jsonx_text(b, key, "")) == 0;
}

static bool is_same(const json_t *a, const json_t *b)
{
    char one[REST_MAX], other[REST_MAX];
    return same_text(a, b, "act") && same_text(a, b, "token") && same_text(a, b, "id") &&
           same_text(a, b, "release") &&
           strcmp(rest_of(a, one, sizeof one), rest_of(b, other, sizeof other)) == 0;
}

static bool has_host(const struct row *row, const char *host)
{
    for (size_t i = 0; i < row->count && i < NAMED; i++)
        if (strcmp(row->hosts[i], host) == 0)
            return true;
    return false;
}

/* Into a row that says the same, or a new one; false: there are enough. */
static bool put_entry(struct row *rows, size_t *count, size_t limit, const struct entry *entry,
                      bool apart)
{
    for (size_t i = 0; i < *count && !apart; i++) {
        struct row *row = &rows[i];
        if (!is_same(row->newest.line, entry->line) || has_host(row, entry->host))
            continue;
        if (row->count < NAMED)
            row->hosts[row->count] = entry->host;
        row->count++;
        return true;
    }
    if (*count == limit)
        return false;
    rows[(*count)++] = (struct row){ .newest = *entry, .hosts = { entry->host }, .count = 1 };
    return true;
}

static const char *hosts_of(const struct row *row, size_t all, char text[static NAMES_MAX])
{
    size_t len = 0;
    size_t width = 0;
    for (size_t i = 0; i < row->count && i < NAMED; i++)
        width += strlen(row->hosts[i]) + 2;
    if (row->count == all && (row->count > NAMED || width > NAMED_WIDTH))
        return "every host";
    if (row->count > NAMED || (row->count > 1 && width > NAMED_WIDTH)) {
        snprintf(text, NAMES_MAX, "%.200s and %zu more", row->hosts[0], row->count - 1);
        return text;
    }
    for (size_t i = 0; i < row->count; i++)
        len +=
            (size_t)snprintf(text + len, NAMES_MAX - len, "%s%.120s", i ? ", " : "", row->hosts[i]);
    return text;
}

static void print_rows(const struct row *rows, size_t count, size_t all)
{
    static const char *const heads[] = { "WHEN", "HOST", "ACT", "RELEASE", "DETAILS" };
    char names[NAMES_MAX], rest[REST_MAX];
    struct table table;
    table_init(&table, 5);
    for (size_t i = 0; i < 5; i++)
        table_put(&table, "%s", heads[i]);
    for (size_t i = 0; i < count; i++) {
        const json_t *line = rows[i].newest.line;
        table_put(&table, "%.19s", jsonx_text(line, "at", "?"));
        table_put(&table, "%s", hosts_of(&rows[i], all, names));
        table_put(&table, "%s", jsonx_text(line, "act", "?"));
        table_put(&table, "%s", jsonx_text(line, "id", jsonx_text(line, "release", "-")));
        table_put(&table, "%s", rest_of(line, rest, sizeof rest));
    }
    table_print(&table);
    table_done(&table);
}

static void print_json(const struct entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_t *line = json_copy((json_t *)entries[i].line);
        jsonx_set_text(line, "host", entries[i].host);
        report_json(line);
    }
}

static size_t collect(const struct driver *driver, struct entry *entries)
{
    size_t count = 0;
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        for (size_t k = 0; k < json_array_size(view.history); k++)
            entries[count++] = (struct entry){ view.spec->name, json_array_get(view.history, k) };
        if (view.damaged > 0)
            fprintf(stderr, "warning: %s: %lld damaged journal line%s skipped\n", view.spec->name,
                    (long long)view.damaged, view.damaged == 1 ? " was" : "s were");
    }
    qsort(entries, count, sizeof *entries, newer);
    return count;
}

void report_history(const struct app *app, const struct driver *driver, size_t limit)
{
    size_t total = 0, nrows = 0;
    for (size_t i = 0; i < driver_count(driver); i++)
        total += json_array_size(driver_view(driver, i).history);
    size_t most = limit < total ? limit : total;
    struct entry *entries = calloc(total + 1, sizeof *entries);
    struct row *rows = calloc(most + 1, sizeof *rows);
    size_t count = entries && rows ? collect(driver, entries) : 0;
    for (size_t i = 0; i < count && !app->json; i++)
        if (!put_entry(rows, &nrows, most, &entries[i], app->verbose))
            break;
    if (app->json)
        print_json(entries, count < limit ? count : limit);
    else
        print_rows(rows, nrows, driver_count(driver));
    free(entries);
    free(rows);
}

void report_absent(const struct driver *driver)
{
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        if (!view.glance->answer)
            fprintf(stderr, "warning: %s is left out: %s\n", view.spec->name, view.error);
    }
}
