/* cmd_reload.c - supervisor reload: applies changed files, or tells what that would do. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/jsonx.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/reload_view.h"
#include "supervisor/core/table.h"

enum { OUT_MAX = 4 * 1024 * 1024, RELOAD_MS = 120000 };

static int print_answer(const json_t *answer)
{
    json_t *warnings = json_object_get(answer, "warnings");
    json_t *problems = json_object_get(answer, "problems"), *line;
    struct buf out;
    size_t i;

    buf_init(&out, OUT_MAX);
    reload_view(answer, table_width(STDOUT_FILENO), table_colour(STDOUT_FILENO), &out);
    int code = client_print(buf_text(&out));
    buf_done(&out);
    json_array_foreach(warnings, i, line) client_say("warning: %s", json_string_value(line));
    json_array_foreach(problems, i, line) client_say("%s", json_string_value(line));
    return code;
}

/* Every error of the files on a line of its own, as `check` prints them. */
static int tell(const struct err *err, const json_t *data)
{
    json_t *errors = json_object_get(data, "errors"), *line;
    int64_t more = jsonx_int(data, "total", 0) - (int64_t)json_array_size(errors);
    size_t i;

    json_array_foreach(errors, i, line) fprintf(stderr, "%s\n", json_string_value(line));
    if (errors && more > 0)
        fprintf(stderr, "... and %lld more\n", (long long)more);
    return client_tell(err);
}

/* Names ask services to read their own files; the options are about ours. */
static int check_words(const struct cli *cli)
{
    static const char *const ours[] = { "plan", "undo", "no-restart" };

    for (size_t i = 0; i < sizeof ours / sizeof *ours && cli->nwords > 0; i++) {
        if (!cli_flag(cli, ours[i]))
            continue;
        client_say("reload: --%s is about the supervisor's files, as a whole: leave the name%s out",
                   ours[i], cli->nwords == 1 ? "" : "s");
        return CLIENT_USAGE;
    }
    if (cli->nwords == 0 && cli_flag(cli, "no-wait")) {
        client_say("reload: --no-wait goes with names of services");
        return CLIENT_USAGE;
    }
    return CLIENT_OK;
}

static json_t *params_of(const struct cli *cli)
{
    return json_pack("{s:b,s:b,s:b}", "plan", (int)cli_flag(cli, "plan"), "undo",
                     (int)cli_flag(cli, "undo"), "no_restart", (int)cli_flag(cli, "no-restart"));
}

int cmd_reload(struct cli *cli)
{
    char path[PLACES_PATH_MAX];
    json_t *answer = NULL, *data = NULL;
    struct err err = { 0 };

    int code = check_words(cli);
    if (code != CLIENT_OK)
        return code;
    if (cli->nwords > 0)
        return cmd_reload_services(cli);
    struct rpc_client *client = client_open(cli, path);
    if (!client)
        return CLIENT_UNKNOWN;
    int rc = rpc_client_call(client, "reload", params_of(cli), RELOAD_MS, &answer, &data, &err);
    rpc_client_close(client);
    code = rc != 0                 ? tell(&err, data)
           : cli_flag(cli, "json") ? client_print_json(answer)
                                   : print_answer(answer);
    if (code == CLIENT_OK && json_array_size(json_object_get(answer, "problems")) > 0)
        code = CLIENT_FAILED;
    json_decref(answer);
    json_decref(data);
    return code;
}
