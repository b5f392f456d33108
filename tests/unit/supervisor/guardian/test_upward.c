/* test_upward.c - a manager that cannot listen for a moment misses nothing, and is never waited
 * for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "supervisor/guardian/upward.h"

enum { TOO_MANY = 100000 };

/* An abstract socket of this process; NOTIFY_SOCKET names it. */
static int make_manager(void)
{
    char name[64];
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(name, sizeof name, "@test-upward-%d", (int)getpid());
    memcpy(at.sun_path + 1, name + 1, strlen(name) - 1);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static const char *hear(int fd)
{
    static char text[UPWARD_TEXT_MAX];
    ssize_t n = recv(fd, text, sizeof text - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static int forget_all(void **unused)
{
    (void)unused;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return 0;
}

static void nobody_is_told_when_nobody_listens(void **unused)
{
    (void)unused;
    struct upward upward;

    setenv("WATCHDOG_USEC", "1000000", 1);
    upward_init(&upward, false);
    upward_tell(&upward, "READY=1", 0);
    assert_int_equal(upward_due(&upward), -1);
    setenv("NOTIFY_SOCKET", "relative", 1);
    upward_init(&upward, true);
    assert_int_equal(upward_due(&upward), -1);
}

static void what_cannot_be_sent_is_sent_later(void **unused)
{
    (void)unused;
    struct upward upward;
    int fd = make_manager(), sent = 0;

    upward_init(&upward, false);
    while (upward_due(&upward) < 0 && sent++ < TOO_MANY)
        upward_tell(&upward, "STATUS=filling", 1000);
    assert_int_equal(upward_due(&upward), 1000 + UPWARD_RETRY_MS);
    upward_tell(&upward, "READY=1", 1000);
    upward_tick(&upward, upward_due(&upward)); /* it is full still */
    assert_int_equal(upward_due(&upward), 1000 + 2 * UPWARD_RETRY_MS);
    while (strcmp(hear(fd), "STATUS=filling") == 0)
        ;
    upward_tick(&upward, upward_due(&upward));
    assert_string_equal(hear(fd), "STATUS=filling\nREADY=1");
    assert_int_equal(upward_due(&upward), -1);
    close(fd);
}

static void a_manager_that_is_deaf_costs_no_memory(void **unused)
{
    (void)unused;
    struct upward upward;
    int fd = make_manager(), sent = 0;

    upward_init(&upward, false);
    while (upward_due(&upward) < 0 && sent++ < TOO_MANY)
        upward_tell(&upward, "STATUS=filling", 1);
    for (int i = 0; i < TOO_MANY; i++)
        upward_tell(&upward, "STATUS=again", 1);
    upward_tell(&upward, "STOPPING=1", 1);
    assert_non_null(strstr(upward.waiting, "STOPPING=1"));
    assert_true(strlen(upward.waiting) < UPWARD_TEXT_MAX);
    close(fd);
    upward_tick(&upward, upward_due(&upward)); /* it is gone: nothing waits for it */
    assert_int_equal(upward_due(&upward), -1);
}

static void it_beats_as_often_as_it_is_asked_to(void **unused)
{
    (void)unused;
    struct upward upward;
    char pid[16];
    int fd = make_manager();

    setenv("WATCHDOG_USEC", "3000000", 1);
    upward_init(&upward, false);
    int64_t due = upward_due(&upward);
    upward_tick(&upward, due - 1);
    assert_string_equal(hear(fd), "");
    upward_tick(&upward, due);
    assert_string_equal(hear(fd), "WATCHDOG=1");
    assert_int_equal(upward_due(&upward), due + 1500);

    setenv("WATCHDOG_PID", "1", 1); /* meant for another */
    upward_init(&upward, false);
    assert_int_equal(upward_due(&upward), -1);
    upward_init(&upward, true); /* in whose place we are now */
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    assert_string_equal(hear(fd) + strlen("MAINPID="), pid);
    assert_true(upward_due(&upward) >= 0);

    static const char *const wrong[] = { "", "0", "-5", "3s", "99999999999999999999" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        setenv("WATCHDOG_USEC", wrong[i], 1);
        upward_init(&upward, true);
        assert_int_equal(upward_due(&upward), -1);
    }
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(nobody_is_told_when_nobody_listens, forget_all),
        cmocka_unit_test_teardown(what_cannot_be_sent_is_sent_later, forget_all),
        cmocka_unit_test_teardown(a_manager_that_is_deaf_costs_no_memory, forget_all),
        cmocka_unit_test_teardown(it_beats_as_often_as_it_is_asked_to, forget_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
