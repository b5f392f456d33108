/* source.c - the contract is in source.h. */
#include "deployctl/fleet/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "deployctl/fleet/bundle.h"
#include "deployctl/fleet/deltas.h"
#include "deployctl/fleet/pack.h"
#include "deployctl/fleet/scan.h"
#include "deployctl/fleet/unpack.h"
#include "deployctl/wire/digest.h"
#include "deployctl/wire/squeeze.h"

enum { HASHERS = 3 };
enum content_state { CONTENT_NONE, CONTENT_WORKING, CONTENT_READY, CONTENT_FAILED };

struct content {
    enum content_state state;
    struct pack_item item;
};
struct waiter {
    struct waiter *next;
    size_t entry;
    void (*fn)(void *context);
    void *context;
};
/* What the threads use: lives until the last of them is done, also when the source is freed. */
struct shared {
    atomic_int references;
    int dirfd;
    int archive;    /* to be unpacked into dirfd; -1 = SOURCE is a folder */
    char *unpacked; /* that folder, ours; NULL likewise */
    char *path;
    struct scan_options scan;
    const char **patterns; /* owned, with the texts */
    size_t npatterns;
    struct manifest manifest;
    struct err_list secrets;
    struct pack *pack;
    struct bundle *bundles[SOURCE_BUNDLES_MAX]; /* owned; contents behind those of the entries */
    size_t nbundles;
    atomic_size_t next; /* entry to hash */
    atomic_bool stop;
    char digest[MANIFEST_HEX_MAX];
    struct buf packed;
};
struct source {
    struct loop *loop;
    struct shared *shared;
    void (*fn)(void *context, const struct err *err);
    void *context;
    size_t hashing; /* jobs under way */
    struct err failure;
    struct content *contents;
    struct deltas *deltas;
    struct waiter *waiters;
    struct job *jobs;
};
/* One piece of work on a thread. */
struct job {
    struct job *next, **link;
    struct source *source; /* NULL once the source is gone */
    struct shared *shared;
    struct loop_work *work;
    size_t entry;
    struct pack_item item;
    struct err err;
};

/* --- what the threads share ------------------------------------------------------------------- */

static void shared_drop(struct shared *shared)
{
    if (!shared || atomic_fetch_sub(&shared->references, 1) != 1)
        return;
    for (size_t i = 0; shared->patterns && shared->patterns[i]; i++)
        free((char *)shared->patterns[i]);
    free(shared->patterns);
    manifest_done(&shared->manifest);
    err_list_done(&shared->secrets);
    buf_done(&shared->packed);
    pack_free(shared->pack);
    for (size_t i = 0; i < shared->nbundles; i++)
        free(shared->bundles[i]);
    if (shared->dirfd >= 0)
        close(shared->dirfd);
    if (shared->archive >= 0)
        close(shared->archive);
    if (shared->unpacked)
        unpack_remove(shared->unpacked);
    free(shared->unpacked);
    free(shared->path);
    free(shared);
}

static bool add_pattern(struct shared *shared, const char *text, size_t len)
{
    size_t count = shared->npatterns;
    const char **more = realloc(shared->patterns, (count + 2) * sizeof *more);
    if (!more)
        return false;
    shared->patterns = more;
    more[count] = strndup(text, len);
    more[count + 1] = NULL;
    return more[shared->npatterns++] != NULL;
}

static int read_ignore(struct shared *shared, struct err *err)
{
    struct buf text;
    buf_init(&text, SOURCE_IGNORE_MAX);
    int rc = buf_read_file(&text, shared->dirfd, ".deployignore");
    bool ok = true;
    const char *at = rc == 0 ? buf_text(&text) : "";
    while (*at) {
        size_t len = strcspn(at, "\r\n");
        size_t kept = len;
        while (kept > 0 && (at[kept - 1] == ' ' || at[kept - 1] == '\t'))
            kept--;
        if (kept > 0 && at[0] != '#')
            ok = ok && add_pattern(shared, at, kept);
        at += len;
        at += strspn(at, "\r\n");
    }
    buf_done(&text);
    if (rc < 0 && rc != -ENOENT)
        return err_sys(err, -rc, "%s/.deployignore", shared->path);
    return ok ? 0 : err_set(err, ERR_MEMORY, "no memory for .deployignore");
}

/* It is unpacked by the thread that scans it. */
static int open_archive(struct shared *shared, struct err *err)
{
    shared->archive = open(shared->path, O_RDONLY | O_CLOEXEC);
    if (shared->archive < 0)
        return err_sys(err, errno, "SOURCE %s", shared->path);
    shared->dirfd = unpack_folder(&shared->unpacked, err);
    return shared->dirfd < 0 ? shared->dirfd : 0;
}

