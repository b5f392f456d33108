/* words.h - short texts that most units do not have: an empty one takes no memory.
 *
 * A member is a `const char *` that is never NULL once words_init() has seen it; it is read like
 * any text and changed only through here.
 */
#ifndef SUPERVISOR_CORE_WORDS_H
#define SUPERVISOR_CORE_WORDS_H

#include <stdarg.h>
#include <stddef.h>

void words_init(const char **words); /* "" */
/* Cut at `max` - 1 bytes.  The arguments may use the old text.  Without memory it becomes a text
 * that says so. */
void words_set(const char **words, size_t max, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void words_vset(const char **words, size_t max, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));
void words_clear(const char **words); /* frees it; "" again */

#endif
