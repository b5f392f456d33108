/* recorder.c - the contract is in recorder.h.
 *
 * Positions are byte counts that only grow; their place in the ring is the count modulo its size.
 * begin..end holds whole records, oldest first.  Appending first moves `begin` past what will be
 * overwritten, then writes behind `end`, then moves `end` in one store: a writer killed anywhere in
 * between leaves whole records only.  The ring is mapped twice in a row, so that a record which
 * runs over its end is still one piece of memory.
 */
#include "supervisor/ledger/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/crc32.h"

static const char recorder_magic[8] = "SUPRECO";

enum { RECORDER_VERSION = 1, HEADER_BYTES = 4096 };
#define FILE_BYTES ((size_t)HEADER_BYTES + RECORDER_BYTES)
#define MAP_BYTES  (FILE_BYTES + RECORDER_BYTES)

struct recorder_header {
    char magic[8];
    uint32_t version, bytes;
    _Atomic uint64_t next;       /* number of the next record */
    _Atomic uint64_t begin, end; /* positions */
};

/* In the ring: head, text, padding to 8, and the length of the whole again, for reading back. */
struct head {
    uint32_t len; /* of the text */
    uint32_t crc; /* of number and text */
    uint64_t number;
};
enum { ALIGNMENT = 8, TAIL_BYTES = 8 };

static uint64_t whole_length(size_t len)
{
    return sizeof(struct head) + (len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + TAIL_BYTES;
}

static unsigned char *place(const struct recorder *recorder, uint64_t position)
{
    return recorder->ring + position % RECORDER_BYTES;
}

static uint32_t text_crc(uint64_t number, const void *text, size_t len)
{
    return crc32_of(crc32_of(0, &number, sizeof(number)), text, len);
}

int recorder_create(int *ret_fd, struct err *err)
{
    AUTO_CLOSE int fd = memfd_create("supervisor-recorder", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)FILE_BYTES) < 0)
        return err_sys(err, errno, "creating the recorder");
    struct recorder_header header = { .version = RECORDER_VERSION, .bytes = RECORDER_BYTES };
    memcpy(header.magic, recorder_magic, sizeof(header.magic));
    atomic_init(&header.next, 1);
    if (pwrite(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header))
        return err_sys(err, errno, "creating the recorder");
    *ret_fd = take_fd(&fd);
    return 0;
}

/* The record at `position`, checked: its text, or NULL. */
static const char *record_at(const struct recorder *recorder, uint64_t position, uint64_t end,
                             struct head *ret)
{
    if (end - position < whole_length(0))
        return NULL;
    memcpy(ret, place(recorder, position), sizeof(*ret));
    if (ret->len > RECORDER_TEXT_MAX || whole_length(ret->len) > end - position)
        return NULL;
    const char *text = (const char *)place(recorder, position) + sizeof(*ret);
    return ret->crc == text_crc(ret->number, text, ret->len) ? text : NULL;
}

/* A writer killed between its last two stores, or damage: what is whole stays, the numbers go on.
 */
static void repair(const struct recorder *recorder)
{
    struct recorder_header *header = recorder->header;
    uint64_t begin = atomic_load(&header->begin), end = atomic_load(&header->end);
    if (begin > end || end - begin > RECORDER_BYTES || begin % ALIGNMENT || end % ALIGNMENT) {
        atomic_store(&header->begin, 0);
        atomic_store(&header->end, 0);
        return;
    }
    uint64_t last = 0;
    struct head head;
    while (begin < end && record_at(recorder, begin, end, &head)) {
        last = head.number;
        begin += whole_length(head.len);
    }
    atomic_store(&header->end, begin);
    if (last >= atomic_load(&header->next))
        atomic_store(&header->next, last + 1);
}

