/* cmd_release.h - the options that release and plan share. */
#ifndef DEPLOYCTL_CLI_CMD_RELEASE_H
#define DEPLOYCTL_CLI_CMD_RELEASE_H

#include <stdbool.h>

#include "deployctl/cli/app.h"

/* False: the usage error is told. */
bool cmd_release_apply(struct app *app);

#endif
