/* driver_view.c - what is known, for those who print it; the contract is in driver.h. */
#include "deployctl/fleet/driver_inside.h"

const struct rollout *driver_rollout(const struct driver *driver) { return &driver->rollout; }
bool driver_refused(const struct driver *driver) { return driver->refused; }
size_t driver_count(const struct driver *driver) { return driver->count; }
const char *driver_release_id(const struct driver *driver) { return driver->id; }
const char *driver_release_digest(const struct driver *driver) { return driver->digest; }

const struct opened *driver_opened(const struct driver *driver)
{
    return driver->opened.json ? &driver->opened : NULL;
}

const struct manifest *driver_manifest(const struct driver *driver)
{
    bool have = driver->source && driver->source_done && !driver->source_failed;
    return have ? source_manifest(driver->source) : NULL;
}

int64_t driver_elapsed_ms(const struct driver *driver)
{
    return loop_now_ms(driver->loop) - driver->began_ms;
}

struct driver_view driver_view(const struct driver *driver, size_t index)
{
    const struct driver_host *host = &driver->hosts[index];
    return (struct driver_view){
        .spec = host->spec,
        .glance = &host->glance,
        .host = &driver->rollout.hosts[index],
        .error = host->error,
        .lacks_agent = host->lacks_agent,
        .skew_ms = host->skew_ms,
        .history = host->history,
        .damaged = host->damaged,
        .found = host->found,
        .bytes_sent = host->bytes_sent,
        .probes = host->probes,
        .sample_error = host->sample_error,
    };
}

const struct verdict *driver_verdict(const struct driver *driver)
{
    return driver->judged ? &driver->verdict : NULL;
}

const struct evidence *driver_evidence(const struct driver *driver) { return &driver->evidence; }

/* So many hosts one batch after the other. */
static int64_t batches_ms(const struct rollout_limits *limits, struct rollout_group group,
                          size_t hosts, int64_t switch_ms)
{
    size_t at_once = group.unavailable > 0 ? group.unavailable : 1;
    int64_t total = 0;
    while (hosts > 0) {
        size_t batch = hosts < group.batch ? hosts : group.batch;
        total += (int64_t)((batch + at_once - 1) / at_once) * switch_ms + limits->healthy_for_ms;
        hosts -= batch;
    }
    return total;
}

int64_t driver_predict_ms(const struct driver *driver, int64_t switch_ms)
{
    const struct rollout_limits *limits = &driver->rollout.limits;
    size_t left[ROLLOUT_GROUPS_MAX] = { 0 }, first = ROLLOUT_GROUPS_MAX - 1;
    struct rollout_group all = { NULL, limits->batch, limits->unavailable, 0 };
    for (size_t i = 0; i < driver->count; i++) {
        size_t group = driver->rollout.hosts[i].group;
        left[group]++;
        first = group < first ? group : first;
    }
    size_t canary = limits->canary < left[first] ? limits->canary : left[first];
    int64_t total = canary > 0 ? limits->bake_ms - limits->healthy_for_ms : 0;
    left[first] -= canary;
    for (size_t i = first; i < ROLLOUT_GROUPS_MAX; i++) {
        struct rollout_group group = limits->ngroups ? limits->groups[i] : all;
        if (i == first) { /* the canary is a batch of its own, which bakes */
            struct rollout_group alone = { NULL, canary, group.unavailable, 0 };
            total += batches_ms(limits, alone, canary, switch_ms);
        }
        total += batches_ms(limits, group, left[i], switch_ms);
    }
    return total;
}
