/* hpack.h - header blocks of HTTP/2 (RFC 7541), as far as a client needs that allows no dynamic
 * table: it announces a table of size 0, so every field is literal or from the static table.
 *
 * Pure; everything that is read has a bound.
 */
#ifndef SUPERVISOR_HEALTH_HPACK_H
#define SUPERVISOR_HEALTH_HPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { HPACK_TEXT_MAX = 256 };

/* NUL-terminated; one that is longer than HPACK_TEXT_MAX - 1 is cut. */
typedef void hpack_fn(void *context, const char *name, const char *value);
/* Calls fn for each field; of static entries only those are named that answers have (:status,
 * content-type), others are "".  False: the block is malformed. */
bool hpack_decode(const unsigned char *block, size_t len, hpack_fn *fn, void *context);

/* Appends one field that is not to be indexed; index: of its name in the static table, 0 = `name`.
 * Plain text, at most 16 KiB. */
void hpack_put(struct buf *block, unsigned index, const char *name, const char *value);

#endif
