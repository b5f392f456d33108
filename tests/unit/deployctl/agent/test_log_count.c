/* test_log_count.c - an access log that grows, is rotated, is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "deployctl/agent/log_count.h"

#define OK_LINE  "::1 - - [x] \"GET / HTTP/1.1\" 200 5 \"-\"\n"
#define BAD_LINE "::1 - - [x] \"GET / HTTP/1.1\" 502 5 \"-\"\n"

static char path[64], old[80];

static void put(const char *text)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static int prepare(void **unused)
{
    (void)unused;
    snprintf(path, sizeof path, "/tmp/log-count-%d", (int)getpid());
    snprintf(old, sizeof old, "%s.1", path);
    return 0;
}

static int clean(void **unused)
{
    (void)unused;
    unlink(path);
    unlink(old);
    return 0;
}

static void expect(struct log_count *log, int64_t requests, int64_t errors)
{
    struct err err = { 0 };
    if (log_count_look(log, path, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(log->nrequests, requests);
    assert_int_equal(log->nerrors, errors);
}

static void lines_are_counted_once(void **unused)
{
    (void)unused;
    struct log_count log;
    struct err err;
    assert_int_equal(log_count_init(&log, "\" [1-5][0-9][0-9] ", "\" 5[0-9][0-9] ", &err), 0);
    assert_int_equal(log_count_look(&log, path, &err), ERR_SYSTEM); /* not there yet */
    put(BAD_LINE BAD_LINE);
    expect(&log, 0, 0); /* from before */
    put(OK_LINE BAD_LINE "no request\n");
    expect(&log, 2, 1);
    expect(&log, 2, 1);
    put("::1 - - [x] \"GET / HTTP/1.1\" 5"); /* a line in pieces */
    expect(&log, 2, 1);
    put("00 5 \"-\"\n");
    expect(&log, 3, 2);
    put(OK_LINE); /* the last of the old file and the first of the new one */
    rename(path, old);
    put(BAD_LINE);
    expect(&log, 5, 3);
    assert_int_equal(truncate(path, 0), 0);
    expect(&log, 5, 3);
    put(OK_LINE);
    expect(&log, 6, 3);
    unlink(path); /* being rotated just now */
    expect(&log, 6, 3);
    log_count_done(&log);
    log_count_done(&log);
    assert_int_equal(log_count_init(&log, "(", "x", &err), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_are_counted_once, prepare, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
