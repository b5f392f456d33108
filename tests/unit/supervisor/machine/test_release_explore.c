/* test_release_explore.c - every situation that two instances of a set can get into.
 *
 * It plays keeper, disk and operators: after any fact or in the middle of carrying out
 * acts the core may crash (what was committed is all that is left), the whole supervisor may be
 * restarted, the host may reboot.  Situations are kept in a compact form; some 360 000 are visited.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/machine/release.h"

enum { N = 2, NOW = 1000, LATE = 1000000, STEP = 10, READY = 50, LEASE = 500 };

static const char *const ids[] = { "", "000001-aaaaaaaa", "000002-bbbbbbbb" };
static const char *const tokens[] = { "", "5:x", "6:z" };
static const char *const reasons[] = {
    "",
    "it died",
    "late",
    "told to",
    "the host rebooted during the switch",
    "the supervisor was restarted during the switch",
    "the host rebooted before it was confirmed",
    "it was not confirmed in time",
};
enum { NIDS = 3, NTOKENS = 3, NREASONS = 8 };

static uint8_t code_of(const char *const *table, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(table[i], text) == 0)
            return (uint8_t)i;
    fail_msg("unknown text \"%s\"", text);
    return 0;
}
#define ID(text)     code_of(ids, NIDS, text)
#define TOKEN(text)  code_of(tokens, NTOKENS, text)
#define REASON(text) code_of(reasons, NREASONS, text)

struct small_pin {
    uint8_t phase, id, from, undone, undoable, stay, again, token, epoch, lease, deadline, reason;
    uint8_t last_result, last_id, last_from, last_token, last_reason, ngood, good[NIDS];
};
enum instance_state { ABSENT, STARTING, UP, BROKEN };
struct small {
    struct small_pin pin, committed;
    uint8_t member_id[N], member_ready[N], member_gave_up[N], member_asked[N], member_righted[N];
    uint8_t commit, links, arm, answer, baking, rush, stop_asked, stopped, ask_all, step_deadline;
    /* The world around it. */
    uint8_t target[N], state[N]; /* what the keeper makes each instance run, how far it is */
    uint8_t old[N];              /* what an overlapped replacement still has beside it */
    uint8_t waiting;             /* somebody waits for the end of the switch */
    uint8_t armed;               /* the timer */
    uint8_t stopping;            /* the keeper was told to stop all and has not said so yet */
    uint8_t stop_hangs;          /* ... and it took too long */
    uint8_t link;                /* what `current` shows */
    uint8_t fast;                /* probing faster */
};

static bool moving(uint8_t phase)
{
    return phase == RELEASE_SWITCHING || phase == RELEASE_REVERTING;
}

/* What cannot matter any more is the same for all: each switch sets these anew before reading them.
 */
static void forget(struct small_pin *pin)
{
    if (moving(pin->phase))
        pin->last_result = pin->last_id = pin->last_from = pin->last_token = pin->last_reason = 0;
    else
        pin->stay = pin->again = 0;
    if (!moving(pin->phase) && pin->phase != RELEASE_UNCONFIRMED)
        pin->lease = 0;
}

static struct small_pin pack_pin(const struct release_pin *pin)
{
    struct small_pin small = {
        .phase = (uint8_t)pin->phase,
        .id = ID(pin->id),
        .from = ID(pin->from),
        .undone = ID(pin->undone),
        .undoable = pin->undoable,
        .stay = pin->stay,
        .again = pin->again,
        .token = TOKEN(pin->token),
        .epoch = (uint8_t)pin->epoch,
        .lease = pin->lease_ms > 0,
        .deadline = pin->deadline_ms > 0,
        .reason = REASON(pin->reason),
        .last_result = (uint8_t)pin->last.result,
        .last_id = ID(pin->last.id),
        .last_from = ID(pin->last.from),
        .last_token = TOKEN(pin->last.token),
        .last_reason = REASON(pin->last.reason),
        .ngood = (uint8_t)pin->ngood,
    };

