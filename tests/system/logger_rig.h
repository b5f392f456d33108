/* logger_rig.h - a handmade store around one logger, for tests and benches.
 *
 * Plays guardian and core: makes the shared memory and the pipes, starts the logger (this very
 * program with the argument "logger"), gives orders, kills.  Whatever fails ends the program with a
 * message.
 */
#ifndef TESTS_SYSTEM_LOGGER_RIG_H
#define TESTS_SYSTEM_LOGGER_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "supervisor/ledger/store.h"
#include "supervisor/ledger/streams.h"
#include "supervisor/logger/logger.h"

enum { RIG_WAIT_MS = 30000 };

struct rig {
    struct store store;
    struct streams *table;
    int channel; /* the guardian's end */
    pid_t logger;
};

#define RIG_NEED(what)                                                                             \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #what, strerror(errno));        \
            exit(2);                                                                               \
        }                                                                                          \
    } while (0)

static inline void rig_put(struct rig *rig, const char *name, int fd)
{
    struct err err = { 0 };
    RIG_NEED(fd >= 0 && store_put(&rig->store, name, fd, &err) == 0);
}

static inline void rig_init(struct rig *rig)
{
    struct err err = { 0 };
    int table = -1, hold[2];

    *rig = (struct rig){ .channel = -1 };
    store_init(&rig->store);
    RIG_NEED(streams_create(&table, &err) == 0);
    rig_put(rig, "streams", table);
    rig->table = streams_map(store_get(&rig->store, "streams"), &err);
    RIG_NEED(rig->table);
    RIG_NEED(pipe2(hold, O_CLOEXEC) == 0);
    rig_put(rig, "hold.r", hold[0]);
    rig_put(rig, "hold.w", hold[1]);
    rig_put(rig, "poke", eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    rig_put(rig, "poke.logger", eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

static inline int rig_fd(const struct rig *rig, const char *kind, size_t slot)
{
    char name[STORE_NAME_MAX];
    snprintf(name, sizeof name, "log.%zu.%s", slot, kind);
    return store_get(&rig->store, name);
}

/* A new stream; its write end is rig_fd(rig, "w", slot).  The logger must not run yet. */
static inline size_t rig_stream(struct rig *rig, const struct streams_settings *settings)
{
    char name[STORE_NAME_MAX];
    int ends[2];
    ssize_t slot = streams_vacant(rig->table);

    RIG_NEED(slot >= 0 && pipe2(ends, O_CLOEXEC) == 0);
    streams_claim(rig->table, (size_t)slot, settings);
    snprintf(name, sizeof name, "log.%zd.r", slot);
    rig_put(rig, name, ends[0]);
    snprintf(name, sizeof name, "log.%zd.w", slot);
    rig_put(rig, name, ends[1]);
    return (size_t)slot;
}

static inline bool rig_not_write_end(const char *name)
{
    size_t len = strlen(name);
    return strncmp(name, "log.", 4) != 0 || name[len - 1] != 'w';
}

/* The child: a store without the write ends, then the program again. */
static inline void rig_become_logger(struct rig *rig, int channel, bool traced)
{
    static char program[] = "/proc/self/exe", word[] = "logger";
    char *argv[] = { program, word, NULL };
    struct err err = { 0 };

    for (size_t i = 0; i < rig->store.count;)
        if (rig_not_write_end(rig->store.entries[i].name))
            i++;
        else
            store_drop(&rig->store, rig->store.entries[i].name);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (store_put(&rig->store, "channel", channel, &err) != 0)
        _exit(3);
    if (traced)
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    store_exec(&rig->store, program, argv, &err);
    fprintf(stderr, "exec: %s\n", err.text);
    _exit(3);
}

static inline void rig_start(struct rig *rig, bool traced)
{
    int pair[2];

    RIG_NEED(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    rig->logger = fork();
    RIG_NEED(rig->logger >= 0);
    if (rig->logger == 0) {
        close(pair[0]);
        rig_become_logger(rig, pair[1], traced);
    }
    close(pair[1]);
    rig->channel = pair[0];
}

/* Status of the logger, which has ended or will. */
static inline int rig_reap(struct rig *rig)
{
    int status = 0;
    while (waitpid(rig->logger, &status, 0) < 0)
        RIG_NEED(errno == EINTR);
    close(rig->channel);
    rig->channel = -1;
    rig->logger = 0;
    return status;
}

static inline void rig_kill(struct rig *rig)
{
    RIG_NEED(kill(rig->logger, SIGKILL) == 0);
    (void)rig_reap(rig);
}

static inline void rig_poke(struct rig *rig)
{
    uint64_t one = 1;
    RIG_NEED(write(store_get(&rig->store, "poke.logger"), &one, sizeof one) == sizeof one);
}

/* Waits until `ready` says so; looks at each poke of the logger. */
static inline void rig_wait(struct rig *rig, bool (*ready)(const struct rig *rig, void *context),
                            void *context)
{
    int64_t deadline_ms = clock_mono_ms() + RIG_WAIT_MS;
    struct pollfd poked = { .fd = store_get(&rig->store, "poke"), .events = POLLIN };
    uint64_t count;

    while (!ready(rig, context)) {
        RIG_NEED(clock_mono_ms() < deadline_ms);
        if (poll(&poked, 1, 1000) == 1)
            RIG_NEED(read(poked.fd, &count, sizeof count) == sizeof count);
    }
}

struct rig_drain {
    size_t slot;
    uint64_t order;
};
static inline bool rig_is_drained(const struct rig *rig, void *context)
{
    const struct rig_drain *drain = context;
    return streams_drained(rig->table, drain->slot, drain->order);
}

static inline void rig_drain(struct rig *rig, size_t slot)
{
    struct rig_drain drain = { slot, streams_order_drain(rig->table, slot) };
    rig_poke(rig);
    rig_wait(rig, rig_is_drained, &drain);
}

/* Orders to finish and checks that the logger leaves well. */
static inline void rig_finish(struct rig *rig)
{
    streams_order_finish(rig->table);
    rig_poke(rig);
    int status = rig_reap(rig);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "the logger left with status %x\n", (unsigned)status);
        exit(2);
    }
}

static inline void rig_done(struct rig *rig)
{
    streams_unmap(rig->table);
    store_done(&rig->store);
}

static inline struct streams_settings rig_settings(const char *folder, const char *name, int format,
                                                   int64_t maxbytes, int backups)
{
    struct streams_settings settings = {
        .output = "stdout",
        .maxbytes = maxbytes,
        .backups = backups,
        .format = format,
        .uid = (uint32_t)-1,
        .gid = (uint32_t)-1,
    };
    snprintf(settings.instance, sizeof settings.instance, "%s:0", name);
    snprintf(settings.path, sizeof settings.path, "%s/%s.log", folder, name);
    return settings;
}

#endif
