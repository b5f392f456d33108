/* reuse.c - the contract is in reuse.h. */
#include "deployctl/agent/reuse.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "deployctl/plan/chunker.h"
#include "io/durable.h"

enum { PREFIX_BYTES = MANIFEST_PREFIX_DIGITS / 2 };

/* A file of the new release, ordered by beginning of the digest, size, index. */
struct wanted {
    unsigned char prefix[PREFIX_BYTES];
    uint64_t size;
    uint32_t index;
};

static int compare_content(const struct wanted *a, const struct wanted *b)
{
    int order = memcmp(a->prefix, b->prefix, PREFIX_BYTES);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

static int compare(const void *a, const void *b)
{
    const struct wanted *x = a, *y = b;
    int order = compare_content(x, y);
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

static struct wanted *sort_wanted(struct stage *stage, size_t *ret_count)
{
    const struct manifest *m = &stage->manifest;
    struct wanted *wanted = calloc(m->count + 1, sizeof *wanted);
    stage->leader = calloc(m->count + 1, sizeof *stage->leader);
    stage->content = calloc(m->count + 1, sizeof *stage->content);
    if (wanted == NULL || stage->leader == NULL || stage->content == NULL) {
        free(wanted);
        return NULL;
    }
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++) {
        stage->leader[i] = (uint32_t)i;
        if (m->entries[i].kind != MANIFEST_FILE)
            continue;
        stage->content[i] = STAGE_MISSING;
        memcpy(wanted[n].prefix, m->entries[i].digest, PREFIX_BYTES);
        wanted[n].size = m->entries[i].size;
        wanted[n++].index = (uint32_t)i;
    }
    qsort(wanted, n, sizeof *wanted, compare);
    size_t leaders = 0;
    for (size_t i = 0; i < n; i++) { /* keep only the first of each content */
        if (leaders > 0 && compare_content(&wanted[leaders - 1], &wanted[i]) == 0)
            stage->leader[wanted[i].index] = wanted[leaders - 1].index;
        else
            wanted[leaders++] = wanted[i];
    }
    *ret_count = leaders;
    return wanted;
}

static const struct wanted *look_up(const struct wanted *wanted, size_t count,
                                    const struct manifest_entry *entry)
{
    size_t low = 0, high = count;
    struct wanted key = { .size = entry->size };
    memcpy(key.prefix, entry->digest, PREFIX_BYTES);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_content(&wanted[middle], &key);
        if (order == 0)
            return &wanted[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* The newest release that has a file of that name; else, of one that differs in numbers alone. */
static void search_base(struct reuse *reuse, const struct manifest *old,
                        const struct manifest_entry *entry, struct reuse_base *base)
{
    const struct manifest_entry *found = manifest_find(old, entry->path);
    bool same = found != NULL && found->kind == MANIFEST_FILE;
    if (base->same_path)
        return;
    if (!same && base->path == NULL && reuse->searched < REUSE_ALIKE_MAX) {
        reuse->searched++;
        found = NULL;
        for (size_t i = 0; i < old->count && found == NULL; i++)
            if (old->entries[i].kind == MANIFEST_FILE && old->entries[i].size >= CHUNKER_FILE_MIN &&
                manifest_alike(old->entries[i].path, entry->path))
                found = &old->entries[i];
    }
    if (!same && (found == NULL || base->path != NULL))
        return;
    base->path = arena_strdup(&reuse->arena, found->path);
    base->release = (uint32_t)reuse->nids;
    base->same_path = same;
}

static void search_bases(struct reuse *reuse, const struct manifest *old,
                         const struct manifest *fresh)
{
    for (size_t i = 0; i < fresh->count; i++)
        if (fresh->entries[i].kind == MANIFEST_FILE && fresh->entries[i].size >= CHUNKER_FILE_MIN)
            search_base(reuse, old, &fresh->entries[i], &reuse->bases[i]);
}

static void search_release(struct reuse *reuse, const struct manifest *old,
                           const struct wanted *wanted, size_t count)
{
    for (size_t i = 0; i < old->count; i++) {
        const struct manifest_entry *entry = &old->entries[i];
        if (entry->kind != MANIFEST_FILE)
            continue;
        const struct wanted *hit = look_up(wanted, count, entry);
        struct reuse_source *source = hit == NULL ? NULL : &reuse->sources[hit->index];
        if (source == NULL || source->path != NULL)
            continue;
        source->path = arena_strdup(&reuse->arena, entry->path);
        source->release = (uint32_t)reuse->nids;
        memcpy(source->digest, entry->digest, sizeof source->digest);
    }
}

struct reuse *reuse_find(struct stage *stage, const struct host_releases *list, struct err *err)
{
    struct reuse *reuse = calloc(1, sizeof *reuse);
    size_t count = 0;
    AUTO_FREE struct wanted *wanted = reuse == NULL ? NULL : sort_wanted(stage, &count);
    if (reuse != NULL) {
        arena_init(&reuse->arena);
        reuse->sources =
            arena_array(&reuse->arena, stage->manifest.count + 1, sizeof *reuse->sources);
        reuse->bases = arena_array(&reuse->arena, stage->manifest.count + 1, sizeof *reuse->bases);
    }
    if (reuse == NULL || wanted == NULL || reuse->arena.failed) {
        reuse_free(reuse);
        err_set(err, ERR_MEMORY, "no memory to look for contents that are here");
        return NULL;
    }
    for (size_t i = 0; i < list->count && reuse->nids < REUSE_RELEASES_MAX; i++) {
        struct manifest old;
        if (!list->at[i].complete || host_manifest(stage->host, list->at[i].id, &old, NULL) < 0)
            continue;
        memcpy(reuse->ids[reuse->nids], list->at[i].id, sizeof reuse->ids[0]);
        search_release(reuse, &old, wanted, count);
        if (stage->want.chunks)
            search_bases(reuse, &old, &stage->manifest);
        reuse->nids++;
        manifest_done(&old);
    }
    return reuse;
}

void reuse_free(struct reuse *reuse)
{
    if (reuse == NULL)
        return;
    arena_done(&reuse->arena);
    free(reuse);
}

static int place_one(struct stage *stage, const struct reuse_source *source, int from, size_t i,
                     struct err *err)
{
    struct manifest_entry *entry = &stage->manifest.entries[i];
    unsigned char digest[MANIFEST_DIGEST_BYTES];
    enum tree_way way = TREE_COPIED;
    bool linkable = stage->host->linkable && !stage->want.set_owner;
    int rc = tree_place(&stage->tree, entry->path, from, source->path, entry->size, entry->mode,
                        linkable, stage->digest, digest, &way, err);
    if (rc == 0 && memcmp(digest, source->digest, sizeof digest) == 0) {
        memcpy(entry->digest, digest, sizeof digest);
        entry->short_digest = false;
        stage->content[i] = STAGE_HERE;
        stage->reused++;
        return 0;
    }
    if (rc < 0 && rc != ERR_NOT_FOUND)
        return rc;
    stage->damaged++; /* somebody changed the older release; the content is sent instead */
    return tree_remove(&stage->tree, entry->path, err);
}

int reuse_place(struct stage *stage, struct reuse *reuse, struct err *err)
{
    int rc = 0;
    for (size_t id = 0; rc == 0 && id < reuse->nids; id++) {
        AUTO_CLOSE int from =
            durable_open_beneath(stage->host->releases, reuse->ids[id], O_RDONLY | O_DIRECTORY, 0);
        if (from < 0)
            continue;
        for (size_t i = 0; rc == 0 && i < stage->manifest.count; i++)
            if (reuse->sources[i].path != NULL && reuse->sources[i].release == id)
                rc = place_one(stage, &reuse->sources[i], from, i, err);
    }
    return rc;
}
