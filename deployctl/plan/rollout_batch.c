/* rollout_batch.c - the contract is in rollout_batch.h. */
#include "deployctl/plan/rollout_batch.h"

bool rollout_batch_takes_part(const struct rollout_host *host)
{
    return !host->away && host->state != ROLLOUT_HOST_REFUSED;
}

size_t rollout_batch_unavailable(const struct rollout *r, size_t group)
{
    return r->limits.ngroups ? r->limits.groups[group].unavailable : r->limits.unavailable;
}

size_t rollout_batch_undo_unavailable(const struct rollout *r, size_t group)
{
    return r->limits.ngroups ? r->limits.groups[group].undo_unavailable
                             : r->limits.undo_unavailable;
}

bool rollout_batch_before_undo(const struct rollout *r, size_t group, size_t other)
{
    return r->limits.last_first ? group < other : group > other;
}

/* --- the canary ------------------------------------------------------------------------------- */

static bool can_be_canary(const struct rollout_host *h)
{
    return rollout_batch_takes_part(h) && !h->skip && !h->canary;
}

static bool better_canary(const struct rollout *r, const struct rollout_host *h,
                          const struct rollout_host *than)
{
    if (h->was_healthy != than->was_healthy)
        return h->was_healthy; /* one that was unhealthy before tells nothing about the release */
    return r->hosts[h->zone].zone_canaries < r->hosts[than->zone].zone_canaries;
}

static size_t group_of_canary(const struct rollout *r)
{
    size_t group = ROLLOUT_NOBODY;
    for (size_t i = 0; i < r->count; i++)
        if (can_be_canary(&r->hosts[i]) && r->hosts[i].group < group)
            group = r->hosts[i].group;
    return group;
}

/* Of the hosts that the operator named; false: none was. */
static bool take_named(struct rollout *r)
{
    size_t left = r->limits.canary;
    bool named = false;
    for (size_t i = 0; i < r->count; i++) {
        struct rollout_host *h = &r->hosts[i];
        named = named || h->named;
        h->canary = h->named && h->group == r->group && left > 0 && can_be_canary(h);
        left -= h->canary;
    }
    return named;
}

void rollout_batch_canary(struct rollout *r)
{
    r->group = group_of_canary(r);
    if (r->group != ROLLOUT_NOBODY)
        r->canary_group = r->group;
    if (take_named(r))
        return;
    for (size_t left = r->limits.canary; left > 0; left--) {
        struct rollout_host *best = NULL;
        for (size_t i = 0; i < r->count; i++) {
            struct rollout_host *h = &r->hosts[i];
            if (can_be_canary(h) && h->group == r->group && (!best || better_canary(r, h, best)))
                best = h;
        }
        if (!best)
            return;
        best->canary = true;
        r->hosts[best->zone].zone_canaries++;
    }
}

/* --- batches ---------------------------------------------------------------------------------- */

static bool is_behind(const struct rollout_host *h)
{
    return rollout_batch_takes_part(h) && !h->skip && h->batch == 0 &&
           (h->state == ROLLOUT_HOST_OLD || h->state == ROLLOUT_HOST_NEW);
}

/* The group whose turn it is, and in it the zone; zones come in the order of their first hosts. */
static void whose_turn(struct rollout *r, size_t *ret_zone)
{
    r->group = *ret_zone = ROLLOUT_NOBODY;
    for (size_t i = 0; i < r->count; i++) {
        const struct rollout_host *h = &r->hosts[i];
        if (!is_behind(h))
            continue;
        if (r->group == ROLLOUT_NOBODY || rollout_batch_before_undo(r, r->group, h->group)) {
            r->group = h->group;
            *ret_zone = h->zone;
        } else if (h->group == r->group && h->zone < *ret_zone) {
            *ret_zone = h->zone;
        }
    }
}

static size_t most_in_batch(const struct rollout *r)
{
    if (r->kind == ROLLOUT_ROLLBACK || r->group == ROLLOUT_NOBODY)
        return r->count;
    return r->limits.ngroups ? r->limits.groups[r->group].batch : r->limits.batch;
}

/* Hosts that are unhealthy go first: they have nothing to lose, and may be healed by it. */
size_t rollout_batch_fill(struct rollout *r)
{
    bool by_zone = r->limits.by_zone && r->kind != ROLLOUT_ROLLBACK;
    size_t n = 0, zone;
    whose_turn(r, &zone);
    size_t most = most_in_batch(r);
    for (int healthy = 0; healthy < 2; healthy++)
        for (size_t i = 0; i < r->count && n < most; i++) {
            struct rollout_host *h = &r->hosts[i];
            if (!is_behind(h) || h->group != r->group || h->was_healthy != (bool)healthy ||
                (by_zone && h->zone != zone))
                continue;
            h->batch = r->batch + 1;
            n++;
        }
    return n;
}
