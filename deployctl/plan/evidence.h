/* evidence.h - what the verdict on a canary rests on: where the counts of a host come from, how
 * they are read, and the rules of the verdict.
 *
 * It comes from deploy.ini, goes into the record of the rollout, and is what a host is asked for.
 */
#ifndef DEPLOYCTL_PLAN_EVIDENCE_H
#define DEPLOYCTL_PLAN_EVIDENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "deployctl/plan/verdict.h"

enum evidence_source {
    EVIDENCE_GATES,  /* none: hard gates alone */
    EVIDENCE_PAGE,   /* http://127.0.0.1:PORT/PATH, Prometheus' text format */
    EVIDENCE_PROBES, /* "probes": those of the host's supervisor */
    EVIDENCE_LOG,    /* log:PATH, lines that match */
};
/* Texts are borrowed. */
struct evidence {
    const char *metrics;                     /* the source as written; NULL = gates alone */
    const char *requests, *errors, *latency; /* selectors of the page, patterns of the log */
    int64_t latency_ms;                      /* 0 = not judged */
    double max_error_ratio, max_slow_ratio, false_abort; /* 0 to 1 */
    int64_t interval_ms;                                 /* between two rounds */
    int64_t warm_up_ms; /* at the beginning of the bake, not counted */
    bool promote;       /* an inconclusive canary is promoted, not paused */
};

enum { EVIDENCE_TEXT_MAX = 512, EVIDENCE_PATH_MAX = 256, EVIDENCE_HOST_MAX = 64 };

/* The source of a text; NULL is GATES.  ERR_INVALID says what would be right. */
int evidence_source(const char *metrics, enum evidence_source *ret, struct err *err);
/* What is read when no key says otherwise, for this source. */
const char *evidence_requests(const struct evidence *evidence);
const char *evidence_errors(const struct evidence *evidence);
const char *evidence_latency(const struct evidence *evidence);
/* Whether the selectors or patterns are right for the source; the message begins with the key. */
int evidence_check(const struct evidence *evidence, struct err *err);

/* An address of this machine only. */
struct evidence_url {
    struct addr addr;
    char host[EVIDENCE_HOST_MAX]; /* for the Host: line */
    char path[EVIDENCE_PATH_MAX];
};
int evidence_url(const char *text, struct evidence_url *ret, struct err *err);
/* The path behind "log:"; absolute. */
const char *evidence_log(const char *text);

/* The rules for the verdict; `alone`: no host is left to compare with. */
void evidence_rules(const struct evidence *evidence, bool alone, struct verdict_rules *ret);

#endif
