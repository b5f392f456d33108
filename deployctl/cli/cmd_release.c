/* cmd_release.c - deployctl release. */
#include <stdio.h>
#include <string.h>

#include "base/unit.h"
#include "deployctl/cli/app.h"
#include "deployctl/cli/cmd_release.h"
#include "deployctl/cli/commands.h"
#include "deployctl/cli/freeze_file.h"
#include "deployctl/cli/hook.h"
#include "deployctl/cli/report.h"
#include "deployctl/plan/limits.h"

const struct cli_option cmd_release_options[] = {
    { "canary", 0, "10%|N|HOSTS|0", "How many hosts, or which, get it first; 0 = none." },
    { "no-canary", 0, NULL, "The same as --canary 0." },
    { "bake", 0, "TIME", "How long the canary is watched." },
    { "hold", 0, NULL, "Stop after the canary and wait for `promote`." },
    { "batch", 0, "25%|N", "How many hosts between two verdicts." },
    { "rate-limit", 0, "SIZE", "Bytes a second for all hosts together, as 5MB." },
    { "message", 'm', "TEXT", "Why; kept on the hosts." },
    { "irreversible", 0, "WHAT", "What of it cannot be undone; going back over it wants --yes." },
    { "despite", 0, NULL, "Release it although it was judged bad before." },
    { "despite-freeze", 0, NULL,
      "Release although hosts, or freeze_file, say that nothing should be." },
    { "yes", 'y', NULL, "Ask nothing." },
    { NULL, 0, NULL, NULL },
};

/* A canary that is nobody must not become the usual one in silence. */
static bool canary_is_there(const struct app *app, const char *canary)
{
    for (size_t i = 0; i < app->recipe.count; i++)
        if (recipe_host_matches(&app->recipe.hosts[i], canary))
            return true;
    app_fail(
        app,
        "--canary %s is neither a share (10%%, 2, 0) nor among the %zu hosts (the first is %s)",
        canary, app->recipe.count, app->recipe.count ? app->recipe.hosts[0].name : "none");
    return false;
}

bool cmd_release_limits(struct app *app)
{
    struct cli *cli = app->cli;
    struct driver_order *order = &app->order;
    struct err err;
    const char *canary = cli_value(cli, "canary"), *batch = cli_value(cli, "batch");
    const char *bake = cli_value(cli, "bake");
    if (cli_flag(cli, "no-canary"))
        canary = "0";
    if (canary && unit_share(canary, &order->canary, &err) < 0)
        order->canary_hosts = canary; /* then it names hosts */
    else if (canary)
        order->canary_hosts = NULL;
    if (canary && order->canary_hosts && !canary_is_there(app, canary))
        return false;
    if (batch && unit_share(batch, &order->batch, &err) < 0) {
        app_fail(app, "--batch: %s", err.text);
        return false;
    }
    if (bake && unit_duration(bake, &order->bake_ms, &err) < 0) {
        app_fail(app, "--bake: %s", err.text);
        return false;
    }
    order->hold = cli_flag(cli, "hold");
    struct limits_asked asked = { .canary_hosts = order->canary_hosts };
    if (limits_check(&app->recipe, &asked, &err) < 0) {
        app_fail(app, "%s: %s", canary ? "--canary" : "[canary] hosts", err.text);
        return false;
    }
    return true;
}

bool cmd_release_apply(struct app *app)
{
    const struct cli *cli = app->cli;
    struct driver_order *order = &app->order;
    if (!cmd_release_limits(app))
        return false;
    order->despite = cli_flag(cli, "despite");
    order->yes = cli_flag(cli, "yes");
    order->despite_freeze = cli_flag(cli, "despite-freeze");
    order->message = cli_value(cli, "message");
    order->irreversible = cli_value(cli, "irreversible");
    if (order->source)
        return true;
    app_fail(app, "no SOURCE: name the folder to release, or set source in [deploy] of %s",
             app->file);
    return false;
}

static int release(struct app *app)
{
    struct driver *driver;
    const struct recipe_hooks *hooks = &app->recipe.hooks;
    if (!freeze_file_allows(app, cli_flag(app->cli, "despite-freeze")))
        return APP_OPEN;
    if (!hook_run(app, "before_release", hooks->before_release, NULL)) {
        app_fail(app, "nothing was changed");
        return APP_CONFIG;
    }
    int code = app_run(app, false, &driver);
    if (!driver)
        return code;
    report_end(app, driver, code);
    hook_end(app, driver);
    driver_free(driver);
    return code;
}

int cmd_release_run(struct cli *cli)
{
    struct app app;
    int code;
    if (app_open(&app, cli, DRIVER_RELEASE, &code))
        code = cmd_release_apply(&app) ? release(&app) : APP_USAGE;
    app_done(&app);
    return code;
}
