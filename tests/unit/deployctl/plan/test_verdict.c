/* test_verdict.c - the promises of the verdict: exactly where they can be enumerated, and by chance
 * with fixed seeds where they cannot.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>

#include "deployctl/plan/verdict.h"
#include "tests/unit/deployctl/plan/verdict_sim.h"

static const struct verdict_rules usual = { .false_abort = 0.01, .most = { 0.03, 0.05 } };

static void look(struct verdict *verdict, int64_t canary, int64_t canary_hits, int64_t rest,
                 int64_t rest_hits)
{
    verdict_take(verdict, &(struct verdict_counts){ { canary }, { canary_hits } },
                 &(struct verdict_counts){ { rest }, { rest_hits } });
}

static double choose(double n, double k)
{
    return exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1));
}

/* The mean of the likelihood ratio over all ways in which k hits can fall, when the odds on the
 * canary are `odds` times those on the rest: 1 when they are alike, less when it is better. */
static double mean_ratio(int64_t canary, int64_t rest, int64_t k, size_t ratio, double odds)
{
    double sum = 0, weights = 0;
    for (int64_t x = k > rest ? k - rest : 0; x <= k && x <= canary; x++) {
        struct verdict verdict;
        double weight = choose((double)canary, (double)x) * choose((double)rest, (double)(k - x)) *
                        pow(odds, (double)x);
        verdict_begin(&verdict, &usual);
        look(&verdict, canary, x, rest, k - x);
        sum += weight * exp(verdict.tests[0].worse[ratio]);
        weights += weight;
    }
    return sum / weights;
}

static void one_that_is_no_worse_gathers_no_evidence_on_average(void **unused)
{
    (void)unused;
    for (int64_t canary = 1; canary <= 12; canary++)
        for (int64_t rest = 1; rest <= 25; rest += 3)
            for (int64_t k = 0; k <= canary + rest; k++)
                for (size_t ratio = 0; ratio < VERDICT_RATIOS; ratio++) {
                    assert_true(fabs(mean_ratio(canary, rest, k, ratio, 1) - 1) < 1e-9);
                    assert_true(mean_ratio(canary, rest, k, ratio, 0.5) <= 1 + 1e-9);
                }
}

static void a_window_of_any_size_is_weighed(void **unused)
{
    (void)unused;
    struct verdict verdict;
    struct verdict_numbers numbers;
    const int64_t many = 1000000000000;
    verdict_begin(&verdict, &usual);
    look(&verdict, many / 10, many / 1000, many, many / 100);
    verdict_numbers(&verdict, VERDICT_FAILED, &numbers);
    assert_true(isfinite(verdict.tests[0].worse[0]) && numbers.evidence < 1);
    look(&verdict, many, many, many, 0);
    assert_int_equal(verdict_now(&verdict), VERDICT_BAD);
}

/* --- by chance -------------------------------------------------------------------------------- */

static const struct sim chance = {
    .canary = 0.005, .rest = 0.005, .share = 0.1, .requests = 300, .window = 10, .runs = 800
};

/* What `runs` with probability p give at most, but for one time in ten thousand. */
static int at_most(int runs, double p) { return (int)(runs * p + 4 * sqrt(runs * p * (1 - p))); }

static void false_alarms_keep_to_their_bound(void **unused)
{
    (void)unused;
    static const double rates[] = { 0.005, 0.05, 0.5 }, shares[] = { 0.1, 0.5 };
    for (size_t r = 0; r < 3; r++)
        for (size_t s = 0; s < 2; s++) {
            struct sim sim = chance;
            sim.rules = usual;
            sim.rules.most[0] = 0.001; /* nothing is tolerated */
            sim.canary = sim.rest = rates[r];
            sim.share = shares[s];
            assert_true(sim_run(&sim, 11 + r).bad <= at_most(sim.runs, 0.01));
        }
}

static void an_outage_of_both_sides_is_nobodys_fault(void **unused)
{
    (void)unused;
    struct sim sim = chance;
    sim.rules = usual;
    sim.outage_from = 100;
    sim.outage_for = 60;
    sim.outage = 0.9;
    struct sim_result result = sim_run(&sim, 5);
    assert_true(result.bad <= at_most(sim.runs, 0.01));
    assert_int_equal(result.good, 0); /* nor is it good */
}

