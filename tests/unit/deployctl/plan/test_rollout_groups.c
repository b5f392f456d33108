/* test_rollout_groups.c - groups that follow one another: the order forward, the reverse order
 * back.
 *
 * plan/sim.h looks at the order at each switch and each undo, from the hosts' side; here are the
 * stories: a few to read, all with two faults, all with a death of deployctl, many at random.
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

enum { HOSTS = 9, FAULTS = 2, STORIES = 20000 };

static const char *const names[HOSTS] = { "a1", "a2", "w1", "w2", "w3", "x1", "x2", "x3", "x4" };

/* api before web before edge. */
static const struct rollout_limits usual = {
    .canary = 1,
    .batch = 2,
    .unavailable = 2,
    .undo_unavailable = 2,
    .ngroups = 3,
    .groups = { { "api", 1, 1, 1 }, { "web", 2, 1, 2 }, { "edge", 2, 2, 1 } },
    .bake_ms = 60000,
    .healthy_for_ms = 10000,
    .progress_deadline_ms = 600000,
    .confirm_within_ms = 120000,
};
static const size_t group_of[HOSTS] = { 0, 0, 1, 1, 1, 2, 2, 2, 2 };

static struct sim_fault faults[FAULTS];

/* What was asked of whom, as "a1 a2 w1|w1 a2": switched | undone. */
struct order {
    char switched[256], undone[256], stages[512];
};

static void note(char *text, size_t size, const char *word)
{
    size_t len = strlen(text);
    snprintf(text + len, size - len, "%s%s", len ? " " : "", word);
}

static void on_news(void *context, const struct sim *sim, const struct sim_news *news)
{
    struct order *order = context;
    char text[ROLLOUT_NAME_DOING];
    if (news->kind == SIM_NEWS_ASKED && news->act == ROLLOUT_ACT_SWITCH)
        note(order->switched, sizeof order->switched, names[news->host]);
    if (news->kind == SIM_NEWS_ASKED && news->act == ROLLOUT_ACT_UNDO)
        note(order->undone, sizeof order->undone, names[news->host]);
    if (news->kind == SIM_NEWS_STAGE && rollout_name_group(&sim->rollout)) {
        note(order->stages, sizeof order->stages, rollout_name_stage(sim->rollout.stage));
        note(order->stages, sizeof order->stages, rollout_name_group(&sim->rollout));
        assert_non_null(strstr(rollout_name_doing(&sim->rollout, text), ": group "));
    }
}

static void place(struct sim *sim)
{
    for (size_t i = 0; i < sim->count; i++)
        sim->rollout.hosts[i].group = group_of[i];
}

static void begin(struct sim *sim, enum rollout_kind kind, size_t count,
                  const struct rollout_limits *limits, struct order *order)
{
    assert_int_equal(sim_init(sim, kind, count, names, limits, NULL), 0);
    place(sim);
    memset(faults, 0, sizeof faults);
    sim->faults = faults;
    sim->nfaults = FAULTS;
    if (!order)
        return;
    memset(order, 0, sizeof *order);
    sim->tell = on_news;
    sim->context = order;
}

static void must_be_right(const struct sim *sim)
{
    const struct rollout *rollout = &sim->rollout;
    const char *wrong = sim_wrong(sim);
    if (wrong) {
        print_message("%s (%s)\nkind %d outcome %s stage %s order %d at %zu, died at %zu\n", wrong,
                      names[sim->wrong_host], (int)rollout->kind,
                      rollout_name_outcome(rollout->outcome), rollout_name_stage(rollout->stage),
                      (int)sim->order, sim->order_at, sim->die_at);
        for (size_t i = 0; i < sim->nfaults; i++)
            print_message("fault %d host %zu act %s returns %d\n", (int)sim->faults[i].kind,
                          sim->faults[i].host, rollout_name_act(sim->faults[i].act),
                          (int)sim->faults[i].returns);
        for (size_t i = 0; i < sim->count; i++)
            print_message("%s %s: new %d confirmed %d away %d\n", names[i],
                          rollout_name_host(rollout->hosts[i].state), (int)sim->hosts[i].new,
                          (int)sim->hosts[i].confirmed, (int)rollout->hosts[i].away);
    }
    assert_null(wrong);
}

static void run(struct sim *sim)
{
    sim_run(sim);
    sim_settle(sim);
    must_be_right(sim);
}

/* --- stories ---------------------------------------------------------------------------------- */

