/* test_rollout.c - a few readable stories, then thousands of scripted ones.
 *
 * The hosts here are simulated as CONTRACT.md describes real ones: an unconfirmed release goes
 * back when its lease runs out, the same call again gives the same answer, and a lost answer may
 * mean that the act happened or that it did not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "deployctl/plan/rollout.h"
#include "deployctl/plan/rollout_name.h"

enum { HOSTS = 8, FAULTS = 2, STEPS_MAX = 20000 };
enum fault_kind {
    FAULT_NONE,
    FAULT_REFUSE,
    FAULT_GONE_BACK,
    FAULT_BROKEN,
    FAULT_LOST_BEFORE, /* the act did not happen */
    FAULT_LOST_AFTER,  /* it happened, the answer is lost */
    FAULT_SLOW,
    FAULT_HELD,
    FAULT_UNSURE,      /* nobody knows whether it happened: it did not */
    FAULT_UNSURE_DONE, /* it did */
    FAULT_GATE,        /* some time after the act a gate fires */
    FAULT_DIES,        /* some time after the act the connection goes */
    NFAULTS
};
struct fault {
    enum fault_kind kind;
    size_t host;
    enum rollout_act act;
    int64_t delay_ms; /* of GATE and DIES */
    bool returns;     /* a lost host is there again for UNDO */
};
struct sim_host {
    bool new, confirmed, out, lost;
    int64_t lease_end_ms; /* while new and not confirmed */
    enum rollout_act act; /* under way */
    int64_t due_ms;
    enum rollout_answer answer;
    bool answer_lost;
    int64_t gate_ms, die_ms; /* -1 = never */
};
struct sim {
    struct rollout rollout;
    struct sim_host hosts[HOSTS];
    size_t count;
    int64_t now_ms;
    bool decide, first_release, counted;
    enum verdict_kind verdict; /* what counts say while the canary bakes; OPEN: nothing */
    struct fault faults[FAULTS];
    bool used[FAULTS];
    enum rollout_event_kind order; /* given at the order_at'th step; START = none */
    int order_at;
    size_t most_out;
};

static const char *const names[HOSTS] = { "a", "b", "c", "d", "e", "f", "g", "h" };

static const struct rollout_limits usual = {
    .canary = 1,
    .batch = 2,
    .unavailable = 1,
    .undo_unavailable = 1,
    .bake_ms = 60000,
    .healthy_for_ms = 10000,
    .progress_deadline_ms = 600000,
    .confirm_within_ms = 120000,
};

static void sim_init(struct sim *sim, enum rollout_kind kind, size_t count,
                     const struct rollout_limits *limits)
{
    *sim = (struct sim){ .count = count, .order = ROLLOUT_EV_START };
    assert_int_equal(rollout_init(&sim->rollout, kind, count, names, limits, NULL), 0);
    for (size_t i = 0; i < count; i++) {
        sim->hosts[i].gate_ms = sim->hosts[i].die_ms = -1;
        sim->rollout.hosts[i].was_healthy = true;
    }
}

static const struct fault *fault_for(struct sim *sim, size_t host, enum rollout_act act)
{
    for (size_t i = 0; i < FAULTS; i++) {
        const struct fault *fault = &sim->faults[i];
        if (fault->kind && !sim->used[i] && fault->host == host && fault->act == act) {
            sim->used[i] = true;
            return fault;
        }
    }
    return NULL;
}

