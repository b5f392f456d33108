/* test_rollout.c - a few readable stories, then thousands of scripted ones.
 *
 * The hosts are those of plan/sim.h, which looks after every step whether what rollout.h promises
 * was kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "deployctl/plan/rollout.h"
#include "deployctl/plan/rollout_name.h"
#include "deployctl/plan/sim.h"
#include "deployctl/plan/story.h"

enum { HOSTS = 8, FAULTS = 2, STORIES = 20000 };

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

static struct sim_fault faults[FAULTS];

static void begin(struct sim *sim, enum rollout_kind kind, size_t count,
                  const struct rollout_limits *limits)
{
    assert_int_equal(sim_init(sim, kind, count, names, limits, NULL), 0);
    memset(faults, 0, sizeof faults);
    sim->faults = faults;
    sim->nfaults = FAULTS;
}

static void describe(const struct sim *sim)
{
    const struct rollout *rollout = &sim->rollout;
    print_message("%s\nkind %d outcome %s order %d at %zu, died at %zu, verdict %d\n",
                  sim_wrong(sim), (int)rollout->kind, rollout_name_outcome(rollout->outcome),
                  (int)sim->order, sim->order_at, sim->die_at, (int)sim->verdict);
    print_message("stage %s after %lld ms, %zu steps, next %lld\n",
                  rollout_name_stage(rollout->stage), (long long)sim->now_ms, sim->steps,
                  (long long)rollout_next_ms(rollout));
    for (size_t i = 0; i < sim->nfaults; i++)
        print_message("fault %d host %zu act %s returns %d\n", (int)sim->faults[i].kind,
                      sim->faults[i].host, rollout_name_act(sim->faults[i].act),
                      (int)sim->faults[i].returns);
    for (size_t i = 0; i < sim->count; i++)
        print_message("host %zu %s: new %d confirmed %d away %d pending %s canary %d batch %zu\n",
                      i, rollout_name_host(rollout->hosts[i].state), (int)sim->hosts[i].new,
                      (int)sim->hosts[i].confirmed, (int)rollout->hosts[i].away,
                      rollout_name_act(rollout->hosts[i].pending), (int)rollout->hosts[i].canary,
                      rollout->hosts[i].batch);
}

static void must_be_right(const struct sim *sim)
{
    if (sim_wrong(sim))
        describe(sim);
    assert_null(sim_wrong(sim));
}

static void run(struct sim *sim)
{
    sim_run(sim);
    sim_settle(sim);
    must_be_right(sim);
}

/* --- stories ---------------------------------------------------------------------------------- */

static void a_good_release_goes_everywhere(void **unused)
{
    (void)unused;
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, 5, &usual);
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    assert_int_equal(rollout_exit_code(&sim.rollout), 0);
    assert_int_equal(sim_new(&sim), 5);
    assert_int_equal(sim.rollout.batch, 2);
    assert_int_equal(sim.most_out, 1);
    assert_true(sim.now_ms >= 60000 + 2 * 10000 && sim.now_ms < 100000);
    sim_done(&sim);
}

static void one_host_is_its_own_canary(void **unused)
{
    (void)unused;
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, 1, &usual);
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    assert_true(sim.rollout.hosts[0].canary);
    sim_done(&sim);
}

static void a_bad_canary_leaves_the_others_alone(void **unused)
{
    (void)unused;
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, 3, &usual);
    sim.faults[0] = (struct sim_fault){ SIM_FAULT_GATE, 0, ROLLOUT_ACT_SWITCH, 3000, false, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_BAD);
    assert_int_equal(rollout_exit_code(&sim.rollout), 1);
    assert_int_equal(sim.rollout.culprit, 0);
    assert_int_equal(sim.rollout.hosts[0].state, ROLLOUT_HOST_UNDONE);
    assert_false(sim.rollout.hosts[1].touched || sim.rollout.hosts[2].touched);
    sim_done(&sim);
}

