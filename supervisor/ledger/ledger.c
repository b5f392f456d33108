/* ledger.c - the contract is in ledger.h.
 *
 * The file is sparse: header page, pids, records, ends of long bodies.  Pages are allocated before
 * they are touched (a record's when it is claimed), because a full tmpfs answers a store to a hole
 * with SIGBUS.
 */
#include "supervisor/ledger/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/crc32.h"
#include "supervisor/ledger/ledger_old.h"

static const char ledger_magic[8] = "SUPLEDG";

enum {
    HEADER_BYTES = 4096,
    PIDS_BYTES = LEDGER_RECORDS * (int)sizeof(int32_t),
    BODY_FAR = LEDGER_BODY_MAX - LEDGER_BODY_NEAR,
};
#define RECORDS_BYTES ((size_t)LEDGER_RECORDS * sizeof(struct ledger_record))
#define FAR_AT        ((size_t)HEADER_BYTES + PIDS_BYTES + RECORDS_BYTES)
#define LEDGER_BYTES  (FAR_AT + (size_t)LEDGER_RECORDS * BODY_FAR)

_Static_assert(sizeof(struct ledger_header) <= HEADER_BYTES, "the header fits its page");
_Static_assert(LEDGER_UNIT_BYTES <= LEDGER_BODY_MAX, "a unit fits its record");
_Static_assert(sizeof(ledger_magic) == sizeof(((struct ledger_header *)0)->magic), "magic fits");

static const char *const kind_names[LEDGER_NKINDS] = {
    [LEDGER_FREE] = "free",       [LEDGER_CORE] = "core", [LEDGER_LOGGER] = "logger",
    [LEDGER_SERVICE] = "service", [LEDGER_TWIN] = "twin", [LEDGER_HOOK] = "hook",
    [LEDGER_PROBE] = "probe",
};

const char *ledger_kind_name(enum ledger_kind kind)
{
    return (unsigned)kind < LEDGER_NKINDS ? kind_names[kind] : "unknown";
}

static int map(int fd, int protection, struct ledger *ret, struct err *err)
{
    unsigned char *at = mmap(NULL, LEDGER_BYTES, protection, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return err_sys(err, errno, "mapping the ledger");
    *ret = (struct ledger){
        .header = (struct ledger_header *)(void *)at,
        .pids = (int32_t *)(void *)(at + HEADER_BYTES),
        .records = (struct ledger_record *)(void *)(at + HEADER_BYTES + PIDS_BYTES),
        .far = at + FAR_AT,
        .fd = fd,
    };
    ledger_used(ret);
    return 0;
}

void ledger_unmap(struct ledger *ledger)
{
    if (ledger->header)
        munmap(ledger->header, LEDGER_BYTES);
    if (ledger->fd >= 0 && ledger->header)
        close(ledger->fd);
    *ledger = (struct ledger){ .fd = -1 };
}

size_t ledger_used(struct ledger *ledger)
{
    size_t used = atomic_load(&ledger->header->used);
    ledger->used = used < LEDGER_RECORDS ? used : LEDGER_RECORDS;
    return ledger->used;
}

static bool header_fits(const struct ledger_header *header)
{
    return memcmp(header->magic, ledger_magic, sizeof(ledger_magic)) == 0 &&
           header->version == LEDGER_VERSION &&
           header->record_size == sizeof(struct ledger_record) &&
           header->nrecords == LEDGER_RECORDS && header->unit_bytes == LEDGER_UNIT_BYTES;
}

/* Of this version or of one that can be made so. */
static bool header_known(const struct ledger_header *header)
{
    return header_fits(header) || (memcmp(header->magic, ledger_magic, sizeof(ledger_magic)) == 0 &&
                                   ledger_old_reader(header, LEDGER_BYTES));
}

static bool size_fits(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && (uint64_t)st.st_size == LEDGER_BYTES;
}

/* Says so to whoever upgrades.  The beginning of the header is the same in all versions. */
static int refuse(int fd, struct err *err)
{
    struct {
        char magic[sizeof ledger_magic];
        uint32_t version;
    } header = { .version = 0 };
    size_t len = offsetof(struct ledger_header, version) + sizeof header.version;

    if (pread(fd, &header, len, 0) != (ssize_t)len ||
        memcmp(header.magic, ledger_magic, sizeof ledger_magic) != 0 ||
        header.version == LEDGER_VERSION)
        return err_set(err, ERR_CORRUPT, "not a ledger, or a damaged one");
    return err_set(err, ERR_CORRUPT,
                   "the ledger of what runs is of version %u, this program reads %d and %d: %sshut "
                   "the supervisor down (its services end) and start it again",
                   header.version, LEDGER_VERSION - 1, LEDGER_VERSION,
                   header.version < LEDGER_VERSION ? "upgrade to a release between them first, or "
                                                   : "to go back to this release, ");
}

typedef bool fits_fn(const struct ledger_header *header);

/* Takes fd over also when it fails. */
static int map_checked(int fd, int protection, fits_fn *fits, struct ledger *ret, struct err *err)
{
    AUTO_CLOSE int own = fd;
    struct ledger ledger;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_sys(err, errno, "looking at the ledger");
    if ((uint64_t)st.st_size != LEDGER_BYTES)
        return refuse(fd, err);
    int rc = map(fd, protection, &ledger, err);
    if (rc < 0)
        return rc;
    take_fd(&own);
    if (!fits(ledger.header)) {
        rc = refuse(fd, err);
        ledger_unmap(&ledger);
        return rc;
    }
    *ret = ledger;
    return 0;
}

int ledger_map_old(int fd, struct ledger *ret, struct err *err)
{
    int rc = map_checked(fd, PROT_READ | PROT_WRITE, header_known, ret, err);
    if (rc == 0)
        ledger_old_convert(ret);
    return rc;
}

int ledger_readable(int fd, struct err *err)
{
    struct ledger ledger;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return err_sys(err, errno, "looking at the ledger");
    int rc = map_checked(copy, PROT_READ, header_known, &ledger, err);
    if (rc == 0)
        ledger_unmap(&ledger);
    return rc;
}

int ledger_map(int fd, struct ledger *ret, struct err *err)
{
    return map_checked(fd, PROT_READ | PROT_WRITE, header_fits, ret, err);
}

int ledger_peek(const char *path, struct ledger *ret, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "%s is not there", path);
    if (fd < 0)
        return err_sys(err, errno, "opening %s", path);
    int rc = map_checked(fd, PROT_READ, header_known, ret, err);
    return rc < 0 ? err_wrap(err, "%s", path) : 0;
}