/* What the act does to the host itself. */
static void effect(struct sim *sim, struct sim_host *host, enum rollout_act act)
{
    switch (act) {
    case ROLLOUT_ACT_SWITCH:
        host->new = true;
        host->confirmed = sim->rollout.kind == ROLLOUT_ROLLBACK;
        host->lease_end_ms = sim->now_ms + sim->rollout.limits.confirm_within_ms;
        break;
    case ROLLOUT_ACT_EXTEND:
        host->lease_end_ms = sim->now_ms + sim->rollout.limits.confirm_within_ms;
        break;
    case ROLLOUT_ACT_HOLD:
        host->lease_end_ms = sim->now_ms + 86400000;
        break;
    case ROLLOUT_ACT_CONFIRM:
        host->confirmed = host->new;
        break;
    case ROLLOUT_ACT_UNDO:
        host->new = host->confirmed = false;
        break;
    case ROLLOUT_ACT_NONE:
    case ROLLOUT_ACT_LOOK:
    case ROLLOUT_ACT_DECIDE:
    case ROLLOUT_ACT_LOCK:
    case ROLLOUT_ACT_UNLOCK:
    case ROLLOUT_ACT_FENCE:
    case ROLLOUT_ACT_STAGE:
    case ROLLOUT_ACT_RECORD:
    case ROLLOUT_ACT_CLEAN:
    case ROLLOUT_ACT_CLOSE:
    case ROLLOUT_NACTS:
        break;
    }
}

static void everybody_is_ready_for_a_switch(const struct sim *sim)
{
    bool bytes = sim->rollout.kind == ROLLOUT_RELEASE || sim->rollout.kind == ROLLOUT_CATCH_UP;
    for (size_t i = 0; i < sim->count; i++) {
        const struct rollout_host *host = &sim->rollout.hosts[i];
        if (host->away || host->state == ROLLOUT_HOST_REFUSED)
            continue;
        assert_true(host->locked && host->fenced && host->recorded);
        assert_true(host->staged || !bytes);
    }
}

static void begin_act(struct sim *sim, size_t index, enum rollout_act act)
{
    struct sim_host *host = &sim->hosts[index];
    const struct fault *fault = fault_for(sim, index, act);
    enum fault_kind kind = fault ? fault->kind : FAULT_NONE;

    if (act == ROLLOUT_ACT_CLEAN) /* gives up whatever was under way */
        host->act = ROLLOUT_ACT_NONE;
    assert_int_equal(host->act, ROLLOUT_ACT_NONE);
    if (act == ROLLOUT_ACT_SWITCH)
        everybody_is_ready_for_a_switch(sim);
    host->act = act;
    host->due_ms = sim->now_ms + 10 + (int64_t)index;
    host->answer = ROLLOUT_OK;
    host->answer_lost = host->lost;
    bool returns = false;
    for (size_t i = 0; i < FAULTS; i++)
        returns = returns || (sim->faults[i].host == index && sim->faults[i].returns);
    if (host->lost && act == ROLLOUT_ACT_UNDO && returns)
        host->lost = host->answer_lost = false;
    if (act == ROLLOUT_ACT_SWITCH || act == ROLLOUT_ACT_UNDO)
        host->due_ms += 2000;
    switch (kind) {
    case FAULT_NONE:
        break;
    case FAULT_REFUSE:
        host->answer = ROLLOUT_REFUSED;
        return;
    case FAULT_GONE_BACK:
        host->answer = ROLLOUT_GONE_BACK;
        return;
    case FAULT_BROKEN: /* it could not go back at once, but an undo will succeed */
        host->answer = ROLLOUT_BROKEN;
        break;
    case FAULT_LOST_BEFORE:
        host->answer_lost = true;
        return;
    case FAULT_LOST_AFTER:
        host->answer_lost = true;
        break;
    case FAULT_SLOW:
        host->due_ms += 30000;
        break;
    case FAULT_HELD:
        host->answer = ROLLOUT_HELD;
        return;
    case FAULT_UNSURE:
        host->answer = ROLLOUT_UNSURE;
        return;
    case FAULT_UNSURE_DONE:
        host->answer = ROLLOUT_UNSURE;
        break;
    case FAULT_GATE:
        host->gate_ms = host->due_ms + fault->delay_ms;
        break;
    case FAULT_DIES:
        host->die_ms = host->due_ms + fault->delay_ms;
        break;
    case NFAULTS:
        break;
    }
    if (!host->lost)
        effect(sim, host, act);
}

