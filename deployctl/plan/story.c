/* story.c - the contract is in story.h. */
#include "deployctl/plan/story.h"

/* clang-format off */
const struct story_step story_steps[] = {
    { "look",    ROLLOUT_ACT_LOOK,    SIM_FAULT_LOST_BEFORE, 0,     "cannot be reached from the beginning" },
    { "refuse",  ROLLOUT_ACT_LOOK,    SIM_FAULT_REFUSE,      0,     "cannot take part (no supervisor, no room)" },
    { "lock",    ROLLOUT_ACT_LOCK,    SIM_FAULT_HELD,        0,     "is held by somebody else's rollout for a moment" },
    { "stage",   ROLLOUT_ACT_STAGE,   SIM_FAULT_REFUSE,      0,     "runs out of disk while bytes are sent" },
    { "cut",     ROLLOUT_ACT_STAGE,   SIM_FAULT_LOST_BEFORE, 0,     "is cut off while bytes are sent" },
    { "record",  ROLLOUT_ACT_RECORD,  SIM_FAULT_REFUSE,      0,     "cannot write the record of the rollout" },
    { "switch",  ROLLOUT_ACT_SWITCH,  SIM_FAULT_GONE_BACK,   0,     "does not become ready and goes back by itself" },
    { "broken",  ROLLOUT_ACT_SWITCH,  SIM_FAULT_BROKEN,      0,     "does not become ready and cannot go back by itself" },
    { "slow",    ROLLOUT_ACT_SWITCH,  SIM_FAULT_SLOW,        45000, "needs 45s more to switch" },
    { "hang",    ROLLOUT_ACT_SWITCH,  SIM_FAULT_SLOW,        86400000, "never ends switching" },
    { "agent",   ROLLOUT_ACT_SWITCH,  SIM_FAULT_UNSURE_DONE, 0,     "loses its supervisor's answer to the switch, which was done" },
    { "unsure",  ROLLOUT_ACT_SWITCH,  SIM_FAULT_UNSURE,      0,     "loses its supervisor's answer to the switch, which was not done" },
    { "die",     ROLLOUT_ACT_SWITCH,  SIM_FAULT_LOST_BEFORE, 0,     "dies when it is asked to switch" },
    { "health",  ROLLOUT_ACT_SWITCH,  SIM_FAULT_GATE,        3000,  "turns unhealthy 3s after it switched" },
    { "late",    ROLLOUT_ACT_CONFIRM, SIM_FAULT_GATE,        3000,  "turns unhealthy 3s after it was confirmed" },
    { "away",    ROLLOUT_ACT_SWITCH,  SIM_FAULT_DIES,        3000,  "cannot be reached from 3s after it switched" },
    { "confirm", ROLLOUT_ACT_CONFIRM, SIM_FAULT_LOST_AFTER,  0,     "is cut off when it has been confirmed" },
    { "undo",    ROLLOUT_ACT_UNDO,    SIM_FAULT_REFUSE,      0,     "cannot go back when it is told to" },
    { "close",   ROLLOUT_ACT_CLOSE,   SIM_FAULT_LOST_BEFORE, 0,     "is cut off at the very end" },
};
/* clang-format on */
const size_t story_nsteps = sizeof story_steps / sizeof story_steps[0];

uint64_t story_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static size_t below(uint64_t *state, size_t count) { return story_random(state) % count; }

static void make_faults(uint64_t *state, size_t count, struct story *story)
{
    story->nfaults = below(state, STORY_FAULTS_MAX + 1);
    for (size_t i = 0; i < story->nfaults; i++) {
        const struct story_step *step = &story_steps[below(state, story_nsteps)];
        story->faults[i] = (struct sim_fault){ .kind = step->kind,
                                               .host = below(state, count),
                                               .act = step->act,
                                               .returns = below(state, 2) == 0,
                                               .delay_ms = step->delay_ms };
        if (step->kind == SIM_FAULT_GATE || step->kind == SIM_FAULT_DIES)
            story->faults[i].delay_ms = (int64_t)below(state, 120000);
    }
}

void story_make(uint64_t *state, size_t count, struct story *story)
{
    static const enum rollout_event_kind orders[] = { ROLLOUT_EV_INTERRUPT, ROLLOUT_EV_PAUSE,
                                                      ROLLOUT_EV_ABORT };
    static const enum rollout_kind kinds[] = { ROLLOUT_RESUME, ROLLOUT_PROMOTE, ROLLOUT_ABORT,
                                               ROLLOUT_PARK };
    size_t turns = 20 + 8 * count;
    *story = (struct story){ .order = ROLLOUT_EV_START };
    make_faults(state, count, story);
    if (below(state, 4) == 0) {
        story->order = orders[below(state, 3)];
        story->order_at = below(state, turns);
    }
    for (size_t i = 0; i < STORY_DEATHS_MAX && below(state, 3) == 0; i++) {
        story->die_at[i] = 1 + below(state, turns);
        story->then[i] = kinds[below(state, 4)];
        story->gap_ms[i] = (int64_t)below(state, 600000);
    }
    story->unhealthy = below(state, 4) == 0 ? 2 + (unsigned)below(state, 6) : 0;
}

const char *story_tell(struct story *story, struct sim *sim)
{
    for (size_t i = 0; story->unhealthy && i < sim->count; i++)
        sim->rollout.hosts[i].was_healthy = i % story->unhealthy != story->unhealthy - 1;
    sim->faults = story->faults;
    sim->nfaults = story->nfaults;
    sim->order = story->order;
    sim->order_at = story->order_at;
    sim->die_at = story->die_at[0];
    sim_run(sim);
    for (size_t i = 0; sim->died && i < STORY_DEATHS_MAX; i++) {
        if (!sim_takeover(sim, story->then[i], story->gap_ms[i]))
            return sim_abandoned(sim);
        sim->die_at = i + 1 < STORY_DEATHS_MAX ? story->die_at[i + 1] : 0;
        sim_run(sim);
    }
    sim_settle(sim);
    return sim_wrong(sim);
}
