/* bases.h - old contents that a large new one is made from (plan/delta.h).
 *
 * A base is a file of an older release, what is left of a staging that was cut, or both.  Its
 * chunks are numbered: the coarse ones of all its files first, then the fine ones that were asked
 * for.  Nothing of it is trusted: files are opened anew when they are copied from, and whoever
 * runs the program compares the digest of the result.
 *
 * bases_find and bases_fine read whole files and run on a thread.
 */
#ifndef DEPLOYCTL_AGENT_BASES_H
#define DEPLOYCTL_AGENT_BASES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/agent/reuse.h"
#include "deployctl/agent/stage.h"

enum {
    BASES_FILES_MAX = 3,         /* of an older release, of two stagings that were cut */
    BASES_COARSE_MAX = 16384,    /* chunks of one file */
    BASES_SUMS_MAX = 256 * 1024, /* in one answer */
    BASES_RATIO_MAX = 8,         /* files that are longer than so many new ones are no base */
};

struct bases_chunk {
    uint64_t offset, len;
    uint32_t file;
};
struct base {
    uint32_t entry;
    const char *paths[BASES_FILES_MAX]; /* below releases/ */
    int fds[BASES_FILES_MAX];           /* of paths; -1 = not open now */
    size_t nfiles;
    struct delta_list sums;     /* of the coarse chunks */
    struct bases_chunk *chunks; /* owned */
    size_t ncoarse, nchunks;
};
struct bases {
    struct arena arena;
    struct base *at; /* owned; in order of the entries */
    size_t count;
};

/* For the contents that are missing.  NULL with err; no bases at all is an ordinary result. */
struct bases *bases_find(const struct stage *stage, const struct reuse *reuse, struct err *err);
void bases_free(struct bases *bases);
struct base *bases_of(const struct bases *bases, int64_t entry); /* NULL = none */
json_t *bases_answer(const struct bases *bases); /* [{"entry","sums"}]; new reference */
/* The request of `chunks` (proto.h); *ret is its answer's "bases". */
int bases_fine(const struct stage *stage, const json_t *request, json_t **ret, struct err *err);
/* How many bytes chunks index..index+count-1 have; ERR_CORRUPT when there are no such. */
int bases_length(const struct base *base, uint64_t index, uint64_t count, uint64_t *ret,
                 struct err *err);
/* Writes them to `to` at `offset`; leaves files open. */
int bases_copy(const struct stage *stage, struct base *base, uint64_t index, uint64_t count, int to,
               uint64_t offset, struct err *err);
void bases_close(struct base *base);

#endif
