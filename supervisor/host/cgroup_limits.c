/* cgroup_limits.c - the contract is in cgroup_limits.h. */
#include "supervisor/host/cgroup_limits.h"

#include <stdio.h>
#include <string.h>

#include "base/crc32.h"

enum {
    CPU_PERIOD_US = 100000,
    WEIGHT_DEFAULT = 100,
    WEIGHT_MAX = 10000,
    BFQ_WEIGHT_MAX = 1000,
    SUM_BYTES = 512
};

enum limit { MEMORY_MAX, MEMORY_HIGH, CPU_MAX, CPU_WEIGHT, PIDS_MAX, IO_WEIGHT, NLIMITS };

const struct cgroup_limit cgroup_limits[] = {
    [MEMORY_MAX] = { "memory_max", "memory.max", CGROUP_MEMORY },
    [MEMORY_HIGH] = { "memory_high", "memory.high", CGROUP_MEMORY },
    [CPU_MAX] = { "cpu_max", "cpu.max", CGROUP_CPU },
    [CPU_WEIGHT] = { "cpu_weight", "cpu.weight", CGROUP_CPU },
    [PIDS_MAX] = { "pids_max", "pids.max", CGROUP_PIDS },
    [IO_WEIGHT] = { "io_weight", "io.weight", CGROUP_IO },
};
const size_t cgroup_nlimits = NLIMITS;

static const struct spec_limit *limit_of(const struct spec_cgroup *spec, enum limit limit)
{
    switch (limit) {
    case MEMORY_MAX:
        return &spec->memory_max;
    case MEMORY_HIGH:
        return &spec->memory_high;
    case CPU_MAX:
        return &spec->cpu_max;
    case PIDS_MAX:
        return &spec->pids_max;
    case CPU_WEIGHT:
    case IO_WEIGHT:
    case NLIMITS:
        break;
    }
    return NULL;
}

static bool weight_text(int64_t weight, const char *before, char *ret)
{
    snprintf(ret, CGROUP_LIMIT_TEXT, "%s%lld", before,
             (long long)(weight > 0 ? weight : WEIGHT_DEFAULT));
    return weight > 0;
}

bool cgroup_limits_text(const struct spec_cgroup *spec, size_t i, char ret[CGROUP_LIMIT_TEXT])
{
    if (i == CPU_WEIGHT)
        return weight_text(spec->cpu_weight, "", ret);
    if (i == IO_WEIGHT)
        return weight_text(spec->io_weight, "default ", ret);
    const struct spec_limit *limit = limit_of(spec, (enum limit)i);
    int n = 0;
    if (!limit || !limit->set || limit->value == RLIM_INFINITY)
        n = snprintf(ret, CGROUP_LIMIT_TEXT, "max");
    else
        n = snprintf(ret, CGROUP_LIMIT_TEXT, "%llu", (unsigned long long)limit->value);
    if (i == CPU_MAX && n > 0)
        snprintf(ret + n, CGROUP_LIMIT_TEXT - (size_t)n, " %d", CPU_PERIOD_US);
    return limit && limit->set && limit->value != RLIM_INFINITY;
}

/* 1..100..10000 becomes 1..100..1000. */
void cgroup_limits_bfq(const struct spec_cgroup *spec, char ret[CGROUP_LIMIT_TEXT])
{
    int64_t weight = spec->io_weight > 0 ? spec->io_weight : WEIGHT_DEFAULT;

    if (weight > WEIGHT_DEFAULT)
        weight = WEIGHT_DEFAULT + (weight - WEIGHT_DEFAULT) * (BFQ_WEIGHT_MAX - WEIGHT_DEFAULT) /
                                      (WEIGHT_MAX - WEIGHT_DEFAULT);
    snprintf(ret, CGROUP_LIMIT_TEXT, "%lld", (long long)weight);
}

unsigned cgroup_limits_need(const struct spec_cgroup *spec)
{
    char text[CGROUP_LIMIT_TEXT];
    unsigned bits = 0;

    for (size_t i = 0; i < NLIMITS; i++)
        if (cgroup_limits_text(spec, i, text))
            bits |= 1u << cgroup_limits[i].controller;
    return bits;
}

uint32_t cgroup_limits_sum(const struct spec_cgroup *spec, unsigned enabled)
{
    char all[SUM_BYTES], text[CGROUP_LIMIT_TEXT];
    size_t len = 0;

    for (size_t i = 0; i < NLIMITS; i++) {
        cgroup_limits_text(spec, i, text);
        len += (size_t)snprintf(all + len, sizeof all - len, "%s\n", text);
    }
    len += (size_t)snprintf(all + len, sizeof all - len, "%u", enabled);
    uint32_t sum = crc32_of(0, all, len);
    return sum ? sum : 1;
}
