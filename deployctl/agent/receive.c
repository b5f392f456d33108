/* receive.c - contents as they arrive: decompressed, counted, hashed, written (stage.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "deployctl/agent/bases.h"
#include "deployctl/agent/space.h"
#include "deployctl/agent/stage.h"
#include "deployctl/wire/proto.h"

enum {
    PREFIX_BYTES = MANIFEST_PREFIX_DIGITS / 2,
    COPIES_BEGIN = 64,
    HEAD_BYTES = 4,
    PROGRAM_SLACK = 64 * 1024, /* of its numbers, beside as many bytes as the content has */
};

/* --- whole ------------------------------------------------------------------------------------ */

static int put(struct stage *stage, const void *data, size_t len, struct err *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n =
            pwrite(stage->file, (const char *)data + done, len - done, (off_t)(stage->got + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, errno, "writing");
        done += (size_t)n;
    }
    tree_wrote(stage->file, stage->got, stage->got + len);
    stage->got += len;
    return 0;
}

static int write_piece(void *context, const void *data, size_t len, struct err *err)
{
    struct stage *stage = context;
    digest_add(stage->digest, data, len);
    return put(stage, data, len, err);
}

static int finish_whole(struct stage *stage, struct manifest_entry *entry, struct err *err)
{
    unsigned char digest[MANIFEST_DIGEST_BYTES];
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
    memcpy(entry->digest, digest, sizeof digest);
    entry->short_digest = false;
    return 0;
}

/* --- as a program -----------------------------------------------------------------------------
 */

static int grows_to(const struct stage *stage, uint64_t more, struct err *err)
{
    uint64_t size = stage->manifest.entries[stage->receiving].size;
    return more <= size - stage->got
               ? 0
               : err_set(err, ERR_LIMIT, "a program for more than its %llu bytes",
                         (unsigned long long)size);
}

static int on_bytes(void *context, const void *data, size_t len, struct err *err)
{
    struct stage *stage = context;
    int rc = grows_to(stage, len, err);
    return rc < 0 ? rc : put(stage, data, len, err);
}

static int note_copy(struct stage *stage, uint64_t index, uint64_t count, struct err *err)
{
    if (stage->ncopies >= STAGE_COPIES_MAX)
        return err_set(err, ERR_LIMIT, "more than %d steps", STAGE_COPIES_MAX);
    if (stage->ncopies == stage->copies_cap) {
        size_t cap = stage->copies_cap > 0 ? 2 * stage->copies_cap : COPIES_BEGIN;
        struct stage_copy *more = realloc(stage->copies, cap * sizeof *more);
        if (more == NULL)
            return err_set(err, ERR_MEMORY, "no memory for a program");
        stage->copies = more;
        stage->copies_cap = cap;
    }
    stage->copies[stage->ncopies++] =
        (struct stage_copy){ stage->receiving, stage->got, index, count };
    return 0;
}

static int on_copy(void *context, uint64_t index, uint64_t count, struct err *err)
{
    struct stage *stage = context;
    uint64_t len = 0;
    int rc = bases_length(bases_of(stage->bases, stage->receiving), index, count, &len, err);
    if (rc == 0)
        rc = grows_to(stage, len, err);
    if (rc == 0)
        rc = note_copy(stage, index, count, err);
    stage->got += rc == 0 ? len : 0;
    return rc;
}

static int read_program(void *context, const void *data, size_t len, struct err *err)
{
    static const struct delta_sink sink = { on_bytes, on_copy };
    struct stage *stage = context;
    return delta_read(&stage->reader, data, len, &sink, stage, err);
}

/* --- both ------------------------------------------------------------------------------------- */

static int begin_content(struct stage *stage, uint32_t index, bool program, struct err *err)
{
    const struct manifest_entry *entry = &stage->manifest.entries[index];
    if (program && (stage->bases_busy || bases_of(stage->bases, index) == NULL))
        return err_set(err, ERR_PROTOCOL, "a program for what has no base now");
    space_use(stage, entry->size);
    stage->file = tree_create(&stage->tree, entry->path, entry->size, err);
    if (stage->file < 0) {
        stage->file = -1;
        return err->code;
    }
    stage->receiving = index;
    stage->program = program;
    stage->reader = (struct delta_reader){ 0 };
    stage->got = 0;
    digest_begin(stage->digest);
    return 0;
}

