/* pack.c - the contract is in pack.h. */
#include "deployctl/fleet/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "deployctl/wire/digest.h"
#include "deployctl/wire/squeeze.h"

enum { CHUNK = 128 * 1024, OUT_MAX = 2 * 1024 * 1024 };

struct pack {
    pthread_mutex_t mutex; /* over all below; held while a large content is appended */
    int fd;                /* -1 until the first content that must go there */
    uint64_t end, memory;
};
/* One content on its way. */
struct job {
    struct pack *pack;
    const struct manifest_entry *entry;
    struct squeeze *squeeze;
    struct digest *digest;
    struct buf out;
    bool spilling; /* the mutex is held, bytes go to the file */
    uint64_t offset, written;
};

struct pack *pack_new(struct err *err)
{
    struct pack *pack = calloc(1, sizeof *pack);
    if (!pack) {
        err_set(err, ERR_MEMORY, "no memory for the contents");
        return NULL;
    }
    pack->fd = -1;
    pthread_mutex_init(&pack->mutex, NULL);
    return pack;
}

void pack_free(struct pack *pack)
{
    if (!pack)
        return;
    if (pack->fd >= 0)
        close(pack->fd);
    pthread_mutex_destroy(&pack->mutex);
    free(pack);
}

static int open_file(struct pack *pack, struct err *err)
{
    const char *folder = getenv("TMPDIR");
    if (!folder || folder[0] != '/')
        folder = "/tmp";
    if (pack->fd >= 0)
        return 0;
    pack->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (pack->fd >= 0)
        return 0;
    char name[4096];
    if (snprintf(name, sizeof name, "%s/deployctl-XXXXXX", folder) >= (int)sizeof name)
        return err_set(err, ERR_LIMIT, "TMPDIR is too long");
    pack->fd = mkostemp(name, O_CLOEXEC);
    if (pack->fd < 0)
        return err_sys(err, errno, "making a temporary file in %s", folder);
    unlink(name);
    return 0;
}

static int flush(struct job *job, struct err *err)
{
    size_t done = 0;
    while (done < job->out.len) {
        ssize_t n = pwrite(job->pack->fd, job->out.data + done, job->out.len - done,
                           (off_t)(job->offset + job->written + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_sys(err, n < 0 ? errno : EIO,
                           "writing compressed contents to a temporary file (set TMPDIR to a "
                           "folder with more room)");
        done += (size_t)n;
    }
    job->written += done;
    buf_clear(&job->out);
    return 0;
}

static int begin_spilling(struct job *job, struct err *err)
{
    pthread_mutex_lock(&job->pack->mutex);
    job->spilling = true;
    job->offset = job->pack->end;
    return open_file(job->pack, err);
}

static int squeeze_file(struct job *job, int fd, struct err *err)
{
    AUTO_FREE char *chunk = malloc(CHUNK);
    uint64_t total = 0;
    if (!chunk)
        return err_set(err, ERR_MEMORY, "no memory to compress %s", job->entry->path);
    for (;;) {
        ssize_t n = read(fd, chunk, CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, errno, "reading %s", job->entry->path);
        total += (uint64_t)n;
        if (total > job->entry->size)
            return 1;
        digest_add(job->digest, chunk, (size_t)n);
        int rc = squeeze_add(job->squeeze, chunk, (size_t)n, n == 0, &job->out, err);
        if (rc == 0 && !job->spilling && job->out.len > PACK_SMALL_MAX)
            rc = begin_spilling(job, err);
        if (rc == 0 && job->spilling && job->out.len > 0)
            rc = flush(job, err);
        if (rc < 0)
            return rc;
        if (n == 0)
            return total != job->entry->size;
    }
}

static bool fits_memory(struct job *job)
{
    pthread_mutex_lock(&job->pack->mutex);
    bool fits = job->pack->memory + job->out.len <= PACK_MEMORY_MAX;
    if (fits)
        job->pack->memory += job->out.len;
    pthread_mutex_unlock(&job->pack->mutex);
    return fits;
}

static int keep(struct job *job, struct pack_item *ret, struct err *err)
{
    int rc = 0;
    if (!job->spilling && fits_memory(job)) {
        ret->len = job->out.len;
        ret->data = buf_take(&job->out);
        return ret->data ? 0 : err_set(err, ERR_MEMORY, "no memory for %s", job->entry->path);
    }
    if (!job->spilling)
        rc = begin_spilling(job, err);
    if (rc == 0)
        rc = flush(job, err);
    if (rc == 0) {
        *ret = (struct pack_item){ .offset = job->offset, .len = job->written };
        job->pack->end += job->written;
    }
    return rc;
}

/* 0: compressed and the same as before; 1: it has changed. */
static int make(struct job *job, int fd, struct pack_item *ret, struct err *err)
{
    unsigned char digest[MANIFEST_DIGEST_BYTES];
    squeeze_begin(job->squeeze);
    digest_begin(job->digest);
    int rc = squeeze_file(job, fd, err);
    if (rc == 0)
        rc = digest_end(job->digest, digest, err);
    if (rc == 0 && memcmp(digest, job->entry->digest, sizeof digest) != 0)
        rc = 1;
    return rc == 0 ? keep(job, ret, err) : rc;
}

int pack_make(struct pack *pack, int dirfd, const struct manifest_entry *entry,
              struct pack_item *ret, struct err *err)
{
    struct job job = { .pack = pack, .entry = entry };
    *ret = (struct pack_item){ 0 };
    AUTO_CLOSE int fd = openat(dirfd, entry->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno, "opening %s", entry->path);
    buf_init(&job.out, OUT_MAX);
    job.squeeze = squeeze_new(err);
    job.digest = job.squeeze ? digest_new(err) : NULL;
    int rc = job.digest ? make(&job, fd, ret, err) : err_wrap(err, "%s", entry->path);
    if (job.spilling)
        pthread_mutex_unlock(&pack->mutex);
    squeeze_free(job.squeeze);
    digest_free(job.digest);
    buf_done(&job.out);
    if (rc > 0)
        return err_set(err, ERR_STATE,
                       "%s changed while it was being released; release a folder that nothing "
                       "writes to",
                       entry->path);
    return rc;
}

void pack_item_done(struct pack_item *item)
{
    free(item->data);
    item->data = NULL;
}

int pack_read(const struct pack *pack, const struct pack_item *item, uint64_t offset, void *data,
              size_t max, size_t *ret_len, struct err *err)
{
    uint64_t left = offset < item->len ? item->len - offset : 0;
    size_t want = left < max ? (size_t)left : max;
    *ret_len = want;
    if (item->data) {
        memcpy(data, item->data + offset, want);
        return 0;
    }
    for (size_t done = 0; done < want;) {
        ssize_t n = pread(pack->fd, (char *)data + done, want - done,
                          (off_t)(item->offset + offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_sys(err, n < 0 ? errno : EIO, "reading a temporary file");
        done += (size_t)n;
    }
    return 0;
}
