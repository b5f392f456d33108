/* report_freeze.h - which hosts are frozen, by whom and why, for status, plan and freeze. */
#ifndef DEPLOYCTL_CLI_REPORT_FREEZE_H
#define DEPLOYCTL_CLI_REPORT_FREEZE_H

#include "deployctl/fleet/driver.h"

/* One line for all hosts with the same freeze, nothing where there is none; whether one of them
 * stands in the way of a release. */
bool report_freeze(const struct driver *driver);

#endif
