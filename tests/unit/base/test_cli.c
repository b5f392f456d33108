/* test_cli.c - command lines of a small program: what runs with what, what is refused, how help
 * looks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cli.h"

struct seen {
    char text[512]; /* "command word|word| --option=value" of the last run */
};

static int note(struct cli *cli)
{
    struct seen *seen = cli->context;
    char *at = seen->text, *end = at + sizeof(seen->text);

    at += snprintf(at, (size_t)(end - at), "%s ", cli->command->name);
    for (size_t i = 0; i < cli->nwords; i++)
        at += snprintf(at, (size_t)(end - at), "%s|", cli->words[i]);
    assert_null(cli->words[cli->nwords]);
    for (size_t i = 0; i < cli->nvalues; i++)
        at += snprintf(at, (size_t)(end - at), " %s=%s", cli->values[i].name, cli->values[i].text);
    return 42;
}

static const struct cli_option globals[] = {
    { "config", 'c', "PATH", "Read this file or folder." },
    { "verbose", 'v', NULL, "Say more." },
    { NULL, 0, NULL, NULL },
};
static const struct cli_option status_options[] = {
    { "json", 0, NULL, "Print JSON." },
    { "lines", 'n', "LINES",
      "How many lines are printed; this text is long enough to be wrapped "
      "at the right margin of a terminal with eighty columns." },
    { NULL, 0, NULL, NULL },
};
static const struct cli_command commands[] = {
    { .name = "run", .words = "[-- COMMAND...]", .help = "Run in the foreground.", .run = note },
    { .name = "status",
      .words = "[NAME...]",
      .help = "Show what runs.\nMore about it.\n  kept   as it is\n",
      .options = status_options,
      .run = note },
    { .name = "start", .words = "NAME...", .help = "Start it.", .min_words = 1, .run = note },
    { .name = "check", .words = "", .help = "Check files.", .run = note },
    { .name = "signal",
      .words = "SIG NAME",
      .help = "Send it.",
      .min_words = 2,
      .max_words = 2,
      .run = note },
    { .name = "secret", .words = "", .help = "Not shown.", .run = note, .hidden = true },
};
static const struct cli_program program = {
    .name = "prog",
    .version = "1.2.3",
    .help = "keeps services running\n\nAnd more.",
    .globals = globals,
    .commands = commands,
    .ncommands = sizeof(commands) / sizeof(commands[0]),
    .default_command = "run",
};

/* Runs the line (words separated by single blanks) and catches stdout and stderr. */
struct result {
    int code;
    char out[8192], err[2048];
    struct seen seen;
};

static void slurp(FILE *file, char *text, size_t size)
{
    rewind(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

static struct result run_program(const struct cli_program *which, const char *line)
{
    static struct result r;
    char *argv[80] = { (char *)"prog" }, *copy = strdup(line);
    int argc = 1;

    memset(&r, 0, sizeof(r));
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    FILE *out = tmpfile(), *err = tmpfile(), *saved_out = stdout, *saved_err = stderr;
    assert_true(out && err);
    stdout = out;
    stderr = err;
    r.code = cli_main(which, argc, argv, &r.seen);
    stdout = saved_out;
    stderr = saved_err;
    slurp(out, r.out, sizeof(r.out));
    slurp(err, r.err, sizeof(r.err));
    free(copy);
    return r;
}

static struct result run_line(const char *line) { return run_program(&program, line); }

static void expect_run(const char *line, const char *seen)
{
    struct result r = run_line(line);

    assert_string_equal(r.err, "");
    assert_string_equal(r.seen.text, seen);
    assert_int_equal(r.code, 42);
}

static void expect_usage(const char *line, const char *message)
{
    struct result r = run_line(line);

    assert_int_equal(r.code, 2);
    assert_string_equal(r.seen.text, "");
    assert_string_equal(r.out, "");
    assert_string_equal(r.err, message);
}

static void options_stand_anywhere(void **unused)
{
    (void)unused;
    expect_run("status", "status ");
    expect_run("status web --json", "status web| json=");
    expect_run("--json status web", "status web| json=");
    expect_run("-c /x status -n 5 web db", "status web|db| config=/x lines=5");
    expect_run("--config=/x status --lines=5", "status  config=/x lines=5");
    expect_run("--config /x status --lines 5", "status  config=/x lines=5");
    expect_run("--lines 5 status", "status  lines=5");
    expect_run("status --config= -", "status -| config=");
}

static void letters_may_share_a_dash(void **unused)
{
    (void)unused;
    expect_run("status -vn 5", "status  verbose= lines=5");
    expect_run("-vc /x status", "status  verbose= config=/x");
}

static void two_dashes_end_the_options(void **unused)
{
    (void)unused;
    expect_run("run -- web --port 80 -x", "run web|--port|80|-x|");
    expect_run("-- status --port", "run status|--port|");
    expect_run("run -- -- x", "run --|x|");
    expect_run("start -- -web", "start -web|");
}

static void without_a_word_the_default_runs(void **unused)
{
    struct cli_program bare = program;

    (void)unused;
    expect_run("", "run ");
    expect_run("-c /x", "run  config=/x");
    bare.default_command = NULL;
    struct result r = run_program(&bare, "");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "Usage: prog [OPTION...] COMMAND [WORD...]\n"));
}

static void the_last_value_counts(void **unused)
{
    struct cli cli = { .values = { { "a", "1" }, { "b", "" }, { "a", "2" } }, .nvalues = 3 };

    (void)unused;
    assert_string_equal(cli_value(&cli, "a"), "2");
    assert_null(cli_value(&cli, "c"));
    assert_true(cli_flag(&cli, "b"));
    assert_false(cli_flag(&cli, "c"));
}

