/* cmd_agent.c - deployctl agent: the other end of a connection. */
#include <sys/prctl.h>

#include "deployctl/agent/agent.h"
#include "deployctl/cli/commands.h"

const struct cli_option cmd_agent_options[] = {
    { "socket", 0, "SOCKET", "The supervisor's control socket." },
    { NULL, 0, NULL, NULL },
};

int cmd_agent_run(struct cli *cli)
{
    /* Started by way of /proc/self/exe it would stand as "exe" in ps and in a supervisor's orders.
     */
    prctl(PR_SET_NAME, "deployctl");
    return agent_run(cli->words[0], cli_value(cli, "socket"));
}