    assert_true(pin->ngood < NIDS);
    for (size_t i = 0; i < pin->ngood; i++)
        small.good[i] = ID(pin->good[i]);
    forget(&small);
    return small;
}

static void unpack_pin(const struct small_pin *small, struct release_pin *pin)
{
    memset(pin, 0, sizeof *pin);
    pin->phase = (enum release_phase)small->phase;
    strcpy(pin->id, ids[small->id]);
    strcpy(pin->from, ids[small->from]);
    strcpy(pin->undone, ids[small->undone]);
    pin->undoable = small->undoable;
    pin->stay = small->stay;
    pin->again = small->again;
    strcpy(pin->token, tokens[small->token]);
    pin->epoch = small->epoch;
    pin->lease_ms = small->lease ? LEASE : 0;
    pin->ready_ms = READY;
    pin->deadline_ms =
        !small->deadline ? 0 : NOW + (small->phase == RELEASE_UNCONFIRMED ? LEASE : READY);
    strcpy(pin->reason, reasons[small->reason]);
    pin->last.result = (enum release_result)small->last_result;
    strcpy(pin->last.id, ids[small->last_id]);
    strcpy(pin->last.from, ids[small->last_from]);
    strcpy(pin->last.token, tokens[small->last_token]);
    strcpy(pin->last.reason, reasons[small->last_reason]);
    pin->ngood = small->ngood;
    for (size_t i = 0; i < pin->ngood; i++)
        strcpy(pin->good[i], ids[small->good[i]]);
}

static void unpack(const struct small *small, struct release *release,
                   struct release_member members[N])
{
    memset(release, 0, sizeof *release);
    memset(members, 0, N * sizeof *members);
    unpack_pin(&small->pin, &release->pin);
    release->members = members;
    release->nmembers = N;
    release->step_ms = STEP;
    release->pass = 7;
    for (int i = 0; i < N; i++) {
        strcpy(members[i].id, ids[small->member_id[i]]);
        members[i].ready = small->member_ready[i];
        members[i].gave_up = small->member_gave_up[i];
        members[i].righted = small->member_righted[i];
        members[i].pass = small->member_asked[i] ? 7 : 3;
    }
    release->commit = small->commit;
    release->links = small->links;
    release->arm = small->arm;
    release->answer = small->answer;
    release->baking = small->baking;
    release->rush = small->rush;
    release->stop_asked = small->stop_asked;
    release->stopped = small->stopped;
    release->ask_all = small->ask_all;
    release->step_deadline_ms = small->step_deadline ? NOW + STEP : 0;
}

static void pack(const struct release *release, struct small *small)
{
    small->pin = pack_pin(&release->pin);
    for (int i = 0; i < N; i++) {
        const struct release_member *member = &release->members[i];
        small->member_id[i] = member->ready ? ID(member->id) : 0;
        small->member_ready[i] = member->ready;
        small->member_righted[i] = member->righted;
        small->member_asked[i] = member->pass == release->pass;
        small->member_gave_up[i] = member->gave_up && small->member_asked[i];
    }
    small->commit = release->commit;
    small->links = release->links;
    small->arm = release->arm;
    small->answer = release->answer;
    small->baking = release->baking;
    small->rush = release->rush;
    small->stop_asked = release->stop_asked;
    small->stopped = release->stopped;
    small->ask_all = release->ask_all;
    small->step_deadline = release->step_deadline_ms > 0;
}

static bool on_target(const struct small *s, int i) { return s->target[i] == s->pin.id; }

static void check_answer(const struct small *s)
{
    assert_false(moving(s->pin.phase));
    assert_int_not_equal(s->pin.last_result, RELEASE_RESULT_NONE);
    for (int i = 0; i < N; i++) {
        bool dead = s->target[i] == 0 || s->stop_hangs;
        assert_true(s->pin.id ? on_target(s, i) : dead); /* wholly one release */
    }
    if (s->pin.last_result == RELEASE_RESULT_REVERTED) {
        assert_int_not_equal(s->pin.last_id, s->pin.id);
        assert_int_equal(s->pin.last_from, s->pin.id);
        assert_int_not_equal(s->pin.last_reason, 0);
    } else {
        assert_int_equal(s->pin.last_id, s->pin.id);
    }
    if (s->pin.last_result == RELEASE_RESULT_FAILED)
        assert_int_not_equal(s->pin.last_reason, 0);
}