/* The magic goes in last: a guardian killed before that leaves what reads as nothing. */
static uint64_t new_run(void)
{
    uint64_t run = 0;

    if (getrandom(&run, sizeof run, GRND_NONBLOCK) != sizeof run)
        run = (uint64_t)clock_wall_us() ^ ((uint64_t)getpid() << 48); /* early in a boot */
    return run ? run : 1;
}

/* `run` 0: a new one. */
static void fill_header(struct ledger_header *header, uint64_t run)
{
    header->run = run ? run : new_run();
    header->version = LEDGER_VERSION;
    header->record_size = sizeof(struct ledger_record);
    header->nrecords = LEDGER_RECORDS;
    header->unit_bytes = LEDGER_UNIT_BYTES;
    clock_boot_id(header->boot_id);
    header->started_mono_ms = clock_mono_ms();
    atomic_thread_fence(memory_order_release);
    memcpy(header->magic, ledger_magic, sizeof(ledger_magic));
}

/* Holes are punched, the size is kept: whoever looks through a mapping reads zeros, not SIGBUS. */
void ledger_clear(struct ledger *ledger)
{
    bool ours = memcmp(ledger->header->magic, ledger_magic, sizeof(ledger_magic)) == 0 &&
                ledger->header->version == LEDGER_VERSION;
    uint64_t run = ours ? ledger->header->run : 0;

    memset(ledger->header->magic, 0, sizeof(ledger->header->magic));
    if (fallocate(ledger->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)LEDGER_BYTES) <
            0 ||
        fallocate(ledger->fd, 0, 0, HEADER_BYTES + PIDS_BYTES) < 0) {
        memset(ledger->records, 0, ledger_used(ledger) * sizeof(*ledger->records));
        memset(ledger->pids, 0, PIDS_BYTES);
        memset(ledger->header, 0, sizeof(*ledger->header));
    }
    ledger->used = ledger->free_from = 0;
    fill_header(ledger->header, run);
}

/* Opens and locks the file.  A descriptor; -1 = not usable, take a memfd; ERR_EXISTS. */
static int open_locked(const char *path, struct err *err)
{
    for (;;) {
        AUTO_CLOSE int fd =
            open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
        struct stat mine, there;
        if (fd < 0 || fstat(fd, &mine) < 0 || !S_ISREG(mine.st_mode) || mine.st_uid != geteuid())
            return -1;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            if (errno != EWOULDBLOCK)
                return -1;
            struct ledger other = { .fd = -1 };
            int pid = 0;
            if (ledger_peek(path, &other, NULL) == 0)
                pid = atomic_load(&other.header->guardian_pid);
            ledger_unmap(&other);
            return err_set(err, ERR_EXISTS,
                           "another supervisor (pid %d) runs with this socket: it holds %s", pid,
                           path);
        }
        /* A guardian that leaves unlinks the file before it lets go of the lock. */
        if (stat(path, &there) == 0 && there.st_ino == mine.st_ino && there.st_dev == mine.st_dev)
            return take_fd(&fd);
    }
}

