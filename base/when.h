/* when.h - points in time for people: "03:05:33", "12s ago". */
#ifndef BASE_WHEN_H
#define BASE_WHEN_H

#include <stdbool.h>
#include <stdint.h>

enum { WHEN_TEXT_MAX = 64 };

/* RFC 3339 as clock_text() writes it; false when it is not. */
bool when_parse(const char *text, int64_t *ret_wall_us);
/* A time as people type it: how long ago ("10m", "1h30m"), RFC 3339, or local time: "14:05",
 * "14:05:30" (the last such moment), "2026-11-24", "2026-11-24 14:05[:30]". */
bool when_since(const char *text, int64_t now_us, int64_t *ret_wall_us);
/* The same for a moment to come: how long from now ("2h"), or local time, of which "14:05" is the
 * next one.  False also for what is over. */
bool when_until(const char *text, int64_t now_us, int64_t *ret_wall_us);
/* "03:05:33" on the day of now, else "2026-11-24 03:05:33"; local time. */
const char *when_clock(int64_t wall_us, int64_t now_us, char text[static WHEN_TEXT_MAX]);
/* "12s ago"; "just now" under a second, also for what seems to lie ahead. */
const char *when_ago(int64_t wall_us, int64_t now_us, char text[static WHEN_TEXT_MAX]);

#endif
