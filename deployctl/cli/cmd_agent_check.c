/* cmd_agent_check.c - deployctl agent-check: a load balancer asks whether to send traffic here. */
#include "deployctl/agent/agent_check.h"
#include "deployctl/cli/app.h"
#include "deployctl/cli/commands.h"

const struct cli_option cmd_agent_check_options[] = {
    { "listen", 0, "ADDRESS:PORT", "Where it is asked; 127.0.0.1:5500 when not given." },
    { NULL, 0, NULL, NULL },
};

int cmd_agent_check_run(struct cli *cli)
{
    const char *listen = cli_value(cli, "listen");
    struct err err;
    agent_check_run(cli->words[0], listen ? listen : "127.0.0.1:5500", &err);
    app_error("%s", err.text);
    return APP_CONFIG;
}