static int prepare(int fd, struct err *err)
{
    if (!size_fits(fd) && (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)LEDGER_BYTES) < 0))
        return err_sys(err, errno, "sizing the ledger");
    if (fallocate(fd, 0, 0, HEADER_BYTES + PIDS_BYTES) < 0 && errno != EOPNOTSUPP)
        return err_sys(err, errno, "allocating the ledger");
    return 0;
}

static int create_memory(struct ledger *ret, struct err *err)
{
    AUTO_CLOSE int fd = memfd_create("supervisor-ledger", MFD_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno, "creating the ledger in memory");
    int rc = prepare(fd, err);
    if (rc == 0)
        rc = map(fd, PROT_READ | PROT_WRITE, ret, err);
    if (rc == 0)
        fill_header(ret->header, 0);
    if (rc == 0)
        take_fd(&fd);
    return rc;
}

static bool any_living(struct ledger *ledger)
{
    for (size_t i = 0; i < ledger_used(ledger); i++)
        if (ledger_living(ledger, i))
            return true;
    return false;
}

/* What an earlier supervisor left: taken over, or cleared. */
static bool judge_old(struct ledger *ledger, bool right_size, bool was_empty)
{
    char boot_id[CLOCK_BOOT_ID_MAX];
    clock_boot_id(boot_id);
    bool fits = right_size && header_known(ledger->header);
    if (fits && strncmp(ledger->header->boot_id, boot_id, sizeof(boot_id)) == 0 &&
        any_living(ledger)) {
        ledger_old_convert(ledger);
        return true;
    }
    /* Unreadable, maybe another version's: its services may live, the core has to look for them. */
    static const char no_magic[sizeof(ledger_magic)];
    bool unreadable =
        !was_empty && !fits && memcmp(ledger->header->magic, no_magic, sizeof(no_magic)) != 0;
    ledger_clear(ledger);
    atomic_store(&ledger->header->rebuilt, unreadable || (!was_empty && !right_size));
    return false;
}

int ledger_create(const char *path, struct ledger *ret, bool *ret_takeover, struct err *err)
{
    *ret_takeover = false;
    AUTO_CLOSE int fd = path ? open_locked(path, err) : -1;
    if (fd == ERR_EXISTS)
        return ERR_EXISTS;
    if (fd < 0)
        return create_memory(ret, err);
    struct stat st;
    bool was_empty = fstat(fd, &st) == 0 && st.st_size == 0, right_size = size_fits(fd);
    if (prepare(fd, NULL) < 0 || map(fd, PROT_READ | PROT_WRITE, ret, NULL) < 0)
        return create_memory(ret, err); /* no room on that file system */
    take_fd(&fd);
    *ret_takeover = judge_old(ret, right_size, was_empty);
    return 0;
}

static size_t first_free(struct ledger *ledger)
{
    size_t i = ledger->free_from;
    while (i < LEDGER_RECORDS && i < ledger->used &&
           atomic_load(&ledger->records[i].kind) != LEDGER_FREE)
        i++;
    return i;
}

/* A record that was never used lies in a hole of the file. */
static int allocate(const struct ledger *ledger, size_t index, struct err *err)
{
    off_t at = HEADER_BYTES + PIDS_BYTES + (off_t)(index * sizeof(struct ledger_record));
    if (fallocate(ledger->fd, 0, at, sizeof(struct ledger_record)) < 0 && errno != EOPNOTSUPP)
        return err_set(err, ERR_LIMIT, "no memory for another record of the ledger: %s",
                       strerror(errno));
    return 0;
}

ssize_t ledger_claim(struct ledger *ledger, enum ledger_kind kind, const char *instance,
                     uint32_t generation, struct err *err)
{
    if (strlen(instance) >= LEDGER_NAME_MAX)
        return err_set(err, ERR_LIMIT, "instance name \"%.40s...\" is longer than %d characters",
                       instance, LEDGER_NAME_MAX - 1);
    size_t used = ledger_used(ledger), index = first_free(ledger);
    if (index >= LEDGER_RECORDS)
        return err_set(err, ERR_LIMIT, "the ledger is full (%d processes)", LEDGER_RECORDS);
    if (index >= used) {
        int rc = allocate(ledger, index, err);
        if (rc < 0)
            return rc;
        atomic_store(&ledger->header->used, (uint32_t)(index + 1));
        ledger->used = index + 1;
    }
    ledger->free_from = index + 1;
    struct ledger_record *record = &ledger->records[index];
    ledger->pids[index] = 0;
    if (ledger->header->draft.index == index)
        ledger->header->draft.head.sequence = 0; /* of who had this record before */
    memset(record, 0, sizeof(*record));
    record->generation = generation;
    snprintf(record->instance, sizeof(record->instance), "%s", instance);
    atomic_store(&record->kind, kind);
    return (ssize_t)index;
}

