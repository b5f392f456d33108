/* test_weave.c - lines of many hosts come out in the order of their times, and nobody waits long.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "deployctl/plan/weave.h"

static void add(struct weave *weave, size_t host, int64_t time_us, const char *text, int64_t now_ms)
{
    assert_true(weave_add(weave, host, time_us, text, strlen(text), now_ms));
}

static void expect(struct weave *weave, int64_t now_ms, const char *text)
{
    struct weave_line *line = weave_take(weave, now_ms);
    if (!text) {
        assert_null(line);
        return;
    }
    assert_non_null(line);
    assert_string_equal(line->text, text);
    free(line);
}

static void make(struct weave *weave, size_t count)
{
    assert_true(weave_init(weave, count));
    for (size_t i = 0; i < count; i++)
        weave_expect(weave, i, true);
}

static void lines_come_in_the_order_of_their_times(void **unused)
{
    struct weave weave;
    (void)unused;
    make(&weave, 2);
    add(&weave, 0, 30, "c", 0);
    expect(&weave, 0, NULL); /* the other may have an earlier one */
    add(&weave, 1, 10, "a", 1);
    add(&weave, 1, 20, "b", 1);
    expect(&weave, 1, "a");
    expect(&weave, 1, "b");
    expect(&weave, 1, NULL);
    assert_int_equal(weave_due(&weave, 1), WEAVE_WAIT_MS - 1);
    add(&weave, 1, 40, "d", 2);
    expect(&weave, 2, "c");
    weave_done(&weave);
}

static void a_silent_host_holds_nobody_for_long(void **unused)
{
    struct weave weave;
    (void)unused;
    make(&weave, 2);
    add(&weave, 0, 30, "c", 100);
    expect(&weave, 100 + WEAVE_WAIT_MS - 1, NULL);
    assert_int_equal(weave_due(&weave, 100 + WEAVE_WAIT_MS - 1), 1);
    expect(&weave, 100 + WEAVE_WAIT_MS, "c");
    add(&weave, 0, 40, "d", 2000);
    weave_expect(&weave, 1, false); /* it is gone */
    assert_int_equal(weave_due(&weave, 2000), 0);
    expect(&weave, 2000, "d");
    assert_int_equal(weave_due(&weave, 2000), -1);
    weave_done(&weave);
}

static void a_line_without_a_time_follows_the_one_before(void **unused)
{
    struct weave weave;
    (void)unused;
    make(&weave, 2);
    add(&weave, 0, 10, "error:", 0);
    add(&weave, 0, -1, "  at main", 0);
    add(&weave, 1, 11, "other", 0);
    expect(&weave, 0, "error:");
    expect(&weave, 0, "  at main");
    weave_done(&weave); /* also with lines that were not taken */
}

static void what_waits_is_limited(void **unused)
{
    static char much[3 * WEAVE_LINE_MAX];
    struct weave weave;
    size_t taken = 0;
    (void)unused;
    memset(much, 'x', sizeof much);
    make(&weave, 2);
    for (size_t i = 0; i < 100; i++) {
        assert_true(weave_add(&weave, 0, (int64_t)i, much, sizeof much, 0));
        struct weave_line *line = weave_take(&weave, 0);
        if (line) {
            taken++;
            assert_true(line->cut && line->len == WEAVE_LINE_MAX);
            free(line);
        }
        assert_true(weave.hosts[0].bytes <= WEAVE_BYTES_MAX + WEAVE_LINE_MAX);
    }
    assert_int_equal(taken, 100 - WEAVE_BYTES_MAX / WEAVE_LINE_MAX);
    weave_done(&weave);
}

/* Whatever comes when: each line comes out once, of each host in its order, none later than it may;
 * and wholly in order where every host speaks before the wait is over. */
static void nothing_is_lost_or_doubled(void **unused)
{
    (void)unused;
    for (unsigned seed = 1; seed < 200; seed++) {
        struct weave weave;
        unsigned state = seed;
        int64_t now = 0, last[3] = { -1, -1, -1 };
        size_t added = 0, taken = 0;
        make(&weave, 3);
        for (int step = 0; step < 300; step++) {
            state = state * 1103515245u + 12345u;
            size_t host = (state >> 16) % 3;
            now += (state >> 20) % 300;
            if (step < 250 && (state >> 8) % 3)
                add(&weave, host, (int64_t)added++, "x", now);
            if (step == 250)
                for (size_t i = 0; i < 3; i++)
                    weave_expect(&weave, i, false);
            for (struct weave_line *line; (line = weave_take(&weave, now)) != NULL; taken++) {
                assert_true(line->time_us > last[line->host]);
                last[line->host] = line->time_us;
                free(line);
            }
            for (size_t i = 0; i < 3; i++)
                assert_true(!weave.hosts[i].first ||
                            now - weave.hosts[i].first->came_ms < WEAVE_WAIT_MS);
        }
        assert_int_equal(taken, added);
        weave_done(&weave);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_in_the_order_of_their_times),
        cmocka_unit_test(a_silent_host_holds_nobody_for_long),
        cmocka_unit_test(a_line_without_a_time_follows_the_one_before),
        cmocka_unit_test(what_waits_is_limited),
        cmocka_unit_test(nothing_is_lost_or_doubled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
