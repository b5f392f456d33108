/* state.c - the contract is in state.h. */
#include "supervisor/guardian/state.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/child.h"
#include "supervisor/guardian/orders.h"
#include "supervisor/guardian/tree.h"
#include "supervisor/ledger/recorder.h"
#include "supervisor/ledger/streams.h"

enum {
    HOLD_BYTES = 1024 * 1024,
    LOCK_WAIT_MS = 10000, /* for core and logger of a dead guardian to leave */
    LOCK_RETRY_MS = 20,
};

/* Descriptors 0 to 2 may be closed; what we open must not take their place. */
static void open_standard_streams(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR); /* stays open, and across exec, when it is one of them */
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

static int watch_signals(struct state *state, struct err *err)
{
    sigset_t before;
    int fd = orders_listen(&before);
    if (fd < 0)
        return err_sys(err, -fd, "listening to signals");
    state->signals = fd;
    watch_set(&state->watch, STATE_SIGNALS, state->signals, EPOLLIN);
    return 0;
}

void state_init(struct state *state, const struct guardian_options *options)
{
    open_standard_streams();
    *state = (struct state){ .options = options,
                             .ledger = { .fd = -1 },
                             .outbox_retry_ms = -1,
                             .old_logger_kill_ms = -1,
                             .signals = -1,
                             .phase_due_ms = -1,
                             .nursery_due_ms = -1,
                             .sweep_due_ms = 0 };
    nursery_init(&state->nursery);
    store_init(&state->store);
    outbox_init(&state->outbox);
    role_init(&state->core, "core", ROLE_CORE_RECORD);
    role_init(&state->logger, "logger", ROLE_LOGGER_RECORD);
    state->epoll = -1;
    tree_become_reaper();
}

int state_listen(struct state *state, struct err *err)
{
    if (state->epoll < 0)
        state->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (state->epoll < 0)
        return err_sys(err, errno, "creating an event queue");
    watch_init(&state->watch, state->epoll);
    strangers_init(&state->strangers, state->epoll, STATE_STRANGER);
    return watch_signals(state, err);
}

/* The folder of the socket may not be there yet; in /tmp and the like it is for us alone. */
static void make_folder(const char *path)
{
    char folder[GUARDIAN_PATH_MAX], *slash;
    struct stat above;
    snprintf(folder, sizeof(folder), "%s", path);
    slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return;
    *slash = '\0';
    char parent[GUARDIAN_PATH_MAX];
    snprintf(parent, sizeof(parent), "%s", folder);
    slash = strrchr(parent, '/');
    if (slash)
        *slash = '\0';
    bool shared = slash && stat(*parent ? parent : "/", &above) == 0 && (above.st_mode & S_IWOTH);
    mkdir(folder, shared ? 0700 : 0755);
}

/* NULL when the socket has no place in the file system. */
static const char *ledger_path(const struct guardian_options *options,
                               char path[static GUARDIAN_PATH_MAX])
{
    int len = options->socket && *options->socket == '/'
                  ? snprintf(path, GUARDIAN_PATH_MAX, "%s.ledger", options->socket)
                  : -1;
    return len > 0 && len < GUARDIAN_PATH_MAX ? path : NULL;
}

static void keep_limits(struct ledger_header *header)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        header->nofile_soft = limit.rlim_cur;
        header->nofile_hard = limit.rlim_max;
    }
}

static void raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int name_guardian(struct state *state, struct err *err)
{
    struct ledger_header *header = state->ledger.header;
    atomic_store(&header->guardian_pid, getpid());
    header->guardian_start_time = child_start_time(getpid());
    while (ledger_used(&state->ledger) <= ROLE_LOGGER_RECORD) {
        bool first = state->ledger.used == ROLE_CORE_RECORD;
        ssize_t index = ledger_claim(&state->ledger, first ? LEDGER_CORE : LEDGER_LOGGER,
                                     first ? "core" : "logger", 0, err);
        if (index < 0)
            return (int)index;
    }
    int copy = fcntl(state->ledger.fd, F_DUPFD_CLOEXEC, STORE_INVENTORY_FD + 1);
    if (copy < 0)
        return err_sys(err, errno, "keeping the ledger");
    return store_put(&state->store, "ledger", copy, err);
}

/* The lock outlives a guardian in its core and logger: either the core is taking over just now, or
 * they are about to leave. */
static bool holder_is_dead(const char *place)
{
    struct ledger ledger;
    if (ledger_peek(place, &ledger, NULL) < 0)
        return false;
    pid_t pid = atomic_load(&ledger.header->guardian_pid);
    uint64_t start = ledger.header->guardian_start_time;
    ledger_unmap(&ledger);
    return pid > 0 && start > 0 && child_start_time(pid) != start;
}

