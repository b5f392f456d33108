/* story_past.h - the part of `why` that is made from what happened: ends over time, and a timeline.
 */
#ifndef SUPERVISOR_CLI_STORY_PAST_H
#define SUPERVISOR_CLI_STORY_PAST_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"

/* When it came into its present state, as far as it is known; 0 = it is not. */
int64_t story_since(const json_t *why, int64_t now_us);
/* "restarts": how often it ended in the last minutes, hours and the day, drawn when it did. */
void story_put_ends(const json_t *why, struct buf *out);
/* The newest orders, ends and whatever else is recorded, oldest first; what repeats is one line. */
void story_put_past(const json_t *why, int64_t now_us, struct buf *out);

#endif
