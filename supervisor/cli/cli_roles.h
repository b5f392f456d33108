/* cli_roles.h - the processes of the supervisor that people never start by hand. */
#ifndef SUPERVISOR_CLI_CLI_ROLES_H
#define SUPERVISOR_CLI_CLI_ROLES_H

#include <stdbool.h>

/* If argv[1] is core, logger, guardian, self-test or leave: runs it, *ret_code is the exit code,
 * true. */
bool cli_roles_run(int argc, char **argv, int *ret_code);

#endif