static void a_late_failure_brings_all_back(void **unused)
{
    (void)unused;
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, 5, &usual);
    sim.faults[0] =
        (struct sim_fault){ SIM_FAULT_GONE_BACK, 4, ROLLOUT_ACT_SWITCH, 0, false, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_BAD);
    assert_int_equal(sim.rollout.culprit, 4);
    assert_int_equal(rollout_counts(&sim.rollout, ROLLOUT_HOST_UNDONE), 5);
    assert_int_equal(sim_new(&sim), 0);
    sim_done(&sim);
}

static void a_failure_within_the_budget_goes_on(void **unused)
{
    (void)unused;
    struct rollout_limits limits = usual;
    limits.failed = 1;
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, 5, &limits);
    sim.faults[0] = (struct sim_fault){ SIM_FAULT_GATE, 3, ROLLOUT_ACT_SWITCH, 2000, false, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    assert_int_equal(sim_new(&sim), 4);
    assert_int_equal(sim.rollout.hosts[3].state, ROLLOUT_HOST_UNDONE);
    sim_done(&sim);
}

static void too_many_unreachable_changes_nothing(void **unused)
{
    (void)unused;
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, 3, &usual);
    sim.faults[0] =
        (struct sim_fault){ SIM_FAULT_LOST_BEFORE, 1, ROLLOUT_ACT_LOOK, 0, false, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_UNREACHABLE);
    assert_int_equal(rollout_exit_code(&sim.rollout), 4);
    for (size_t i = 0; i < 3; i++)
        assert_false(sim.rollout.hosts[i].touched);
    sim_done(&sim);
}

static void hold_leaves_the_canary_waiting(void **unused)
{
    (void)unused;
    struct rollout_limits limits = usual;
    limits.hold = true;
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, 3, &limits);
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_HELD_OPEN);
    assert_int_equal(rollout_exit_code(&sim.rollout), 6);
    assert_true(sim.rollout.hosts[0].held_over);
    sim_done(&sim);
}

static void the_first_by_name_wins_the_lock(void **unused)
{
    (void)unused;
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, 3, &usual);
    sim.faults[0] = (struct sim_fault){ SIM_FAULT_HELD, 0, ROLLOUT_ACT_LOCK, 0, false, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_LOCKED);
    assert_int_equal(rollout_exit_code(&sim.rollout), 5);
    sim_done(&sim);

    begin(&sim, ROLLOUT_RELEASE, 3, &usual);
    sim.faults[0] = (struct sim_fault){ SIM_FAULT_HELD, 2, ROLLOUT_ACT_LOCK, 0, false, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    sim_done(&sim);
}

static void a_first_release_is_not_held_back_by_capacity(void **unused)
{
    (void)unused;
    struct rollout_limits limits = usual;
    limits.batch = 4;
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, 5, &limits);
    for (size_t i = 0; i < 5; i++)
        sim.rollout.hosts[i].was_healthy = false;
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    assert_true(sim.now_ms < 60000 + 10000 + 6000); /* the four others went together */
    sim_done(&sim);
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
        begin(&sim, ROLLOUT_RELEASE, 5, &limits);
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
        sim_done(&sim);
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
        begin(&sim, rows[row].kind, 3, &usual);
        found(&sim, 0, true, rows[row].canary);
        run(&sim);
        assert_int_equal(sim.rollout.outcome, rows[row].outcome);
        assert_int_equal(sim_new(&sim), rows[row].new);
        if (rows[row].kind != ROLLOUT_RESUME)
            assert_int_equal(rollout_exit_code(&sim.rollout), 0);
        sim_done(&sim);
    }
}

static void a_rollback_stays_and_names_what_failed(void **unused)
{
    (void)unused;
    struct sim sim;
    begin(&sim, ROLLOUT_ROLLBACK, 4, &usual);
    sim.faults[0] = (struct sim_fault){ SIM_FAULT_BROKEN, 2, ROLLOUT_ACT_SWITCH, 0, false, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_INCOMPLETE);
    assert_int_equal(rollout_exit_code(&sim.rollout), 7);
    assert_int_equal(sim.rollout.hosts[2].state, ROLLOUT_HOST_STRAY);
    assert_int_equal(rollout_counts(&sim.rollout, ROLLOUT_HOST_CONFIRMED), 3);
    sim_done(&sim);
}

