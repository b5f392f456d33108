/* streams.c - the contract is in streams.h.
 *
 * The table is one sparse memfd: header, one cache line of control words per slot, the marks, two
 * sets of settings, and the spill areas (only the logger touches those, by pread and pwrite).  What
 * is swept often lies close together, what is read rarely apart from it.
 */
#include "supervisor/ledger/streams.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic_text[8] = "SUPSTRM";
enum { VERSION_NUMBER = 4, READ_TRIES = 1000 };

struct header {
    char magic[8];
    uint32_t version, slots;
    uint64_t bytes;              /* of the whole memfd; another layout has another size */
    _Atomic uint32_t used;       /* core */
    _Atomic uint32_t reopens;    /* core */
    _Atomic uint32_t finishing;  /* core */
    _Atomic uint32_t troubles;   /* logger */
    _Atomic uint64_t hold_owner; /* logger; slot + 1, 0 = nobody */
};

struct control {
    _Atomic uint32_t state;
    _Atomic int32_t error;
    _Atomic uint64_t settings; /* sequence; its lowest bit says which copy counts */
    _Atomic uint64_t ordered, drained;
    _Atomic uint64_t
        mark; /* sequence << 1 | draining; the sequence's lowest bit: which one counts */
    _Atomic uint64_t told_lost; /* core */
    _Atomic int32_t told_error; /* core */
    _Atomic uint32_t found;     /* logger; id of a watch */
    _Atomic uint64_t watch;     /* sequence, as of settings */
};
_Static_assert(sizeof(struct control) == 64, "one cache line per slot");

struct scans {
    _Atomic uint64_t sequence; /* its lowest bit says which one counts */
    struct streams_scan copies[2];
};

/* Settings as they are kept: their texts in a row, each with its end.  Most are short: what does
 * not fit in here goes on in a place apart, so that a slot takes no more memory than it needs. */
enum {
    TEXTS_MAX = STREAMS_NAME_MAX + STREAMS_OUTPUT_MAX + STREAMS_PATH_MAX,
    TEXTS_NEAR = 146,
};
struct kept {
    int64_t maxbytes, maxage_s;
    int32_t backups;
    uint32_t uid, gid;
    uint8_t format, overflow, compress;
    char texts[TEXTS_NEAR]; /* instance, output, and of path what fits */
};
_Static_assert(STREAMS_NAME_MAX + STREAMS_OUTPUT_MAX <= TEXTS_NEAR, "a name is found in one place");

struct table {
    _Alignas(4096) struct header header;
    _Alignas(4096) struct control control[STREAMS_SLOTS];
    _Alignas(4096) struct streams_mark marks[STREAMS_SLOTS][2];
    _Alignas(4096) struct kept settings[2][STREAMS_SLOTS];
    _Alignas(4096) _Atomic uint64_t found_bits[STREAMS_SLOTS / 64];
    _Alignas(4096) struct scans scans[STREAMS_SLOTS];
    _Alignas(4096) struct streams_watch watches[STREAMS_SLOTS][2];
    _Alignas(4096) char texts_far[2][STREAMS_SLOTS][TEXTS_MAX - TEXTS_NEAR];
};

struct streams {
    struct table *table;
    int fd; /* borrowed */
};

static const uint64_t spill_slot = (uint64_t)STREAMS_BATCH_MAX * STREAMS_SPILL_AREAS;
static const uint64_t total_bytes =
    sizeof(struct table) + (uint64_t)STREAMS_SLOTS * STREAMS_BATCH_MAX * STREAMS_SPILL_AREAS;

