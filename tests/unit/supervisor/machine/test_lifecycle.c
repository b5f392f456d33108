/* test_lifecycle.c - readable stories, then every reachable situation of every policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "supervisor/machine/lifecycle.h"

enum { MAX_RETRIES = 2, NOW = 100000, HEALTHY_NEVER = 1 << 30 };

static struct lifecycle_policy service(void)
{
    return (struct lifecycle_policy){
        .delay_ready = true,
        .autorestart = LIFECYCLE_ALWAYS,
        .startretries = -1,
        .start_ms = 1000,
        .stop_ms = 10000,
        .hook_ms = 5000,
        .backoff_reset_ms = 10000,
        .backoff = { .min_ms = 100, .max_ms = 30000, .factor = 2 },
    };
}

static unsigned at(struct lifecycle *lc, enum lifecycle_event event,
                   const struct lifecycle_policy *policy, int64_t ms)
{
    return lifecycle_step(lc, event, policy, (struct lifecycle_now){ .mono_ms = ms });
}

static void start(struct lifecycle *lc, const struct lifecycle_policy *policy, int64_t ms)
{
    assert_int_equal(at(lc, LIFECYCLE_EV_START, policy, ms), LIFECYCLE_ACT_ASK);
    assert_true(at(lc, LIFECYCLE_EV_GO, policy, ms) & LIFECYCLE_ACT_SPAWN);
    assert_int_equal(lc->state, LIFECYCLE_STARTING);
}

/* The main process ends and nothing is left of the instance. */
static unsigned end(struct lifecycle *lc, enum lifecycle_event how,
                    const struct lifecycle_policy *policy, int64_t ms)
{
    assert_int_equal(at(lc, how, policy, ms), LIFECYCLE_ACT_CLEAN);
    return at(lc, LIFECYCLE_EV_EMPTY, policy, ms);
}

static void first_restart_is_immediate_then_backoff_grows(void **unused)
{
    (void)unused;
    struct lifecycle_policy policy = service();
    struct lifecycle lc = { 0 };

    start(&lc, &policy, 1000);
    at(&lc, LIFECYCLE_EV_TIMEOUT, &policy, 2000);
    assert_int_equal(lc.state, LIFECYCLE_RUNNING);
    assert_int_equal(end(&lc, LIFECYCLE_EV_EXIT_BAD, &policy, 3000), LIFECYCLE_ACT_ASK);
    for (int64_t delay = 100, now = 4000; delay <= 800; delay *= 2, now += 10000) {
        at(&lc, LIFECYCLE_EV_GO, &policy, now);
        at(&lc, LIFECYCLE_EV_TIMEOUT, &policy, now + 1000);
        assert_int_equal(end(&lc, LIFECYCLE_EV_EXIT_BAD, &policy, now + 2000), 0);
        assert_int_equal(lc.state, LIFECYCLE_BACKOFF);
        assert_int_equal(lc.deadline_ms, now + 2000 + delay);
        assert_int_equal(at(&lc, LIFECYCLE_EV_TIMEOUT, &policy, now + 9000), LIFECYCLE_ACT_ASK);
    }
    /* Ten healthy seconds forgive everything. */
    at(&lc, LIFECYCLE_EV_GO, &policy, 100000);
    at(&lc, LIFECYCLE_EV_TIMEOUT, &policy, 101000);
    assert_int_equal(end(&lc, LIFECYCLE_EV_EXIT_BAD, &policy, 111000), LIFECYCLE_ACT_ASK);
    assert_int_equal(lc.failures, 0);
}

static void a_start_that_never_ran_waits_from_the_first_time(void **unused)
{
    (void)unused;
    struct lifecycle_policy policy = service();
    struct lifecycle lc = { 0 };

    start(&lc, &policy, 1000);
    end(&lc, LIFECYCLE_EV_EXIT_BAD, &policy, 1100);
    assert_int_equal(lc.state, LIFECYCLE_BACKOFF);
    assert_int_equal(lc.deadline_ms, 1200);
}

