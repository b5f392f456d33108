/* status.h - the answer of `status` in words; pure but for the JSON it reads.
 *
 * The core makes the words for people itself (view_status_text), so that a thousand instances need
 * not become JSON and back; what is remarkable about one still goes through its JSON.
 */
#ifndef SUPERVISOR_CORE_STATUS_H
#define SUPERVISOR_CORE_STATUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "supervisor/core/table.h"

/* An instance is as it should be: running and ready, ended as it should, or not wanted. */
bool status_well(const json_t *instance);
/* Of all instances of an answer. */
bool status_all_well(const json_t *status);
/* The table and a line about the supervisor, of a whole answer ... */
void status_print(const json_t *status, size_t width, bool colour, struct buf *out);
/* ... and piece by piece. */
struct status_row {
    const char *id, *state, *health; /* health: "unknown", "ok", "bad" */
    const char *release, *note;      /* NULL or "" = none */
    enum table_paint paint;          /* of the state */
    bool ready;
    int64_t pid, restarts; /* 0 = none */
    int64_t uptime_s;      /* -1 = does not run */
};
void status_begin(struct table *table);
void status_add(struct table *table, const struct status_row *row);
void status_add_json(struct table *table, const json_t *instance);
/* Ends the table as well. */
void status_end(struct table *table, const json_t *supervisor, size_t width, bool colour,
                struct buf *out);
/* What stands in the last column: what it waits for, why it ended, when it is tried again. */
void status_note(const json_t *instance, struct buf *out);
/* "next run in 3h (Mon 03:00)", of a scheduled one. */
void status_put_next_run(const json_t *instance, struct buf *out);
enum table_paint status_paint(const json_t *instance);

#endif
