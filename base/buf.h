/* buf.h - bytes that grow up to a stated maximum.
 *
 * Once something did not fit or memory ran out, the buffer is `failed`, keeps
 * what it had and ignores further puts; the caller checks once at the end.
 * `data` is always terminated by a NUL that is not counted in `len`.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data; /* owned; NULL only before the first put */
    size_t len, cap, max;
    bool failed;
};

void buf_init(struct buf *buf, size_t max); /* no allocation yet */
void buf_done(struct buf *buf);             /* frees; twice is fine */
void buf_clear(struct buf *buf);            /* len 0, not failed; keeps the memory */
void buf_put(struct buf *buf, const void *data, size_t len);
void buf_puts(struct buf *buf, const char *text);
void buf_putc(struct buf *buf, char c);
void buf_printf(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *buf, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));
/* Makes room for `len` more bytes at data + len; false if that passes `max`. */
bool buf_reserve(struct buf *buf, size_t len);
/* Forgets the first `len` bytes (at most all of them). */
void buf_consume(struct buf *buf, size_t len);
/* The text, "" if nothing was put; stays valid until the next change. */
const char *buf_text(const struct buf *buf);
/* Gives the text away (malloc'ed, never NULL unless memory is out) and empties the buffer. */
char *buf_take(struct buf *buf);
/* Appends `text` with its white space made single blanks and lines broken at BUF_COLUMNS, and a
 * newline; `indent` columns are taken already, further lines begin with `prefix`. */
enum { BUF_COLUMNS = 80 };
void buf_wrap(struct buf *buf, const char *text, size_t indent, const char *prefix);
/* Appends the contents of a file, at most up to max.  Returns 0, or -errno (-EFBIG if too large).
 * Only regular files and devices: a folder is -EISDIR, a FIFO or socket -EINVAL (never blocks). */
int buf_read_file(struct buf *buf, int dirfd, const char *path);
/* Appends all that is left in fd until end of file; as above. */
int buf_read_fd(struct buf *buf, int fd);

#endif