int streams_create(int *ret_fd, struct err *err)
{
    int fd = memfd_create("streams", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return err_sys(err, errno, "making the table of streams");
    struct header header = { .version = VERSION_NUMBER,
                             .slots = STREAMS_SLOTS,
                             .bytes = total_bytes };
    memcpy(header.magic, magic_text, sizeof magic_text);
    if (ftruncate(fd, (off_t)total_bytes) != 0 ||
        pwrite(fd, &header, sizeof header, 0) != (ssize_t)sizeof header ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
        int sys = errno;
        close(fd);
        return err_sys(err, sys, "making the table of streams");
    }
    *ret_fd = fd;
    return 0;
}

static int check_header(const struct header *header, struct err *err)
{
    if (memcmp(header->magic, magic_text, sizeof magic_text) != 0)
        return err_set(err, ERR_CORRUPT, "this is not a table of streams");
    if (header->version != VERSION_NUMBER || header->slots != STREAMS_SLOTS ||
        header->bytes != total_bytes)
        return err_set(err, ERR_CORRUPT, "table of streams is of another version (%u, we know %u)",
                       header->version, (unsigned)VERSION_NUMBER);
    return 0;
}

struct streams *streams_map(int fd, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        err_sys(err, errno, "table of streams");
        return NULL;
    }
    if ((uint64_t)st.st_size != total_bytes) {
        err_set(err, ERR_CORRUPT, "table of streams has %lld bytes instead of %llu",
                (long long)st.st_size, (unsigned long long)total_bytes);
        return NULL;
    }
    struct streams *streams = malloc(sizeof *streams);
    void *at = streams ? mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                       : MAP_FAILED;
    if (at == MAP_FAILED) {
        err_sys(err, errno, "mapping the table of streams");
        free(streams);
        return NULL;
    }
    streams->table = at;
    streams->fd = fd;
    if (check_header(&streams->table->header, err) != 0) {
        streams_unmap(streams);
        return NULL;
    }
    return streams;
}

enum streams_target streams_target(const char *path, const char **ret_socket)
{
    static const struct {
        const char *word, *socket;
        enum streams_target target;
    } known[] = {
        { "syslog", "/dev/log", STREAMS_SYSLOG },
        { "journald", "/run/systemd/journal/socket", STREAMS_JOURNALD },
        { "console", "", STREAMS_CONSOLE },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t len = strlen(known[i].word);
        if (strncmp(path, known[i].word, len) != 0 || (path[len] && path[len] != ':'))
            continue;
        if (ret_socket)
            *ret_socket = path[len] ? path + len + 1 : known[i].socket;
        return known[i].target;
    }
    return STREAMS_FILE;
}

void streams_unmap(struct streams *streams)
{
    if (!streams)
        return;
    munmap(streams->table, sizeof(struct table));
    free(streams);
}

static struct control *control_of(const struct streams *streams, size_t slot)
{
    return &streams->table->control[slot];
}

size_t streams_used(const struct streams *streams)
{
    size_t used = atomic_load(&streams->table->header.used);
    return used < STREAMS_SLOTS ? used : STREAMS_SLOTS;
}

enum streams_state streams_state(const struct streams *streams, size_t slot)
{
    return slot < STREAMS_SLOTS ? (enum streams_state)atomic_load(&control_of(streams, slot)->state)
                                : STREAMS_FREE;
}

static size_t put_text(char *texts, size_t at, const char *text, size_t max)
{
    size_t len = strnlen(text, max - 1);
    memcpy(texts + at, text, len);
    texts[at + len] = '\0';
    return at + len + 1;
}

static void keep_settings(struct table *table, size_t copy, size_t slot,
                          const struct streams_settings *settings)
{
    struct kept *to = &table->settings[copy][slot];
    char texts[TEXTS_MAX];

    *to = (struct kept){ .maxbytes = settings->maxbytes,
                         .maxage_s = settings->maxage_s,
                         .backups = settings->backups,
                         .uid = settings->uid,
                         .gid = settings->gid,
                         .format = (uint8_t)settings->format,
                         .overflow = (uint8_t)settings->overflow,
                         .compress = (uint8_t)settings->compress };
    size_t len = put_text(texts, 0, settings->instance, STREAMS_NAME_MAX);
    len = put_text(texts, len, settings->output, STREAMS_OUTPUT_MAX);
    len = put_text(texts, len, settings->path, STREAMS_PATH_MAX);
    memcpy(to->texts, texts, len < TEXTS_NEAR ? len : TEXTS_NEAR);
    if (len > TEXTS_NEAR)
        memcpy(table->texts_far[copy][slot], texts + TEXTS_NEAR, len - TEXTS_NEAR);
}

/* A text that is written meanwhile may have no end: the caller finds that out by the sequence. */
static size_t get_text(char *ret, size_t max, const char *texts, size_t at)
{
    size_t room = TEXTS_MAX - at < max ? TEXTS_MAX - at : max;
    size_t len = room > 0 ? strnlen(texts + at, room - 1) : 0;
    memcpy(ret, texts + at, len);
    ret[len] = '\0';
    return at + len + 1;
}

