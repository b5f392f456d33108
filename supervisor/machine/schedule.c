/* schedule.c - the contract is in schedule.h. */
#include "supervisor/machine/schedule.h"

enum {
    SECOND_MS = 1000,
    COUNT_MAX = 1000,
    NOISE_MS = 5, /* two clocks are not read at the same moment */
};

/* Times of the schedule that have come and are not accounted for. */
struct dues {
    uint32_t count;
    int64_t first_ms, last_ms;
};

/* The first time of the schedule after `after_ms`, without shift. */
static int64_t next_of(const struct schedule_policy *policy, int64_t after_ms)
{
    if (policy->every_ms > 0)
        return after_ms + policy->every_ms;
    int64_t after_s = after_ms / SECOND_MS - (after_ms % SECOND_MS < 0);
    int64_t next_s = calendar_next(policy->lines, policy->nlines, &policy->zone, after_s);
    return next_s == CALENDAR_NEVER ? SCHEDULE_NEVER : next_s * SECOND_MS;
}

/* Those of the lines in (from, end]; false when there are more than are counted. */
static bool count_dues(const struct schedule_policy *policy, int64_t from_ms, int64_t end_ms,
                       struct dues *ret)
{
    *ret = (struct dues){ 0 };
    for (int64_t at = next_of(policy, from_ms); at <= end_ms; at = next_of(policy, at)) {
        if (ret->count == COUNT_MAX)
            return false;
        ret->first_ms = ret->count == 0 ? at : ret->first_ms;
        ret->last_ms = at;
        ret->count++;
    }
    return true;
}

/* Of very many only the later ones are looked at: a host that was off for a year, or began in 1970,
 * must not take seconds to count them. */
static struct dues dues_until(const struct schedule *s, const struct schedule_policy *policy,
                              int64_t wall_ms)
{
    int64_t end = wall_ms - policy->shift_ms, from = s->until_ms;
    struct dues dues = { 0 };

    if (policy->every_ms > 0) {
        int64_t count = end > s->until_ms ? (end - s->until_ms) / policy->every_ms : 0;
        dues.count = (uint32_t)(count < UINT32_MAX ? count : UINT32_MAX);
        dues.first_ms = s->until_ms + policy->every_ms;
        dues.last_ms = s->until_ms + count * policy->every_ms;
        return dues;
    }
    while (!count_dues(policy, from, end, &dues))
        from += (end - from) / 2;
    return dues;
}

/* --- accounting --- */

static void miss(struct schedule *s, struct schedule_verdict *v, uint32_t count, int64_t first_ms,
                 int64_t last_ms, enum schedule_why why)
{
    if (count == 0)
        return;
    if (v->missed == 0)
        v->first_ms = first_ms;
    v->last_ms = last_ms;
    v->missed += count;
    v->why = why;
    s->missed += count;
}

static void skip(struct schedule *s, struct schedule_verdict *v, int64_t at_ms)
{
    if (v->missed == 0) {
        v->first_ms = v->skipped == 0 ? at_ms : v->first_ms;
        v->last_ms = at_ms;
    }
    v->skipped++;
    s->skipped++;
}

static bool too_late(const struct schedule_policy *policy, int64_t due_ms, int64_t wall_ms)
{
    return policy->deadline_ms > 0 && wall_ms - due_ms - policy->shift_ms > policy->deadline_ms;
}

/* --- what is to be done --- */

static void start(struct schedule_verdict *v, int64_t due_ms)
{
    v->act = SCHEDULE_START;
    v->due_ms = due_ms;
}

/* It has come while the run before is under way. */
static void overlap(struct schedule *s, const struct schedule_policy *policy, int64_t due_ms,
                    struct schedule_verdict *v)
{
    switch (policy->overlap) {
    case SCHEDULE_FORBID:
        skip(s, v, due_ms);
        break;
    case SCHEDULE_QUEUE: /* one waits, who was there first */
        if (s->queued_ms)
            skip(s, v, due_ms);
        else
            s->queued_ms = due_ms;
        break;
    case SCHEDULE_REPLACE:
        if (s->queued_ms)
            skip(s, v, s->queued_ms);
        s->queued_ms = due_ms;
        v->act = SCHEDULE_REPLACE_RUN;
        break;
    }
}