static void one_group_follows_the_other(void **unused)
{
    (void)unused;
    struct order order;
    struct sim sim, seen;
    begin(&sim, ROLLOUT_RELEASE, HOSTS, &usual, &order);
    begin(&seen, ROLLOUT_RELEASE, HOSTS, &usual, NULL);
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    assert_int_equal(sim_new(&sim), HOSTS);
    assert_string_equal(order.switched, "a1 a2 w1 w2 w3 x1 x2 x3 x4");
    assert_string_equal(order.undone, "");
    assert_string_equal(order.stages, "canary api batches api batches web batches edge");
    rollout_foresee(&seen.rollout);
    for (size_t i = 0; i < HOSTS; i++) { /* what plan shows is what comes */
        assert_int_equal(seen.rollout.hosts[i].canary, sim.rollout.hosts[i].canary);
        assert_int_equal(seen.rollout.hosts[i].batch, sim.rollout.hosts[i].batch);
    }
    sim_done(&sim);
    sim_done(&seen);
}

static void the_last_group_fails_and_all_go_back_in_reverse(void **unused)
{
    (void)unused;
    struct order order;
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, 6, &usual, &order);
    faults[0] = (struct sim_fault){ SIM_FAULT_GATE, 5, ROLLOUT_ACT_SWITCH, 3000, false, false };
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_BAD);
    assert_int_equal(sim.rollout.culprit, 5);
    assert_int_equal(sim_new(&sim), 0);
    assert_string_equal(order.switched, "a1 a2 w1 w2 w3 x1");
    assert_string_equal(order.undone, "x1 w1 w2 w3 a1 a2");
    assert_string_equal(order.stages, "canary api batches api batches web batches edge "
                                      "unwind edge unwind web unwind api");
    sim_done(&sim);
}

static void a_rollback_begins_with_the_last_group(void **unused)
{
    (void)unused;
    struct order order;
    struct sim sim;
    begin(&sim, ROLLOUT_ROLLBACK, 6, &usual, &order);
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    assert_string_equal(order.switched, "x1 w1 w2 w3 a1 a2");
    assert_int_equal(sim.most_out, 2);
    sim_done(&sim);
}

/* Paused as soon as these were asked to switch. */
static void pause_after(struct sim *sim, enum rollout_kind kind, const char *switched,
                        struct order *order)
{
    for (size_t at = 1; at < 200; at++) {
        begin(sim, kind, HOSTS, &usual, order);
        sim->order = ROLLOUT_EV_PAUSE;
        sim->order_at = at;
        sim_run(sim);
        if (strcmp(order->switched, switched) == 0)
            return;
        sim_done(sim);
    }
    fail_msg("never just %s", switched);
}

/* An open rollback is undone in the order of a release. */
static void undoing_a_rollback_begins_with_the_first_group(void **unused)
{
    (void)unused;
    struct order order;
    struct sim sim;
    pause_after(&sim, ROLLOUT_ROLLBACK, "x1 x2 x3 x4 w1 w2", &order);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_PAUSED);
    assert_true(sim_takeover(&sim, ROLLOUT_ABORT, 1000));
    sim_run(&sim);
    assert_string_equal(order.undone, "w1 w2 x1 x2 x3 x4");
    assert_int_equal(sim.rollout.outcome, ROLLOUT_ABORTED);
    sim_done(&sim);
}

static void whoever_takes_over_keeps_the_order(void **unused)
{
    (void)unused;
    struct order order;
    struct sim sim;
    pause_after(&sim, ROLLOUT_RELEASE, "a1 a2 w1", &order);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_PAUSED);
    assert_true(sim_takeover(&sim, ROLLOUT_RESUME, 1000));
    faults[0] = (struct sim_fault){ SIM_FAULT_GONE_BACK, 6, ROLLOUT_ACT_SWITCH, 0, false, false };
    sim.hosts[6].faulty = true;
    sim_run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_BAD);
    assert_string_equal(order.switched, "a1 a2 w1 w2 w3 x1 x2");
    assert_string_equal(order.undone, "x1 w1 w2 w3 a1 a2");
    sim_settle(&sim);
    must_be_right(&sim);
    sim_done(&sim);
}

