/* commands.h - one function per command, in cmd_NAME.c; the table is in commands.c. */
#ifndef DEPLOYCTL_CLI_COMMANDS_H
#define DEPLOYCTL_CLI_COMMANDS_H

#include "base/cli.h"

int cmd_init_run(struct cli *cli);
int cmd_bootstrap_run(struct cli *cli);
int cmd_plan_run(struct cli *cli);
int cmd_release_run(struct cli *cli);
int cmd_simulate_run(struct cli *cli);
int cmd_rollback_run(struct cli *cli);
int cmd_order_promote(struct cli *cli);
int cmd_order_resume(struct cli *cli);
int cmd_order_abort(struct cli *cli);
int cmd_order_pause(struct cli *cli);
int cmd_view_status(struct cli *cli);
int cmd_view_hosts(struct cli *cli);
int cmd_view_history(struct cli *cli);
int cmd_why_run(struct cli *cli);
int cmd_verify_run(struct cli *cli);
int cmd_diff_run(struct cli *cli);
int cmd_freeze_run(struct cli *cli);
int cmd_unfreeze_run(struct cli *cli);
int cmd_logs_run(struct cli *cli);
int cmd_keygen_run(struct cli *cli);
int cmd_agent_run(struct cli *cli);
int cmd_agent_check_run(struct cli *cli);
int cmd_options_run(struct cli *cli);
int cmd_manual_run(struct cli *cli);

extern const struct cli_option cmd_release_options[], cmd_simulate_options[],
    cmd_rollback_options[], cmd_agent_options[], cmd_agent_check_options[],
    cmd_view_history_options[], cmd_verify_options[], cmd_bootstrap_options[], cmd_diff_options[],
    cmd_order_resume_options[], cmd_freeze_options[], cmd_logs_options[];

int commands_main(int argc, char **argv);

#endif
