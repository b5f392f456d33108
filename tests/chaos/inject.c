/* inject.c - runs a supervisor whose chosen process fails, or dies, at a chosen system call.
 *
 *     inject SOCKET PROGRAM run ARGUMENTS...
 *
 * PROGRAM keeps this pid.  Each of its system calls, and those of everything it starts, stops in
 * the kernel (seccomp user notification) until a monitor beside it lets it go on; so nothing is
 * traced, and waiting and signals are as always.  The monitor knows who is who from the words that
 * they were executed with: guardian ("run", "guardian"), core, logger; `child` is a process that
 * one of these has cloned and that has not executed anything yet.  Everything else is left alone.
 *
 * The monitor answers lines at SOCKET, one connection at a time:
 *
 * - `arm ROLE CALL N ACT [TIMES]`: from now on; CALL is a number of the kernel's or "any", N counts
 *   from 1 (0 = only count), ACT is an errno, "kill" or "stop"; TIMES calls in a row fail (1; 0 =
 * all further ones).  One process of a role at a time is meant, the newest.
 *
 * - `seen`: answers how many calls were meant since then.
 *
 * - `off`: answers "seen N hit N:CALL:PID... calls CALL=N..."; among the calls only those are
 * counted that can fail there, and for an errno only these fail.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

enum { CALLS_MAX = 512, LINE_MAX_BYTES = 16384, HITS_MAX = 64, KILL = -1, STOP = -2 };
enum { FIRST_HIT_US = 3000 }; /* a sick machine is slow, too: short timers are due meanwhile */
enum role { GUARDIAN, CORE, LOGGER, CHILD, NROLES, OTHER = NROLES };

static const char *const role_names[NROLES] = { "guardian", "core", "logger", "child" };

/* Calls that never fail for want of something, or of which there are too many to be of use. */
static const int quiet_calls[] = { SYS_exit,          SYS_exit_group,  SYS_rt_sigreturn,
                                   SYS_futex,         SYS_sched_yield, SYS_restart_syscall,
                                   SYS_clock_gettime, SYS_getpid,      SYS_gettid,
                                   SYS_getppid,       SYS_nanosleep,   SYS_clock_nanosleep };

struct process {
    pid_t pid; /* 0 = none */
    int pidfd;
};

struct monitor {
    int notify, listener, client;
    struct process roles[NROLES];
    struct stat program;
    bool armed;
    enum role role;
    int call, act; /* call -1 = any */
    long first, times;
    long seen;
    unsigned counts[CALLS_MAX];
    char hits[LINE_MAX_BYTES];
    size_t hits_len;
    char line[256];
    size_t line_len;
};

static void die(const char *what)
{
    fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
    _exit(126);
}

/* --- who is who --- */

static ssize_t read_memory(pid_t pid, uint64_t at, void *to, size_t len)
{
    struct iovec local = { to, len }, remote = { (void *)(uintptr_t)at, len };
    return process_vm_readv(pid, &local, 1, &remote, 1, 0);
}

/* The text may end at the end of its page: never asks for more than the page has. */
static void read_text(pid_t pid, uint64_t at, char *to, size_t size)
{
    size_t left = 4096 - (at & 4095);
    ssize_t n = at ? read_memory(pid, at, to, left < size - 1 ? left : size - 1) : 0;
    to[n > 0 ? n : 0] = '\0';
}

static enum role role_of_word(const char *word)
{
    if (strcmp(word, "run") == 0)
        return GUARDIAN;
    for (enum role role = GUARDIAN; role <= LOGGER; role++)
        if (strcmp(word, role_names[role]) == 0)
            return role;
    return OTHER;
}

static void forget(struct process *process)
{
    if (process->pidfd >= 0)
        close(process->pidfd);
    *process = (struct process){ .pidfd = -1 };
}

static void learn(struct monitor *monitor, enum role role, pid_t pid)
{
    for (enum role other = GUARDIAN; other <= LOGGER; other++)
        if (monitor->roles[other].pid == pid) /* a core that becomes the guardian */
            forget(&monitor->roles[other]);
    forget(&monitor->roles[role]);
    monitor->roles[role] = (struct process){ pid, (int)syscall(SYS_pidfd_open, pid, 0) };
}

static void on_exec(struct monitor *monitor, const struct seccomp_notif *call)
{
    uint64_t words[2] = { 0 };
    char name[4096], word[32];
    pid_t pid = (pid_t)call->pid;
    if (read_memory(pid, call->data.args[1], words, sizeof(words)) < (ssize_t)sizeof(words))
        return;
    read_text(pid, words[0], name, sizeof(name));
    read_text(pid, words[1], word, sizeof(word));
    if (strstr(name, "supervisor") && role_of_word(word) != OTHER)
        learn(monitor, role_of_word(word), pid);
}

