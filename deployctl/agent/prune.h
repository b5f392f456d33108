/* prune.h - which releases may go, and removing them. */
#ifndef DEPLOYCTL_AGENT_PRUNE_H
#define DEPLOYCTL_AGENT_PRUNE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/agent/host.h"

struct prune_release {
    char id[MANIFEST_ID_MAX];
    bool good;    /* remembered as good */
    bool in_use;  /* pinned, running, previous, in a rollout or being staged: never removed */
    bool remove;  /* set by prune_choose */
    bool removed; /* set by prune_run */
};
struct prune {
    const struct host *host;  /* borrowed */
    struct prune_release *at; /* newest first; owned */
    size_t count;
    bool dry;
    bool parts;     /* also what cut stagings have left */
    uint64_t bytes; /* of what was (or would be) removed */
    struct err failed;
};

/* Pure: the `keep` newest good ones stay, and what is in use, and what is newer than the newest
 * good one (it may be the next). */
void prune_choose(struct prune_release *at, size_t count, size_t keep);
/* Renames into releases/.trash first, so that no half release is ever visible; stops at the first
 * failure. */
int prune_run(struct prune *prune, struct err *err);
void prune_done(struct prune *prune);

#endif