static void send(struct sim *sim, const struct rollout_event *event)
{
    struct rollout *rollout = &sim->rollout;
    rollout_step(rollout, event, sim->now_ms);
    assert_true(rollout->norders < rollout->cap);
    for (size_t i = 0; i < rollout->norders; i++) {
        struct rollout_order order = rollout->orders[i];
        if (order.act == ROLLOUT_ACT_DECIDE)
            sim->decide = true;
        else if (order.act != ROLLOUT_ACT_UNLOCK)
            begin_act(sim, order.host, order.act);
    }
    bool ahead = rollout->stage >= ROLLOUT_CANARY && rollout->stage <= ROLLOUT_BATCHES;
    size_t out = rollout_out(rollout);
    if (ahead && rollout->kind != ROLLOUT_ROLLBACK)
        assert_true(out <= rollout->limits.unavailable || rollout->limits.unavailable == 0 ||
                    rollout_counts(rollout, ROLLOUT_HOST_UNDOING) > 0);
    if (out > sim->most_out)
        sim->most_out = out;
}

static void lose(struct sim *sim, size_t index)
{
    struct sim_host *host = &sim->hosts[index];
    host->lost = true;
    host->act = ROLLOUT_ACT_NONE;
    host->gate_ms = host->die_ms = -1;
    send(sim, &(struct rollout_event){ .kind = ROLLOUT_EV_LOST, .host = index });
}

static int64_t next_due(const struct sim *sim)
{
    int64_t due = rollout_next_ms(&sim->rollout);
    for (size_t i = 0; i < sim->count; i++) {
        const struct sim_host *host = &sim->hosts[i];
        int64_t times[] = { host->act ? host->due_ms : -1, host->gate_ms, host->die_ms,
                            host->new && !host->confirmed ? host->lease_end_ms : -1 };
        for (size_t k = 0; k < 4; k++)
            if (times[k] >= 0 && (due < 0 || times[k] < due))
                due = times[k];
    }
    return due;
}

static void one_host(struct sim *sim, size_t index)
{
    struct sim_host *host = &sim->hosts[index];
    if (host->new && !host->confirmed && host->lease_end_ms <= sim->now_ms) {
        host->new = false;
        if (!host->lost)
            send(sim, &(struct rollout_event){ .kind = ROLLOUT_EV_BACK, .host = index });
    }
    if (host->act && host->due_ms <= sim->now_ms) {
        enum rollout_act act = host->act;
        host->act = ROLLOUT_ACT_NONE;
        if (host->answer_lost)
            lose(sim, index);
        else
            send(sim, &(struct rollout_event){ .kind = ROLLOUT_EV_ANSWER,
                                               .host = index,
                                               .act = act,
                                               .answer = host->answer });
    }
    if (host->gate_ms >= 0 && host->gate_ms <= sim->now_ms) {
        host->gate_ms = -1;
        send(sim, &(struct rollout_event){ .kind = ROLLOUT_EV_GATE, .host = index });
    }
    if (host->die_ms >= 0 && host->die_ms <= sim->now_ms)
        lose(sim, index);
}

static void decide(struct sim *sim)
{
    sim->decide = false;
    send(sim, &(struct rollout_event){
                  .kind = ROLLOUT_EV_ANSWER, .host = ROLLOUT_NOBODY, .act = ROLLOUT_ACT_DECIDE });
}

static void run(struct sim *sim)
{
    send(sim, &(struct rollout_event){ .kind = ROLLOUT_EV_START });
    for (int step = 0; sim->rollout.stage != ROLLOUT_OVER; step++) {
        assert_true(step < STEPS_MAX);
        if (sim->order != ROLLOUT_EV_START && step == sim->order_at)
            send(sim, &(struct rollout_event){ .kind = sim->order });
        if (sim->rollout.stage == ROLLOUT_OVER)
            break;
        if (sim->decide) {
            decide(sim);
            continue;
        }
        int64_t due = next_due(sim);
        assert_true(due >= 0); /* otherwise it would wait for ever */
        if (due > sim->now_ms)
            sim->now_ms = due;
        for (size_t i = 0; i < sim->count && sim->rollout.stage != ROLLOUT_OVER; i++)
            one_host(sim, i);
        if (sim->rollout.stage == ROLLOUT_BAKING && !sim->counted) {
            sim->counted = true;
            send(sim,
                 &(struct rollout_event){ .kind = ROLLOUT_EV_VERDICT, .verdict = sim->verdict });
        }
        send(sim, &(struct rollout_event){ .kind = ROLLOUT_EV_TIME });
    }
    for (size_t i = 0; i < sim->count; i++) /* the leases do the rest */
        if (sim->hosts[i].new && !sim->hosts[i].confirmed)
            sim->hosts[i].new = false;
}

