/* cmd_release.h - the options that release, plan and simulate share. */
#ifndef DEPLOYCTL_CLI_CMD_RELEASE_H
#define DEPLOYCTL_CLI_CMD_RELEASE_H

#include <stdbool.h>

#include "deployctl/cli/app.h"

/* False: a usage error was told. */
/* --canary, --no-canary, --bake, --batch and --hold alone. */
bool cmd_release_limits(struct app *app);
bool cmd_release_apply(struct app *app);

#endif