/* Threads of the core count as the core; so do clones of the program before their exec. */
static pid_t thread_group(pid_t tid)
{
    char path[64], line[128];
    pid_t group = tid;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "Tgid: %d", &group) == 1)
            break;
    if (file)
        fclose(file);
    return group;
}

static bool runs_program(const struct monitor *monitor, pid_t pid)
{
    char path[64];
    struct stat exe;
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    return stat(path, &exe) == 0 && exe.st_ino == monitor->program.st_ino &&
           exe.st_dev == monitor->program.st_dev;
}

static bool is_meant(const struct monitor *monitor, pid_t tid)
{
    const struct process *known = monitor->roles;
    if (monitor->role != CHILD && known[monitor->role].pid == tid)
        return true;
    for (enum role role = GUARDIAN; role <= LOGGER; role++)
        if (known[role].pid == tid)
            return false;
    if (monitor->role != CHILD)
        return known[monitor->role].pid == thread_group(tid);
    return thread_group(tid) == tid && runs_program(monitor, tid);
}

/* --- what happens to a call --- */

static void note_hit(struct monitor *monitor, const struct seccomp_notif *call)
{
    if (monitor->hits_len < sizeof(monitor->hits) - 64)
        monitor->hits_len += (size_t)snprintf(monitor->hits + monitor->hits_len, 64, " %ld:%d:%d",
                                              monitor->seen, call->data.nr, (int)call->pid);
}

/* Memory that looks like a file has no disk that could be full or broken. */
static bool may_fail(const struct seccomp_notif *call)
{
    static const int with_files[] = { SYS_read,   SYS_write,      SYS_readv,
                                      SYS_writev, SYS_pread64,    SYS_pwrite64,
                                      SYS_fstat,  SYS_newfstatat, SYS_ftruncate };
    bool has_file = false;
    for (size_t i = 0; i < sizeof(with_files) / sizeof(*with_files); i++)
        has_file |= with_files[i] == call->data.nr;
    if (!has_file || (int)call->data.args[0] < 0)
        return true;
    char path[64], to[64];
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)call->pid, (int)call->data.args[0]);
    ssize_t n = readlink(path, to, sizeof(to) - 1);
    to[n > 0 ? n : 0] = '\0';
    return n <= 0 || (to[0] == '/' && strncmp(to, "/memfd:", 7) != 0);
}

static void judge(struct monitor *monitor, const struct seccomp_notif *call,
                  struct seccomp_notif_resp *answer)
{
    if (!monitor->armed || !is_meant(monitor, (pid_t)call->pid))
        return;
    if (!may_fail(call)) {
        if (monitor->act > 0)
            return;
    } else if (call->data.nr < CALLS_MAX)
        monitor->counts[call->data.nr]++;
    if (monitor->call >= 0 && monitor->call != call->data.nr)
        return;
    monitor->seen++;
    if (monitor->first == 0 || monitor->seen < monitor->first ||
        (monitor->times > 0 && monitor->seen >= monitor->first + monitor->times))
        return;
    if (monitor->hits_len == 0)
        usleep(FIRST_HIT_US);
    note_hit(monitor, call);
    if (monitor->act == KILL || monitor->act == STOP) {
        kill(thread_group((pid_t)call->pid), monitor->act == KILL ? SIGKILL : SIGSTOP);
        return;
    }
    answer->flags = 0;
    answer->error = -monitor->act;
}

