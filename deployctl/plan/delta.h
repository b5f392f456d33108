/* delta.h - a content told as what is new in it and what the other side has: pure.
 *
 * The other side tells sums of the chunks of its old contents, without their lengths; chunks are
 * named by their number in that list.  A *program* makes the new content, in order:
 *
 *   N*2+1 INDEX    chunks INDEX..INDEX+N-1 of the old ones
 *   N*2   N BYTES  these bytes
 *
 * both numbers as varints (7 bits a byte, lowest first), N at least 1.  A sum is short, so a
 * program can be wrong; whoever runs it compares the digest of what came out.
 */
#ifndef DEPLOYCTL_PLAN_DELTA_H
#define DEPLOYCTL_PLAN_DELTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { DELTA_SUM_BYTES = 6, DELTA_SUM_CHARS = 8, DELTA_NONE = -1, DELTA_INDEX_MAX = 4000000 };

struct delta_chunk {
    uint64_t len;
    unsigned char sum[DELTA_SUM_BYTES];
};
struct delta_list {
    struct delta_chunk *at; /* owned */
    size_t count, cap;
};
void delta_list_done(struct delta_list *list);
/* ERR_LIMIT beyond `max` chunks. */
int delta_list_add(struct delta_list *list, const unsigned char sum[static DELTA_SUM_BYTES],
                   uint64_t len, size_t max, struct err *err);

/* Sums as text, DELTA_SUM_CHARS characters of base64 each; parsed ones have no length. */
void delta_list_text(const struct delta_list *list, struct buf *out);
int delta_list_parse(const char *text, size_t max, struct delta_list *ret, struct err *err);

/* A list made ready to be looked through, as often as it is needed. */
struct delta_index {
    const struct delta_list *list; /* borrowed */
    struct delta_key *keys;        /* owned */
};
int delta_index_init(struct delta_index *index, const struct delta_list *list, struct err *err);
void delta_index_done(struct delta_index *index); /* one that is all zero is fine */
bool delta_index_has(const struct delta_index *index, const struct delta_chunk *chunk);
/* For each of `fresh` the number of an old chunk with that sum, or DELTA_NONE: behind the one
 * before if possible.  match[] has fresh->count entries. */
void delta_match(const struct delta_list *fresh, const struct delta_index *old, int64_t *match);

/* --- programs */

enum { DELTA_OP_MAX = 20 }; /* bytes of both numbers */
/* Returns the bytes that were written. */
size_t delta_put_copy(unsigned char op[static DELTA_OP_MAX], uint64_t index, uint64_t count);
size_t delta_put_bytes(unsigned char op[static DELTA_OP_MAX], uint64_t len);

struct delta_reader { /* all zero at the beginning */
    uint64_t number, first;
    unsigned shift;
    bool copy;
    uint64_t left; /* bytes to come */
};
struct delta_sink {
    int (*on_bytes)(void *context, const void *data, size_t len, struct err *err);
    int (*on_copy)(void *context, uint64_t index, uint64_t count, struct err *err);
};
/* Feeds a piece; what a sink returns below 0 is returned.  ERR_CORRUPT. */
int delta_read(struct delta_reader *reader, const void *data, size_t len,
               const struct delta_sink *sink, void *context, struct err *err);
bool delta_ended(const struct delta_reader *reader); /* not inside anything */

#endif