static void check_replace(const struct small *s, const struct release *release,
                          const struct release_act *act)
{
    assert_string_equal(act->id, release->pin.id);
    assert_int_not_equal(s->pin.id, 0);
    if (!moving(s->pin.phase)) { /* put right, after a crash with an overlapped one under way */
        assert_true(release->members[act->member].righted);
        return;
    }
    /* One after another: all before it are there, or were given up. */
    for (int i = 0; i < N; i++) {
        bool before =
            s->pin.phase == RELEASE_REVERTING ? i > (int)act->member : i < (int)act->member;
        if (before && !s->rush)
            assert_true((s->member_ready[i] && s->member_id[i] == s->pin.id) ||
                        s->member_gave_up[i]);
    }
}

/* Nothing is done of which the pin on disk does not know. */
static void check_committed(const struct small *s)
{
    assert_memory_equal(&s->committed, &s->pin, sizeof s->pin);
}

/* The machine is after release_next() already; `s` is as it was before and is brought up to it. */
static void perform(struct small *s, const struct release *release, const struct release_act *act)
{
    pack(release, s);
    switch (act->kind) {
    case RELEASE_ACT_COMMIT:
        s->committed = s->pin;
        break;
    case RELEASE_ACT_LINKS:
        check_committed(s);
        s->link = s->pin.id;
        assert_string_not_equal(release_previous(&release->pin), s->pin.id ? release->pin.id : "-");
        break;
    case RELEASE_ACT_ARM:
        s->armed = act->at_ms > 0;
        break;
    case RELEASE_ACT_REPLACE:
        check_committed(s);
        check_replace(s, release, act);
        if (s->target[act->member] != s->pin.id) {
            s->old[act->member] = s->state[act->member] == UP ? s->target[act->member] : 0;
            s->state[act->member] = STARTING;
        }
        s->target[act->member] = s->pin.id;
        s->stop_hangs = 0;
        break;
    case RELEASE_ACT_STOP_ALL:
        check_committed(s);
        assert_int_equal(s->pin.phase, RELEASE_REVERTING);
        assert_int_equal(s->pin.id, 0);
        s->stopping = 1;
        break;
    case RELEASE_ACT_BAKE:
        assert_int_equal(act->on, s->pin.phase == RELEASE_UNCONFIRMED);
        s->fast = act->on;
        break;
    case RELEASE_ACT_ANSWER:
        check_committed(s);
        check_answer(s);
        assert_false(release->answer);
        s->waiting = 0;
        break;
    case RELEASE_ACT_NONE:
    case RELEASE_NACTS:
        fail();
    }
}

/* What holds when nothing is left to do until the next fact. */
static void check_rest(const struct small *s)
{
    bool stays = s->pin.phase == RELEASE_STEADY || s->pin.phase == RELEASE_UNCONFIRMED ||
                 s->pin.phase == RELEASE_FAILED;

    check_committed(s);
    assert_int_equal(s->fast, s->pin.phase == RELEASE_UNCONFIRMED);
    assert_int_equal(s->armed, moving(s->pin.phase) || s->pin.phase == RELEASE_UNCONFIRMED);
    if (!moving(s->pin.phase))
        assert_int_equal(s->waiting, 0);
    if (stays || s->pin.phase == RELEASE_SWITCHING)
        assert_int_not_equal(s->pin.id, 0);
    if (s->link || s->pin.id)
        assert_int_equal(s->link, s->pin.id);
    for (int i = 0; i < N && stays; i++)
        assert_true(on_target(s, i));
    bool good = false;
    for (int i = 0; i < s->pin.ngood; i++) {
        good = good || s->pin.good[i] == s->pin.id;
        assert_true(s->pin.phase != RELEASE_REVERTING || s->pin.good[i] != s->pin.undone);
        for (int j = 0; j < i; j++)
            assert_int_not_equal(s->pin.good[i], s->pin.good[j]);
    }
    if (s->pin.phase == RELEASE_STEADY)
        assert_true(good);
}

