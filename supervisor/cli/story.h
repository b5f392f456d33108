/* story.h - what `why` tells about one instance, for somebody who was woken up by it. */
#ifndef SUPERVISOR_CLI_STORY_H
#define SUPERVISOR_CLI_STORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* `why` is one row of the answer of why. */
void story_print(const json_t *why, int64_t now_us, bool colour, struct buf *out);

#endif
