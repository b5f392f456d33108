/* pack.h - contents, compressed once and kept for every host that wants them.
 *
 * Small ones stay in memory up to PACK_MEMORY_MAX together; the others are appended to one
 * unlinked temporary file.  pack_make, _begin, _put, _file and _end run on any thread; everything
 * else belongs to the loop's.
 */
#ifndef DEPLOYCTL_FLEET_PACK_H
#define DEPLOYCTL_FLEET_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/plan/manifest.h"

enum { PACK_MEMORY_MAX = 64 * 1024 * 1024, PACK_SMALL_MAX = 1024 * 1024 };

struct digest; /* wire/digest.h */
struct pack;
struct pack_writer;
struct pack_item {
    char *data;      /* owned, in memory; NULL = in the file */
    uint64_t offset; /* in the file */
    uint64_t len;
};

struct pack *pack_new(struct err *err);
void pack_free(struct pack *pack);
/* Compresses the file `path` below dirfd and compares it with what was read before: another size
 * or digest is ERR_STATE ("changed while..."). */
int pack_make(struct pack *pack, int dirfd, const struct manifest_entry *entry,
              struct pack_item *ret, struct err *err);
/* The same of any bytes; `name` is for messages and must outlive the writer. */
struct pack_writer *pack_begin(struct pack *pack, const char *name, struct err *err);
int pack_put(struct pack_writer *writer, const void *data, size_t len, struct err *err);
int pack_end(struct pack_writer *writer, struct pack_item *ret, struct err *err);
/* A file below dirfd, whole; another size or digest than the entry's is ERR_STATE. */
int pack_file(struct pack_writer *writer, int dirfd, const struct manifest_entry *entry,
              struct digest *digest, struct err *err);
void pack_drop(struct pack_writer *writer); /* always, also after pack_end; NULL is fine */
void pack_item_done(struct pack_item *item);
int pack_read(const struct pack *pack, const struct pack_item *item, uint64_t offset, void *data,
              size_t max, size_t *ret_len, struct err *err);

#endif
