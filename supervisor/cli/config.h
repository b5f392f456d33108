/* config.h - a configuration read and checked in this process, without any core. */
#ifndef SUPERVISOR_CLI_CONFIG_H
#define SUPERVISOR_CLI_CONFIG_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "supervisor/plan/plan.h"
#include "supervisor/sandbox/ability.h"

struct config {
    struct plan_source source;
    struct plan *plan; /* NULL when there are errors */
    struct err_list errors, warnings;
    struct ability ability; /* which sandboxes can be made here; counts with ability_known */
    bool ability_known;
};

/* Reads `path` (absolute).  False: config->errors says why.  config_done() is due in both cases. */
bool config_load(const char *path, struct config *config);
void config_done(struct config *config);
/* Every error on a line of its own, then how many there are. */
void config_print_errors(const struct config *config, FILE *to);

/* Puts over it what the release in this folder says to the services that have release_config: those
 * of the set that the folder lies in, or all when it lies in none.  False: config->errors, or err
 * when nobody asks for it. */
bool config_load_release(struct config *config, const char *folder, struct err *err);

/* Adds to the errors users and groups of [access:NAME] that are not there; to the warnings what
 * works but is most likely not meant (plan_lint.h), and what is not on this host: users, groups,
 * commands, folders, files. */
void config_look_around(struct config *config);

#endif