static void supervisord_launches_four_times(void **unused)
{
    (void)unused;
    struct lifecycle_policy policy = service();
    struct lifecycle lc = { 0 };
    int64_t now = 1000;

    policy.program = true;
    policy.startretries = 3;
    policy.autorestart = LIFECYCLE_UNEXPECTED;
    policy.backoff = (struct backoff_policy){ .min_ms = 1000, .linear = true };
    start(&lc, &policy, now);
    for (int retry = 1; retry <= 3; retry++) {
        end(&lc, LIFECYCLE_EV_EXIT_OK, &policy, now); /* also an expected exit is a failed start */
        assert_int_equal(lc.state, LIFECYCLE_BACKOFF);
        assert_int_equal(lc.deadline_ms, now + 1000 * retry);
        now = lc.deadline_ms;
        at(&lc, LIFECYCLE_EV_TIMEOUT, &policy, now);
        at(&lc, LIFECYCLE_EV_GO, &policy, now);
    }
    end(&lc, LIFECYCLE_EV_EXIT_OK, &policy, now);
    assert_int_equal(lc.state, LIFECYCLE_FAILED);
    assert_int_equal(lc.starts, 4);
}

static void stop_keeps_one_deadline_through_cleaning(void **unused)
{
    (void)unused;
    struct lifecycle_policy policy = service();
    struct lifecycle lc = { 0 };

    start(&lc, &policy, 1000);
    assert_int_equal(at(&lc, LIFECYCLE_EV_STOP, &policy, 2000), LIFECYCLE_ACT_SIGNAL);
    assert_int_equal(lc.deadline_ms, 12000);
    assert_int_equal(at(&lc, LIFECYCLE_EV_EXIT_OK, &policy, 5000), LIFECYCLE_ACT_CLEAN);
    assert_int_equal(lc.deadline_ms, 12000);
    assert_int_equal(at(&lc, LIFECYCLE_EV_TIMEOUT, &policy, 12000), LIFECYCLE_ACT_KILL);
    at(&lc, LIFECYCLE_EV_EMPTY, &policy, 12001);
    assert_int_equal(lc.state, LIFECYCLE_STOPPED);
}

static void a_oneshot_that_ends_well_is_done(void **unused)
{
    (void)unused;
    struct lifecycle_policy policy = service();
    struct lifecycle lc = { 0 };

    policy.oneshot = true;
    policy.delay_ready = false;
    start(&lc, &policy, 1000);
    assert_int_equal(lc.deadline_ms, 0);
    end(&lc, LIFECYCLE_EV_EXIT_OK, &policy, 500000);
    assert_int_equal(lc.state, LIFECYCLE_EXITED);
    assert_true(lc.ready);
}

/* Whatever its readiness check is said to be: time does not make it done. */
static void a_oneshot_that_takes_too_long_has_failed(void **unused)
{
    (void)unused;
    for (int delay_ready = 0; delay_ready < 2; delay_ready++) {
        struct lifecycle_policy policy = service();
        struct lifecycle lc = { 0 };

        policy.oneshot = true;
        policy.delay_ready = delay_ready;
        policy.run_ms = 60000;
        policy.startretries = 0;
        start(&lc, &policy, 1000);
        assert_int_equal(lc.deadline_ms, 61000);
        assert_true(lifecycle_extend(&lc, &policy, 70000));
        assert_int_equal(at(&lc, LIFECYCLE_EV_TIMEOUT, &policy, 70000), LIFECYCLE_ACT_SIGNAL);
        end(&lc, LIFECYCLE_EV_EXIT_OK, &policy, 70100);
        assert_int_equal(lc.state, LIFECYCLE_FAILED);
        assert_false(lc.ready);
    }
}

static void a_fault_without_autorestart_fails(void **unused)
{
    (void)unused;
    struct lifecycle_policy policy = service();
    struct lifecycle lc = { 0 };

    policy.autorestart = LIFECYCLE_NEVER;
    policy.delay_ready = false;
    start(&lc, &policy, 1000);
    assert_int_equal(at(&lc, LIFECYCLE_EV_TIMEOUT, &policy, 2000), LIFECYCLE_ACT_SIGNAL);
    end(&lc, LIFECYCLE_EV_EXIT_OK, &policy, 2100);
    assert_int_equal(lc.state, LIFECYCLE_FAILED);
}

