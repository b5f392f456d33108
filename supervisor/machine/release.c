/* release.c - the contract is in release.h. */
#include "supervisor/machine/release.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* clang-format off */
static const struct {
    const char *name;
    bool moving; /* somebody holds the set: another id is refused */
} phases[RELEASE_NPHASES] = {
    [RELEASE_NONE]        = { "none",        false },
    [RELEASE_STEADY]      = { "steady",      false },
    [RELEASE_SWITCHING]   = { "switching",   true  },
    [RELEASE_UNCONFIRMED] = { "unconfirmed", true  },
    [RELEASE_REVERTING]   = { "reverting",   true  },
    [RELEASE_FAILED]      = { "failed",      false },
};
static const char *const results[RELEASE_NRESULTS] = {
    [RELEASE_RESULT_NONE]     = "none",
    [RELEASE_RESULT_SWITCHED] = "switched",
    [RELEASE_RESULT_REVERTED] = "reverted",
    [RELEASE_RESULT_FAILED]   = "failed",
};
/* clang-format on */

const char *release_phase_name(enum release_phase phase) { return phases[phase].name; }
const char *release_result_name(enum release_result result) { return results[result]; }

static void copy_text(char *to, size_t size, const char *from)
{
    /* Overlapping is possible: a caller may pass a text of this machine back in. */
    size_t len = strlen(from);

    if (len >= size)
        len = size - 1;
    memmove(to, from, len);
    memset(to + len, 0, size - len);
}

static bool is(const char *a, const char *b) { return strcmp(a, b) == 0; }

bool release_id_valid(const char *id)
{
    size_t number = strspn(id, "0123456789");

    if (number < 6 || id[number] != '-' || strlen(id) >= RELEASE_ID_MAX)
        return false;
    size_t digest = strspn(id + number + 1, "0123456789abcdef");
    return digest >= 8 && !id[number + 1 + digest];
}

int64_t release_token_epoch(const char *token)
{
    int64_t epoch = 0;
    const char *at = token;

    for (; *at >= '0' && *at <= '9'; at++) {
        if (epoch > (INT64_MAX - 9) / 10)
            return -1;
        epoch = epoch * 10 + (*at - '0');
    }
    if (at == token || *at++ != ':' || !*at || strlen(token) >= RELEASE_TOKEN_MAX)
        return -1;
    for (const char *c = at; *c; c++)
        if (*c <= ' ' || *c > '~' || *c == '"' || *c == '\\')
            return -1;
    return epoch;
}

/* The id that the present holder is about. */
static const char *subject(const struct release_pin *pin)
{
    return pin->phase == RELEASE_REVERTING ? pin->undone : pin->id;
}

static int stale(const struct release *release, struct err *err)
{
    const struct release_pin *pin = &release->pin;

    return err_set(err, ERR_STALE, "%s (%s) is held by %s%s", subject(pin)[0] ? subject(pin) : "-",
                   phases[pin->phase].name, pin->token[0] ? "rollout " : "an order by hand",
                   pin->token);
}

/* A command of an older rollout, or of another one with the same number, is too late. */
static int fence(const struct release *release, const char *token, struct err *err)
{
    const struct release_pin *pin = &release->pin;
    int64_t epoch = release_token_epoch(token);

    if (!token[0] || epoch > pin->epoch)
        return 0;
    if (epoch == pin->epoch && (!pin->token[0] || is(token, pin->token)))
        return 0;
    return stale(release, err);
}

/* Whoever gives an order with a token holds the set from now on. */
static void hold(struct release *release, const char *token)
{
    struct release_pin *pin = &release->pin;

    if (!token[0] || is(pin->token, token))
        return;
    if (is(pin->last.token, pin->token) && is(pin->last.id, subject(pin)))
        copy_text(pin->last.token, sizeof pin->last.token, token);
    copy_text(pin->token, sizeof pin->token, token);
    pin->epoch = release_token_epoch(token);
    release->commit = true;
}

static void forget_good(struct release_pin *pin, const char *id)
{
    size_t kept = 0;

    for (size_t i = 0; i < pin->ngood; i++)
        if (!is(pin->good[i], id))
            memmove(pin->good[kept++], pin->good[i], RELEASE_ID_MAX);
    for (size_t i = kept; i < pin->ngood; i++)
        memset(pin->good[i], 0, RELEASE_ID_MAX);
    pin->ngood = kept;
}

