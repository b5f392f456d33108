/* cmd_logs.c - deployctl logs: what the services print, on all hosts, in the order of time. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/unit.h"
#include "deployctl/cli/app.h"
#include "deployctl/cli/commands.h"
#include "deployctl/cli/progress.h"
#include "deployctl/cli/report.h"
#include "deployctl/fleet/follow.h"
#include "io/jsonx.h"

enum { LINES_DEFAULT = 10, LINES_MAX = 10000, NAME_MOST = 40, APP_INTERRUPTED = 130 };

const struct cli_option cmd_logs_options[] = {
    { "follow", 'f', NULL, "Go on with what comes, until Ctrl-C." },
    { "lines", 'n', "N", "How many lines of each instance to begin with; default 10." },
    { "stderr", 0, NULL, "Of standard error, where it has a file of its own." },
    { NULL, 0, NULL, NULL },
};

struct printer {
    bool json, colour;
    int width;   /* of the names of hosts */
    size_t bare; /* bytes at the end of every name that are left out */
};

static const char *paint(const struct printer *printer, const char *host)
{
    static const char *const colours[] = { "\033[36m", "\033[33m", "\033[32m", "\033[35m",
                                           "\033[34m", "\033[96m", "\033[93m", "\033[92m",
                                           "\033[95m", "\033[94m" };
    unsigned hash = 5381;
    for (; *host; host++)
        hash = hash * 33 + (unsigned char)*host;
    return printer->colour ? colours[hash % (sizeof colours / sizeof *colours)] : "";
}

static void print_json(const struct follow_line *line)
{
    char time[CLOCK_TEXT_MAX];
    json_t *out = json_object();
    jsonx_set_text(out, "event", line->instance ? "log" : "note");
    jsonx_set_text(out, "host", line->host);
    if (line->instance)
        jsonx_set_text(out, "instance", line->instance);
    if (line->instance && line->time_us >= 0)
        jsonx_set_text(out, "time", clock_text(line->time_us, time));
    jsonx_set_text(out, "text", line->text);
    if (line->cut)
        jsonx_set_bool(out, "cut", true);
    report_json(out);
}

/* Colours of the services are theirs; what else acts on a terminal is not let through to one. */
static void put_text(const char *text)
{
    bool people = isatty(STDOUT_FILENO);
    for (const char *at = text; *at; at++) {
        bool colour =
            at[0] == '\033' && at[1] == '[' && at[2 + strspn(at + 2, "0123456789;")] == 'm';
        bool acts = ((unsigned char)*at < ' ' && *at != '\t') || *at == 0x7f;
        putchar(people && acts && !colour ? '?' : *at);
    }
}

static bool print(void *context, const struct follow_line *line)
{
    const struct printer *printer = context;
    if (printer->json) {
        print_json(line);
        return fflush(stdout) == 0;
    }
    if (!line->instance) {
        fflush(stdout);
        fprintf(stderr, "%s: %s\n", line->host, line->text);
        return !ferror(stdout);
    }
    const char *colour = paint(printer, line->host);
    printf("%s%-*s %s |%s ", colour, printer->width, line->host, line->instance,
           *colour ? "\033[0m" : "");
    put_text(line->text);
    printf("%s%s\n", line->cut ? " [...]" : "", printer->colour ? "\033[0m" : "");
    return fflush(stdout) == 0;
}

static struct printer make_printer(const struct app *app)
{
    struct printer printer = { .json = app->json, .colour = progress_colour() };
    for (size_t i = 0; i < app->recipe.count; i++) {
        int len = (int)strlen(app->recipe.hosts[i].name);
        printer.width = len > printer.width && len <= NAME_MOST ? len : printer.width;
    }
    return printer;
}

/* The services that are named, or all of deploy.ini; NULL: it was told what is wrong. */
static json_t *names_of(const struct app *app)
{
    const struct opt_names *services = &app->recipe.deploy.services;
    json_t *names = json_array();
    for (size_t i = 0; i < app->cli->nwords; i++)
        json_array_append_new(names, json_string(app->cli->words[i]));
    for (size_t i = 0; i < services->count && app->cli->nwords == 0; i++)
        json_array_append_new(names, json_string(services->names[i]));
    if (json_array_size(names) > 0)
        return names;
    app_fail(app,
             "%s names no service in [deploy]: there is no output to show; or name one, as the "
             "supervisor of the hosts knows it",
             app->file);
    json_decref(names);
    return NULL;
}

static int show(const struct app *app, int64_t lines)
{
    struct printer printer = make_printer(app);
    struct follow_order order = { .lines = lines,
                                  .follow = cli_flag(app->cli, "follow"),
                                  .on_err = cli_flag(app->cli, "stderr") };
    struct follow_result result;
    struct err err;
    json_t *names = names_of(app);
    if (!names)
        return APP_CONFIG;
    order.names = names;
    int rc = follow_run(&app->recipe, &order, print, &printer, &result, &err);
    json_decref(names);
    if (rc < 0)
        app_fail(app, "%s", err.text);
    if (rc < 0)
        return APP_CONFIG;
    return result.interrupted ? APP_INTERRUPTED : result.silent > 0 ? APP_UNREACHABLE : APP_DONE;
}

int cmd_logs_run(struct cli *cli)
{
    struct app app;
    struct err err;
    int64_t lines = LINES_DEFAULT;
    const char *given = cli_value(cli, "lines");
    int code;
    if (given && (unit_integer(given, 10, &lines, &err) < 0 || lines < 0 || lines > LINES_MAX)) {
        app_error("--lines wants a number up to %d, not \"%s\"", LINES_MAX, given);
        return APP_USAGE;
    }
    if (app_open(&app, cli, DRIVER_STATUS, &code))
        code = show(&app, lines);
    app_done(&app);
    return code;
}
