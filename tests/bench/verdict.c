/* verdict.c - measures what doc/verdict.md says of the verdict: simulated rollouts, many of each.
 *
 *     verdict [RUNS]        default 10000; Markdown on stdout
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/deployctl/plan/verdict_sim.h"

enum { RUNS = 10000, SEED = 2026 };

static const struct verdict_rules usual = { .false_abort = 0.01, .most = { 0.03, 0.05 } };

static double percent(int part, int whole) { return 100.0 * part / whole; }

static void false_alarms(int runs)
{
    static const struct {
        const char *what;
        double rate, outage;
        int64_t repeat;
    } rows[] = {
        { "0.5 % on both sides", 0.005, 0, 0 },
        { "5 % on both sides", 0.05, 0, 0 },
        { "50 % on both sides", 0.5, 0, 0 },
        { "0.5 %, and an outage of both (90 % for a tenth of the time)", 0.005, 0.9, 0 },
        { "0.5 %, each failed request repeated once", 0.005, 0, 1 },
        { "0.5 %, each failed request repeated three times", 0.005, 0, 3 },
    };
    static const double shares[] = { 0.1, 1.0 / 3, 0.5 };
    printf("| errors | canary has 10 %% of the requests | 33 %% | 50 %% |\n|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        printf("| %s |", rows[i].what);
        for (size_t k = 0; k < 3; k++) {
            struct sim sim = { .canary = rows[i].rate,
                               .rest = rows[i].rate,
                               .share = shares[k],
                               .requests = 1000,
                               .window = 10,
                               .outage = rows[i].outage,
                               .outage_from = 300,
                               .outage_for = rows[i].outage > 0 ? 100 : 0,
                               .repeat = rows[i].repeat,
                               .rules = usual,
                               .runs = runs };
            sim.rules.most[0] = 0.0005; /* nothing is tolerated: the bound itself */
            printf(" %.2f %% |", percent(sim_run(&sim, SEED + i).bad, runs));
        }
        printf("\n");
    }
}

static void power(int runs, double rest)
{
    static const double rates[] = { 0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5 };
    static const double shares[] = { 0.1, 1.0 / 3, 0.5 };
    static const int64_t lengths[] = { 300, 1000 };
    for (size_t l = 0; l < 2; l++) {
        printf("\n%lld requests on the canary, %.3g %% errors on the rest: stopped (median of the "
               "requests until then) / passed / inconclusive\n\n",
               (long long)lengths[l], 100 * rest);
        printf("| errors on the canary | canary has 10 %% of the requests | 33 %% | 50 %% |\n"
               "|---|---|---|---|\n");
        for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
            printf("| %.3g %% |", 100 * rates[i]);
            for (size_t k = 0; k < 3; k++) {
                struct sim sim = { .canary = rates[i],
                                   .rest = rest,
                                   .share = shares[k],
                                   .requests = lengths[l],
                                   .window = 10,
                                   .rules = usual,
                                   .runs = runs };
                struct sim_result result = sim_run(&sim, SEED + 10 * i + k);
                printf(" %.1f %% (%lld) / %.1f %% / %.1f %% |", percent(result.bad, runs),
                       (long long)result.median_to_bad, percent(result.good, runs),
                       percent(runs - result.bad - result.good, runs));
            }
            printf("\n");
        }
    }
}

static void alone(int runs)
{
    static const double rates[] = { 0.005, 0.01, 0.03, 0.05, 0.1, 0.5 };
    printf("\nWithout a rest, 1000 requests\n\n| errors on the canary | stopped (median) | passed "
           "|\n|---|---|---|\n");
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct sim sim = { .canary = rates[i],
                           .share = 1,
                           .requests = 1000,
                           .window = 10,
                           .rules = usual,
                           .runs = runs };
        sim.rules.alone = true;
        struct sim_result result = sim_run(&sim, SEED + i);
        printf("| %.3g %% | %.1f %% (%lld) | %.1f %% |\n", 100 * rates[i],
               percent(result.bad, runs), (long long)result.median_to_bad,
               percent(result.good, runs));
    }
}

int main(int argc, char **argv)
{
    int runs = argc > 1 ? (int)strtol(argv[1], NULL, 10) : RUNS;
    if (runs < 1)
        return 2;
    printf(
        "False alarms in 1000 requests on the canary, looked at after every 10 (bound: 1 %%)\n\n");
    false_alarms(runs);
    power(runs, 0.005);
    alone(runs);
    return 0;
}
