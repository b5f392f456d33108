/* words.h - pieces of text that several commands print. */
#ifndef SUPERVISOR_CLI_WORDS_H
#define SUPERVISOR_CLI_WORDS_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"

enum { WORDS_OUTPUT_MAX = 256 * 1024 };

/* Lines of a service's output, indented; what could command a terminal is shown as "?". */
void words_put_output(struct buf *out, const char *text);
/* "code 3", "signal KILL (core dumped)", "could not start: exec: No such file", "unknown". */
void words_put_exit(struct buf *out, const json_t *exit);

/* The name that /etc/passwd has for a user (no lookup anywhere else), or "uid 1000". */
void words_put_user(struct buf *out, int64_t uid);

#endif
