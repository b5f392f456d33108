/* verdict.c - the contract is in verdict.h. */
#include "deployctl/plan/verdict.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* How many times larger the odds of a hit are on the canary, if it is worse. */
static const double ratios[VERDICT_RATIOS] = { 2, 4, 8, 20 };

/* What a good canary's share of hits is supposed to be, as a part of the most that is allowed, and
 * how much weight each guess has. */
static const struct {
    double part, weight;
} guesses[] = { { 1.0 / 6, 0.75 }, { 1.0 / 2, 0.25 } };

/* Beside a rest that has no requests, the canary is judged alone with this part of the bound. */
static const double idle_part = 0.1;

/* --- one window ------------------------------------------------------------------------------- */

/* Of k hits among canary + rest requests, how many fall on the canary if all are alike: weights
 * h(x) of Fisher's hypergeometric distribution. */
struct urn {
    double canary, rest, k, lowest, highest;
};

static double log_choose(double n, double k)
{
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1);
}

static double log_weight(const struct urn *urn, double x)
{
    return log_choose(urn->canary, x) + log_choose(urn->rest, urn->k - x);
}

/* h(x + 1) / h(x), falling in x. */
static double step_up(const struct urn *urn, double x)
{
    return (urn->canary - x) * (urn->k - x) / ((x + 1) * (urn->rest - urn->k + x + 1));
}

