/* test_log.c - one line per message, whatever the values hold, and a full sink never blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

struct pipe_ends {
    int read, write;
};

static struct pipe_ends open_log(enum log_level level)
{
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK); /* the writing end stays blocking, as stderr may be */
    log_open(fds[1], level, "core");
    return (struct pipe_ends){ fds[0], fds[1] };
}

static void close_log(struct pipe_ends ends)
{
    log_open(STDERR_FILENO, LOG_LEVEL_INFO, "core");
    close(ends.read);
    close(ends.write);
}

/* What was logged since the last look, without the time. */
static const char *logged(struct pipe_ends ends)
{
    static char text[PIPE_BUF * 2];
    ssize_t len = read(ends.read, text, sizeof(text) - 1);

    text[len > 0 ? len : 0] = '\0';
    return len > 0 ? strchr(text, ' ') + 1 : "";
}

static void lines_are_key_value(void **unused)
{
    char expected[512];

    (void)unused;
    struct pipe_ends ends = open_log(LOG_LEVEL_INFO);
    log_info("service started", "service", "web:0", "pid", "812", NULL);
    snprintf(expected, sizeof(expected), "info core[%d] service started service=web:0 pid=812\n",
             (int)getpid());
    assert_string_equal(logged(ends), expected);
    log_warn("only\na message", NULL);
    snprintf(expected, sizeof(expected), "warn core[%d] only\\na message\n", (int)getpid());
    assert_string_equal(logged(ends), expected);
    close_log(ends);
}

static void values_cannot_break_the_line(void **unused)
{
    static const struct {
        const char *value, *written;
    } rows[] = {
        { "", " k=\"\"\n" },
        { "a b", " k=\"a b\"\n" },
        { "a=b", " k=\"a=b\"\n" },
        { "say \"x\"", " k=\"say \\\"x\\\"\"\n" },
        { "back\\slash", " k=\"back\\\\slash\"\n" },
        { "two\nlines\t", " k=\"two\\nlines\\t\"\n" },
        { "\033[31m\177", " k=\"\\x1b[31m\\x7f\"\n" },
        { "gr\xc3\xbc\xc3\x9f", " k=gr\xc3\xbc\xc3\x9f\n" },
        { NULL, " k=\"\"\n" },
    };

    (void)unused;
    struct pipe_ends ends = open_log(LOG_LEVEL_INFO);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        log_info("m", "k", rows[i].value, NULL);
        assert_string_equal(strstr(logged(ends), " m ") + 2, rows[i].written);
    }
    close_log(ends);
}

static void levels_are_kept(void **unused)
{
    (void)unused;
    struct pipe_ends ends = open_log(LOG_LEVEL_WARN);
    log_info("quiet", NULL);
    log_debug("quiet", NULL);
    assert_string_equal(logged(ends), "");
    log_error("loud", NULL);
    assert_string_not_equal(logged(ends), "");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("loud", NULL);
    assert_string_not_equal(logged(ends), "");
    assert_string_equal(log_level_name(LOG_LEVEL_WARN), "warn");
    assert_string_equal(log_level_name(LOG_NLEVELS), "unknown");
    close_log(ends);
}

static void long_lines_are_cut_and_say_so(void **unused)
{
    char value[2 * PIPE_BUF];

    (void)unused;
    struct pipe_ends ends = open_log(LOG_LEVEL_INFO);
    memset(value, 'x', sizeof(value));
    value[sizeof(value) - 1] = '\0';
    log_info("m", "before", "kept", "long", value, "after", "lost", NULL);
    const char *line = logged(ends);
    assert_non_null(strstr(line, " before=kept "));
    assert_null(strstr(line, "lost"));
    assert_string_equal(line + strlen(line) - 4, "...\n");
    for (size_t len = PIPE_BUF - 200; len < PIPE_BUF; len++) {
        value[sizeof(value) - 1 - len] = '\0';
        log_info("m", "k", value + sizeof(value) - len, NULL);
        size_t got = strlen(logged(ends));
        assert_true(got > 0 && got <= PIPE_BUF);
    }
    memset(value, ' ', sizeof(value) - 1); /* escaped letter by letter */
    log_info("m", "k", value, NULL);
    line = logged(ends);
    assert_string_equal(line + strlen(line) - 4, "...\n");
    close_log(ends);
}

static void a_full_sink_loses_lines_and_counts_them(void **unused)
{
    (void)unused;
    struct pipe_ends ends = open_log(LOG_LEVEL_INFO);
    uint64_t before = log_lost();
    errno = EXDEV;
    for (int i = 0; i < 5000; i++) /* far more than a pipe holds; blocking would hang here */
        log_info("a line of some length to fill the pipe", "number", "1", NULL);
    assert_true(log_lost() > before);
    assert_int_equal(errno, EXDEV);
    while (*logged(ends))
        ;
    uint64_t lost = log_lost();
    log_info("again", NULL);
    assert_non_null(strstr(logged(ends), "again"));
    assert_int_equal(log_lost(), lost);

    /* Nobody reads any more: no SIGPIPE, just a lost line. */
    signal(SIGPIPE, SIG_DFL);
    close(ends.read);
    ends.read = -1;
    log_info("to nobody", NULL);
    assert_int_equal(log_lost(), lost + 1);
    close_log(ends);
}

static void a_full_disk_leaves_errno_alone(void **unused)
{
    (void)unused;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    uint64_t before = log_lost();

    assert_true(full >= 0);
    log_open(full, LOG_LEVEL_INFO, "core");
    errno = EXDEV;
    log_info("m", NULL);
    assert_int_equal(errno, EXDEV);
    assert_int_equal(log_lost(), before + 1);
    log_open(STDERR_FILENO, LOG_LEVEL_INFO, "core");
    close(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_key_value),
        cmocka_unit_test(values_cannot_break_the_line),
        cmocka_unit_test(levels_are_kept),
        cmocka_unit_test(long_lines_are_cut_and_say_so),
        cmocka_unit_test(a_full_sink_loses_lines_and_counts_them),
        cmocka_unit_test(a_full_disk_leaves_errno_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