static int open_folder(struct shared *shared, struct err *err)
{
    struct stat st;
    const char *path = shared->path;
    if (stat(path, &st) < 0)
        return errno == ENOENT ? err_set(err, ERR_NOT_FOUND,
                                         "SOURCE %s does not exist; build it first, or "
                                         "name another folder",
                                         path)
                               : err_sys(err, errno, "SOURCE %s", path);
    if (S_ISREG(st.st_mode))
        return open_archive(shared, err);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "SOURCE %s is neither a folder nor an archive", path);
    shared->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return shared->dirfd < 0 ? err_sys(err, errno, "SOURCE %s", path) : 0;
}

static struct shared *shared_new(const struct source_options *options, struct err *err)
{
    struct shared *shared = calloc(1, sizeof *shared);
    if (!shared) {
        err_set(err, ERR_MEMORY, "no memory");
        return NULL;
    }
    atomic_init(&shared->references, 1);
    shared->dirfd = shared->archive = -1;
    manifest_init(&shared->manifest);
    err_list_init(&shared->secrets);
    buf_init(&shared->packed, MANIFEST_TEXT_MAX);
    shared->path = strdup(options->path);
    shared->pack = pack_new(err);
    bool ok = shared->path && shared->pack && add_pattern(shared, ".deployignore", 13);
    int rc = ok ? open_folder(shared, err) : err_set(err, ERR_MEMORY, "no memory");
    for (size_t i = 0; rc == 0 && options->exclude && i < options->exclude->count; i++) {
        const char *word = options->exclude->names[i];
        if (!add_pattern(shared, word, strlen(word)))
            rc = err_set(err, ERR_MEMORY, "no memory");
    }
    if (rc < 0) {
        shared_drop(shared);
        return NULL;
    }
    shared->scan = (struct scan_options){ .root = shared->path,
                                          .any_links = options->any_links,
                                          .keep_modes = options->keep_modes };
    return shared;
}

/* --- work on threads -------------------------------------------------------------------------- */

static void job_release(void *context)
{
    struct job *job = context;
    pack_item_done(&job->item);
    shared_drop(job->shared);
    free(job);
}

static int start_job(struct source *source, size_t entry, void (*work)(void *),
                     void (*done)(void *), struct err *err)
{
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return err_set(err, ERR_MEMORY, "no memory");
    job->source = source;
    job->shared = source->shared;
    job->entry = entry;
    atomic_fetch_add(&source->shared->references, 1);
    job->work = loop_work_start(source->loop, work, done, job_release, job);
    if (!job->work) {
        job_release(job);
        return err_set(err, ERR_MEMORY, "no memory for a thread");
    }
    job->next = source->jobs;
    job->link = &source->jobs;
    if (job->next)
        job->next->link = &job->next;
    source->jobs = job;
    return 0;
}

static void unlink_job(struct job *job)
{
    *job->link = job->next;
    if (job->next)
        job->next->link = job->link;
}

static void scan_work(void *context)
{
    struct job *job = context;
    struct shared *shared = job->shared;
    int rc = 0;
    if (shared->archive >= 0)
        rc = unpack(shared->archive, shared->path, shared->dirfd, shared->scan.keep_modes,
                    &shared->stop, &job->err);
    if (rc == 0)
        rc = read_ignore(shared, &job->err);
    shared->scan.patterns = shared->patterns;
    if (rc == 0)
        scan_folder(shared->dirfd, &shared->scan, &shared->manifest, &shared->secrets, &job->err);
}

static int hash_entry(struct shared *shared, struct digest *digest, struct manifest_entry *entry,
                      struct err *err)
{
    struct stat before, after;
    uint64_t bytes;
    AUTO_CLOSE int fd = openat(shared->dirfd, entry->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno, "%s/%s: cannot be read", shared->path, entry->path);
    if (fstat(fd, &before) < 0 || digest_of_fd(digest, fd, entry->digest, &bytes, err) < 0 ||
        fstat(fd, &after) < 0)
        return err_wrap(err, "%s/%s", shared->path, entry->path);
    if (bytes != entry->size || before.st_mtim.tv_sec != after.st_mtim.tv_sec ||
        before.st_mtim.tv_nsec != after.st_mtim.tv_nsec || before.st_size != after.st_size)
        return err_set(err, ERR_STATE,
                       "%s/%s changed while it was read; release a folder that nothing writes to",
                       shared->path, entry->path);
    return 0;
}

