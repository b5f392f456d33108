/* test_pace.c - never faster than the rate, and not slower either. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "deployctl/plan/pace.h"

enum { PIECE_MAX = 128 * 1024, SECONDS = 100 };

/* Sends whenever it may, looking at the clock every `tick`; the bytes of SECONDS. */
static int64_t greedy(struct pace *pace, int64_t tick)
{
    int64_t sent = 0;
    for (int64_t now = 0; now < SECONDS * 1000; now += tick)
        while (pace_wait(pace, now) == 0) {
            pace_spend(pace, pace->piece);
            sent += pace->piece;
        }
    return sent;
}

static void the_rate_is_kept_and_used(void **unused)
{
    (void)unused;
    struct pace pace;
    for (int64_t rate = PACE_RATE_MIN; rate <= (int64_t)10 << 30; rate = rate * 3 + 1)
        for (int64_t tick = 1; tick <= 100; tick *= 10) {
            pace_init(&pace, rate, PIECE_MAX, 0);
            int64_t sent = greedy(&pace, tick), most = rate * SECONDS + pace.most / 1000;
            assert_true(sent <= most);
            assert_true(sent >= rate * SECONDS / 10 * 9 - pace.piece);
        }
}

static void it_says_when(void **unused)
{
    (void)unused;
    struct pace pace;
    pace_init(&pace, 100000, PIECE_MAX, 5000);
    for (int64_t now = 5000, k = 0; k < 1000; k++) {
        int64_t wait = pace_wait(&pace, now);
        if (wait > 0)
            assert_true(pace_wait(&pace, now + wait - 1) > 0);
        now += wait;
        assert_int_equal(pace_wait(&pace, now), 0);
        pace_spend(&pace, pace.piece + (k % 7) * 100);
    }
}

static void what_was_not_asked_for_is_owed(void **unused)
{
    (void)unused;
    struct pace pace;
    pace_init(&pace, 100000, PIECE_MAX, 0);
    pace_spend(&pace, 1000000);
    assert_in_range(pace_wait(&pace, 0), 10000, 10500);
    assert_in_range(pace_wait(&pace, 10000), 1, 500);
    assert_int_equal(pace_wait(&pace, 10500), 0);
}

static void an_idle_hour_saves_no_hour(void **unused)
{
    (void)unused;
    struct pace pace;
    int64_t sent = 0;
    pace_init(&pace, 100000, PIECE_MAX, 0);
    for (; pace_wait(&pace, 3600000) == 0; sent += pace.piece)
        pace_spend(&pace, pace.piece);
    assert_true(sent <= 100000 * PACE_BURST_MS / 1000);
    assert_true(pace_wait(&pace, 0) > 0); /* a clock that goes back gives nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rate_is_kept_and_used),
        cmocka_unit_test(it_says_when),
        cmocka_unit_test(what_was_not_asked_for_is_owed),
        cmocka_unit_test(an_idle_hour_saves_no_hour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
