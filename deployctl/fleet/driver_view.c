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

int64_t driver_predict_ms(const struct driver *driver, int64_t switch_ms)
{
    const struct rollout_limits *limits = &driver->rollout.limits;
    size_t canary = limits->canary < driver->count ? limits->canary : driver->count;
    size_t left = driver->count - canary;
    size_t at_once = limits->unavailable > 0 ? limits->unavailable : 1;
    int64_t total = 0;
    if (canary > 0)
        total += (int64_t)((canary + at_once - 1) / at_once) * switch_ms + limits->bake_ms;
    while (left > 0) {
        size_t batch = left < limits->batch ? left : limits->batch;
        total += (int64_t)((batch + at_once - 1) / at_once) * switch_ms + limits->healthy_for_ms;
        left -= batch;
    }
    return total;
}
