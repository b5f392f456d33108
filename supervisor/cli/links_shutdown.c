/* links_shutdown.c - `shutdown`: now, or later, which it waits for in the foreground. */
#include "supervisor/cli/links.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "base/clock.h"
#include "io/child.h"
#include "io/reaper.h"
#include "supervisor/cli/client.h"

enum {
    MINUTE_S = 60,
    DAY_S = 24 * 60 * MINUTE_S,
    MINUTES_MAX = 366 * 24 * 60,
    TEXT_MAX = 1024,
};
static const char pid_path[] = "/run/shutdown.pid";

enum { REBOOT = 1, POWEROFF = 2, HALT = 4, CANCEL = 8, ONLY_WARN = 16, QUIET = 32 };

static const struct links_option options[] = {
    /* clang-format off */
    { 'r', "reboot",   REBOOT,    "Restart the host." },
    { 'h', "poweroff", POWEROFF,  "Switch the host off, as without any of these." },
    { 'P', "poweroff", POWEROFF,  "The same." },
    { 'H', "halt",     HALT,      "Halt it." },
    { 'c', "cancel",   CANCEL,    "Cancel the shutdown that somebody waits for." },
    { 'k', "warn",     ONLY_WARN, "Only tell everybody." },
    { 'q', "no-wall",  QUIET,     "Tell nobody." },
    { 'f', "fast",     0,         "checks of disks are the business of their service" },
    { 'F', "fsck",     0,         "checks of disks are the business of their service" },
    { 'n', "no-init",  0,         "use reboot -f or poweroff -f" },
    { 't', "wait",     0,         "each service has its own time (stopwaitsecs)" },
    { 'a', "access",   0,         "who may give orders is decided by the control socket" },
    { 0, NULL, 0, NULL },
    /* clang-format on */
};

static bool number(const char *text, long max, const char **ret_end, long *ret)
{
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *ret = strtol(text, &end, 10);
    *ret_end = end;
    return errno == 0 && *ret <= max;
}

static int64_t until(long hour, long minute, int64_t wall_s)
{
    time_t at = (time_t)wall_s;
    struct tm tm;

    localtime_r(&at, &tm);
    int64_t wanted = (hour * 60 + minute) * MINUTE_S;
    int64_t there = (tm.tm_hour * 60 + tm.tm_min) * MINUTE_S + tm.tm_sec;
    return wanted >= there ? wanted - there : wanted - there + DAY_S;
}

int64_t links_delay_s(const char *text, int64_t wall_s)
{
    const char *end;
    long first, second;

    if (strcmp(text, "now") == 0)
        return 0;
    if (!number(text[0] == '+' ? text + 1 : text, MINUTES_MAX, &end, &first))
        return -1;
    if (*end == '\0')
        return (int64_t)first * MINUTE_S;
    if (text[0] == '+' || first > 23 || *end != ':' || strlen(end) != 3 ||
        !number(end + 1, 59, &end, &second) || *end)
        return -1;
    return until(first, second, wall_s);
}

/* wall(1), where there is one: it knows who sits where. */
static void tell_everybody(const char *text)
{
    char program[] = "wall";
    char *argv[] = { program, (char *)(uintptr_t)text, NULL };
    struct child_report report = { 0 };
    struct reaper_exit how;
    struct err err;
    pid_t pid;

    AUTO_FREE char *path = child_find(program, environ, &err);
    struct child_spec spec = { .path = path,
                               .argv = argv,
                               .envp = environ,
                               .directory_fd = -1,
                               .umask = -1,
                               .report = &report };
    if (path && child_start(&spec, &pid, &err) == 0)
        reaper_wait(pid, &how);
}

