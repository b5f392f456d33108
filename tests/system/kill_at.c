/* kill_at.c - runs a program that is killed at its N-th system call.
 *
 *     kill_at N FILE PROGRAM ARGUMENTS...
 *
 * Only calls of the first thread count; what the program starts is left alone.  With N = 0, or more
 * than there are, it lives to its end.  FILE gets the number of calls that were seen, and the exit
 * code is the program's, or 128 and the signal.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static int start(char **command)
{
    int pid = fork();
    if (pid != 0)
        return pid;
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    execv(command[0], command);
    _exit(127);
}

static void write_down(const char *path, unsigned long seen)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return;
    fprintf(file, "%lu\n", seen);
    fclose(file);
}

/* Its wait status. */
static int follow(int pid, unsigned long last, unsigned long *seen)
{
    int status;
    bool inside = false;
    waitpid(pid, &status, 0);
    ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    for (long pass = 0;;) {
        if (ptrace(PTRACE_SYSCALL, pid, NULL, pass) < 0 && errno != ESRCH)
            return -1;
        while (waitpid(pid, &status, 0) < 0)
            if (errno != EINTR)
                return -1;
        if (!WIFSTOPPED(status))
            return status;
        pass = 0;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80))
            inside = !inside;
        else if (WSTOPSIG(status) != SIGTRAP) /* of the exec */
            pass = WSTOPSIG(status);
        if (WSTOPSIG(status) == (SIGTRAP | 0x80) && inside && ++*seen == last)
            kill(pid, SIGKILL); /* the call is not made any more */
    }
}

int main(int argc, char **argv)
{
    unsigned long seen = 0;
    if (argc < 4)
        return 2;
    int pid = start(argv + 3);
    int status = pid > 0 ? follow(pid, strtoul(argv[1], NULL, 10), &seen) : -1;
    write_down(argv[2], seen);
    if (status < 0)
        return 125;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
