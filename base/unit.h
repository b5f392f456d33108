/* unit.h - durations, sizes and percentages: the only place that parses or prints them.
 *
 * Durations: "500ms", "10s", "5m", "2h", "1d", "1.5s", a bare number is seconds;
 * several parts may follow each other ("1h30m").  Result in milliseconds.
 * Sizes: "10", "64KB", "50MB", "2GB" (1024, any case, also "K", "M", "G").  Bytes.
 */
#ifndef BASE_UNIT_H
#define BASE_UNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Never negative; *ret is written only on success.  ERR_INVALID says what would be right. */
int unit_duration(const char *text, int64_t *ret_ms, struct err *err);
int unit_size(const char *text, int64_t *ret_bytes, struct err *err);
/* Decimal (or with `base` 8 octal) integer with nothing behind it. */
int unit_integer(const char *text, int base, int64_t *ret, struct err *err);
/* yes/true/on/1 and no/false/off/0 in any case, as in supervisord. */
int unit_boolean(const char *text, bool *ret, struct err *err);

/* "25%" or "3": either `percent` or `count` is >= 0, the other is -1. */
struct unit_share {
    double percent;
    int64_t count;
};
int unit_share(const char *text, struct unit_share *ret, struct err *err);

/* "1h 3m", "12.5s", "340ms" for people; at most 31 characters and NUL. */
enum { UNIT_TEXT_MAX = 32 };
const char *unit_duration_text(int64_t ms, char text[static UNIT_TEXT_MAX]);
/* "10 B", "1.5 KB", "20 MB". */
const char *unit_size_text(int64_t bytes, char text[static UNIT_TEXT_MAX]);

#endif
