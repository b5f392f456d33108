/* boot_report.h - what bootstrap is about to do, does and has done: for people and as JSON lines.
 */
#ifndef DEPLOYCTL_CLI_BOOT_REPORT_H
#define DEPLOYCTL_CLI_BOOT_REPORT_H

#include "deployctl/cli/app.h"
#include "deployctl/fleet/boot.h"

/* The steps of each host, and what stands against them.  Returns how many hosts have steps that
 * can be carried out. */
size_t boot_report_plan(const struct app *app, const struct boot *boot);
void boot_report_news(void *app, const struct boot_news *news);
/* Notes, what is left, and the exit code of the command; `begun`: the steps were carried out. */
int boot_report_end(const struct app *app, const struct boot *boot, bool begun);

#endif