/* Hosts that lost the release are sent it first; when one cannot have it, nothing is switched. */
static void a_rollback_may_have_to_send_the_release_first(void **unused)
{
    (void)unused;
    struct sim sim;
    struct rollout_limits sends = usual;
    sends.stage_first = true;
    for (int refuses = 0; refuses < 2; refuses++) {
        begin(&sim, ROLLOUT_ROLLBACK, 4, &sends);
        if (refuses)
            faults[0] =
                (struct sim_fault){ SIM_FAULT_REFUSE, 2, ROLLOUT_ACT_STAGE, 0, false, false };
        run(&sim);
        assert_int_equal(sim.rollout.outcome, refuses ? ROLLOUT_FAILED : ROLLOUT_DONE);
        for (size_t i = 0; i < 4; i++) {
            assert_true(sim.rollout.hosts[i].staged || (refuses && i == 2));
            assert_int_equal(sim.rollout.hosts[i].touched, !refuses);
        }
        sim_done(&sim);
    }
}

static void unhealthy_hosts_go_first_and_are_no_canary(void **unused)
{
    (void)unused;
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, 6, &usual);
    sim.rollout.hosts[0].was_healthy = sim.rollout.hosts[4].was_healthy = false;
    run(&sim);
    const struct rollout_host *hosts = sim.rollout.hosts;
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    assert_false(hosts[0].canary);
    assert_true(hosts[1].canary);
    assert_int_equal(hosts[0].batch, 1);
    assert_int_equal(hosts[4].batch, 1);
    assert_int_equal(hosts[2].batch, 2);
    sim_done(&sim);
}

static void zones_follow_one_another(void **unused)
{
    (void)unused;
    static const size_t zones[7] = { 0, 1, 0, 1, 0, 1, 6 };
    struct rollout_limits limits = usual;
    limits.by_zone = true;
    limits.canary = 2;
    struct sim sim, seen;
    begin(&sim, ROLLOUT_RELEASE, 7, &limits);
    begin(&seen, ROLLOUT_RELEASE, 7, &limits);
    for (size_t i = 0; i < 7; i++)
        sim.rollout.hosts[i].zone = seen.rollout.hosts[i].zone = zones[i];
    run(&sim);
    rollout_foresee(&seen.rollout);
    const struct rollout_host *hosts = sim.rollout.hosts;
    assert_true(hosts[0].canary && hosts[1].canary);
    assert_int_equal(hosts[2].batch, 1);
    assert_int_equal(hosts[4].batch, 1);
    assert_int_equal(hosts[3].batch, 2);
    assert_int_equal(hosts[5].batch, 2);
    assert_int_equal(hosts[6].batch, 3);
    for (size_t i = 0; i < 7; i++) { /* what plan shows is what comes */
        assert_int_equal(seen.rollout.hosts[i].canary, hosts[i].canary);
        assert_int_equal(seen.rollout.hosts[i].batch, hosts[i].batch);
    }
    sim_done(&sim);
    sim_done(&seen);
}

/* Within the budget it is named, and catching up brings it along. */
static void who_was_unreachable_is_caught_up(void **unused)
{
    (void)unused;
    struct rollout_limits limits = usual;
    limits.unreachable = 1;
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, 3, &limits);
    faults[0] = (struct sim_fault){ SIM_FAULT_LOST_BEFORE, 2, ROLLOUT_ACT_STAGE, 0, true, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    assert_int_equal(sim.rollout.hosts[2].state, ROLLOUT_HOST_LOST);
    assert_int_equal(sim_new(&sim), 2);
    struct sim later;
    assert_int_equal(sim_init(&later, ROLLOUT_CATCH_UP, 3, names, &usual, NULL), 0);
    for (size_t i = 0; i < 2; i++) {
        later.hosts[i].new = later.hosts[i].confirmed = true;
        later.rollout.hosts[i].skip = true;
        later.rollout.hosts[i].state = ROLLOUT_HOST_CONFIRMED;
    }
    run(&later);
    assert_int_equal(later.rollout.outcome, ROLLOUT_DONE);
    assert_int_equal(sim_new(&later), 3);
    sim_done(&sim);
    sim_done(&later);
}

