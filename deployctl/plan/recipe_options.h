/* recipe_options.h - the option tables of deploy.ini, one per section. */
#ifndef DEPLOYCTL_PLAN_RECIPE_OPTIONS_H
#define DEPLOYCTL_PLAN_RECIPE_OPTIONS_H

#include <stdbool.h>

#include "base/opt.h"

extern const struct opt_table recipe_options_deploy, recipe_options_fleet, recipe_options_canary,
    recipe_options_rollout, recipe_options_rollback, recipe_options_hooks, recipe_options_drain,
    recipe_options_host, recipe_options_group;

#endif
