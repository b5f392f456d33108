/* limits.c - the contract is in limits.h. */
#include "deployctl/plan/limits.h"

#include <string.h>

#include "deployctl/plan/hosts.h"
#include "deployctl/plan/share.h"

void limits_make(const struct recipe *recipe, const struct limits_asked *asked,
                 struct rollout_limits *ret_limits)
{
    size_t total = recipe->count, named = 0;
    for (size_t i = 0; asked->canary_hosts && i < total; i++)
        named += recipe_host_matches(&recipe->hosts[i], asked->canary_hosts);
    size_t most = share_unavailable(recipe->rollback.max_unavailable, total);
    *ret_limits = (struct rollout_limits){
        .canary = named ? named : share_canary(asked->canary, total),
        .batch = share_batch(asked->batch, total),
        .unavailable = share_unavailable(recipe->rollout.max_unavailable, total),
        .undo_unavailable = asked->now ? total : most,
        .failed = share_budget(recipe->rollout.max_failed, total),
        .unreachable = share_budget(recipe->rollout.max_unreachable, total),
        .bake_ms = asked->bake_ms,
        .healthy_for_ms = recipe->rollout.healthy_for_ms,
        .progress_deadline_ms = recipe->rollout.progress_deadline_ms,
        .confirm_within_ms = recipe->rollout.confirm_within_ms,
        .hold = asked->hold,
        .pause_on_failure = recipe->rollout.on_failure == RECIPE_PAUSE,
        .by_zone = recipe->rollout.zone_label != NULL,
    };
}

static bool same_zone(const struct recipe *recipe, size_t a, size_t b)
{
    size_t na, nb;
    const char *label = recipe->rollout.zone_label;
    const char *za = recipe_label(&recipe->hosts[a], label, &na);
    const char *zb = recipe_label(&recipe->hosts[b], label, &nb);
    return na == nb && memcmp(za, zb, na) == 0;
}

void limits_describe(const struct recipe *recipe, const struct limits_asked *asked,
                     struct rollout *rollout)
{
    for (size_t i = 0; i < rollout->count; i++) {
        struct rollout_host *part = &rollout->hosts[i];
        part->named =
            asked->canary_hosts && recipe_host_matches(&recipe->hosts[i], asked->canary_hosts);
        part->zone = 0;
        if (!rollout->limits.by_zone)
            continue;
        size_t first = 0; /* compared with the first host of each zone alone */
        while (first < i && (rollout->hosts[first].zone != first || !same_zone(recipe, first, i)))
            first++;
        part->zone = first;
    }
}
