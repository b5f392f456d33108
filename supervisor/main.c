/* main.c - the supervisor: one of its own processes (core, logger, guardian), the init of a host, a
 * link such as `poweroff`, or a command. */
#include "supervisor/cli/cli_roles.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/links.h"

int main(int argc, char **argv)
{
    int code;

    if (cli_roles_run(argc, argv, &code) || links_run(argc, argv, &code))
        return code;
    return commands_main(argc, argv);
}
