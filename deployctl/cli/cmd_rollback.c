/* cmd_rollback.c - deployctl rollback. */
#include "deployctl/cli/app.h"
#include "deployctl/cli/commands.h"
#include "deployctl/cli/hook.h"
#include "deployctl/cli/report.h"

const struct cli_option cmd_rollback_options[] = {
    { "to", 0, "RELEASE", "To this one: its id, number or digest." },
    { "stage", 0, NULL, "With --to: hosts that do not have it any more get it from SOURCE." },
    { "now", 0, NULL, "All hosts at the same time." },
    { "yes", 'y', NULL, "Ask nothing; also over what cannot be undone." },
    { NULL, 0, NULL, NULL },
};

int cmd_rollback_run(struct cli *cli)
{
    struct app app;
    struct driver *driver = NULL;
    int code;
    bool stage = cli_flag(cli, "stage");
    if ((stage && !cli_value(cli, "to")) || (!stage && cli->nwords > 0)) {
        app_error("%s", stage ? "--stage wants --to RELEASE: which one is to be sent?"
                              : "SOURCE is read with --to RELEASE --stage only");
        return APP_USAGE;
    }
    if (app_open(&app, cli, DRIVER_ROLLBACK, &code)) {
        app.order.stage = stage;
        if (!stage)
            app.order.source = NULL;
        app.order.to = cli_value(cli, "to");
        app.order.now = cli_flag(cli, "now");
        app.order.yes = cli_flag(cli, "yes");
        code = app_run(&app, false, &driver);
        if (driver) {
            report_end(&app, driver, code);
            if (driver_rollout(driver)->outcome == ROLLOUT_DONE)
                hook_run(&app, "on_rollback", app.recipe.hooks.on_rollback, driver);
        }
        driver_free(driver);
    }
    app_done(&app);
    return code;
}
