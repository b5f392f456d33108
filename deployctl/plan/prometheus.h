/* prometheus.h - counts out of a page in Prometheus' text format.
 *
 * What a service exports comes from strangers' libraries: everything has a limit, and a page that
 * is cut off, or has a line that is not understood, is an error and never a smaller count.  A
 * missing count must not look like "no errors", so a selector that can match nothing on this page
 * is an error that says what to set.  Timestamps, comments, exemplars and the `# EOF` of
 * OpenMetrics are read over.
 */
#ifndef DEPLOYCTL_PLAN_PROMETHEUS_H
#define DEPLOYCTL_PLAN_PROMETHEUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/pattern.h"

enum {
    PROMETHEUS_PAGE_MAX = 4 * 1024 * 1024,
    PROMETHEUS_NAME_MAX = 256, /* with its NUL */
    PROMETHEUS_LABELS_MAX = 64,
    PROMETHEUS_LINE_MAX = 16 * 1024, /* of label names and values of a line */
    PROMETHEUS_MATCHERS_MAX = 8,
};

/* NAME or NAME{label="value", label!="value", label=~"regex", label!~"regex"}; a regex matches the
 * whole value, in the syntax of base/pattern.h. */
enum prometheus_op { PROMETHEUS_EQUAL, PROMETHEUS_DIFFERS, PROMETHEUS_LIKE, PROMETHEUS_UNLIKE };
struct prometheus_matcher {
    enum prometheus_op op;
    char label[PROMETHEUS_NAME_MAX], value[PROMETHEUS_NAME_MAX];
    struct pattern pattern; /* of LIKE and UNLIKE */
};
struct prometheus_selector {
    char name[PROMETHEUS_NAME_MAX];
    struct prometheus_matcher matchers[PROMETHEUS_MATCHERS_MAX]; /* large: not for the stack */
    size_t count;
};
/* ERR_INVALID says what is wrong and where. */
int prometheus_select(const char *text, struct prometheus_selector *ret, struct err *err);

/* One line of the page. */
struct prometheus_label {
    const char *name, *value; /* NUL-terminated, unescaped */
};
struct prometheus_sample {
    const char *name;
    struct prometheus_label labels[PROMETHEUS_LABELS_MAX];
    size_t count;
    double value;
};
struct prometheus_reader {
    const char *at, *end;
    size_t line;
    char words[PROMETHEUS_LINE_MAX]; /* of the present sample */
};
void prometheus_begin(struct prometheus_reader *reader, const char *text, size_t len);
/* 1: *ret is the next sample, valid until the next call; 0: the end; ERR_PROTOCOL names the line.
 */
int prometheus_next(struct prometheus_reader *reader, struct prometheus_sample *ret,
                    struct err *err);
bool prometheus_matches(const struct prometheus_selector *selector,
                        const struct prometheus_sample *sample);

struct prometheus_query {
    const struct prometheus_selector *requests, *errors;
    const struct prometheus_selector *latency; /* a histogram in seconds; NULL = not asked */
    double slower_than;                        /* seconds */
};
struct prometheus_counts {
    int64_t requests, errors;
    int64_t timed, slow; /* observations of the histogram, and those in buckets beyond `bound` */
    double bound;        /* the smallest bucket boundary >= slower_than; 0 = latency not asked */
    double started;      /* process_start_time_seconds; 0 = not told */
};
/* Sums all series that match.  ERR_NOT_FOUND: a selector finds nothing here, the message says what
 * there is; ERR_PROTOCOL: the page is not whole, or a value is no count (negative, NaN, infinite);
 * ERR_MEMORY. */
int prometheus_count(const char *text, size_t len, const struct prometheus_query *query,
                     struct prometheus_counts *ret, struct err *err);

#endif
