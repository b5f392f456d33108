/* logs_told.c - the contract is in logs_told.h. */
#include "supervisor/cli/logs_told.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/jsonx.h"
#include "supervisor/cli/client.h"

static bool is_closed(const json_t *row, const char *key)
{
    const char *path = jsonx_text(row, key, "");

    return path[0] == '/' && access(path, R_OK) != 0 && errno == EACCES;
}

bool logs_told_needed(const json_t *rows)
{
    bool ret = false;
    json_t *row;
    size_t i;

    json_array_foreach((json_t *)rows, i, row) ret |=
        is_closed(row, "stdout") || is_closed(row, "stderr");
    return ret;
}

static void print_row(const json_t *row, bool prefixed)
{
    const char *text = jsonx_text(row, "text", ""), *instance = jsonx_text(row, "instance", "?");

    while (*text) {
        size_t len = strcspn(text, "\n");
        if (prefixed)
            printf("%s | ", instance);
        printf("%.*s\n", (int)len, text);
        text += len + (text[len] == '\n');
    }
}

static int ask(const struct cli *cli, uint64_t lines, bool on_err)
{
    json_t *params = json_object(), *answer, *row;
    size_t i;

    json_object_set_new(params, "names", client_names(cli));
    jsonx_set_int(params, "lines", (json_int_t)lines);
    jsonx_set_bool(params, "stderr", on_err);
    int code = client_call(cli, "logs.tail", params, CLIENT_READ_MS, &answer);
    if (code != CLIENT_OK)
        return code;
    json_t *rows = json_object_get(answer, "logs");
    json_array_foreach(rows, i, row) print_row(row, json_array_size(rows) > 1);
    int64_t left_out = jsonx_int(answer, "left_out", 0);
    json_decref(answer);
    code = client_print("");
    if (code == CLIENT_OK && left_out > 0) {
        client_say("%lld more instances are left out: name some of them", (long long)left_out);
        code = CLIENT_FAILED;
    }
    return code;
}

int logs_told(const struct cli *cli, uint64_t lines)
{
    bool both = cli_flag(cli, "both"), only_err = !both && cli_flag(cli, "stderr");

    if (cli_flag(cli, "follow") || cli_value(cli, "since") || cli_value(cli, "grep")) {
        client_say("this user may see the last lines (-n), but not read the log files, which "
                   "--follow, --since and --grep do");
        return CLIENT_FAILED;
    }
    int code = only_err ? CLIENT_OK : ask(cli, lines, false);
    return code == CLIENT_OK && (both || only_err) ? ask(cli, lines, true) : code;
}
