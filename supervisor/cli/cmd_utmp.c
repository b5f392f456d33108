/* cmd_utmp.c - supervisor utmp boot: for the service that says that the host is up. */
#include <string.h>

#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/guardian/utmp.h"

int cmd_utmp(struct cli *cli)
{
    if (strcmp(cli->words[0], "boot") != 0) {
        client_say("utmp: only \"boot\" is recorded by hand, a shutdown by itself");
        return CLIENT_USAGE;
    }
    utmp_record(UTMP_BOOT);
    return CLIENT_OK;
}
