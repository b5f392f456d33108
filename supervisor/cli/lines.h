/* lines.h - which lines of a log are wanted, and what time they are of. */
#ifndef SUPERVISOR_CLI_LINES_H
#define SUPERVISOR_CLI_LINES_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct lines_filter {
    int64_t since_us; /* 0 = all */
    bool has_regex;
    regex_t regex;
};

/* `grep` NULL = all. */
int lines_filter_init(struct lines_filter *filter, int64_t since_us, const char *grep,
                      struct err *err);
void lines_filter_done(struct lines_filter *filter);
bool lines_filter_wanted(const struct lines_filter *filter, const char *line, size_t len,
                         int64_t time_us);
/* The time that log_format = plain or json wrote before the line; false: none. */
bool lines_time(const char *line, size_t len, int64_t *ret_us);

/* The last `max` lines of many. */
struct lines_kept {
    struct lines_one {
        char *text; /* owned */
        size_t len;
        int64_t time_us;
    } * ring;
    size_t max, count, first;
};
int lines_kept_init(struct lines_kept *kept, size_t max);
void lines_kept_done(struct lines_kept *kept);
/* Takes a copy; the oldest one goes when there are too many.  False: no memory. */
bool lines_kept_add(struct lines_kept *kept, const char *line, size_t len, int64_t time_us);
/* The oldest one, NULL = none; it is the caller's to free. */
struct lines_one lines_kept_take(struct lines_kept *kept);

#endif
