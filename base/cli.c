/* cli.c - the contract is in cli.h. */
#include "base/cli.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cli_inside.h"
#include "base/near.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };
/* Texts of the help begin in this column at most; a longer name gets a line of its own. */
enum {
    HELP_BYTES_MAX = 256 * 1024,
    HELP_COLUMN_MAX = 28,
    LEFT_MAX = 96,
    ROWS_MAX = 64,
    NAMES_MAX = 256
};

static int run_help(struct cli *cli);
static int run_version(struct cli *cli);

const struct cli_option cli_built_in_options[] = {
    { "help", 'h', NULL, "Show this help." },
    { "version", 'V', NULL, "Show the version." },
    { NULL, 0, NULL, NULL },
};
const struct cli_command cli_built_in_commands[] = {
    { .name = "help",
      .words = "[COMMAND]",
      .help = "Explain a command.",
      .max_words = 1,
      .run = run_help },
    { .name = "version", .words = "", .help = "Show the version.", .run = run_version },
    { .name = "completion",
      .words = "SHELL",
      .help = "Print the completion for bash, zsh or fish.\n\n"
              "In ~/.bashrc, or ~/.zshrc after compinit:\n\n"
              "  eval \"$(PROGRAM completion bash)\"\n\n"
              "For fish:\n\n"
              "  PROGRAM completion fish >~/.config/fish/completions/PROGRAM.fish",
      .min_words = 1,
      .max_words = 1,
      .run = cli_run_completion },
    { .name = "complete",
      .words = "[-- WORD...]",
      .help = "Print what may come in the place of the last word; for shells.",
      .run = cli_run_complete,
      .hidden = true },
};
enum { NBUILT_IN = sizeof(cli_built_in_commands) / sizeof(cli_built_in_commands[0]) };
const size_t cli_nbuilt_in_commands = NBUILT_IN;

static const struct cli_command *find_in(const struct cli_command *commands, size_t count,
                                         const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

const struct cli_command *cli_find_command(const struct cli_program *program, const char *name)
{
    const struct cli_command *own = find_in(program->commands, program->ncommands, name);

    return own ? own : find_in(cli_built_in_commands, NBUILT_IN, name);
}

/* All that can be named, for "did you mean". */
struct names {
    const char *at[NAMES_MAX];
    size_t count;
};

static void add_name(struct names *names, const char *name)
{
    if (names->count < NAMES_MAX)
        names->at[names->count++] = name;
}

static const char *name_at(size_t i, const void *context)
{
    return ((const struct names *)context)->at[i];
}

static const char *nearest(const struct names *names, const char *wrong)
{
    return near_name(wrong, names->count, name_at, names);
}

/* Lines that begin with a blank are kept as they are, the others are wrapped. */
static void put_paragraphs(struct buf *out, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        if (*text == ' ') {
            buf_put(out, text, len);
            buf_putc(out, '\n');
        } else {
            char *line = strndup(text, len);
            if (line)
                buf_wrap(out, line, 0, "");
            free(line);
        }
        text += len + (text[len] == '\n');
    }
}

/* Two columns, of which the left one is as wide as it needs to be. */
struct listing {
    struct {
        char left[LEFT_MAX];
        const char *right; /* its first line is printed */
    } rows[ROWS_MAX];
    size_t count;
};

static void put_row(struct buf *out, const char *left, const char *right, size_t column)
{
    char margin[HELP_COLUMN_MAX + 1] = "";
    char *line = strndup(right, strcspn(right, "\n"));

    memset(margin, ' ', column);
    if (strlen(left) + 4 > column)
        buf_printf(out, "  %s\n%s", left, margin);
    else
        buf_printf(out, "  %-*s", (int)column - 2, left);
    buf_wrap(out, line ? line : "", column, margin);
    free(line);
}

static void put_listing(struct buf *out, struct listing *listing)
{
    size_t column = 0;

    for (size_t i = 0; i < listing->count; i++) {
        size_t need = strlen(listing->rows[i].left) + 4;
        if (need > column && need <= HELP_COLUMN_MAX)
            column = need;
    }
    if (column == 0)
        column = HELP_COLUMN_MAX;
    for (size_t i = 0; i < listing->count; i++)
        put_row(out, listing->rows[i].left, listing->rows[i].right, column);
    listing->count = 0;
}