static size_t new_hosts(const struct sim *sim)
{
    size_t n = 0;
    for (size_t i = 0; i < sim->count; i++)
        n += sim->hosts[i].new;
    return n;
}

static void describe(const struct sim *sim)
{
    const struct rollout *rollout = &sim->rollout;
    print_message("kind %d outcome %s order %d at %d\n", (int)rollout->kind,
                  rollout_name_outcome(rollout->outcome), (int)sim->order, sim->order_at);
    for (size_t i = 0; i < FAULTS; i++)
        print_message("fault %d host %zu act %s returns %d\n", (int)sim->faults[i].kind,
                      sim->faults[i].host, rollout_name_act(sim->faults[i].act),
                      (int)sim->faults[i].returns);
    for (size_t i = 0; i < sim->count; i++)
        print_message("host %zu %s: new %d confirmed %d away %d\n", i,
                      rollout_name_host(rollout->hosts[i].state), (int)sim->hosts[i].new,
                      (int)sim->hosts[i].confirmed, (int)rollout->hosts[i].away);
}

/* After the leases have run out the fleet is where the outcome says it is. */
static bool as_told(const struct sim *sim)
{
    const struct rollout *rollout = &sim->rollout;
    size_t left_out = 0;
    switch (rollout->outcome) {
    case ROLLOUT_DONE:
        for (size_t i = 0; i < sim->count; i++)
            left_out += !sim->hosts[i].new;
        return left_out <= rollout->limits.failed + rollout->limits.unreachable;
    case ROLLOUT_BAD:
    case ROLLOUT_FAILED:
    case ROLLOUT_UNREACHABLE:
    case ROLLOUT_ABORTED:
    case ROLLOUT_INTERRUPTED:
    case ROLLOUT_LOCKED:
        return new_hosts(sim) == 0;
    case ROLLOUT_PAUSED:
    case ROLLOUT_HELD_OPEN:
        for (size_t i = 0; i < sim->count; i++)
            if (sim->hosts[i].new && !sim->hosts[i].confirmed)
                return false;
        return true;
    case ROLLOUT_INCOMPLETE: /* every host that is on the wrong side is named */
        for (size_t i = 0; i < sim->count; i++)
            if (sim->hosts[i].new && rollout->hosts[i].state != ROLLOUT_HOST_STRAY)
                return false;
        return rollout_counts(rollout, ROLLOUT_HOST_STRAY) > 0;
    case ROLLOUT_RUNNING:
    case ROLLOUT_NOTHING:
    case ROLLOUT_CONFIG:
    case ROLLOUT_NOUTCOMES:
        break;
    }
    return false;
}

/* --- stories ---------------------------------------------------------------------------------- */

static void a_good_release_goes_everywhere(void **unused)
{
    (void)unused;
    struct sim sim;
    sim_init(&sim, ROLLOUT_RELEASE, 5, &usual);
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    assert_int_equal(rollout_exit_code(&sim.rollout), 0);
    assert_int_equal(new_hosts(&sim), 5);
    assert_int_equal(sim.rollout.batch, 2);
    assert_int_equal(sim.most_out, 1);
    assert_true(sim.now_ms >= 60000 + 2 * 10000 && sim.now_ms < 100000);
    rollout_done(&sim.rollout);
}

static void one_host_is_its_own_canary(void **unused)
{
    (void)unused;
    struct sim sim;
    sim_init(&sim, ROLLOUT_RELEASE, 1, &usual);
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    assert_true(sim.rollout.hosts[0].canary);
    rollout_done(&sim.rollout);
}

