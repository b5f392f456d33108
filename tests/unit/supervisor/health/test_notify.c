/* test_notify.c - what is said, by whom, and what comes along. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "supervisor/health/notify.h"

enum { DEADLINE_MS = 5000 };

static struct notify_message parse(const char *text)
{
    struct notify_message message;

    memset(&message, 0x55, sizeof message);
    notify_parse(text, strlen(text), &message);
    return message;
}

static void lines_are_read(void **unused)
{
    struct notify_message m = parse("READY=1\nSTATUS=serving 3 clients\nMAINPID=123\nX=1\n\n");

    (void)unused;
    assert_true(m.ready);
    assert_false(m.stopping || m.reloading || m.watchdog);
    assert_int_equal(m.main_pid, 123);
    assert_string_equal(m.status, "serving 3 clients");
    assert_int_equal(m.sender, 0);
    m = parse("STOPPING=1\nRELOADING=1\nWATCHDOG=1\nEXTEND_TIMEOUT_USEC=5000000");
    assert_true(m.stopping && m.reloading && m.watchdog && !m.ready);
    assert_int_equal(m.extend_timeout_us, 5000000);
    m = parse("");
    assert_false(m.ready);
    assert_string_equal(m.status, "");
}

static void nearly_right_is_wrong(void **unused)
{
    struct notify_message m = parse(
        "READY=0\n READY=1\nREADY=11\nready=1\nREADY=1 \nMAINPID=12x\nEXTEND_TIMEOUT_USEC=-1");

    (void)unused;
    assert_false(m.ready);
    assert_int_equal(m.main_pid, 0);
    assert_int_equal(m.extend_timeout_us, 0);
    assert_int_equal(parse("MAINPID=99999999999999999999").main_pid, 0);
    assert_int_equal(parse("MAINPID=2147483648").main_pid, 0);
    assert_int_equal(parse("MAINPID=2147483647").main_pid, 2147483647);
    assert_int_equal(parse("EXTEND_TIMEOUT_USEC=9223372036854775808").extend_timeout_us, 0);
    assert_true(parse("EXTEND_TIMEOUT_USEC=9223372036854775807").extend_timeout_us == INT64_MAX);
}

static void all_of_sd_notify_is_understood(void **unused)
{
    struct notify_message m = parse("WATCHDOG=trigger\nRESTART_RESET=1\nERRNO=2\nEXIT_STATUS=0\n"
                                    "WATCHDOG_USEC=0\nMONOTONIC_USEC=77\nNOTIFYACCESS=main");

    (void)unused;
    assert_true(m.watchdog_trigger && m.restart_reset && !m.watchdog && !m.has_status);
    assert_int_equal(m.error, 2);
    assert_int_equal(m.exit_status, 0);
    assert_int_equal(m.watchdog_us, 0);
    assert_int_equal(m.monotonic_us, 77);
    assert_int_equal(m.access, NOTIFY_ACCESS_MAIN);
    m = parse("EXIT_STATUS=256\nWATCHDOG_USEC=\nERRNO=5000\nNOTIFYACCESS=everybody\nSTATUS=");
    assert_int_equal(m.exit_status, -1);
    assert_int_equal(m.watchdog_us, -1);
    assert_int_equal(m.error, 0);
    assert_int_equal(m.access, NOTIFY_ACCESS_UNSAID);
    assert_true(m.has_status);
    m = parse("BUSERROR=org.freedesktop.DBus.Error.TimedOut\nMAINPIDFD=1\n"
              "VARLINKERROR=org.varlink.service.InvalidParameter");
    assert_string_equal(m.bus_error, "org.freedesktop.DBus.Error.TimedOut");
    assert_string_equal(m.varlink_error, "org.varlink.service.InvalidParameter");
    assert_true(m.main_pidfd && m.main_pid == 0);
    static const char *const wrong[] = { "BUSERROR=",         "BUSERROR=word", "BUSERROR=a..b",
                                         "BUSERROR=.a.b",     "BUSERROR=a.b.", "BUSERROR=a.b c",
                                         "BUSERROR=a.\033[2J" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_string_equal(parse(wrong[i]).bus_error, "");
    assert_false(parse("MAINPIDFD=2").main_pidfd);
    m = parse("FDSTORE=1\nFDPOLL=0\nFDNAME=listener 1");
    assert_true(m.fd_store && m.fd_unpolled && !m.fd_remove);
    assert_string_equal(m.fd_name, "listener 1");
    m = parse("FDSTOREREMOVE=1\nFDNAME=a:b\nFDPOLL=1");
    assert_true(m.fd_remove && !m.fd_unpolled);
    assert_string_equal(m.fd_name, "");
    assert_string_equal(parse("FDNAME=gr\303\274n").fd_name, "");
}

static void names_of_descriptors_have_a_limit(void **unused)
{
    char text[300] = "FDNAME=";

    (void)unused;
    memset(text + 7, 'n', 255);
    assert_int_equal(strlen(parse(text).fd_name), 255);
    memset(text + 7, 'n', 256);
    assert_string_equal(parse(text).fd_name, "");
}

static void a_status_is_fit_for_terminals(void **unused)
{
    char text[600] = "STATUS=", expect[NOTIFY_STATUS_MAX];

    (void)unused;
    assert_string_equal(parse("STATUS=a\033[2Jb\tc\r").status, "a?[2Jb?c?");
    assert_string_equal(parse("STATUS=gr\303\274n \342\202\254 \360\237\230\200").status,
                        "gr\303\274n \342\202\254 \360\237\230\200");
    /* Cut, overlong, a surrogate, a C1 control, beyond Unicode. */
    assert_string_equal(parse("STATUS=\303").status, "?");
    assert_string_equal(parse("STATUS=\300\257").status, "??");
    assert_string_equal(parse("STATUS=\355\240\200").status, "???");
    assert_string_equal(parse("STATUS=\302\233x").status, "??x");
    assert_string_equal(parse("STATUS=\364\220\200\200").status, "????");
    /* Too long: cut between characters. */
    memset(text + 7, 'x', NOTIFY_STATUS_MAX - 2);
    strcpy(text + 7 + NOTIFY_STATUS_MAX - 2, "\303\274yyyy");
    memset(expect, 'x', NOTIFY_STATUS_MAX - 2);
    expect[NOTIFY_STATUS_MAX - 2] = '\0';
    assert_string_equal(parse(text).status, expect);
}

