/* complete.h - what may come next on a command line of deployctl, from deploy.ini: nobody is
 * contacted, so releases are known only of hosts that are this machine (transport local:). */
#ifndef DEPLOYCTL_CLI_COMPLETE_H
#define DEPLOYCTL_CLI_COMPLETE_H

#include "base/cli.h"

void complete_hosts(struct cli *cli, struct cli_offers *offers);
void complete_services(struct cli *cli, struct cli_offers *offers);
void complete_releases(struct cli *cli, struct cli_offers *offers);
/* For the value of an option: hosts and labels for --hosts, releases for --to, ... */
void complete_value(struct cli *cli, const struct cli_option *option, struct cli_offers *offers);

#endif
