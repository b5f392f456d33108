/* keeper_tune.c - what runs follows the plan: limits and priorities, and its own files.
 *
 * What a process has is told by two numbers in its record: a core that dies between the commit of a
 * reload and this leaves it to the next.
 */
#include "supervisor/core/keeper.h"

#include <stdlib.h>
#include <sys/resource.h>

#include "base/auto.h"
#include "base/log.h"
#include "supervisor/core/spawn.h"
#include "supervisor/host/tuning.h"

enum { PIDS_MAX = 4096, BIT_NICE = SPEC_NLIMITS, BIT_OOM = SPEC_NLIMITS + 1 };
_Static_assert((int)SPEC_NLIMITS <= (int)TUNING_LIMITS_MAX && SPEC_NLIMITS + 2 <= 16, "bits");

/* A main thread's stack is laid out at the start. */
static bool is_tuned(int limit) { return limit != SPEC_LIMIT_STACK; }

static uint16_t bits_of(const struct spec_settings *set)
{
    unsigned bits =
        (set->nice != 0 ? 1u << BIT_NICE : 0) | (set->set_oom_score ? 1u << BIT_OOM : 0);

    for (int i = 0; i < SPEC_NLIMITS; i++)
        bits |= set->limits[i].set && is_tuned(i) ? 1u << i : 0;
    return (uint16_t)bits;
}

/* FNV-1a of all values; never 0, which means that nothing is known. */
static uint32_t sum_of(const struct spec_settings *set)
{
    uint32_t sum = 0x811c9dc5u;
    uint64_t values[SPEC_NLIMITS + 2] = { (uint64_t)set->nice,
                                          set->set_oom_score ? (uint64_t)set->oom_score_adj : 0 };

    for (int i = 0; i < SPEC_NLIMITS; i++)
        values[i + 2] = set->limits[i].set && is_tuned(i) ? set->limits[i].value : 0;
    for (size_t i = 0; i < sizeof values; i++)
        sum = (sum ^ ((const unsigned char *)values)[i]) * 0x01000193u;
    sum ^= bits_of(set);
    return sum ? sum : 1;
}

void keeper_tuned(struct unit *unit)
{
    unit->body.tuned = sum_of(unit_spec(unit)->set);
    unit->body.tuned_bits = bits_of(unit_spec(unit)->set);
}

/* As it would have been inherited. */
static struct rlimit inherited(const struct core *core, int limit)
{
    const struct ledger_header *header = core->ledger.header;
    struct rlimit value = { .rlim_cur = header->nofile_soft, .rlim_max = header->nofile_hard };

    if (limit != SPEC_LIMIT_NOFILE)
        (void)getrlimit((enum __rlimit_resource)spec_limit_resource((enum spec_limit_name)limit),
                        &value);
    return value;
}

/* What the plan says, and what it said and no longer does.  What it never said is not ours. */
static void fill(const struct core *core, const struct spec_settings *set, unsigned bits,
                 struct tuning *ret)
{
    *ret = (struct tuning){ .set_nice = bits >> BIT_NICE & 1,
                            .nice = (int)set->nice,
                            .set_oom_score = bits >> BIT_OOM & 1,
                            .oom_score_adj = set->set_oom_score ? (int)set->oom_score_adj
                                                                : tuning_own_oom_score() };
    for (int i = 0; i < SPEC_NLIMITS; i++) {
        rlim_t value = set->limits[i].value;
        if (!(bits >> i & 1))
            continue;
        ret->limits[ret->nlimits++] =
            (struct child_limit){ spec_limit_resource((enum spec_limit_name)i),
                                  set->limits[i].set
                                      ? (struct rlimit){ .rlim_cur = value, .rlim_max = value }
                                      : inherited(core, i) };
    }
}

void keeper_tune(struct keeper *keeper, struct unit *unit, struct err_list *problems)
{
    const struct spec_settings *set = unit_spec(unit)->set;
    struct err err = { 0 }, first = { 0 };
    struct tuning tuning;

    if (!keeper->core->tunes || unit->slot->removed || unit->body.tuned == 0 ||
        unit->body.tuned == sum_of(set) || keeper_pid(keeper, unit) <= 0)
        return;
    fill(keeper->core, set, bits_of(set) | unit->body.tuned_bits, &tuning);
    AUTO_FREE pid_t *pids = calloc(PIDS_MAX, sizeof *pids);
    size_t count = pids ? keeper_pids(keeper, unit, pids, PIDS_MAX) : 0;
    for (size_t i = 0; i < count; i++)
        if (tuning_apply(pids[i], &tuning, &err) != 0 && first.code == 0)
            first = err;
    if (!pids)
        err_set(&first, ERR_MEMORY, "no memory to change its limits");
    keeper_tuned(unit);
    keeper_save(unit);
    if (first.code == 0)
        return;
    log_error("limits and priorities apply at the next start", "instance", unit->slot->name,
              "error", first.text, NULL);
    if (problems)
        err_list_add(problems, "%s: %s; it applies at its next start", unit->slot->name,
                     first.text);
}

void keeper_reread(struct keeper *keeper, struct unit *unit)
{
    uint32_t variables;
    const char *cut;
    struct err err = { 0 };

    /* First what it is going to read: what changes from here on is news. */
    if (spawn_files(keeper->core, unit, &variables, &unit->body.files_sum, &cut, &err) != 0)
        log_warn("cannot look at its files", "instance", unit->slot->name, "error", err.text, NULL);
    keeper_save(unit);
    keeper_signal(keeper, unit, unit_spec(unit)->set->reload_signal, false);
}