/* Whoever took over meanwhile owns all of it: nothing is asked any more, and nothing is undone. */
static void one_that_is_fenced_off_leaves_at_once(void **unused)
{
    (void)unused;
    for (size_t at = 20; at < 120; at++) {
        struct order order;
        struct sim sim;
        begin(&sim, ROLLOUT_RELEASE, HOSTS, &usual, &order);
        sim.die_at = at;
        sim_run(&sim);
        if (sim.died) {
            struct rollout_event stale = { .kind = ROLLOUT_EV_STALE, .host = 3 };
            rollout_step(&sim.rollout, &stale, sim.now_ms);
            assert_int_equal(sim.rollout.stage, ROLLOUT_OVER);
            assert_int_equal(sim.rollout.outcome, ROLLOUT_LOCKED);
            assert_int_equal(rollout_exit_code(&sim.rollout), 5);
            assert_int_equal(sim.rollout.culprit, 3);
            for (size_t i = 0; i < sim.rollout.norders; i++)
                assert_int_equal(sim.rollout.orders[i].act, ROLLOUT_ACT_UNLOCK);
        }
        sim_done(&sim);
    }
}

/* The canary is of the first group that has anything to switch; a name in another is no canary. */
static void the_canary_is_of_the_first_group(void **unused)
{
    (void)unused;
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, 6, &usual, NULL);
    sim.rollout.hosts[0].skip = sim.rollout.hosts[1].skip = true;
    sim.rollout.hosts[0].state = sim.rollout.hosts[1].state = ROLLOUT_HOST_CONFIRMED;
    sim.hosts[0].new = sim.hosts[0].confirmed = sim.hosts[1].new = sim.hosts[1].confirmed = true;
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    assert_true(sim.rollout.hosts[2].canary);
    sim_done(&sim);

    begin(&sim, ROLLOUT_RELEASE, 6, &usual, NULL);
    sim.rollout.hosts[1].named = sim.rollout.hosts[3].named = true;
    run(&sim);
    assert_int_equal(sim.rollout.outcome, ROLLOUT_DONE);
    assert_true(sim.rollout.hosts[1].canary);
    assert_false(sim.rollout.hosts[3].canary);
    sim_done(&sim);
}

/* A share of the whole fleet would be all of a small group. */
static void each_group_has_its_own_capacity(void **unused)
{
    (void)unused;
    struct rollout_limits limits = usual;
    limits.groups[0] = (struct rollout_group){ "api", 2, 1, 1 };
    limits.groups[1] = (struct rollout_group){ "web", 3, 3, 3 };
    limits.canary = 0;
    struct sim sim;
    begin(&sim, ROLLOUT_RELEASE, 2, &limits, NULL);
    run(&sim);
    assert_int_equal(sim.most_out, 1);
    sim_done(&sim);
    begin(&sim, ROLLOUT_RELEASE, 5, &limits, NULL);
    run(&sim);
    assert_int_equal(sim.most_out, 3);
    assert_int_equal(sim.rollout.batch, 2);
    sim_done(&sim);
}

/* One zone at a time inside each group. */
static void zones_are_inside_groups(void **unused)
{
    (void)unused;
    struct rollout_limits limits = usual;
    struct order order;
    struct sim sim;
    limits.by_zone = true;
    limits.groups[1].batch = 3;
    begin(&sim, ROLLOUT_RELEASE, 5, &limits, &order);
    static const size_t zones[] = { 0, 1, 0, 1, 0 };
    for (size_t i = 0; i < 5; i++)
        sim.rollout.hosts[i].zone = zones[i];
    run(&sim);
    const struct rollout_host *hosts = sim.rollout.hosts;
    assert_string_equal(order.switched, "a1 a2 w1 w3 w2");
    assert_int_equal(hosts[1].batch, 1);
    assert_int_equal(hosts[2].batch, 2);
    assert_int_equal(hosts[4].batch, 2);
    assert_int_equal(hosts[3].batch, 3);
    sim_done(&sim);
}

/* --- every story ------------------------------------------------------------------------------ */

static bool possible(enum sim_fault_kind kind, enum rollout_act act)
{
    bool asks = act == ROLLOUT_ACT_SWITCH || act == ROLLOUT_ACT_CONFIRM ||
                act == ROLLOUT_ACT_EXTEND || act == ROLLOUT_ACT_HOLD;
    if (kind == SIM_FAULT_GONE_BACK || kind == SIM_FAULT_BROKEN)
        return act == ROLLOUT_ACT_SWITCH;
    if (kind == SIM_FAULT_GATE)
        return act == ROLLOUT_ACT_SWITCH || act == ROLLOUT_ACT_CONFIRM;
    if (kind == SIM_FAULT_UNSURE || kind == SIM_FAULT_UNSURE_DONE)
        return asks;
    if (kind == SIM_FAULT_HELD)
        return act == ROLLOUT_ACT_LOCK;
    if (kind == SIM_FAULT_REFUSE)
        return !asks || act == ROLLOUT_ACT_SWITCH;
    return act != ROLLOUT_ACT_NONE && act != ROLLOUT_ACT_DECIDE && act != ROLLOUT_ACT_UNLOCK;
}

