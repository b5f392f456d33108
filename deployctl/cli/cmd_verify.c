/* cmd_verify.c - deployctl verify: is what lies on the hosts still what was released? */
#include <stdio.h>

#include "deployctl/cli/app.h"
#include "deployctl/cli/commands.h"
#include "deployctl/cli/report.h"
#include "deployctl/cli/table.h"
#include "io/jsonx.h"

enum { LISTED = 20, STATE_MAX = 192 };

const struct cli_option cmd_verify_options[] = {
    { "no-added", 0, NULL, "What was added to a release is no difference." },
    { NULL, 0, NULL, NULL },
};

struct counts {
    long long missing, changed, added;
};

static struct counts counts_of(const struct app *app, const json_t *found)
{
    bool added = !cli_flag(app->cli, "no-added");
    return (struct counts){ jsonx_int(found, "missing", 0), jsonx_int(found, "changed", 0),
                            added ? jsonx_int(found, "added", 0) : 0 };
}

static bool differs(const struct counts *counts)
{
    return counts->missing + counts->changed + counts->added > 0;
}

static bool is_bad(const struct app *app, const struct driver_view *view)
{
    struct counts counts = counts_of(app, view->found);
    return differs(&counts) || jsonx_text(view->found, "not_trusted", NULL);
}

/* A difference anywhere is the finding; hosts of which nothing is known come after it. */
static int code_of(const struct app *app, const struct driver *driver, int code)
{
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        if (is_bad(app, &view))
            return APP_BAD;
        if (!view.found && (*view.error || !view.glance->answer))
            code = APP_UNREACHABLE;
    }
    return code;
}

static const char *state_of(const struct app *app, const struct driver_view *view, char *text,
                            size_t size)
{
    struct counts counts = counts_of(app, view->found);
    const char *wanted = app->order.to, *signer = jsonx_text(view->found, "signed_by", NULL);
    const char *distrust = jsonx_text(view->found, "not_trusted", NULL);
    long long entries = jsonx_int(view->found, "entries", 0);
    if (!view->found && *view->error)
        return view->error;
    if (!view->glance->answer)
        return "unreachable";
    if (!view->found)
        snprintf(text, size, wanted ? "has no release %s" : "no release yet", wanted);
    else if (differs(&counts))
        snprintf(text, size, "%lld missing, %lld changed, %lld added", counts.missing,
                 counts.changed, counts.added);
    else
        snprintf(text, size, "as released%s%.64s, %lld entr%s", signer ? ", signed by " : "",
                 signer ? signer : "", entries, entries == 1 ? "y" : "ies");
    if (view->found && distrust)
        return distrust;
    return text;
}

static void list_differences(const struct app *app, const struct driver_view *view)
{
    const json_t *list = json_object_get(view->found, "differences"), *one;
    struct counts counts = counts_of(app, view->found);
    long long total = counts.missing + counts.changed + counts.added, shown = 0;
    size_t i;
    json_array_foreach((json_t *)list, i, one)
    {
        if (shown >= LISTED || shown >= total) /* added ones are last */
            break;
        printf("  %s: ", view->spec->name);
        report_text(jsonx_text(one, "path", "?"));
        printf(" %s\n", jsonx_text(one, "how", "?"));
        shown++;
    }
    if (total > shown)
        printf("  %s: ... and %lld more\n", view->spec->name, total - shown);
}

/* What was added can simply be removed. */
static bool lost(const struct driver_view *view)
{
    return jsonx_int(view->found, "missing", 0) + jsonx_int(view->found, "changed", 0) > 0;
}

static void print(const struct app *app, const struct driver *driver)
{
    bool changed = false;
    struct table table;
    char state[STATE_MAX];
    table_init(&table, 3);
    table_put(&table, "HOST");
    table_put(&table, "RELEASE");
    table_put(&table, "FOUND");
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        const char *id = jsonx_text(view.found, "id", view.glance->current);
        table_put(&table, "%s", view.spec->name);
        table_put(&table, "%s", id ? id : "-");
        table_put(&table, "%s", state_of(app, &view, state, sizeof state));
    }
    table_print(&table);
    table_done(&table);
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        list_differences(app, &view);
        changed = changed || lost(&view);
    }
    if (changed)
        printf("To have it whole again: `deployctl rollback` to another release, remove the folder "
               "of this one on its host, and release its contents again.\n");
}

static void print_json(const struct driver *driver, int code)
{
    json_t *all = json_object(), *hosts = json_array();
    jsonx_set_int(all, "exit", code);
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        json_t *host = json_object();
        jsonx_set_text(host, "host", view.spec->name);
        jsonx_set_bool(host, "reachable", view.glance->answer != NULL);
        jsonx_set_text(host, "release", jsonx_text(view.found, "id", view.glance->current));
        if (*view.error)
            jsonx_set_text(host, "error", view.error);
        if (view.found)
            json_object_update_missing(host, (json_t *)view.found);
        json_object_del(host, "id");
        json_object_del(host, "ok");
        json_object_del(host, "n");
        json_array_append_new(hosts, host);
    }
    json_object_set_new(all, "hosts", hosts);
    report_json(all);
}

/* All answered, and none of them has the release that is named. */
static bool nobody_has_it(const struct driver *driver)
{
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        if (view.found || *view.error || !view.glance->answer)
            return false;
    }
    return true;
}

int cmd_verify_run(struct cli *cli)
{
    struct app app;
    struct driver *driver = NULL;
    int code;
    if (app_open(&app, cli, DRIVER_VERIFY, &code)) {
        app.order.source = NULL;
        app.order.to = cli->nwords > 0 ? cli->words[0] : NULL;
        code = app_run(&app, true, &driver);
    }
    if (driver && app.order.to && nobody_has_it(driver)) {
        app_fail(&app,
                 "no host has a release %s; `deployctl status` and `history` show what there is",
                 app.order.to);
        code = APP_CONFIG;
    } else if (driver) {
        code = code_of(&app, driver, code);
        if (app.json)
            print_json(driver, code);
        else
            print(&app, driver);
    }
    driver_free(driver);
    app_done(&app);
    return code;
}
