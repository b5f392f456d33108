/* app.h - what the commands share: the recipe, the options of every command, one run. */
#ifndef DEPLOYCTL_CLI_APP_H
#define DEPLOYCTL_CLI_APP_H

#include <stdbool.h>

#include "base/cli.h"
#include "deployctl/fleet/driver.h"
#include "deployctl/plan/recipe.h"

enum {
    APP_DONE = 0,
    APP_BAD = 1,
    APP_USAGE = 2,
    APP_CONFIG = 3,
    APP_UNREACHABLE = 4,
    APP_OPEN = 6,
};
extern const struct cli_option app_globals[];

struct app {
    struct cli *cli;
    struct recipe recipe;
    char *file;        /* of the recipe */
    char *source;      /* folder, or NULL */
    char *signing_key; /* file, or NULL */
    char *who;
    bool json, verbose;
    struct driver_order order;
};
/* Reads deploy.ini and applies the options of every command.  False: the errors are told, the
 * exit code is APP_CONFIG or APP_USAGE in *ret_code. */
bool app_open(struct app *app, struct cli *cli, enum driver_verb verb, int *ret_code);
void app_done(struct app *app);
/* A path of the file is relative to the file; one of the command line to where we are.  malloc'ed;
 * NULL without memory. */
char *app_beside(const char *file, const char *path);
/* The source that the recipe names; malloc'ed, NULL = none. */
char *app_source(const struct app *app);
/* One run; what happens is told unless `quiet`.  *ret_driver is for the caller to free. */
int app_run(struct app *app, bool quiet, struct driver **ret_driver);
/* An error for people, and with --json for programs: {"event":"error","text"} on stdout. */
void app_fail(const struct app *app, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void app_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
