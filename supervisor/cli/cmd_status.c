/* cmd_status.c - supervisor status. */
#include "supervisor/cli/commands.h"

#include <string.h>

#include "io/jsonx.h"
#include "supervisor/cli/client.h"

int cmd_status(struct cli *cli)
{
    json_t *status;
    int code = client_call(cli, "status", json_pack("{s:o}", "names", client_names(cli)),
                           CLIENT_READ_MS, &status);

    if (code != CLIENT_OK)
        return CLIENT_UNKNOWN;
    code = client_print_json(status);
    json_decref(status);
    return code;
}
