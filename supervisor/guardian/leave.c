/* leave.c - the contract is in leave.h. */
#include "supervisor/guardian/leave.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "io/child.h"
#include "io/reaper.h"
#include "supervisor/guardian/leave_disks.h"
#include "supervisor/guardian/tree.h"
#include "supervisor/guardian/utmp.h"

enum {
    TRY_MS = 5000,
    KILL_MS = 5000, /* what cannot be killed by then hangs in the kernel */
    KILL_AGAIN_MS = 200,
    STEP_MS = 10,
    SWEEP_MAX = 4096,
};

static const struct {
    const char *word, *text;
    int signum, command;
} hows[LEAVE_NHOWS] = {
    [LEAVE_REBOOT] = { "--reboot", "reboot", SIGTERM, RB_AUTOBOOT },
    [LEAVE_POWEROFF] = { "--poweroff", "power off", SIGUSR2, RB_POWER_OFF },
    [LEAVE_HALT] = { "--halt", "halt", SIGUSR1, RB_HALT_SYSTEM },
};

enum leave_how leave_how_of(int signum)
{
    if (signum == 0 || signum == SIGPWR || signum == SIGUSR2 || signum == SIGRTMIN + 4)
        return LEAVE_POWEROFF;
    return signum == SIGUSR1 || signum == SIGRTMIN + 3 ? LEAVE_HALT : LEAVE_REBOOT;
}

int leave_signal(enum leave_how how) { return hows[how].signum; }

static bool kexec_is_loaded(void)
{
    AUTO_CLOSE int fd = open("/sys/kernel/kexec_loaded", O_RDONLY | O_CLOEXEC);
    char byte = '0';

    return fd >= 0 && read(fd, &byte, 1) == 1 && byte == '1';
}

int leave_now(enum leave_how how)
{
    if (how == LEAVE_REBOOT && kexec_is_loaded())
        reboot(RB_KEXEC); /* returns only if it cannot */
    reboot(hows[how].command);
    return -errno;
}

static void nobody(void *context, const struct reaper_exit *how) { (void)context, (void)how; }

static void reap(void)
{
    while (reaper_drain(nobody, NULL, SWEEP_MAX) == SWEEP_MAX)
        continue;
}

static void kill_all(void)
{
    int64_t end_ms = clock_mono_ms() + KILL_MS, again_ms = 0;

    for (;;) {
        reap();
        int64_t now_ms = clock_mono_ms();
        if (tree_empty())
            return;
        if (now_ms >= end_ms)
            break;
        if (now_ms >= again_ms) {
            tree_signal(SIGKILL);
            again_ms = now_ms + KILL_AGAIN_MS;
        }
        poll(NULL, 0, STEP_MS);
    }
    fprintf(stderr, "supervisor: some processes cannot be killed\n");
}

static pid_t start(const char *program, const char *what, enum leave_how how)
{
    char *const argv[] = { (char *)(uintptr_t) "supervisor", (char *)(uintptr_t) "leave",
                           (char *)(uintptr_t)what, (char *)(uintptr_t)hows[how].word, NULL };
    struct child_report report = { 0 };
    struct child_spec spec = { .path = program,
                               .argv = argv,
                               .envp = environ,
                               .directory_fd = -1,
                               .umask = -1,
                               .share_memory = true,
                               .report = &report };
    struct err err;
    pid_t pid;

    return child_start(&spec, &pid, &err) == 0 && report.error == 0 ? pid : -1;
}

static void leave_here(enum leave_how how)
{
    kill_all();
    utmp_record(UTMP_SHUTDOWN);
    start("/proc/self/exe", "--limit", how);
    leave_disks();
    fprintf(stderr, "supervisor: %s\n", hows[how].text);
    int rc = leave_now(how);
    fprintf(stderr, "supervisor: %s: %s\n", hows[how].text, strerror(-rc));
}

/* The file that we were started from, or what has taken its place by now. */
static bool find_program(char path[static PATH_MAX])
{
    static const char deleted[] = " (deleted)";
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - 1);

    if (len <= 0)
        return false;
    path[len] = '\0';
    char *end = path + len - (sizeof deleted - 1);
    if (end > path && strcmp(end, deleted) == 0)
        *end = '\0';
    return access(path, X_OK) == 0;
}

struct trial {
    pid_t pid;
    bool ended, good;
};

static void on_trial_end(void *context, const struct reaper_exit *how)
{
    struct trial *trial = context;

    if (how->pid != trial->pid)
        return;
    trial->ended = true;
    trial->good = how->code == CLD_EXITED && how->status == 0;
}

/* A PID 1 that dies in the dynamic loader is a kernel panic, so a child goes first. */
static bool works(const char *program)
{
    struct trial trial = { .pid = start(program, "--try", LEAVE_REBOOT) };
    int64_t end_ms = clock_mono_ms() + TRY_MS;

    while (trial.pid > 0 && !trial.ended && clock_mono_ms() < end_ms) {
        reaper_drain(on_trial_end, &trial, SWEEP_MAX);
        if (!trial.ended)
            poll(NULL, 0, STEP_MS);
    }
    return trial.good;
}

void leave_host(enum leave_how how)
{
    char path[PATH_MAX];

    if (chdir("/") == 0 && find_program(path) && works(path))
        execl(path, "supervisor", "leave", hows[how].word, (char *)NULL);
    leave_here(how);
    for (;;) { /* the kernel has refused; there is nothing left that could be done */
        reap();
        poll(NULL, 0, KILL_MS);
    }
}

static int pull_the_plug(enum leave_how how)
{
    mlockall(MCL_CURRENT);
    for (int64_t end_ms = clock_mono_ms() + LEAVE_LIMIT_S * 1000; clock_mono_ms() < end_ms;)
        poll(NULL, 0, LEAVE_LIMIT_S * 1000);
    fprintf(stderr, "supervisor: the disks do not answer, going on without them\n");
    return leave_now(how) == 0;
}

static bool has(int argc, char **argv, const char *word)
{
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], word) == 0)
            return true;
    return false;
}

int leave_main(int argc, char **argv)
{
    if (has(argc, argv, "--try"))
        return 0;
    for (int how = 0; how < LEAVE_NHOWS; how++) {
        if (!has(argc, argv, hows[how].word))
            continue;
        if (has(argc, argv, "--limit"))
            return pull_the_plug((enum leave_how)how);
        if (getpid() != 1)
            break;
        leave_here((enum leave_how)how);
        for (;;)
            poll(NULL, 0, -1);
    }
    return 1;
}
