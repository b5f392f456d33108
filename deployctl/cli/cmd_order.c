/* cmd_order.c - deployctl promote, resume, abort, pause. */
#include "deployctl/cli/app.h"
#include "deployctl/cli/commands.h"
#include "deployctl/cli/hook.h"
#include "deployctl/cli/report.h"

const struct cli_option cmd_order_resume_options[] = {
    { "rate-limit", 0, "SIZE", "Bytes a second for all hosts together, as 5MB." },
    { NULL, 0, NULL, NULL },
};

static int run(struct cli *cli, enum driver_verb verb)
{
    struct app app;
    struct driver *driver = NULL;
    int code;
    if (app_open(&app, cli, verb, &code)) {
        if (verb != DRIVER_RESUME)
            app.order.source = NULL;
        code = app_run(&app, false, &driver);
        if (driver) {
            report_end(&app, driver, code);
            hook_end(&app, driver);
        }
        driver_free(driver);
    }
    app_done(&app);
    return code;
}

int cmd_order_promote(struct cli *cli) { return run(cli, DRIVER_PROMOTE); }
int cmd_order_resume(struct cli *cli) { return run(cli, DRIVER_RESUME); }
int cmd_order_abort(struct cli *cli) { return run(cli, DRIVER_ABORT); }
int cmd_order_pause(struct cli *cli) { return run(cli, DRIVER_PAUSE); }
