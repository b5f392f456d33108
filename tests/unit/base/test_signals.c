/* test_signals.c - names and numbers go both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/signals.h"

static void names_and_numbers_are_read(void **unused)
{
    const struct {
        const char *text;
        int signal;
    } rows[] = {
        { "TERM", SIGTERM },         { "SIGTERM", SIGTERM }, { "term", SIGTERM },
        { "sigusr1", SIGUSR1 },      { "15", SIGTERM },      { "RTMIN", SIGRTMIN },
        { "RTMIN+3", SIGRTMIN + 3 }, { "RTMAX", SIGRTMAX },  { "SIGRTMAX-1", SIGRTMAX - 1 },
        { "CLD", SIGCHLD },          { "64", 64 },           { "IOT", SIGABRT },
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int signal = 0;
        assert_int_equal(signals_parse(rows[i].text, &signal, NULL), 0);
        assert_int_equal(signal, rows[i].signal);
    }
}

static void others_are_refused(void **unused)
{
    static const char *const texts[] = { "",   "SIG",      "0",       "65",      "-1",    "15x",
                                         " 1", "RTMIN+99", "RTMIN-1", "RTMAX+1", "RTMIN+" };
    struct err err;
    int signal = 77;

    (void)unused;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(signals_parse(texts[i], &signal, &err), ERR_INVALID);
    assert_int_equal(signal, 77);
    signals_parse("SIGTREM", &signal, &err);
    assert_string_equal(err.text, "\"SIGTREM\" is not a signal (did you mean \"TERM\"?)");
    signals_parse("nonsense", &signal, &err);
    assert_string_equal(err.text, "\"nonsense\" is not a signal (try TERM, HUP, USR1, 15)");
}

static void every_number_has_a_name_that_leads_back(void **unused)
{
    (void)unused;
    for (int number = 1; number <= SIGRTMAX; number++) {
        const char *name = signals_name(number);
        int again = 0;
        if (strncmp(name, "signal ", 7) == 0) { /* the two that libc keeps to itself */
            assert_int_equal(atoi(name + 7), number);
            assert_true(number >= 32 && number < SIGRTMIN);
            continue;
        }
        assert_int_equal(signals_parse(name, &again, NULL), 0);
        assert_int_equal(again, number);
    }
    assert_string_equal(signals_name(SIGABRT), "ABRT");
    assert_string_equal(signals_name(SIGRTMIN + 3), "RTMIN+3");
    assert_string_equal(signals_name(77), "signal 77");
    assert_string_equal(signals_name(-1), "unknown signal");
    assert_string_equal(signals_name(128), "unknown signal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_numbers_are_read),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(every_number_has_a_name_that_leads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
