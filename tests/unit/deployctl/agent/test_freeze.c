/* test_freeze.c - what a freeze stops, for every combination of facts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "deployctl/agent/freeze.h"

static void only_something_new_is_stopped(void **unused)
{
    size_t blocked = 0;
    (void)unused;
    for (unsigned bits = 0; bits < 128; bits++) {
        struct freeze_facts facts = {
            .frozen = bits & 1,
            .over = bits & 2,
            .old = bits & 4,
            .undo = bits & 8,
            .despite = bits & 16,
            .begun = bits & 32,
            .good = bits & 64,
        };
        bool blocks = freeze_blocks(&facts);
        blocked += blocks;
        if (!facts.frozen || facts.over) /* nothing stands there */
            assert_false(blocks);
        if (facts.undo || facts.old || facts.good) /* a way back */
            assert_false(blocks);
        if (facts.begun || facts.despite)
            assert_false(blocks);
    }
    assert_int_equal(blocked, 1); /* frozen, and nothing speaks for it */
    assert_true(freeze_blocks(&(struct freeze_facts){ .frozen = true }));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(only_something_new_is_stopped) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