static void kept_settings(const struct table *table, size_t copy, size_t slot,
                          struct streams_settings *ret)
{
    const struct kept *kept = &table->settings[copy][slot];
    char texts[TEXTS_MAX];

    *ret = (struct streams_settings){ .maxbytes = kept->maxbytes,
                                      .maxage_s = kept->maxage_s,
                                      .backups = kept->backups,
                                      .uid = kept->uid,
                                      .gid = kept->gid,
                                      .format = kept->format,
                                      .overflow = kept->overflow,
                                      .compress = kept->compress };
    memcpy(texts, kept->texts, TEXTS_NEAR);
    size_t at = get_text(ret->instance, sizeof ret->instance, texts, 0);
    at = get_text(ret->output, sizeof ret->output, texts, at);
    if (at + strnlen(texts + at, TEXTS_NEAR - at) == TEXTS_NEAR)
        memcpy(texts + TEXTS_NEAR, table->texts_far[copy][slot], TEXTS_MAX - TEXTS_NEAR);
    get_text(ret->path, sizeof ret->path, texts, at);
}

ssize_t streams_vacant(const struct streams *streams)
{
    size_t slot = 0, used = streams_used(streams);
    while (slot < used && streams_state(streams, slot) != STREAMS_FREE)
        slot++;
    return slot < STREAMS_SLOTS ? (ssize_t)slot : ERR_LIMIT;
}

void streams_claim(struct streams *streams, size_t slot, const struct streams_settings *settings)
{
    if (slot >= STREAMS_SLOTS)
        return;
    if (slot >= streams_used(streams))
        atomic_store(&streams->table->header.used, (uint32_t)slot + 1);
    streams_set(streams, slot, settings);
    atomic_store(&control_of(streams, slot)->state, STREAMS_USED);
}

void streams_set(struct streams *streams, size_t slot, const struct streams_settings *settings)
{
    if (slot >= STREAMS_SLOTS)
        return;
    struct control *control = control_of(streams, slot);
    uint64_t next = atomic_load(&control->settings) + 1;
    keep_settings(streams->table, next & 1, slot, settings);
    atomic_store(&control->settings, next);
}

bool streams_settings(const struct streams *streams, size_t slot, uint64_t *sequence,
                      struct streams_settings *ret)
{
    const struct control *control = control_of(streams, slot);
    for (int i = 0; i < READ_TRIES; i++) {
        uint64_t now = atomic_load(&control->settings);
        if (now == *sequence)
            return false;
        kept_settings(streams->table, now & 1, slot, ret);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load(&control->settings) == now) {
            *sequence = now;
            return true;
        }
    }
    return false; /* a core that writes without end; the next poke looks again */
}

uint64_t streams_order_drain(struct streams *streams, size_t slot)
{
    return slot < STREAMS_SLOTS ? atomic_fetch_add(&control_of(streams, slot)->ordered, 1) + 1 : 0;
}

bool streams_drained(const struct streams *streams, size_t slot, uint64_t order)
{
    if (slot >= STREAMS_SLOTS)
        return true;
    if (order == 0)
        order = streams_drain_ordered(streams, slot);
    return streams_drain_done(streams, slot) >= order;
}

void streams_order_close(struct streams *streams, size_t slot)
{
    uint32_t used = STREAMS_USED;
    if (slot < STREAMS_SLOTS)
        atomic_compare_exchange_strong(&control_of(streams, slot)->state, &used, STREAMS_CLOSING);
}

void streams_order_reopen(struct streams *streams)
{
    atomic_fetch_add(&streams->table->header.reopens, 1);
}

void streams_order_finish(struct streams *streams)
{
    atomic_store(&streams->table->header.finishing, 1);
}

void streams_progress(const struct streams *streams, size_t slot, struct streams_progress *ret)
{
    *ret = (struct streams_progress){ 0 };
    if (slot >= STREAMS_SLOTS)
        return;
    struct streams_mark mark;
    bool draining;
    streams_mark(streams, slot, &mark, &draining);
    *ret = (struct streams_progress){
        .bytes_in = mark.bytes_in,
        .bytes_lost = mark.bytes_lost,
        .cuts = mark.cuts,
        .error = atomic_load(&control_of(streams, slot)->error),
        .has_output = mark.has_output,
    };
}

