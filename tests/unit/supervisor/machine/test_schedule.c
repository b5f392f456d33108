/* Every story of a few chapters (time passes, runs end, the supervisor goes down, clocks are set)
 * is told to every policy; all times that pass have to be accounted for, each once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "supervisor/machine/schedule.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, PERIOD = 10 * MINUTE };
#define BEGIN (calendar_day(2026, 11, 28) * 24 * HOUR + 8 * HOUR + 3 * MINUTE)

static int64_t utc(const void *context, int64_t utc_s, int64_t *ret_until_s)
{
    (void)context, (void)utc_s;
    *ret_until_s = INT64_MAX;
    return 0;
}

static struct calendar_line tens, reboot;

static struct schedule_policy policy_of(bool every, enum schedule_catch_up catch_up,
                                        enum schedule_overlap overlap)
{
    return (struct schedule_policy){ .lines = &tens,
                                     .nlines = every ? 0 : 1,
                                     .zone = { utc, NULL },
                                     .every_ms = every ? PERIOD : 0,
                                     .catch_up = catch_up,
                                     .overlap = overlap,
                                     .rules = 1 };
}

/* --- a world around it --- */

struct world {
    struct schedule s;
    const struct schedule_policy *policy;
    struct schedule_now now;
    int64_t last_due;   /* of a run by the schedule */
    int64_t begun_from; /* times after this one count */
    uint32_t scheduled; /* runs that were no orders */
    bool clock_moved;   /* then what counts is not simply what has passed */
};

static void look(struct world *w)
{
    struct schedule_verdict v;

    for (int rounds = 0;; rounds++) {
        uint32_t missed = w->s.missed, skipped = w->s.skipped;
        bool was_running = w->s.running;
        schedule_look(&w->s, w->policy, w->now, &v);
        assert_int_equal(w->s.missed - missed, v.missed);
        assert_int_equal(w->s.skipped - skipped, v.skipped);
        if (v.clock_set)
            w->last_due = 0;
        if (v.act == SCHEDULE_WAIT)
            break;
        assert_true(rounds < 3);
        if (v.act == SCHEDULE_REPLACE_RUN) {
            assert_true(was_running && w->policy->overlap == SCHEDULE_REPLACE);
            schedule_end(&w->s, SCHEDULE_STOPPED, w->now);
            continue;
        }
        assert_false(was_running);           /* one at a time */
        assert_true(v.due_ms > w->last_due); /* none twice */
        assert_true(v.due_ms <= w->now.wall_ms + SCHEDULE_CORRECTION_MS);
        if (w->policy->deadline_ms)
            assert_true(w->now.wall_ms - v.due_ms - w->policy->shift_ms <= w->policy->deadline_ms);
        if (w->policy->every_ms == 0)
            w->last_due = v.due_ms;
        w->scheduled++;
        schedule_begin(&w->s, v.due_ms, w->now);
    }
    assert_false(w->s.fresh);
    /* Somebody looks again: then, or when the run has ended. */
    if (w->s.active && v.next_ms == SCHEDULE_NEVER && w->policy->lines != &reboot)
        assert_true(w->s.running && w->s.backlog_ms > w->s.until_ms);
    else if (w->s.active)
        assert_true(v.next_ms > w->now.wall_ms);
}

/* How many multiples of ten minutes, or steps of ten minutes, lie between. */
static int64_t times_between(const struct world *w, int64_t from_ms, int64_t to_ms)
{
    if (w->policy->every_ms > 0)
        return (to_ms - from_ms) / PERIOD;
    return to_ms / PERIOD - from_ms / PERIOD;
}

static void all_are_accounted_for(const struct world *w)
{
    int64_t accounted =
        (int64_t)w->scheduled + w->s.missed + w->s.skipped + (w->s.queued_ms ? 1 : 0);

    if (w->clock_moved || !w->s.active)
        return;
    if (times_between(w, w->begun_from, w->s.until_ms) != accounted)
        fail_msg("%lld times passed, %u run, %u missed, %u skipped, queued %d",
                 (long long)times_between(w, w->begun_from, w->s.until_ms), w->scheduled,
                 w->s.missed, w->s.skipped, w->s.queued_ms != 0);
    /* What is not may only wait behind a run that is made up for. */
    if (times_between(w, w->s.until_ms, w->now.wall_ms - w->policy->shift_ms) > 0)
        assert_true(w->s.running && w->policy->catch_up == SCHEDULE_CATCH_UP_ALL &&
                    w->s.backlog_ms > w->s.until_ms);
}

