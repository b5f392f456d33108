/* options_parse.h - values that base/opt has no type for.  Each fits struct opt's `parse`. */
#ifndef SUPERVISOR_PLAN_OPTIONS_PARSE_H
#define SUPERVISOR_PLAN_OPTIONS_PARSE_H

#include "base/arena.h"
#include "base/err.h"

/* "true", "false", "unexpected", "on-failure" and the other booleans: int. */
int options_parse_autorestart(const char *text, struct arena *arena, void *field, struct err *err);
/* "0, 2, TERM": struct spec_exits. */
int options_parse_exits(const char *text, struct arena *arena, void *field, struct err *err);
/* "75: backoff 5m, 78: never, SEGV: always": struct spec_rules. */
int options_parse_rules(const char *text, struct arena *arena, void *field, struct err *err);
/* "3" or "unlimited" (SPEC_UNLIMITED): int64_t. */
int options_parse_retries(const char *text, struct arena *arena, void *field, struct err *err);
/* A factor of 1 to 100: double. */
int options_parse_factor(const char *text, struct arena *arena, void *field, struct err *err);
/* "10%" becomes 0.1: double. */
int options_parse_jitter(const char *text, struct arena *arena, void *field, struct err *err);
/* A number or "unlimited": struct spec_limit. */
int options_parse_limit_count(const char *text, struct arena *arena, void *field, struct err *err);
/* A size or "unlimited": struct spec_limit. */
int options_parse_limit_size(const char *text, struct arena *arena, void *field, struct err *err);
/* At least a megabyte, or "unlimited": struct spec_limit. */
int options_parse_limit_memory(const char *text, struct arena *arena, void *field, struct err *err);
/* At least 1, or "unlimited": struct spec_limit. */
int options_parse_limit_pids(const char *text, struct arena *arena, void *field, struct err *err);
/* "150%" of a processor, "1.5" processors or "unlimited": struct spec_limit, microseconds in each
 * 100 ms. */
int options_parse_limit_processors(const char *text, struct arena *arena, void *field,
                                   struct err *err);
/* A duration in whole seconds or "unlimited": struct spec_limit. */
int options_parse_limit_time(const char *text, struct arena *arena, void *field, struct err *err);
/* "0 3 * * 1-5 | @reboot", also on several lines: struct spec_schedule. */
int options_parse_schedule(const char *text, struct arena *arena, void *field, struct err *err);
/* "Europe/Berlin", "UTC", "local", as it is written: const char *.  Whether there is such a zone is
 * known where it is used. */
int options_parse_zone(const char *text, struct arena *arena, void *field, struct err *err);

#endif
