/* log.h - the program's own log: one line per message, key=value.
 *
 *     log_info("service started", "service", "web:0", "pid", "812", NULL);
 *     2026-11-24T01:51:41.123456+01:00 info core[4711] service started service=web:0 pid=812
 *
 * Values with blanks or quotes are quoted, control characters escaped.  A line is written
 * with one write(2); a full or broken sink loses lines, counts them, and never blocks or
 * fails the caller.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_NLEVELS };

/* `who` ("core", "guardian", ...) must outlive the log.  Default: stderr, info. */
void log_open(int fd, enum log_level level, const char *who);
void log_set_level(enum log_level level);
/* NULL-terminated pairs of key and value strings follow the message. */
void log_line(enum log_level level, const char *message, ...) __attribute__((sentinel));
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
uint64_t log_lost(void); /* lines that could not be written */
const char *log_level_name(enum log_level level);

#endif
