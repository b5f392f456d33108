/* commands.c - the contract is in commands.h. */
#include "supervisor/cli/commands.h"

#include <unistd.h>

static const struct cli_option globals[] = {
    { "socket", 's', "SOCKET", "Control socket: a path or @ABSTRACT." },
    { NULL, 0, NULL, NULL },
};
static const struct cli_option run_options[] = {
    { "config", 'c', "PATH", "A file, or a folder of *.ini and *.conf files." },
    { "verbose", 'v', NULL, "Log more." },
    { NULL, 0, NULL, NULL },
};
static const struct cli_option json_options[] = {
    { "json", 0, NULL, "Print JSON." },
    { NULL, 0, NULL, NULL },
};

static const struct cli_command commands[] = {
    { .name = "run",
      .words = "[-- COMMAND [ARG...]]",
      .help = "Run in the foreground: start services and keep them as they should be.\n\n"
              "With a COMMAND: only that one, as the entrypoint of a container; leaves with its "
              "exit code.",
      .options = run_options,
      .run = cmd_run },
    { .name = "status",
      .words = "[NAME...]",
      .help = "Show what runs.\n\nExit code: 0 all that is wanted is running and ready, 3 some of "
              "it is not, 4 unknown name or no supervisor.",
      .options = json_options,
      .run = cmd_status },
};

int commands_main(int argc, char **argv)
{
    const struct cli_program program = {
        .name = "supervisor",
        .version = VERSION,
        .help = "Keep services running, on a host or in a container.\n\n"
                "NAME is a service (web: all its instances), an instance (web:0), a group "
                "(GROUP:*), or all.",
        .globals = globals,
        .commands = commands,
        .ncommands = sizeof commands / sizeof *commands,
        .default_command = getpid() == 1 ? "run" : NULL,
    };

    return cli_main(&program, argc, argv, NULL);
}