/* --- with a socket --- */

struct rig {
    char dir[64], path[128];
    int fd;
    char *name;
    struct loop *loop;
    struct loop_timer *deadline;
    struct notify *notify;
    size_t want, count;
    struct notify_message last;
    int watched; /* read end of a pipe whose write end travels */
    bool open_while_told, free_inside, keep;
    int kept;
};

static void too_late(void *context)
{
    (void)context;
    fail_msg("nothing came in time");
}

static bool other_end_is_open(int fd)
{
    struct pollfd at = { .fd = fd };

    poll(&at, 1, 0);
    return !(at.revents & POLLHUP);
}

static void on_message(void *context, const struct notify_message *message)
{
    struct rig *rig = context;

    rig->last = *message;
    if (rig->keep && message->nfds > 0) {
        rig->kept = message->fds[0];
        message->fds[0] = -1;
    }
    rig->count++;
    if (rig->watched >= 0)
        rig->open_while_told = other_end_is_open(rig->watched);
    if (rig->free_inside) {
        notify_free(rig->notify);
        rig->notify = NULL;
    }
    if (rig->count >= rig->want)
        loop_stop(rig->loop);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct err err = { 0 };

    strcpy(rig->dir, "/tmp/test_notify.XXXXXX");
    if (!mkdtemp(rig->dir))
        return -1;
    snprintf(rig->path, sizeof rig->path, "%s/notify", rig->dir);
    rig->watched = -1;
    rig->want = 1;
    rig->loop = loop_new(&err);
    rig->deadline = loop_timer_new(rig->loop, too_late, NULL);
    loop_timer_arm(rig->deadline, DEADLINE_MS);
    if (notify_open(rig->path, &rig->fd, &rig->name, &err) != 0)
        return -1;
    rig->notify = notify_new(rig->loop, rig->fd, on_message, rig, &err);
    *state = rig;
    return rig->notify ? 0 : -1;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    notify_free(rig->notify);
    loop_timer_free(rig->deadline);
    loop_free(rig->loop);
    close(rig->fd);
    if (rig->watched >= 0)
        close(rig->watched);
    unlink(rig->path);
    rmdir(rig->dir);
    free(rig->name);
    free(rig);
    return 0;
}