/* The place for one more left text of LEFT_MAX bytes; a full listing is printed first. */
static char *add_row(struct buf *out, struct listing *listing, const char *right)
{
    if (listing->count == ROWS_MAX)
        put_listing(out, listing);
    listing->rows[listing->count].right = right ? right : "";
    return listing->rows[listing->count++].left;
}

static void add_options(struct buf *out, struct listing *listing, const struct cli_option *option)
{
    for (; option && option->name; option++) {
        char letter[8] = "   ";
        if (option->letter)
            snprintf(letter, sizeof(letter), "-%c,", option->letter);
        snprintf(add_row(out, listing, option->help), LEFT_MAX, "%s --%s%s%s", letter, option->name,
                 option->value ? " " : "", option->value ? option->value : "");
    }
}

static void add_commands(struct buf *out, struct listing *listing,
                         const struct cli_command *commands, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct cli_command *command = &commands[i];
        if (!command->hidden)
            snprintf(add_row(out, listing, command->help), LEFT_MAX, "%s%s%s", command->name,
                     *command->words ? " " : "", command->words);
    }
}

static void put_usage(const struct cli_program *program, const struct cli_command *command,
                      struct buf *out)
{
    if (!command)
        buf_printf(out, "Usage: %s [OPTION...] COMMAND [WORD...]\n", program->name);
    else
        buf_printf(out, "Usage: %s %s [OPTION...]%s%s\n", program->name, command->name,
                   *command->words ? " " : "", command->words);
}

static void help_command(const struct cli_program *program, const struct cli_command *command,
                         struct buf *out)
{
    struct listing listing = { .count = 0 };

    put_usage(program, command, out);
    buf_putc(out, '\n');
    put_paragraphs(out, command->help);
    if (command->options && command->options->name) {
        buf_puts(out, "\nOptions:\n");
        add_options(out, &listing, command->options);
        put_listing(out, &listing);
    }
    buf_puts(out, "\nOptions of every command:\n");
    add_options(out, &listing, program->globals);
    add_options(out, &listing, cli_built_in_options);
    put_listing(out, &listing);
}

static void help_program(const struct cli_program *program, struct buf *out)
{
    struct listing listing = { .count = 0 };
    size_t first = strcspn(program->help, "\n");

    buf_printf(out, "%s %s - %.*s\n\n", program->name, program->version, (int)first, program->help);
    put_usage(program, NULL, out);
    const char *more = program->help + first + strspn(program->help + first, "\n");
    if (*more) {
        buf_putc(out, '\n');
        put_paragraphs(out, more);
    }
    buf_puts(out, "\nCommands:\n");
    add_commands(out, &listing, program->commands, program->ncommands);
    for (size_t i = 0; i < NBUILT_IN; i++)
        if (!find_in(program->commands, program->ncommands, cli_built_in_commands[i].name))
            add_commands(out, &listing, &cli_built_in_commands[i], 1);
    put_listing(out, &listing);
    buf_puts(out, "\nOptions of every command:\n");
    add_options(out, &listing, program->globals);
    add_options(out, &listing, cli_built_in_options);
    put_listing(out, &listing);
    buf_printf(out, "\n\"%s help COMMAND\" explains a command and its own options.\n",
               program->name);
}

void cli_help(const struct cli_program *program, const struct cli_command *command, struct buf *out)
{
    if (command)
        help_command(program, command, out);
    else
        help_program(program, out);
}

static int show(const char *text)
{
    return fputs(text, stdout) == EOF || fflush(stdout) == EOF ? EXIT_FAILED : EXIT_DONE;
}

static int show_help(const struct cli_program *program, const struct cli_command *command)
{
    struct buf out;

    buf_init(&out, HELP_BYTES_MAX);
    cli_help(program, command, &out);
    int rc = show(buf_text(&out));
    buf_done(&out);
    return rc;
}

static int show_version(const struct cli_program *program)
{
    char text[256];

    snprintf(text, sizeof(text), "%s %s\n", program->name, program->version);
    return show(text);
}

static int refuse_command(const struct cli_program *program, const char *wrong)
{
    struct names names = { .count = 0 };

    for (size_t i = 0; i < program->ncommands; i++)
        if (!program->commands[i].hidden)
            add_name(&names, program->commands[i].name);
    for (size_t i = 0; i < NBUILT_IN; i++)
        add_name(&names, cli_built_in_commands[i].name);
    const char *right = nearest(&names, wrong);
    fprintf(stderr, "%s: unknown command \"%.64s\"%s%s%s\nTry \"%s help\".\n", program->name, wrong,
            right ? " (did you mean \"" : "", right ? right : "", right ? "\"?)" : "",
            program->name);
    return EXIT_USAGE;
}