/* Each host that becomes healthy in time gives the others as long again. */
static void progress_winds_the_deadline_up(void **unused)
{
    (void)unused;
    struct rollout_limits limits = usual;
    limits.progress_deadline_ms = 50000;
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, 5, &limits);
    sim.switch_ms = 40000; /* the four others take longer together than the deadline */
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    sim_done(&sim);

    begin(&sim, ROLLOUT_RELEASE, 5, &limits);
    faults[0] = (struct sim_fault){ SIM_FAULT_SLOW, 3, ROLLOUT_ACT_SWITCH, 60000, false, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_FAILED);
    assert_true(sim.rollout.stalled);
    sim_done(&sim);
}

/* An open rollout cannot go on: closing it would leave hosts of both releases that nobody knows. */
static void what_cannot_go_on_stays_open(void **unused)
{
    (void)unused;
    struct rollout_limits limits = usual;
    limits.pause_on_failure = true;
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, 5, &limits);
    faults[0] = (struct sim_fault){ SIM_FAULT_DIES, 1, ROLLOUT_ACT_CONFIRM, 0, true, false };
    sim_run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_PAUSED);
    size_t before = sim_new(&sim);
    assert_in_range(before, 1, 4);
    faults[1] = (struct sim_fault){ SIM_FAULT_LOST_BEFORE, 4, ROLLOUT_ACT_FENCE, 0, true, false };
    assert_true(sim_takeover(&sim, ROLLOUT_RESUME, 1000));
    sim_run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_UNREACHABLE);
    assert_true(sim_takeover(&sim, ROLLOUT_RESUME, 1000)); /* its record is there still */
    sim_run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    assert_int_equal(sim_new(&sim), 5);
    sim_done(&sim);
}

/* --- every story ------------------------------------------------------------------------------ */

static unsigned long told, taken_over, outcomes[ROLLOUT_NOUTCOMES];
static enum verdict_kind counts_say;

static void tell(enum rollout_kind kind, size_t count, const struct rollout_limits *limits,
                 struct sim_fault one, struct sim_fault two, enum rollout_event_kind order,
                 size_t order_at)
{
    struct sim sim;
    begin(&sim, kind, count, limits);
    sim.faults[0] = one;
    sim.faults[1] = two;
    sim.order = order;
    sim.order_at = order_at;
    sim.verdict = counts_say;
    run(&sim);
    sim_done(&sim);
    told++;
}

static bool possible(enum sim_fault_kind kind, enum rollout_act act)
{
    if (kind == SIM_FAULT_GONE_BACK || kind == SIM_FAULT_BROKEN || kind == SIM_FAULT_GATE)
        return act == ROLLOUT_ACT_SWITCH;
    if (kind == SIM_FAULT_UNSURE || kind == SIM_FAULT_UNSURE_DONE)
        return act == ROLLOUT_ACT_SWITCH || act == ROLLOUT_ACT_CONFIRM ||
               act == ROLLOUT_ACT_EXTEND || act == ROLLOUT_ACT_HOLD;
    if (kind == SIM_FAULT_HELD)
        return act == ROLLOUT_ACT_LOCK;
    if (kind == SIM_FAULT_REFUSE) /* an agent that refuses to go back: the story of strays below */
        return act != ROLLOUT_ACT_UNDO && act != ROLLOUT_ACT_CONFIRM && act != ROLLOUT_ACT_EXTEND &&
               act != ROLLOUT_ACT_HOLD;
    return act != ROLLOUT_ACT_NONE && act != ROLLOUT_ACT_DECIDE && act != ROLLOUT_ACT_UNLOCK;
}

