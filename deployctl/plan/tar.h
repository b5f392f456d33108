/* tar.h - tar archives, read as they arrive, strictly: ustar, pax and GNU's long names.
 *
 * Pure: bytes in, entries out; nothing is opened or made.  What a release cannot hold (devices,
 * FIFOs, sparse files), a header with a wrong checksum, an archive that ends in the middle, and
 * whatever this does not know is an error with the name of the entry, not skipped.  Owner, times
 * and extended attributes are not looked at: they are not part of a release.
 */
#ifndef DEPLOYCTL_PLAN_TAR_H
#define DEPLOYCTL_PLAN_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    TAR_BLOCK = 512,
    TAR_NAME_MAX = 4095,
    TAR_EXTRA_MAX = 256 * 1024, /* one pax header */
};

enum tar_kind { TAR_FILE, TAR_FOLDER, TAR_LINK, TAR_HARD_LINK };
struct tar_entry {
    enum tar_kind kind;
    const char *path;   /* relative, plain: no "./", no ".."; never empty */
    const char *target; /* as written; of a hard link a plain path as well */
    uint64_t size;      /* of a file */
    uint32_t mode;      /* 07777 */
};
/* A negative result ends the reading and is returned by tar_add(). */
struct tar_events {
    int (*entry)(void *context, const struct tar_entry *entry, struct err *err);
    int (*data)(void *context, const void *data, size_t len, struct err *err); /* of a file */
    int (*end)(void *context, struct err *err); /* of a file, also of an empty one */
};

struct tar {
    const struct tar_events *events;
    void *context;
    unsigned char block[TAR_BLOCK];
    size_t have;             /* of block */
    uint64_t left;           /* of the body that is being read */
    size_t padding;          /* behind it */
    char kind;               /* of that body: 'x', 'g', 'L', 'K', or '0' */
    struct buf extra;        /* such a body */
    struct buf path, target; /* for the next entry, from pax or GNU; empty = as in its header */
    uint64_t size;           /* likewise, with has_size */
    bool has_size, finished; /* finished: the end mark was seen */
    struct buf name, link;   /* of the present entry, plain */
};

void tar_init(struct tar *tar, const struct tar_events *events, void *context);
void tar_done(struct tar *tar);
/* Feeds a piece of any length.  ERR_CORRUPT, ERR_INVALID, ERR_LIMIT. */
int tar_add(struct tar *tar, const void *data, size_t len, struct err *err);
/* No more comes: ERR_CORRUPT when that is too early. */
int tar_finish(const struct tar *tar, struct err *err);

#endif
