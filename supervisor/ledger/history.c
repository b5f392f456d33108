/* history.c - the contract is in history.h.
 *
 * A page holds two halves: records are put behind each other in one, and when it is full the other
 * one is emptied and taken; so what is there is always between one half and all of the page.  A
 * record counts when the length of its half is stored, which is the last thing that is done.
 */
#include "supervisor/ledger/history.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"

static const char history_magic[8] = "SUPHIST";
enum { VERSION_NUMBER = 1, PAGE_BYTES = 4096, HALF_BYTES = 1816, MINUTE_S = 60, HOUR_S = 3600 };

/* Where a half stands; its bytes lie elsewhere. */
struct halves {
    _Atomic uint32_t len[2];
    _Atomic uint32_t active;
    uint32_t unused;
};
/* Before each text. */
struct head {
    uint64_t number;
    uint32_t len;
};

struct page {
    char name[HISTORY_NAME_MAX];
    int64_t minute, hour; /* that the last elements are of */
    uint16_t minutes[HISTORY_MINUTES], hours[HISTORY_HOURS];
    struct halves halves;
    unsigned char bytes[2][HALF_BYTES];
    unsigned char unused[PAGE_BYTES - HISTORY_NAME_MAX - 16 - 2 * HISTORY_MINUTES -
                         2 * HISTORY_HOURS - 16 - 2 * HALF_BYTES];
};
_Static_assert(sizeof(struct page) == PAGE_BYTES, "one page of memory each");

struct table {
    _Alignas(PAGE_BYTES) char magic[8];
    uint32_t version;
    _Atomic uint32_t used; /* pages below this one may be taken */
    uint64_t clock;        /* grows with each record */
    struct halves orders;
    _Alignas(64) uint64_t hash[HISTORY_PAGES]; /* of the name, 0 = free; close together */
    uint64_t touched[HISTORY_PAGES];           /* clock of the last record */
    _Alignas(PAGE_BYTES) unsigned char order_bytes[2][HISTORY_ORDERS_BYTES];
    _Alignas(PAGE_BYTES) struct page pages[HISTORY_PAGES];
};

struct history {
    struct table *table;
};

int history_create(int *ret_fd, struct err *err)
{
    AUTO_CLOSE int fd = memfd_create("supervisor-history", MFD_CLOEXEC);
    struct {
        char magic[8];
        uint32_t version;
    } head = { .version = VERSION_NUMBER };

    memcpy(head.magic, history_magic, sizeof head.magic);
    if (fd < 0 || ftruncate(fd, (off_t)sizeof(struct table)) != 0 ||
        pwrite(fd, &head, sizeof head.magic + sizeof head.version, 0) < 0)
        return err_sys(err, errno, "creating the history");
    *ret_fd = take_fd(&fd);
    return 0;
}

struct history *history_map(int fd, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != sizeof(struct table)) {
        err_set(err, ERR_CORRUPT, "the history has another size than this version's");
        return NULL;
    }
    struct history *history = malloc(sizeof *history);
    void *at = history ? mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                       : MAP_FAILED;
    if (at == MAP_FAILED) {
        err_sys(err, errno, "mapping the history");
        free(history);
        return NULL;
    }
    history->table = at;
    if (memcmp(history->table->magic, history_magic, sizeof history_magic) == 0 &&
        history->table->version == VERSION_NUMBER)
        return history;
    history_unmap(history);
    err_set(err, ERR_CORRUPT, "not a history of version %d", VERSION_NUMBER);
    return NULL;
}

void history_unmap(struct history *history)
{
    if (!history)
        return;
    munmap(history->table, sizeof(struct table));
    free(history);
}

/* --- the two halves --- */

static void put(struct halves *halves, unsigned char *bytes, size_t half, uint64_t number,
                const char *text, size_t len)
{
    struct head head = { .number = number, .len = (uint32_t)len };
    uint32_t active = atomic_load(&halves->active) & 1;
    size_t used = atomic_load(&halves->len[active]), need = sizeof head + len;

    if (need > half)
        return;
    if (used > half || used + need > half) {
        active ^= 1;
        used = 0;
        atomic_store(&halves->len[active], 0);
        atomic_store(&halves->active, active);
    }
    unsigned char *to = bytes + active * half + used;
    memcpy(to, &head, sizeof head);
    memcpy(to + sizeof head, text, len);
    atomic_store(&halves->len[active], (uint32_t)(used + need));
}

static void read_half(const unsigned char *bytes, size_t len,
                      void (*fn)(void *context, uint64_t number, const char *text, size_t len),
                      void *context)
{
    struct head head;

    for (size_t at = 0; at + sizeof head <= len;) {
        memcpy(&head, bytes + at, sizeof head);
        at += sizeof head;
        if (head.len > len - at)
            return;
        fn(context, head.number, (const char *)bytes + at, head.len);
        at += head.len;
    }
}

