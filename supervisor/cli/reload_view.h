/* reload_view.h - the answer of `reload` in words: who is interrupted first, then the rest. */
#ifndef SUPERVISOR_CLI_RELOAD_VIEW_H
#define SUPERVISOR_CLI_RELOAD_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* `width` 0 = any; otherwise values are cut so that lines fit. */
void reload_view(const json_t *answer, size_t width, bool colour, struct buf *out);

#endif
