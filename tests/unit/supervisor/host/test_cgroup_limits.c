/* test_cgroup_limits.c - limits as the kernel takes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "supervisor/host/cgroup_limits.h"

static void expect(const struct spec_cgroup *spec, const char *key, bool set, const char *expected)
{
    char text[CGROUP_LIMIT_TEXT];

    for (size_t i = 0; i < cgroup_nlimits; i++) {
        if (strcmp(cgroup_limits[i].key, key) != 0)
            continue;
        assert_int_equal(cgroup_limits_text(spec, i, text), set);
        assert_string_equal(text, expected);
        return;
    }
    fail_msg("no limit %s", key);
}

static void test_unset(void **unused)
{
    const struct spec_cgroup none = { 0 };

    (void)unused;
    expect(&none, "memory_max", false, "max");
    expect(&none, "memory_high", false, "max");
    expect(&none, "cpu_max", false, "max 100000");
    expect(&none, "cpu_weight", false, "100");
    expect(&none, "pids_max", false, "max");
    expect(&none, "io_weight", false, "default 100");
    assert_int_equal(cgroup_limits_need(&none), 0);
}

static void test_set(void **unused)
{
    const struct spec_cgroup all = {
        .memory_max = { true, 1 << 20 },
        .memory_high = { true, RLIM_INFINITY },
        .cpu_max = { true, 150000 },
        .pids_max = { true, 7 },
        .cpu_weight = 300,
        .io_weight = 10,
    };

    (void)unused;
    expect(&all, "memory_max", true, "1048576");
    expect(&all, "memory_high", false, "max");
    expect(&all, "cpu_max", true, "150000 100000");
    expect(&all, "cpu_weight", true, "300");
    expect(&all, "pids_max", true, "7");
    expect(&all, "io_weight", true, "default 10");
    assert_int_equal(cgroup_limits_need(&all), (1u << CGROUP_NCONTROLLERS) - 1);
}

static void test_bfq(void **unused)
{
    static const struct {
        int64_t weight;
        const char *expected;
    } rows[] = { { 0, "100" }, { 1, "1" }, { 100, "100" }, { 10000, "1000" }, { 5050, "550" } };
    char text[CGROUP_LIMIT_TEXT];

    (void)unused;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct spec_cgroup spec = { .io_weight = rows[i].weight };
        cgroup_limits_bfq(&spec, text);
        assert_string_equal(text, rows[i].expected);
    }
}

static void test_sum(void **unused)
{
    struct spec_cgroup spec = { 0 };
    uint32_t none = cgroup_limits_sum(&spec, 0);

    (void)unused;
    assert_int_not_equal(none, 0);
    assert_int_not_equal(cgroup_limits_sum(&spec, 1), none); /* a controller more */
    spec.pids_max = (struct spec_limit){ true, 5 };
    assert_int_not_equal(cgroup_limits_sum(&spec, 0), none);
    spec.pids_max.value = RLIM_INFINITY;
    assert_int_equal(cgroup_limits_sum(&spec, 0), none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unset),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_bfq),
        cmocka_unit_test(test_sum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
