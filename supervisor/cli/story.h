/* story.h - what `why` tells about one instance, for somebody who was woken up by it. */
#ifndef SUPERVISOR_CLI_STORY_H
#define SUPERVISOR_CLI_STORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* `why` is one row of the answer of why, `events` all that is recorded, oldest first. */
void story_print(const json_t *why, const json_t *events, int64_t now_us, bool colour,
                 struct buf *out);
/* An event is about the instance of `why`. */
bool story_concerns(const json_t *event, const json_t *why);

#endif