static void a_bad_canary_is_found(void **unused)
{
    (void)unused;
    struct sim sim = chance;
    sim.rules = usual;
    sim.canary = 0.1;
    struct sim_result result = sim_run(&sim, 3);
    assert_true(result.bad >= sim.runs * 99 / 100);
    assert_true(result.median_to_bad <= 40);
    sim.share = 1.0 / 3;
    result = sim_run(&sim, 3);
    assert_true(result.bad >= sim.runs * 97 / 100);
    assert_true(result.median_to_bad <= 80);
    sim.canary = 0.5;
    assert_true(sim_run(&sim, 3).median_to_bad <= 20);
}

static void a_good_canary_passes_and_one_at_the_limit_does_not(void **unused)
{
    (void)unused;
    struct sim sim = chance;
    sim.rules = usual;
    sim.requests = 600;
    assert_true(sim_run(&sim, 7).good >= sim.runs * 85 / 100);
    sim.canary = sim.rest = 0.03;
    sim.runs = 400;
    assert_true(sim_run(&sim, 7).ever_good <= at_most(sim.runs, VERDICT_ESCAPE));
}

static void alone_it_is_held_against_the_limit(void **unused)
{
    (void)unused;
    struct sim sim = chance;
    sim.rules = usual;
    sim.rules.alone = true;
    sim.share = 1;
    sim.canary = 0.03; /* the worst that is allowed */
    assert_true(sim_run(&sim, 9).bad <= at_most(sim.runs, 0.01));
    sim.canary = 0.2;
    struct sim_result result = sim_run(&sim, 9);
    assert_true(result.bad >= sim.runs * 99 / 100 && result.median_to_bad <= 60);
}

/* --- situations ------------------------------------------------------------------------------- */

static void nothing_is_no_verdict(void **unused)
{
    (void)unused;
    struct verdict verdict;
    char text[VERDICT_TEXT_MAX];
    int64_t needs = verdict_needs(&usual, VERDICT_FAILED);
    verdict_begin(&verdict, &usual);
    assert_int_equal(verdict_now(&verdict), VERDICT_OPEN);
    assert_true(needs > 100 && needs < 150);
    look(&verdict, needs - 1, 0, 1000, 900);
    assert_int_equal(verdict_now(&verdict), VERDICT_OPEN);
    assert_non_null(strstr(verdict_text(&verdict, text), "1 more without one would be needed"));
    look(&verdict, 1, 0, 0, 0);
    assert_int_equal(verdict_now(&verdict), VERDICT_GOOD);
    assert_non_null(strstr(verdict_text(&verdict, text), "with 95 % confidence"));
}

static void two_errors_are_never_a_verdict(void **unused)
{
    (void)unused;
    struct verdict verdict;
    verdict_begin(&verdict, &usual);
    look(&verdict, 2, 2, 100000, 0);
    assert_int_equal(verdict_now(&verdict), VERDICT_OPEN);
    look(&verdict, 1, 1, 50000, 0);
    assert_int_equal(verdict_now(&verdict), VERDICT_BAD);
}

static void what_is_surely_under_the_limit_is_tolerated(void **unused)
{
    (void)unused;
    struct verdict verdict;
    struct verdict_numbers numbers;
    char text[VERDICT_TEXT_MAX];
    verdict_begin(&verdict, &usual);
    for (int i = 0; i < 20; i++)
        look(&verdict, 200, 1, 2000, 0);
    verdict_numbers(&verdict, VERDICT_FAILED, &numbers);
    assert_true(numbers.evidence >= numbers.limit);
    assert_int_equal(verdict_now(&verdict), VERDICT_GOOD);
    assert_non_null(strstr(verdict_text(&verdict, text), "tolerated to be worse than the rest"));
}

static void bad_stays_bad(void **unused)
{
    (void)unused;
    struct verdict verdict;
    char text[VERDICT_TEXT_MAX], line[VERDICT_LINE_MAX];
    verdict_begin(&verdict, &usual);
    look(&verdict, 100, 20, 1000, 5);
    assert_string_equal(verdict_line(&verdict, line), "canary 20/100 errors vs rest 5/1000");
    look(&verdict, 100000, 0, 1000, 1000);
    assert_int_equal(verdict_now(&verdict), VERDICT_BAD);
    assert_non_null(strstr(verdict_text(&verdict, text), "20 of 100100 requests"));
    assert_non_null(strstr(text, "1005 of 2000 (50.2 %) on the rest"));
}

