/* bundle.h - small contents, joined to one compressed stream for all hosts that lack the same.
 *
 * Before each content stands its entry (4 bytes, big-endian); how long it is says the manifest.
 */
#ifndef DEPLOYCTL_FLEET_BUNDLE_H
#define DEPLOYCTL_FLEET_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/fleet/pack.h"
#include "deployctl/plan/manifest.h"

enum {
    BUNDLE_BYTES = 4 * 1024 * 1024,   /* about so many are in one, so that sending begins early */
    BUNDLE_CONTENT_MAX = 1024 * 1024, /* larger ones travel alone */
    BUNDLE_COUNT_MAX = 65536,
};

struct bundle {
    uint64_t bytes; /* of its contents */
    size_t count;
    size_t entries[];
};
/* NULL without memory; free() it. */
struct bundle *bundle_new(const struct manifest *manifest, const size_t *entries, size_t count);
bool bundle_is(const struct bundle *bundle, const size_t *entries, size_t count);
/* On any thread; files that changed since they were read are ERR_STATE. */
int bundle_make(const struct bundle *bundle, struct pack *pack, int dirfd,
                const struct manifest *manifest, struct pack_item *ret, struct err *err);

#endif
