/* pace.h - how many bytes may leave now, when only so many a second may: a token bucket, pure.
 *
 * What was sent without asking (manifests) makes the bucket owe, and the next ones wait longer.
 */
#ifndef DEPLOYCTL_PLAN_PACE_H
#define DEPLOYCTL_PLAN_PACE_H

#include <stdint.h>

enum {
    PACE_BURST_MS = 250, /* so much may be saved up */
    PACE_PIECES = 8,     /* a second, so that many hosts have their turn */
    PACE_PIECE_MIN = 1024,
    PACE_RATE_MIN = 8 * 1024,
};
struct pace {
    int64_t rate;  /* bytes a second */
    int64_t piece; /* at once */
    int64_t most;
    int64_t saved; /* in thousandths of a byte; negative = owed */
    int64_t at_ms;
};
void pace_init(struct pace *pace, int64_t rate, int64_t piece_max, int64_t now_ms);
/* Milliseconds until a piece may be sent; 0 = now. */
int64_t pace_wait(struct pace *pace, int64_t now_ms);
void pace_spend(struct pace *pace, int64_t bytes);

#endif
