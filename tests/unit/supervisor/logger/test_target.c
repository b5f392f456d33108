/* Messages for syslog and journald. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "supervisor/logger/target.h"

static char *out;

static const char *message(enum streams_target kind, const char *output, const char *line,
                           size_t len)
{
    struct target target = { .kind = kind, .fd = -1 };

    size_t n = target_message(&target, "web:0", output, 0, line, len, out);
    assert_true(n < TARGET_OUT_MAX);
    out[n] = '\0';
    return out;
}

static void as_glibc_writes_it(void **state)
{
    (void)state;
    assert_string_equal(message(STREAMS_SYSLOG, "stdout", "hello\n", 6),
                        "<30>Jan  1 00:00:00 web-0: hello");
    assert_string_equal(message(STREAMS_SYSLOG, "stderr", "hello", 5),
                        "<27>Jan  1 00:00:00 web-0: hello");
    assert_string_equal(message(STREAMS_SYSLOG, "stderr", "<7>a\0b\n", 7),
                        "<31>Jan  1 00:00:00 web-0: a#000b");
    assert_string_equal(message(STREAMS_SYSLOG, "stdout", "<8>x\n", 5),
                        "<30>Jan  1 00:00:00 web-0: <8>x");
    assert_string_equal(message(STREAMS_SYSLOG, "stdout", "\n", 1), "<30>Jan  1 00:00:00 web-0: ");
}

static void as_journald_wants_it(void **state)
{
    (void)state;
    assert_string_equal(message(STREAMS_JOURNALD, "stdout", "<4>a=b\n", 7),
                        "PRIORITY=4\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=web-0\n"
                        "SUPERVISOR_INSTANCE=web:0\nSUPERVISOR_OUTPUT=stdout\nMESSAGE=a=b\n");
}

static const char *console(enum streams_format format, const char *output, const char *line)
{
    struct target target = { .kind = STREAMS_CONSOLE, .format = format, .fd = -1 };

    out[target_message(&target, "web:0", output, 1000001, line, strlen(line), out)] = '\0';
    return out;
}

static void the_console_gets_the_log_format(void **state)
{
    (void)state;
    assert_string_equal(console(STREAMS_RAW, "stdout", "<4>a\n"), "<4>a\n");
    assert_string_equal(console(STREAMS_RAW, "stdout", "a"), "a");
    assert_string_equal(console(STREAMS_PLAIN, "stdout", "a b\n"),
                        "1970-01-01T00:00:01.000001+00:00 web:0 a b\n");
    assert_string_equal(console(STREAMS_PLAIN, "stderr", "open"),
                        "1970-01-01T00:00:01.000001+00:00 web:0 open\n");
    assert_string_equal(console(STREAMS_JSON, "stderr", "a\"b\n"),
                        "{\"time\":\"1970-01-01T00:00:01.000001+00:00\",\"instance\":\"web:0\","
                        "\"output\":\"stderr\",\"message\":\"a\\\"b\"}\n");
    assert_non_null(strstr(console(STREAMS_JSON, "stdout", "open"), "open\",\"partial\":true}\n"));
}

static void the_longest_piece_fits(void **state)
{
    struct target target = { .kind = STREAMS_CONSOLE, .format = STREAMS_JSON, .fd = -1 };
    char *line = malloc(TARGET_LINE_MAX);

    (void)state;
    memset(line, 1, TARGET_LINE_MAX); /* six bytes each in json */
    size_t len = target_piece(&target, line, TARGET_LINE_MAX);
    assert_int_equal(len, TARGET_CONSOLE_MAX);
    size_t size = target_message(&target, "web:0", "stdout", 0, line, len, out);
    assert_in_range(size, 6 * len, TARGET_OUT_MAX - 1);
    free(line);
}

static void a_console_that_nobody_reads_does_not_stop_us(void **state)
{
    struct target target = { .kind = STREAMS_CONSOLE, .fd = -1 };
    char line[PIPE_BUF];
    int ends[2], rc = 0;

    (void)state;
    memset(line, 'x', sizeof line);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    target.fd = ends[1];
    for (int i = 0; i < 1000 && rc == 0; i++)
        rc = target_send(&target, line, sizeof line);
    assert_int_equal(rc, -EAGAIN);
    assert_int_equal(target.fd, ends[1]); /* still open */
    assert_int_equal(read(ends[0], line, sizeof line), sizeof line);
    assert_int_equal(target_send(&target, line, sizeof line), 0);
    close(ends[0]);
    target_close(&target);
}