static void pass(struct world *w, int64_t ms)
{
    w->now.wall_ms += ms;
    w->now.boot_ms += ms;
}

static void set_clock(struct world *w, int64_t ms)
{
    w->now.wall_ms += ms;
    w->clock_moved = true;
}

static void restart(struct world *w, int64_t down_ms)
{
    pass(w, down_ms);
    schedule_restore(&w->s, w->policy, w->now);
}

static void end_run(struct world *w)
{
    if (w->s.running)
        schedule_end(&w->s, SCHEDULE_SUCCESS, w->now);
}

static void order(struct world *w)
{
    if (!w->s.running)
        schedule_begin(&w->s, 0, w->now);
}

enum { CHAPTERS = 12 };
static void chapter(struct world *w, int which)
{
    switch (which) {
    case 0: /* as always: the timer, at the very time */
        pass(w, schedule_next(&w->s, w->policy) - w->now.wall_ms);
        break;
    case 1:
        pass(w, PERIOD / 3);
        break;
    case 2: /* asleep */
        pass(w, 3 * PERIOD + 2 * MINUTE);
        break;
    case 3:
        end_run(w);
        break;
    case 4:
        order(w);
        break;
    case 5: /* a short moment without supervisor */
        restart(w, SECOND);
        break;
    case 6:
        restart(w, 4 * PERIOD + MINUTE);
        break;
    case 7:
        set_clock(w, HOUR);
        break;
    case 8:
        set_clock(w, -HOUR);
        break;
    case 9:
        set_clock(w, 7 * HOUR);
        break;
    case 10:
        set_clock(w, -7 * HOUR);
        break;
    case 11: /* far more than is made up for */
        restart(w, 150 * PERIOD);
        break;
    default:
        break;
    }
    look(w);
    all_are_accounted_for(w);
}

static struct world world_of(const struct schedule_policy *policy)
{
    struct world w = { .policy = policy, .now = { BEGIN, 5 * HOUR }, .begun_from = BEGIN };

    schedule_activate(&w.s, policy, w.now);
    look(&w);
    return w;
}

static void tell(struct world w, int depth)
{
    for (int i = 0; i < CHAPTERS && depth > 0; i++) {
        struct world copy = w;
        chapter(&copy, i);
        tell(copy, depth - 1);
    }
}

static void every_story_adds_up(void **unused)
{
    (void)unused;
    for (int bits = 0; bits < 2 * 2 * 2 * 9; bits++) {
        struct schedule_policy policy = policy_of(bits & 1, (enum schedule_catch_up)(bits / 8 % 3),
                                                  (enum schedule_overlap)(bits / 24));
        policy.deadline_ms = bits & 2 ? 12 * MINUTE : 0;
        policy.shift_ms = bits & 4 ? 90 * SECOND : 0;
        tell(world_of(&policy), 4);
    }
}

/* Longer ones, by chance, without the clock being set, so that all is counted. */
static void long_stories_add_up(void **unused)
{
    static const int chapters[] = { 0, 0, 0, 1, 1, 2, 3, 3, 3, 4, 5, 6, 11 };
    uint64_t random = 88172645463325252ULL;

    (void)unused;
    for (int bits = 0; bits < 2 * 2 * 9; bits++) {
        struct schedule_policy policy = policy_of(bits & 1, (enum schedule_catch_up)(bits / 4 % 3),
                                                  (enum schedule_overlap)(bits / 12));
        policy.deadline_ms = bits & 2 ? 12 * MINUTE : 0;
        struct world w = world_of(&policy);
        for (int i = 0; i < 3000; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            chapter(&w, chapters[random % (sizeof chapters / sizeof *chapters)]);
        }
        assert_true(w.scheduled > 100);
    }
}