static void hash_work(void *context)
{
    struct job *job = context;
    struct shared *shared = job->shared;
    struct digest *digest = digest_new(&job->err);
    while (digest && !atomic_load(&shared->stop)) {
        size_t i = atomic_fetch_add(&shared->next, 1);
        if (i >= shared->manifest.count)
            break;
        struct manifest_entry *entry = &shared->manifest.entries[i];
        if (entry->kind == MANIFEST_FILE && hash_entry(shared, digest, entry, &job->err) < 0)
            atomic_store(&shared->stop, true);
    }
    digest_free(digest);
    digest_thread_end();
}

static void name_work(void *context)
{
    struct job *job = context;
    struct shared *shared = job->shared;
    struct buf text;
    unsigned char digest[MANIFEST_DIGEST_BYTES];
    buf_init(&text, MANIFEST_TEXT_MAX);
    int rc = manifest_write(&shared->manifest, false, &text)
                 ? digest_of(buf_text(&text), text.len, digest, &job->err)
                 : err_set(&job->err, ERR_LIMIT, "%s: too many files", shared->path);
    buf_clear(&text);
    if (rc == 0 && !manifest_write(&shared->manifest, true, &text))
        rc = err_set(&job->err, ERR_LIMIT, "%s: too many files", shared->path);
    if (rc == 0)
        rc = squeeze_all(buf_text(&text), text.len, &shared->packed, &job->err);
    if (rc == 0)
        manifest_hex(digest, shared->digest);
    buf_done(&text);
    digest_thread_end();
}

static void pack_work(void *context)
{
    struct job *job = context;
    struct shared *shared = job->shared;
    const struct manifest *manifest = &shared->manifest;
    if (job->entry < manifest->count)
        pack_make(shared->pack, shared->dirfd, &manifest->entries[job->entry], &job->item,
                  &job->err);
    else
        bundle_make(shared->bundles[job->entry - manifest->count], shared->pack, shared->dirfd,
                    manifest, &job->item, &job->err);
    digest_thread_end();
}

/* --- the steps, on the loop ------------------------------------------------------------------- */

static void tell(struct source *source, const struct err *err) { source->fn(source->context, err); }

static void name_done(void *context)
{
    struct job *job = context;
    struct source *source = job->source;
    unlink_job(job);
    tell(source, job->err.code == ERR_NONE ? NULL : &job->err);
}

static void hash_done(void *context)
{
    struct job *job = context;
    struct source *source = job->source;
    struct err err;
    unlink_job(job);
    if (job->err.code != ERR_NONE && source->failure.code == ERR_NONE)
        source->failure = job->err;
    if (--source->hashing > 0)
        return;
    if (source->failure.code != ERR_NONE)
        tell(source, &source->failure);
    else if (start_job(source, 0, name_work, name_done, &err) < 0)
        tell(source, &err);
}

static void scan_done(void *context)
{
    struct job *job = context;
    struct source *source = job->source;
    struct err err = job->err;
    unlink_job(job);
    if (err.code == ERR_NONE) {
        source->contents =
            calloc(source->shared->manifest.count + SOURCE_BUNDLES_MAX, sizeof *source->contents);
        if (!source->contents)
            err_set(&err, ERR_MEMORY, "no memory for the list of files");
    }
    for (size_t i = 0; i < HASHERS && err.code == ERR_NONE; i++)
        if (start_job(source, 0, hash_work, hash_done, &err) == 0)
            source->hashing++;
    if (source->hashing > 0)
        source->failure = err; /* those that run will tell */
    else
        tell(source, &err);
}

struct source *source_open(struct loop *loop, const struct source_options *options,
                           void (*fn)(void *context, const struct err *err), void *context,
                           struct err *err)
{
    struct source *source = calloc(1, sizeof *source);
    if (!source) {
        err_set(err, ERR_MEMORY, "no memory");
        return NULL;
    }
    source->loop = loop;
    source->fn = fn;
    source->context = context;
    source->shared = shared_new(options, err);
    source->deltas = deltas_new(loop, source, err);
    if (!source->shared || !source->deltas || start_job(source, 0, scan_work, scan_done, err) < 0) {
        source_free(source);
        return NULL;
    }
    return source;
}

void source_free(struct source *source)
{
    if (!source)
        return;
    deltas_free(source->deltas);
    if (source->shared)
        atomic_store(&source->shared->stop, true);
    while (source->jobs) {
        struct job *job = source->jobs;
        unlink_job(job);
        loop_work_cancel(job->work);
    }
    while (source->waiters) {
        struct waiter *waiter = source->waiters;
        source->waiters = waiter->next;
        free(waiter);
    }
    for (size_t i = 0; source->contents && source->shared &&
                       i < source->shared->manifest.count + source->shared->nbundles;
         i++)
        pack_item_done(&source->contents[i].item);
    free(source->contents);
    shared_drop(source->shared);
    free(source);
}