static void remember_good(struct release_pin *pin)
{
    forget_good(pin, pin->id);
    if (pin->ngood == RELEASE_GOOD_MAX)
        pin->ngood--;
    memmove(pin->good[1], pin->good[0], pin->ngood * sizeof pin->good[0]);
    memcpy(pin->good[0], pin->id, RELEASE_ID_MAX);
    pin->ngood++;
}

static void set_last(struct release_pin *pin, enum release_result result, const char *id,
                     const char *from)
{
    pin->last.result = result;
    copy_text(pin->last.id, sizeof pin->last.id, id);
    copy_text(pin->last.from, sizeof pin->last.from, from);
    copy_text(pin->last.token, sizeof pin->last.token, pin->token);
    copy_text(pin->last.reason, sizeof pin->last.reason, pin->reason);
}

static void enter(struct release *release, enum release_phase phase)
{
    release->pin.phase = phase;
    release->commit = release->arm = true;
}

/* Members asked before count as not asked, and an answer that was not given yet is out of date. */
static void new_pass(struct release *release)
{
    release->pass++;
    release->answer = false;
    release->rush = release->stop_asked = release->stopped = false;
    release->step_deadline_ms = 0;
}

static void settle(struct release *release)
{
    struct release_pin *pin = &release->pin;

    pin->deadline_ms = 0;
    copy_text(pin->reason, sizeof pin->reason, "");
    pin->stay = pin->again = false;
    enter(release, pin->id[0] ? RELEASE_STEADY : RELEASE_NONE);
}

static void end_revert(struct release *release)
{
    struct release_pin *pin = &release->pin;

    set_last(pin, RELEASE_RESULT_REVERTED, pin->undone, pin->id);
    copy_text(pin->undone, sizeof pin->undone, "");
    release->answer = true;
    release->ask_all = false;
    settle(release);
}

static void begin_revert(struct release *release, const char *reason)
{
    struct release_pin *pin = &release->pin;

    copy_text(pin->reason, sizeof pin->reason, reason);
    copy_text(pin->undone, sizeof pin->undone, pin->id);
    copy_text(pin->id, sizeof pin->id, pin->from);
    copy_text(pin->from, sizeof pin->from, "");
    pin->undoable = pin->stay = pin->again = false;
    pin->deadline_ms = 0;
    forget_good(pin, pin->undone);
    new_pass(release);
    release->links = true;
    enter(release, RELEASE_REVERTING);
}

static void end_switch(struct release *release, int64_t now_ms)
{
    struct release_pin *pin = &release->pin;
    bool failed = pin->reason[0] != '\0';

    set_last(pin, failed ? RELEASE_RESULT_FAILED : RELEASE_RESULT_SWITCHED, pin->id,
             pin->undoable ? pin->from : "");
    release->answer = true;
    release->ask_all = false;
    if (failed && !pin->again) {
        pin->deadline_ms = 0;
        enter(release, RELEASE_FAILED);
    } else if (!failed && pin->lease_ms > 0) {
        pin->deadline_ms = now_ms + pin->lease_ms;
        enter(release, RELEASE_UNCONFIRMED);
    } else {
        if (!failed)
            remember_good(pin);
        settle(release);
    }
}

/* The first thing that goes wrong decides; with on_fail=stay the rest goes on. */
static void fail(struct release *release, const char *reason)
{
    struct release_pin *pin = &release->pin;

    if (!pin->stay) {
        begin_revert(release, reason);
    } else if (!pin->reason[0]) {
        copy_text(pin->reason, sizeof pin->reason, reason[0] ? reason : "it failed");
        release->commit = true;
    }
}

static bool settled(const struct release *release, const struct release_member *member)
{
    bool asked = member->pass == release->pass;

    if (asked && (member->gave_up || release->rush))
        return true;
    return (asked || !release->ask_all) && member->ready && is(member->id, release->pin.id);
}

/* The member whose turn it is: forward to a release, backward on the way back; or nmembers. */
static size_t turn(const struct release *release)
{
    size_t count = release->nmembers;
    bool back = release->pin.phase == RELEASE_REVERTING;

    for (size_t i = 0; i < count; i++) {
        size_t at = back ? count - 1 - i : i;
        if (!settled(release, &release->members[at]))
            return at;
    }
    return count;
}

static int64_t timer_at(const struct release *release)
{
    if (release->pin.phase == RELEASE_REVERTING)
        return release->step_deadline_ms;
    return release->rush ? 0 : release->pin.deadline_ms;
}