/* --- stories --- */

static struct schedule_verdict seen(struct world *w)
{
    struct schedule_verdict v;

    schedule_look(&w->s, w->policy, w->now, &v);
    return v;
}

static void missed_times_are_made_up_for_as_asked(void **unused)
{
    static const struct {
        enum schedule_catch_up catch_up;
        uint32_t runs, missed;
    } cases[] = { { SCHEDULE_CATCH_UP_NONE, 0, 5 },
                  { SCHEDULE_CATCH_UP_ONCE, 1, 4 },
                  { SCHEDULE_CATCH_UP_ALL, 5, 0 } };

    (void)unused;
    for (size_t i = 0; i < 3; i++) {
        struct schedule_policy policy = policy_of(false, cases[i].catch_up, SCHEDULE_FORBID);
        struct world w = world_of(&policy);
        pass(&w, 50 * MINUTE);
        restart(&w, 0);
        for (int k = 0; k < 10; k++) {
            look(&w);
            end_run(&w);
        }
        assert_int_equal(w.scheduled, cases[i].runs);
        assert_int_equal(w.s.missed, cases[i].missed);
    }
}

/* A crash of the core is no restart: what came meanwhile is run, whatever catch_up says. */
static void a_crash_loses_no_run(void **unused)
{
    struct schedule_policy policy = policy_of(false, SCHEDULE_CATCH_UP_NONE, SCHEDULE_FORBID);
    struct world w = world_of(&policy);

    (void)unused;
    pass(&w, 8 * MINUTE); /* one time has passed */
    struct schedule_verdict v = seen(&w);
    assert_int_equal(v.act, SCHEDULE_START);
    assert_int_equal(v.due_ms, BEGIN + 7 * MINUTE);
}

static void overlaps_are_what_was_asked_for(void **unused)
{
    (void)unused;
    for (int overlap = SCHEDULE_FORBID; overlap <= SCHEDULE_REPLACE; overlap++) {
        struct schedule_policy policy =
            policy_of(false, SCHEDULE_CATCH_UP_NONE, (enum schedule_overlap)overlap);
        struct world w = world_of(&policy);
        schedule_begin(&w.s, 0, w.now);
        for (int i = 0; i < 3; i++) {
            pass(&w, i == 0 ? 7 * MINUTE : PERIOD);
            struct schedule_verdict v = seen(&w);
            assert_int_equal(v.act == SCHEDULE_REPLACE_RUN, overlap == SCHEDULE_REPLACE);
        }
        assert_int_equal(w.s.skipped, overlap == SCHEDULE_FORBID ? 3 : 2);
        schedule_end(&w.s, SCHEDULE_SUCCESS, w.now);
        struct schedule_verdict v = seen(&w);
        assert_int_equal(v.act, overlap == SCHEDULE_FORBID ? SCHEDULE_WAIT : SCHEDULE_START);
        if (overlap == SCHEDULE_QUEUE)
            assert_int_equal(v.due_ms, BEGIN + 7 * MINUTE);
        if (overlap == SCHEDULE_REPLACE)
            assert_int_equal(v.due_ms, BEGIN + 27 * MINUTE);
    }
}

static void a_queued_run_has_a_deadline(void **unused)
{
    struct schedule_policy policy = policy_of(false, SCHEDULE_CATCH_UP_ONCE, SCHEDULE_QUEUE);
    struct world w = world_of(&policy);

    (void)unused;
    policy.deadline_ms = 5 * MINUTE;
    schedule_begin(&w.s, 0, w.now);
    pass(&w, 7 * MINUTE);
    seen(&w);
    assert_true(w.s.queued_ms != 0);
    pass(&w, 6 * MINUTE);
    schedule_end(&w.s, SCHEDULE_SUCCESS, w.now);
    struct schedule_verdict v = seen(&w);
    assert_int_equal(v.act, SCHEDULE_WAIT);
    assert_int_equal(v.missed, 1);
    assert_int_equal(v.why, SCHEDULE_WHY_DEADLINE);
}