static int dial(const char *name)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    memcpy(at.sun_path, name, strlen(name));
    if (name[0] == '@')
        at.sun_path[0] = '\0';
    assert_int_equal(connect(fd, (struct sockaddr *)&at,
                             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
                     0);
    return fd;
}

static void say(const struct rig *rig, const char *text, size_t len)
{
    int fd = dial(rig->name);

    assert_int_equal(send(fd, text, len, 0), len);
    close(fd);
}

static void senders_are_known(void **state)
{
    struct rig *rig = *state;
    struct stat st;

    assert_string_equal(rig->name, rig->path);
    assert_int_equal(stat(rig->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666);
    say(rig, "READY=1", 7);
    loop_run(rig->loop, NULL, NULL);
    assert_true(rig->last.ready);
    assert_int_equal(rig->last.sender, getpid());
    assert_int_equal(rig->last.uid, getuid());
}

static void what_is_too_long_is_dropped_whole(void **state)
{
    struct rig *rig = *state;
    static char text[NOTIFY_DATAGRAM_MAX + 1] = "READY=1\n";

    memset(text + 8, 'x', sizeof text - 8);
    say(rig, text, sizeof text);
    say(rig, "STOPPING=1\n", 11);
    loop_run(rig->loop, NULL, NULL);
    assert_int_equal(rig->count, 1);
    assert_true(rig->last.stopping && !rig->last.ready);
}

static void send_with_fd(const struct rig *rig, const char *text, int passed)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { .space = { 0 } };
    struct iovec iov = { (char *)text, strlen(text) };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
    };
    struct cmsghdr *at = CMSG_FIRSTHDR(&msg);
    int fd = dial(rig->name);

    *at = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS,
                            .cmsg_len = CMSG_LEN(sizeof(int)) };
    memcpy(CMSG_DATA(at), &passed, sizeof passed);
    assert_int_equal(sendmsg(fd, &msg, 0), strlen(text));
    close(fd);
}

/* sd_notify_barrier(): the pipe closes when all that was sent before has been acted on. */
static void a_barrier_is_honoured(void **state)
{
    struct rig *rig = *state;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    rig->watched = ends[0];
    rig->want = 2;
    say(rig, "READY=1", 7);
    send_with_fd(rig, "BARRIER=1", ends[1]);
    close(ends[1]);
    assert_true(other_end_is_open(ends[0]));
    loop_run(rig->loop, NULL, NULL);
    assert_true(rig->open_while_told);
    assert_false(other_end_is_open(ends[0]));
}

/* Who wants a descriptor takes it; of the message nothing is left open. */
static void descriptors_may_be_kept(void **state)
{
    struct rig *rig = *state;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    rig->watched = ends[0];
    rig->keep = true;
    send_with_fd(rig, "FDSTORE=1", ends[1]);
    close(ends[1]);
    loop_run(rig->loop, NULL, NULL);
    assert_true(other_end_is_open(ends[0]));
    close(rig->kept);
    assert_false(other_end_is_open(ends[0]));
}

