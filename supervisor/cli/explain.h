/* explain.h - a configuration as it is understood, for programs: supervisor check --json.
 *
 *   {"config": "/etc/x.ini", "errors": [NOTE], "warnings": [NOTE],
 *    "supervisor": {KEY: VALUE},
 *    "services": [{"name", "kind": "service"|"program", "group", "file", "line",
 *                  "keys": {KEY: {"value": VALUE, "file", "line"}},
 *                  "instances": [{"id", "process_name", "command": [WORD], "directory",
 *                                 "environment": {NAME: VALUE}, "stdout_log", "stderr_log"}]}],
 *    "sockets": [{"name", "file", "line", "listen": [ADDRESS]}],
 *    "groups": [{"name", "priority", "programs": [NAME]}]}
 *
 * NOTE is {"file", "line", "text"}, the first two null where the text is about no place.  Every key
 * is there, "file" and "line" are null where the default holds.  Durations are seconds, sizes
 * bytes.  "environment" is what an instance gets beyond the supervisor's own; an
 * environment_file is not read.  Services stand in start order.  With errors there are no services.
 */
#ifndef SUPERVISOR_CLI_EXPLAIN_H
#define SUPERVISOR_CLI_EXPLAIN_H

#include <jansson.h>

#include "supervisor/cli/config.h"

/* New reference; NULL without memory. */
json_t *explain_config(const struct config *config);

#endif
