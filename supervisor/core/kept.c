/* kept.c - the contract is in kept.h.
 *
 * Names in the store: kept.INSTANCE.NUMBERp.NAME, or ...n.NAME for those that are not polled.
 */
#include "supervisor/core/kept.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

enum { NUMBER_DIGITS = 9, PREFIX_MAX = 192, GONE_AT_ONCE = 16 };
static const char default_name[] = "stored";

/* The descriptors belong to services: libuv would make them non-blocking, so they are watched
 * through an epoll of our own, with no event asked for but what cannot be masked. */
struct kept {
    struct core *core;
    int epoll;
    struct loop_watch *watch;
};

/* --- in the store --- */

static void make_prefix(char prefix[static PREFIX_MAX], const char *instance)
{
    snprintf(prefix, PREFIX_MAX, "kept.%s.", instance);
}

/* The entries are sorted: those of one instance stand together.  The first, and how many. */
static size_t find(const struct store *store, const char *prefix, size_t *ret_count)
{
    size_t low = 0, high = store->count, len = strlen(prefix);

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(store->entries[middle].name, prefix) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_count = 0;
    while (low + *ret_count < store->count &&
           strncmp(store->entries[low + *ret_count].name, prefix, len) == 0)
        ++*ret_count;
    return low;
}

static const char *name_of(const struct store_entry *entry, const char *prefix)
{
    const char *dot = strchr(entry->name + strlen(prefix), '.');

    return dot ? dot + 1 : default_name;
}

static bool is_polled(const char *entry_name)
{
    const char *name = strncmp(entry_name, "kept.", 5) == 0 ? strchr(entry_name, ':') : NULL;
    const char *dot = name ? strchr(name, '.') : NULL;

    return dot && strlen(dot) > NUMBER_DIGITS + 1 && dot[NUMBER_DIGITS + 1] == 'p';
}

static bool same_file(int a, int b)
{
    pid_t us = getpid();

    return syscall(SYS_kcmp, us, us, KCMP_FILE, (unsigned long)a, (unsigned long)b) == 0;
}

/* --- watching --- */

static void follow(struct kept *kept, int fd)
{
    struct epoll_event event = { .events = 0, .data.fd = fd };

    /* EPERM: a file that never hangs up. */
    if (epoll_ctl(kept->epoll, EPOLL_CTL_ADD, fd, &event) != 0 && errno != EPERM)
        log_warn("cannot watch a kept descriptor", "error", strerror(errno), NULL);
}

static void let_go(struct kept *kept, const char *entry_name)
{
    char name[STORE_NAME_MAX];

    snprintf(name, sizeof name, "%s", entry_name);
    /* Before it is closed: others hold the same file, so the kernel would go on telling. */
    epoll_ctl(kept->epoll, EPOLL_CTL_DEL, store_get(&kept->core->store, name), NULL);
    core_drop(kept->core, name);
}

static void on_gone(struct kept *kept, int fd)
{
    const struct store *store = &kept->core->store;

    for (size_t i = 0; i < store->count; i++) {
        if (store->entries[i].fd != fd || !is_polled(store->entries[i].name))
            continue;
        log_debug("a kept descriptor has hung up", "name", store->entries[i].name, NULL);
        let_go(kept, store->entries[i].name);
        return;
    }
    epoll_ctl(kept->epoll, EPOLL_CTL_DEL, fd, NULL);
}

static void on_events(void *context, unsigned events)
{
    struct kept *kept = context;
    struct epoll_event gone[GONE_AT_ONCE];
    int count = epoll_wait(kept->epoll, gone, GONE_AT_ONCE, 0);

    (void)events;
    for (int i = 0; i < count; i++)
        on_gone(kept, gone[i].data.fd);
}

struct kept *kept_new(struct core *core, struct err *err)
{
    struct kept *kept = calloc(1, sizeof *kept);

