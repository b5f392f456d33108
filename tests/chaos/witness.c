/* witness.c - the service of the chaos tests: writes down what is to be remembered of it.
 *
 *     witness TABLE [twin] [fail]
 *
 * TABLE is a file in memory with one row per process that ever started: who it is, how many lines
 * it has written, how it ended.  A row is filled by stores, so it is right at any SIGKILL; only the
 * line in flight then may or may not have been written.  `twin`: two of an instance may live at a
 * time.  `fail`: ends at once.
 *
 * USR1: 20 numbered lines.  TERM: three more, exit 0.  USR2: exit 7.  HUP: dies of SIGALRM.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ROWS = 65535, ALIVE = -1, LINES = 20 };

struct row {
    char instance[40];
    int32_t pid;
    int32_t generation;
    uint32_t lines; /* written for certain */
    int32_t end;    /* exit code, 128 + signal, or ALIVE */
    int32_t second; /* another of this instance lived when it started */
    int32_t unused;
};
struct table {
    _Atomic uint64_t used;
    char unused[sizeof(struct row) - sizeof(uint64_t)];
    struct row rows[ROWS];
};

static struct table *map(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 || ftruncate(fd, sizeof(struct table)) < 0)
        exit(101);
    struct table *table = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (table == MAP_FAILED)
        exit(102);
    return table;
}

/* Held until death; the descriptor is not for children. */
static int somebody_else(const char *path, const char *instance)
{
    char lock[4096];
    snprintf(lock, sizeof(lock), "%s.%s", path, instance);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

static void tell_ready(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    if (!path)
        return;
    snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (*path == '@')
        name.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    while (sendto(fd, "READY=1", 7, 0, (struct sockaddr *)&name, len) < 0 && errno == EINTR)
        ;
    close(fd);
}

static void print(struct row *row, size_t index, int count)
{
    for (int i = 0; i < count; i++) {
        char text[64];
        int len = snprintf(text, sizeof(text), "%zu %u\n", index, row->lines + 1);
        while (write(1, text, (size_t)len) < 0) /* a line is less than a pipe takes at once */
            if (errno != EINTR)
                return;
        row->lines++;
    }
}

static void leave(struct row *row, int end)
{
    row->end = end;
    if (end > 128) {
        signal(end - 128, SIG_DFL);
        sigset_t none;
        sigemptyset(&none);
        raise(end - 128);
        sigprocmask(SIG_SETMASK, &none, NULL);
    }
    _exit(end);
}

int main(int argc, char **argv)
{
    const char *self = getenv("SUPERVISOR_INSTANCE");
    sigset_t signals;
    int twin = 0, fail = 0;
    if (argc < 2 || !self)
        return 100;
    for (int i = 2; i < argc; i++) {
        twin |= strcmp(argv[i], "twin") == 0;
        fail |= strcmp(argv[i], "fail") == 0;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, SIGUSR2);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    struct table *table = map(argv[1]);
    size_t index = atomic_fetch_add(&table->used, 1) % ROWS;
    struct row *row = &table->rows[index];
    const char *dot = strrchr(self, '.');
    snprintf(row->instance, sizeof(row->instance), "%.*s", (int)(dot - self), self);
    row->generation = atoi(dot + 1);
    row->end = ALIVE;
    row->second = !twin && somebody_else(argv[1], row->instance);
    row->pid = getpid();
    print(row, index, LINES);
    if (fail)
        leave(row, 5);
    tell_ready();
    for (;;) {
        int signum;
        if (sigwait(&signals, &signum) != 0)
            continue;
        if (signum == SIGUSR1)
            print(row, index, LINES);
        else if (signum == SIGUSR2)
            leave(row, 7);
        else if (signum == SIGHUP)
            leave(row, 128 + SIGALRM);
        print(row, index, signum == SIGTERM ? 3 : 0);
        if (signum == SIGTERM)
            leave(row, 0);
    }
}
