/* alone.c - the contract is in guardian.h.
 *
 * The command is in a process group of its own, which is the terminal's foreground group when ours
 * was.  When it is stopped from the terminal we stop too, so that the shell that started us
 * gets its terminal back; where no shell could ever continue us, it is continued at once.
 */
#include "supervisor/guardian/alone.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/err.h"
#include "io/child.h"
#include "io/reaper.h"
#include "supervisor/guardian/orders.h"
#include "supervisor/guardian/tree.h"

enum {
    EXIT_NOT_FOUND = 127,
    EXIT_NOT_EXECUTABLE = 126,
    EXIT_SIGNAL = 128, /* plus its number */
    GRACE_MS = 10000,  /* for what the command left behind */
    KILL_MS = 50,      /* between rounds of KILL */
    KILL_ROUNDS = 100, /* then what cannot be killed is left alone */
    SWEEP_MAX = 4096,
};

struct alone {
    pid_t child; /* 0 = it has ended */
    int exit_code;
    bool terminal; /* the foreground is handed to the command */
    int signals;
    int64_t kill_ms; /* when what is left gets KILL; valid once the child has ended */
    unsigned kills;
};

static void on_exit_seen(void *context, const struct reaper_exit *how)
{
    struct alone *alone = context;
    if (how->pid != alone->child)
        return;
    alone->child = 0;
    alone->exit_code = how->code == CLD_EXITED ? how->status : EXIT_SIGNAL + how->status;
}

static bool in_foreground(void) { return tcgetpgrp(STDIN_FILENO) == getpgrp(); }

/* Our group belongs to a job of a shell that can put it into the foreground again. */
static bool can_be_continued(void)
{
    pid_t parent = getppid();
    return parent > 0 && getsid(parent) == getsid(0) && getpgid(parent) != getpgrp();
}

static void resume_child(const struct alone *alone)
{
    if (alone->terminal && in_foreground())
        tcsetpgrp(STDIN_FILENO, alone->child); /* SIGTTOU is blocked, so this never stops us */
    kill(-alone->child, SIGCONT);
}

static void follow_stop(const struct alone *alone)
{
    siginfo_t info = { .si_pid = 0 };
    if (!alone->terminal || alone->child == 0 ||
        waitid(P_PID, (id_t)alone->child, &info, WSTOPPED | WNOHANG) < 0 || info.si_pid == 0)
        return;
    if (can_be_continued()) {
        tcsetpgrp(STDIN_FILENO, getpgrp());
        kill(getpid(), SIGSTOP); /* we go on from here when somebody continues us */
    }
    resume_child(alone);
}

static void on_signal(struct alone *alone, int signum)
{
    if (signum == SIGCHLD || signum == SIGTTIN || signum == SIGTTOU)
        return;
    if (alone->child == 0) {
        if (signum == SIGTERM || signum == SIGINT || signum == SIGQUIT)
            alone->kill_ms = clock_mono_ms();
    } else if (signum == SIGCONT) {
        resume_child(alone);
    } else {
        kill(alone->child, signum);
    }
}

static void read_signals(struct alone *alone)
{
    struct signalfd_siginfo infos[16];
    ssize_t n = read(alone->signals, infos, sizeof(infos));
    for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(*infos); i++)
        on_signal(alone, (int)infos[i].ssi_signo);
}

static void begin_end(struct alone *alone)
{
    if (alone->terminal)
        tcsetpgrp(STDIN_FILENO, getpgrp());
    alone->kill_ms = clock_mono_ms() + GRACE_MS;
    if (!tree_empty())
        tree_signal(SIGTERM);
}

/* False when all is done. */
static bool step_end(struct alone *alone)
{
    if (tree_empty() || alone->kills >= KILL_ROUNDS)
        return false;
    if (clock_mono_ms() >= alone->kill_ms) {
        tree_signal(SIGKILL);
        alone->kills++;
        alone->kill_ms = clock_mono_ms() + KILL_MS;
    }
    return true;
}

static void loop(struct alone *alone)
{
    bool ending = false;
    for (;;) {
        struct pollfd poll_fd = { .fd = alone->signals, .events = POLLIN };
        while (reaper_drain(on_exit_seen, alone, SWEEP_MAX) == SWEEP_MAX)
            continue;
        follow_stop(alone);
        if (alone->child == 0 && !ending)
            begin_end(alone);
        ending = alone->child == 0;
        if (ending && !step_end(alone))
            return;
        int64_t left = ending ? alone->kill_ms - clock_mono_ms() : -1;
        if (poll(&poll_fd, 1, ending && left < 0 ? 0 : (int)left) > 0)
            read_signals(alone);
    }
}

static int cannot_run(const char *command, const char *why, int code)
{
    fprintf(stderr, "supervisor: cannot run %s: %s\n", command, why);
    return code;
}

static int start(struct alone *alone, const char *path, char **argv)
{
    struct child_report report = { 0 };
    struct err err;
    alone->terminal = in_foreground();
    struct child_spec spec = {
        .path = path,
        .argv = argv,
        .envp = environ,
        .directory_fd = -1,
        .umask = -1,
        .new_group = true,
        .foreground = alone->terminal,
        .share_memory = true,
        .report = &report,
    };
    if (child_start(&spec, &alone->child, &err) < 0)
        return cannot_run(argv[0], err.text, EXIT_NOT_EXECUTABLE);
    if (report.error == 0)
        return 0;
    if (alone->terminal)
        tcsetpgrp(STDIN_FILENO, getpgrp());
    return cannot_run(argv[0], strerror(report.error),
                      report.error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

int alone_run(char **argv)
{
    struct alone alone = { .signals = -1 };
    struct err err;
    sigset_t before;
    AUTO_CLOSE int signals = orders_listen(&before);
    if (signals < 0)
        return cannot_run(argv[0], strerror(-signals), EXIT_NOT_EXECUTABLE);
    alone.signals = signals;
    tree_become_reaper();
    AUTO_FREE char *path = child_find(argv[0], environ, &err);
    if (!path)
        return cannot_run(argv[0], err.text,
                          err.code == ERR_NOT_FOUND ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
    int code = start(&alone, path, argv);
    if (code != 0)
        return code;
    loop(&alone);
    return alone.exit_code;
}