static int create_ledger(struct state *state, const char *place, bool *ret_takeover,
                         struct err *err)
{
    int64_t until_ms = clock_mono_ms() + LOCK_WAIT_MS;
    for (;;) {
        int rc = ledger_create(place, &state->ledger, ret_takeover, err);
        if (rc != ERR_EXISTS || clock_mono_ms() >= until_ms || !holder_is_dead(place))
            return rc;
        poll(NULL, 0, LOCK_RETRY_MS);
    }
}

int state_open_ledger(struct state *state, bool *ret_takeover, struct err *err)
{
    char path[GUARDIAN_PATH_MAX];
    const char *place = ledger_path(state->options, path);
    if (place)
        make_folder(place);
    int rc = create_ledger(state, place, ret_takeover, err);
    if (rc < 0)
        return rc;
    keep_limits(state->ledger.header);
    raise_limits();
    /* Orders to the supervisor before us, in the same file, are not ours. */
    orders_forget(state->ledger.header);
    return name_guardian(state, err);
}

static int map_inherited(struct state *state, struct err *err)
{
    int fd = store_get(&state->store, "ledger");
    if (fd < 0)
        return err_set(err, ERR_NOT_FOUND, "there is none");
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, STORE_INVENTORY_FD + 1);
    if (copy < 0)
        return err_sys(err, errno, "copying its descriptor");
    return ledger_map_old(copy, &state->ledger, err); /* the core has left: it is ours alone */
}

int state_inherit_ledger(struct state *state, struct err *err)
{
    struct err why;
    raise_limits();
    int mapped = state->ledger.header ? 0 : map_inherited(state, &why);
    if (mapped == 0)
        return name_guardian(state, err);
    if (mapped != ERR_NOT_FOUND && mapped != ERR_CORRUPT)
        return err_set(err, why.code, "mapping the ledger: %s", why.text);
    /* Nobody may leave here: an empty one, and the core looks for what lives. */
    bool takeover;
    log_error("the inherited ledger cannot be used, starting an empty one", "reason", why.text,
              NULL);
    int rc = ledger_create(NULL, &state->ledger, &takeover, err);
    if (rc < 0)
        return rc;
    keep_limits(state->ledger.header);
    atomic_store(&state->ledger.header->rebuilt, 1);
    return name_guardian(state, err);
}

static int make_memory(struct store *store, const char *name, int (*create)(int *, struct err *),
                       struct err *err)
{
    int fd;
    if (store_get(store, name) >= 0)
        return 0;
    int rc = create(&fd, err);
    return rc < 0 ? rc : store_put(store, name, fd, err);
}

static int make_poke(struct store *store, const char *name, struct err *err)
{
    if (store_get(store, name) >= 0)
        return 0;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return err_sys(err, errno, "creating %s", name);
    return store_put(store, name, fd, err);
}

static int make_hold(struct store *store, struct err *err)
{
    int ends[2];
    if (store_get(store, "hold.r") >= 0 && store_get(store, "hold.w") >= 0)
        return 0;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_sys(err, errno, "creating the hold pipe");
    fcntl(ends[1], F_SETPIPE_SZ, HOLD_BYTES); /* where it may not be so large it is smaller */
    int rc = store_put(store, "hold.r", ends[0], err);
    int rc2 = store_put(store, "hold.w", ends[1], rc < 0 ? NULL : err);
    return rc < 0 ? rc : rc2;
}

int state_fill_store(struct state *state, struct err *err)
{
    struct store *store = &state->store;
    int rc = make_memory(store, "recorder", recorder_create, err);
    if (rc == 0)
        rc = make_memory(store, "streams", streams_create, err);
    if (rc == 0)
        rc = make_poke(store, "poke", err);
    if (rc == 0)
        rc = make_poke(store, "poke.logger", err);
    return rc < 0 ? rc : make_hold(store, err);
}

static void unlink_ledger(const struct state *state)
{
    char path[GUARDIAN_PATH_MAX];
    struct stat ours, there;
    const char *place = ledger_path(state->options, path);
    if (place && state->ledger.fd >= 0 && fstat(state->ledger.fd, &ours) == 0 &&
        stat(place, &there) == 0 && ours.st_ino == there.st_ino && ours.st_dev == there.st_dev)
        unlink(place);
}

void state_done(struct state *state, bool leave)
{
    if (leave)
        unlink_ledger(state);
    outbox_clear(&state->outbox);
    strangers_done(&state->strangers);
    store_done(&state->store);
    ledger_unmap(&state->ledger);
    if (state->core.channel >= 0)
        close(state->core.channel);
    if (state->logger.channel >= 0)
        close(state->logger.channel);
    if (state->signals >= 0)
        close(state->signals);
    if (state->epoll >= 0)
        close(state->epoll);
    free(state->upgrade);
}

void state_poke(const struct state *state)
{
    int fd = store_get(&state->store, "poke");
    uint64_t one = 1;
    /* A full counter is as good as one more. */
    if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
        return;
}
