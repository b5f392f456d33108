/* summary.c - the contract is in summary.h. */
#include "supervisor/machine/summary.h"

#include <stdio.h>

enum summary_kind summary_of(const struct lifecycle *lc, bool listening)
{
    switch (lc->state) {
    case LIFECYCLE_RUNNING:
        return lc->ready ? SUMMARY_WELL : SUMMARY_BAD;
    case LIFECYCLE_EXITED:
        return lc->expected ? SUMMARY_WELL : SUMMARY_BAD;
    case LIFECYCLE_STOPPED:
        return lc->wanted ? SUMMARY_BAD : SUMMARY_UNWANTED;
    case LIFECYCLE_WAITING:
        return listening ? SUMMARY_WELL : SUMMARY_BAD;
    case LIFECYCLE_PRE_START:
    case LIFECYCLE_STARTING:
    case LIFECYCLE_STOPPING:
    case LIFECYCLE_KILLING:
    case LIFECYCLE_CLEANING:
    case LIFECYCLE_POST_STOP:
        return lc->wanted ? SUMMARY_UNDERWAY : SUMMARY_UNWANTED;
    case LIFECYCLE_BACKOFF:
    case LIFECYCLE_FAILED:
    case LIFECYCLE_NSTATES:
        break;
    }
    return SUMMARY_BAD;
}

void summary_add(struct summary *summary, enum summary_kind kind, const char *name,
                 const char *state)
{
    summary->counts[kind]++;
    if (kind < SUMMARY_UNDERWAY || (summary->first && summary->first_kind >= kind))
        return;
    summary->first = name;
    summary->state = state;
    summary->first_kind = kind;
}

bool summary_started(const struct summary *summary, int64_t since_start_ms)
{
    return summary->counts[SUMMARY_UNDERWAY] == 0 || since_start_ms >= SUMMARY_PATIENCE_MS;
}

const char *summary_text(const struct summary *summary, char text[static SUMMARY_TEXT_MAX])
{
    size_t wanted = 0;

    for (int kind = SUMMARY_WELL; kind < SUMMARY_NKINDS; kind++)
        wanted += summary->counts[kind];
    int len = snprintf(text, SUMMARY_TEXT_MAX, "%zu instance%s", wanted, wanted == 1 ? "" : "s");
    size_t off = wanted - summary->counts[SUMMARY_WELL];
    if (off > 0)
        snprintf(text + len, SUMMARY_TEXT_MAX - (size_t)len,
                 ", %zu not as %s should be: %s%.100s (%s)", off, off == 1 ? "it" : "they",
                 off == 1 ? "" : "first ", summary->first, summary->state);
    return text;
}
