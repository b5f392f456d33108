/* bases.c - the contract is in bases.h. */
#include "deployctl/agent/bases.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "deployctl/agent/parts.h"
#include "deployctl/plan/chunker.h"
#include "deployctl/wire/sums.h"
#include "io/durable.h"
#include "io/jsonx.h"

enum { COPY_BYTES = 256 * 1024 };

static int open_base(const struct stage *stage, const char *path)
{
    return durable_open_beneath(stage->host->releases, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
}

/* --- coarse chunks ------------------------------------------------------------------------------
 */

static int add_chunks(struct base *base, const struct delta_list *list, size_t from,
                      uint64_t offset, uint32_t file, struct err *err)
{
    size_t more = list->count - from;
    struct bases_chunk *chunks =
        realloc(base->chunks, (base->nchunks + more + 1) * sizeof *base->chunks);
    if (chunks == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a list of chunks");
    base->chunks = chunks;
    for (size_t i = from; i < list->count; i++) {
        chunks[base->nchunks++] = (struct bases_chunk){ offset, list->at[i].len, file };
        offset += list->at[i].len;
    }
    return 0;
}

/* Does `path` become one of the base's files?  What cannot be read is not there. */
static int add_file(const struct stage *stage, struct base *base, const char *path, uint64_t size,
                    struct err *err)
{
    struct stat st;
    struct err why;
    AUTO_CLOSE int fd = open_base(stage, path);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0 ||
        (uint64_t)st.st_size / BASES_RATIO_MAX > size)
        return 0;
    size_t from = base->sums.count;
    int rc = sums_of(fd, 0, (uint64_t)st.st_size, chunker_coarse(size), from + BASES_COARSE_MAX,
                     stage->digest, &base->sums, &why);
    if (rc < 0) {
        base->sums.count = from;
        return rc == ERR_MEMORY ? err_set(err, ERR_MEMORY, "%s", why.text) : 0;
    }
    base->paths[base->nfiles] = path;
    base->fds[base->nfiles] = -1;
    return add_chunks(base, &base->sums, from, 0, (uint32_t)base->nfiles++, err);
}

static int add_base(const struct stage *stage, const struct reuse *reuse, struct bases *bases,
                    uint32_t entry, struct err *err)
{
    const struct manifest_entry *fresh = &stage->manifest.entries[entry];
    const struct reuse_base *old = &reuse->bases[entry];
    struct base base = { .entry = entry };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < PARTS_FOLDERS; i++)
        rc = add_file(stage, &base,
                      arena_printf(&bases->arena, "%s/%s", parts_folders[i], fresh->path),
                      fresh->size, err);
    if (rc == 0 && old->path != NULL)
        rc = add_file(stage, &base,
                      arena_printf(&bases->arena, "%s/%s", reuse->ids[old->release], old->path),
                      fresh->size, err);
    base.ncoarse = base.nchunks;
    if (rc == 0 && base.nfiles > 0) {
        bases->at[bases->count++] = base;
        return 0;
    }
    delta_list_done(&base.sums);
    free(base.chunks);
    return rc;
}

struct bases *bases_find(const struct stage *stage, const struct reuse *reuse, struct err *err)
{
    struct bases *bases = calloc(1, sizeof *bases);
    if (bases != NULL) {
        arena_init(&bases->arena);
        bases->at = calloc(stage->nmissing + 1, sizeof *bases->at);
    }
    if (bases == NULL || bases->at == NULL) {
        bases_free(bases);
        err_set(err, ERR_MEMORY, "no memory to look for contents that are alike");
        return NULL;
    }
    size_t sums = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < stage->nmissing && sums < BASES_SUMS_MAX; i++) {
        if (stage->manifest.entries[stage->missing[i]].size < CHUNKER_FILE_MIN)
            continue;
        rc = add_base(stage, reuse, bases, stage->missing[i], err);
        if (bases->count > 0)
            sums += bases->at[bases->count - 1].ncoarse;
    }
    if (rc < 0) {
        bases_free(bases);
        return NULL;
    }
    return bases;
}

void bases_free(struct bases *bases)
{
    if (bases == NULL)
        return;
    for (size_t i = 0; bases->at != NULL && i < bases->count; i++) {
        bases_close(&bases->at[i]);
        delta_list_done(&bases->at[i].sums);
        free(bases->at[i].chunks);
    }
    free(bases->at);
    arena_done(&bases->arena);
    free(bases);
}

struct base *bases_of(const struct bases *bases, int64_t entry)
{
    for (size_t i = 0; bases != NULL && i < bases->count; i++)
        if (bases->at[i].entry == entry)
            return &bases->at[i];
    return NULL;
}

/* Kept open from one region to the next. */
static int file_of(const struct stage *stage, struct base *base, uint32_t file)
{
    if (base->fds[file] < 0)
        base->fds[file] = open_base(stage, base->paths[file]);
    return base->fds[file];
}

void bases_close(struct base *base)
{
    for (size_t i = 0; i < base->nfiles; i++) {
        auto_close_(&base->fds[i]);
        base->fds[i] = -1;
    }
}

static json_t *answer_of(const struct base *base, const struct delta_list *sums)
{
    struct buf text;
    json_t *one = json_object();
    buf_init(&text, (size_t)2 * BASES_SUMS_MAX * DELTA_SUM_CHARS);
    delta_list_text(sums, &text);
    jsonx_set_int(one, "entry", base->entry);
    jsonx_set_text(one, "sums", buf_text(&text));
    buf_done(&text);
    return one;
}

json_t *bases_answer(const struct bases *bases)
{
    json_t *list = json_array();
    for (size_t i = 0; bases != NULL && i < bases->count; i++)
        json_array_append_new(list, answer_of(&bases->at[i], &bases->at[i].sums));
    return list;
}

