/* cmd_diff.c - deployctl diff: what changes from one release to another. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/unit.h"
#include "deployctl/cli/app.h"
#include "deployctl/cli/commands.h"
#include "deployctl/cli/report.h"
#include "io/jsonx.h"

enum { LISTED = 200, LISTED_MAX = 5000, ENTRY_MAX = 4400 };

const struct cli_option cmd_diff_options[] = {
    { "lines", 'n', "N", "How many files are listed; default 200." },
    { NULL, 0, NULL, NULL },
};

/* The host that was asked; NULL = none could be. */
static const json_t *answer_of(const struct driver *driver, const char **ret_host)
{
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        *ret_host = view.spec->name;
        if (view.found)
            return view.found;
    }
    return NULL;
}

static const char *entry_text(const json_t *entry, char text[static ENTRY_MAX])
{
    const char *kind = jsonx_text(entry, "kind", "?");
    char size[UNIT_TEXT_MAX];
    unit_size_text(jsonx_int(entry, "size", 0), size);
    if (strcmp(kind, "link") == 0)
        snprintf(text, ENTRY_MAX, "link to %s", jsonx_text(entry, "target", "?"));
    else if (strcmp(kind, "folder") == 0)
        snprintf(text, ENTRY_MAX, "folder, mode %s", jsonx_text(entry, "mode", "?"));
    else
        snprintf(text, ENTRY_MAX, "%s, mode %s", size, jsonx_text(entry, "mode", "?"));
    return text;
}

static void print_row(const json_t *row)
{
    const json_t *from = json_object_get(row, "from"), *to = json_object_get(row, "to");
    const char *path = jsonx_text(row, "path", "?");
    char before[ENTRY_MAX], after[ENTRY_MAX];
    bool same = from && to && strcmp(entry_text(from, before), entry_text(to, after)) == 0;
    printf("%s ", !from ? "+" : !to ? "-" : "~");
    report_text(path);
    printf("  ");
    report_text(entry_text(from ? from : to, before));
    if (same)
        printf(", other contents");
    else if (from && to)
        printf(" -> ");
    if (from && to && !same)
        report_text(entry_text(to, after));
    printf("\n");
}

static void print_hooks(const json_t *from, const json_t *to)
{
    const json_t *was = json_object_get(from, "hooks"), *is = json_object_get(to, "hooks");
    static const char *const names[] = { "before_install", "after_install", "before_switch",
                                         "validate",       "after_switch",  "on_failure" };
    if (!was || !is) /* released by a deployctl that did not note them */
        return;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *a = jsonx_text(was, names[i], NULL), *b = jsonx_text(is, names[i], NULL);
        if ((!a && !b) || (a && b && strcmp(a, b) == 0))
            continue;
        printf("%s hook %s  ", !a ? "+" : !b ? "-" : "~", names[i]);
        report_text(a ? a : b);
        printf("%s", a && b ? " -> " : "");
        report_text(a && b ? b : "");
        printf("\n");
    }
}

/* Of variables only whether they differ: the digests mean something within this answer only. */
static void print_settings(const json_t *settings)
{
    size_t i;
    json_t *row;
    json_array_foreach((json_t *)settings, i, row)
    {
        const char *from = jsonx_text(row, "from", NULL), *to = jsonx_text(row, "to", NULL);
        const char *variable = jsonx_text(row, "variable", NULL), *mark = variable ? "#" : "";
        printf("%s [", !from ? "+" : !to ? "-" : "~");
        report_text(jsonx_text(row, "section", "?"));
        printf("] %s", variable ? "environment " : "");
        report_text(variable ? variable : jsonx_text(row, "key", "?"));
        printf("  %s", mark);
        report_text(from ? from : to);
        printf("%s", from && to ? " -> " : "");
        printf("%s", from && to ? mark : "");
        report_text(from && to ? to : "");
        printf("  (");
        report_text(jsonx_text(row, "file", "?"));
        printf(")\n");
    }
}

static bool hooks_differ(const json_t *from, const json_t *to)
{
    const json_t *was = json_object_get(from, "hooks"), *is = json_object_get(to, "hooks");
    return was && is && !json_equal((json_t *)was, (json_t *)is);
}

static void print(const struct app *app, const struct driver *driver, const char *host,
                  const json_t *diff)
{
    const json_t *rows = json_object_get(diff, "rows"), *row;
    const json_t *about_from = json_object_get(diff, "about_from");
    const json_t *about_to = json_object_get(diff, "about_to");
    long long added = jsonx_int(diff, "added", 0), removed = jsonx_int(diff, "removed", 0);
    long long changed = jsonx_int(diff, "changed", 0), total = added + removed + changed;
    const char *to = jsonx_text(diff, "to", NULL), *irreversible;
    size_t i;
    printf("From %s to %s%s%s (on %s): %lld added, %lld removed, %lld changed\n",
           jsonx_text(diff, "from", "?"), to ? to : "SOURCE ", to ? "" : app->source,
           *driver_release_id(driver) && !to ? " (which is that release)" : "", host, added,
           removed, changed);
    json_array_foreach((json_t *)rows, i, row) print_row(row);
    if (total > (long long)json_array_size(rows))
        printf("... and %lld more; -n shows more\n", total - (long long)json_array_size(rows));
    print_settings(json_object_get(diff, "settings"));
    print_hooks(about_from, about_to);
    if ((irreversible = jsonx_text(about_to, "irreversible", NULL)) != NULL)
        printf("! irreversible: "), report_text(irreversible), printf("\n");
}

int cmd_diff_run(struct cli *cli)
{
    struct app app;
    struct err err;
    struct driver *driver = NULL;
    const char *lines = cli_value(cli, "lines"), *host = NULL;
    int64_t limit = LISTED;
    int code;
    if (lines && (unit_integer(lines, 10, &limit, &err) < 0 || limit < 0 || limit > LISTED_MAX)) {
        app_error("--lines: a number up to %d, not %s", LISTED_MAX, lines);
        return APP_USAGE;
    }
    if (app_open(&app, cli, DRIVER_DIFF, &code)) {
        app.order.from = cli->nwords > 0 ? cli->words[0] : NULL;
        app.order.to = cli->nwords > 1 ? cli->words[1] : NULL;
        app.order.listed = limit;
        free(app.source); /* the first word is no SOURCE */
        app.source = cli->nwords > 1 ? NULL : app_source(&app);
        app.order.source = app.source;
        code = app_run(&app, true, &driver);
    }
    const json_t *diff = driver ? answer_of(driver, &host) : NULL;
    if (driver && !diff)
        report_absent(driver);
    if (diff) {
        code = jsonx_int(diff, "added", 0) + jsonx_int(diff, "removed", 0) +
                               jsonx_int(diff, "changed", 0) ==
                           0 &&
                       !hooks_differ(json_object_get(diff, "about_from"),
                                     json_object_get(diff, "about_to"))
                   ? APP_DONE
                   : APP_BAD;
        if (app.json)
            report_json(json_deep_copy(diff));
        else
            print(&app, driver, host, diff);
    }
    driver_free(driver);
    app_done(&app);
    return code;
}
