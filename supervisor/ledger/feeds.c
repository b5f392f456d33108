/* feeds.c - the contract is in feeds.h. */
#include "supervisor/ledger/feeds.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"

static const char feeds_magic[8] = "SUPFEED1";

/* Free while `first` is 0, which is the last that is written and the first that is taken away. */
struct entry {
    _Atomic uint64_t number;
    _Atomic char first;
    char rest[FEEDS_NAME_MAX - 1];
};
struct table {
    char magic[8];
    struct entry entries[FEEDS_MAX];
};
struct feeds {
    struct table *table;
};

int feeds_create(int *ret_fd, struct err *err)
{
    AUTO_CLOSE int fd = memfd_create("supervisor-feeds", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, (off_t)sizeof(struct table)) != 0 ||
        pwrite(fd, feeds_magic, sizeof feeds_magic, 0) != sizeof feeds_magic)
        return err_sys(err, errno, "creating the table of event helpers");
    *ret_fd = take_fd(&fd);
    return 0;
}

struct feeds *feeds_map(int fd, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != sizeof(struct table)) {
        err_set(err, ERR_CORRUPT, "the table of event helpers has another size");
        return NULL;
    }
    struct feeds *feeds = malloc(sizeof *feeds);
    void *at = feeds ? mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                     : MAP_FAILED;
    if (at == MAP_FAILED) {
        err_sys(err, errno, "mapping the table of event helpers");
        free(feeds);
        return NULL;
    }
    feeds->table = at;
    if (memcmp(feeds->table->magic, feeds_magic, sizeof feeds_magic) == 0)
        return feeds;
    feeds_unmap(feeds);
    err_set(err, ERR_CORRUPT, "not a table of event helpers");
    return NULL;
}

void feeds_unmap(struct feeds *feeds)
{
    if (!feeds)
        return;
    munmap(feeds->table, sizeof(struct table));
    free(feeds);
}

static bool is_named(const struct entry *entry, const char *name)
{
    return atomic_load(&entry->first) == name[0] &&
           strncmp(entry->rest, name + 1, sizeof entry->rest) == 0;
}

static struct entry *find(const struct feeds *feeds, const char *name)
{
    for (size_t i = 0; name[0] && i < FEEDS_MAX; i++)
        if (is_named(&feeds->table->entries[i], name))
            return &feeds->table->entries[i];
    return NULL;
}

/* A free one, or the one that is furthest behind. */
static struct entry *room(struct feeds *feeds)
{
    struct entry *ret = &feeds->table->entries[0];

    for (size_t i = 0; i < FEEDS_MAX; i++) {
        struct entry *entry = &feeds->table->entries[i];
        if (!atomic_load(&entry->first))
            return entry;
        if (atomic_load(&entry->number) < atomic_load(&ret->number))
            ret = entry;
    }
    return ret;
}

uint64_t feeds_get(const struct feeds *feeds, const char *name)
{
    const struct entry *entry = find(feeds, name);

    return entry ? atomic_load(&entry->number) : 0;
}

int feeds_set(struct feeds *feeds, const char *name, uint64_t number, struct err *err)
{
    struct entry *entry = find(feeds, name);

    if (!name[0] || strlen(name) >= FEEDS_NAME_MAX)
        return err_set(err, ERR_INVALID, "the name of an event helper has 1 to %d letters",
                       FEEDS_NAME_MAX - 1);
    if (!entry) {
        entry = room(feeds);
        atomic_store(&entry->first, 0);
        atomic_store(&entry->number, 0);
        memset(entry->rest, 0, sizeof entry->rest);
        memcpy(entry->rest, name + 1, strlen(name) - 1);
        atomic_store(&entry->first, name[0]);
    }
    if (number > atomic_load(&entry->number))
        atomic_store(&entry->number, number);
    return 0;
}