/* The one that waited, unless it is too late for it by now. */
static void take_queued(struct schedule *s, const struct schedule_policy *policy,
                        struct schedule_now now, struct schedule_verdict *v)
{
    int64_t due = s->queued_ms;
    bool down = s->fresh && policy->catch_up == SCHEDULE_CATCH_UP_NONE;

    if (due == 0 || s->running)
        return;
    s->queued_ms = 0;
    if (down || too_late(policy, due, now.wall_ms))
        miss(s, v, 1, due, due, down ? SCHEDULE_WHY_DOWN : SCHEDULE_WHY_DEADLINE);
    else
        start(v, due);
}

/* The latest of them counts, if any does. */
static void take_latest(struct schedule *s, const struct schedule_policy *policy,
                        struct schedule_now now, const struct dues *dues,
                        struct schedule_verdict *v)
{
    bool down = s->fresh && policy->catch_up == SCHEDULE_CATCH_UP_NONE;
    bool late = too_late(policy, dues->last_ms, now.wall_ms);
    enum schedule_why why = s->fresh ? SCHEDULE_WHY_DOWN : SCHEDULE_WHY_LATE;

    if (late && !down)
        why = SCHEDULE_WHY_DEADLINE;
    s->until_ms = dues->last_ms;
    miss(s, v, dues->count - !(down || late), dues->first_ms, dues->last_ms, why);
    if (down || late)
        return;
    if (s->running || v->act == SCHEDULE_START)
        overlap(s, policy, dues->last_ms, v);
    else
        start(v, dues->last_ms);
}

/* All of them count, one after another; those before the hundred latest do not. */
static void take_each(struct schedule *s, const struct schedule_policy *policy,
                      struct schedule_now now, struct dues dues, struct schedule_verdict *v)
{
    if (s->fresh || dues.count > 1)
        s->backlog_ms = dues.last_ms;
    while (dues.count > 0) {
        bool old = dues.count > SCHEDULE_BACKLOG_MAX;

        if (!old && !too_late(policy, dues.first_ms, now.wall_ms))
            break;
        miss(s, v, 1, dues.first_ms, dues.first_ms,
             old ? SCHEDULE_WHY_LATE : SCHEDULE_WHY_DEADLINE);
        s->until_ms = dues.first_ms;
        dues.first_ms = next_of(policy, dues.first_ms);
        dues.count--;
    }
    if (dues.count == 0)
        return;
    bool busy = s->running || v->act == SCHEDULE_START;
    if (busy && dues.first_ms <= s->backlog_ms)
        return; /* it waits for the end of the run before */
    s->until_ms = dues.first_ms;
    if (busy)
        overlap(s, policy, dues.first_ms, v);
    else
        start(v, dues.first_ms);
}

/* --- the clock --- */

/* An interval is a distance: it does not care what the wall clock says. */
static void follow_clock(struct schedule *s, const struct schedule_policy *policy,
                         struct schedule_now now, struct schedule_verdict *v)
{
    int64_t ahead = now.wall_ms - now.boot_ms, moved = ahead - s->ahead_ms;

    if (moved >= -NOISE_MS && moved <= NOISE_MS)
        return;
    s->ahead_ms = ahead;
    if (policy->every_ms > 0) {
        s->until_ms = s->until_ms + moved < now.wall_ms ? s->until_ms + moved : now.wall_ms;
        s->backlog_ms += s->backlog_ms ? moved : 0;
        s->queued_ms += s->queued_ms ? moved : 0;
        return;
    }
    if (moved > SCHEDULE_CORRECTION_MS) {
        struct dues dues = dues_until(s, policy, now.wall_ms);
        miss(s, v, dues.count, dues.first_ms, dues.last_ms, SCHEDULE_WHY_CLOCK);
        s->until_ms = now.wall_ms - policy->shift_ms;
        v->clock_set = true;
    } else if (s->until_ms > now.wall_ms + SCHEDULE_CORRECTION_MS) {
        s->until_ms = now.wall_ms;
        s->backlog_ms = 0;
        s->queued_ms = s->queued_ms ? now.wall_ms : 0;
        v->clock_set = true;
    }
}

static bool at_reboot(const struct schedule_policy *policy)
{
    bool ret = false;

    for (size_t i = 0; i < policy->nlines; i++)
        ret |= policy->lines[i].reboot;
    return ret;
}

