/* The files of conf.d/ are those that the tables make, and they can be read.  Unit tests run in
 * the top of the tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/plan/sample.h"
#include "tests/unit/supervisor/plan/plan_fixture.h"

enum { FILE_MAX = 1024 * 1024 };

static char *shipped(const char *path)
{
    struct buf text;

    buf_init(&text, FILE_MAX);
    assert_int_equal(buf_read_file(&text, AT_FDCWD, path), 0);
    return buf_take(&text);
}

static void sample_is_the_generated_one(void **state)
{
    char *file = shipped("conf.d/supervisor.ini.sample");
    struct buf made;

    (void)state;
    buf_init(&made, FILE_MAX);
    assert_true(sample_write(&made));
    if (strcmp(file, buf_text(&made)) != 0)
        fail_msg("conf.d/supervisor.ini.sample is not up to date: make sample");
    buf_done(&made);
    free(file);
}

static void small_one_loads_and_starts_nothing(void **state)
{
    char *file = shipped("conf.d/supervisor.ini");
    char *include = strstr(file, "\n[include]");

    (void)state;
    assert_non_null(include);
    *include = '\0'; /* the plan sees a text in which the files are included already */
    struct plan *plan = fixture_plan(file, NULL);
    assert_non_null(plan);
    assert_int_equal(plan->nservices, 0);
    plan_free(plan);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sample_is_the_generated_one),
        cmocka_unit_test(small_one_loads_and_starts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