static void long_lines_go_in_pieces(void **state)
{
    struct target syslog = { .kind = STREAMS_SYSLOG }, journald = { .kind = STREAMS_JOURNALD };
    char *line = malloc(TARGET_LINE_MAX + 1);

    (void)state;
    memset(line, 'x', TARGET_LINE_MAX);
    line[TARGET_LINE_MAX] = '\n';
    assert_int_equal(target_piece(&syslog, "ab\ncd\n", 6), 3);
    assert_int_equal(target_piece(&syslog, "ab", 2), 2);
    assert_int_equal(target_piece(&syslog, line, TARGET_LINE_MAX + 1), TARGET_SYSLOG_MAX);
    assert_int_equal(target_piece(&journald, line, TARGET_LINE_MAX + 1), TARGET_LINE_MAX + 1);
    size_t n = target_message(&syslog, "web:0", "stdout", 0, line, TARGET_LINE_MAX, out);
    assert_true(n > TARGET_LINE_MAX && n < TARGET_OUT_MAX);
    memset(line, 0, TARGET_LINE_MAX); /* the most that can come of it */
    n = target_message(&syslog, "web:0", "stdout", 0, line, TARGET_LINE_MAX, out);
    assert_true(n > 4 * TARGET_LINE_MAX && n <= TARGET_OUT_MAX);
    free(line);
}

/* Too large for the socket: in a memfd that nobody can change any more. */
static void a_large_message_goes_in_a_memfd(void **state)
{
    enum { LARGE = 60000 };
    int ends[2], small = 4096, fd;
    char *text = malloc(LARGE), data[16];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = { data, sizeof data };
    struct msghdr msg = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
    };
    struct stat st;

    (void)state;
    memset(text, 'x', LARGE);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends), 0);
    assert_int_equal(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    struct target target = { .kind = STREAMS_JOURNALD, .fd = ends[0] };
    assert_int_equal(target_send(&target, text, LARGE), 0);
    assert_int_equal(recvmsg(ends[1], &msg, MSG_CMSG_CLOEXEC), 0);
    struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
    assert_non_null(header);
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, LARGE);
    int seals = fcntl(fd, F_GET_SEALS);
    assert_true((seals & F_SEAL_WRITE) && (seals & F_SEAL_SHRINK) && (seals & F_SEAL_GROW));
    close(fd);
    target.kind = STREAMS_SYSLOG; /* which knows no such thing */
    assert_int_equal(target_send(&target, text, LARGE), -EMSGSIZE);
    assert_int_equal(target.fd, -1);
    close(ends[1]);
    free(text);
}

static void names_of_targets(void **state)
{
    const char *socket = NULL;

    (void)state;
    assert_int_equal(streams_target("/var/log/x", NULL), STREAMS_FILE);
    assert_int_equal(streams_target("syslogx", NULL), STREAMS_FILE);
    assert_int_equal(streams_target("syslog", &socket), STREAMS_SYSLOG);
    assert_string_equal(socket, "/dev/log");
    assert_int_equal(streams_target("journald:/run/x", &socket), STREAMS_JOURNALD);
    assert_string_equal(socket, "/run/x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_glibc_writes_it),
        cmocka_unit_test(as_journald_wants_it),
        cmocka_unit_test(the_console_gets_the_log_format),
        cmocka_unit_test(the_longest_piece_fits),
        cmocka_unit_test(a_console_that_nobody_reads_does_not_stop_us),
        cmocka_unit_test(long_lines_go_in_pieces),
        cmocka_unit_test(a_large_message_goes_in_a_memfd),
        cmocka_unit_test(names_of_targets),
    };

    setenv("TZ", "UTC", 1);
    tzset();
    out = malloc(TARGET_OUT_MAX + 1);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    free(out);
    return rc;
}