enum fact {
    FACT_READY_0,
    FACT_READY_1,
    FACT_DOWN_0,
    FACT_DOWN_1,
    FACT_OLD_DOWN_0,
    FACT_OLD_DOWN_1, /* a late word about the other release */
    FACT_STOPPED,
    FACT_TIME,
    FACT_CORE_CRASH,
    FACT_RESTART,
    FACT_RESTART_LATE,
    FACT_REBOOT,
    FACT_CONFIRM,
    FACT_EXTEND,
    FACT_REVERT,
    FACT_CONFIRM_LOW,
    FACT_SWITCH /* + ((token * 2 + id - 1) * 2 + stay) * 2 + lease */
};
enum { NFACTS = FACT_SWITCH + NTOKENS * 2 * 2 * 2 };

static bool ready(struct small *s, struct release *release, int i)
{
    if (s->target[i] == 0 || s->state[i] == ABSENT)
        return false;
    s->state[i] = UP;
    s->old[i] = 0;
    release_ready(release, (size_t)i, ids[s->target[i]]);
    return true;
}

/* Told to stay, or there already: only an order makes it leave. */
static void check_stays(const struct small *s, const struct release *release)
{
    if (s->pin.phase == RELEASE_SWITCHING && (s->pin.stay || s->pin.again))
        assert_int_equal(release->pin.phase, RELEASE_SWITCHING);
}

/* An exit is a failure at once, nobody waits until it is late. */
static void check_failure_counts(const struct small *s, const struct release *release, int i)
{
    if (s->target[i] != s->pin.id || !moving(s->pin.phase))
        return;
    if (s->pin.phase == RELEASE_REVERTING)
        assert_int_equal(release->members[i].gave_up, s->member_asked[i]);
    else if (s->pin.stay)
        assert_true(release->pin.reason[0]);
    else
        assert_int_equal(release->pin.phase, RELEASE_REVERTING);
}

static bool down(struct small *s, struct release *release, int i)
{
    if (s->target[i] == 0 || s->state[i] == ABSENT)
        return false;
    s->state[i] = BROKEN;
    s->old[i] = 0;
    release_down(release, (size_t)i, ids[s->target[i]], "it died");
    check_stays(s, release);
    check_failure_counts(s, release, i);
    return true;
}

static bool old_down(struct small *s, struct release *release, int i)
{
    struct small_pin before = s->pin;
    int other = 3 - s->pin.id;

    if (s->pin.id == 0 || s->target[i] == other)
        return false;
    release_down(release, (size_t)i, ids[other], "it died");
    struct small_pin after = pack_pin(&release->pin);
    assert_memory_equal(&before, &after, sizeof before);
    return true;
}

static bool stopped(struct small *s, struct release *release)
{
    if (!s->stopping)
        return false;
    s->stopping = 0;
    for (int i = 0; i < N; i++)
        s->target[i] = s->state[i] = s->old[i] = 0;
    release_stopped(release);
    return true;
}