static void a_restart_while_leaving_starts_again(void **unused)
{
    (void)unused;
    struct lifecycle_policy policy = service();
    struct lifecycle lc = { 0 };

    start(&lc, &policy, 1000);
    at(&lc, LIFECYCLE_EV_STOP, &policy, 2000);
    assert_int_equal(at(&lc, LIFECYCLE_EV_START, &policy, 2001), 0);
    assert_int_equal(end(&lc, LIFECYCLE_EV_EXIT_BAD, &policy, 2100), LIFECYCLE_ACT_ASK);
    assert_int_equal(lc.failures, 0);
}

/* What is called by a connection may leave when it is idle, as often as it likes; one that leaves
 * while somebody waits is not started in a circle. */
static void idle_is_no_failure_unless_somebody_waits(void **unused)
{
    (void)unused;
    struct lifecycle_policy policy = service();
    struct lifecycle lc = { 0 };

    policy.autorestart = LIFECYCLE_NEVER;
    policy.at_call = policy.uncalled = true;
    for (int64_t now = 1000; now < 10000; now += 100) {
        if (now == 1000)
            at(&lc, LIFECYCLE_EV_START, &policy, now);
        at(&lc, LIFECYCLE_EV_GO, &policy, now);
        at(&lc, LIFECYCLE_EV_READY, &policy, now + 1);
        assert_int_equal(end(&lc, LIFECYCLE_EV_EXIT_OK, &policy, now + 2), LIFECYCLE_ACT_ASK);
        assert_int_equal(lc.state, LIFECYCLE_WAITING);
    }
    policy.uncalled = false;
    for (int turn = 0; turn < 2; turn++) {
        at(&lc, LIFECYCLE_EV_GO, &policy, 20000);
        at(&lc, LIFECYCLE_EV_READY, &policy, 20001);
        end(&lc, LIFECYCLE_EV_EXIT_OK, &policy, 20002);
    }
    assert_int_equal(lc.state, LIFECYCLE_BACKOFF);
    at(&lc, LIFECYCLE_EV_TIMEOUT, &policy, 30000);
    at(&lc, LIFECYCLE_EV_GO, &policy, 30000);
    end(&lc, LIFECYCLE_EV_EXIT_BAD, &policy, 30001);
    assert_int_equal(lc.state, LIFECYCLE_BACKOFF); /* a crash is paced, too, and comes back */
}

/* Its twin may have answered for it: once that is gone it has ready_timeout to show itself. */
static void a_proof_is_a_start_without_a_spawn(void **unused)
{
    (void)unused;
    struct lifecycle_policy policy = service();
    struct lifecycle lc = { 0 };

    policy.delay_ready = false;
    start(&lc, &policy, 1000);
    assert_int_equal(at(&lc, LIFECYCLE_EV_PROVE, &policy, 1100), 0); /* it has shown nothing yet */
    at(&lc, LIFECYCLE_EV_READY, &policy, 1200);
    assert_int_equal(at(&lc, LIFECYCLE_EV_PROVE, &policy, 5000), LIFECYCLE_ACT_CHECKS);
    assert_int_equal(lc.state, LIFECYCLE_STARTING);
    assert_false(lc.ready);
    assert_int_equal(lc.deadline_ms, 6000);
    at(&lc, LIFECYCLE_EV_READY, &policy, 5001);
    assert_int_equal(lc.state, LIFECYCLE_RUNNING);
    at(&lc, LIFECYCLE_EV_PROVE, &policy, 6000);
    assert_int_equal(at(&lc, LIFECYCLE_EV_TIMEOUT, &policy, 7000), LIFECYCLE_ACT_SIGNAL);
    end(&lc, LIFECYCLE_EV_EXIT_OK, &policy, 7100);
    assert_int_equal(lc.state, LIFECYCLE_BACKOFF);
    assert_int_equal(lc.failures, 1);
}

