/* report.h - tables and last sentences, for people and as JSON. */
#ifndef DEPLOYCTL_CLI_REPORT_H
#define DEPLOYCTL_CLI_REPORT_H

#include <jansson.h>

#include "deployctl/cli/app.h"

/* What an order came to: one sentence, hosts that need attention, what to do next; with --json one
 * object {"event": "end", ...}. */
void report_end(const struct app *app, const struct driver *driver, int code);
/* To stdout, so that nothing of it acts on a terminal: names on hosts may be anybody's. */
void report_text(const char *text);
/* One line on stdout; steals json. */
void report_json(json_t *json);
void report_plan(const struct app *app, const struct driver *driver);
/* Returns the exit code of `status`. */
int report_status(const struct app *app, const struct driver *driver);
/* A new object: every host with all that it said, in the order of the driver. */
json_t *report_status_json(const struct driver *driver, int code);
/* What each host has and lacks, with remedies; returns the exit code of `hosts`. */
int report_hosts(const struct app *app, const struct driver *driver);
/* To stderr: those that said nothing, so what is shown is without them. */
void report_absent(const struct driver *driver);
/* Where hosts come from: a line, if hosts_command names some; of one host. */
void report_origin(const struct recipe *recipe);
const char *report_origin_of(const struct recipe_host *host);
void report_history(const struct app *app, const struct driver *driver, size_t limit);

#endif
