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
struct pack_writer {
    struct pack *pack;
    const char *name; /* of the content, for messages */
    struct squeeze *squeeze;
    struct buf out;
    bool spilling; /* the mutex is held, bytes go to the file */
    uint64_t offset, written;
    char chunk[CHUNK]; /* of a file */
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

static int flush(struct pack_writer *writer, struct err *err)
{
    size_t done = 0;
    while (done < writer->out.len) {
        ssize_t n = pwrite(writer->pack->fd, writer->out.data + done, writer->out.len - done,
                           (off_t)(writer->offset + writer->written + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_sys(err, n < 0 ? errno : EIO,
                           "writing compressed contents to a temporary file (set TMPDIR to a "
                           "folder with more room)");
        done += (size_t)n;
    }
    writer->written += done;
    buf_clear(&writer->out);
    return 0;
}

static int begin_spilling(struct pack_writer *writer, struct err *err)
{
    pthread_mutex_lock(&writer->pack->mutex);
    writer->spilling = true;
    writer->offset = writer->pack->end;
    return open_file(writer->pack, err);
}

struct pack_writer *pack_begin(struct pack *pack, const char *name, struct err *err)
{
    struct pack_writer *writer = calloc(1, sizeof *writer);
    if (!writer) {
        err_set(err, ERR_MEMORY, "no memory to compress %s", name);
        return NULL;
    }
    writer->pack = pack;
    writer->name = name;
    buf_init(&writer->out, OUT_MAX);
    writer->squeeze = squeeze_new(err);
    if (!writer->squeeze) {
        pack_drop(writer);
        return NULL;
    }
    squeeze_begin(writer->squeeze);
    return writer;
}

void pack_drop(struct pack_writer *writer)
{
    if (!writer)
        return;
    if (writer->spilling)
        pthread_mutex_unlock(&writer->pack->mutex);
    squeeze_free(writer->squeeze);
    buf_done(&writer->out);
    free(writer);
}

static int add(struct pack_writer *writer, const void *data, size_t len, bool last, struct err *err)
{
    int rc = squeeze_add(writer->squeeze, data, len, last, &writer->out, err);
    if (rc == 0 && !writer->spilling && writer->out.len > PACK_SMALL_MAX)
        rc = begin_spilling(writer, err);
    if (rc == 0 && writer->spilling && writer->out.len > 0)
        rc = flush(writer, err);
    return rc;
}

int pack_put(struct pack_writer *writer, const void *data, size_t len, struct err *err)
{
    return add(writer, data, len, false, err);
}

static bool fits_memory(struct pack_writer *writer)
{
    pthread_mutex_lock(&writer->pack->mutex);
    bool fits = writer->pack->memory + writer->out.len <= PACK_MEMORY_MAX;
    if (fits)
        writer->pack->memory += writer->out.len;
    pthread_mutex_unlock(&writer->pack->mutex);
    return fits;
}

static int keep(struct pack_writer *writer, struct pack_item *ret, struct err *err)
{
    int rc = 0;
    if (!writer->spilling && fits_memory(writer)) {
        ret->len = writer->out.len;
        ret->data = buf_take(&writer->out);
        return ret->data ? 0 : err_set(err, ERR_MEMORY, "no memory for %s", writer->name);
    }
    if (!writer->spilling)
        rc = begin_spilling(writer, err);
    if (rc == 0)
        rc = flush(writer, err);
    if (rc == 0) {
        *ret = (struct pack_item){ .offset = writer->offset, .len = writer->written };
        writer->pack->end += writer->written;
    }
    return rc;
}

int pack_end(struct pack_writer *writer, struct pack_item *ret, struct err *err)
{
    int rc = add(writer, "", 0, true, err);
    return rc == 0 ? keep(writer, ret, err) : rc;
}

/* 0: the same as before; 1: it has changed. */
static int squeeze_file(struct pack_writer *writer, int fd, const struct manifest_entry *entry,
                        struct digest *digest, struct err *err)
{
    unsigned char found[MANIFEST_DIGEST_BYTES];
    uint64_t total = 0;
    digest_begin(digest);
    for (;;) {
        ssize_t n = read(fd, writer->chunk, CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, errno, "reading %s", entry->path);
        total += (uint64_t)n;
        if (total > entry->size)
            return 1;
        if (n == 0)
            break;
        digest_add(digest, writer->chunk, (size_t)n);
        int rc = pack_put(writer, writer->chunk, (size_t)n, err);
        if (rc < 0)
            return rc;
    }
    int rc = digest_end(digest, found, err);
    return rc < 0 ? rc : total != entry->size || memcmp(found, entry->digest, sizeof found) != 0;
}

int pack_file(struct pack_writer *writer, int dirfd, const struct manifest_entry *entry,
              struct digest *digest, struct err *err)
{
    AUTO_CLOSE int fd = openat(dirfd, entry->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno, "opening %s", entry->path);
    int rc = squeeze_file(writer, fd, entry, digest, err);
    if (rc > 0)
        return err_set(err, ERR_STATE,
                       "%s changed while it was being released; release a folder that nothing "
                       "writes to",
                       entry->path);
    return rc;
}

int pack_make(struct pack *pack, int dirfd, const struct manifest_entry *entry,
              struct pack_item *ret, struct err *err)
{
    *ret = (struct pack_item){ 0 };
    struct digest *digest = digest_new(err);
    struct pack_writer *writer = digest ? pack_begin(pack, entry->path, err) : NULL;
    int rc = writer ? pack_file(writer, dirfd, entry, digest, err) : ERR_MEMORY;
    if (rc == 0)
        rc = pack_end(writer, ret, err);
    pack_drop(writer);
    digest_free(digest);
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