static void wrong_lines_are_explained(void **unused)
{
    (void)unused;
    expect_usage("stauts", "prog: unknown command \"stauts\" (did you mean \"status\"?)\n"
                           "Try \"prog help\".\n");
    expect_usage("xyzzy", "prog: unknown command \"xyzzy\"\nTry \"prog help\".\n");
    expect_usage("help stauts", "prog: unknown command \"stauts\" (did you mean \"status\"?)\n"
                                "Try \"prog help\".\n");
    expect_usage("status --jsn", "prog: unknown option \"--jsn\" (did you mean \"--json\"?)\n"
                                 "Try \"prog help status\".\n");
    expect_usage("status --linse=5",
                 "prog: unknown option \"--linse=5\" (did you mean \"--lines\"?)\n"
                 "Try \"prog help status\".\n");
    expect_usage("check --json", "prog: unknown option \"--json\"\nTry \"prog help check\".\n");
    expect_usage("status -x", "prog: unknown option \"-x\"\nTry \"prog help status\".\n");
    expect_usage("status --=", "prog: unknown option \"--=\"\nTry \"prog help status\".\n");
    expect_usage("status --json=1",
                 "prog: no value is allowed in \"--json=1\"\nTry \"prog help status\".\n");
    expect_usage("status --lines",
                 "prog: a value is missing after \"--lines\"\nTry \"prog help status\".\n");
    expect_usage("status -n", "prog: a value is missing after \"-n\"\nTry \"prog help status\".\n");
    expect_usage("status -n5", "prog: a blank is missing before the value in \"-n5\"\n"
                               "Try \"prog help status\".\n");
    expect_usage("start", "prog: \"start\" needs NAME...\nUsage: prog start [OPTION...] NAME...\n");
    expect_usage("signal TERM",
                 "prog: \"signal\" needs SIG NAME\nUsage: prog signal [OPTION...] SIG NAME\n");
    expect_usage("signal a b c", "prog: \"signal\" does not know what to do with \"c\"\n"
                                 "Usage: prog signal [OPTION...] SIG NAME\n");
    expect_usage("check web", "prog: \"check\" does not know what to do with \"web\"\n"
                              "Usage: prog check [OPTION...]\n");
}

static void too_many_options_are_refused(void **unused)
{
    char line[512] = "status";

    (void)unused;
    for (int i = 0; i <= CLI_VALUES_MAX; i++)
        strcat(line, " -v");
    struct result r = run_line(line);
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "too many options"));
}

static void help_is_aligned_to_80_columns(void **unused)
{
    (void)unused;
    struct result r = run_line("help");
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out,
                        "prog 1.2.3 - keeps services running\n"
                        "\n"
                        "Usage: prog [OPTION...] COMMAND [WORD...]\n"
                        "\n"
                        "And more.\n"
                        "\n"
                        "Commands:\n"
                        "  run [-- COMMAND...]  Run in the foreground.\n"
                        "  status [NAME...]     Show what runs.\n"
                        "  start NAME...        Start it.\n"
                        "  check                Check files.\n"
                        "  signal SIG NAME      Send it.\n"
                        "  help [COMMAND]       Explain a command.\n"
                        "  version              Show the version.\n"
                        "  completion SHELL     Print the completion for bash, zsh or fish.\n"
                        "\n"
                        "Options of every command:\n"
                        "  -c, --config PATH  Read this file or folder.\n"
                        "  -v, --verbose      Say more.\n"
                        "  -h, --help         Show this help.\n"
                        "  -V, --version      Show the version.\n"
                        "\n"
                        "\"prog help COMMAND\" explains a command and its own options.\n");
}

static void help_of_a_command(void **unused)
{
    static const char head[] =
        "Usage: prog status [OPTION...] [NAME...]\n"
        "\n"
        "Show what runs.\n"
        "More about it.\n"
        "  kept   as it is\n"
        "\n"
        "Options:\n"
        "      --json         Print JSON.\n"
        "  -n, --lines LINES  How many lines are printed; this text is long enough to be\n"
        "                     wrapped at the right margin of a terminal with eighty\n"
        "                     columns.\n";
    static const char *const lines[] = { "help status", "status --help", "-h status" };

    (void)unused;
    for (size_t i = 0; i < 3; i++) {
        struct result r = run_line(lines[i]);
        assert_int_equal(r.code, 0);
        assert_string_equal(r.seen.text, "");
        assert_int_equal(strncmp(r.out, head, strlen(head)), 0);
    }
    /* Help counts even where words are missing. */
    assert_int_equal(run_line("start --help").code, 0);
}

static void versions_are_shown(void **unused)
{
    static const char *const lines[] = { "version", "--version", "status -V" };

    (void)unused;
    for (size_t i = 0; i < 3; i++) {
        struct result r = run_line(lines[i]);
        assert_int_equal(r.code, 0);
        assert_string_equal(r.out, "prog 1.2.3\n");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_anywhere),
        cmocka_unit_test(letters_may_share_a_dash),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(without_a_word_the_default_runs),
        cmocka_unit_test(the_last_value_counts),
        cmocka_unit_test(wrong_lines_are_explained),
        cmocka_unit_test(too_many_options_are_refused),
        cmocka_unit_test(help_is_aligned_to_80_columns),
        cmocka_unit_test(help_of_a_command),
        cmocka_unit_test(versions_are_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
