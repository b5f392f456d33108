/* log_count.h - lines of a growing file that match, counted since it was first looked at.
 *
 * A file that was rotated is read to its end first; one that was cut begins anew (it is seen to be
 * cut when it is shorter than what was read).  Lines may have any length: patterns take pieces.
 */
#ifndef DEPLOYCTL_AGENT_LOG_COUNT_H
#define DEPLOYCTL_AGENT_LOG_COUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/pattern.h"

enum { LOG_COUNT_STEP_MAX = 4 * 1024 * 1024 }; /* bytes in one look; the rest comes with the next */

struct log_count {
    int fd; /* -1: not open */
    off_t at;
    struct pattern requests, errors;
    struct pattern_seen requests_seen, errors_seen;
    bool is_request, is_error; /* of the line that is being read */
    int64_t nrequests, nerrors;
};

/* Patterns that do not compile are ERR_INVALID. */
int log_count_init(struct log_count *log, const char *requests, const char *errors,
                   struct err *err);
void log_count_done(struct log_count *log); /* twice is fine */
/* The first look begins at the end of the file.  ERR_SYSTEM: it cannot be opened or read. */
int log_count_look(struct log_count *log, const char *path, struct err *err);

#endif
