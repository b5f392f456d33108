/* receive.c - contents as they arrive: decompressed, counted, hashed, written (stage.h). */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "deployctl/agent/stage.h"
#include "deployctl/wire/proto.h"

enum { PREFIX_BYTES = MANIFEST_PREFIX_DIGITS / 2 };

static int write_piece(void *context, const void *data, size_t len, struct err *err)
{
    struct stage *stage = context;
    digest_add(stage->digest, data, len);
    stage->got += len;
    for (size_t done = 0; done < len;) {
        ssize_t n = write(stage->file, (const char *)data + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, errno, "writing");
        done += (size_t)n;
    }
    return 0;
}

static int begin_content(struct stage *stage, uint32_t index, struct err *err)
{
    const struct manifest_entry *entry = &stage->manifest.entries[index];
    stage->file = tree_create(&stage->tree, entry->path, entry->size, err);
    if (stage->file < 0) {
        stage->file = -1;
        return err->code;
    }
    stage->got = 0;
    digest_begin(stage->digest);
    unsqueeze_begin(stage->unsqueeze, entry->size);
    return 0;
}

static int end_content(struct stage *stage, uint32_t index, bool ended, struct err *err)
{
    struct manifest_entry *entry = &stage->manifest.entries[index];
    unsigned char digest[MANIFEST_DIGEST_BYTES];
    if (!ended || stage->got != entry->size)
        return err_set(err, ERR_CORRUPT, "%llu of %llu bytes came", (unsigned long long)stage->got,
                       (unsigned long long)entry->size);
    int rc = digest_end(stage->digest, digest, err);
    if (rc < 0)
        return rc;
    if (memcmp(digest, entry->digest, PREFIX_BYTES) != 0)
        return err_set(err, ERR_CORRUPT,
                       "what came does not have the digest of the manifest; the "
                       "source changed, or bytes were damaged");
    if (fchmod(stage->file, (mode_t)entry->mode) < 0)
        return err_sys(err, errno, "setting the mode");
    if (stage->want.fsync_each && fsync(stage->file) < 0)
        return err_sys(err, errno, "syncing");
    if (close(take_fd(&stage->file)) < 0)
        return err_sys(err, errno, "closing");
    memcpy(entry->digest, digest, sizeof digest);
    entry->short_digest = false;
    stage->content[index] = STAGE_HERE;
    stage->next_missing++;
    return 0;
}

static int receive(struct stage *stage, const char *payload, size_t len, struct err *err)
{
    const unsigned char *h = (const unsigned char *)payload;
    if (len < PROTO_DATA_HEADER)
        return err_set(err, ERR_PROTOCOL, "a data frame of %zu bytes", len);
    uint32_t index = (uint32_t)h[0] << 24 | (uint32_t)h[1] << 16 | (uint32_t)h[2] << 8 | h[3];
    bool last = (h[4] & PROTO_LAST) != 0, ended = false;
    if (stage->next_missing >= stage->nmissing || stage->missing[stage->next_missing] != index)
        return err_set(err, ERR_PROTOCOL, "content %u was not asked for now", (unsigned)index);
    int rc = stage->file < 0 ? begin_content(stage, index, err) : 0;
    if (rc == 0)
        rc = unsqueeze_add(stage->unsqueeze, payload + PROTO_DATA_HEADER, len - PROTO_DATA_HEADER,
                           write_piece, stage, &ended, err);
    if (rc == 0 && last)
        rc = end_content(stage, index, ended, err);
    return rc < 0 ? err_wrap(err, "%s", stage->manifest.entries[index].path) : 0;
}

void stage_receive(struct stage *stage, const char *payload, size_t len)
{
    struct err err;
    stage->received_bytes += len;
    if (stage->failed.code != ERR_NONE)
        return;
    if (receive(stage, payload, len, &err) < 0) {
        err_wrap(&err, "receiving %s", stage->want.id);
        stage->failed = err;
        stage_drop(stage);
    }
}