static void a_bad_canary_leaves_the_others_alone(void **unused)
{
    (void)unused;
    struct sim sim;
    sim_init(&sim, ROLLOUT_RELEASE, 3, &usual);
    sim.faults[0] = (struct fault){ FAULT_GATE, 0, ROLLOUT_ACT_SWITCH, 3000, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_BAD);
    assert_int_equal(rollout_exit_code(&sim.rollout), 1);
    assert_int_equal(sim.rollout.culprit, 0);
    assert_int_equal(sim.rollout.hosts[0].state, ROLLOUT_HOST_UNDONE);
    assert_false(sim.rollout.hosts[1].touched || sim.rollout.hosts[2].touched);
    rollout_done(&sim.rollout);
}

static void a_late_failure_brings_all_back(void **unused)
{
    (void)unused;
    struct sim sim;
    sim_init(&sim, ROLLOUT_RELEASE, 5, &usual);
    sim.faults[0] = (struct fault){ FAULT_GONE_BACK, 4, ROLLOUT_ACT_SWITCH, 0, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_BAD);
    assert_int_equal(sim.rollout.culprit, 4);
    assert_int_equal(rollout_counts(&sim.rollout, ROLLOUT_HOST_UNDONE), 5);
    assert_int_equal(new_hosts(&sim), 0);
    rollout_done(&sim.rollout);
}

static void a_failure_within_the_budget_goes_on(void **unused)
{
    (void)unused;
    struct rollout_limits limits = usual;
    limits.failed = 1;
    struct sim sim;
    sim_init(&sim, ROLLOUT_RELEASE, 5, &limits);
    sim.faults[0] = (struct fault){ FAULT_GATE, 3, ROLLOUT_ACT_SWITCH, 2000, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    assert_int_equal(new_hosts(&sim), 4);
    assert_int_equal(sim.rollout.hosts[3].state, ROLLOUT_HOST_UNDONE);
    rollout_done(&sim.rollout);
}

static void too_many_unreachable_changes_nothing(void **unused)
{
    (void)unused;
    struct sim sim;
    sim_init(&sim, ROLLOUT_RELEASE, 3, &usual);
    sim.faults[0] = (struct fault){ FAULT_LOST_BEFORE, 1, ROLLOUT_ACT_LOOK, 0, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_UNREACHABLE);
    assert_int_equal(rollout_exit_code(&sim.rollout), 4);
    for (size_t i = 0; i < 3; i++)
        assert_false(sim.rollout.hosts[i].touched);
    rollout_done(&sim.rollout);
}

static void hold_leaves_the_canary_waiting(void **unused)
{
    (void)unused;
    struct rollout_limits limits = usual;
    limits.hold = true;
    struct sim sim;
    sim_init(&sim, ROLLOUT_RELEASE, 3, &limits);
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_HELD_OPEN);
    assert_int_equal(rollout_exit_code(&sim.rollout), 6);
    assert_true(sim.rollout.hosts[0].held_over);
    rollout_done(&sim.rollout);
}

