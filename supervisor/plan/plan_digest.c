/* plan_digest.c - the contract is in plan.h. */
#include <string.h>

#include "supervisor/plan/options.h"
#include "supervisor/plan/plan.h"
#include "supervisor/plan/plan_value.h"

enum { DIGEST_BITS = 48 };

/* FNV-1a: tells settings apart, protects nothing. */
static const uint64_t start = 0xcbf29ce484222325ULL;

static void add_bytes(uint64_t *digest, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < len; i++)
        *digest = (*digest ^ at[i]) * 0x100000001b3ULL;
}

/* By its key, so that a row more of a later version changes nothing where it is not used. */
static bool add_row(uint64_t *digest, const struct plan *plan, const struct spec_service *service,
                    size_t row, bool tunes)
{
    const char *key = options_service.rows[row].key;
    uint64_t fixed;

    if (!plan_value_fixed(plan, service, row, tunes, &fixed))
        return false;
    if (fixed == 0)
        return true;
    add_bytes(digest, key, strlen(key) + 1);
    add_bytes(digest, &fixed, sizeof(fixed));
    return true;
}

uint64_t plan_digest(const struct plan *plan, const struct spec_service *service, bool tunes)
{
    const uint64_t low = (1ULL << DIGEST_BITS) - 1;
    uint64_t version = start, digest = start;

    add_bytes(&version, VERSION, sizeof(VERSION));
    for (size_t i = 0; i < options_service.count; i++)
        if (!add_row(&digest, plan, service, i, tunes))
            return 0;
    return (version << DIGEST_BITS) | ((digest ^ (digest >> DIGEST_BITS)) & low);
}

bool plan_digest_differs(uint64_t runs_with, uint64_t planned)
{
    return runs_with != planned && runs_with >> DIGEST_BITS == planned >> DIGEST_BITS;
}
