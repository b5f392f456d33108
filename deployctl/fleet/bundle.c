/* bundle.c - the contract is in bundle.h. */
#include "deployctl/fleet/bundle.h"

#include <stdlib.h>
#include <string.h>

#include "deployctl/wire/digest.h"

struct bundle *bundle_new(const struct manifest *manifest, const size_t *entries, size_t count)
{
    struct bundle *bundle = malloc(sizeof *bundle + count * sizeof *entries);
    if (!bundle)
        return NULL;
    bundle->count = count;
    bundle->bytes = 0;
    memcpy(bundle->entries, entries, count * sizeof *entries);
    for (size_t i = 0; i < count; i++)
        bundle->bytes += manifest->entries[entries[i]].size;
    return bundle;
}

bool bundle_is(const struct bundle *bundle, const size_t *entries, size_t count)
{
    return bundle->count == count && memcmp(bundle->entries, entries, count * sizeof *entries) == 0;
}

static int put_all(const struct bundle *bundle, struct pack_writer *writer, int dirfd,
                   const struct manifest *manifest, struct digest *digest, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < bundle->count; i++) {
        size_t entry = bundle->entries[i];
        unsigned char head[4];
        for (int k = 0; k < 4; k++)
            head[k] = (unsigned char)(entry >> (24 - 8 * k));
        rc = pack_put(writer, head, sizeof head, err);
        if (rc == 0)
            rc = pack_file(writer, dirfd, &manifest->entries[entry], digest, err);
    }
    return rc;
}

int bundle_make(const struct bundle *bundle, struct pack *pack, int dirfd,
                const struct manifest *manifest, struct pack_item *ret, struct err *err)
{
    *ret = (struct pack_item){ 0 };
    struct digest *digest = digest_new(err);
    struct pack_writer *writer = digest ? pack_begin(pack, "the small files", err) : NULL;
    int rc = writer ? put_all(bundle, writer, dirfd, manifest, digest, err) : ERR_MEMORY;
    if (rc == 0)
        rc = pack_end(writer, ret, err);
    pack_drop(writer);
    digest_free(digest);
    return rc;
}
