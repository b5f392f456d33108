/* verdict_sim.h - rollouts made of chance: a canary and a rest whose requests fail with given
 * probabilities, looked at after every window.  For the unit test and for tests/bench/verdict.
 */
#ifndef TESTS_VERDICT_SIM_H
#define TESTS_VERDICT_SIM_H

#include <stdint.h>
#include <stdlib.h>

#include "deployctl/plan/verdict.h"

struct sim {
    double canary, rest; /* chance of a request to fail */
    double share;        /* of the requests, the canary's */
    int64_t requests;    /* of the canary, in all */
    int64_t window;      /* of the canary, between two looks */
    /* From this request of the canary on, for as many more, both sides fail with `outage`. */
    int64_t outage_from, outage_for;
    double outage;
    int64_t repeat; /* every failed request is tried again so often, and fails again */
    struct verdict_rules rules;
    int runs;
};
struct sim_result {
    int bad, good;         /* runs: ever bad; good at the end */
    int ever_good;         /* good at any look */
    int64_t median_to_bad; /* requests of the canary until then; 0 = none was bad */
};

static inline double sim_chance(uint64_t *seed) /* xorshift64* */
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return (double)((*seed * 2685821657736338717ULL) >> 11) / 9007199254740992.0;
}

static inline int64_t sim_hits(int64_t requests, double chance, uint64_t *seed)
{
    int64_t hits = 0;
    for (int64_t i = 0; i < requests; i++)
        hits += sim_chance(seed) < chance;
    return hits;
}

/* `requests` of one side, and the failed ones once more for each time they are repeated. */
static inline void sim_side(struct verdict_counts *side, int64_t requests, double chance,
                            int64_t repeat, uint64_t *seed)
{
    int64_t hits = sim_hits(requests, chance, seed);
    side->requests[0] = requests + hits * repeat;
    side->hits[0] = hits + hits * repeat;
}

static inline int sim_less(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* One rollout; requests of the canary until it was bad, or 0. */
static inline int64_t sim_once(const struct sim *sim, uint64_t *seed, struct sim_result *result)
{
    struct verdict verdict;
    bool ever = false;
    double each = sim->share < 1 ? (1 - sim->share) / sim->share : 0;
    verdict_begin(&verdict, &sim->rules);
    for (int64_t done = 0; done < sim->requests; done += sim->window) {
        bool out = done >= sim->outage_from && done < sim->outage_from + sim->outage_for;
        struct verdict_counts canary = { 0 }, rest = { 0 };
        int64_t others = (int64_t)((double)sim->window * each + sim_chance(seed));
        sim_side(&canary, sim->window, out ? sim->outage : sim->canary, sim->repeat, seed);
        sim_side(&rest, others, out ? sim->outage : sim->rest, sim->repeat, seed);
        verdict_take(&verdict, &canary, &rest);
        enum verdict_kind kind = verdict_now(&verdict);
        ever = ever || kind == VERDICT_GOOD;
        if (kind == VERDICT_BAD) {
            result->bad++;
            result->ever_good += ever;
            return done + sim->window;
        }
    }
    result->good += verdict_now(&verdict) == VERDICT_GOOD;
    result->ever_good += ever;
    return 0;
}

static inline struct sim_result sim_run(const struct sim *sim, uint64_t seed)
{
    struct sim_result result = { 0 };
    int64_t *times = calloc((size_t)sim->runs, sizeof *times);
    size_t count = 0;
    for (int i = 0; times && i < sim->runs; i++) {
        int64_t at = sim_once(sim, &seed, &result);
        if (at > 0)
            times[count++] = at;
    }
    if (count > 0) {
        qsort(times, count, sizeof *times, sim_less);
        result.median_to_bad = times[count / 2];
    }
    free(times);
    return result;
}

#endif