struct plot {
    enum rollout_kind kind;
    const struct rollout_limits *limits;
    size_t count;
    struct sim_fault faults[FAULTS];
    enum rollout_event_kind order;
    size_t order_at, die_at;
    enum rollout_kind then;
    int64_t gap_ms;
};
static unsigned long told, taken_over, in_order;

static void play(const struct plot *plot)
{
    struct sim sim;
    begin(&sim, plot->kind, plot->count, plot->limits, NULL);
    memcpy(faults, plot->faults, sizeof faults);
    sim.order = plot->order;
    sim.order_at = plot->order_at;
    sim.die_at = plot->die_at;
    sim_run(&sim);
    told++;
    if (sim.died && !sim_takeover(&sim, plot->then, plot->gap_ms)) {
        assert_null(sim_abandoned(&sim));
    } else {
        taken_over += sim.taken_over;
        if (sim.taken_over)
            sim_run(&sim);
        in_order += sim.undoing != ROLLOUT_NOBODY;
        sim_settle(&sim);
        must_be_right(&sim);
    }
    sim_done(&sim);
}

static void with_two_faults(enum rollout_kind kind, const struct rollout_limits *limits,
                            size_t count)
{
    struct plot plot = { .kind = kind, .limits = limits, .count = count };
    plot.order = ROLLOUT_EV_START;
    for (int k1 = 1; k1 < SIM_NFAULTS; k1++)
        for (int a1 = 1; a1 < ROLLOUT_NACTS; a1++)
            for (size_t h1 = 0; h1 < count && possible(k1, a1); h1++)
                for (int k2 = 0; k2 < SIM_NFAULTS; k2++)
                    for (int a2 = 1; a2 < ROLLOUT_NACTS; a2 += k2 ? 1 : 99) {
                        if (k2 && !possible(k2, a2))
                            continue;
                        size_t h2 = (h1 + (size_t)a2) % count;
                        plot.faults[0] = (struct sim_fault){ k1, h1, a1, 5000, a1 & 1, false };
                        plot.faults[1] = (struct sim_fault){ k2, h2, a2, 25000, a2 & 1, false };
                        play(&plot);
                    }
}

/* An order, or the death of deployctl, at each step, with each fault of a switch or a confirm. */
static void at_every_step(enum rollout_kind kind, const struct rollout_limits *limits, size_t count,
                          size_t steps)
{
    static const enum rollout_event_kind orders[] = { ROLLOUT_EV_START, ROLLOUT_EV_INTERRUPT,
                                                      ROLLOUT_EV_PAUSE, ROLLOUT_EV_ABORT };
    static const enum rollout_kind kinds[] = { ROLLOUT_RESUME, ROLLOUT_ABORT, ROLLOUT_PROMOTE,
                                               ROLLOUT_PARK };
    for (size_t at = 1; at < steps; at++)
        for (size_t k = 0; k < 4; k++)
            for (int fault = 0; fault < SIM_NFAULTS; fault++)
                for (size_t host = 0; host < count; host++) {
                    enum rollout_act act = at & 2 ? ROLLOUT_ACT_SWITCH : ROLLOUT_ACT_CONFIRM;
                    if (!possible(fault, act))
                        act = fault == SIM_FAULT_HELD ? ROLLOUT_ACT_LOCK : ROLLOUT_ACT_SWITCH;
                    struct plot plot = { .kind = kind, .limits = limits, .count = count };
                    plot.faults[0] =
                        (struct sim_fault){ fault,  host, act, 3000 * (int64_t)(at % 20),
                                            at & 1, false };
                    plot.order = orders[k];
                    plot.order_at = at;
                    play(&plot);
                    plot.order = ROLLOUT_EV_START;
                    plot.die_at = at;
                    plot.then = kind == ROLLOUT_ROLLBACK && kinds[k] != ROLLOUT_ABORT
                                    ? ROLLOUT_ROLLBACK
                                    : kinds[k];
                    plot.gap_ms = at & 4 ? 1000 : 300000;
                    play(&plot);
                }
}