static void *map_twice(int fd)
{
    unsigned char *at =
        mmap(NULL, MAP_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    int protection = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_FIXED;
    if (mmap(at, FILE_BYTES, protection, flags, fd, 0) == MAP_FAILED ||
        mmap(at + FILE_BYTES, RECORDER_BYTES, protection, flags, fd, HEADER_BYTES) == MAP_FAILED) {
        int saved = errno;
        munmap(at, MAP_BYTES);
        errno = saved;
        return NULL;
    }
    return at;
}

int recorder_map(int fd, struct recorder *ret, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != FILE_BYTES)
        return err_set(err, ERR_CORRUPT, "the recorder has another size than this version's");
    unsigned char *at = map_twice(fd);
    if (!at)
        return err_sys(err, errno, "mapping the recorder");
    struct recorder recorder = { (struct recorder_header *)(void *)at, at + HEADER_BYTES };
    const struct recorder_header *header = recorder.header;
    if (memcmp(header->magic, recorder_magic, sizeof(recorder_magic)) != 0 ||
        header->version != RECORDER_VERSION || header->bytes != RECORDER_BYTES) {
        munmap(at, MAP_BYTES);
        return err_set(err, ERR_CORRUPT, "not a recorder of version %d", RECORDER_VERSION);
    }
    repair(&recorder);
    *ret = recorder;
    return 0;
}

void recorder_unmap(struct recorder *recorder)
{
    if (recorder->header)
        munmap(recorder->header, MAP_BYTES);
    *recorder = (struct recorder){ 0 };
}

uint64_t recorder_next(const struct recorder *recorder)
{
    return atomic_load(&recorder->header->next);
}

/* Lets go of the oldest records until `need` bytes fit behind the end. */
static void make_room(const struct recorder *recorder, uint64_t need)
{
    struct recorder_header *header = recorder->header;
    uint64_t begin = atomic_load(&header->begin), end = atomic_load(&header->end);
    while (begin < end && end + need - begin > RECORDER_BYTES) {
        struct head head;
        bool whole = record_at(recorder, begin, end, &head);
        begin = whole ? begin + whole_length(head.len) : end;
    }
    atomic_store(&header->begin, begin);
}

uint64_t recorder_append(struct recorder *recorder, const char *text, size_t len)
{
    struct recorder_header *header = recorder->header;
    if (len > RECORDER_TEXT_MAX)
        len = RECORDER_TEXT_MAX;
    uint64_t need = whole_length(len), number = atomic_load(&header->next);
    make_room(recorder, need);
    uint64_t end = atomic_load(&header->end);
    struct head head = { (uint32_t)len, text_crc(number, text, len), number };
    unsigned char *at = place(recorder, end);
    memcpy(at, &head, sizeof(head));
    memcpy(at + sizeof(head), text, len);
    memcpy(at + need - TAIL_BYTES, &need, TAIL_BYTES);
    atomic_store(&header->end, end + need);
    atomic_store(&header->next, number + 1);
    return number;
}

uint64_t recorder_read(const struct recorder *recorder, uint64_t since,
                       bool (*fn)(void *context, uint64_t number, const char *text, size_t len),
                       void *context)
{
    uint64_t at = atomic_load(&recorder->header->begin), end = atomic_load(&recorder->header->end);
    uint64_t first = 0;
    struct head head;
    const char *text;
    while (at < end && (text = record_at(recorder, at, end, &head))) {
        if (first == 0)
            first = head.number;
        if (head.number >= since && !fn(context, head.number, text, head.len))
            break;
        at += whole_length(head.len);
    }
    return first ? first : recorder_next(recorder);
}

void recorder_read_on(const struct recorder *recorder, uint64_t *at,
                      bool (*fn)(void *context, uint64_t number, const char *text, size_t len),
                      void *context)
{
    uint64_t begin = atomic_load(&recorder->header->begin);
    uint64_t end = atomic_load(&recorder->header->end);
    struct head head;
    const char *text;

    if (*at < begin)
        *at = begin;
    while (*at < end && (text = record_at(recorder, *at, end, &head))) {
        if (!fn(context, head.number, text, head.len))
            break;
        *at += whole_length(head.len);
    }
}

void recorder_read_back(const struct recorder *recorder,
                        bool (*fn)(void *context, uint64_t number, const char *text, size_t len),
                        void *context)
{
    uint64_t begin = atomic_load(&recorder->header->begin);
    uint64_t at = atomic_load(&recorder->header->end);
    while (at > begin) {
        uint64_t need;
        struct head head;
        memcpy(&need, place(recorder, at - TAIL_BYTES), sizeof(need));
        if (need > at - begin || need < whole_length(0))
            return;
        const char *text = record_at(recorder, at - need, at, &head);
        if (!text || whole_length(head.len) != need || !fn(context, head.number, text, head.len))
            return;
        at -= need;
    }
}