static void read_both(const struct halves *halves, const unsigned char *bytes, size_t half,
                      void (*fn)(void *context, uint64_t number, const char *text, size_t len),
                      void *context)
{
    uint32_t active = atomic_load(&halves->active) & 1;

    for (uint32_t i = 0; i < 2; i++) {
        uint32_t which = active ^ 1 ^ i;
        size_t len = atomic_load(&halves->len[which]);
        read_half(bytes + which * half, len <= half ? len : 0, fn, context);
    }
}

/* --- pages --- */

static uint64_t hash_of(const char *name)
{
    uint64_t hash = 14695981039346656037u;

    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 1099511628211u;
    return hash ? hash : 1;
}

static size_t used_pages(const struct table *table)
{
    size_t used = atomic_load(&table->used);
    return used < HISTORY_PAGES ? used : HISTORY_PAGES;
}

static ssize_t find(const struct table *table, const char *name)
{
    uint64_t hash = hash_of(name);

    for (size_t i = 0; i < used_pages(table); i++)
        if (table->hash[i] == hash && strncmp(table->pages[i].name, name, HISTORY_NAME_MAX) == 0)
            return (ssize_t)i;
    return -1;
}

static size_t quietest(const struct table *table)
{
    size_t found = 0;

    for (size_t i = 1; i < HISTORY_PAGES; i++)
        if (table->touched[i] < table->touched[found])
            found = i;
    return found;
}

static struct page *claim(struct table *table, const char *name)
{
    ssize_t found = find(table, name);
    if (found >= 0)
        return &table->pages[found];
    size_t used = used_pages(table), i = used < HISTORY_PAGES ? used : quietest(table);
    table->hash[i] = 0; /* nobody's while it changes hands */
    atomic_thread_fence(memory_order_seq_cst);
    memset(&table->pages[i], 0, sizeof table->pages[i]);
    memcpy(table->pages[i].name, name, strnlen(name, HISTORY_NAME_MAX - 1));
    atomic_thread_fence(memory_order_seq_cst);
    table->hash[i] = hash_of(name);
    if (i == used)
        atomic_store(&table->used, (uint32_t)used + 1);
    return &table->pages[i];
}

/* Moves a window of counts so that it ends with `now`. */
static void shift(uint16_t *counts, size_t size, int64_t *last, int64_t now)
{
    int64_t by = now - *last;

    if (by == 0)
        return;
    *last = now;
    if (by < 0) /* the clock was put back: what was counted counts as now */
        return;
    size_t gone = by < (int64_t)size ? (size_t)by : size;
    memmove(counts, counts + gone, (size - gone) * sizeof *counts);
    memset(counts + size - gone, 0, gone * sizeof *counts);
}

static void count_end(struct page *page, int64_t wall_s)
{
    shift(page->minutes, HISTORY_MINUTES, &page->minute, wall_s / MINUTE_S);
    shift(page->hours, HISTORY_HOURS, &page->hour, wall_s / HOUR_S);
    uint16_t *now[] = { &page->minutes[HISTORY_MINUTES - 1], &page->hours[HISTORY_HOURS - 1] };
    for (size_t i = 0; i < 2; i++)
        *now[i] += *now[i] < UINT16_MAX;
}

void history_add(struct history *history, const char *instance, bool end, int64_t wall_s,
                 uint64_t number, const char *text, size_t len)
{
    struct table *table = history->table;

    if (!instance) {
        put(&table->orders, table->order_bytes[0], HISTORY_ORDERS_BYTES, number, text, len);
        return;
    }
    struct page *page = claim(table, instance);
    table->touched[page - table->pages] = ++table->clock;
    if (end)
        count_end(page, wall_s);
    put(&page->halves, page->bytes[0], HALF_BYTES, number, text, len);
}

void history_read(const struct history *history, const char *instance,
                  void (*fn)(void *context, uint64_t number, const char *text, size_t len),
                  void *context)
{
    const struct table *table = history->table;
    ssize_t found = instance ? find(table, instance) : -1;

    if (!instance)
        read_both(&table->orders, table->order_bytes[0], HISTORY_ORDERS_BYTES, fn, context);
    else if (found >= 0)
        read_both(&table->pages[found].halves, table->pages[found].bytes[0], HALF_BYTES, fn,
                  context);
}

void history_counts(const struct history *history, const char *instance, int64_t wall_s,
                    struct history_counts *ret)
{
    ssize_t found = find(history->table, instance);

    *ret = (struct history_counts){ 0 };
    if (found < 0)
        return;
    const struct page *page = &history->table->pages[found];
    int64_t minute = page->minute, hour = page->hour;
    memcpy(ret->minutes, page->minutes, sizeof ret->minutes);
    memcpy(ret->hours, page->hours, sizeof ret->hours);
    shift(ret->minutes, HISTORY_MINUTES, &minute, wall_s / MINUTE_S);
    shift(ret->hours, HISTORY_HOURS, &hour, wall_s / HOUR_S);
}
