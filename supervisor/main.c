/* main.c - the supervisor: one of its own processes (core, logger, guardian), or a command. */
#include "supervisor/cli/cli_roles.h"
#include "supervisor/cli/commands.h"

int main(int argc, char **argv)
{
    int code;

    return cli_roles_run(argc, argv, &code) ? code : commands_main(argc, argv);
}
