/* core_store.c - the contracts are in core_store.h and core.h. */
#include "supervisor/core/core_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"

enum { SEND_TIMEOUT_MS = 5000, PUT_AGAIN_MS = 200 };

struct core_store {
    struct core *core;
    struct loop_timer *timer;
    uint32_t lost; /* the ledger's number when all was put again */
};

int core_keep(struct core *core, const char *name, int fd, struct err *err)
{
    int rc = store_send(core->channel, STORE_PUT, name, fd, SEND_TIMEOUT_MS, err);

    if (rc != 0) {
        close(fd);
        return err_wrap(err, "handing %s to the guardian", name);
    }
    return store_put(&core->store, name, fd, err);
}

void core_drop(struct core *core, const char *name)
{
    struct err err = { 0 };

    if (store_get(&core->store, name) < 0)
        return;
    if (store_send(core->channel, STORE_DROP, name, -1, SEND_TIMEOUT_MS, &err) != 0)
        log_warn("the guardian keeps what we dropped", "name", name, "error", err.text, NULL);
    store_drop(&core->store, name);
}

void core_wake_logger(const struct core *core)
{
    const uint64_t one = 1;

    if (core->poke_logger >= 0 && write(core->poke_logger, &one, sizeof one) < 0 && errno != EAGAIN)
        log_warn("cannot wake the logger", "error", strerror(errno), NULL);
}

int core_memory(const char *name, const void *data, size_t len, int *ret_fd, struct err *err)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const char *at = data;

    if (fd < 0)
        return err_sys(err, errno, "making memory for %s", name);
    while (len > 0) {
        ssize_t put = write(fd, at, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            int saved = errno;
            close(fd);
            return err_sys(err, saved, "filling memory for %s", name);
        }
        at += put;
        len -= (size_t)put;
    }
    (void)fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    *ret_fd = fd;
    return 0;
}

/* Made by the guardian itself. */
static bool is_guardians(const char *name)
{
    static const char *const names[] = { "ledger",      "recorder", "streams", "poke",
                                         "poke.logger", "hold.r",   "hold.w" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* The guardian could not keep something of ours: a core after us would miss it. */
static void put_again(void *context)
{
    struct core_store *again = context;
    struct core *core = again->core;
    uint32_t lost = core->ledger.header->store_lost;
    struct err err = { 0 };

    for (size_t i = 0; i < core->store.count; i++) {
        const struct store_entry *entry = &core->store.entries[i];

        if (is_guardians(entry->name))
            continue;
        if (store_send(core->channel, STORE_PUT, entry->name, entry->fd, 0, &err) != 0) {
            loop_timer_arm(again->timer, PUT_AGAIN_MS);
            return;
        }
    }
    again->lost = lost;
}

struct core_store *core_store_new(struct core *core)
{
    struct core_store *again = calloc(1, sizeof *again);

    if (!again)
        return NULL;
    again->core = core;
    again->lost = core->ledger.header->store_lost;
    again->timer = loop_timer_new(core->loop, put_again, again);
    if (!again->timer) {
        free(again);
        return NULL;
    }
    return again;
}

void core_store_free(struct core_store *again)
{
    if (!again)
        return;
    loop_timer_free(again->timer);
    free(again);
}

void core_store_look(struct core_store *again)
{
    if (again->core->ledger.header->store_lost != again->lost && !loop_timer_armed(again->timer))
        loop_timer_arm(again->timer, PUT_AGAIN_MS);
}

/* --- what the first core makes --- */

/* The first core makes it; a guardian of an older version needs to know nothing of it. */
static void open_history(struct core *core)
{
    struct err err = { 0 };
    int fd = store_get(&core->store, "history");

    core->history = fd >= 0 ? history_map(fd, &err) : NULL;
    if (core->history)
        return;
    int rc = history_create(&fd, &err);
    if (rc == 0)
        rc = core_keep(core, "history", fd, &err);
    if (rc == 0)
        core->history = history_map(store_get(&core->store, "history"), &err);
    if (!core->history)
        log_warn("no history, why knows what the recorder has", "error", err.text, NULL);
}

/* Likewise. */
static void open_feeds(struct core *core)
{
    struct err err = { 0 };
    int fd = store_get(&core->store, "feeds");

    core->feeds = fd >= 0 ? feeds_map(fd, &err) : NULL;
    if (core->feeds)
        return;
    int rc = feeds_create(&fd, &err);
    if (rc == 0)
        rc = core_keep(core, "feeds", fd, &err);
    if (rc == 0)
        core->feeds = feeds_map(store_get(&core->store, "feeds"), &err);
    if (!core->feeds)
        log_warn("event helpers begin from the start when they are restarted", "error", err.text,
                 NULL);
}

void core_store_open(struct core *core)
{
    open_history(core);
    open_feeds(core);
}
