/* cmd_why.c - supervisor why: why is it down, or was it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/jsonx.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/story.h"
#include "supervisor/cli/table.h"

enum { OUT_MAX = 4 * 1024 * 1024, HISTORY_MAX = 20000 };

/* All that the recorder still has, oldest first; an empty array when it cannot be had. */
static json_t *history(struct rpc_client *client)
{
    json_t *answer, *events = json_array();
    struct err err = { 0 };
    int64_t next, last = 0;

    if (rpc_client_call(client, "events", json_pack("{s:i}", "since", 1), CLIENT_READ_MS, &answer,
                        NULL, &err) != 0)
        return events;
    next = jsonx_int(answer, "next", 1);
    json_decref(answer);
    while (last < next - 1 && json_array_size(events) < HISTORY_MAX) {
        json_t *message;
        if (rpc_client_next(client, CLIENT_READ_MS, &message, &err) != 0)
            break;
        json_t *event = json_object_get(message, "params");
        last = jsonx_int(event, "seq", jsonx_int(event, "to", last));
        json_array_append(events, event);
        json_decref(message);
    }
    return events;
}

static int print_stories(const json_t *instances, const json_t *events)
{
    struct buf out;
    json_t *row;
    size_t i;

    buf_init(&out, OUT_MAX);
    json_array_foreach((json_t *)instances, i, row)
    {
        if (i > 0)
            buf_puts(&out, "\n\n");
        story_print(row, events, clock_wall_us(), table_colour(STDOUT_FILENO), &out);
    }
    int code = client_print(buf_text(&out));
    buf_done(&out);
    return code;
}

int cmd_why(struct cli *cli)
{
    char path[PLACES_PATH_MAX];
    struct rpc_client *client = client_open(cli, path);
    json_t *answer;

    if (!client)
        return CLIENT_UNKNOWN;
    int code = client_ask(client, "why", json_pack("{s:o}", "names", client_names(cli)),
                          CLIENT_READ_MS, &answer);
    if (code == CLIENT_OK && cli_flag(cli, "json")) {
        code = client_print_json(answer);
        json_decref(answer);
    } else if (code == CLIENT_OK) {
        json_t *events = history(client);
        code = print_stories(json_object_get(answer, "instances"), events);
        json_decref(events);
        json_decref(answer);
    }
    rpc_client_close(client);
    return code;
}
