/* delta.c - the contract is in delta.h. */
#include "deployctl/plan/delta.h"

#include <stdlib.h>
#include <string.h>

enum { LIST_BEGIN = 64, VARINT_BITS = 7, VARINT_MORE = 0x80, NUMBER_BITS = 63 };

void delta_list_done(struct delta_list *list)
{
    free(list->at);
    *list = (struct delta_list){ 0 };
}

int delta_list_add(struct delta_list *list, const unsigned char sum[static DELTA_SUM_BYTES],
                   uint64_t len, size_t max, struct err *err)
{
    if (list->count >= max)
        return err_set(err, ERR_LIMIT, "more than %zu chunks", max);
    if (list->count == list->cap) {
        size_t cap = list->cap > 0 ? list->cap * 2 : LIST_BEGIN;
        struct delta_chunk *more = realloc(list->at, cap * sizeof *more);
        if (more == NULL)
            return err_set(err, ERR_MEMORY, "no memory for a list of chunks");
        list->at = more;
        list->cap = cap;
    }
    struct delta_chunk *chunk = &list->at[list->count++];
    chunk->len = len;
    memcpy(chunk->sum, sum, DELTA_SUM_BYTES);
    return 0;
}

/* --- text ------------------------------------------------------------------------------------- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void delta_list_text(const struct delta_list *list, struct buf *out)
{
    for (size_t i = 0; i < list->count; i++) {
        uint64_t bits = 0;
        char text[DELTA_SUM_CHARS];
        for (size_t k = 0; k < DELTA_SUM_BYTES; k++)
            bits = bits << 8 | list->at[i].sum[k];
        for (size_t k = DELTA_SUM_CHARS; k-- > 0; bits >>= 6)
            text[k] = digits[bits & 63];
        buf_put(out, text, sizeof text);
    }
}

static bool parse_sum(const char *text, unsigned char sum[static DELTA_SUM_BYTES])
{
    uint64_t bits = 0;
    for (size_t k = 0; k < DELTA_SUM_CHARS; k++) {
        const char *digit = text[k] != '\0' ? strchr(digits, text[k]) : NULL;
        if (digit == NULL)
            return false;
        bits = bits << 6 | (uint64_t)(digit - digits);
    }
    for (size_t k = DELTA_SUM_BYTES; k-- > 0; bits >>= 8)
        sum[k] = (unsigned char)bits;
    return true;
}

int delta_list_parse(const char *text, size_t max, struct delta_list *ret, struct err *err)
{
    int rc = 0;
    for (; rc == 0 && *text != '\0'; text += DELTA_SUM_CHARS) {
        unsigned char sum[DELTA_SUM_BYTES];
        if (!parse_sum(text, sum))
            return err_set(err, ERR_INVALID, "a list of sums that is none");
        rc = delta_list_add(ret, sum, 0, max, err);
    }
    return rc;
}

/* --- matching --------------------------------------------------------------------------------- */

/* In order of the sums, then of the numbers. */
struct delta_key {
    unsigned char sum[DELTA_SUM_BYTES];
    uint32_t number;
};

static int compare_keys(const void *a, const void *b)
{
    const struct delta_key *x = a, *y = b;
    int order = memcmp(x->sum, y->sum, DELTA_SUM_BYTES);
    return order != 0 ? order : (x->number > y->number) - (x->number < y->number);
}

int delta_index_init(struct delta_index *index, const struct delta_list *list, struct err *err)
{
    struct delta_key *keys = calloc(list->count + 1, sizeof *keys);
    *index = (struct delta_index){ list, keys };
    if (keys == NULL)
        return err_set(err, ERR_MEMORY, "no memory to compare chunks");
    for (size_t i = 0; i < list->count; i++) {
        memcpy(keys[i].sum, list->at[i].sum, DELTA_SUM_BYTES);
        keys[i].number = (uint32_t)i;
    }
    qsort(keys, list->count, sizeof *keys, compare_keys);
    return 0;
}