/* One start that came to run and ended in an unexpected way, under a rule of restart_on. */
static struct lifecycle ended_under(enum lifecycle_rule rule, enum lifecycle_autorestart again,
                                    bool running)
{
    struct lifecycle_policy policy = service();
    struct lifecycle lc = { 0 };

    policy.autorestart = again;
    policy.startretries = 1;
    policy.rule = rule;
    policy.rule_ms = 300000;
    start(&lc, &policy, 1000);
    if (running)
        at(&lc, LIFECYCLE_EV_TIMEOUT, &policy, 2000);
    lc.free_used = true; /* an immediate restart would have to come from the rule */
    end(&lc, LIFECYCLE_EV_EXIT_BAD, &policy, 3000);
    return lc;
}

static void rules_come_before_autorestart(void **unused)
{
    (void)unused;
    struct lifecycle lc = ended_under(LIFECYCLE_RULE_NEVER, LIFECYCLE_ALWAYS, true);

    assert_int_equal(lc.state, LIFECYCLE_FAILED);
    lc = ended_under(LIFECYCLE_RULE_ALWAYS, LIFECYCLE_NEVER, true);
    assert_int_equal(lc.state, LIFECYCLE_BACKOFF);
    assert_int_equal(lc.deadline_ms, 3100);
    lc = ended_under(LIFECYCLE_RULE_NOW, LIFECYCLE_NEVER, true);
    assert_int_equal(lc.state, LIFECYCLE_WAITING);
    assert_int_equal(lc.failures, 0);
    lc = ended_under(LIFECYCLE_RULE_NOW, LIFECYCLE_NEVER, false); /* no tight loop */
    assert_int_equal(lc.state, LIFECYCLE_BACKOFF);
    lc = ended_under(LIFECYCLE_RULE_AFTER, LIFECYCLE_NEVER, true);
    assert_int_equal(lc.state, LIFECYCLE_BACKOFF);
    assert_int_equal(lc.deadline_ms, 303000);
    assert_int_equal(lc.failures, 1);
    lc = ended_under(LIFECYCLE_RULE_NONE, LIFECYCLE_NEVER, true);
    assert_int_equal(lc.state, LIFECYCLE_EXITED);
}

/* The rule of an earlier exit says nothing about a stop, a restart or a failed check. */
static void rules_are_for_ends_of_its_own_accord(void **unused)
{
    (void)unused;
    struct lifecycle_policy policy = service();
    struct lifecycle lc = { 0 };

    policy.rule = LIFECYCLE_RULE_NEVER;
    start(&lc, &policy, 1000);
    at(&lc, LIFECYCLE_EV_TIMEOUT, &policy, 2000);
    at(&lc, LIFECYCLE_EV_SICK, &policy, 3000);
    assert_int_equal(end(&lc, LIFECYCLE_EV_EXIT_BAD, &policy, 3100), LIFECYCLE_ACT_ASK);
    at(&lc, LIFECYCLE_EV_GO, &policy, 3200);
    at(&lc, LIFECYCLE_EV_RESTART, &policy, 3300);
    assert_int_equal(end(&lc, LIFECYCLE_EV_EXIT_BAD, &policy, 3400), LIFECYCLE_ACT_ASK);
    policy.rule = LIFECYCLE_RULE_ALWAYS;
    at(&lc, LIFECYCLE_EV_GO, &policy, 3500);
    at(&lc, LIFECYCLE_EV_STOP, &policy, 3600);
    end(&lc, LIFECYCLE_EV_EXIT_BAD, &policy, 3700);
    assert_int_equal(lc.state, LIFECYCLE_STOPPED);
}

/* Everything that tells one situation from another; clocks are fixed, so this is finite. */
struct key {
    uint8_t state, cause;
    bool wanted, ready, reached, expected, free_used, since, deadline;
    uint32_t failures;
};
enum { SEEN_MAX = 20000 };
static struct key seen[SEEN_MAX];
static size_t nseen;