static void two_faults(const struct rollout_limits *limits, size_t count)
{
    for (int k1 = 1; k1 < SIM_NFAULTS; k1++)
        for (size_t h1 = 0; h1 < count; h1++)
            for (int a1 = 1; a1 < ROLLOUT_NACTS; a1++) {
                if (!possible((enum sim_fault_kind)k1, (enum rollout_act)a1))
                    continue;
                struct sim_fault one = { (enum sim_fault_kind)k1,  h1,     (enum rollout_act)a1,
                                         5000 * (int64_t)(h1 + 1), a1 & 1, false };
                for (int k2 = 0; k2 < SIM_NFAULTS; k2++)
                    for (int a2 = 1; a2 < ROLLOUT_NACTS; a2 += k2 ? 1 : 99) {
                        if (k2 && !possible((enum sim_fault_kind)k2, (enum rollout_act)a2))
                            continue;
                        size_t h2 = (h1 + (size_t)(a2 % (int)count)) % count;
                        struct sim_fault two = { (enum sim_fault_kind)k2,
                                                 h2,
                                                 (enum rollout_act)a2,
                                                 25000,
                                                 !(a2 & 1),
                                                 false };
                        tell(ROLLOUT_RELEASE, count, limits, one, two, ROLLOUT_EV_START, 0);
                    }
            }
}

static void faults_and_orders(const struct rollout_limits *limits, size_t count)
{
    static const enum rollout_event_kind orders[] = { ROLLOUT_EV_INTERRUPT, ROLLOUT_EV_PAUSE,
                                                      ROLLOUT_EV_ABORT };
    for (size_t at = 0; at < 60; at++)
        for (size_t o = 0; o < 3; o++)
            for (int kind = 0; kind < SIM_NFAULTS; kind++)
                for (size_t host = 0; host < count; host++) {
                    struct sim_fault one = { (enum sim_fault_kind)kind, host,   ROLLOUT_ACT_SWITCH,
                                             4000 * (int64_t)at,        at & 1, false };
                    if (kind == SIM_FAULT_HELD)
                        one.act = ROLLOUT_ACT_LOCK;
                    tell(ROLLOUT_RELEASE, count, limits, one, (struct sim_fault){ 0 }, orders[o],
                         at);
                }
}

/* deployctl is killed before a step of its story, and somebody goes on from elsewhere. */
static void tell_taken_over(enum rollout_kind kind, size_t count,
                            const struct rollout_limits *limits, struct sim_fault one,
                            size_t die_at, int64_t gap_ms)
{
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, count, limits);
    faults[0] = one;
    sim.die_at = die_at;
    sim_run(&sim);
    if (sim.died && sim_takeover(&sim, kind, gap_ms)) {
        taken_over++;
        sim_run(&sim);
    } else if (sim.died) {
        assert_null(sim_abandoned(&sim));
        sim_done(&sim);
        return;
    }
    sim_settle(&sim);
    must_be_right(&sim);
    sim_done(&sim);
    told++;
}

