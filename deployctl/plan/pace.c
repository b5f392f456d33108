/* pace.c - the contract is in pace.h. */
#include "deployctl/plan/pace.h"

enum { SECOND_MS = 1000 };

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t greatest(int64_t a, int64_t b) { return a > b ? a : b; }

void pace_init(struct pace *pace, int64_t rate, int64_t piece_max, int64_t now_ms)
{
    int64_t piece = least(greatest(rate / PACE_PIECES, PACE_PIECE_MIN), piece_max);
    *pace = (struct pace){ .rate = rate, .piece = piece, .at_ms = now_ms };
    pace->most = SECOND_MS * greatest(piece, rate * PACE_BURST_MS / SECOND_MS);
}

int64_t pace_wait(struct pace *pace, int64_t now_ms)
{
    /* A whole second fills it from nothing; what is owed is not forgiven faster. */
    int64_t passed = greatest(now_ms - pace->at_ms, 0);
    int64_t room = (pace->most - pace->saved) / pace->rate + 1; /* milliseconds */
    pace->saved = least(pace->saved + least(passed, room) * pace->rate, pace->most);
    pace->at_ms = now_ms;
    int64_t lacks = pace->piece * SECOND_MS - pace->saved;
    return lacks <= 0 ? 0 : (lacks + pace->rate - 1) / pace->rate;
}

void pace_spend(struct pace *pace, int64_t bytes) { pace->saved -= bytes * SECOND_MS; }