/* A new machine from what was committed.  Who waited has lost the connection. */
static bool start_again(struct small *s, struct release *release, enum release_start how,
                        int64_t now_ms)
{
    struct release_member *members = release->members;
    struct small_pin disk = s->committed;

    memset(members, 0, N * sizeof *members);
    *release = (struct release){ .members = members, .nmembers = N, .step_ms = STEP };
    unpack_pin(&disk, &release->pin);
    s->waiting = s->armed = s->fast = s->stopping = s->stop_hangs = 0;
    release_begin(release, how, now_ms);
    if (release->commit) { /* done before anything is started */
        release->commit = false;
        s->committed = pack_pin(&release->pin);
    }
    for (int i = 0; i < N; i++) {
        if (how != RELEASE_CORE_RESTARTED || !s->target[i]) {
            s->target[i] = ID(release->pin.id);
            s->state[i] = s->target[i] ? STARTING : ABSENT;
            s->old[i] = 0;
        } else if (s->old[i]) {
            release_ready(release, (size_t)i, ids[s->old[i]]);
        } else if (s->state[i] == UP) {
            release_ready(release, (size_t)i, ids[s->target[i]]);
        }
    }
    if (how != RELEASE_CORE_RESTARTED) {
        assert_true(release->pin.phase != RELEASE_REVERTING);
        assert_true(release->pin.phase != RELEASE_SWITCHING || release->pin.stay);
        assert_true(release->pin.phase != RELEASE_UNCONFIRMED ||
                    (how == RELEASE_FRESH && now_ms < LATE));
    }
    return true;
}

static void check_refused(const struct small *s, const struct release *release,
                          const struct err *err)
{
    struct small after = *s;

    pack(release, &after);
    assert_memory_equal(s, &after, sizeof after);
    assert_true(err->code == ERR_STALE || err->code == ERR_STATE);
    assert_true(strlen(err->text) > 10);
}

/* Who is older than the holder, or another with the same number, never gets through. */
static void check_fence(const struct small *s, const char *token, int rc)
{
    int64_t epoch = release_token_epoch(token);

    if (token[0] && epoch < s->pin.epoch)
        assert_int_equal(rc, ERR_STALE);
    if (token[0] && epoch == s->pin.epoch && s->pin.token &&
        strcmp(token, tokens[s->pin.token]) != 0)
        assert_int_equal(rc, ERR_STALE);
}

static bool order_switch(struct small *s, struct release *release, int which)
{
    const char *token = tokens[which / 8], *id = ids[1 + (which / 4) % 2];
    struct release_order order = {
        .id = id,
        .token = token,
        .stay = (which / 2) % 2,
        .lease_ms = which % 2 ? LEASE : 0,
        .ready_ms = READY,
    };
    struct err err = { .code = ERR_NONE };
    bool held = moving(s->pin.phase) || s->pin.phase == RELEASE_UNCONFIRMED;
    uint8_t subject = s->pin.phase == RELEASE_REVERTING ? s->pin.undone : s->pin.id;

    int rc = release_switch(release, &order, NOW, &err);
    check_fence(s, token, rc);
    if (held && ID(id) != subject)
        assert_int_equal(rc, ERR_STALE);
    if (rc < 0)
        check_refused(s, release, &err);
    if (rc == 0) {
        assert_string_equal(release->pin.last.id, id);
        assert_false(moving((uint8_t)release->pin.phase));
    }
    if (rc > 0) {
        assert_true(moving((uint8_t)release->pin.phase));
        s->waiting = 1;
    }
    /* Asked again with the same words: the same state, never a second switch. */
    if (rc >= 0) {
        unsigned pass = release->pass;
        struct small_pin before = pack_pin(&release->pin);
        assert_int_equal(release_switch(release, &order, NOW, &err), rc);
        struct small_pin after = pack_pin(&release->pin);
        assert_memory_equal(&before, &after, sizeof before);
        assert_int_equal(pass, release->pass);
    }
    return true;
}

