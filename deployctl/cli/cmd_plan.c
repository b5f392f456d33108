/* cmd_plan.c - deployctl plan. */
#include "deployctl/cli/app.h"
#include "deployctl/cli/cmd_release.h"
#include "deployctl/cli/commands.h"
#include "deployctl/cli/report.h"

int cmd_plan_run(struct cli *cli)
{
    struct app app;
    struct driver *driver = NULL;
    int code;
    if (app_open(&app, cli, DRIVER_PLAN, &code)) {
        code = cmd_release_apply(&app) ? app_run(&app, true, &driver) : APP_USAGE;
        if (driver)
            report_plan(&app, driver);
        driver_free(driver);
    }
    app_done(&app);
    return code;
}
