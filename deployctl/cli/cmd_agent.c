/* cmd_agent.c - deployctl agent: the other end of a connection. */
#include <string.h>
#include <sys/prctl.h>

#include "deployctl/agent/agent.h"
#include "deployctl/agent/verify.h"
#include "deployctl/cli/app.h"
#include "deployctl/cli/commands.h"

const struct cli_option cmd_agent_options[] = {
    { "socket", 0, "SOCKET", "The supervisor's control socket." },
    { "added", 0, NULL, "With verify: what was added to the release is a difference, too." },
    { NULL, 0, NULL, NULL },
};

int cmd_agent_run(struct cli *cli)
{
    /* Started by way of /proc/self/exe it would stand as "exe" in ps and in a supervisor's orders.
     */
    prctl(PR_SET_NAME, "deployctl");
    bool verify = strcmp(cli->words[0], "verify") == 0;
    if (verify && cli->nwords == 2)
        return verify_command(cli->words[1], cli_flag(cli, "added"));
    if (verify || cli->nwords == 2) {
        app_error("deployctl agent PATH, or deployctl agent verify DIR");
        return APP_USAGE;
    }
    return agent_run(cli->words[0], cli_value(cli, "socket"));
}
