/* test_top.c - whose process is whose, what is used between two looks, in which order it is shown.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/jsonx.h"
#include "supervisor/cli/top.h"

static void stat_is_parsed(void **state)
{
    struct usage_process got = { .pid = 7 };

    (void)state;
    assert_true(usage_parse("7 (a) b) S 3 7 5 0 -1 4194304 1 2 3 4 11 22 33 44 20 0 1 0 99 12345 "
                            "678 18446744073709551615 1 1",
                            &got));
    assert_int_equal(got.parent, 3);
    assert_int_equal(got.session, 5);
    assert_int_equal(got.cpu_ticks, 33);
    assert_int_equal(got.rss_pages, 678);
    assert_false(usage_parse("", &got));
    assert_false(usage_parse("7 (short) S 3 7", &got));
}

/* 10 is web:0 with a child 11 and, in a session of its own, a grandchild 12; 13 has lost its
 * parents but not its session; 20 is db:0; 30 is nobody's, and 31 claims to be its own parent. */
static struct usage_process processes[] = {
    { 1, 0, 1, 1000, 1 }, { 10, 1, 10, 100, 4 }, { 11, 10, 10, 50, 2 }, { 12, 11, 12, 25, 1 },
    { 13, 1, 10, 5, 1 },  { 20, 1, 20, 7, 3 },   { 30, 1, 30, 999, 9 }, { 31, 31, 31, 999, 9 },
};
static const struct usage usage = { .all = processes,
                                    .count = sizeof processes / sizeof *processes };

static void processes_belong_to_instances(void **state)
{
    struct usage_sum sums[] = { { .main = 0 }, { .main = 10 }, { .main = 20 }, { .main = 40 } };

    (void)state;
    usage_attribute(&usage, sums, 4);
    assert_int_equal(sums[0].processes, 0);
    assert_int_equal(sums[1].processes, 4);
    assert_int_equal(sums[1].cpu_ticks, 180);
    assert_int_equal(sums[1].rss_bytes, 8 * sysconf(_SC_PAGESIZE));
    assert_int_equal(sums[2].processes, 1);
    assert_int_equal(sums[3].processes, 0);
}

static json_t *instance(const char *id, int pid, int restarts)
{
    return json_pack("{s:s,s:s,s:b,s:i,s:i}", "id", id, "state", "running", "ready", 1, "pid", pid,
                     "restarts", restarts);
}

static json_t *status(void)
{
    return json_pack("{s:{s:s},s:[{s:s,s:[o,o]},{s:s,s:[o]}]}", "supervisor", "version", "1",
                     "services", "name", "web", "instances", instance("web:0", 10, 0),
                     instance("web:1", 20, 9), "name", "a", "instances", instance("a:0", 0, 1));
}

static double cpu_of(const struct top *top, const char *id)
{
    for (size_t i = 0; i < top->count; i++)
        if (strcmp(jsonx_text(top->rows[i].instance, "id", ""), id) == 0)
            return top->rows[i].cpu;
    return -2;
}

static void cpu_is_a_difference(void **state)
{
    struct top first, second;
    int64_t second_of_cpu = sysconf(_SC_CLK_TCK);

    (void)state;
    assert_true(top_look(status(), &usage, NULL, 1000, &first));
    assert_true(cpu_of(&first, "web:0") < 0); /* not known yet */
    processes[1].cpu_ticks += second_of_cpu;
    processes[5].cpu_ticks -= 5; /* a child was reaped elsewhere: never below nothing */
    assert_true(top_look(status(), &usage, &first, 3000, &second));
    assert_true(cpu_of(&second, "web:0") > 49.9 && cpu_of(&second, "web:0") < 50.1);
    assert_true(cpu_of(&second, "web:1") == 0);
    assert_true(cpu_of(&second, "a:0") < 0); /* does not run */
    processes[1].cpu_ticks -= second_of_cpu;
    processes[5].cpu_ticks += 5;
    top_done(&first);
    top_done(&second);
}

/* Where each name stands in the table. */
static void assert_order(const struct top *top, enum top_order order, const char *const *ids)
{
    struct buf out;

    buf_init(&out, 65536);
    top_print(top, order, 0, 0, false, &out);
    const char *at = strstr(buf_text(&out), "NAME");
    assert_non_null(at);
    for (; *ids; ids++) {
        const char *next = strstr(at, *ids);
        assert_non_null(next);
        at = next;
    }
    buf_done(&out);
}

static void rows_are_ordered(void **state)
{
    struct top top;
    struct buf out;

    (void)state;
    assert_true(top_look(status(), &usage, NULL, 0, &top));
    assert_order(&top, TOP_BY_MEMORY, (const char *const[]){ "web:0", "web:1", "a:0", NULL });
    assert_order(&top, TOP_BY_RESTARTS, (const char *const[]){ "web:1", "a:0", "web:0", NULL });
    assert_order(&top, TOP_BY_NAME, (const char *const[]){ "a:0", "web:0", "web:1", NULL });
    buf_init(&out, 65536);
    top_print(&top, TOP_BY_NAME, 6, 0, false, &out); /* a small terminal: two rows */
    assert_non_null(strstr(buf_text(&out), "web:0"));
    assert_null(strstr(buf_text(&out), "web:1"));
    buf_done(&out);
    top_done(&top);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stat_is_parsed),
        cmocka_unit_test(processes_belong_to_instances),
        cmocka_unit_test(cpu_is_a_difference),
        cmocka_unit_test(rows_are_ordered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