/* What does not depend on the instances: first of all the commit, so that nothing is done of which
 * the pin does not know. */
static bool due(struct release *release, struct release_act *ret)
{
    bool bake = release->pin.phase == RELEASE_UNCONFIRMED;

    *ret = (struct release_act){ .kind = RELEASE_ACT_NONE };
    if (release->commit) {
        release->commit = false;
        ret->kind = RELEASE_ACT_COMMIT;
    } else if (release->links) {
        release->links = false;
        ret->kind = RELEASE_ACT_LINKS;
    } else if (release->arm) {
        release->arm = false;
        ret->kind = RELEASE_ACT_ARM;
        ret->at_ms = timer_at(release);
    } else if (release->baking != bake) {
        release->baking = ret->on = bake;
        ret->kind = RELEASE_ACT_BAKE;
    } else if (release->answer) {
        release->answer = false;
        ret->kind = RELEASE_ACT_ANSWER;
    }
    return ret->kind != RELEASE_ACT_NONE;
}

static bool replace_next(struct release *release, int64_t now_ms, struct release_act *ret)
{
    size_t at = turn(release);

    if (at == release->nmembers) {
        if (release->pin.phase == RELEASE_REVERTING)
            end_revert(release);
        else
            end_switch(release, now_ms);
        return release_next(release, now_ms, ret);
    }
    struct release_member *member = &release->members[at];
    bool asked = member->pass == release->pass;
    bool back = release->pin.phase == RELEASE_REVERTING;
    /* Each has its time on the way back, also one whose turn has come again. */
    if (back && (!asked || !release->step_deadline_ms)) {
        release->step_deadline_ms = now_ms + release->step_ms;
        release->arm = true;
    }
    if (asked)
        return due(release, ret);
    *member = (struct release_member){ .pass = release->pass };
    *ret = (struct release_act){ .kind = RELEASE_ACT_REPLACE, .member = at, .id = release->pin.id };
    return true;
}

static bool stop_next(struct release *release, int64_t now_ms, struct release_act *ret)
{
    if (release->stopped) {
        end_revert(release);
        return release_next(release, now_ms, ret);
    }
    if (release->stop_asked)
        return false;
    release->stop_asked = release->arm = true;
    release->step_deadline_ms = now_ms + release->step_ms;
    for (size_t i = 0; i < release->nmembers; i++)
        release->members[i] = (struct release_member){ .pass = release->pass };
    *ret = (struct release_act){ .kind = RELEASE_ACT_STOP_ALL };
    return true;
}

static bool put_right(struct release *release, struct release_act *ret)
{
    for (size_t i = 0; i < release->nmembers; i++) {
        struct release_member *member = &release->members[i];
        if (!member->ready || member->righted || is(member->id, release->pin.id))
            continue;
        *member = (struct release_member){ .pass = release->pass, .righted = true };
        *ret =
            (struct release_act){ .kind = RELEASE_ACT_REPLACE, .member = i, .id = release->pin.id };
        return true;
    }
    return false;
}

bool release_next(struct release *release, int64_t now_ms, struct release_act *ret)
{
    if (due(release, ret))
        return true;
    switch (release->pin.phase) {
    case RELEASE_SWITCHING:
        return replace_next(release, now_ms, ret);
    case RELEASE_REVERTING:
        return release->pin.id[0] ? replace_next(release, now_ms, ret)
                                  : stop_next(release, now_ms, ret);
    case RELEASE_STEADY:
    case RELEASE_UNCONFIRMED:
    case RELEASE_FAILED:
        return put_right(release, ret);
    case RELEASE_NONE:
    case RELEASE_NPHASES:
        break;
    }
    return false;
}

/* Where an undo of the new switch goes: to what was good, never to what has failed. */
static void set_origin(struct release_pin *pin, const char *id)
{
    if (is(id, pin->id))
        return;
    if (pin->phase != RELEASE_FAILED) {
        copy_text(pin->from, sizeof pin->from, pin->id);
        pin->undoable = true;
    } else if (is(id, pin->from)) {
        copy_text(pin->from, sizeof pin->from, "");
        pin->undoable = false;
    }
}

