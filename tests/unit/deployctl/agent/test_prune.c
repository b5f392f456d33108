/* test_prune.c - every combination of good and in use over a few releases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "deployctl/agent/prune.h"

enum { COUNT = 6 };

static void what_is_needed_stays(void **unused)
{
    (void)unused;
    for (unsigned bits = 0; bits < 1u << (2 * COUNT); bits++)
        for (size_t keep = 1; keep <= 3; keep++) {
            struct prune_release all[COUNT] = { 0 };
            size_t good = 0, good_left = 0, newest_good = COUNT;
            for (size_t i = 0; i < COUNT; i++) {
                all[i].good = bits >> (2 * i) & 1;
                all[i].in_use = bits >> (2 * i + 1) & 1;
                good += all[i].good;
                if (all[i].good && newest_good == COUNT)
                    newest_good = i;
            }
            prune_choose(all, COUNT, keep);
            for (size_t i = 0; i < COUNT; i++) {
                assert_false(all[i].remove && all[i].in_use);
                assert_false(all[i].remove && i < newest_good); /* it may be the next one */
                good_left += all[i].good && !all[i].remove;
                if (!all[i].good && !all[i].in_use && i > newest_good)
                    assert_true(all[i].remove);
            }
            assert_true(good_left >= (good < keep ? good : keep));
        }
}

static void the_newest_good_ones_stay(void **unused)
{
    (void)unused;
    struct prune_release all[] = { { .good = true },
                                   { .good = false },
                                   { .good = true },
                                   { .good = true },
                                   { .good = true, .in_use = true } };
    prune_choose(all, 5, 2);
    assert_false(all[0].remove);
    assert_true(all[1].remove);
    assert_false(all[2].remove);
    assert_true(all[3].remove);
    assert_false(all[4].remove);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_needed_stays),
        cmocka_unit_test(the_newest_good_ones_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