static bool visited(const struct lifecycle *lc)
{
    struct key key;

    memset(&key, 0, sizeof key);
    key.state = lc->state;
    key.cause = lc->cause;
    key.wanted = lc->wanted;
    key.ready = lc->ready;
    key.reached = lc->reached;
    key.expected = lc->expected;
    key.free_used = lc->free_used;
    key.since = lc->ready_since_ms != 0;
    key.deadline = lc->deadline_ms != 0;
    key.failures = lc->failures;
    for (size_t i = 0; i < nseen; i++)
        if (memcmp(&seen[i], &key, sizeof key) == 0)
            return true;
    assert_true(nseen < SEEN_MAX);
    seen[nseen++] = key;
    return false;
}

static void check_step(const struct lifecycle *from, const struct lifecycle *to,
                       enum lifecycle_event event, unsigned acts,
                       const struct lifecycle_policy *policy)
{
    bool had = lifecycle_has_process((enum lifecycle_state)from->state);
    bool has = lifecycle_has_process((enum lifecycle_state)to->state);

    /* A process appears only by SPAWN, when wanted, never beside another one. */
    assert_int_equal(!had && has, !!(acts & LIFECYCLE_ACT_SPAWN));
    if (acts & LIFECYCLE_ACT_SPAWN) {
        assert_true(to->wanted);
        assert_true(from->state == LIFECYCLE_WAITING || from->state == LIFECYCLE_PRE_START);
    }
    /* It is forgotten only after its exit, or when there never was one, and then cleaned up after.
     */
    if (had && !has) {
        assert_true(event == LIFECYCLE_EV_EXIT_OK || event == LIFECYCLE_EV_EXIT_BAD ||
                    event == LIFECYCLE_EV_NO_SPAWN);
        if (event != LIFECYCLE_EV_NO_SPAWN)
            assert_int_equal(to->state, LIFECYCLE_CLEANING);
    }
    /* Cleaning ends only when the instance is empty. */
    if (from->state == LIFECYCLE_CLEANING && to->state != LIFECYCLE_CLEANING)
        assert_int_equal(event, LIFECYCLE_EV_EMPTY);
    if (acts & LIFECYCLE_ACT_SIGNAL)
        assert_true(had && to->deadline_ms > 0);
    if (acts & LIFECYCLE_ACT_KILL)
        assert_true(had || from->state == LIFECYCLE_CLEANING);
    /* At rest means unwanted and without a timer. */
    if (lifecycle_settled((enum lifecycle_state)to->state)) {
        assert_false(to->wanted);
        assert_int_equal(to->deadline_ms, 0);
    }
    /* Wanted means a process, a timer, or somebody who will say GO. */
    if (to->wanted && !has)
        assert_true(to->deadline_ms > 0 || to->state == LIFECYCLE_WAITING);
    if (to->state == LIFECYCLE_WAITING && from->state != LIFECYCLE_WAITING)
        assert_true(acts & LIFECYCLE_ACT_ASK);
    /* What leaves has a deadline; what is ready runs (or is a oneshot that is done). */
    if (to->state == LIFECYCLE_STOPPING || to->state == LIFECYCLE_KILLING ||
        to->state == LIFECYCLE_CLEANING || to->state == LIFECYCLE_BACKOFF)
        assert_true(to->deadline_ms > 0);
    if (to->ready)
        assert_true(to->state == LIFECYCLE_RUNNING ||
                    (policy->oneshot && to->state == LIFECYCLE_EXITED));
    /* To show itself again it keeps its process, is not ready, and has no time without end. */
    if (event == LIFECYCLE_EV_PROVE && from->state == LIFECYCLE_RUNNING)
        assert_true(to->state == LIFECYCLE_STARTING && !to->ready && !to->reached &&
                    to->deadline_ms > 0 && acts == LIFECYCLE_ACT_CHECKS);
    else if (event == LIFECYCLE_EV_PROVE)
        assert_true(acts == 0 && to->state == from->state && to->ready == from->ready);
    if (policy->startretries >= 0)
        assert_true((int64_t)to->failures <= policy->startretries + 1);
    /* restart_on. */
    if (from->state == LIFECYCLE_CLEANING && event == LIFECYCLE_EV_EMPTY && !policy->post_stop &&
        from->wanted && from->cause == LIFECYCLE_BY_ITSELF && !policy->oneshot) {
        if (policy->rule == LIFECYCLE_RULE_NEVER)
            assert_true(lifecycle_settled((enum lifecycle_state)to->state));
        else if (policy->rule != LIFECYCLE_RULE_NONE)
            assert_int_not_equal(to->state, LIFECYCLE_EXITED);
    }
    if (policy->once && from->wanted && event != LIFECYCLE_EV_START &&
        event != LIFECYCLE_EV_RESTART && from->cause != LIFECYCLE_BY_RESTART)
        assert_int_not_equal(to->state, LIFECYCLE_BACKOFF);
    /* After a stop order the only way back is another order. */
    if (event == LIFECYCLE_EV_STOP)
        assert_false(to->wanted);
    if (!from->wanted && event != LIFECYCLE_EV_START && event != LIFECYCLE_EV_RESTART)
        assert_false(to->wanted);
}

