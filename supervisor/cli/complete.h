/* complete.h - what the words of a command may be, for completion by a shell.
 *
 * Each is the `complete` of rows in commands.c.  No supervisor, or one that does not answer at
 * once: nothing is offered.
 */
#ifndef SUPERVISOR_CLI_COMPLETE_H
#define SUPERVISOR_CLI_COMPLETE_H

#include "base/cli.h"

void complete_names(struct cli *cli, struct cli_offers *offers);    /* web, web:0, GROUP:*, all */
void complete_services(struct cli *cli, struct cli_offers *offers); /* web */
void complete_scale(struct cli *cli, struct cli_offers *offers);    /* web= */
void complete_signal(struct cli *cli, struct cli_offers *offers);   /* HUP, then names */
void complete_keys(struct cli *cli, struct cli_offers *offers);     /* of the configuration */
void complete_files(struct cli *cli, struct cli_offers *offers);

#endif
