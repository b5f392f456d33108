/* test_rotate.c - rotations on a shelf of numbers instead of files, killed at every point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "supervisor/logger/rotate.h"

enum { SHELF = 8, EMPTY = 0 };

/* files[n] is what lies under number n, 0 the file itself; contents are numbers, newest highest. */
struct shelf {
    int files[SHELF];
    uint32_t step; /* committed */
};

/* What the logger does for one step; may be repeated. */
static void perform(struct shelf *shelf, struct rotate_step step)
{
    if (step.act == ROTATE_DROP)
        shelf->files[step.from] = EMPTY;
    if (step.act == ROTATE_MOVE && shelf->files[step.from] != EMPTY) {
        shelf->files[step.to] = shelf->files[step.from];
        shelf->files[step.from] = EMPTY;
    }
    if (step.act == ROTATE_TRUNCATE)
        shelf->files[0] = EMPTY;
}

static int is_last(struct rotate_step step)
{
    return step.act == ROTATE_OPEN || step.act == ROTATE_TRUNCATE;
}

/* One whole rotation; dies once before action number `death` (two actions per step: perform,
 * commit) and then begins at the committed step again.  Returns the number of actions. */
static int rotate(struct shelf *shelf, uint32_t backups, int death)
{
    int actions = 0;
    uint32_t gap = 1;

    while (gap < SHELF && shelf->files[gap] != EMPTY)
        gap++;
    for (shelf->step = rotate_start(backups, gap);;) {
        struct rotate_step step = rotate_plan(shelf->step, backups);
        if (actions++ == death)
            continue;
        perform(shelf, step);
        if (actions++ == death)
            continue;
        if (is_last(step))
            return actions;
        shelf->step++;
    }
}

static void nothing_is_lost_wherever_it_dies(void **state)
{
    (void)state;
    for (uint32_t backups = 0; backups < SHELF; backups++)
        for (int death = -1; death < 4 * SHELF; death++) {
            struct shelf shelf = { .files = { 0 } };
            for (int written = 1; written < 3 * SHELF; written++) {
                shelf.files[0] = written;
                rotate(&shelf, backups, death);
                assert_int_equal(shelf.files[0], EMPTY);
                for (uint32_t n = 1; n < SHELF; n++) {
                    int want = written + 1 - (int)n;
                    assert_int_equal(shelf.files[n], n <= backups && want > 0 ? want : EMPTY);
                }
            }
        }
}

static void a_gap_is_filled(void **state)
{
    (void)state;
    struct shelf shelf = { .files = { 9, 8, 0, 7, 6, 5 } };
    const int want[SHELF] = { 0, 9, 8, 7, 6, 5 };
    rotate(&shelf, 5, -1);
    assert_memory_equal(shelf.files, want, sizeof want);
}

static void the_number_of_steps_is_bounded(void **state)
{
    (void)state;
    assert_int_equal(rotate_plan(ROTATE_FIRST, 0).act, ROTATE_TRUNCATE);
    assert_int_equal(rotate_plan(ROTATE_BACKUPS_MAX + 2, ROTATE_BACKUPS_MAX).act, ROTATE_OPEN);
    assert_int_equal(rotate_plan(UINT32_MAX, 3).act, ROTATE_OPEN);
    assert_int_equal(rotate_plan(0, 3).act, ROTATE_DROP);
}

static void names(void **state)
{
    (void)state;
    char name[16];
    assert_true(rotate_name(name, sizeof name, "/l/a", 0, ""));
    assert_string_equal(name, "/l/a");
    assert_true(rotate_name(name, sizeof name, "/l/a", 12, ".zst"));
    assert_string_equal(name, "/l/a.12.zst");
    assert_true(rotate_name(name, sizeof name, "/l/aaaaaaaa", 123, ""));
    assert_false(rotate_name(name, sizeof name, "/l/aaaaaaaa", 1234, ""));
}

static void periods_follow_the_local_calendar(void **state)
{
    enum { HOUR = 3600, DAY = 24 * HOUR, WEEK = 7 * DAY, EAST = 2 * HOUR };
    const int64_t monday = 1772402400; /* 2026-03-02 00:00 two hours east of Greenwich */

    (void)state;
    int64_t day = rotate_period(monday, EAST, DAY), week = rotate_period(monday, EAST, WEEK);
    assert_int_equal(rotate_period(monday - 1, EAST, DAY), day - 1);
    assert_int_equal(rotate_period(monday + DAY - 1, EAST, DAY), day);
    assert_int_equal(rotate_period_end(day, EAST, DAY), monday + DAY);
    assert_int_equal(rotate_period(monday - 1, EAST, WEEK), week - 1);
    assert_int_equal(rotate_period(monday + WEEK - 1, EAST, WEEK), week);
    assert_int_equal(rotate_period_end(week, EAST, WEEK), monday + WEEK);
    assert_int_equal(rotate_period_end(rotate_period(monday + 90, EAST, HOUR), EAST, HOUR),
                     monday + HOUR);
    for (int64_t at = -WEEK; at < WEEK; at += 1001) { /* also before 1970 */
        int64_t period = rotate_period(at, -EAST, DAY);
        assert_true(rotate_period_end(period, -EAST, DAY) > at);
        assert_true(rotate_period_end(period - 1, -EAST, DAY) <= at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_wherever_it_dies),  cmocka_unit_test(a_gap_is_filled),
        cmocka_unit_test(the_number_of_steps_is_bounded),    cmocka_unit_test(names),
        cmocka_unit_test(periods_follow_the_local_calendar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