static void explore(struct lifecycle from, const struct lifecycle_policy *policy)
{
    if (visited(&from))
        return;
    for (int ev = 0; ev < LIFECYCLE_NEVENTS; ev++) {
        enum lifecycle_event event = (enum lifecycle_event)ev;
        struct lifecycle to = from;

        if (event == LIFECYCLE_EV_TIMEOUT && from.deadline_ms == 0)
            continue; /* no timer, no timeout */
        unsigned acts = at(&to, event, policy, NOW);
        check_step(&from, &to, event, acts, policy);
        explore(to, policy);
    }
    /* A crash of the core here: whatever was under way is taken up again. */
    bool has = lifecycle_has_process((enum lifecycle_state)from.state);
    unsigned acts = lifecycle_resume(&from, has);
    if (has)
        assert_false(acts & LIFECYCLE_ACT_SPAWN);
    if (from.wanted && !has && from.deadline_ms == 0)
        assert_int_not_equal(acts, 0);
}

static void every_reachable_situation_is_sane(void **unused)
{
    (void)unused;
    size_t situations = 0;

    for (unsigned bits = 0; bits < 1u << 9; bits++) {
        bool at_call = bits & 128, odd = bits & (1 | 2 | 4);
        if ((at_call && odd) || (!at_call && bits & 256))
            continue; /* services are called, not programs, oneshots or twins */
        for (int i = 0; i < 3 * 5; i++) {
            struct lifecycle_policy policy = service();
            policy.oneshot = bits & 1;
            policy.program = bits & 2;
            policy.once = bits & 4;
            policy.delay_ready = bits & 8;
            policy.pre_start = bits & 16;
            policy.post_stop = bits & 16;
            policy.backoff_reset_ms = bits & 32 ? 0 : HEALTHY_NEVER;
            policy.startretries = bits & 64 ? MAX_RETRIES : 0;
            policy.at_call = bits & 128;
            policy.uncalled = policy.at_call && bits & 256;
            policy.autorestart = (enum lifecycle_autorestart)(i % 3);
            policy.rule = (enum lifecycle_rule)(i / 3);
            policy.rule_ms = 1000;
            policy.run_ms = bits & 64 ? 5000 : 0;
            nseen = 0;
            explore((struct lifecycle){ 0 }, &policy);
            situations += nseen;
        }
    }
    assert_true(situations > 1000);
}

static void every_name_is_there(void **unused)
{
    (void)unused;
    for (int i = 0; i < LIFECYCLE_NSTATES; i++) {
        assert_non_null(lifecycle_state_name((enum lifecycle_state)i));
        assert_non_null(lifecycle_detail_name((enum lifecycle_state)i));
        assert_non_null(lifecycle_supervisord_name((enum lifecycle_state)i));
    }
    for (int i = 0; i < LIFECYCLE_NEVENTS; i++)
        assert_non_null(lifecycle_event_name((enum lifecycle_event)i));
    assert_string_equal(lifecycle_state_name((enum lifecycle_state)99), "unknown");
}

