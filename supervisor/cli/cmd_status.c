/* cmd_status.c - supervisor status: what runs, and whether that is as it should be. */
#include <unistd.h>

#include "io/jsonx.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/status.h"

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

int cmd_status(struct cli *cli)
{
    json_t *status;

    if (client_call(cli, "status", json_pack("{s:o}", "names", client_names(cli)), CLIENT_READ_MS,
                    &status) != CLIENT_OK)
        return CLIENT_UNKNOWN;
    int code = cli_flag(cli, "json") ? client_print_json(status) : print(status);
    if (code == CLIENT_OK && !status_all_well(status))
        code = CLIENT_DOWN;
    json_decref(status);
    return code;
}
