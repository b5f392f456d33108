/* remark.h - short texts about a unit that most do not have: an empty one takes no memory.
 *
 * A member is a `const char *` that is never NULL once remark_init() has seen it; it is read like
 * any text and changed only through here.
 */
#ifndef SUPERVISOR_CORE_REMARK_H
#define SUPERVISOR_CORE_REMARK_H

#include <stdarg.h>
#include <stddef.h>

void remark_init(const char **remark); /* "" */
/* Cut at `max` - 1 bytes.  The arguments may use the old text.  Without memory it becomes a text
 * that says so. */
void remark_set(const char **remark, size_t max, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void remark_vset(const char **remark, size_t max, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));
void remark_clear(const char **remark); /* frees it; "" again */

#endif