static void begin_switch(struct release *release, const struct release_order *order, int64_t now_ms)
{
    struct release_pin *pin = &release->pin;

    pin->again = pin->phase == RELEASE_STEADY && is(order->id, pin->id);
    set_origin(pin, order->id);
    copy_text(pin->id, sizeof pin->id, order->id);
    pin->stay = order->stay || pin->again || !pin->undoable;
    pin->lease_ms = pin->again || !pin->undoable ? 0 : order->lease_ms;
    pin->ready_ms = order->ready_ms;
    pin->deadline_ms = now_ms + order->ready_ms;
    copy_text(pin->reason, sizeof pin->reason, "");
    if (order->token[0])
        hold(release, order->token);
    else
        copy_text(pin->token, sizeof pin->token, "");
    new_pass(release);
    if (pin->phase == RELEASE_NONE) /* late news of an undone one means nothing */
        release->ask_all = true;
    release->links = true;
    enter(release, RELEASE_SWITCHING);
}

int release_switch(struct release *release, const struct release_order *order, int64_t now_ms,
                   struct err *err)
{
    struct release_pin *pin = &release->pin;
    int rc = fence(release, order->token, err);

    if (rc < 0)
        return rc;
    if (phases[pin->phase].moving) {
        if (!is(order->id, subject(pin)))
            return stale(release, err);
        hold(release, order->token);
        return pin->phase != RELEASE_UNCONFIRMED;
    }
    if (order->token[0] && pin->last.result != RELEASE_RESULT_NONE &&
        is(order->token, pin->last.token) && is(order->id, pin->last.id))
        return 0;
    begin_switch(release, order, now_ms);
    return 1;
}

/* Why confirm and extend cannot be: `id` is not what waits to be confirmed. */
static int not_waiting(const struct release *release, const char *id, struct err *err)
{
    const struct release_pin *pin = &release->pin;

    if (pin->phase == RELEASE_REVERTING && is(id, pin->undone))
        return err_set(err, ERR_STATE, "%s is being undone: %s", id, pin->reason);
    if (is(id, pin->id) && pin->phase == RELEASE_SWITCHING)
        return err_set(err, ERR_STATE, "%s is not ready on all instances yet", id);
    if (is(id, pin->id) && pin->phase == RELEASE_FAILED)
        return err_set(err, ERR_STATE, "%s did not become ready: %s; switch to it again", id,
                       pin->reason);
    if (is(id, pin->last.id) && pin->last.result == RELEASE_RESULT_REVERTED && !is(id, pin->id))
        return err_set(err, ERR_STATE, "%s was undone: %s", id, pin->last.reason);
    return stale(release, err);
}

int release_confirm(struct release *release, const char *id, const char *token, struct err *err)
{
    struct release_pin *pin = &release->pin;
    int rc = fence(release, token, err);

    if (rc < 0)
        return rc;
    if (is(id, pin->id) && pin->phase == RELEASE_STEADY)
        return 0;
    if (!is(id, pin->id) || pin->phase != RELEASE_UNCONFIRMED)
        return not_waiting(release, id, err);
    hold(release, token);
    remember_good(pin);
    settle(release);
    return 0;
}

int release_extend(struct release *release, const char *id, const char *token, int64_t lease_ms,
                   int64_t now_ms, struct err *err)
{
    struct release_pin *pin = &release->pin;
    int rc = fence(release, token, err);

    if (rc < 0)
        return rc;
    if (is(id, pin->id) && pin->phase == RELEASE_STEADY)
        return 0;
    if (!is(id, pin->id) || pin->phase != RELEASE_UNCONFIRMED)
        return not_waiting(release, id, err);
    hold(release, token);
    pin->lease_ms = lease_ms;
    pin->deadline_ms = now_ms + lease_ms;
    release->commit = release->arm = true;
    return 0;
}

int release_revert(struct release *release, const char *id, const char *token, const char *reason,
                   struct err *err)
{
    struct release_pin *pin = &release->pin;
    int rc = fence(release, token, err);

    if (rc < 0)
        return rc;
    if (pin->phase == RELEASE_REVERTING && is(id, pin->undone)) {
        hold(release, token);
        return 1;
    }
    if (pin->phase == RELEASE_REVERTING || !is(id, pin->id)) {
        bool done = is(id, pin->last.id) && pin->last.result == RELEASE_RESULT_REVERTED;
        return done && !phases[pin->phase].moving ? 0 : stale(release, err);
    }
    if (!pin->undoable)
        return err_set(err, ERR_STATE, "nothing is known that %s could go back to", id);
    hold(release, token);
    begin_revert(release, reason);
    return 1;
}