void delta_index_done(struct delta_index *index)
{
    free(index->keys);
    *index = (struct delta_index){ 0 };
}

/* The lowest number with that sum, or DELTA_NONE. */
static int64_t look_up(const struct delta_index *index, const unsigned char *sum)
{
    size_t low = 0, high = index->list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(index->keys[middle].sum, sum, DELTA_SUM_BYTES) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == index->list->count || memcmp(index->keys[low].sum, sum, DELTA_SUM_BYTES) != 0)
        return DELTA_NONE;
    return index->keys[low].number;
}

bool delta_index_has(const struct delta_index *index, const struct delta_chunk *chunk)
{
    return look_up(index, chunk->sum) != DELTA_NONE;
}

void delta_match(const struct delta_list *fresh, const struct delta_index *old, int64_t *match)
{
    int64_t next = DELTA_NONE; /* behind the last match */
    for (size_t i = 0; i < fresh->count; i++) {
        const unsigned char *sum = fresh->at[i].sum;
        bool follows = next != DELTA_NONE && (size_t)next < old->list->count &&
                       memcmp(old->list->at[next].sum, sum, DELTA_SUM_BYTES) == 0;
        match[i] = follows ? next : look_up(old, sum);
        next = match[i] == DELTA_NONE ? DELTA_NONE : match[i] + 1;
    }
}

/* --- programs --------------------------------------------------------------------------------- */

static size_t put_number(unsigned char *out, uint64_t number)
{
    size_t n = 0;
    for (; number >= VARINT_MORE; number >>= VARINT_BITS)
        out[n++] = (unsigned char)(number | VARINT_MORE);
    out[n++] = (unsigned char)number;
    return n;
}

size_t delta_put_copy(unsigned char op[static DELTA_OP_MAX], uint64_t index, uint64_t count)
{
    size_t n = put_number(op, count << 1 | 1);
    return n + put_number(op + n, index);
}

size_t delta_put_bytes(unsigned char op[static DELTA_OP_MAX], uint64_t len)
{
    return put_number(op, len << 1);
}

/* A number is whole: what does it begin? */
static int take_number(struct delta_reader *r, uint64_t number, const struct delta_sink *sink,
                       void *context, struct err *err)
{
    if (r->copy) {
        r->copy = false;
        if (number > DELTA_INDEX_MAX || r->first > DELTA_INDEX_MAX)
            return err_set(err, ERR_CORRUPT, "chunks that cannot be: %llu from %llu",
                           (unsigned long long)r->first, (unsigned long long)number);
        return sink->on_copy(context, number, r->first, err);
    }
    r->first = number >> 1;
    if (r->first == 0)
        return err_set(err, ERR_CORRUPT, "a step that does nothing");
    r->copy = (number & 1) != 0;
    r->left = r->copy ? 0 : r->first;
    return 0;
}

int delta_read(struct delta_reader *r, const void *data, size_t len, const struct delta_sink *sink,
               void *context, struct err *err)
{
    const unsigned char *at = data;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < len;) {
        if (r->left > 0) {
            size_t n = r->left < len - i ? (size_t)r->left : len - i;
            rc = sink->on_bytes(context, at + i, n, err);
            r->left -= n;
            i += n;
            continue;
        }
        unsigned char byte = at[i++];
        if (r->shift >= NUMBER_BITS)
            return err_set(err, ERR_CORRUPT, "a number that is too long");
        r->number |= (uint64_t)(byte & (VARINT_MORE - 1)) << r->shift;
        r->shift += VARINT_BITS;
        if (byte & VARINT_MORE)
            continue;
        uint64_t number = r->number;
        r->number = r->shift = 0;
        rc = take_number(r, number, sink, context, err);
    }
    return rc;
}

bool delta_ended(const struct delta_reader *reader)
{
    return reader->left == 0 && reader->shift == 0 && !reader->copy;
}
