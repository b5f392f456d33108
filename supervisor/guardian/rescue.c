/* rescue.c - the contract is in rescue.h. */
#include "supervisor/guardian/rescue.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "io/child.h"
#include "io/reaper.h"
#include "supervisor/guardian/leave.h"
#include "supervisor/guardian/orders.h"

enum { SPACING_MS = 5000, SWEEP_MAX = 4096 }; /* a shell that ends at once must not spin */

struct rescue {
    pid_t pid; /* 0 = it has ended */
    int signals;
};

static void on_exit_seen(void *context, const struct reaper_exit *how)
{
    struct rescue *rescue = context;

    if (how->pid == rescue->pid)
        rescue->pid = 0;
}

static bool start(struct rescue *rescue, const char *path)
{
    char *const argv[] = { (char *)(uintptr_t)path, NULL };
    struct child_report report = { 0 };
    struct child_spec spec = { .path = path,
                               .argv = argv,
                               .envp = environ,
                               .directory_fd = -1,
                               .umask = -1,
                               .new_session = true,
                               .share_memory = true,
                               .report = &report };
    struct err err;

    return child_start(&spec, &rescue->pid, &err) == 0 && report.error == 0;
}

static void start_any(struct rescue *rescue)
{
    static const char *const shells[] = { "/sbin/sulogin", "/usr/sbin/sulogin", "/bin/sh" };

    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (start(rescue, shells[i]))
            return;
        rescue->pid = 0;
    }
    fprintf(stderr, "supervisor: there is neither sulogin nor sh\n");
}

static void read_signals(const struct rescue *rescue)
{
    struct signalfd_siginfo infos[16];
    ssize_t n = read(rescue->signals, infos, sizeof infos);

    for (size_t i = 0; n > 0 && i < (size_t)n / sizeof *infos; i++) {
        int signum = (int)infos[i].ssi_signo;
        if (orders_of(signum) == ORDERS_SHUTDOWN)
            leave_host(leave_how_of(signum));
    }
}

void rescue_shell(void)
{
    sigset_t before;
    int64_t end_ms = clock_mono_ms() + SPACING_MS;
    AUTO_CLOSE int signals = orders_listen(&before);
    struct rescue rescue = { .signals = signals };

    start_any(&rescue);
    for (;;) {
        reaper_drain(on_exit_seen, &rescue, SWEEP_MAX);
        int64_t left_ms = rescue.pid > 0 ? -1 : end_ms - clock_mono_ms();
        if (rescue.pid == 0 && left_ms <= 0)
            return;
        /* Without a signalfd it is looked every now and then. */
        struct pollfd poll_fd = { .fd = signals, .events = POLLIN };
        int wait_ms = signals >= 0 || left_ms >= 0 ? (int)left_ms : SPACING_MS;
        if (poll(&poll_fd, 1, wait_ms) > 0)
            read_signals(&rescue);
    }
}
