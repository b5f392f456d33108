/* chunker.c - the contract is in chunker.h. */
#include "deployctl/plan/chunker.h"

#include <string.h>

enum { NORMAL_BITS = 2, HASH_BITS = 64, SUM_COST = 6 };

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The highest bits: those have seen all of the window. */
static uint64_t mask_of(unsigned bits) { return ~(uint64_t)0 << (HASH_BITS - bits); }

void chunker_init(struct chunker *chunker, uint64_t average)
{
    uint64_t seed = 0x6465706c6f79;
    unsigned bits = 0;
    for (size_t i = 0; i < 256; i++)
        chunker->gear[i] = next_random(&seed);
    while ((uint64_t)2 << bits <= average)
        bits++;
    chunker->average = average;
    chunker->strict = mask_of(bits + NORMAL_BITS);
    chunker->easy = mask_of(bits - NORMAL_BITS);
    chunker_restart(chunker);
}

void chunker_restart(struct chunker *chunker) { chunker->hash = chunker->at = 0; }

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

size_t chunker_feed(struct chunker *chunker, const unsigned char *data, size_t len, bool *ret_cut)
{
    uint64_t shortest = chunker->average / CHUNKER_SPREAD,
             longest = chunker->average * CHUNKER_SPREAD, at = chunker->at, hash = chunker->hash;
    size_t i = 0;
    *ret_cut = false;
    if (at + CHUNKER_WINDOW < shortest) { /* what no cut depends on is not looked at */
        i = (size_t)least(shortest - CHUNKER_WINDOW - at, len);
        at += i;
    }
    for (; i < len && at < shortest; i++, at++)
        hash = (hash << 1) + chunker->gear[data[i]];
    while (i < len) {
        uint64_t mask = at < chunker->average ? chunker->strict : chunker->easy;
        uint64_t until = at < chunker->average ? chunker->average : longest;
        size_t end = i + (size_t)least(until - at, len - i), begin = i;
        while (i < end && !*ret_cut) {
            hash = (hash << 1) + chunker->gear[data[i++]];
            *ret_cut = (hash & mask) == 0;
        }
        at += i - begin;
        *ret_cut = *ret_cut || at >= longest;
        if (*ret_cut) {
            chunker_restart(chunker);
            return i;
        }
    }
    chunker->at = at;
    chunker->hash = hash;
    return len;
}

bool chunker_average_valid(uint64_t average)
{
    return average >= CHUNKER_AVERAGE_MIN && average <= CHUNKER_AVERAGE_MAX &&
           (average & (average - 1)) == 0;
}

static uint64_t power_of_two(uint64_t value, uint64_t lowest)
{
    uint64_t power = lowest;
    while (power < CHUNKER_AVERAGE_MAX && power <= value / 2)
        power *= 2;
    return power;
}

uint64_t chunker_coarse(uint64_t file_size)
{
    return power_of_two(file_size / CHUNKER_COARSE_PARTS, CHUNKER_COARSE_MIN);
}

static uint64_t root(uint64_t value)
{
    uint64_t low = 0, high = (uint64_t)1 << 32;
    while (low + 1 < high) {
        uint64_t middle = low + (high - low) / 2;
        *(middle <= value / middle ? &low : &high) = middle;
    }
    return low;
}

uint64_t chunker_fine(uint64_t unmatched, size_t regions, uint64_t file_size, bool related)
{
    uint64_t best = root(SUM_COST * (unmatched / (regions > 0 ? regions : 1)));
    uint64_t most = root(file_size) / (related ? 2 : 1); /* changes may be denser than it looks */
    return power_of_two(least(best, most), CHUNKER_AVERAGE_MIN);
}
