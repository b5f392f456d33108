/* top.h - instances with what they use, as `supervisor top` shows them; no terminal, no clock. */
#ifndef SUPERVISOR_CLI_TOP_H
#define SUPERVISOR_CLI_TOP_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "supervisor/cli/usage.h"

enum top_order { TOP_BY_CPU, TOP_BY_MEMORY, TOP_BY_RESTARTS, TOP_BY_NAME, TOP_NORDERS };
const char *top_order_name(enum top_order order); /* "cpu", ... */

struct top_row {
    const json_t *instance; /* borrowed from the status */
    struct usage_sum sum;
    double cpu; /* per cent of one core; negative = not known yet */
};
/* One look. */
struct top {
    json_t *status;       /* owned */
    struct top_row *rows; /* owned; by main pid */
    size_t count;
    int64_t at_ms; /* monotonic */
};

/* Takes over `status` (an answer of the core) and joins it with what /proc says; `before` is the
 * look before this one, or NULL.  False: no memory. */
bool top_look(json_t *status, const struct usage *usage, const struct top *before, int64_t now_ms,
              struct top *ret);
void top_done(struct top *top);

/* Two lines on all of it and a table of at most `lines` lines (0 = any) and `width` columns. */
void top_print(const struct top *top, enum top_order order, size_t lines, size_t width, bool colour,
               struct buf *out);
/* {"cpu_percent", "memory_bytes", "instances": [{"id", "state", ..., "cpu_percent",
 * "memory_bytes", "processes"}]}; a new reference. */
json_t *top_json(const struct top *top);

#endif