static void a_clock_put_back_runs_nothing_twice(void **unused)
{
    struct schedule_policy policy = policy_of(false, SCHEDULE_CATCH_UP_ALL, SCHEDULE_FORBID);
    struct world w = world_of(&policy);

    (void)unused;
    pass(&w, 7 * MINUTE);
    look(&w);
    assert_int_equal(w.scheduled, 1);
    end_run(&w);
    set_clock(&w, -HOUR);
    for (int i = 0; i < 59; i++) {
        pass(&w, MINUTE);
        look(&w);
        end_run(&w);
    }
    assert_int_equal(w.scheduled, 1);
    pass(&w, 11 * MINUTE);
    look(&w);
    assert_int_equal(w.scheduled, 2);
}

/* A host that begins in 1970 and is told the time then. */
static void a_wrong_clock_is_not_made_up_for(void **unused)
{
    struct schedule_policy policy = policy_of(false, SCHEDULE_CATCH_UP_ALL, SCHEDULE_FORBID);
    struct world w = { .policy = &policy, .now = { 5 * SECOND, 5 * SECOND } };

    (void)unused;
    schedule_activate(&w.s, &policy, w.now);
    set_clock(&w, BEGIN);
    struct schedule_verdict v = seen(&w);
    assert_true(v.clock_set && v.act == SCHEDULE_WAIT && v.missed >= 500);
    assert_int_equal(v.why, SCHEDULE_WHY_CLOCK);
    assert_int_equal(v.next_ms, BEGIN + 7 * MINUTE);
    /* And one that was years ahead. */
    set_clock(&w, 9000LL * 24 * HOUR);
    seen(&w);
    set_clock(&w, -9000LL * 24 * HOUR);
    v = seen(&w);
    assert_true(v.clock_set);
    assert_int_equal(v.next_ms, BEGIN + 7 * MINUTE);
}

/* Half a year of minutes is not counted one by one, and the latest are what is made up for. */
static void very_many_missed_times(void **unused)
{
    static struct calendar_line minutes;
    struct schedule_policy policy = policy_of(false, SCHEDULE_CATCH_UP_ALL, SCHEDULE_FORBID);
    struct world w;

    (void)unused;
    calendar_parse("* * * * *", 9, &minutes, NULL);
    policy.lines = &minutes;
    w = world_of(&policy);
    pass(&w, 180LL * 24 * HOUR);
    schedule_restore(&w.s, &policy, w.now);
    for (int i = 0; i < 2 * SCHEDULE_BACKLOG_MAX; i++) {
        look(&w);
        if (i == 0)
            assert_int_equal(w.last_due / MINUTE,
                             w.now.wall_ms / MINUTE - (SCHEDULE_BACKLOG_MAX - 1));
        end_run(&w);
    }
    assert_int_equal(w.scheduled, SCHEDULE_BACKLOG_MAX);
    assert_int_equal(w.last_due / MINUTE, w.now.wall_ms / MINUTE);
}

/* Guardian and core were killed together, and somebody starts them hours later: that is no crash of
 * the core. */
static void a_long_gap_is_as_if_it_had_been_down(void **unused)
{
    (void)unused;
    for (int catch_up = SCHEDULE_CATCH_UP_NONE; catch_up <= SCHEDULE_CATCH_UP_ALL; catch_up++) {
        struct schedule_policy policy =
            policy_of(false, (enum schedule_catch_up)catch_up, SCHEDULE_FORBID);
        struct world w = world_of(&policy);
        pass(&w, 8 * MINUTE); /* a minute late: a crash */
        schedule_take_over(&w.s, &policy, w.now);
        look(&w);
        assert_int_equal(w.scheduled, 1);
        end_run(&w);
        pass(&w, 30 * MINUTE);
        schedule_take_over(&w.s, &policy, w.now);
        for (int i = 0; i < 5; i++) {
            look(&w);
            end_run(&w);
        }
        static const uint32_t runs[] = { 1, 2, 4 };
        assert_int_equal(w.scheduled, runs[catch_up]);
        assert_int_equal(w.s.missed, 4 - runs[catch_up]);
    }
}

