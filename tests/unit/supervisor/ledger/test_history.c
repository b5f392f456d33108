/* What each instance may still tell when others are loud. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/ledger/history.h"

enum { NOW = 1000000 * 60 };

struct place {
    int fd;
    struct history *history;
};

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    struct err err = { 0 };

    assert_int_equal(history_create(&place->fd, &err), 0);
    place->history = history_map(place->fd, &err);
    assert_non_null(place->history);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;

    history_unmap(place->history);
    close(place->fd);
    free(place);
    return 0;
}

static void add(struct place *place, const char *instance, uint64_t number)
{
    char text[300];

    memset(text, 'x', sizeof text);
    int n = snprintf(text, sizeof text, "event %llu", (unsigned long long)number);
    text[n] = ' ';
    history_add(place->history, instance, true, NOW, number, text, sizeof text);
}

struct seen {
    uint64_t first, last, count;
};

static void see(void *context, uint64_t number, const char *text, size_t len)
{
    struct seen *seen = context;
    char wanted[32];

    int n = snprintf(wanted, sizeof wanted, "event %llu ", (unsigned long long)number);
    assert_int_equal(len, 300);
    assert_memory_equal(text, wanted, n);
    assert_true(number > seen->last); /* oldest first */
    if (seen->count++ == 0)
        seen->first = number;
    seen->last = number;
}

static struct seen read_all(const struct place *place, const char *instance)
{
    struct seen seen = { 0 };
    history_read(place->history, instance, see, &seen);
    return seen;
}

static void a_loud_one_turns_out_nobody_else(void **state)
{
    struct place *place = *state;

    add(place, "quiet:0", 1);
    add(place, NULL, 2);
    for (uint64_t i = 3; i < 5000; i++)
        add(place, "loud:0", i);
    struct seen quiet = read_all(place, "quiet:0"), loud = read_all(place, "loud:0");
    assert_true(quiet.count == 1 && quiet.last == 1);
    assert_true(read_all(place, NULL).count == 1);
    assert_true(read_all(place, "nobody:0").count == 0);
    assert_int_equal(loud.last, 4999);
    assert_true(loud.count >= 5 && loud.count == loud.last - loud.first + 1);
}

static void it_survives_its_writer(void **state)
{
    struct place *place = *state;
    struct err err = { 0 };

    for (uint64_t i = 1; i < 100; i++)
        add(place, i % 2 ? "a:0" : NULL, i);
    struct seen before = read_all(place, "a:0");
    history_unmap(place->history);
    place->history = history_map(place->fd, &err);
    assert_non_null(place->history);
    struct seen after = read_all(place, "a:0");
    assert_memory_equal(&before, &after, sizeof after);
    add(place, "a:0", 101);
    assert_int_equal(read_all(place, "a:0").last, 101);
    assert_int_equal(read_all(place, NULL).count, 49);
}

static void the_quietest_page_goes(void **state)
{
    struct place *place = *state;
    char name[32];

    for (uint64_t i = 0; i < HISTORY_PAGES; i++) {
        snprintf(name, sizeof name, "web:%llu", (unsigned long long)i);
        add(place, name, i + 1);
    }
    add(place, "web:0", HISTORY_PAGES + 1);
    add(place, "new:0", HISTORY_PAGES + 2);
    assert_int_equal(read_all(place, "new:0").count, 1);
    assert_int_equal(read_all(place, "web:0").count, 2);
    assert_int_equal(read_all(place, "web:1").count, 0);
    assert_int_equal(read_all(place, "web:2").count, 1);
}

static void too_long_a_record_is_left_out(void **state)
{
    struct place *place = *state;
    char *text = calloc(1, 10000);

    history_add(place->history, "a:0", false, NOW, 1, text, 10000);
    assert_int_equal(read_all(place, "a:0").count, 0);
    free(text);
}

static void ends_are_counted_by_minute_and_hour(void **state)
{
    struct place *place = *state;
    struct history_counts counts;

    for (int64_t s = 0; s < 7200; s += 30) /* two a minute for two hours */
        history_add(place->history, "a:0", true, NOW + s, 1, "x", 1);
    history_counts(place->history, "a:0", NOW + 7199, &counts);
    for (size_t i = 0; i < HISTORY_MINUTES; i++)
        assert_int_equal(counts.minutes[i], 2);
    unsigned sum = 0;
    for (size_t i = 0; i < HISTORY_HOURS; i++)
        sum += counts.hours[i];
    assert_int_equal(sum, 240);
    history_counts(place->history, "a:0", NOW + 7199 + 10 * 60, &counts);
    assert_int_equal(counts.minutes[HISTORY_MINUTES - 1], 0);
    assert_int_equal(counts.minutes[HISTORY_MINUTES - 11], 2);
    history_counts(place->history, "a:0", NOW + 30 * 24 * 3600, &counts);
    assert_int_equal(counts.hours[0] + counts.minutes[0], 0);
    history_add(place->history, "a:0", true, 5, 1, "x", 1); /* the clock was put back */
    history_counts(place->history, "a:0", 5, &counts);
    assert_int_equal(counts.minutes[HISTORY_MINUTES - 1], 3);
    history_counts(place->history, "b:0", 5, &counts);
    assert_int_equal(counts.minutes[HISTORY_MINUTES - 1], 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_loud_one_turns_out_nobody_else),
        CASE(it_survives_its_writer),
        CASE(the_quietest_page_goes),
        CASE(too_long_a_record_is_left_out),
        CASE(ends_are_counted_by_minute_and_hour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
