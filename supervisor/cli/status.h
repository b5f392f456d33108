/* status.h - the answer of `status` in words; pure but for the JSON it reads. */
#ifndef SUPERVISOR_CLI_STATUS_H
#define SUPERVISOR_CLI_STATUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "supervisor/cli/table.h"

/* An instance is as it should be: running and ready, ended as it should, or not wanted. */
bool status_well(const json_t *instance);
/* Of all instances of an answer. */
bool status_all_well(const json_t *status);
/* The table and a line about the supervisor. */
void status_print(const json_t *status, size_t width, bool colour, struct buf *out);
/* What stands in the last column: what it waits for, why it ended, when it is tried again. */
void status_note(const json_t *instance, struct buf *out);
enum table_paint status_paint(const json_t *instance);

#endif
