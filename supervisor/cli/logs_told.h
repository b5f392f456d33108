/* logs_told.h - output of services for who may see it, but not read the files: told by the core. */
#ifndef SUPERVISOR_CLI_LOGS_TOLD_H
#define SUPERVISOR_CLI_LOGS_TOLD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cli.h"

/* Whether one of the files in the answer to "logs" is there and not ours to read. */
bool logs_told_needed(const json_t *rows);
/* Prints the last lines of each; an exit code.  It follows nothing and searches nothing. */
int logs_told(const struct cli *cli, uint64_t lines);

#endif