static void the_order_is_kept_in_every_story(void **unused)
{
    (void)unused;
    struct rollout_limits patient = usual, pausing = usual, none = usual;
    patient.failed = patient.unreachable = 1;
    pausing.pause_on_failure = true;
    none.canary = 0;
    const struct rollout_limits *all[] = { &usual, &patient, &pausing, &none };
    for (size_t i = 0; i < 4; i++) {
        with_two_faults(ROLLOUT_RELEASE, all[i], 4);
        at_every_step(ROLLOUT_RELEASE, all[i], 4, 110);
    }
    with_two_faults(ROLLOUT_RELEASE, &patient, 6);
    with_two_faults(ROLLOUT_CATCH_UP, &patient, 4);
    with_two_faults(ROLLOUT_ROLLBACK, &usual, 4);
    at_every_step(ROLLOUT_ROLLBACK, &usual, 6, 60);
    print_message("%lu stories, %lu taken over, %lu unwound\n", told, taken_over, in_order);
    assert_true(told > 50000 && taken_over > 5000 && in_order > 5000);
}

/* A fleet of its own for every seed: which hosts are in which group is made up, too. */
static void told_at_random(uint64_t seed, unsigned long outcomes[ROLLOUT_NOUTCOMES])
{
    uint64_t state = seed;
    size_t count = 2 + story_random(&state) % (HOSTS - 1);
    struct rollout_limits limits = usual;
    limits.ngroups = 2 + story_random(&state) % 2;
    limits.canary = story_random(&state) % 3;
    limits.failed = story_random(&state) % 3;
    limits.unreachable = story_random(&state) % 3;
    limits.pause_on_failure = story_random(&state) % 8 == 0;
    limits.by_zone = story_random(&state) % 3 == 0;
    for (size_t i = 0; i < limits.ngroups; i++)
        limits.groups[i] = (struct rollout_group){ .name = usual.groups[i].name,
                                                   .batch = 1 + story_random(&state) % 4,
                                                   .unavailable = 1 + story_random(&state) % 3,
                                                   .undo_unavailable = 1 + seed % 3 };
    struct story story;
    struct sim sim;
    story_make(&state, count, &story);
    assert_int_equal(sim_init(&sim, ROLLOUT_RELEASE, count, names, &limits, NULL), 0);
    for (size_t i = 0; i < count; i++) {
        sim.rollout.hosts[i].group = story_random(&state) % limits.ngroups;
        sim.rollout.hosts[i].zone = limits.by_zone && i > 0 ? story_random(&state) % 2 : 0;
    }
    const char *wrong = story_tell(&story, &sim);
    if (wrong)
        print_message("seed %llu\n", (unsigned long long)seed);
    if (!sim.died)
        must_be_right(&sim);
    assert_null(wrong);
    outcomes[sim.rollout.outcome]++;
    sim_done(&sim);
}

/* ROLLOUT_STORIES=n tells more of them, ROLLOUT_SEED=s others (or only one again, with n = 1). */
static void what_nobody_thought_of(void **unused)
{
    (void)unused;
    unsigned long outcomes[ROLLOUT_NOUTCOMES] = { 0 };
    const char *many = getenv("ROLLOUT_STORIES"), *first = getenv("ROLLOUT_SEED");
    uint64_t stories = many ? strtoull(many, NULL, 10) : STORIES;
    uint64_t seed = first ? strtoull(first, NULL, 10) : 1;
    for (uint64_t i = 0; i < stories; i++)
        told_at_random(seed + i, outcomes);
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
        cmocka_unit_test(one_group_follows_the_other),
        cmocka_unit_test(the_last_group_fails_and_all_go_back_in_reverse),
        cmocka_unit_test(a_rollback_begins_with_the_last_group),
        cmocka_unit_test(undoing_a_rollback_begins_with_the_first_group),
        cmocka_unit_test(whoever_takes_over_keeps_the_order),
        cmocka_unit_test(one_that_is_fenced_off_leaves_at_once),
        cmocka_unit_test(the_canary_is_of_the_first_group),
        cmocka_unit_test(each_group_has_its_own_capacity),
        cmocka_unit_test(zones_are_inside_groups),
        cmocka_unit_test(the_order_is_kept_in_every_story),
        cmocka_unit_test(what_nobody_thought_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
