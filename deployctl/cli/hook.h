/* hook.h - commands on the operator's side: before_release, after_release, on_rollback. */
#ifndef DEPLOYCTL_CLI_HOOK_H
#define DEPLOYCTL_CLI_HOOK_H

#include <stdbool.h>

#include "deployctl/cli/app.h"

/* Runs `sh -c COMMAND` with DEPLOY_APP, DEPLOY_RELEASE and DEPLOY_STAGE and waits for its end, at
 * most [hooks] timeout.  True when there is none, or it ended with code 0; else the error is
 * told.  driver may be NULL. */
bool hook_run(const struct app *app, const char *name, const char *command,
              const struct driver *driver);
/* What follows an order that took a release further: after_release when it is done everywhere,
 * on_rollback when hosts were brought back. */
void hook_end(const struct app *app, const struct driver *driver);

#endif