static void on_call(struct monitor *monitor)
{
    struct seccomp_notif call = { 0 };
    if (ioctl(monitor->notify, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0)
        return; /* it died, or was interrupted and will call again */
    struct seccomp_notif_resp answer = { .id = call.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
    judge(monitor, &call, &answer);
    if (call.data.nr == SYS_execve && answer.error == 0)
        on_exec(monitor, &call);
    ioctl(monitor->notify, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

/* --- orders --- */

static void reply(const struct monitor *monitor, const char *text)
{
    if (send(monitor->client, text, strlen(text), MSG_NOSIGNAL) < 0)
        return; /* the next poll tells */
}

static void report(struct monitor *monitor)
{
    char text[2 * LINE_MAX_BYTES];
    size_t len =
        (size_t)snprintf(text, sizeof(text), "seen %ld hit%s calls", monitor->seen, monitor->hits);
    for (int i = 0; i < CALLS_MAX && len < sizeof(text) - 64; i++)
        if (monitor->counts[i])
            len += (size_t)snprintf(text + len, 64, " %d=%u", i, monitor->counts[i]);
    snprintf(text + len, sizeof(text) - len, "\n");
    reply(monitor, text);
}

static void obey(struct monitor *monitor, const char *line)
{
    char role[16], call[16], act[16];
    long first, times = 1;
    if (strcmp(line, "off") == 0) {
        monitor->armed = false;
        report(monitor);
        return;
    }
    if (strcmp(line, "seen") == 0) {
        snprintf(call, sizeof(call), "%ld\n", monitor->seen);
        reply(monitor, call);
        return;
    }
    if (sscanf(line, "arm %15s %15s %ld %15s %ld", role, call, &first, act, &times) < 4) {
        reply(monitor, "what?\n");
        return;
    }
    monitor->role = strcmp(role, "child") == 0 ? CHILD : role_of_word(role);
    monitor->call = strcmp(call, "any") == 0 ? -1 : atoi(call);
    monitor->act = strcmp(act, "kill") == 0 ? KILL : strcmp(act, "stop") == 0 ? STOP : atoi(act);
    monitor->first = first;
    monitor->times = times;
    monitor->seen = 0;
    monitor->hits_len = 0;
    monitor->hits[0] = '\0';
    memset(monitor->counts, 0, sizeof(monitor->counts));
    monitor->armed = true;
    reply(monitor, "armed\n");
}

static void on_client(struct monitor *monitor)
{
    ssize_t n = read(monitor->client, monitor->line + monitor->line_len,
                     sizeof(monitor->line) - 1 - monitor->line_len);
    if (n <= 0) {
        close(monitor->client);
        monitor->client = -1;
        monitor->armed = false;
        return;
    }
    monitor->line_len += (size_t)n;
    monitor->line[monitor->line_len] = '\0';
    char *end;
    while ((end = strchr(monitor->line, '\n'))) {
        *end = '\0';
        obey(monitor, monitor->line);
        monitor->line_len -= (size_t)(end + 1 - monitor->line);
        memmove(monitor->line, end + 1, monitor->line_len + 1);
    }
}

static void on_listener(struct monitor *monitor)
{
    if (monitor->client >= 0)
        close(monitor->client);
    monitor->line_len = 0;
    monitor->client = accept4(monitor->listener, NULL, NULL, SOCK_CLOEXEC);
}

/* Until nobody is left whose calls could come. */
static void watch(struct monitor *monitor)
{
    for (;;) {
        struct pollfd fds[3 + NROLES] = { { monitor->notify, POLLIN, 0 },
                                          { monitor->listener, POLLIN, 0 },
                                          { monitor->client, POLLIN, 0 } };
        for (int i = 0; i < NROLES; i++)
            fds[3 + i] = (struct pollfd){ monitor->roles[i].pidfd, POLLIN, 0 };
        if (poll(fds, 3 + NROLES, -1) < 0 && errno != EINTR)
            _exit(1);
        for (int i = 0; i < NROLES; i++)
            if (fds[3 + i].revents)
                forget(&monitor->roles[i]);
        if (fds[2].revents)
            on_client(monitor);
        if (fds[1].revents)
            on_listener(monitor);
        if (fds[0].revents & POLLIN)
            on_call(monitor);
        else if (fds[0].revents)
            _exit(0);
    }
}

/* --- set-up --- */

static int listen_at(const char *path)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0 || listen(fd, 4) < 0)
        die(path);
    return fd;
}

static int install(void)
{
    struct sock_filter code[2 * sizeof(quiet_calls) / sizeof(*quiet_calls) + 4];
    unsigned short n = 0;
    code[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < sizeof(quiet_calls) / sizeof(*quiet_calls); i++) {
        code[n++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)quiet_calls[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_fprog filter = { n, code };
    if (geteuid() != 0)
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                        &filter);
}

/* Beside the program, not below it: a grandchild that was let go.  It takes the filter's descriptor
 * out of the program, whose own calls already stop. */
static void monitor_main(pid_t program, const char *path, const char *binary, volatile int *shared)
{
    struct monitor monitor = { .client = -1 };
    for (int i = 0; i < NROLES; i++)
        monitor.roles[i].pidfd = -1;
    setsid();
    signal(SIGPIPE, SIG_IGN);
    if (stat(binary, &monitor.program) < 0)
        die(binary);
    monitor.listener = listen_at(path);
    int pidfd = (int)syscall(SYS_pidfd_open, program, 0);
    while (shared[0] == 0)
        usleep(100);
    monitor.notify = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, shared[0], 0);
    shared[1] = monitor.notify < 0 ? -1 : 1;
    if (monitor.notify < 0)
        die("taking the filter's descriptor");
    close(pidfd);
    watch(&monitor);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: inject SOCKET PROGRAM run ARGUMENTS...\n");
        return 2;
    }
    volatile int *shared =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t program = getpid();
    if (shared == MAP_FAILED)
        die("mmap");
    pid_t first = fork();
    if (first == 0) {
        if (fork() == 0)
            monitor_main(program, argv[1], argv[2], shared);
        _exit(0);
    }
    if (first < 0)
        die("fork");
    while (waitpid(first, NULL, 0) < 0 && errno == EINTR)
        ;
    int fd = install();
    if (fd < 0)
        die("seccomp");
    shared[0] = fd;
    while (shared[1] == 0) /* no system calls: nobody lets them go on yet */
        __builtin_ia32_pause();
    if (shared[1] < 0)
        _exit(126);
    close(fd);
    execv(argv[2], argv + 2);
    die(argv[2]);
}
