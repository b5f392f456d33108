/* cmd_status.c - supervisor status: what runs, and whether that is as it should be. */
#include <unistd.h>

#include "io/jsonx.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/core/status.h"

enum { STATUS_MAX = 64 * 1024 * 1024 };

static int print(const json_t *status)
{
    struct buf out;

    buf_init(&out, STATUS_MAX);
    status_print(status, table_width(STDOUT_FILENO), table_colour(STDOUT_FILENO), &out);
    int code = client_print(buf_text(&out));
    buf_done(&out);
    return code;
}

/* The core makes the words itself, unless it is of a version that does not know how. */
static json_t *what_to_ask(struct cli *cli)
{
    json_t *params = json_pack("{s:o}", "names", client_names(cli));

    if (!cli_flag(cli, "json"))
        json_object_set_new(params, "text",
                            json_pack("{s:I,s:b}", "width", (json_int_t)table_width(STDOUT_FILENO),
                                      "colour", table_colour(STDOUT_FILENO)));
    return params;
}

int cmd_status(struct cli *cli)
{
    json_t *status;

    if (client_call(cli, "status", what_to_ask(cli), CLIENT_READ_MS, &status) != CLIENT_OK)
        return CLIENT_UNKNOWN;
    const char *text = jsonx_text(status, "text", NULL);
    bool well = text ? jsonx_bool(status, "well", false) : status_all_well(status);
    int code = text                    ? client_print(text)
               : cli_flag(cli, "json") ? client_print_json(status)
                                       : print(status);
    json_decref(status);
    return code == CLIENT_OK && !well ? CLIENT_DOWN : code;
}
