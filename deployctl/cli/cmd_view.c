/* cmd_view.c - deployctl status, hosts, history. */
#include "base/unit.h"
#include "deployctl/cli/app.h"
#include "deployctl/cli/commands.h"
#include "deployctl/cli/report.h"

enum { LINES_DEFAULT = 40, LINES_MAX = 10000 };

const struct cli_option cmd_view_history_options[] = {
    { "lines", 'n', "N", "How many lines, newest first; default 40." },
    { NULL, 0, NULL, NULL },
};

/* A view looks at every host; a fleet of which nobody answers is exit code 4. */
static struct driver *look(struct app *app, struct cli *cli, enum driver_verb verb, int *ret_code)
{
    struct driver *driver = NULL;
    if (!app_open(app, cli, verb, ret_code))
        return NULL;
    app->order.source = NULL;
    app->order.history_lines = LINES_MAX;
    *ret_code = app_run(app, true, &driver);
    return driver;
}

int cmd_view_status(struct cli *cli)
{
    struct app app;
    int code;
    struct driver *driver = look(&app, cli, DRIVER_STATUS, &code);
    if (driver)
        code = report_status(&app, driver);
    driver_free(driver);
    app_done(&app);
    return code;
}

int cmd_view_hosts(struct cli *cli)
{
    struct app app;
    int code;
    struct driver *driver = look(&app, cli, DRIVER_STATUS, &code);
    if (driver)
        code = report_hosts(&app, driver);
    driver_free(driver);
    app_done(&app);
    return code;
}

int cmd_view_history(struct cli *cli)
{
    struct app app;
    struct err err;
    int code;
    int64_t lines = LINES_DEFAULT;
    const char *given = cli_value(cli, "lines");
    if (given && (unit_integer(given, 10, &lines, &err) < 0 || lines < 1 || lines > LINES_MAX)) {
        app_error("--lines wants a number from 1 to %d, not \"%s\"", LINES_MAX, given);
        return APP_USAGE;
    }
    struct driver *driver = look(&app, cli, DRIVER_HISTORY, &code);
    if (driver) {
        report_absent(driver);
        report_history(&app, driver, lines > 0 ? (size_t)lines : 0);
    }
    driver_free(driver);
    app_done(&app);
    return code;
}