/* STOPPING=1: nobody signals it, the deadline is that of a stop, its own end counts as such. */
static void one_that_leaves_by_itself_is_let_go(void **unused)
{
    (void)unused;
    struct lifecycle_policy policy = service();
    struct lifecycle lc = { 0 };

    start(&lc, &policy, 1000);
    at(&lc, LIFECYCLE_EV_TIMEOUT, &policy, 2000);
    assert_int_equal(at(&lc, LIFECYCLE_EV_LEAVING, &policy, 3000), 0);
    assert_int_equal(lc.state, LIFECYCLE_STOPPING);
    assert_false(lc.ready);
    assert_int_equal(lc.deadline_ms, 13000);
    assert_int_equal(lifecycle_resume(&lc, true), 0);
    assert_int_equal(end(&lc, LIFECYCLE_EV_EXIT_OK, &policy, 4000), LIFECYCLE_ACT_ASK);
    assert_true(lc.expected);
    at(&lc, LIFECYCLE_EV_GO, &policy, 5000);
    at(&lc, LIFECYCLE_EV_LEAVING, &policy, 6000);
    assert_int_equal(at(&lc, LIFECYCLE_EV_TIMEOUT, &policy, 16000), LIFECYCLE_ACT_KILL);
    /* Nothing that is down, or on its way there, takes notice. */
    lc = (struct lifecycle){ .state = LIFECYCLE_BACKOFF, .wanted = true, .deadline_ms = 7 };
    assert_int_equal(at(&lc, LIFECYCLE_EV_LEAVING, &policy, 1), 0);
    assert_int_equal(lc.state, LIFECYCLE_BACKOFF);
}

static void more_time_is_given_where_there_is_a_limit(void **unused)
{
    (void)unused;
    struct lifecycle_policy policy = service();
    struct lifecycle lc = { 0 };

    start(&lc, &policy, 1000); /* up for startsecs: later would be wrong */
    assert_false(lifecycle_extend(&lc, &policy, 50000));
    policy.delay_ready = false;
    assert_true(lifecycle_extend(&lc, &policy, 50000));
    assert_false(lifecycle_extend(&lc, &policy, 40000)); /* it never gets shorter */
    assert_int_equal(lc.deadline_ms, 50000);
    at(&lc, LIFECYCLE_EV_READY, &policy, 3000);
    assert_false(lifecycle_extend(&lc, &policy, 60000));
    assert_int_equal(lc.deadline_ms, 0);
    at(&lc, LIFECYCLE_EV_STOP, &policy, 4000);
    assert_true(lifecycle_extend(&lc, &policy, 60000));
    at(&lc, LIFECYCLE_EV_TIMEOUT, &policy, 60000);
    assert_false(lifecycle_extend(&lc, &policy, 70000)); /* KILL waits for nobody */
}

