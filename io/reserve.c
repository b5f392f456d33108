/* reserve.c - the contract is in reserve.h.
 *
 * First fit over units; a search is linear, which does not matter on a machine without memory.
 */
#include "io/reserve.h"

#include <jansson.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

enum { UNIT = 32, UNITS = RESERVE_BYTES / UNIT };

static struct {
    alignas(UNIT) char bytes[UNITS][UNIT];
    uint16_t
        length[UNITS]; /* of the piece that begins here, in units; 0 = free, or inside of one */
} reserve;

bool reserve_holds(const void *at)
{
    const char *byte = at;
    return byte >= reserve.bytes[0] && byte < reserve.bytes[0] + sizeof(reserve.bytes);
}

static void *take_units(size_t need)
{
    size_t gap = 0;

    for (size_t i = 0; i < UNITS;) {
        if (reserve.length[i] > 0) {
            gap = 0;
            i += reserve.length[i];
            continue;
        }
        gap++;
        i++;
        if (gap == need) {
            reserve.length[i - need] = (uint16_t)need;
            return reserve.bytes[i - need];
        }
    }
    return NULL;
}

void *reserve_take(size_t size)
{
    void *at = malloc(size);

    if (at || size > RESERVE_BYTES)
        return at;
    return take_units(size > 0 ? (size + UNIT - 1) / UNIT : 1);
}

void reserve_give(void *at)
{
    if (reserve_holds(at))
        reserve.length[(size_t)((char *)at - reserve.bytes[0]) / UNIT] = 0;
    else
        free(at);
}

void reserve_for_json(void) { json_set_alloc_funcs(reserve_take, reserve_give); }
