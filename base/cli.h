/* cli.h - command lines from tables: the same rows parse, check and print the help.
 *
 * Options may stand before or after the words ("supervisor status web --json").  "--" ends them.
 * A long option may be written --name VALUE or --name=VALUE; short flags
 * may share a dash ("-vf"), a value always stands apart ("-n 5").  A value called PATH, FILE,
 * FOLDER or BINARY is completed as a file name.
 */
#ifndef BASE_CLI_H
#define BASE_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct cli;

/* What may come in the place of the last word of an unfinished line (`completion`). */
struct cli_offers {
    const char *word; /* as far as it is typed */
    struct buf *out;
};
/* One of them, if it begins with what is typed; `help` is one line or NULL. */
void cli_offer(struct cli_offers *offers, const char *text, const char *help);
void cli_offer_files(struct cli_offers *offers); /* the shell knows them */

struct cli_option {
    const char *name;  /* long name without dashes */
    char letter;       /* 0 = none */
    const char *value; /* name of the value in the help ("PATH"); NULL = a flag */
    const char *help;
};
struct cli_command {
    const char *name;
    const char *words;                /* usage of the positional words: "NAME..." ; "" = none */
    const char *help;                 /* first line is the summary */
    const struct cli_option *options; /* own options, terminated by a row with name NULL; or NULL */
    size_t min_words, max_words;      /* max 0: none with words "", else any number */
    int (*run)(struct cli *cli);      /* returns the exit code */
    /* Offers what the next word may be; `cli` has what stands before it.  NULL = nothing. */
    void (*complete)(struct cli *cli, struct cli_offers *offers);
    bool hidden;
};
struct cli_program {
    const char *name, *version, *help;
    const struct cli_option *globals; /* options of every command */
    const struct cli_command *commands;
    size_t ncommands;
    const char *default_command; /* run when no word is given; NULL = help */
    /* Offers what the value of an option may be; `cli` has what stands before it.  May be NULL. */
    void (*complete_value)(struct cli *cli, const struct cli_option *option,
                           struct cli_offers *offers);
};
enum { CLI_VALUES_MAX = 64 };
struct cli {
    const struct cli_program *program;
    const struct cli_command *command;
    struct cli_value {
        const char *name, *text; /* text is "" for a flag */
    } values[CLI_VALUES_MAX];    /* in the order given */
    size_t nvalues;
    char **words; /* borrowed from argv; NULL-terminated */
    size_t nwords;
    void *context; /* the program's own */
};

/* The last value given for an option, NULL if not given; "" for a flag. */
const char *cli_value(const struct cli *cli, const char *name);
bool cli_flag(const struct cli *cli, const char *name);

/* Parses argv, runs the command and returns its exit code; usage errors go to stderr with the
 * nearest right name and exit code 2.  `NAME help [COMMAND]`, --help and --version work for all.
 * argv is permuted.  Help is on stdout with exit code 0; a program may bring its own "version" or
 * "help" command, which then goes before the built-in one. */
int cli_main(const struct cli_program *program, int argc, char **argv, void *context);
void cli_help(const struct cli_program *program, const struct cli_command *command,
              struct buf *out);

#endif
