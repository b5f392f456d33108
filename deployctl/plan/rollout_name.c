/* rollout_name.c - the contract is in rollout_name.h. */
#include "deployctl/plan/rollout_name.h"

#include <stdio.h>

static const struct {
    const char *name;
    int code;
} outcomes[ROLLOUT_NOUTCOMES] = {
    /* clang-format off */
    [ROLLOUT_RUNNING]     = { "running",     1 },
    [ROLLOUT_DONE]        = { "done",        0 },
    [ROLLOUT_NOTHING]     = { "nothing",     0 },
    [ROLLOUT_BAD]         = { "bad",         1 },
    [ROLLOUT_FAILED]      = { "failed",      1 },
    [ROLLOUT_UNREACHABLE] = { "unreachable", 4 },
    [ROLLOUT_LOCKED]      = { "locked",      5 },
    [ROLLOUT_PAUSED]      = { "paused",      6 },
    [ROLLOUT_HELD_OPEN]   = { "held",        6 },
    [ROLLOUT_ABORTED]     = { "aborted",     1 },
    [ROLLOUT_INTERRUPTED] = { "interrupted", 130 },
    [ROLLOUT_INCOMPLETE]  = { "incomplete",  7 },
    [ROLLOUT_CONFIG]      = { "config",      3 },
    /* clang-format on */
};

int rollout_name_code(enum rollout_outcome outcome) { return outcomes[outcome].code; }
const char *rollout_name_outcome(enum rollout_outcome outcome) { return outcomes[outcome].name; }

const char *rollout_name_stage(enum rollout_stage stage)
{
    static const char *const names[ROLLOUT_NSTAGES] = {
        /* clang-format off */
        [ROLLOUT_LOOKING] = "preflight",     [ROLLOUT_DECIDING] = "deciding",
        [ROLLOUT_LOCKING] = "lock",          [ROLLOUT_FENCING] = "fence",
        [ROLLOUT_STAGING] = "stage",         [ROLLOUT_RECORDING] = "record",
        [ROLLOUT_CANARY] = "canary",         [ROLLOUT_BAKING] = "bake",
        [ROLLOUT_PROMOTING] = "promote",     [ROLLOUT_BATCHES] = "batches",
        [ROLLOUT_CLOSING] = "close",         [ROLLOUT_CLEANING] = "clean",
        [ROLLOUT_UNWINDING] = "unwind",      [ROLLOUT_PAUSING] = "pause",
        [ROLLOUT_OVER] = "over",
        /* clang-format on */
    };
    return names[stage];
}

const char *rollout_name_act(enum rollout_act act)
{
    static const char *const names[ROLLOUT_NACTS] = {
        /* clang-format off */
        [ROLLOUT_ACT_NONE] = "nothing",        [ROLLOUT_ACT_LOOK] = "look",
        [ROLLOUT_ACT_DECIDE] = "decide",       [ROLLOUT_ACT_LOCK] = "lock",
        [ROLLOUT_ACT_UNLOCK] = "unlock",       [ROLLOUT_ACT_FENCE] = "fence",
        [ROLLOUT_ACT_STAGE] = "stage",         [ROLLOUT_ACT_RECORD] = "record",
        [ROLLOUT_ACT_SWITCH] = "switch",       [ROLLOUT_ACT_EXTEND] = "extend",
        [ROLLOUT_ACT_HOLD] = "hold",           [ROLLOUT_ACT_CONFIRM] = "confirm",
        [ROLLOUT_ACT_UNDO] = "undo",           [ROLLOUT_ACT_CLEAN] = "clean",
        [ROLLOUT_ACT_CLOSE] = "close",
        /* clang-format on */
    };
    return names[act];
}

const char *rollout_name_host(enum rollout_host_state state)
{
    static const char *const names[ROLLOUT_NHOSTSTATES] = {
        /* clang-format off */
        [ROLLOUT_HOST_OLD] = "old",               [ROLLOUT_HOST_SWITCHING] = "switching",
        [ROLLOUT_HOST_NEW] = "new",               [ROLLOUT_HOST_CONFIRMED] = "confirmed",
        [ROLLOUT_HOST_UNDOING] = "going back",    [ROLLOUT_HOST_UNDONE] = "went back",
        [ROLLOUT_HOST_REFUSED] = "refused",       [ROLLOUT_HOST_LOST] = "unreachable",
        [ROLLOUT_HOST_STRAY] = "stray",
        /* clang-format on */
    };
    return names[state];
}

static const char *doing(const struct rollout *rollout)
{
    switch (rollout->stage) {
    case ROLLOUT_LOOKING:
        return "looking at every host";
    case ROLLOUT_LOCKING:
        return "locking every host, so that nobody else releases meanwhile";
    case ROLLOUT_STAGING:
        return "sending the release to every host; nothing is switched yet";
    case ROLLOUT_CANARY:
        return "switching the canary";
    case ROLLOUT_BAKING:
        return "watching the canary";
    case ROLLOUT_PROMOTING:
        return "the canary is good, it stays";
    case ROLLOUT_BATCHES:
        return rollout->kind == ROLLOUT_ROLLBACK ? "switching the hosts back"
                                                 : "switching the other hosts";
    case ROLLOUT_CLOSING:
        return "closing the rollout";
    case ROLLOUT_CLEANING:
        return "nothing was switched; removing what was sent";
    case ROLLOUT_UNWINDING:
        return "bringing every switched host back";
    case ROLLOUT_PAUSING:
        return "stopping here; the rollout stays open";
    case ROLLOUT_DECIDING:
    case ROLLOUT_FENCING:
    case ROLLOUT_RECORDING:
    case ROLLOUT_OVER:
    case ROLLOUT_NSTAGES:
        break;
    }
    return NULL;
}

const char *rollout_name_group(const struct rollout *rollout)
{
    enum rollout_stage stage = rollout->stage;
    bool one = stage == ROLLOUT_CANARY || stage == ROLLOUT_BATCHES || stage == ROLLOUT_UNWINDING;
    if (!one || rollout->limits.ngroups == 0 || rollout->group >= rollout->limits.ngroups)
        return NULL;
    return rollout->limits.groups[rollout->group].name;
}

const char *rollout_name_doing(const struct rollout *rollout, char text[static ROLLOUT_NAME_DOING])
{
    const char *what = doing(rollout), *group = rollout_name_group(rollout);
    if (!what || !group)
        return what;
    snprintf(text, ROLLOUT_NAME_DOING, "%s: group %.60s", what, group);
    return text;
}