static void the_first_by_name_wins_the_lock(void **unused)
{
    (void)unused;
    struct sim sim;
    sim_init(&sim, ROLLOUT_RELEASE, 3, &usual);
    sim.faults[0] = (struct fault){ FAULT_HELD, 0, ROLLOUT_ACT_LOCK, 0, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_LOCKED);
    assert_int_equal(rollout_exit_code(&sim.rollout), 5);
    rollout_done(&sim.rollout);

    sim_init(&sim, ROLLOUT_RELEASE, 3, &usual);
    sim.faults[0] = (struct fault){ FAULT_HELD, 2, ROLLOUT_ACT_LOCK, 0, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    rollout_done(&sim.rollout);
}

static void a_first_release_is_not_held_back_by_capacity(void **unused)
{
    (void)unused;
    struct rollout_limits limits = usual;
    limits.batch = 4;
    struct sim sim;
    sim_init(&sim, ROLLOUT_RELEASE, 5, &limits);
    for (size_t i = 0; i < 5; i++)
        sim.rollout.hosts[i].was_healthy = false;
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    assert_true(sim.now_ms < 60000 + 10000 + 6000); /* the four others went together */
    rollout_done(&sim.rollout);
}

static void counts_have_the_last_word_of_the_bake(void **unused)
{
    (void)unused;
    static const struct {
        enum verdict_kind verdict;
        bool promote, hold, pause, expects;
        enum rollout_outcome outcome;
        bool inconclusive;
    } rows[] = {
        { VERDICT_GOOD, false, false, false, true, ROLLOUT_DONE, false },
        { VERDICT_BAD, false, false, false, true, ROLLOUT_BAD, false },
        { VERDICT_OPEN, false, false, false, true, ROLLOUT_PAUSED, true },
        { VERDICT_OPEN, true, false, false, true, ROLLOUT_DONE, true },
        { VERDICT_GOOD, false, true, false, true, ROLLOUT_HELD_OPEN, false },
        { VERDICT_OPEN, false, true, false, true, ROLLOUT_PAUSED, true },
        { VERDICT_BAD, true, true, false, true, ROLLOUT_BAD, false },
        { VERDICT_BAD, false, false, true, true, ROLLOUT_PAUSED, false },
        { VERDICT_BAD, false, false, false, false, ROLLOUT_DONE, false }, /* nobody asked */
    };
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        struct rollout_limits limits = usual;
        struct sim sim;
        limits.canary = 2;
        limits.verdict = rows[row].expects;
        limits.promote_open = rows[row].promote;
        limits.hold = rows[row].hold;
        limits.pause_on_failure = rows[row].pause;
        sim_init(&sim, ROLLOUT_RELEASE, 5, &limits);
        sim.verdict = rows[row].verdict;
        run(&sim);
        assert_int_equal(sim.rollout.outcome, rows[row].outcome);
        assert_int_equal(sim.rollout.inconclusive, rows[row].inconclusive);
        if (rows[row].verdict == VERDICT_BAD && rows[row].expects) { /* both canaries, at once */
            assert_int_equal(rollout_counts(&sim.rollout, ROLLOUT_HOST_UNDONE), 2);
            assert_int_equal(sim.rollout.culprit, 0);
            assert_true(sim.now_ms < usual.bake_ms);
            assert_false(sim.rollout.hosts[2].touched);
        }
        rollout_done(&sim.rollout);
    }
}

static void found(struct sim *sim, size_t host, bool canary, enum rollout_host_state state)
{
    bool runs = state != ROLLOUT_HOST_OLD;
    rollout_found(&sim->rollout, host, canary, state);
    sim->hosts[host].new = runs;
    sim->hosts[host].confirmed = state == ROLLOUT_HOST_CONFIRMED;
    sim->hosts[host].lease_end_ms = 100000;
}

static void an_open_rollout_is_promoted_resumed_aborted(void **unused)
{
    (void)unused;
    static const struct {
        enum rollout_kind kind;
        enum rollout_host_state canary;
        enum rollout_outcome outcome;
        size_t new;
    } rows[] = {
        { ROLLOUT_PROMOTE, ROLLOUT_HOST_NEW, ROLLOUT_DONE, 3 },
        { ROLLOUT_RESUME, ROLLOUT_HOST_NEW, ROLLOUT_DONE, 3 },
        { ROLLOUT_RESUME, ROLLOUT_HOST_OLD, ROLLOUT_DONE, 3 },
        { ROLLOUT_RESUME, ROLLOUT_HOST_CONFIRMED, ROLLOUT_DONE, 3 },
        { ROLLOUT_ABORT, ROLLOUT_HOST_NEW, ROLLOUT_ABORTED, 0 },
        { ROLLOUT_ABORT, ROLLOUT_HOST_CONFIRMED, ROLLOUT_ABORTED, 0 },
        { ROLLOUT_ABORT, ROLLOUT_HOST_OLD, ROLLOUT_ABORTED, 0 },
        { ROLLOUT_PARK, ROLLOUT_HOST_NEW, ROLLOUT_PAUSED, 0 },
    };
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        struct sim sim;
        sim_init(&sim, rows[row].kind, 3, &usual);
        found(&sim, 0, true, rows[row].canary);
        run(&sim);
        assert_int_equal(sim.rollout.outcome, rows[row].outcome);
        assert_int_equal(new_hosts(&sim), rows[row].new);
        if (rows[row].kind != ROLLOUT_RESUME)
            assert_int_equal(rollout_exit_code(&sim.rollout), 0);
        rollout_done(&sim.rollout);
    }
}