static void killed_at_every_step(const struct rollout_limits *limits, size_t count)
{
    static const enum rollout_kind kinds[] = { ROLLOUT_RESUME, ROLLOUT_PROMOTE, ROLLOUT_ABORT,
                                               ROLLOUT_PARK };
    for (size_t at = 1; at < 60; at++)
        for (size_t k = 0; k < 4; k++)
            for (int fault = 0; fault < SIM_NFAULTS; fault++)
                for (size_t host = 0; host < count; host++) {
                    struct sim_fault one = { (enum sim_fault_kind)fault,
                                             host,
                                             at & 2 ? ROLLOUT_ACT_SWITCH : ROLLOUT_ACT_CONFIRM,
                                             3000 * (int64_t)(at % 20),
                                             at & 1,
                                             false };
                    if (fault && !possible(one.kind, one.act))
                        one.act = fault == SIM_FAULT_HELD ? ROLLOUT_ACT_LOCK : ROLLOUT_ACT_SWITCH;
                    tell_taken_over(kinds[k], count, limits, one, at, at & 4 ? 1000 : 300000);
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

static void whoever_goes_on_finds_it_whole(void **unused)
{
    (void)unused;
    struct rollout_limits patient = usual, none = usual;
    patient.failed = patient.unreachable = 1;
    none.canary = 0;
    killed_at_every_step(&usual, 3);
    killed_at_every_step(&patient, 4);
    killed_at_every_step(&none, 3);
    print_message("%lu taken over\n", taken_over);
    assert_true(taken_over > 5000);
}

/* A fleet of its own for every seed: how many hosts, which limits, and what happens. */
static void told_at_random(uint64_t seed)
{
    uint64_t state = seed;
    size_t count = 1 + story_random(&state) % HOSTS;
    struct rollout_limits limits = {
        .canary = story_random(&state) % 3 < count ? story_random(&state) % 3 : 1,
        .batch = 1 + story_random(&state) % 4,
        .unavailable = 1 + story_random(&state) % 3,
        .undo_unavailable = 1 + story_random(&state) % 3,
        .failed = story_random(&state) % 3,
        .unreachable = story_random(&state) % 3,
        .bake_ms = (int64_t)(story_random(&state) % 90000),
        .healthy_for_ms = (int64_t)(story_random(&state) % 20000),
        .progress_deadline_ms = 600000,
        .confirm_within_ms = 120000,
        .hold = story_random(&state) % 8 == 0,
        .pause_on_failure = story_random(&state) % 8 == 0,
    };
    struct story story;
    struct sim sim;
    story_make(&state, count, &story);
    assert_int_equal(sim_init(&sim, ROLLOUT_RELEASE, count, names, &limits, NULL), 0);
    const char *wrong = story_tell(&story, &sim);
    if (wrong) {
        print_message("seed %llu: %s\n", (unsigned long long)seed, wrong);
        describe(&sim);
    }
    assert_null(wrong);
    outcomes[sim.rollout.outcome]++;
    sim_done(&sim);
}

/* ROLLOUT_STORIES=n tells more of them, ROLLOUT_SEED=s others (or only one again, with n = 1). */
static void what_nobody_thought_of(void **unused)
{
    (void)unused;
    const char *many = getenv("ROLLOUT_STORIES"), *first = getenv("ROLLOUT_SEED");
    uint64_t stories = many ? strtoull(many, NULL, 10) : STORIES;
    uint64_t seed = first ? strtoull(first, NULL, 10) : 1;
    memset(outcomes, 0, sizeof outcomes);
    for (uint64_t i = 0; i < stories; i++)
        told_at_random(seed + i);
    for (int i = 0; i < ROLLOUT_NOUTCOMES; i++)
        if (outcomes[i])
            print_message("%-12s %lu\n", rollout_name_outcome((enum rollout_outcome)i),
                          outcomes[i]);
    assert_true(stories < STORIES || (outcomes[ROLLOUT_DONE] && outcomes[ROLLOUT_BAD] &&
                                      outcomes[ROLLOUT_INCOMPLETE] && outcomes[ROLLOUT_PAUSED]));
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
        cmocka_unit_test(unhealthy_hosts_go_first_and_are_no_canary),
        cmocka_unit_test(zones_follow_one_another),
        cmocka_unit_test(who_was_unreachable_is_caught_up),
        cmocka_unit_test(progress_winds_the_deadline_up),
        cmocka_unit_test(what_cannot_go_on_stays_open),
        cmocka_unit_test(after_every_story_each_host_runs_one_release),
        cmocka_unit_test(whoever_goes_on_finds_it_whole),
        cmocka_unit_test(what_nobody_thought_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
