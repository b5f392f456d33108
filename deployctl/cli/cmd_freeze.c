/* cmd_freeze.c - deployctl freeze, unfreeze: nothing new is released to these hosts for a while. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/when.h"
#include "deployctl/cli/app.h"
#include "deployctl/cli/commands.h"
#include "deployctl/cli/report.h"
#include "deployctl/cli/report_freeze.h"
#include "deployctl/cli/table.h"
#include "io/jsonx.h"

enum { REASON_MAX = 200 };

const struct cli_option cmd_freeze_options[] = {
    { "reason", 'm', "TEXT", "Why; everybody who wants to release is told." },
    { "until", 0, "TIME", "When it ends by itself: 2h, 18:00, 2026-12-01, 2026-12-01 08:00." },
    { NULL, 0, NULL, NULL },
};

static const char *state_of(const struct app *app, const struct driver_view *view)
{
    const json_t *was = json_object_get(view->found, "was");
    bool before = json_is_object(was) && !jsonx_bool(was, "over", false);
    if (!view->found && *view->error)
        return view->error;
    if (!view->found)
        return "unreachable";
    if (app->order.verb == DRIVER_FREEZE)
        return before ? "frozen (was frozen before, this one counts now)" : "frozen";
    return before ? "open again" : json_is_object(was) ? "open, its freeze was over" : "open";
}

static void print(const struct app *app, const struct driver *driver)
{
    struct table table;
    table_init(&table, 2);
    table_put(&table, "HOST");
    table_put(&table, "STATE");
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        table_put(&table, "%s", view.spec->name);
        table_put(&table, "%s", state_of(app, &view));
    }
    table_print(&table);
    table_done(&table);
    if (app->order.verb == DRIVER_FREEZE)
        report_freeze(driver);
    if (driver_opened(driver) && app->order.verb == DRIVER_FREEZE)
        printf("The rollout of %s that is open goes on: `deployctl pause` or `abort` stops it.\n",
               driver_opened(driver)->id);
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
        if (*view.error)
            jsonx_set_text(host, "error", view.error);
        if (view.found)
            json_object_set(host, "freeze", json_object_get(view.found, "freeze"));
        if (view.found)
            json_object_set(host, "was", json_object_get(view.found, "was"));
        json_array_append_new(hosts, host);
    }
    json_object_set_new(all, "hosts", hosts);
    report_json(all);
}

/* Hosts that did not answer are not frozen: that has to be known. */
static int code_of(const struct driver *driver)
{
    int code = APP_DONE;
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        if (!view.glance->answer)
            return APP_UNREACHABLE;
        code = view.found ? code : APP_CONFIG;
    }
    return code;
}

static int run(struct app *app)
{
    struct driver *driver = NULL;
    app->order.source = NULL;
    int code = app_run(app, true, &driver);
    if (driver) {
        code = code_of(driver);
        if (app->json)
            print_json(driver, code);
        else
            print(app, driver);
    }
    driver_free(driver);
    return code;
}

int cmd_freeze_run(struct cli *cli)
{
    struct app app;
    char until[CLOCK_TEXT_MAX];
    const char *asked = cli_value(cli, "until"), *reason = cli_value(cli, "reason");
    int64_t until_us = 0;
    int code;
    if (asked && !when_until(asked, clock_wall_us(), &until_us)) {
        app_error("--until wants a time to come, such as 2h, 18:00 or \"2026-12-01 08:00\", not "
                  "\"%s\"",
                  asked);
        return APP_USAGE;
    }
    if (reason && strlen(reason) > REASON_MAX) {
        app_error("--reason has more than %d bytes", REASON_MAX);
        return APP_USAGE;
    }
    if (app_open(&app, cli, DRIVER_FREEZE, &code)) {
        app.order.freeze_reason = reason && *reason ? reason : "no reason is given";
        app.order.freeze_until = asked ? clock_text(until_us, until) : NULL;
        code = run(&app);
    }
    app_done(&app);
    return code;
}

int cmd_unfreeze_run(struct cli *cli)
{
    struct app app;
    int code;
    if (app_open(&app, cli, DRIVER_UNFREEZE, &code))
        code = run(&app);
    app_done(&app);
    return code;
}