static void a_rollback_stays_and_names_what_failed(void **unused)
{
    (void)unused;
    struct sim sim;
    sim_init(&sim, ROLLOUT_ROLLBACK, 4, &usual);
    sim.faults[0] = (struct fault){ FAULT_BROKEN, 2, ROLLOUT_ACT_SWITCH, 0, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_INCOMPLETE);
    assert_int_equal(rollout_exit_code(&sim.rollout), 7);
    assert_int_equal(sim.rollout.hosts[2].state, ROLLOUT_HOST_STRAY);
    assert_int_equal(rollout_counts(&sim.rollout, ROLLOUT_HOST_CONFIRMED), 3);
    rollout_done(&sim.rollout);
}

/* Hosts that lost the release are sent it first; when one cannot have it, nothing is switched. */
static void a_rollback_may_have_to_send_the_release_first(void **unused)
{
    (void)unused;
    struct sim sim;
    struct rollout_limits sends = usual;
    sends.stage_first = true;
    for (int refuses = 0; refuses < 2; refuses++) {
        sim_init(&sim, ROLLOUT_ROLLBACK, 4, &sends);
        if (refuses)
            sim.faults[0] = (struct fault){ FAULT_REFUSE, 2, ROLLOUT_ACT_STAGE, 0, false };
        run(&sim);
        assert_int_equal(sim.rollout.outcome, refuses ? ROLLOUT_FAILED : ROLLOUT_DONE);
        for (size_t i = 0; i < 4; i++) {
            assert_true(sim.rollout.hosts[i].staged || (refuses && i == 2));
            assert_int_equal(sim.rollout.hosts[i].touched, !refuses);
        }
        rollout_done(&sim.rollout);
    }
}

/* --- every story ------------------------------------------------------------------------------ */

static unsigned long told;
static enum verdict_kind counts_say;

static void tell(enum rollout_kind kind, size_t count, const struct rollout_limits *limits,
                 struct fault one, struct fault two, enum rollout_event_kind order, int order_at)
{
    struct sim sim;
    sim_init(&sim, kind, count, limits);
    sim.faults[0] = one;
    sim.faults[1] = two;
    sim.order = order;
    sim.order_at = order_at;
    sim.verdict = counts_say;
    run(&sim);
    if (!as_told(&sim))
        describe(&sim);
    assert_true(as_told(&sim));
    rollout_done(&sim.rollout);
    told++;
}

static bool possible(enum fault_kind kind, enum rollout_act act)
{
    if (kind == FAULT_GONE_BACK || kind == FAULT_BROKEN || kind == FAULT_GATE)
        return act == ROLLOUT_ACT_SWITCH;
    if (kind == FAULT_UNSURE || kind == FAULT_UNSURE_DONE)
        return act == ROLLOUT_ACT_SWITCH || act == ROLLOUT_ACT_CONFIRM ||
               act == ROLLOUT_ACT_EXTEND || act == ROLLOUT_ACT_HOLD;
    if (kind == FAULT_HELD)
        return act == ROLLOUT_ACT_LOCK;
    if (kind == FAULT_REFUSE) /* an agent that refuses to go back: the story of strays below */
        return act != ROLLOUT_ACT_UNDO && act != ROLLOUT_ACT_CONFIRM && act != ROLLOUT_ACT_EXTEND &&
               act != ROLLOUT_ACT_HOLD;
    return act != ROLLOUT_ACT_NONE && act != ROLLOUT_ACT_DECIDE && act != ROLLOUT_ACT_UNLOCK;
}

