/* cli_inside.h - what the parts of cli share; nobody else includes this. */
#ifndef BASE_CLI_INSIDE_H
#define BASE_CLI_INSIDE_H

#include "base/cli.h"

extern const struct cli_option cli_built_in_options[]; /* --help, --version */
extern const struct cli_command cli_built_in_commands[];
extern const size_t cli_nbuilt_in_commands;

/* The program's own commands go before the built-in ones; NULL = there is none of this name. */
const struct cli_command *cli_find_command(const struct cli_program *program, const char *name);
/* The place of the command word in argv, 0 if there is none. */
int cli_find_word(const struct cli_program *program, int argc, char **argv);
/* The option whose value is the argument after `arg`, or NULL. */
const struct cli_option *cli_awaits_value(const struct cli_program *program, const char *arg);
/* Sorts argv into values and words; `word` is the place of the command in it.  0, or -1: it is
 * told on stderr what is wrong. */
int cli_read_arguments(struct cli *cli, int argc, char **argv, int word);

/* cli_complete.c */
int cli_run_complete(struct cli *cli);
int cli_run_completion(struct cli *cli);

#endif