static int run_help(struct cli *cli)
{
    const struct cli_command *command = NULL;

    if (cli->nwords > 0) {
        command = cli_find_command(cli->program, cli->words[0]);
        if (!command)
            return refuse_command(cli->program, cli->words[0]);
    }
    return show_help(cli->program, command);
}

static int run_version(struct cli *cli) { return show_version(cli->program); }

static const struct cli_option *find_long(const struct cli_option *option, const char *name,
                                          size_t len)
{
    for (; option && option->name; option++)
        if (strlen(option->name) == len && strncmp(option->name, name, len) == 0)
            return option;
    return NULL;
}

static const struct cli_option *find_letter(const struct cli_option *option, char letter)
{
    for (; option && option->name; option++)
        if (option->letter == letter)
            return option;
    return NULL;
}

/* An option by its name of `len` bytes, or by its letter if `len` is 0. */
static const struct cli_option *find_one(const struct cli_option *options, const char *name,
                                         size_t len)
{
    return len ? find_long(options, name, len) : find_letter(options, *name);
}

/* Before the command is known (NULL) the options of all commands count. */
static const struct cli_option *find_option(const struct cli_program *program,
                                            const struct cli_command *command, const char *name,
                                            size_t len)
{
    const struct cli_option *found = command ? find_one(command->options, name, len) : NULL;

    if (!found)
        found = find_one(program->globals, name, len);
    if (!found)
        found = find_one(cli_built_in_options, name, len);
    for (size_t i = 0; i < program->ncommands && !command && !found; i++)
        found = find_one(program->commands[i].options, name, len);
    return found;
}

static bool is_option(const char *arg) { return arg[0] == '-' && arg[1] != '\0'; }

const struct cli_option *cli_awaits_value(const struct cli_program *program, const char *arg)
{
    const struct cli_option *option;

    if (!is_option(arg))
        return NULL;
    if (arg[1] == '-') {
        size_t len = strcspn(arg + 2, "=");
        option = arg[2 + len] ? NULL : find_option(program, NULL, arg + 2, len);
    } else {
        option = find_option(program, NULL, arg + strlen(arg) - 1, 0);
    }
    return option && option->value ? option : NULL;
}

int cli_find_word(const struct cli_program *program, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0)
            return 0;
        if (!is_option(argv[i]))
            return i;
        if (cli_awaits_value(program, argv[i]))
            i++;
    }
    return 0;
}

/* Says what is wrong with the command line and where to read more. */
static int refuse(const struct cli *cli, const char *arg, const char *what, const char *right)
{
    const char *name = cli->command ? cli->command->name : NULL;

    fprintf(stderr, "%s: %s \"%.64s\"%s%s%s\nTry \"%s help%s%s\".\n", cli->program->name, what, arg,
            right ? " (did you mean \"--" : "", right ? right : "", right ? "\"?)" : "",
            cli->program->name, name ? " " : "", name ? name : "");
    return -1;
}

static void add_option_names(struct names *names, const struct cli_option *option)
{
    for (; option && option->name; option++)
        add_name(names, option->name);
}

static int refuse_option(const struct cli *cli, const char *arg)
{
    struct names names = { .count = 0 };
    char wrong[64];

    add_option_names(&names, cli->command ? cli->command->options : NULL);
    add_option_names(&names, cli->program->globals);
    add_option_names(&names, cli_built_in_options);
    const char *name = arg + strspn(arg, "-");
    snprintf(wrong, sizeof(wrong), "%.*s", (int)strcspn(name, "="), name);
    return refuse(cli, arg, "unknown option", arg[1] == '-' ? nearest(&names, wrong) : NULL);
}

static int add_value(struct cli *cli, const struct cli_option *option, const char *text)
{
    if (cli->nvalues == CLI_VALUES_MAX)
        return refuse(cli, option->name, "too many options, no room for", NULL);
    cli->values[cli->nvalues++] = (struct cli_value){ option->name, text ? text : "" };
    return 0;
}

