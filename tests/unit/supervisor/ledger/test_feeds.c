/* How far each events helper has got. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/ledger/feeds.h"

static void numbers_outlive_who_wrote_them(void **state)
{
    struct err err;
    int fd;

    (void)state;
    assert_int_equal(feeds_create(&fd, &err), 0);
    struct feeds *feeds = feeds_map(fd, &err);
    assert_non_null(feeds);
    assert_int_equal(feeds_get(feeds, "tell"), 0);
    assert_int_equal(feeds_set(feeds, "tell", 7, &err), 0);
    assert_int_equal(feeds_set(feeds, "t", 9, &err), 0);
    assert_int_equal(feeds_set(feeds, "tell", 5, &err), 0); /* they only grow */
    feeds_unmap(feeds);
    feeds = feeds_map(fd, &err);
    assert_int_equal(feeds_get(feeds, "tell"), 7);
    assert_int_equal(feeds_get(feeds, "t"), 9);
    assert_int_equal(feeds_get(feeds, "te"), 0);
    assert_int_equal(feeds_get(feeds, ""), 0);
    feeds_unmap(feeds);
    close(fd);
}

static void names_have_a_limit(void **state)
{
    char name[FEEDS_NAME_MAX + 1];
    struct err err;
    int fd;

    (void)state;
    memset(name, 'x', sizeof name);
    name[FEEDS_NAME_MAX] = '\0';
    assert_int_equal(feeds_create(&fd, &err), 0);
    struct feeds *feeds = feeds_map(fd, &err);
    assert_int_equal(feeds_set(feeds, name, 1, &err), ERR_INVALID);
    assert_int_equal(feeds_set(feeds, "", 1, &err), ERR_INVALID);
    name[FEEDS_NAME_MAX - 1] = '\0';
    assert_int_equal(feeds_set(feeds, name, 3, &err), 0);
    assert_int_equal(feeds_get(feeds, name), 3);
    feeds_unmap(feeds);
    close(fd);
}

static void the_one_furthest_behind_makes_room(void **state)
{
    struct err err;
    char name[16];
    int fd;

    (void)state;
    assert_int_equal(feeds_create(&fd, &err), 0);
    struct feeds *feeds = feeds_map(fd, &err);
    for (unsigned i = 0; i < FEEDS_MAX; i++) {
        snprintf(name, sizeof name, "n%u", i);
        assert_int_equal(feeds_set(feeds, name, i == 100 ? 1 : 1000 + i, &err), 0);
    }
    assert_int_equal(feeds_set(feeds, "late", 5, &err), 0);
    assert_int_equal(feeds_get(feeds, "late"), 5);
    assert_int_equal(feeds_get(feeds, "n100"), 0);
    assert_int_equal(feeds_get(feeds, "n99"), 1099);
    feeds_unmap(feeds);
    close(fd);
}

static void other_memory_is_refused(void **state)
{
    struct err err;
    int fd;

    (void)state;
    assert_int_equal(feeds_create(&fd, &err), 0);
    assert_int_equal(pwrite(fd, "X", 1, 0), 1);
    assert_null(feeds_map(fd, &err));
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_int_equal(ftruncate(fd, 10), 0);
    assert_null(feeds_map(fd, &err));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_outlive_who_wrote_them),
        cmocka_unit_test(names_have_a_limit),
        cmocka_unit_test(the_one_furthest_behind_makes_room),
        cmocka_unit_test(other_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