ssize_t streams_find(const struct streams *streams, const char *instance, const char *output)
{
    size_t len = strlen(instance) + 1;
    if (len > STREAMS_NAME_MAX)
        return -1;
    for (size_t slot = 0; slot < streams_used(streams); slot++) {
        if (streams_state(streams, slot) != STREAMS_USED)
            continue;
        uint64_t now = atomic_load(&control_of(streams, slot)->settings);
        const char *texts = streams->table->settings[now & 1][slot].texts;
        if (memcmp(texts, instance, len) == 0 &&
            strncmp(texts + len, output, STREAMS_OUTPUT_MAX) == 0)
            return (ssize_t)slot;
    }
    return -1;
}

void streams_each(const struct streams *streams,
                  void (*fn)(void *context, size_t slot, const struct streams_settings *settings),
                  void *context)
{
    for (size_t slot = 0; slot < streams_used(streams); slot++) {
        uint64_t now = atomic_load(&control_of(streams, slot)->settings);
        struct streams_settings settings;
        if (streams_state(streams, slot) != STREAMS_USED)
            continue;
        kept_settings(streams->table, now & 1, slot, &settings);
        fn(context, slot, &settings);
    }
}

void streams_mark(const struct streams *streams, size_t slot, struct streams_mark *ret,
                  bool *ret_draining)
{
    const struct control *control = control_of(streams, slot);
    uint64_t word = atomic_load(&control->mark);
    for (int i = 0; i < READ_TRIES; i++) { /* the logger itself needs one try */
        *ret = streams->table->marks[slot][word >> 1 & 1];
        atomic_thread_fence(memory_order_acquire);
        uint64_t now = atomic_load(&control->mark);
        if (now >> 1 == word >> 1)
            break;
        word = now;
    }
    *ret_draining = word & 1;
}

void streams_commit(struct streams *streams, size_t slot, const struct streams_mark *mark,
                    bool draining)
{
    struct control *control = control_of(streams, slot);
    uint64_t next = (atomic_load_explicit(&control->mark, memory_order_relaxed) >> 1) + 1;
    streams->table->marks[slot][next & 1] = *mark;
    atomic_store(&control->mark, next << 1 | draining);
}

void streams_commit_empty(struct streams *streams, size_t slot)
{
    struct control *control = control_of(streams, slot);
    atomic_store(&control->mark,
                 atomic_load_explicit(&control->mark, memory_order_relaxed) & ~(uint64_t)1);
}

ssize_t streams_hold_owner(const struct streams *streams)
{
    uint64_t owner = atomic_load(&streams->table->header.hold_owner);
    return owner <= STREAMS_SLOTS ? (ssize_t)owner - 1 : -1;
}

void streams_hold_own(struct streams *streams, size_t slot)
{
    atomic_store(&streams->table->header.hold_owner, (uint64_t)slot + 1);
}

uint64_t streams_drain_ordered(const struct streams *streams, size_t slot)
{
    return atomic_load(&control_of(streams, slot)->ordered);
}

uint64_t streams_drain_done(const struct streams *streams, size_t slot)
{
    return atomic_load(&control_of(streams, slot)->drained);
}

void streams_drain_set(struct streams *streams, size_t slot, uint64_t order)
{
    atomic_store(&control_of(streams, slot)->drained, order);
}

uint32_t streams_reopens(const struct streams *streams)
{
    return atomic_load(&streams->table->header.reopens);
}

bool streams_finishing(const struct streams *streams)
{
    return atomic_load(&streams->table->header.finishing) != 0;
}

void streams_error(struct streams *streams, size_t slot, int error)
{
    atomic_store(&control_of(streams, slot)->error, error);
    streams_trouble(streams);
}

void streams_trouble(struct streams *streams)
{
    atomic_fetch_add(&streams->table->header.troubles, 1);
}

uint32_t streams_troubles(const struct streams *streams)
{
    return atomic_load(&streams->table->header.troubles);
}

struct streams_told streams_told(const struct streams *streams, size_t slot)
{
    const struct control *control = control_of(streams, slot);
    return (struct streams_told){ .error = atomic_load(&control->told_error),
                                  .bytes_lost = atomic_load(&control->told_lost) };
}

void streams_tell(struct streams *streams, size_t slot, struct streams_told told)
{
    struct control *control = control_of(streams, slot);
    atomic_store(&control->told_error, told.error);
    atomic_store(&control->told_lost, told.bytes_lost);
}

