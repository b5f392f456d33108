/* verdict.h - is the canary worse than the rest of the fleet, and is it good enough?  Counts in, a
 * verdict and every number behind it out.  doc/verdict.md has the method and what it was measured
 * to do.
 *
 * Bad: the canary's share of the errors is compared with its share of the requests, window by
 * window, by a likelihood ratio that is 1 on average for a canary that is no worse (whatever the
 * error rate is, and however it changes: an outage of both sides raises both).  By Ville's
 * inequality it ever reaches 1/false_abort with a probability of at most false_abort, however often
 * one looks.  A canary that is surely under max_error_ratio is tolerated, though, also when it is
 * worse than the rest.  Where there is no rest, max_error_ratio takes its place.
 *
 * Good: the same kind of test the other way round, against max_error_ratio: a canary with more
 * errors than that passes with a probability of at most VERDICT_ESCAPE.
 *
 * Neither: too little data, which is never a pass.  Latency is counted in the same way: requests
 * that were slower than a threshold instead of requests that failed.
 */
#ifndef DEPLOYCTL_PLAN_VERDICT_H
#define DEPLOYCTL_PLAN_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VERDICT_ESCAPE 0.05
enum {
    VERDICT_RATIOS = 4,     /* how many times worse the canary is supposed to be */
    VERDICT_ERRORS_MIN = 3, /* fewer are never a verdict */
    VERDICT_IDLE_MIN = 100, /* requests before the canary is judged alone beside an idle rest */
    VERDICT_ROUNDS_MAX = 10 /* a window with requests on one side only waits so long for others */
};
enum verdict_subject { VERDICT_FAILED, VERDICT_SLOW, VERDICT_NSUBJECTS };

struct verdict_rules {
    double false_abort;             /* of all subjects together; over 0, under 1 */
    double most[VERDICT_NSUBJECTS]; /* max_error_ratio, max_slow_ratio: over 0, under 1 */
    bool latency;                   /* SLOW is judged, too */
    bool alone;                     /* there is no rest of the fleet */
};
/* Of one side. */
struct verdict_counts {
    int64_t requests[VERDICT_NSUBJECTS]; /* all; those whose time is known */
    int64_t hits[VERDICT_NSUBJECTS];     /* failed; slow */
};
struct verdict_window {
    int64_t canary, canary_hits, rest, rest_hits;
};
struct verdict_test {
    struct verdict_window total;  /* everything seen */
    struct verdict_window open;   /* not compared yet: one side has had no request */
    size_t rounds;                /* how long it is open */
    double worse[VERDICT_RATIOS]; /* logarithms of likelihood ratios */
};
enum verdict_kind { VERDICT_OPEN, VERDICT_GOOD, VERDICT_BAD };
struct verdict {
    struct verdict_rules rules;
    struct verdict_test tests[VERDICT_NSUBJECTS];
    bool bad;                     /* it stays bad */
    enum verdict_subject subject; /* that made it bad */
};

void verdict_begin(struct verdict *verdict, const struct verdict_rules *rules);
/* What both sides have counted in the same stretch of time, never negative, hits <= requests. */
void verdict_take(struct verdict *verdict, const struct verdict_counts *canary,
                  const struct verdict_counts *rest);
/* GOOD: every subject passes with what is known now. */
enum verdict_kind verdict_now(const struct verdict *verdict);

/* The numbers of one subject. */
struct verdict_numbers {
    struct verdict_window total;
    double evidence, limit;      /* BAD when evidence >= limit, unless it is good */
    double confidence, required; /* GOOD when confidence >= required */
    bool alone;                  /* evidence is against `most`, not against the rest */
    double most;
    int64_t missing; /* requests without a hit that would still be needed to pass */
};
void verdict_numbers(const struct verdict *verdict, enum verdict_subject subject,
                     struct verdict_numbers *ret);
/* Requests that are needed at least, all of them clean. */
int64_t verdict_needs(const struct verdict_rules *rules, enum verdict_subject subject);

/* "canary 3/1200 errors vs rest 40/15000", for a line that changes. */
enum { VERDICT_LINE_MAX = 160, VERDICT_TEXT_MAX = 480 };
const char *verdict_line(const struct verdict *verdict, char text[static VERDICT_LINE_MAX]);
/* Why it is good, bad or open, with every number; one sentence without its full stop. */
const char *verdict_text(const struct verdict *verdict, char text[static VERDICT_TEXT_MAX]);

#endif