void ledger_release(struct ledger *ledger, size_t index)
{
    if (index >= LEDGER_RECORDS)
        return;
    atomic_store(&ledger->records[index].kind, LEDGER_FREE);
    ledger->pids[index] = 0;
    if (index < ledger->free_from)
        ledger->free_from = index;
}

/* The pid goes first: a record killed half-way shows an exit, never a process that is not there. */
void ledger_rearm(struct ledger *ledger, size_t index, uint32_t generation)
{
    struct ledger_record *record = &ledger->records[index];
    __atomic_store_n(&ledger->pids[index], 0, __ATOMIC_SEQ_CST);
    record->start_time = 0;
    record->report.step = CHILD_STEP_NONE;
    record->report.error = 0;
    record->generation = generation;
    record->exit_code = record->exit_status = 0;
    record->exit_mono_ms = record->exit_wall_us = 0;
    record->user_us = record->system_us = record->max_rss_kb = 0;
    atomic_store(&record->exited, LEDGER_LIVING);
}

/* --- bodies --- */

static unsigned char *far_of(const struct ledger *ledger, size_t index)
{
    return ledger->far + index * BODY_FAR;
}

/* A body where it lies. */
struct body {
    const struct ledger_body_head *head;
    const unsigned char *near, *far;
};

static struct body kept_body(const struct ledger *ledger, size_t index)
{
    const struct ledger_body *body = &ledger->records[index].body;
    return (struct body){ &body->head, body->data, far_of(ledger, index) };
}

static struct body drafted_body(const struct ledger *ledger)
{
    const struct ledger_draft *draft = &ledger->header->draft;
    return (struct body){ &draft->head, draft->data, draft->data + LEDGER_BODY_NEAR };
}

static size_t near_len(size_t kept) { return kept < LEDGER_BODY_NEAR ? kept : LEDGER_BODY_NEAR; }

static uint32_t body_crc(uint64_t index, struct body body)
{
    const uint64_t words[] = { index, body.head->sequence, body.head->len, body.head->kept };
    size_t near = near_len(body.head->kept);
    uint32_t crc = crc32_of(crc32_of(0, words, sizeof(words)), body.near, near);
    return body.head->kept > near ? crc32_of(crc, body.far, body.head->kept - near) : crc;
}

static bool is_whole(const struct ledger *ledger, uint64_t index, struct body body)
{
    const struct ledger_body_head *head = body.head;
    return head->sequence > 0 && head->kept <= head->len && head->len <= LEDGER_BODY_MAX &&
           (head->kept <= LEDGER_BODY_NEAR || ledger->records[index].far_ready) &&
           head->crc == body_crc(index, body);
}

/* The draft of this record, if it is newer than what the record holds or that is torn. */
static bool is_drafted(const struct ledger *ledger, size_t index)
{
    struct body kept = kept_body(ledger, index), draft = drafted_body(ledger);
    return ledger->header->draft.index == index && is_whole(ledger, index, draft) &&
           (draft.head->sequence > kept.head->sequence || !is_whole(ledger, index, kept));
}

/* A store to a hole of a full tmpfs would be SIGBUS. */
static bool far_ready(struct ledger *ledger, size_t index)
{
    struct ledger_record *record = &ledger->records[index];
    off_t at = far_of(ledger, index) - (unsigned char *)ledger->header;
    if (!record->far_ready &&
        (fallocate(ledger->fd, 0, at, (off_t)BODY_FAR) == 0 || errno == EOPNOTSUPP))
        record->far_ready = 1;
    return record->far_ready;
}

/* Mostly it ends in hundreds of zeros. */
static size_t without_zeros(const unsigned char *data, size_t len)
{
    for (uint64_t word; len >= sizeof word; len -= sizeof word) {
        memcpy(&word, data + len - sizeof word, sizeof word);
        if (word)
            break;
    }
    while (len > 0 && data[len - 1] == 0)
        len--;
    return len;
}

