/* program.c - the contract is in program.h. */
#include "deployctl/fleet/program.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/auto.h"
#include "deployctl/plan/chunker.h"
#include "deployctl/wire/sums.h"

enum { READ_BYTES = 128 * 1024, FINE_MAX = 4 * 1024 * 1024 };

/* --- plan ------------------------------------------------------------------------------------- */

static uint64_t length_of(const struct delta_list *list)
{
    uint64_t len = 0;
    for (size_t i = 0; i < list->count; i++)
        len += list->at[i].len;
    return len;
}

static size_t regions_without(const struct delta_list *fresh, const int64_t *match)
{
    size_t regions = 0;
    for (size_t i = 0; i < fresh->count; i++)
        regions += match[i] == DELTA_NONE && (i == 0 || match[i - 1] != DELTA_NONE);
    return regions;
}

static size_t find_runs(const bool *known, size_t count, size_t *runs, size_t *ret_chunks)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (known[i])
            continue;
        if (i == 0 || known[i - 1]) {
            runs[2 * n] = i;
            runs[2 * n++ + 1] = 0;
        }
        runs[2 * n - 1]++;
        *ret_chunks += 1;
    }
    return n;
}

int program_plan(const struct delta_list *fresh, const struct delta_list *old,
                 struct program_plan *ret)
{
    struct err err;
    size_t chunks = 0;
    struct delta_index old_index = { 0 }, fresh_index = { 0 };
    AUTO_FREE bool *known = calloc(old->count + 1, sizeof *known);
    *ret = (struct program_plan){ .match = calloc(fresh->count + 1, sizeof *ret->match),
                                  .runs = calloc(2 * old->count + 2, sizeof *ret->runs) };
    bool ok = known && ret->match && ret->runs && delta_index_init(&old_index, old, &err) == 0 &&
              delta_index_init(&fresh_index, fresh, &err) == 0;
    if (ok)
        delta_match(fresh, &old_index, ret->match);
    for (size_t i = 0; ok && i < old->count; i++)
        known[i] = delta_index_has(&fresh_index, &old->at[i]);
    delta_index_done(&old_index);
    delta_index_done(&fresh_index);
    if (!ok)
        return ERR_MEMORY;
    uint64_t size = length_of(fresh);
    size_t regions = regions_without(fresh, ret->match);
    if (regions == 0)
        return 0;
    ret->nruns = find_runs(known, old->count, ret->runs, &chunks);
    ret->average = chunker_fine(chunks * chunker_coarse(size), regions, size, chunks < old->count);
    return 0;
}

void program_plan_done(struct program_plan *plan)
{
    free(plan->match);
    free(plan->runs);
    *plan = (struct program_plan){ 0 };
}

/* --- make ------------------------------------------------------------------------------------- */

/* Steps that follow one another are joined before they are written. */
struct making {
    const struct program_order *order;
    struct pack_writer *writer;
    struct delta_index old_fine;
    struct digest *digest;
    char *space;
    uint64_t at;            /* where the next chunk begins in the new content */
    uint64_t index, copies; /* not written yet: old chunks */
    uint64_t from, bytes;   /* or: bytes of the content */
    uint64_t copied, fresh;
};

static int put_bytes(struct making *m, struct err *err)
{
    unsigned char op[DELTA_OP_MAX];
    int rc = pack_put(m->writer, op, delta_put_bytes(op, m->bytes), err);
    m->fresh += m->bytes;
    while (rc == 0 && m->bytes > 0) {
        size_t want = m->bytes < READ_BYTES ? (size_t)m->bytes : READ_BYTES;
        ssize_t n = pread(m->order->fd, m->space, want, (off_t)m->from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) /* it became shorter: whoever sends it whole tells so */
            return err_sys(err, n < 0 ? errno : EIO, "reading %s", m->order->name);
        rc = pack_put(m->writer, m->space, (size_t)n, err);
        m->from += (uint64_t)n;
        m->bytes -= (uint64_t)n;
    }
    return rc;
}

static int flush(struct making *m, struct err *err)
{
    unsigned char op[DELTA_OP_MAX];
    int rc = 0;
    if (m->copies > 0)
        rc = pack_put(m->writer, op, delta_put_copy(op, m->index, m->copies), err);
    else if (m->bytes > 0)
        rc = put_bytes(m, err);
    m->copied += m->copies;
    m->copies = m->bytes = 0;
    return rc;
}

/* The next chunk of the new content is the old one `index`, or none. */
static int step(struct making *m, int64_t index, uint64_t len, struct err *err)
{
    bool joins = index == DELTA_NONE ? m->bytes > 0
                                     : m->copies > 0 && m->index + m->copies == (uint64_t)index;
    int rc = joins ? 0 : flush(m, err);
    if (index != DELTA_NONE) {
        m->index = m->copies > 0 ? m->index : (uint64_t)index;
        m->copies++;
    } else {
        m->from = m->bytes > 0 ? m->from : m->at;
        m->bytes += len;
    }
    m->at += len;
    return rc;
}

/* A region of coarse chunks that the host has not: what of it is there when it is cut finer? */
static int make_region(struct making *m, uint64_t len, struct err *err)
{
    const struct program_order *order = m->order;
    struct delta_list fine = { 0 };
    if (order->old_fine->count == 0)
        return step(m, DELTA_NONE, len, err);
    int rc = sums_of(order->fd, m->at, len, order->plan->average, FINE_MAX, m->digest, &fine, err);
    AUTO_FREE int64_t *match = calloc(fine.count + 1, sizeof *match);
    if (rc == 0 && !match)
        rc = err_set(err, ERR_MEMORY, "no memory to compare chunks");
    if (rc == 0 && length_of(&fine) != len)
        rc = err_set(err, ERR_STATE, "%s became shorter", order->name);
    if (rc == 0)
        delta_match(&fine, &m->old_fine, match);
    for (size_t i = 0; rc == 0 && i < fine.count; i++)
        rc = step(m, match[i] == DELTA_NONE ? DELTA_NONE : match[i] + (int64_t)order->old->count,
                  fine.at[i].len, err);
    delta_list_done(&fine);
    return rc;
}

static int make_all(struct making *m, struct err *err)
{
    const struct delta_list *fresh = m->order->fresh;
    const int64_t *match = m->order->plan->match;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < fresh->count;) {
        uint64_t len = fresh->at[i].len;
        if (match[i] != DELTA_NONE) {
            rc = step(m, match[i++], len, err);
            continue;
        }
        for (i++; i < fresh->count && match[i] == DELTA_NONE; i++)
            len += fresh->at[i].len;
        rc = make_region(m, len, err);
    }
    if (rc == 0)
        rc = flush(m, err);
    if (rc == 0 && m->copied == 0)
        rc = err_set(err, ERR_STATE, "nothing of %s is there", m->order->name);
    return rc;
}

int program_make(const struct program_order *order, struct pack *pack, struct pack_item *ret,
                 uint64_t *ret_fresh, struct err *err)
{
    struct making m = { .order = order };
    AUTO_FREE char *space = m.space = malloc(READ_BYTES);
    m.digest = digest_new(err);
    m.writer = space && m.digest ? pack_begin(pack, order->name, err) : NULL;
    int rc = m.writer ? delta_index_init(&m.old_fine, order->old_fine, err)
                      : err_set(err, ERR_MEMORY, "no memory");
    if (rc == 0)
        rc = make_all(&m, err);
    if (rc == 0)
        rc = pack_end(m.writer, ret, err);
    pack_drop(m.writer);
    delta_index_done(&m.old_fine);
    digest_free(m.digest);
    *ret_fresh = m.fresh;
    return rc;
}
