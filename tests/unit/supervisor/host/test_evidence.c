/* test_evidence.c - what /proc says of a process, as it is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/jsonx.h"
#include "supervisor/host/evidence.h"

static const char status[] = "Name:\tweb\nState:\tD (disk sleep)\nPPid:\t7\nThreads:\t3\n"
                             "VmRSS:\t    1234 kB\nSigPnd:\t0000000000000000\n"
                             "ShdPnd:\t0000000000004000\nSigBlk:\t0000000000000001\n"
                             "SigIgn:\t0000000000000002\nSigCgt:\t0000000000004000\n";

static const char *does(int stopsignal)
{
    static char text[32];
    json_t *row = json_object();

    evidence_status(row, status, stopsignal);
    strncpy(text, jsonx_text(row, "stop_signal", ""), sizeof text - 1);
    json_decref(row);
    return text;
}

static void test_status(void **unused)
{
    json_t *row = json_object();

    (void)unused;
    evidence_status(row, status, SIGTERM);
    assert_string_equal(jsonx_text(row, "state", ""), "D (disk sleep)");
    assert_int_equal(jsonx_int(row, "parent", 0), 7);
    assert_int_equal(jsonx_int(row, "threads", 0), 3);
    assert_int_equal(jsonx_int(row, "rss_kb", 0), 1234);
    assert_true(jsonx_bool(row, "stop_signal_pending", false));
    json_decref(row);
    assert_string_equal(does(SIGTERM), "caught");
    assert_string_equal(does(SIGHUP), "blocked");
    assert_string_equal(does(SIGINT), "ignored");
    assert_string_equal(does(SIGUSR1), "default");
    row = json_object();
    evidence_status(row, "", SIGTERM); /* it has gone meanwhile */
    assert_null(json_object_get(row, "state"));
    json_decref(row);
}

static void test_stack(void **unused)
{
    json_t *list = evidence_stack("[<0>] do_wait+0x5e/0x100\n[<0>] kernel_wait4\nodd");

    (void)unused;
    assert_int_equal(json_array_size(list), 3);
    assert_string_equal(json_string_value(json_array_get(list, 0)), "do_wait");
    assert_string_equal(json_string_value(json_array_get(list, 1)), "kernel_wait4");
    assert_string_equal(json_string_value(json_array_get(list, 2)), "odd");
    json_decref(list);
    list = evidence_stack("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n");
    assert_int_equal(json_array_size(list), 8);
    json_decref(list);
    list = evidence_stack("");
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
}

static void test_bounds(void **unused)
{
    pid_t pids[EVIDENCE_PROCESSES * 2];

    (void)unused;
    for (size_t i = 0; i < EVIDENCE_PROCESSES * 2; i++)
        pids[i] = getpid();
    json_t *rows = evidence_of(pids, EVIDENCE_PROCESSES * 2, SIGTERM, clock_mono_ms() + 10000);
    assert_int_equal(json_array_size(rows), EVIDENCE_PROCESSES);
    assert_true(jsonx_int(json_array_get(rows, 0), "fds", 0) >= 3);
    json_decref(rows);
    rows = evidence_of(pids, 3, SIGTERM, 0); /* no time left: one all the same */
    assert_int_equal(json_array_size(rows), 1);
    json_decref(rows);
    pids[0] = 0x7ffffff0; /* nobody */
    rows = evidence_of(pids, 1, SIGTERM, 0);
    assert_int_equal(json_array_size(rows), 0);
    json_decref(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_stack),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