static void copy_draft(struct ledger *ledger, size_t index)
{
    const struct ledger_draft *draft = &ledger->header->draft;
    size_t near = near_len(draft->head.kept);
    memcpy(far_of(ledger, index), draft->data + near, draft->head.kept - near);
    memcpy(ledger->records[index].body.data, draft->data, near);
    ledger->records[index].body.head = draft->head;
}

static void settle(struct ledger *ledger)
{
    uint64_t index = ledger->header->draft.index;
    if (!ledger->settled && index < LEDGER_RECORDS && is_drafted(ledger, index))
        copy_draft(ledger, index);
    ledger->settled = true;
}

void ledger_body_put(struct ledger *ledger, size_t index, const void *data, size_t len)
{
    if (len > LEDGER_BODY_MAX)
        return; /* a caller's body is a struct of a size checked at compile time */
    settle(ledger);
    struct ledger_draft *draft = &ledger->header->draft;
    size_t kept = without_zeros(data, len), near = near_len(kept);
    if (kept > near && !far_ready(ledger, index))
        kept = near;
    draft->index = index;
    draft->head = (struct ledger_body_head){
        .sequence = ledger->records[index].body.head.sequence + 1,
        .len = (uint16_t)len,
        .kept = (uint16_t)kept,
    };
    memcpy(draft->data, data, kept);
    draft->head.crc = body_crc(index, drafted_body(ledger));
    atomic_signal_fence(memory_order_seq_cst);
    copy_draft(ledger, index);
    atomic_signal_fence(memory_order_seq_cst);
}

bool ledger_body_get(const struct ledger *ledger, size_t index, void *data, size_t len)
{
    bool drafted = is_drafted(ledger, index);
    struct body body = drafted ? drafted_body(ledger) : kept_body(ledger, index);
    if ((!drafted && !is_whole(ledger, index, body)) || body.head->len != len)
        return false;
    size_t near = near_len(body.head->kept);
    memset(data, 0, len);
    memcpy(data, body.near, near);
    memcpy((unsigned char *)data + near, body.far, body.head->kept - near);
    return true;
}

bool ledger_living(const struct ledger *ledger, size_t index)
{
    const struct ledger_record *record = &ledger->records[index];
    return atomic_load(&record->kind) != LEDGER_FREE && ledger->pids[index] > 0 &&
           atomic_load(&record->exited) == LEDGER_LIVING;
}

/* A pid may be there twice: once ended and not consumed yet, once given anew by the kernel. */
ssize_t ledger_find_pid(const struct ledger *ledger, pid_t pid)
{
    size_t used = atomic_load(&ledger->header->used);
    ssize_t found = -1;
    if (pid <= 0)
        return -1;
    for (size_t i = 0; i < used && i < LEDGER_RECORDS; i++) {
        if (ledger->pids[i] != pid || atomic_load(&ledger->records[i].kind) == LEDGER_FREE)
            continue;
        if (atomic_load(&ledger->records[i].exited) == LEDGER_LIVING)
            return (ssize_t)i;
        found = (ssize_t)i;
    }
    return found;
}

void ledger_record_exit(struct ledger *ledger, size_t index, const struct reaper_exit *how,
                        bool known)
{
    struct ledger_record *record = &ledger->records[index];
    record->exit_mono_ms = clock_mono_ms();
    record->exit_wall_us = clock_wall_us();
    record->exit_pid = how->pid;
    if (known) {
        record->exit_code = how->code;
        record->exit_status = how->status;
        record->user_us = how->user_us;
        record->system_us = how->system_us;
        record->max_rss_kb = how->max_rss_kb;
    }
    atomic_store(&record->exited, known ? LEDGER_EXITED : LEDGER_EXIT_UNKNOWN);
    atomic_fetch_or(&ledger->header->exited_bits[index / 64], UINT64_C(1) << (index % 64));
}

ssize_t ledger_next_exit(struct ledger *ledger)
{
    for (size_t word = 0; word < LEDGER_RECORDS / 64; word++) {
        uint64_t bits = atomic_load(&ledger->header->exited_bits[word]);
        if (bits == 0)
            continue;
        unsigned bit = (unsigned)__builtin_ctzll(bits);
        atomic_fetch_and(&ledger->header->exited_bits[word], ~(UINT64_C(1) << bit));
        return (ssize_t)(word * 64 + bit);
    }
    return -1;
}

void ledger_recheck_exits(struct ledger *ledger)
{
    size_t used = atomic_load(&ledger->header->used);
    for (size_t i = 0; i < used && i < LEDGER_RECORDS; i++)
        if (atomic_load(&ledger->records[i].exited) != LEDGER_LIVING)
            atomic_fetch_or(&ledger->header->exited_bits[i / 64], UINT64_C(1) << (i % 64));
}
