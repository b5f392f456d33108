/* commands.h - the table of all commands; each runs in a file of its own, cmd_NAME.c. */
#ifndef SUPERVISOR_CLI_COMMANDS_H
#define SUPERVISOR_CLI_COMMANDS_H

#include "base/cli.h"

/* The ordinary command line; the exit code of the process. */
int commands_main(int argc, char **argv);

int cmd_run(struct cli *cli);
int cmd_check(struct cli *cli);
int cmd_doctor(struct cli *cli);
int cmd_status(struct cli *cli);
int cmd_start(struct cli *cli);
int cmd_stop(struct cli *cli);
int cmd_restart(struct cli *cli);
int cmd_signal(struct cli *cli);
int cmd_scale(struct cli *cli);
int cmd_reload(struct cli *cli);
int cmd_reload_services(struct cli *cli); /* cmd_orders.c: reload NAME... */
int cmd_logs(struct cli *cli);
int cmd_events(struct cli *cli);
int cmd_top(struct cli *cli);
int cmd_why(struct cli *cli);
int cmd_switch(struct cli *cli);
int cmd_confirm(struct cli *cli);
int cmd_rollback(struct cli *cli);
int cmd_shutdown(struct cli *cli);
int cmd_upgrade(struct cli *cli);
int cmd_recover(struct cli *cli);
int cmd_options(struct cli *cli);
int cmd_utmp(struct cli *cli);
int cmd_manual(struct cli *cli);

#endif
