#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/plan/options.h"
#include "supervisor/plan/sample.h"
#include "tests/unit/supervisor/plan/plan_fixture.h"

enum { SAMPLE_MAX = 256 * 1024 };

static char *sample(void)
{
    struct buf out;

    buf_init(&out, SAMPLE_MAX);
    assert_true(sample_write(&out));
    char *text = buf_take(&out);
    assert_non_null(text);
    return text;
}

/* Removes the ; of lines that are not prose ("; ..."). */
static void uncomment(char *text)
{
    char *out = text;

    for (const char *at = text; *at;) {
        size_t len = strcspn(at, "\n") + 1;
        bool prose = at[0] != ';' || at[1] == ' ';
        const char *from = prose ? at : at + 1;
        memmove(out, from, (size_t)(at + len - from));
        out += at + len - from;
        at += len;
    }
    *out = '\0';
}

static void as_shipped_it_says_nothing(void **state)
{
    char *text = sample();
    struct plan *plan = fixture_plan(text, NULL);

    (void)state;
    assert_non_null(plan);
    assert_int_equal(plan->nservices, 0);
    plan_free(plan);
    free(text);
}

static void all_of_it_can_be_uncommented(void **state)
{
    char *text = sample();

    (void)state;
    uncomment(text);
    struct plan *plan = fixture_plan(text, NULL);
    assert_non_null(plan);
    const struct spec_service *service = fixture_service(plan, "example");
    assert_non_null(service);
    for (size_t i = 0; i < options_service.count; i++)
        if (!spec_text(service, i))
            fail_msg("%s is missing", options_service.rows[i].key);
    for (size_t i = 0; i < options_supervisor.count; i++)
        if (!plan->supervisor.texts[i])
            fail_msg("%s is missing", options_supervisor.rows[i].key);
    assert_int_equal(plan->nsockets, 1);
    assert_int_equal(plan->ngroups, 1);
    plan_free(plan);
    free(text);
}

static void lines_fit_a_terminal(void **state)
{
    char *text = sample();

    (void)state;
    for (const char *at = text; *at; at += strcspn(at, "\n") + 1)
        if (at[0] == ';' && at[1] == ' ')
            assert_true(strcspn(at, "\n") <= BUF_COLUMNS);
    free(text);
}

static void too_small_a_buffer_is_told(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 100);
    assert_false(sample_write(&out));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_shipped_it_says_nothing),
        cmocka_unit_test(all_of_it_can_be_uncommented),
        cmocka_unit_test(lines_fit_a_terminal),
        cmocka_unit_test(too_small_a_buffer_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