static double mode(const struct urn *urn, double ratio)
{
    double low = urn->lowest, high = urn->highest;
    while (low < high) {
        double middle = floor((low + high) / 2);
        if (step_up(urn, middle) * ratio > 1)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* log of the sum of h(x) ratio^x.  Outwards from the largest term, so that a window with millions
 * of hits costs some thousand steps. */
static double log_sum(const struct urn *urn, double ratio)
{
    static const double nothing = 1e-17;
    double top = mode(urn, ratio), sum = 1, term = 1;
    for (double x = top; x < urn->highest && term > nothing; x++)
        sum += term *= step_up(urn, x) * ratio;
    term = 1;
    for (double x = top; x > urn->lowest && term > nothing; x--)
        sum += term /= step_up(urn, x - 1) * ratio;
    return log_weight(urn, top) + top * log(ratio) + log(sum);
}

static void compare(struct verdict_test *test)
{
    const struct verdict_window *w = &test->open;
    double k = (double)(w->canary_hits + w->rest_hits);
    struct urn urn = { .canary = (double)w->canary,
                       .rest = (double)w->rest,
                       .k = k,
                       .lowest = k > (double)w->rest ? k - (double)w->rest : 0,
                       .highest = k < (double)w->canary ? k : (double)w->canary };
    double alike = log_sum(&urn, 1);
    for (size_t i = 0; i < VERDICT_RATIOS; i++)
        test->worse[i] +=
            (double)w->canary_hits * log(ratios[i]) - (log_sum(&urn, ratios[i]) - alike);
}

static void add(struct verdict_window *window, const struct verdict_window *more)
{
    window->canary += more->canary;
    window->canary_hits += more->canary_hits;
    window->rest += more->rest;
    window->rest_hits += more->rest_hits;
}

static void take(struct verdict_test *test, const struct verdict_window *more)
{
    add(&test->total, more);
    add(&test->open, more);
    bool both = test->open.canary > 0 && test->open.rest > 0;
    if (both && test->open.canary_hits + test->open.rest_hits > 0)
        compare(test);
    if (!both && ++test->rounds < VERDICT_ROUNDS_MAX)
        return;
    /* What was answered long before the other side had anything to do tells nothing of it. */
    test->open = (struct verdict_window){ 0 };
    test->rounds = 0;
}

/* --- the tests -------------------------------------------------------------------------------- */

/* log of the mean of exp(values), weighted. */
static double log_mean(const double *values, const double *weights, size_t count)
{
    double top = values[0];
    for (size_t i = 1; i < count; i++)
        top = values[i] > top ? values[i] : top;
    double sum = weights[0] * exp(values[0] - top);
    for (size_t i = 1; i < count; i++)
        sum += weights[i] * exp(values[i] - top);
    return top + log(sum);
}

/* log of how much better `share` explains the canary's hits than `most` does. */
static double log_better(const struct verdict_window *total, double share, double most)
{
    double hits = (double)total->canary_hits, clean = (double)total->canary - hits;
    return hits * log(share / most) + clean * log((1 - share) / (1 - most));
}

static double log_evidence(const struct verdict_test *test, double most, bool alone)
{
    double values[VERDICT_RATIOS], weights[VERDICT_RATIOS];
    for (size_t i = 0; i < VERDICT_RATIOS; i++) {
        double odds = ratios[i] * most / (1 - most);
        weights[i] = 1.0 / VERDICT_RATIOS;
        values[i] = alone ? log_better(&test->total, odds / (1 + odds), most) : test->worse[i];
    }
    return log_mean(values, weights, VERDICT_RATIOS);
}

static double log_confidence(const struct verdict_window *total, double most)
{
    enum { N = sizeof guesses / sizeof guesses[0] };
    double values[N], weights[N];
    for (size_t i = 0; i < N; i++) {
        values[i] = log_better(total, guesses[i].part * most, most);
        weights[i] = guesses[i].weight;
    }
    return log_mean(values, weights, N);
}

static bool is_idle(const struct verdict_window *total)
{
    return total->rest == 0 && total->canary >= VERDICT_IDLE_MIN;
}

/* The bound is shared out, so that all that can go wrong together keeps to it. */
static double log_limit(const struct verdict_rules *rules, bool idle)
{
    double part = rules->alone ? 1 : idle ? idle_part : 1 - idle_part;
    return -log(rules->false_abort * part / (rules->latency ? 2 : 1));
}

/* Smallest number of further clean requests with which it passes. */
static int64_t missing(const struct verdict_window *total, double most)
{
    int64_t low = 0, high = 1;
    const double required = -log(VERDICT_ESCAPE);
    struct verdict_window window = *total;
    for (; high < INT32_MAX; high *= 2) {
        window.canary = total->canary + high;
        if (log_confidence(&window, most) >= required)
            break;
    }
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        window.canary = total->canary + middle;
        if (log_confidence(&window, most) >= required)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static size_t subjects(const struct verdict_rules *rules)
{
    return rules->latency ? VERDICT_NSUBJECTS : 1;
}

static bool is_bad(const struct verdict *verdict, enum verdict_subject subject)
{
    const struct verdict_test *test = &verdict->tests[subject];
    const struct verdict_rules *rules = &verdict->rules;
    bool idle = !rules->alone && is_idle(&test->total);
    return test->total.canary_hits >= VERDICT_ERRORS_MIN &&
           log_confidence(&test->total, rules->most[subject]) < -log(VERDICT_ESCAPE) &&
           log_evidence(test, rules->most[subject], rules->alone || idle) >= log_limit(rules, idle);
}

void verdict_begin(struct verdict *verdict, const struct verdict_rules *rules)
{
    *verdict = (struct verdict){ .rules = *rules };
}

void verdict_take(struct verdict *verdict, const struct verdict_counts *canary,
                  const struct verdict_counts *rest)
{
    for (size_t i = 0; i < subjects(&verdict->rules); i++) {
        const struct verdict_window more = { canary->requests[i], canary->hits[i],
                                             rest->requests[i], rest->hits[i] };
        take(&verdict->tests[i], &more);
        if (!verdict->bad && is_bad(verdict, (enum verdict_subject)i)) {
            verdict->bad = true;
            verdict->subject = (enum verdict_subject)i;
        }
    }
}

enum verdict_kind verdict_now(const struct verdict *verdict)
{
    if (verdict->bad)
        return VERDICT_BAD;
    for (size_t i = 0; i < subjects(&verdict->rules); i++)
        if (log_confidence(&verdict->tests[i].total, verdict->rules.most[i]) < -log(VERDICT_ESCAPE))
            return VERDICT_OPEN;
    return VERDICT_GOOD;
}

/* --- in numbers and words --------------------------------------------------------------------- */

/* Finite, so that it can be written anywhere. */
static double capped(double logarithm)
{
    static const double most = 690;
    return exp(logarithm < most ? logarithm : most);
}

void verdict_numbers(const struct verdict *verdict, enum verdict_subject subject,
                     struct verdict_numbers *ret)
{
    const struct verdict_test *test = &verdict->tests[subject];
    const struct verdict_rules *rules = &verdict->rules;
    double most = rules->most[subject];
    bool idle = !rules->alone && is_idle(&test->total);
    *ret = (struct verdict_numbers){
        .total = test->total,
        .evidence = capped(log_evidence(test, most, rules->alone || idle)),
        .limit = exp(log_limit(rules, idle)),
        .confidence = capped(log_confidence(&test->total, most)),
        .required = 1 / VERDICT_ESCAPE,
        .alone = rules->alone || idle,
        .most = most,
        .missing = missing(&test->total, most),
    };
}

int64_t verdict_needs(const struct verdict_rules *rules, enum verdict_subject subject)
{
    const struct verdict_window nothing = { 0 };
    return missing(&nothing, rules->most[subject]);
}

static const char *const lines[] = { [VERDICT_FAILED] = "errors", [VERDICT_SLOW] = "slow" };
static const char *const verbs[] = { [VERDICT_FAILED] = "failed", [VERDICT_SLOW] = "were slow" };
static const char *const keys[] = {
    [VERDICT_FAILED] = "max_error_ratio", [VERDICT_SLOW] = "max_slow_ratio"
};

const char *verdict_line(const struct verdict *verdict, char text[static VERDICT_LINE_MAX])
{
    size_t len = 0;
    for (size_t i = 0; i < subjects(&verdict->rules); i++) {
        const struct verdict_window *total = &verdict->tests[i].total;
        len += (size_t)snprintf(text + len, VERDICT_LINE_MAX - len, "%scanary %lld/%lld %s",
                                len ? "; " : "", (long long)total->canary_hits,
                                (long long)total->canary, lines[i]);
        if (!verdict->rules.alone && len < VERDICT_LINE_MAX)
            len += (size_t)snprintf(text + len, VERDICT_LINE_MAX - len, " vs rest %lld/%lld",
                                    (long long)total->rest_hits, (long long)total->rest);
        if (len >= VERDICT_LINE_MAX)
            break;
    }
    return text;
}

/* "12 of 118 requests (10.2 %) failed on the canary, 1 of 240 (0.417 %) on the rest". */
static size_t put_counts(const struct verdict *verdict, enum verdict_subject subject, char *text,
                         size_t size)
{
    const struct verdict_window *t = &verdict->tests[subject].total;
    double canary = t->canary ? 100.0 * (double)t->canary_hits / (double)t->canary : 0;
    double rest = t->rest ? 100.0 * (double)t->rest_hits / (double)t->rest : 0;
    size_t len =
        (size_t)snprintf(text, size, "%lld of %lld requests (%.3g %%) %s on the canary",
                         (long long)t->canary_hits, (long long)t->canary, canary, verbs[subject]);
    if (verdict->rules.alone || len >= size)
        return len;
    return len + (size_t)snprintf(text + len, size - len, ", %lld of %lld (%.3g %%) on the rest",
                                  (long long)t->rest_hits, (long long)t->rest, rest);
}

static void put_reason(const struct verdict *verdict, enum verdict_subject subject, char *text,
                       size_t size)
{
    struct verdict_numbers n;
    verdict_numbers(verdict, subject, &n);
    if (verdict->bad)
        snprintf(text, size, ": evidence %.3g against it, %.3g is enough (false_abort %.3g %%)",
                 n.evidence, n.limit, 100 * verdict->rules.false_abort);
    else if (n.confidence >= n.required)
        snprintf(text, size, ": under %.3g %% (%s) with %.3g %% confidence%s", 100 * n.most,
                 keys[subject], 100 * (1 - VERDICT_ESCAPE),
                 n.evidence >= n.limit ? ", so it is tolerated to be worse than the rest" : "");
    else
        snprintf(text, size,
                 ": too few to be sure of under %.3g %% (%s), %lld more without one "
                 "would be needed",
                 100 * n.most, keys[subject], (long long)n.missing);
}

const char *verdict_text(const struct verdict *verdict, char text[static VERDICT_TEXT_MAX])
{
    size_t len = 0;
    for (size_t i = 0; i < subjects(&verdict->rules); i++) {
        enum verdict_subject subject = (enum verdict_subject)i;
        if ((verdict->bad && subject != verdict->subject) || len + 2 >= VERDICT_TEXT_MAX)
            continue;
        if (len > 0)
            len += (size_t)snprintf(text + len, VERDICT_TEXT_MAX - len, "; ");
        len += put_counts(verdict, subject, text + len, VERDICT_TEXT_MAX - len);
        if (len < VERDICT_TEXT_MAX)
            put_reason(verdict, subject, text + len, VERDICT_TEXT_MAX - len);
        len = strlen(text);
    }
    return text;
}