/* --- fine chunks --------------------------------------------------------------------------------
 */

/* Coarse chunks first..first+count-1, a region for each file that they are in. */
static int cut_run(const struct stage *stage, struct base *base, size_t first, size_t count,
                   uint64_t average, struct delta_list *sums, struct digest *digest,
                   struct err *err)
{
    int rc = 0;
    for (size_t i = first, end = first + count; rc == 0 && i < end;) {
        struct bases_chunk region = base->chunks[i++];
        for (; i < end && base->chunks[i].file == region.file; i++)
            region.len += base->chunks[i].len;
        size_t from = sums->count;
        int fd = file_of(stage, base, region.file);
        if (fd >= 0)
            rc = sums_of(fd, region.offset, region.len, average, BASES_SUMS_MAX, digest, sums, err);
        if (rc == 0)
            rc = add_chunks(base, sums, from, region.offset, region.file, err);
    }
    return rc;
}

/* The runs: pairs of first and count, ascending, without touching each other. */
static int cut_runs(const struct stage *stage, struct base *base, const json_t *runs,
                    uint64_t average, struct delta_list *sums, struct err *err)
{
    int64_t next = 0;
    int rc = 0;
    struct digest *digest = digest_new(err);
    if (digest == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; rc == 0 && i + 1 < json_array_size(runs); i += 2) {
        int64_t first = json_integer_value(json_array_get(runs, i)),
                count = json_integer_value(json_array_get(runs, i + 1));
        if (first < next || count < 1 || first > (int64_t)base->ncoarse ||
            count > (int64_t)base->ncoarse - first)
            rc = err_set(err, ERR_PROTOCOL, "there are no %lld chunks from %lld of content %u",
                         (long long)count, (long long)first, (unsigned)base->entry);
        else
            rc = cut_run(stage, base, (size_t)first, (size_t)count, average, sums, digest, err);
        next = rc == 0 ? first + count : next;
    }
    digest_free(digest);
    return rc;
}

static int fine_of(const struct stage *stage, const json_t *want, size_t *left, json_t *answer,
                   struct err *err)
{
    struct delta_list sums = { 0 };
    struct base *base = bases_of(stage->bases, jsonx_int(want, "entry", -1));
    int64_t average = jsonx_int(want, "average", 0);
    if (base == NULL || average < 0 || !chunker_average_valid((uint64_t)average))
        return err_set(err, ERR_PROTOCOL, "chunks of a content that has none");
    base->nchunks = base->ncoarse; /* asked once more */
    int rc = cut_runs(stage, base, json_object_get(want, "runs"), (uint64_t)average, &sums, err);
    if (rc == 0 && sums.count > *left)
        rc = err_set(err, ERR_LIMIT, "more than %d chunks", BASES_SUMS_MAX);
    if (rc == 0) {
        *left -= sums.count;
        json_array_append_new(answer, answer_of(base, &sums));
    }
    delta_list_done(&sums);
    bases_close(base);
    return rc;
}

int bases_fine(const struct stage *stage, const json_t *request, json_t **ret, struct err *err)
{
    size_t i, left = BASES_SUMS_MAX;
    int rc = 0;
    json_t *want, *answer = json_array();
    json_array_foreach(json_object_get(request, "bases"), i, want) if (rc == 0)
    {
        rc = fine_of(stage, want, &left, answer, err);
    }
    if (rc < 0) {
        json_decref(answer);
        return rc;
    }
    *ret = answer;
    return 0;
}

/* --- use ----------------------------------------------------------------------------------------
 */

int bases_length(const struct base *base, uint64_t index, uint64_t count, uint64_t *ret,
                 struct err *err)
{
    if (index >= base->nchunks || count > base->nchunks - index)
        return err_set(err, ERR_CORRUPT, "there are no chunks %llu to %llu",
                       (unsigned long long)index, (unsigned long long)(index + count - 1));
    *ret = 0;
    for (uint64_t i = index; i < index + count; i++)
        *ret += base->chunks[i].len;
    return 0;
}

/* A file that has become shorter leaves a hole, which the digest tells. */
static int copy_range(int from, uint64_t at, uint64_t len, int to, uint64_t offset, struct err *err)
{
    AUTO_FREE char *space = malloc(len < COPY_BYTES ? (size_t)len : COPY_BYTES);
    if (space == NULL)
        return err_set(err, ERR_MEMORY, "no memory to copy");
    while (len > 0) {
        ssize_t n = pread(from, space, len < COPY_BYTES ? (size_t)len : COPY_BYTES, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 || errno == EIO ? 0 : err_sys(err, errno, "reading an older content");
        for (ssize_t done = 0, m; done < n; done += m)
            if ((m = pwrite(to, space + done, (size_t)(n - done),
                            (off_t)(offset + (uint64_t)done))) < 0)
                return err_sys(err, errno, "writing");
        tree_wrote(to, offset, offset + (uint64_t)n);
        at += (uint64_t)n;
        offset += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return 0;
}

int bases_copy(const struct stage *stage, struct base *base, uint64_t index, uint64_t count, int to,
               uint64_t offset, struct err *err)
{
    int rc = 0;
    for (uint64_t i = index; rc == 0 && i < index + count;) {
        struct bases_chunk range = base->chunks[i++];
        for (; i < index + count && base->chunks[i].file == range.file &&
               base->chunks[i].offset == range.offset + range.len;
             i++)
            range.len += base->chunks[i].len;
        int from = file_of(stage, base, range.file);
        if (from >= 0) /* one that is gone shows in the digest */
            rc = copy_range(from, range.offset, range.len, to, offset, err);
        offset += range.len;
    }
    return rc;
}