void schedule_look(struct schedule *s, const struct schedule_policy *policy,
                   struct schedule_now now, struct schedule_verdict *ret)
{
    *ret = (struct schedule_verdict){ .next_ms = SCHEDULE_NEVER };
    if (!s->active)
        return;
    follow_clock(s, policy, now, ret);
    take_queued(s, policy, now, ret);
    struct dues dues = dues_until(s, policy, now.wall_ms);
    if (dues.count > 0 && policy->catch_up == SCHEDULE_CATCH_UP_ALL)
        take_each(s, policy, now, dues, ret);
    else if (dues.count > 0)
        take_latest(s, policy, now, &dues, ret);
    if (s->fresh == SCHEDULE_FRESH_START && at_reboot(policy) && ret->act == SCHEDULE_WAIT &&
        !s->running)
        start(ret, now.wall_ms);
    s->fresh = 0;
    ret->next_ms = schedule_next(s, policy);
    if (s->running && ret->next_ms - policy->shift_ms <= s->backlog_ms)
        ret->next_ms = SCHEDULE_NEVER; /* when the run has ended */
}

/* --- its life --- */

void schedule_activate(struct schedule *s, const struct schedule_policy *policy,
                       struct schedule_now now)
{
    s->active = 1;
    s->fresh = 0;
    s->until_ms = now.wall_ms;
    s->ahead_ms = now.wall_ms - now.boot_ms;
    s->backlog_ms = s->queued_ms = 0;
    s->rules = policy->rules;
}

void schedule_suspend(struct schedule *s) { s->active = 0, s->queued_ms = s->backlog_ms = 0; }

bool schedule_restore(struct schedule *s, const struct schedule_policy *policy,
                      struct schedule_now now)
{
    bool lost = s->running;

    if (lost)
        s->result = SCHEDULE_LOST;
    s->failures += lost;
    s->running = 0;
    if (!s->active) /* it was suspended: what passed then does not count */
        s->until_ms = now.wall_ms;
    s->active = 1;
    s->fresh = SCHEDULE_FRESH_START;
    s->ahead_ms = now.wall_ms - now.boot_ms;
    schedule_follow(s, policy, now);
    return lost;
}

void schedule_take_over(struct schedule *s, const struct schedule_policy *policy,
                        struct schedule_now now)
{
    int64_t next = schedule_next(s, policy);

    if (next != SCHEDULE_NEVER && next < now.wall_ms - SCHEDULE_GAP_MS)
        s->fresh = SCHEDULE_FRESH_GAP;
}

void schedule_follow(struct schedule *s, const struct schedule_policy *policy,
                     struct schedule_now now)
{
    if (s->rules == policy->rules)
        return;
    s->rules = policy->rules;
    s->until_ms = now.wall_ms;
    s->backlog_ms = 0;
}

void schedule_begin(struct schedule *s, int64_t due_ms, struct schedule_now now)
{
    s->running = 1;
    s->due_ms = due_ms;
    s->started_ms = now.wall_ms;
    s->ended_ms = 0;
    s->runs++;
}

void schedule_end(struct schedule *s, enum schedule_result result, struct schedule_now now)
{
    s->running = 0;
    s->ended_ms = now.wall_ms;
    s->result = (uint8_t)result;
    s->failures += result == SCHEDULE_FAILURE;
}

int64_t schedule_next(const struct schedule *s, const struct schedule_policy *policy)
{
    int64_t next = s->active ? next_of(policy, s->until_ms) : SCHEDULE_NEVER;

    return next == SCHEDULE_NEVER ? next : next + policy->shift_ms;
}

const char *schedule_result_name(enum schedule_result result)
{
    static const char *const names[SCHEDULE_NRESULTS] = {
        [SCHEDULE_NO_RESULT] = "none",  [SCHEDULE_SUCCESS] = "success",
        [SCHEDULE_FAILURE] = "failure", [SCHEDULE_STOPPED] = "stopped",
        [SCHEDULE_LOST] = "lost",
    };

    return result < SCHEDULE_NRESULTS ? names[result] : "unknown";
}

const char *schedule_why_text(enum schedule_why why)
{
    switch (why) {
    case SCHEDULE_WHY_DOWN:
        return "the supervisor was not running";
    case SCHEDULE_WHY_LATE:
        return "several times had passed at once";
    case SCHEDULE_WHY_DEADLINE:
        return "it was later than starting_deadline";
    case SCHEDULE_WHY_CLOCK:
        return "the clock was set";
    }
    return "";
}
