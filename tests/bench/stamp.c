/* stamp.c - a service that says when its first instruction ran, and a bare supervisor to compare
 * with.
 *
 *     stamp FILE                 appends "NANOSECONDS PID" (CLOCK_MONOTONIC) and waits for ever
 *     stamp --limit FILE ROUNDS  the floor: only fork, exec, wait and restart; kills and restarts
 *                                a `stamp FILE` so often and prints nothing
 *     stamp --start FILE COUNT   the floor: starts so many `stamp FILE` and leaves them running
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 64, POLL_NS = 50000 };

static long long now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void append(const char *file, long long ns, const char *word)
{
    char line[LINE_MAX_BYTES];
    int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    int len = snprintf(line, sizeof line, "%lld %d %s\n", ns, (int)getpid(), word);

    if (fd < 0 || write(fd, line, (size_t)len) != len)
        exit(1);
    close(fd);
}

static off_t size_of(const char *file)
{
    struct stat st;

    return stat(file, &st) == 0 ? st.st_size : 0;
}

static void wait_for_growth(const char *file, off_t before)
{
    const struct timespec pause = { .tv_nsec = POLL_NS };

    while (size_of(file) <= before)
        nanosleep(&pause, NULL);
}

static pid_t start(const char *file)
{
    char *const argv[] = { (char *)"stamp", (char *)file, NULL };
    pid_t pid = 0;

    if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ) != 0)
        exit(1);
    return pid;
}

static void limit_restart(const char *file, int rounds)
{
    pid_t pid = start(file);

    for (int i = 0; i < rounds; i++) {
        off_t before = size_of(file);

        wait_for_growth(file, before > 0 ? before - 1 : 0);
        before = size_of(file);
        append(file, now_ns(), "kill");
        before = size_of(file);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        pid = start(file);
        wait_for_growth(file, before);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void limit_start(const char *file, int count)
{
    append(file, now_ns(), "begin");
    for (int i = 0; i < count; i++)
        start(file);
}

int main(int argc, char **argv)
{
    long long at = now_ns();

    if (argc == 4 && strcmp(argv[1], "--limit") == 0) {
        limit_restart(argv[2], atoi(argv[3]));
        return 0;
    }
    if (argc == 4 && strcmp(argv[1], "--start") == 0) {
        limit_start(argv[2], atoi(argv[3]));
        return 0;
    }
    append(argv[1], at, "up");
    for (;;)
        pause();
}