void streams_release(struct streams *streams, size_t slot)
{
    struct control *control = control_of(streams, slot);
    if (streams_hold_owner(streams) == (ssize_t)slot)
        atomic_store(&streams->table->header.hold_owner, 0);
    streams_spill_drop(streams, slot);
    streams_commit(streams, slot, &(struct streams_mark){ 0 }, false);
    atomic_store(&control->error, 0);
    streams_tell(streams, slot, (struct streams_told){ 0 });
    if (atomic_load(&control->watch) > 0)
        streams_watch(streams, slot, &(struct streams_watch){ 0 });
    atomic_store(&control->drained, atomic_load(&control->ordered));
    atomic_store(&control->state, STREAMS_FREE);
}

void streams_watch(struct streams *streams, size_t slot, const struct streams_watch *watch)
{
    if (slot >= STREAMS_SLOTS)
        return;
    struct control *control = control_of(streams, slot);
    uint64_t next = atomic_load(&control->watch) + 1;
    struct streams_watch *to = &streams->table->watches[slot][next & 1];
    *to = *watch;
    to->pattern[sizeof to->pattern - 1] = '\0';
    atomic_store(&control->watch, next);
}

bool streams_watched(const struct streams *streams, size_t slot, uint64_t *sequence,
                     struct streams_watch *ret)
{
    const struct control *control = control_of(streams, slot);
    for (int i = 0; i < READ_TRIES; i++) {
        uint64_t now = atomic_load(&control->watch);
        if (now == *sequence)
            return false;
        *ret = streams->table->watches[slot][now & 1];
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load(&control->watch) == now) {
            *sequence = now;
            return true;
        }
    }
    return false;
}

bool streams_found(const struct streams *streams, size_t slot, uint32_t id)
{
    return slot < STREAMS_SLOTS && id != 0 && atomic_load(&control_of(streams, slot)->found) == id;
}

ssize_t streams_next_found(struct streams *streams, struct streams_watch *ret)
{
    for (size_t word = 0; word < (streams_used(streams) + 63) / 64; word++) {
        uint64_t bits = atomic_load(&streams->table->found_bits[word]);
        if (bits == 0)
            continue;
        unsigned bit = (unsigned)__builtin_ctzll(bits);
        size_t slot = word * 64 + bit;
        uint64_t sequence = 0;
        atomic_fetch_and(&streams->table->found_bits[word], ~(UINT64_C(1) << bit));
        if (streams_watched(streams, slot, &sequence, ret))
            return (ssize_t)slot;
    }
    return -1;
}

void streams_set_found(struct streams *streams, size_t slot, uint32_t id)
{
    atomic_store(&control_of(streams, slot)->found, id);
    atomic_fetch_or(&streams->table->found_bits[slot / 64], UINT64_C(1) << slot % 64);
}

void streams_scan(const struct streams *streams, size_t slot, struct streams_scan *ret)
{
    const struct scans *scans = &streams->table->scans[slot];
    *ret = scans->copies[atomic_load(&scans->sequence) & 1];
}

void streams_commit_scan(struct streams *streams, size_t slot, const struct streams_scan *scan)
{
    struct scans *scans = &streams->table->scans[slot];
    uint64_t next = atomic_load(&scans->sequence) + 1;
    scans->copies[next & 1] = *scan;
    atomic_store(&scans->sequence, next);
}

static off_t spill_at(size_t slot, unsigned area)
{
    return (off_t)(sizeof(struct table) + slot * spill_slot + (size_t)area * STREAMS_BATCH_MAX);
}

int streams_spill_write(struct streams *streams, size_t slot, unsigned area, const void *data,
                        size_t len)
{
    off_t at = spill_at(slot, area);
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(streams->fd, (const char *)data + done, len - done, at + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENOSPC;
        done += (size_t)n;
    }
    return 0;
}

int streams_spill_read(const struct streams *streams, size_t slot, unsigned area, void *data,
                       size_t len)
{
    off_t at = spill_at(slot, area);
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(streams->fd, (char *)data + done, len - done, at + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (size_t)n;
    }
    return 0;
}

void streams_spill_drop(struct streams *streams, size_t slot)
{
    (void)fallocate(streams->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, spill_at(slot, 0),
                    (off_t)spill_slot);
}
