/* cli_complete.c - completion of command lines from the tables, for bash, zsh and fish.
 *
 * The scripts know nothing: at each <Tab> they ask `PROGRAM complete -- WORD...` and get a line
 * "CANDIDATE<tab>HELP" for each that fits, or ":files" where a file name belongs.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cli_inside.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, OFFERS_BYTES_MAX = 1024 * 1024 };

void cli_offer(struct cli_offers *offers, const char *text, const char *help)
{
    if (strncmp(text, offers->word, strlen(offers->word)) != 0)
        return;
    buf_puts(offers->out, text);
    if (help)
        buf_printf(offers->out, "\t%.*s", (int)strcspn(help, "\n"), help);
    buf_putc(offers->out, '\n');
}

void cli_offer_files(struct cli_offers *offers) { buf_puts(offers->out, ":files\n"); }

static void offer_commands(const struct cli_command *commands, size_t count,
                           struct cli_offers *offers)
{
    for (size_t i = 0; i < count; i++)
        if (!commands[i].hidden)
            cli_offer(offers, commands[i].name, commands[i].help);
}

static void offer_options(const struct cli_option *option, struct cli_offers *offers)
{
    char text[128];

    for (; option && option->name; option++) {
        snprintf(text, sizeof text, "--%s", option->name);
        cli_offer(offers, text, option->help);
    }
}

static void offer_value(const struct cli_option *option, struct cli_offers *offers)
{
    static const char *const files[] = { "PATH", "FILE", "FOLDER", "BINARY" };

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (strcmp(option->value, files[i]) == 0)
            cli_offer_files(offers);
}

/* `cli` has all words but the unfinished one; argv[argc - 1] stands before it. */
static void offer(struct cli *cli, int argc, char **argv, struct cli_offers *offers)
{
    const struct cli_program *program = cli->program;
    const struct cli_option *option = cli_awaits_value(program, argv[argc - 1]);

    if (argc > 1 && option) {
        offer_value(option, offers);
        if (program->complete_value)
            program->complete_value(cli, option, offers);
    } else if (offers->word[0] == '-') {
        offer_options(cli->command ? cli->command->options : NULL, offers);
        offer_options(program->globals, offers);
        offer_options(cli_built_in_options, offers);
    } else if (!cli->command) {
        offer_commands(program->commands, program->ncommands, offers);
        offer_commands(cli_built_in_commands, cli_nbuilt_in_commands, offers);
    } else if (strcmp(cli->command->name, "help") == 0) {
        offer_commands(program->commands, program->ncommands, offers);
    } else if (cli->command->run == cli_run_completion) {
        cli_offer(offers, "bash", NULL);
        cli_offer(offers, "zsh", NULL);
        cli_offer(offers, "fish", NULL);
    } else if (cli->command->complete) {
        cli->command->complete(cli, offers);
    }
}

/* Reads what stands before the unfinished word and offers what fits; argv[argc] is that word. */
static int complete(const struct cli *outer, int argc, char **argv, struct buf *out)
{
    const struct cli_program *program = outer->program;
    struct cli cli = { .program = program, .context = outer->context };
    struct cli_offers offers = { .word = argv[argc], .out = out };
    char **copy = calloc((size_t)argc + 1, sizeof *copy); /* reading sorts it */

    if (!copy)
        return EXIT_FAILED;
    memcpy(copy, argv, (size_t)argc * sizeof *copy);
    int read = argc > 1 && cli_awaits_value(program, argv[argc - 1]) ? argc - 1 : argc;
    int word = cli_find_word(program, read, copy);
    cli.command = word ? cli_find_command(program, copy[word]) : NULL;
    bool fine = (!word || cli.command) && cli_read_arguments(&cli, read, copy, word) == 0;
    if (fine)
        offer(&cli, argc, argv, &offers);
    free(copy);
    return fine ? EXIT_DONE : EXIT_USAGE;
}