/* Each takes argv[*at], moving *at on when its value is the next argument; 0 or -1. */
static int read_long(struct cli *cli, int argc, char **argv, int *at)
{
    char *arg = argv[*at], *name = arg + 2;
    size_t len = strcspn(name, "=");
    const struct cli_option *option =
        len ? find_option(cli->program, cli->command, name, len) : NULL;

    if (!option)
        return refuse_option(cli, arg);
    if (!option->value)
        return name[len] ? refuse(cli, arg, "no value is allowed in", NULL)
                         : add_value(cli, option, NULL);
    if (name[len])
        return add_value(cli, option, name + len + 1);
    if (*at + 1 >= argc)
        return refuse(cli, arg, "a value is missing after", NULL);
    return add_value(cli, option, argv[++*at]);
}

static int read_letters(struct cli *cli, int argc, char **argv, int *at)
{
    char *arg = argv[*at];

    for (char *letter = arg + 1; *letter; letter++) {
        const struct cli_option *option = find_option(cli->program, cli->command, letter, 0);
        int rc;
        if (!option)
            rc = refuse_option(cli, arg);
        else if (!option->value)
            rc = add_value(cli, option, NULL);
        else if (letter[1])
            rc = refuse(cli, arg, "a blank is missing before the value in", NULL);
        else if (*at + 1 >= argc)
            rc = refuse(cli, arg, "a value is missing after", NULL);
        else
            rc = add_value(cli, option, argv[++*at]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int cli_read_arguments(struct cli *cli, int argc, char **argv, int word)
{
    bool options = true;

    cli->words = argv + 1;
    for (int i = 1; i < argc; i++) {
        int rc = 0;
        if (i == word)
            continue;
        if (options && strcmp(argv[i], "--") == 0)
            options = false;
        else if (!options || !is_option(argv[i]))
            cli->words[cli->nwords++] = argv[i];
        else if (argv[i][1] == '-')
            rc = read_long(cli, argc, argv, &i);
        else
            rc = read_letters(cli, argc, argv, &i);
        if (rc < 0)
            return rc;
    }
    cli->words[cli->nwords] = NULL;
    return 0;
}

static int check_words(const struct cli *cli)
{
    const struct cli_command *command = cli->command;
    size_t most = command->max_words;
    struct buf usage;

    if (most == 0 && *command->words)
        most = SIZE_MAX;
    if (cli->nwords >= command->min_words && cli->nwords <= most)
        return 0;
    buf_init(&usage, HELP_BYTES_MAX);
    put_usage(cli->program, command, &usage);
    if (cli->nwords < command->min_words)
        fprintf(stderr, "%s: \"%s\" needs %s\n%s", cli->program->name, command->name,
                command->words, buf_text(&usage));
    else
        fprintf(stderr, "%s: \"%s\" does not know what to do with \"%.64s\"\n%s",
                cli->program->name, command->name, cli->words[most], buf_text(&usage));
    buf_done(&usage);
    return -1;
}

const char *cli_value(const struct cli *cli, const char *name)
{
    for (size_t i = cli->nvalues; i-- > 0;)
        if (strcmp(cli->values[i].name, name) == 0)
            return cli->values[i].text;
    return NULL;
}

bool cli_flag(const struct cli *cli, const char *name) { return cli_value(cli, name) != NULL; }

int cli_main(const struct cli_program *program, int argc, char **argv, void *context)
{
    struct cli cli = { .program = program, .context = context };

    if (argc < 1)
        return EXIT_USAGE; /* not even a name: nothing that a person typed */
    int word = cli_find_word(program, argc, argv);
    if (word) {
        cli.command = cli_find_command(program, argv[word]);
        if (!cli.command)
            return refuse_command(program, argv[word]);
    } else if (program->default_command) {
        cli.command = cli_find_command(program, program->default_command);
    }
    if (cli_read_arguments(&cli, argc, argv, word) < 0)
        return EXIT_USAGE;
    if (cli_flag(&cli, cli_built_in_options[0].name))
        return show_help(program, word ? cli.command : NULL);
    if (cli_flag(&cli, cli_built_in_options[1].name))
        return show_version(program);
    if (!cli.command)
        return cli.nwords ? refuse_command(program, cli.words[0]) : show_help(program, NULL);
    return check_words(&cli) < 0 ? EXIT_USAGE : cli.command->run(&cli);
}