const char *release_rollback_target(const struct release *release, size_t n)
{
    const struct release_pin *pin = &release->pin;

    for (size_t i = 0; i < pin->ngood; i++)
        if (!is(pin->good[i], pin->id) && n-- == 0)
            return pin->good[i];
    return NULL;
}

void release_ready(struct release *release, size_t at, const char *id)
{
    struct release_member *member = &release->members[at];

    copy_text(member->id, sizeof member->id, id);
    member->ready = true;
    if (is(id, release->pin.id))
        member->gave_up = false;
}

void release_down(struct release *release, size_t at, const char *id, const char *reason)
{
    struct release_member *member = &release->members[at];
    bool wanted = release->pin.id[0] && is(id, release->pin.id);

    if (is(member->id, id))
        member->ready = false;
    if (!wanted)
        return; /* the one that is being replaced */
    if (release->pin.phase == RELEASE_SWITCHING) {
        member->gave_up = member->pass == release->pass;
        fail(release, reason);
    } else if (release->pin.phase == RELEASE_REVERTING) {
        member->gave_up = member->pass == release->pass;
    }
}

void release_stopped(struct release *release)
{
    if (release->stop_asked)
        release->stopped = true;
}

size_t release_waiting_for(const struct release *release)
{
    bool replacing = release->pin.phase == RELEASE_SWITCHING ||
                     (release->pin.phase == RELEASE_REVERTING && release->pin.id[0]);

    return replacing ? turn(release) : release->nmembers;
}

static void step_ran_out(struct release *release)
{
    size_t at = release_waiting_for(release);

    release->step_deadline_ms = 0;
    if (at < release->nmembers && release->members[at].pass == release->pass)
        release->members[at].gave_up = true;
    release->stopped = release->stop_asked;
}

void release_time(struct release *release, int64_t now_ms, const char *reason)
{
    int64_t at_ms = timer_at(release);

    if (!at_ms)
        return;
    if (now_ms < at_ms) {
        release->arm = true; /* the timer was early */
        return;
    }
    if (release->pin.phase == RELEASE_REVERTING) {
        step_ran_out(release);
    } else if (release->pin.phase == RELEASE_UNCONFIRMED) {
        begin_revert(release, reason);
    } else if (release->pin.phase == RELEASE_SWITCHING) {
        release->rush = release->pin.stay;
        fail(release, reason);
    }
}

static void undo_before_start(struct release *release, const char *reason)
{
    begin_revert(release, reason);
    end_revert(release);
    release->answer = false;
}

/* A deadline that is further away than it ever can be comes from another clock. */
static void clamp_deadline(struct release_pin *pin, int64_t now_ms)
{
    int64_t most_ms = pin->phase == RELEASE_UNCONFIRMED ? pin->lease_ms : pin->ready_ms;

    if (pin->deadline_ms > now_ms + most_ms)
        pin->deadline_ms = now_ms + most_ms;
}

static void begin_fresh(struct release *release, bool rebooted, int64_t now_ms)
{
    struct release_pin *pin = &release->pin;

    if (pin->phase == RELEASE_REVERTING) {
        end_revert(release);
        release->answer = false;
    } else if (pin->phase == RELEASE_SWITCHING && pin->stay) {
        pin->deadline_ms = now_ms + pin->ready_ms;
        release->commit = true;
    } else if (pin->phase == RELEASE_SWITCHING) {
        undo_before_start(release, rebooted ? "the host rebooted during the switch"
                                            : "the supervisor was restarted during the switch");
    } else if (pin->phase == RELEASE_UNCONFIRMED && rebooted) {
        undo_before_start(release, "the host rebooted before it was confirmed");
    } else if (pin->phase == RELEASE_UNCONFIRMED && now_ms >= pin->deadline_ms) {
        undo_before_start(release, "it was not confirmed in time");
    }
}

void release_begin(struct release *release, enum release_start start, int64_t now_ms)
{
    new_pass(release);
    release->links = release->arm = true;
    clamp_deadline(&release->pin, now_ms);
    if (start == RELEASE_CORE_RESTARTED)
        release->ask_all = true;
    else
        begin_fresh(release, start == RELEASE_REBOOTED, now_ms);
}

const char *release_previous(const struct release_pin *pin)
{
    if (pin->undoable && pin->from[0])
        return pin->from;
    for (size_t i = 0; i < pin->ngood; i++)
        if (!is(pin->good[i], pin->id))
            return pin->good[i];
    return "";
}
