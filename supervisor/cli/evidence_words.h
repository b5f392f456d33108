/* evidence_words.h - what processes were doing before they were killed, for people. */
#ifndef SUPERVISOR_CLI_EVIDENCE_WORDS_H
#define SUPERVISOR_CLI_EVIDENCE_WORDS_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"

/* Some lines for one "evidence" event. */
void evidence_words_put(const json_t *event, int64_t now_us, struct buf *out);

#endif