static void intervals_do_not_care_for_the_clock(void **unused)
{
    struct schedule_policy policy = policy_of(true, SCHEDULE_CATCH_UP_ONCE, SCHEDULE_FORBID);
    struct world w = world_of(&policy);
    static const int64_t jumps[] = { HOUR, -HOUR, 50 * HOUR, -50 * HOUR };

    (void)unused;
    for (size_t i = 0; i < 4; i++) {
        pass(&w, 4 * MINUTE);
        set_clock(&w, jumps[i]);
        look(&w);
        assert_int_equal(w.scheduled, i);
        pass(&w, 6 * MINUTE);
        look(&w);
        assert_int_equal(w.scheduled, i + 1);
        end_run(&w);
    }
}

static void reboot_comes_once_for_each_start(void **unused)
{
    struct schedule_policy policy = policy_of(false, SCHEDULE_CATCH_UP_NONE, SCHEDULE_FORBID);
    struct world w = { .policy = &policy, .now = { BEGIN, HOUR }, .begun_from = BEGIN };

    (void)unused;
    policy.lines = &reboot;
    schedule_restore(&w.s, &policy, w.now);
    look(&w);
    end_run(&w);
    pass(&w, 100 * HOUR);
    look(&w);
    assert_int_equal(w.scheduled, 1);
    restart(&w, SECOND);
    look(&w);
    assert_int_equal(w.scheduled, 2);
}

static void another_schedule_counts_from_now_on(void **unused)
{
    struct schedule_policy policy = policy_of(false, SCHEDULE_CATCH_UP_ALL, SCHEDULE_FORBID);
    struct world w = world_of(&policy);

    (void)unused;
    pass(&w, 60 * MINUTE);
    policy.rules = 2;
    schedule_follow(&w.s, &policy, w.now);
    struct schedule_verdict v = seen(&w);
    assert_true(v.act == SCHEDULE_WAIT && v.missed == 0);
    schedule_suspend(&w.s);
    pass(&w, 60 * MINUTE);
    v = seen(&w);
    assert_true(v.act == SCHEDULE_WAIT && v.missed == 0 && v.next_ms == SCHEDULE_NEVER);
    restart(&w, 60 * MINUTE); /* nor does what passes while it is suspended */
    v = seen(&w);
    assert_true(v.act == SCHEDULE_WAIT && v.missed == 0 && v.next_ms > w.now.wall_ms);
}

static void a_run_that_went_down_is_lost(void **unused)
{
    struct schedule_policy policy = policy_of(false, SCHEDULE_CATCH_UP_ALL, SCHEDULE_FORBID);
    struct world w = world_of(&policy);

    (void)unused;
    pass(&w, 7 * MINUTE);
    look(&w);
    assert_true(schedule_restore(&w.s, &policy, w.now));
    assert_int_equal(w.s.result, SCHEDULE_LOST);
    look(&w);
    assert_int_equal(w.scheduled, 1); /* at most once */
    assert_false(schedule_restore(&w.s, &policy, w.now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_story_adds_up),
        cmocka_unit_test(long_stories_add_up),
        cmocka_unit_test(missed_times_are_made_up_for_as_asked),
        cmocka_unit_test(a_crash_loses_no_run),
        cmocka_unit_test(overlaps_are_what_was_asked_for),
        cmocka_unit_test(a_queued_run_has_a_deadline),
        cmocka_unit_test(a_clock_put_back_runs_nothing_twice),
        cmocka_unit_test(a_wrong_clock_is_not_made_up_for),
        cmocka_unit_test(very_many_missed_times),
        cmocka_unit_test(a_long_gap_is_as_if_it_had_been_down),
        cmocka_unit_test(intervals_do_not_care_for_the_clock),
        cmocka_unit_test(reboot_comes_once_for_each_start),
        cmocka_unit_test(another_schedule_counts_from_now_on),
        cmocka_unit_test(a_run_that_went_down_is_lost),
    };

    calendar_parse("*/10 * * * *", 12, &tens, NULL);
    calendar_parse("@reboot", 7, &reboot, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