static void an_idle_rest_leaves_it_alone(void **unused)
{
    (void)unused;
    struct verdict verdict;
    struct verdict_numbers numbers;
    verdict_begin(&verdict, &usual);
    look(&verdict, VERDICT_IDLE_MIN - 1, VERDICT_IDLE_MIN - 1, 0, 0);
    assert_int_equal(verdict_now(&verdict), VERDICT_OPEN);
    look(&verdict, 1, 1, 0, 0);
    assert_int_equal(verdict_now(&verdict), VERDICT_BAD);
    verdict_numbers(&verdict, VERDICT_FAILED, &numbers);
    assert_true(numbers.alone && numbers.evidence >= numbers.limit);
    assert_true(fabs(numbers.limit - 1000) < 1e-6); /* a tenth of the bound */
}

/* Requests of one side that were answered long before the other had any are not compared. */
static void a_window_does_not_wait_for_ever(void **unused)
{
    (void)unused;
    struct verdict verdict;
    verdict_begin(&verdict, &usual);
    for (int i = 0; i < VERDICT_ROUNDS_MAX; i++)
        look(&verdict, 3, 3, 0, 0);
    assert_int_equal(verdict.tests[0].open.canary, 0);
    look(&verdict, 3, 0, 3, 0);
    assert_true(verdict.tests[0].worse[0] == 0);
    look(&verdict, 3, 3, 0, 0);
    look(&verdict, 0, 0, 30, 0);
    assert_true(verdict.tests[0].worse[0] > 1);
}

static void latency_is_a_second_subject(void **unused)
{
    (void)unused;
    struct verdict_rules rules = usual;
    struct verdict verdict;
    struct verdict_numbers numbers;
    char text[VERDICT_TEXT_MAX], line[VERDICT_LINE_MAX];
    rules.latency = true;
    verdict_begin(&verdict, &rules);
    const struct verdict_counts clean = { { 500, 500 }, { 0, 0 } };
    verdict_take(&verdict, &(struct verdict_counts){ { 500, 0 }, { 0, 0 } }, &clean);
    assert_int_equal(verdict_now(&verdict), VERDICT_OPEN); /* no time is known */
    verdict_take(&verdict, &clean, &clean);
    assert_int_equal(verdict_now(&verdict), VERDICT_GOOD);
    verdict_take(&verdict, &(struct verdict_counts){ { 100, 100 }, { 0, 60 } }, &clean);
    assert_int_equal(verdict_now(&verdict), VERDICT_BAD);
    assert_int_equal(verdict.subject, VERDICT_SLOW);
    verdict_numbers(&verdict, VERDICT_SLOW, &numbers);
    assert_true(fabs(numbers.limit - 2 / (0.01 * 0.9)) < 1e-6);
    assert_non_null(strstr(verdict_text(&verdict, text), "60 of 600 requests (10 %) were slow"));
    assert_string_equal(verdict_line(&verdict, line), "canary 0/1100 errors vs rest 0/1500; "
                                                      "canary 60/600 slow vs rest 0/1500");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_no_worse_gathers_no_evidence_on_average),
        cmocka_unit_test(a_window_of_any_size_is_weighed),
        cmocka_unit_test(false_alarms_keep_to_their_bound),
        cmocka_unit_test(an_outage_of_both_sides_is_nobodys_fault),
        cmocka_unit_test(a_bad_canary_is_found),
        cmocka_unit_test(a_good_canary_passes_and_one_at_the_limit_does_not),
        cmocka_unit_test(alone_it_is_held_against_the_limit),
        cmocka_unit_test(nothing_is_no_verdict),
        cmocka_unit_test(two_errors_are_never_a_verdict),
        cmocka_unit_test(what_is_surely_under_the_limit_is_tolerated),
        cmocka_unit_test(bad_stays_bad),
        cmocka_unit_test(an_idle_rest_leaves_it_alone),
        cmocka_unit_test(a_window_does_not_wait_for_ever),
        cmocka_unit_test(latency_is_a_second_subject),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
