/* manifest_diff.c - the contract is in manifest_diff.h. */
#include "deployctl/plan/manifest_diff.h"

#include <string.h>

bool manifest_diff_same(const struct manifest_entry *a, const struct manifest_entry *b)
{
    bool brief = a->short_digest || b->short_digest;
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case MANIFEST_FILE:
        return a->mode == b->mode && a->size == b->size &&
               memcmp(a->digest, b->digest,
                      brief ? MANIFEST_PREFIX_DIGITS / 2 : MANIFEST_DIGEST_BYTES) == 0;
    case MANIFEST_FOLDER:
        return a->mode == b->mode;
    case MANIFEST_LINK:
        break;
    }
    return strcmp(a->target, b->target) == 0;
}

void manifest_diff(const struct manifest *from, const struct manifest *to,
                   void (*fn)(void *context, const struct manifest_entry *from,
                              const struct manifest_entry *to),
                   void *context)
{
    size_t i = 0, k = 0;
    while (i < from->count || k < to->count) {
        const struct manifest_entry *a = i < from->count ? &from->entries[i] : NULL;
        const struct manifest_entry *b = k < to->count ? &to->entries[k] : NULL;
        int order = !a ? 1 : !b ? -1 : strcmp(a->path, b->path);
        i += order <= 0;
        k += order >= 0;
        if (order < 0)
            fn(context, a, NULL);
        else if (order > 0)
            fn(context, NULL, b);
        else if (!manifest_diff_same(a, b))
            fn(context, a, b);
    }
}