static void announce(unsigned bits, int64_t left_s, char **words)
{
    static const char *const texts[] = { "reboots", "halts", "goes down" };
    const char *what = texts[bits & REBOOT ? 0 : bits & HALT ? 1 : 2];
    struct buf text;

    if (bits & QUIET)
        return;
    buf_init(&text, TEXT_MAX);
    if (left_s == 0)
        buf_printf(&text, "This host %s NOW.", what);
    else
        buf_printf(&text, "This host %s in %lld minute%s.", what,
                   (long long)((left_s + MINUTE_S - 1) / MINUTE_S), left_s > MINUTE_S ? "s" : "");
    for (; *words; words++)
        buf_printf(&text, " %s", *words);
    tell_everybody(buf_text(&text));
    buf_done(&text);
}

/* Held for as long as somebody waits; its number is for -c. */
static int claim(void)
{
    AUTO_CLOSE int fd = open(pid_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    char text[32] = "";

    if (fd < 0) {
        client_say("%s: %s", pid_path, strerror(errno));
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = read(fd, text, sizeof text - 1);
        text[n > 0 ? strcspn(text, "\n") : 0] = '\0';
        client_say("process %s waits for a shutdown already; \"shutdown -c\" cancels it", text);
        return -1;
    }
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) != 0 || write(fd, text, (size_t)len) != len)
        client_say("%s: %s; it cannot be cancelled with -c", pid_path, strerror(errno));
    return take_fd(&fd);
}

static int cancel(void)
{
    AUTO_CLOSE int fd = open(pid_path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    char text[32] = "";

    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0) {
        client_say("nobody waits for a shutdown");
        return CLIENT_FAILED;
    }
    long pid = read(fd, text, sizeof text - 1) > 0 ? strtol(text, NULL, 10) : 0;
    if (pid > 1 && kill((pid_t)pid, SIGTERM) == 0)
        return CLIENT_OK;
    client_say("process %ld cannot be told: %s", pid, pid > 1 ? strerror(errno) : "no such number");
    return CLIENT_FAILED;
}

static void wait_until(int64_t end_ms)
{
    for (int64_t left_ms; (left_ms = end_ms - clock_boot_ms()) > 0;)
        poll(NULL, 0, left_ms > MINUTE_S * 1000 ? MINUTE_S * 1000 : (int)left_ms);
}

/* The last minute is told again. */
static bool wait_for(unsigned bits, int64_t delay_s, char **words)
{
    int64_t end_ms = clock_boot_ms() + delay_s * 1000;
    AUTO_CLOSE int fd = claim();

    if (fd < 0)
        return false;
    signal(SIGHUP, SIG_IGN); /* who ordered it may log out */
    printf("waiting for %lld minutes in the foreground; Ctrl-C or \"shutdown -c\" cancels\n",
           (long long)(delay_s / MINUTE_S));
    fflush(stdout);
    announce(bits, delay_s, words);
    if (delay_s > MINUTE_S) {
        wait_until(end_ms - MINUTE_S * 1000);
        announce(bits, MINUTE_S, words);
    }
    wait_until(end_ms);
    unlink(pid_path);
    return true;
}

int links_shutdown(int argc, char **argv)
{
    static const char usage[] = "shutdown [-h|-P|-r|-H|-c|-k] [now|+MINUTES|HH:MM] [MESSAGE...]";
    char **words;
    unsigned bits;
    int code;

    if (!links_options(options, usage, argc, argv, &bits, &words, &code))
        return code;
    if (bits & CANCEL)
        return cancel();
    const char *when = words[0] ? words[0] : "+1";
    int64_t delay_s = links_delay_s(when, clock_wall_us() / 1000000);
    if (delay_s < 0) {
        client_say("\"%.64s\" is not a time; usage: %s", when, usage);
        return CLIENT_USAGE;
    }
    char **message = words[0] ? words + 1 : words;
    if (!(bits & ONLY_WARN) && delay_s > 0 && !wait_for(bits, delay_s, message))
        return CLIENT_FAILED;
    announce(bits, bits & ONLY_WARN ? delay_s : 0, message);
    if (bits & ONLY_WARN)
        return CLIENT_OK;
    return links_ask(bits & REBOOT ? LEAVE_REBOOT : bits & HALT ? LEAVE_HALT : LEAVE_POWEROFF);
}
