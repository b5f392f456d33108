/* limits.c - the contract is in limits.h. */
#include "deployctl/plan/limits.h"

#include <string.h>

#include "deployctl/plan/hosts.h"
#include "deployctl/plan/share.h"

_Static_assert((int)RECIPE_GROUPS_MAX == (int)ROLLOUT_GROUPS_MAX,
               "each group of a recipe has its limits");

static size_t in_group(const struct recipe *recipe, size_t group)
{
    size_t n = 0;
    for (size_t i = 0; i < recipe->count; i++)
        n += recipe->hosts[i].group == group;
    return n;
}

/* Of the hosts that are selected. */
static size_t first_group(const struct recipe *recipe)
{
    size_t first = recipe->count > 0 ? recipe->hosts[0].group : 0;
    for (size_t i = 0; i < recipe->count; i++)
        if (recipe->hosts[i].group < first)
            first = recipe->hosts[i].group;
    return first;
}

/* The shares of `total` hosts. */
static struct rollout_group shares(const struct recipe *recipe, const struct limits_asked *asked,
                                   const char *name, size_t total)
{
    return (struct rollout_group){
        .name = name,
        .batch = share_batch(asked->batch, total),
        .unavailable = share_unavailable(recipe->rollout.max_unavailable, total),
        .undo_unavailable =
            asked->now ? total : share_unavailable(recipe->rollback.max_unavailable, total),
    };
}

/* The limits without a group are the widest of any: no more is allowed anywhere. */
static void add_group(struct rollout_limits *limits, struct rollout_group group)
{
    limits->groups[limits->ngroups++] = group;
    if (group.batch > limits->batch)
        limits->batch = group.batch;
    if (group.unavailable > limits->unavailable)
        limits->unavailable = group.unavailable;
    if (group.undo_unavailable > limits->undo_unavailable)
        limits->undo_unavailable = group.undo_unavailable;
}

static size_t named_canaries(const struct recipe *recipe, const struct limits_asked *asked)
{
    size_t named = 0;
    for (size_t i = 0; asked->canary_hosts && i < recipe->count; i++)
        named += recipe_host_matches(&recipe->hosts[i], asked->canary_hosts);
    return named;
}

void limits_make(const struct recipe *recipe, const struct limits_asked *asked,
                 struct rollout_limits *ret_limits)
{
    size_t total = recipe->count, named = named_canaries(recipe, asked);
    size_t first = in_group(recipe, first_group(recipe));
    *ret_limits = (struct rollout_limits){
        .canary = named ? named : share_canary(asked->canary, first),
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
    struct rollout_group all = shares(recipe, asked, NULL, total);
    if (recipe->ngroups == 0) {
        ret_limits->batch = all.batch;
        ret_limits->unavailable = all.unavailable;
        ret_limits->undo_unavailable = all.undo_unavailable;
    }
    for (size_t i = 0; i < recipe->ngroups; i++)
        add_group(ret_limits, shares(recipe, asked, recipe->groups[i].name, in_group(recipe, i)));
}

int limits_check(const struct recipe *recipe, const struct limits_asked *asked, struct err *err)
{
    size_t first = first_group(recipe);
    for (size_t i = 0; asked->canary_hosts && i < recipe->count; i++) {
        const struct recipe_host *host = &recipe->hosts[i];
        if (host->group != first && recipe_host_matches(host, asked->canary_hosts))
            return err_set(
                err, ERR_INVALID,
                "%.253s cannot be a canary: it is in group %s, which comes after %s; name "
                "hosts of %s",
                host->name, host->group_name, recipe->groups[first].name,
                recipe->groups[first].name);
    }
    return 0;
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
        part->group = recipe->hosts[i].group;
        part->zone = 0;
        if (!rollout->limits.by_zone)
            continue;
        size_t first = 0; /* compared with the first host of each zone alone */
        while (first < i && (rollout->hosts[first].zone != first || !same_zone(recipe, first, i)))
            first++;
        part->zone = first;
    }
}