    if (!kept) {
        err_set(err, ERR_MEMORY, "no memory for kept descriptors");
        return NULL;
    }
    kept->core = core;
    kept->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (kept->epoll < 0)
        err_sys(err, errno, "watching kept descriptors");
    else
        kept->watch = loop_watch_new(core->loop, kept->epoll, on_events, kept, err);
    if (!kept->watch) {
        kept_free(kept);
        return NULL;
    }
    loop_watch_set(kept->watch, LOOP_READ);
    for (size_t i = 0; i < core->store.count; i++)
        if (is_polled(core->store.entries[i].name))
            follow(kept, core->store.entries[i].fd);
    return kept;
}

void kept_free(struct kept *kept)
{
    if (!kept)
        return;
    loop_watch_free(kept->watch);
    if (kept->epoll >= 0)
        close(kept->epoll);
    free(kept);
}

/* --- what services ask for --- */

struct place {
    size_t count, name_bytes;
    unsigned next;
    bool there;
};

static struct place look(const struct store *store, const char *prefix, int fd)
{
    struct place place = { 0 };
    size_t count, first = find(store, prefix, &count);

    place.count = count;
    for (size_t i = first; i < first + count; i++) {
        place.name_bytes += strlen(name_of(&store->entries[i], prefix)) + 1;
        place.next = (unsigned)strtoul(store->entries[i].name + strlen(prefix), NULL, 10) + 1;
        place.there |= same_file(store->entries[i].fd, fd);
    }
    return place;
}

/* True when it was taken over, or is there already. */
static bool put_one(struct kept *kept, const char *instance, const char *name, bool polled,
                    int64_t most, int *fd)
{
    char prefix[PREFIX_MAX], entry[STORE_NAME_MAX];
    struct err err = { 0 };

    make_prefix(prefix, instance);
    struct place place = look(&kept->core->store, prefix, *fd);
    if (place.there)
        return true;
    if ((int64_t)place.count >= most || place.name_bytes + strlen(name) + 1 > KEPT_NAMES_MAX)
        return false;
    snprintf(entry, sizeof entry, "%s%0*u%c.%s", prefix, NUMBER_DIGITS, place.next,
             polled ? 'p' : 'n', name);
    int rc = core_keep(kept->core, entry, *fd, &err); /* which takes it over in every case */
    *fd = -1;
    if (rc != 0)
        log_error("cannot keep a descriptor", "instance", instance, "error", err.text, NULL);
    else if (polled)
        follow(kept, store_get(&kept->core->store, entry));
    return rc == 0;
}

size_t kept_put(struct kept *kept, const char *instance, const char *name, bool polled,
                int64_t most, int *fds, size_t nfds)
{
    size_t refused = 0;

    for (size_t i = 0; i < nfds; i++)
        refused += !put_one(kept, instance, *name ? name : default_name, polled, most, &fds[i]);
    return refused;
}

void kept_remove(struct kept *kept, const char *instance, const char *name)
{
    const struct store *store = &kept->core->store;
    char prefix[PREFIX_MAX];
    size_t count;

    make_prefix(prefix, instance);
    size_t first = find(store, prefix, &count);
    for (size_t i = first + count; i > first; i--)
        if (!name || strcmp(name_of(&store->entries[i - 1], prefix), name) == 0)
            let_go(kept, store->entries[i - 1].name);
}

size_t kept_count(const struct core *core, const char *instance)
{
    char prefix[PREFIX_MAX];
    size_t count;

    make_prefix(prefix, instance);
    find(&core->store, prefix, &count);
    return count;
}

size_t kept_of(const struct core *core, const char *instance, int *fds, size_t max,
               struct buf *names)
{
    char prefix[PREFIX_MAX];
    size_t count;

    make_prefix(prefix, instance);
    size_t first = find(&core->store, prefix, &count);
    count = count < max ? count : max;
    for (size_t i = 0; i < count; i++) {
        const struct store_entry *entry = &core->store.entries[first + i];

        fds[i] = entry->fd;
        buf_printf(names, "%s%s", names->len ? ":" : "", name_of(entry, prefix));
    }
    return count;
}