static void two_faults(const struct rollout_limits *limits, size_t count)
{
    for (int k1 = 1; k1 < NFAULTS; k1++)
        for (size_t h1 = 0; h1 < count; h1++)
            for (int a1 = 1; a1 < ROLLOUT_NACTS; a1++) {
                if (!possible((enum fault_kind)k1, (enum rollout_act)a1))
                    continue;
                struct fault one = { (enum fault_kind)k1, h1, (enum rollout_act)a1,
                                     5000 * (int64_t)(h1 + 1), a1 & 1 };
                for (int k2 = 0; k2 < NFAULTS; k2++)
                    for (int a2 = 1; a2 < ROLLOUT_NACTS; a2 += k2 ? 1 : 99) {
                        if (k2 && !possible((enum fault_kind)k2, (enum rollout_act)a2))
                            continue;
                        size_t h2 = (h1 + (size_t)(a2 % (int)count)) % count;
                        struct fault two = { (enum fault_kind)k2, h2, (enum rollout_act)a2, 25000,
                                             !(a2 & 1) };
                        tell(ROLLOUT_RELEASE, count, limits, one, two, ROLLOUT_EV_START, 0);
                    }
            }
}

static void faults_and_orders(const struct rollout_limits *limits, size_t count)
{
    static const enum rollout_event_kind orders[] = { ROLLOUT_EV_INTERRUPT, ROLLOUT_EV_PAUSE,
                                                      ROLLOUT_EV_ABORT };
    for (int at = 0; at < 60; at++)
        for (size_t o = 0; o < 3; o++)
            for (int kind = 0; kind < NFAULTS; kind++)
                for (size_t host = 0; host < count; host++) {
                    struct fault one = { (enum fault_kind)kind, host, ROLLOUT_ACT_SWITCH,
                                         4000 * (int64_t)at, at & 1 };
                    if (kind == FAULT_HELD)
                        one.act = ROLLOUT_ACT_LOCK;
                    tell(ROLLOUT_RELEASE, count, limits, one, (struct fault){ 0 }, orders[o], at);
                }
}

static void after_every_story_each_host_runs_one_release(void **unused)
{
    (void)unused;
    struct rollout_limits patient = usual, holding = usual, none = usual, pausing = usual;
    patient.failed = 1;
    patient.unreachable = 1;
    patient.unavailable = 2;
    holding.hold = true;
    none.canary = 0;
    pausing.pause_on_failure = true;
    const struct rollout_limits *all[] = { &usual, &patient, &holding, &none, &pausing };
    for (size_t i = 0; i < 5; i++) {
        two_faults(all[i], 3);
        faults_and_orders(all[i], 3);
    }
    two_faults(&usual, 1);
    faults_and_orders(&usual, 1);
    two_faults(&patient, 5);
    for (int kind = VERDICT_OPEN; kind <= VERDICT_BAD; kind++) {
        struct rollout_limits judged = patient;
        judged.verdict = true;
        counts_say = (enum verdict_kind)kind;
        two_faults(&judged, 3);
        faults_and_orders(&judged, 3);
    }
    print_message("%lu stories\n", told);
    assert_true(told > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_release_goes_everywhere),
        cmocka_unit_test(one_host_is_its_own_canary),
        cmocka_unit_test(a_bad_canary_leaves_the_others_alone),
        cmocka_unit_test(a_late_failure_brings_all_back),
        cmocka_unit_test(a_failure_within_the_budget_goes_on),
        cmocka_unit_test(too_many_unreachable_changes_nothing),
        cmocka_unit_test(hold_leaves_the_canary_waiting),
        cmocka_unit_test(the_first_by_name_wins_the_lock),
        cmocka_unit_test(counts_have_the_last_word_of_the_bake),
        cmocka_unit_test(a_first_release_is_not_held_back_by_capacity),
        cmocka_unit_test(an_open_rollout_is_promoted_resumed_aborted),
        cmocka_unit_test(a_rollback_stays_and_names_what_failed),
        cmocka_unit_test(a_rollback_may_have_to_send_the_release_first),
        cmocka_unit_test(after_every_story_each_host_runs_one_release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