int cli_run_complete(struct cli *cli)
{
    static char empty[1];
    struct buf out;
    char **argv = calloc(cli->nwords + 2, sizeof *argv);

    if (!argv)
        return EXIT_FAILED;
    argv[0] = (char *)(uintptr_t)cli->program->name;
    argv[1] = empty;
    for (size_t i = 0; i < cli->nwords; i++)
        argv[i + 1] = cli->words[i];
    buf_init(&out, OFFERS_BYTES_MAX);
    int code = complete(cli, cli->nwords ? (int)cli->nwords : 1, argv, &out);
    if (fputs(buf_text(&out), stdout) == EOF)
        code = EXIT_FAILED;
    buf_done(&out);
    free(argv);
    return code;
}

/* ^ stands for the program's name. */
static const char bash_script[] = "_^() {\n"
                                  "    local line\n"
                                  "    COMPREPLY=()\n"
                                  "    # A colon ends a word for bash, but not for us: web:0.\n"
                                  "    local words=() at part=${COMP_LINE:0:COMP_POINT}\n"
                                  "    IFS=$' \\t' read -ra words <<<\"$part\"\n"
                                  "    [[ $part == *[[:blank:]] ]] && words+=('')\n"
                                  "    local last=${words[-1]}\n"
                                  "    while IFS= read -r line; do\n"
                                  "        if [[ $line == :files ]]; then\n"
                                  "            compopt -o filenames\n"
                                  "            mapfile -t COMPREPLY < <(compgen -f -- \"$last\")\n"
                                  "        else\n"
                                  "            line=${line%%$'\\t'*}\n"
                                  "            [[ $last == *:* ]] && line=${line#\"${last%:*}:\"}\n"
                                  "            COMPREPLY+=(\"$line\")\n"
                                  "        fi\n"
                                  "    done < <(^ complete -- \"${words[@]:1}\" 2>/dev/null)\n"
                                  "}\n"
                                  "complete -F _^ ^\n";
static const char zsh_script[] =
    "#compdef ^\n"
    "_^() {\n"
    "    local line candidates=()\n"
    "    for line in ${(f)\"$(^ complete -- ${(Q)words[2,CURRENT]} 2>/dev/null)\"}; do\n"
    "        if [[ $line == :files ]]; then\n"
    "            _files\n"
    "        else\n"
    "            "
    "candidates+=(\"${${line%%$'\\t'*}//:/\\\\:}${${line#*$'\\t'}:+:${line#*$'\\t'}}\")\n"
    "        fi\n"
    "    done\n"
    "    (( $#candidates )) && _describe ^ candidates\n"
    "}\n"
    "compdef _^ ^\n"
    "# Loaded by fpath, this file is the function itself the first time.\n"
    "[[ $funcstack[1] == _^ ]] && _^ \"$@\" || true\n";
static const char fish_script[] = "function __^_complete\n"
                                  "    set -l words (commandline -opc) (commandline -ct)\n"
                                  "    for line in (^ complete -- $words[2..-1] 2>/dev/null)\n"
                                  "        if test \"$line\" = :files\n"
                                  "            __fish_complete_path (commandline -ct)\n"
                                  "        else\n"
                                  "            echo $line\n"
                                  "        end\n"
                                  "    end\n"
                                  "end\n"
                                  "complete -c ^ -f -a '(__^_complete)'\n";

int cli_run_completion(struct cli *cli)
{
    static const struct {
        const char *shell, *script;
    } rows[] = { { "bash", bash_script }, { "zsh", zsh_script }, { "fish", fish_script } };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].shell, cli->words[0]) != 0)
            continue;
        for (const char *at = rows[i].script; *at; at++)
            if (fputs(*at == '^' ? cli->program->name : (char[]){ *at, '\0' }, stdout) == EOF)
                return EXIT_FAILED;
        return fflush(stdout) == EOF ? EXIT_FAILED : EXIT_DONE;
    }
    fprintf(stderr, "%s: \"%.64s\" is not a shell that is known here: bash, zsh or fish\n",
            cli->program->name, cli->words[0]);
    return EXIT_USAGE;
}
