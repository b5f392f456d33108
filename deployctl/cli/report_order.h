/* report_order.h - in which order hosts switch and how many at a time, for plan, simulate, status.
 */
#ifndef DEPLOYCTL_CLI_REPORT_ORDER_H
#define DEPLOYCTL_CLI_REPORT_ORDER_H

#include <jansson.h>

#include "deployctl/fleet/driver.h"
#include "deployctl/plan/recipe.h"
#include "deployctl/plan/rollout.h"

/* The line "Order", and one for each group. */
void report_order(const struct recipe *recipe, const struct rollout *rollout);
/* One row for each group, in their order; an empty array where there are none.  New reference. */
json_t *report_order_json(const struct rollout *rollout);
/* How far each group of the open rollout is; nothing where there are none. */
void report_order_open(const struct driver *driver);
/* When a host has its turn: "canary", "batch 2", "-". */
const char *report_order_part(const struct rollout_host *host, char text[static 32]);

#endif