static int end_content(struct stage *stage, bool ended, struct err *err)
{
    struct manifest_entry *entry = &stage->manifest.entries[stage->receiving];
    if (!ended || stage->got != entry->size || (stage->program && !delta_ended(&stage->reader)))
        return err_set(err, ERR_CORRUPT, "%llu of %llu bytes came", (unsigned long long)stage->got,
                       (unsigned long long)entry->size);
    int rc = stage->program ? 0 : finish_whole(stage, entry, err);
    if (rc < 0)
        return rc;
    if (close(take_fd(&stage->file)) < 0)
        return err_sys(err, errno, "closing");
    stage->content[stage->receiving] = stage->program ? STAGE_COMING : STAGE_HERE;
    stage->nreceived++;
    return 0;
}

/* One content after another, each once. */
static bool expected(const struct stage *stage, uint32_t index, bool program)
{
    if (stage->file >= 0)
        return index == stage->receiving && program == stage->program;
    return index < stage->manifest.count && stage->leader[index] == index &&
           stage->content[index] == STAGE_MISSING;
}

static int begin_alone(struct stage *stage, uint32_t index, bool program, struct err *err)
{
    uint64_t size = stage->manifest.entries[index].size;
    unsqueeze_begin(stage->unsqueeze, program ? 2 * size + PROGRAM_SLACK : size);
    return begin_content(stage, index, program, err);
}

/* --- joined -------------------------------------------------------------------------------------
 */

static int begin_joined(struct stage *stage, struct err *err)
{
    stage->nhead = 0;
    if (!expected(stage, stage->head, false))
        return err_set(err, ERR_PROTOCOL, "content %u was not asked for now",
                       (unsigned)stage->head);
    return begin_content(stage, stage->head, false, err);
}

/* A piece of the stream: entry, content, entry, content... */
static int read_joined(void *context, const void *data, size_t len, struct err *err)
{
    struct stage *stage = context;
    const unsigned char *at = data, *end = at + len;
    int rc = 0;
    while (rc == 0 && at < end) {
        if (stage->file < 0) {
            stage->head = stage->head << 8 | *at++;
            rc = ++stage->nhead < HEAD_BYTES ? 0 : begin_joined(stage, err);
        }
        if (rc < 0 || stage->file < 0)
            continue;
        uint64_t left = stage->manifest.entries[stage->receiving].size - stage->got;
        size_t n = left < (uint64_t)(end - at) ? (size_t)left : (size_t)(end - at);
        rc = n > 0 ? write_piece(stage, at, n, err) : 0;
        at += n;
        if (rc == 0 && left == n)
            rc = end_content(stage, true, err);
    }
    return rc;
}

static int receive_joined(struct stage *stage, const char *data, size_t len, bool last,
                          struct err *err)
{
    bool ended = false;
    if (!stage->joined && stage->file >= 0)
        return err_set(err, ERR_PROTOCOL, "joined contents in the middle of another");
    if (!stage->joined) {
        unsqueeze_begin(stage->unsqueeze, stage->missing_bytes + HEAD_BYTES * stage->nmissing);
        stage->joined = true;
        stage->head = stage->nhead = 0;
    }
    int rc = unsqueeze_add(stage->unsqueeze, data, len, read_joined, stage, &ended, err);
    if (rc == 0 && last && (!ended || stage->file >= 0 || stage->nhead > 0))
        rc = err_set(err, ERR_CORRUPT, "joined contents end too early");
    stage->joined = !last;
    return rc;
}

static int receive(struct stage *stage, const char *payload, size_t len, struct err *err)
{
    const unsigned char *h = (const unsigned char *)payload;
    if (len < PROTO_DATA_HEADER)
        return err_set(err, ERR_PROTOCOL, "a data frame of %zu bytes", len);
    uint32_t index = (uint32_t)h[0] << 24 | (uint32_t)h[1] << 16 | (uint32_t)h[2] << 8 | h[3];
    bool last = (h[4] & PROTO_LAST) != 0, program = (h[4] & PROTO_PROGRAM) != 0, ended = false;
    if ((h[4] & PROTO_JOINED) != 0)
        return receive_joined(stage, payload + PROTO_DATA_HEADER, len - PROTO_DATA_HEADER, last,
                              err);
    if (stage->joined || !expected(stage, index, program))
        return err_set(err, ERR_PROTOCOL, "content %u was not asked for now", (unsigned)index);
    int rc = stage->file < 0 ? begin_alone(stage, index, program, err) : 0;
    if (rc == 0)
        rc = unsqueeze_add(stage->unsqueeze, payload + PROTO_DATA_HEADER, len - PROTO_DATA_HEADER,
                           program ? read_program : write_piece, stage, &ended, err);
    if (rc == 0 && last)
        rc = end_content(stage, ended, err);
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
