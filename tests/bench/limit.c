/* limit.c - a service that says when its first instruction ran, and a bare supervisor to compare
 * with, which only forks, executes, waits and restarts.
 *
 *     limit FILE                     appends "NANOSECONDS PID up" (CLOCK_MONOTONIC), waits for ever
 *     limit --restart FILE ROUNDS    kills and restarts a `limit FILE` so often
 *     limit --start FILE COUNT       starts so many `limit FILE`; TERM stops them, and it says how
 *                                    many nanoseconds that took
 *     limit --captured FILE COUNT    the same, standard output of each into a pipe of its own
 *     limit --init COMMAND [ARG...]  as PID 1: reaps until its command has ended
 *     limit --orphans COUNT          so many orphans that wait; a byte on standard input lets them
 *                                    go, it says "gone" when all have ended, a second byte ends it
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
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
    char *const argv[] = { (char *)"limit", (char *)file, NULL };
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

static pid_t start_captured(const char *file)
{
    char *const argv[] = { (char *)"limit", (char *)file, NULL };
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        exit(1);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    if (posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ) != 0)
        exit(1);
    posix_spawn_file_actions_destroy(&actions);
    return pid; /* both ends stay open, as they do in a supervisor */
}

static void limit_start(const char *file, int count, bool captured)
{
    pid_t *pids = calloc((size_t)count, sizeof *pids);
    sigset_t term;
    int signum;

    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    for (int i = 0; i < count; i++)
        pids[i] = captured ? start_captured(file) : start(file);
    sigprocmask(SIG_BLOCK, &term, NULL);
    append(file, now_ns(), "all");
    sigwait(&term, &signum);
    long long began = now_ns();
    for (int i = 0; i < count; i++)
        kill(pids[i], SIGTERM);
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    printf("%lld\n", now_ns() - began);
    free(pids);
}

static int limit_init(char **argv)
{
    pid_t pid, child = 0;
    int status = 0, last = 0;

    if (posix_spawnp(&child, argv[0], NULL, NULL, argv, environ) != 0)
        return 1;
    while ((pid = waitpid(-1, &status, 0)) > 0 && pid != child)
        continue;
    last = status;
    return WIFEXITED(last) ? WEXITSTATUS(last) : 1;
}

/* Orphans hold the writing end of `ended`, and wait for the end of `gate`. */
static int orphans(int count)
{
    int gate[2], ended[2];
    char byte;

    if (pipe2(gate, O_CLOEXEC) != 0 || pipe2(ended, O_CLOEXEC) != 0)
        return 1;
    pid_t middle = fork();
    if (middle == 0) {
        close(gate[1]);
        for (int i = 0; i < count; i++)
            if (fork() == 0)
                _exit((int)read(gate[0], &byte, 1));
        _exit(0);
    }
    waitpid(middle, NULL, 0);
    close(gate[0]);
    close(ended[1]);
    puts("there");
    fflush(stdout);
    if (read(STDIN_FILENO, &byte, 1) != 1)
        return 1;
    close(gate[1]);
    while (read(ended[0], &byte, 1) > 0)
        continue;
    puts("gone");
    fflush(stdout);
    return read(STDIN_FILENO, &byte, 1) >= 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    long long at = now_ns();
    const char *mode = argc > 1 ? argv[1] : "";

    if (strcmp(mode, "--init") == 0 && argc > 2)
        return limit_init(argv + 2);
    if (strcmp(mode, "--orphans") == 0 && argc == 3)
        return orphans(atoi(argv[2]));
    if (argc == 4 && strcmp(mode, "--restart") == 0)
        limit_restart(argv[2], atoi(argv[3]));
    else if (argc == 4 && strcmp(mode, "--start") == 0)
        limit_start(argv[2], atoi(argv[3]), false);
    else if (argc == 4 && strcmp(mode, "--captured") == 0)
        limit_start(argv[2], atoi(argv[3]), true);
    else if (argc == 2)
        append(argv[1], at, "up");
    while (argc == 2)
        pause();
    return 0;
}