static void another_policy_moves_what_is_under_way(void **unused)
{
    (void)unused;
    struct lifecycle_policy before = service(), after = before;
    struct lifecycle lc = { 0 };

    before.start_ms = 10000;
    start(&lc, &before, 1000);
    assert_int_equal(lc.deadline_ms, 11000);
    assert_false(lifecycle_retime(&lc, &before, &before, 2000));
    after.start_ms = 3000;
    assert_true(lifecycle_retime(&lc, &before, &after, 2000));
    assert_int_equal(lc.deadline_ms, 4000);
    assert_true(lifecycle_retime(&lc, &after, &before, 2000)); /* and back */
    assert_int_equal(lc.deadline_ms, 11000);
    assert_true(lifecycle_retime(&lc, &before, &after, 9000)); /* over by now: at once */
    assert_int_equal(lc.deadline_ms, 9000);
    after.start_ms = 0; /* no limit for readiness; but up at once by startsecs */
    after.delay_ready = false;
    assert_true(lifecycle_retime(&lc, &before, &after, 9000));
    assert_int_equal(lc.deadline_ms, 0);
    assert_true(lifecycle_retime(&lc, &after, &before, 9000));
    assert_int_equal(lc.deadline_ms, 11000);
    after.delay_ready = true;
    assert_true(lifecycle_retime(&lc, &before, &after, 9500));
    assert_int_equal(lc.deadline_ms, 9500);
    at(&lc, LIFECYCLE_EV_TIMEOUT, &after, 9500);
    assert_int_equal(lc.state, LIFECYCLE_RUNNING);
    assert_false(lifecycle_retime(&lc, &before, &after, 9600));
    after = before;
    after.stop_ms = before.stop_ms - 4000;
    at(&lc, LIFECYCLE_EV_STOP, &before, 20000);
    int64_t due = lc.deadline_ms;
    assert_true(lifecycle_retime(&lc, &before, &after, 21000));
    assert_int_equal(lc.deadline_ms, due - 4000);
    at(&lc, LIFECYCLE_EV_TIMEOUT, &after, due);
    assert_int_equal(lc.state, LIFECYCLE_KILLING);
    due = lc.deadline_ms;
    assert_false(lifecycle_retime(&lc, &after, &before, due)); /* KILL is KILL */
    /* A run that may take another time; without a limit before, from its start. */
    before.oneshot = true;
    before.run_ms = 0;
    after = before;
    after.run_ms = 60000;
    lc = (struct lifecycle){ 0 };
    start(&lc, &before, 1000);
    assert_false(lifecycle_retime(&lc, &before, &before, 2000));
    assert_true(lifecycle_retime(&lc, &before, &after, 2000));
    assert_int_equal(lc.deadline_ms, 61000);
    assert_true(lifecycle_retime(&lc, &after, &before, 2000));
    assert_int_equal(lc.deadline_ms, 0);
    before = service();
    /* A wait gets shorter, never longer. */
    lc = (struct lifecycle){ .state = LIFECYCLE_BACKOFF, .wanted = true, .deadline_ms = 90000 };
    after = before;
    before.backoff.max_ms = 60000;
    after.backoff.max_ms = 5000;
    assert_true(lifecycle_retime(&lc, &before, &after, 40000));
    assert_int_equal(lc.deadline_ms, 45000);
    assert_false(lifecycle_retime(&lc, &after, &before, 40000));
    assert_false(lifecycle_retime(&lc, &before, &after, 44000));
    /* At rest there is nothing to be moved. */
    lc = (struct lifecycle){ .state = LIFECYCLE_STOPPED };
    assert_false(lifecycle_retime(&lc, &before, &after, 1));
    assert_int_equal(lc.deadline_ms, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_policy_moves_what_is_under_way),
        cmocka_unit_test(first_restart_is_immediate_then_backoff_grows),
        cmocka_unit_test(a_start_that_never_ran_waits_from_the_first_time),
        cmocka_unit_test(supervisord_launches_four_times),
        cmocka_unit_test(stop_keeps_one_deadline_through_cleaning),
        cmocka_unit_test(a_oneshot_that_ends_well_is_done),
        cmocka_unit_test(a_oneshot_that_takes_too_long_has_failed),
        cmocka_unit_test(a_fault_without_autorestart_fails),
        cmocka_unit_test(a_restart_while_leaving_starts_again),
        cmocka_unit_test(idle_is_no_failure_unless_somebody_waits),
        cmocka_unit_test(a_proof_is_a_start_without_a_spawn),
        cmocka_unit_test(one_that_leaves_by_itself_is_let_go),
        cmocka_unit_test(more_time_is_given_where_there_is_a_limit),
        cmocka_unit_test(rules_come_before_autorestart),
        cmocka_unit_test(rules_are_for_ends_of_its_own_accord),
        cmocka_unit_test(every_reachable_situation_is_sane),
        cmocka_unit_test(every_name_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