static bool order_other(struct small *s, struct release *release, int fact)
{
    struct err err = { .code = ERR_NONE };
    const char *id = s->pin.phase == RELEASE_REVERTING ? ids[s->pin.undone] : ids[s->pin.id];
    const char *token = tokens[s->pin.token];
    int rc = -1;

    if (fact == FACT_CONFIRM_LOW) {
        if (s->pin.epoch == 0)
            return false;
        rc = release_confirm(release, id, "1:old", &err);
        assert_int_equal(rc, ERR_STALE);
        if (s->pin.token) /* the same number, another rollout */
            assert_int_equal(
                release_revert(release, id, s->pin.epoch == 5 ? "5:y" : "6:y", "told to", &err),
                ERR_STALE);
    } else if (fact == FACT_CONFIRM) {
        rc = release_confirm(release, id, token, &err);
        assert_int_equal(rc == 0,
                         s->pin.phase == RELEASE_UNCONFIRMED || s->pin.phase == RELEASE_STEADY);
    } else if (fact == FACT_EXTEND) {
        rc = release_extend(release, id, token, LEASE, NOW, &err);
        assert_int_equal(rc == 0,
                         s->pin.phase == RELEASE_UNCONFIRMED || s->pin.phase == RELEASE_STEADY);
    } else if (fact == FACT_REVERT) {
        rc = release_revert(release, id, token, "told to", &err);
        if (rc > 0)
            s->waiting = 1;
        if (rc >= 0 && s->pin.phase != RELEASE_NONE)
            assert_int_equal(release->pin.phase, RELEASE_REVERTING);
        if (s->pin.phase == RELEASE_UNCONFIRMED || s->pin.phase == RELEASE_REVERTING)
            assert_int_equal(rc, 1);
    }
    if (rc < 0)
        check_refused(s, release, &err);
    return true;
}

/* One fact; false when it cannot happen here. */
static bool happen(struct small *s, struct release *release, int fact)
{
    switch (fact) {
    case FACT_READY_0:
    case FACT_READY_1:
        return ready(s, release, fact - FACT_READY_0);
    case FACT_DOWN_0:
    case FACT_DOWN_1:
        return down(s, release, fact - FACT_DOWN_0);
    case FACT_OLD_DOWN_0:
    case FACT_OLD_DOWN_1:
        return old_down(s, release, fact - FACT_OLD_DOWN_0);
    case FACT_STOPPED:
        return stopped(s, release);
    case FACT_TIME:
        if (!s->armed)
            return false;
        s->stop_hangs = s->stop_hangs || s->stopping; /* out of patience with it */
        s->stopping = 0;
        release_time(release, LATE, "late");
        check_stays(s, release);
        return true;
    case FACT_CORE_CRASH:
        return start_again(s, release, RELEASE_CORE_RESTARTED, NOW);
    case FACT_RESTART:
        return start_again(s, release, RELEASE_FRESH, NOW);
    case FACT_RESTART_LATE:
        return start_again(s, release, RELEASE_FRESH, LATE);
    case FACT_REBOOT:
        return start_again(s, release, RELEASE_REBOOTED, NOW);
    default:
        return fact < FACT_SWITCH ? order_other(s, release, fact)
                                  : order_switch(s, release, fact - FACT_SWITCH);
    }
}

static struct {
    struct small *items; /* every situation seen, in the order of discovery */
    uint32_t *table;     /* open addressing: index + 1 */
    uint32_t *parent;    /* where it was discovered from ... */
    uint8_t *how;        /* ... and by which fact; NFACTS = an act */
    size_t at;           /* being expanded */
    int fact;
    size_t count, cap, slots;
} seen;

static uint64_t digest(const struct small *s)
{
    const unsigned char *bytes = (const unsigned char *)s;
    uint64_t hash = 14695981039346656037u;

    for (size_t i = 0; i < sizeof *s; i++)
        hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash ^ hash >> 29;
}

/* The way to a situation, for whoever has to find out what went wrong. */
static void print_way(size_t at)
{
    const struct small *s = &seen.items[at];

    if (at != 0)
        print_way(seen.parent[at]);
    print_message("  fact %2d -> %-11s id %d from %d undone %d member on %d/%d target %d/%d\n",
                  at ? seen.how[at] : -1, release_phase_name((enum release_phase)s->pin.phase),
                  s->pin.id, s->pin.from, s->pin.undone, s->member_id[0], s->member_id[1],
                  s->target[0], s->target[1]);
}