static void it_may_be_freed_inside(void **state)
{
    struct rig *rig = *state;

    rig->free_inside = true;
    say(rig, "READY=1", 7);
    say(rig, "READY=1", 7);
    loop_run(rig->loop, NULL, NULL);
    assert_int_equal(rig->count, 1);
}

static void a_flood_is_read_to_its_end(void **state)
{
    struct rig *rig = *state;
    int fd = dial(rig->name);

    rig->want = 0;
    for (int round = 0; round < 20; round++) {
        while (send(fd, "WATCHDOG=1", 10, MSG_DONTWAIT) > 0)
            rig->want++;
        assert_int_equal(errno, EAGAIN);
        loop_run(rig->loop, NULL, NULL);
    }
    assert_int_equal(rig->count, rig->want);
    close(fd);
}

/* --- opening --- */

static void stale_files_are_replaced_live_ones_not(void **state)
{
    struct rig *rig = *state;
    struct err err = { 0 };
    char *name = NULL;
    int fd = -1;

    assert_int_equal(notify_open(rig->path, &fd, &name, &err), ERR_EXISTS);
    assert_non_null(strstr(err.text, rig->path));
    notify_free(rig->notify);
    rig->notify = NULL;
    close(rig->fd);
    rig->fd = -1;
    assert_int_equal(notify_open(rig->path, &fd, &name, &err), 0);
    assert_string_equal(name, rig->path);
    free(name);
    close(fd);
    unlink(rig->path);
    fd = open(rig->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(notify_open(rig->path, &fd, &name, &err), ERR_EXISTS);
    assert_non_null(strstr(err.text, "not a socket"));
    assert_int_equal(access(rig->path, F_OK), 0);
}

static void abstract_where_no_file_can_be(void **state)
{
    struct rig *rig = *state;
    struct err err = { 0 };
    char path[300], *name, *second, *again;
    int fd, other;

    snprintf(path, sizeof path, "%s/no/such/folder", rig->dir);
    assert_int_equal(notify_open(path, &fd, &name, &err), 0);
    assert_int_equal(name[0], '@');
    again = notify_name(fd);
    assert_string_equal(name, again);
    close(dial(name));
    /* Another one of the same path, as in a container with the same network. */
    assert_int_equal(notify_open(path, &other, &second, &err), 0);
    assert_string_not_equal(name, second);
    close(other);
    close(fd);
    free(second);
    free(again);
    free(name);
    memset(path, 'p', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    assert_int_equal(notify_open(path, &fd, &name, &err), 0);
    assert_int_equal(name[0], '@');
    close(dial(name));
    close(fd);
    free(name);
}

static void the_longest_path_fits(void **state)
{
    struct rig *rig = *state;
    struct err err = { 0 };
    char path[108], *name;
    int fd;

    memset(path, 'p', 107);
    memcpy(path, rig->dir, strlen(rig->dir));
    path[strlen(rig->dir)] = '/';
    path[107] = '\0';
    assert_int_equal(notify_open(path, &fd, &name, &err), 0);
    assert_string_equal(name, path);
    unlink(path);
    close(fd);
    free(name);
    assert_null(notify_name(-1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read),
        cmocka_unit_test(nearly_right_is_wrong),
        cmocka_unit_test(all_of_sd_notify_is_understood),
        cmocka_unit_test(names_of_descriptors_have_a_limit),
        cmocka_unit_test(a_status_is_fit_for_terminals),
        cmocka_unit_test_setup_teardown(senders_are_known, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_too_long_is_dropped_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_barrier_is_honoured, setup, teardown),
        cmocka_unit_test_setup_teardown(descriptors_may_be_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(it_may_be_freed_inside, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flood_is_read_to_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(stale_files_are_replaced_live_ones_not, setup, teardown),
        cmocka_unit_test_setup_teardown(abstract_where_no_file_can_be, setup, teardown),
        cmocka_unit_test_setup_teardown(the_longest_path_fits, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