const struct manifest *source_manifest(const struct source *source)
{
    return &source->shared->manifest;
}
const char *source_digest(const struct source *source) { return source->shared->digest; }
const struct buf *source_packed(const struct source *source) { return &source->shared->packed; }
const struct err_list *source_warnings(const struct source *source)
{
    return &source->shared->secrets;
}

/* --- contents --------------------------------------------------------------------------------- */

/* Takes the waiters of an entry out first: each may ask again at once. */
static void wake(struct source *source, size_t entry)
{
    struct waiter *due = NULL, **at = &source->waiters;
    while (*at) {
        struct waiter *waiter = *at;
        if (waiter->entry != entry) {
            at = &waiter->next;
            continue;
        }
        *at = waiter->next;
        waiter->next = due;
        due = waiter;
    }
    while (due) {
        struct waiter *waiter = due;
        due = waiter->next;
        waiter->fn(waiter->context);
        free(waiter);
    }
}

static void pack_done(void *context)
{
    struct job *job = context;
    struct source *source = job->source;
    struct content *content = &source->contents[job->entry];
    size_t entry = job->entry;
    unlink_job(job);
    content->state = job->err.code == ERR_NONE ? CONTENT_READY : CONTENT_FAILED;
    content->item = job->item;
    job->item = (struct pack_item){ 0 };
    if (content->state == CONTENT_FAILED && source->failure.code == ERR_NONE)
        source->failure = job->err;
    wake(source, entry);
}

static int wait_for(struct source *source, size_t entry, void (*fn)(void *context), void *context,
                    struct err *err)
{
    for (const struct waiter *w = source->waiters; w; w = w->next)
        if (w->entry == entry && w->context == context)
            return 0;
    struct waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter)
        return err_set(err, ERR_MEMORY, "no memory");
    *waiter = (struct waiter){ source->waiters, entry, fn, context };
    source->waiters = waiter;
    return 0;
}

int64_t source_bundle(struct source *source, const size_t *entries, size_t count)
{
    struct shared *shared = source->shared;
    size_t i = 0;
    while (i < shared->nbundles && !bundle_is(shared->bundles[i], entries, count))
        i++;
    if (i == SOURCE_BUNDLES_MAX)
        return -1;
    if (i == shared->nbundles) {
        shared->bundles[i] = bundle_new(&shared->manifest, entries, count);
        if (!shared->bundles[i])
            return -1;
        shared->nbundles++;
    }
    return (int64_t)(shared->manifest.count + i);
}

uint64_t source_bytes(const struct source *source, size_t entry)
{
    const struct shared *shared = source->shared;
    size_t count = shared->manifest.count;
    return entry < count ? shared->manifest.entries[entry].size
                         : shared->bundles[entry - count]->bytes;
}

int source_want(struct source *source, size_t entry, void (*fn)(void *context), void *context,
                struct err *err)
{
    struct content *content = &source->contents[entry];
    if (content->state == CONTENT_READY)
        return 1;
    if (content->state == CONTENT_FAILED) {
        if (err)
            *err = source->failure;
        return source->failure.code;
    }
    if (content->state == CONTENT_NONE) {
        int rc = start_job(source, entry, pack_work, pack_done, err);
        if (rc < 0)
            return rc;
        content->state = CONTENT_WORKING;
    }
    return fn ? wait_for(source, entry, fn, context, err) : 0;
}

void source_forget(struct source *source, void *context)
{
    struct waiter **at = &source->waiters;
    while (*at) {
        struct waiter *waiter = *at;
        if (waiter->context != context) {
            at = &waiter->next;
            continue;
        }
        *at = waiter->next;
        free(waiter);
    }
}

int source_piece(struct source *source, size_t entry, uint64_t offset, void *data, size_t max,
                 size_t *ret_len, bool *ret_last, struct err *err)
{
    const struct pack_item *item = &source->contents[entry].item;
    int rc = pack_read(source->shared->pack, item, offset, data, max, ret_len, err);
    if (rc == 0)
        *ret_last = offset + *ret_len >= item->len;
    return rc;
}

uint64_t source_packed_bytes(const struct source *source, size_t entry)
{
    return source->contents[entry].item.len;
}

struct deltas *source_deltas(const struct source *source) { return source->deltas; }

int source_open_entry(const struct source *source, size_t entry, struct err *err)
{
    const char *path = source->shared->manifest.entries[entry].path;
    int fd = openat(source->shared->dirfd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? err_sys(err, errno, "opening %s", path) : fd;
}