static void visit(const struct small *s)
{
    size_t at = digest(s) & (seen.slots - 1);

    for (; seen.table[at]; at = (at + 1) & (seen.slots - 1))
        if (memcmp(&seen.items[seen.table[at] - 1], s, sizeof *s) == 0)
            return;
    assert_true(seen.count < seen.cap);
    seen.parent[seen.count] = (uint32_t)seen.at;
    seen.how[seen.count] = (uint8_t)seen.fact;
    seen.items[seen.count++] = *s;
    seen.table[at] = (uint32_t)seen.count;
}

/* Whatever the instances do not do: when time passes, it ends, and whoever waits is answered. */
static void check_ends(struct small s)
{
    struct release release;
    struct release_member members[N];
    struct release_act act;
    int turns = 0;

    unpack(&s, &release, members);
    while (moving((uint8_t)release.pin.phase) || s.waiting) {
        while (release_next(&release, NOW, &act))
            perform(&s, &release, &act);
        pack(&release, &s);
        if (!moving(s.pin.phase))
            break;
        assert_true(s.armed);
        assert_true(turns++ < 2 * N + 2);
        assert_true(happen(&s, &release, FACT_TIME));
    }
    while (release_next(&release, NOW, &act))
        perform(&s, &release, &act);
    assert_int_equal(s.waiting, 0);
}

/* Everything at once would be tens of millions: so once with everything that may happen in the
 * middle of carrying out acts but orders by hand only, and once with all tokens but between turns.
 */
static bool by_hand;

static bool considered(int fact, bool due)
{
    if (by_hand)
        return fact < FACT_CONFIRM || (!due && fact < FACT_SWITCH + 8);
    if (due || (fact >= FACT_OLD_DOWN_0 && fact <= FACT_OLD_DOWN_1) || fact == FACT_DOWN_1)
        return false;
    return fact < FACT_CORE_CRASH || (fact >= FACT_CONFIRM && (fact - FACT_SWITCH) % 4 != 3);
}

static void expand(const struct small *from)
{
    struct release release;
    struct release_member members[N];
    struct release_act act;
    struct small to = *from;

    unpack(&to, &release, members);
    bool due = release_next(&release, NOW, &act);
    seen.fact = NFACTS;
    if (due) {
        perform(&to, &release, &act);
        visit(&to);
    } else {
        check_rest(from);
        check_ends(*from);
    }
    for (int fact = 0; fact < NFACTS; fact++) {
        if (!considered(fact, due))
            continue;
        seen.fact = fact;
        to = *from;
        unpack(&to, &release, members);
        if (!happen(&to, &release, fact))
            continue;
        pack(&release, &to);
        visit(&to);
    }
}

static int set_up(void **unused)
{
    (void)unused;
    seen.cap = 1u << 19;
    seen.slots = 1u << 20;
    seen.count = 0;
    seen.items = calloc(seen.cap, sizeof *seen.items);
    seen.parent = calloc(seen.cap, sizeof *seen.parent);
    seen.how = calloc(seen.cap, 1);
    seen.table = calloc(seen.slots, sizeof *seen.table);
    return seen.items && seen.parent && seen.how && seen.table ? 0 : -1;
}

static int tear_down(void **unused)
{
    (void)unused;
    if (seen.at < seen.count) {
        print_message("failed at fact %d after:\n", seen.fact);
        print_way(seen.at);
    }
    free(seen.items);
    free(seen.parent);
    free(seen.how);
    free(seen.table);
    return 0;
}

static void explore(void)
{
    struct small start = { .pin = { .phase = RELEASE_NONE } };

    visit(&start);
    for (seen.at = 0; seen.at < seen.count; seen.at++)
        expand(&seen.items[seen.at]);
    print_message("%zu situations\n", seen.count);
    assert_true(seen.count > 10000);
}

static void whatever_happens_in_the_middle(void **unused)
{
    (void)unused;
    by_hand = true;
    explore();
}

static void whoever_gives_orders(void **unused)
{
    (void)unused;
    by_hand = false;
    explore();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whatever_happens_in_the_middle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(whoever_gives_orders, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
