/* test_known.c - every record is found by its pid, and nobody else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>

#include "supervisor/core/known.h"

static struct ledger fresh(void)
{
    struct ledger ledger;
    bool takeover;
    struct err err;

    assert_int_equal(ledger_create(NULL, &ledger, &takeover, &err), 0);
    return ledger;
}

static size_t claim(struct ledger *ledger, pid_t pid, bool ended)
{
    struct reaper_exit how = { .pid = pid, .code = CLD_EXITED };
    struct err err;
    ssize_t index = ledger_claim(ledger, LEDGER_SERVICE, "web:0", 1, &err);

    assert_true(index >= 0);
    ledger->pids[index] = pid;
    if (ended)
        ledger_record_exit(ledger, (size_t)index, &how, true);
    return (size_t)index;
}

/* Pids that lie close, and pids that fall into the same place of a table. */
static void each_record_is_found(void **unused)
{
    (void)unused;
    struct ledger ledger = fresh();
    struct known known;

    for (pid_t pid = 100; pid < 400; pid++)
        claim(&ledger, pid, pid % 3 == 0);
    for (pid_t turn = 1; turn < 5; turn++)
        claim(&ledger, 100 + turn * 1024, false);
    claim(&ledger, 0, false); /* not started yet */
    known_init(&known, &ledger);
    for (pid_t pid = 1; pid < 6000; pid++) {
        bool there = (pid >= 100 && pid < 400) || (pid > 400 && pid < 4200 && pid % 1024 == 100);
        enum leftovers_known wanted = !there                      ? LEFTOVERS_UNKNOWN
                                      : pid < 400 && pid % 3 == 0 ? LEFTOVERS_ENDED
                                                                  : LEFTOVERS_LIVES;
        assert_int_equal(known_ask(&known, pid), wanted);
    }
    known_done(&known);
    ledger_unmap(&ledger);
}

static void of_two_with_a_pid_the_living_one_counts(void **unused)
{
    (void)unused;
    struct ledger ledger = fresh();
    struct known known;

    claim(&ledger, 77, true);
    known_init(&known, &ledger);
    assert_int_equal(known_ask(&known, 77), LEFTOVERS_ENDED);
    size_t living = claim(&ledger, 77, false); /* a record of after the table was made */
    assert_int_equal(known_ask(&known, 78), LEFTOVERS_UNKNOWN);
    claim(&ledger, 79, false);
    assert_int_equal(known_ask(&known, 79), LEFTOVERS_LIVES);
    known_done(&known);
    known_init(&known, &ledger);
    assert_int_equal(known_ask(&known, 77), LEFTOVERS_LIVES);
    ledger_release(&ledger, living);
    assert_int_equal(known_ask(&known, 77), LEFTOVERS_ENDED);
    known_done(&known);
    ledger_unmap(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_record_is_found),
        cmocka_unit_test(of_two_with_a_pid_the_living_one_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
