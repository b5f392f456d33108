/* cmd_reload.c - supervisor reload: applies changed files, or tells what that would do. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/jsonx.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/core/table.h"

enum { OUT_MAX = 4 * 1024 * 1024, RELOAD_MS = 120000 };

/* What a change means, before it is applied and after. */
static const struct change {
    const char *name, *planned, *applied;
    enum table_paint paint;
} changes[] = {
    { "added", "would be added", "added", TABLE_GOOD },
    { "removed", "would be stopped and removed", "stopped and removed", TABLE_BAD },
    { "live", "would be applied, no restart", "applied, no restart", TABLE_PLAIN },
    { "restart", "would restart", "restarts", TABLE_WARN },
};

static const struct change *find_change(const char *name)
{
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        if (strcmp(changes[i].name, name) == 0)
            return &changes[i];
    return NULL;
}

static void put_names(struct buf *out, const json_t *names)
{
    json_t *name;
    size_t i;

    json_array_foreach((json_t *)names, i, name)
        buf_printf(out, "%s%s", i ? ", " : "", json_string_value(name));
}

static void put_list(struct buf *out, const char *what, const json_t *names)
{
    if (json_array_size(names) == 0)
        return;
    buf_puts(out, what);
    put_names(out, names);
    buf_putc(out, '\n');
}

/* The table of services that change; how many do not. */
static size_t add_rows(struct table *table, const json_t *answer)
{
    bool applied = jsonx_bool(answer, "applied", false);
    size_t i, same = 0;
    json_t *row;

    json_array_foreach(json_object_get(answer, "services"), i, row)
    {
        const struct change *change = find_change(jsonx_text(row, "change", ""));
        struct buf keys;

        if (!change) {
            same++;
            continue;
        }
        buf_init(&keys, OUT_MAX);
        put_names(&keys, json_object_get(row, "keys"));
        table_add(table, jsonx_text(row, "service", "?"), TABLE_PLAIN);
        table_add(table, applied ? change->applied : change->planned, change->paint);
        table_add(table, buf_text(&keys), TABLE_PLAIN);
        buf_done(&keys);
    }
    return same;
}

static void put_answer(const json_t *answer, bool colour, struct buf *out)
{
    static const struct table_column columns[] = { { "SERVICE", false, false },
                                                   { "CHANGE", false, false },
                                                   { "KEYS", false, true } };
    const json_t *keys = json_object_get(answer, "supervisor_keys");
    const json_t *sockets = json_object_get(answer, "sockets");
    const json_t *access = json_object_get(answer, "access");
    struct table table;

    table_init(&table, columns, sizeof columns / sizeof *columns);
    size_t same = add_rows(&table, answer);
    bool any = table.ncells > 0 || json_array_size(keys) > 0 || json_array_size(sockets) > 0 ||
               json_array_size(access) > 0;
    if (table.ncells > 0)
        table_print(&table, 0, colour, out);
    table_done(&table);
    put_list(out, "[supervisor] changes: ", keys);
    put_list(out, "sockets that change: ", sockets);
    put_list(out, "rights that change: ", access);
    if (!any)
        buf_printf(out, "nothing has changed (%zu service%s)\n", same, same == 1 ? "" : "s");
    else
        buf_printf(out, "%zu service%s unchanged\n", same, same == 1 ? "" : "s");
}

static int print_answer(const json_t *answer)
{
    json_t *problems = json_object_get(answer, "problems"), *line;
    struct buf out;
    size_t i;

    buf_init(&out, OUT_MAX);
    put_answer(answer, table_colour(STDOUT_FILENO), &out);
    int code = client_print(buf_text(&out));
    buf_done(&out);
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

int cmd_reload(struct cli *cli)
{
    char path[PLACES_PATH_MAX];
    struct rpc_client *client = client_open(cli, path);
    json_t *answer = NULL, *data = NULL;
    struct err err = { 0 };

    if (!client)
        return CLIENT_UNKNOWN;
    json_t *params = json_pack("{s:b,s:b}", "plan", (int)cli_flag(cli, "plan"), "undo",
                               (int)cli_flag(cli, "undo"));
    int rc = rpc_client_call(client, "reload", params, RELOAD_MS, &answer, &data, &err);
    rpc_client_close(client);
    int code = rc != 0                 ? tell(&err, data)
               : cli_flag(cli, "json") ? client_print_json(answer)
                                       : print_answer(answer);
    if (code == CLIENT_OK && json_array_size(json_object_get(answer, "problems")) > 0)
        code = CLIENT_FAILED;
    json_decref(answer);
    json_decref(data);
    return code;
}
