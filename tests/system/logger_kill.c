/* logger_kill.c - kills the logger again and again under load and proves that the files hold every
 * line, once and in order.
 *
 *     logger_kill random FOLDER KILLS SEED    SIGKILL after a random time
 *     logger_kill step FOLDER CALLS SEED      SIGKILL at every entry to and return from a system
 *                                             call in turn, up to number CALLS
 *
 * Prints one line of numbers on success; leaves with 1 and a reason otherwise.
 */
#include <inttypes.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/system/logger_rig.h"

enum {
    WRITERS_MAX = 8,
    LINE_MAX_BYTES = 150 * 1024,
    SHARED_LINE_MAX = 400, /* several writers on a pipe: a line is one atomic write */
    BUDGET = 48 * 1024,    /* bytes a writer may write per kill */
    BACKUPS = 1200,
    MAXBYTES = 200 * 1024,
};

struct lane { /* one stream */
    const char *name;
    int format;
    int64_t maxbytes;
    int writers;
};
static const struct lane lanes[] = {
    { "raw", STREAMS_RAW, MAXBYTES, 1 },   { "plain", STREAMS_PLAIN, MAXBYTES, 1 },
    { "json", STREAMS_JSON, MAXBYTES, 1 }, { "one", STREAMS_PLAIN, 0, 1 },
    { "many", STREAMS_RAW, MAXBYTES, 3 },
};
enum { NLANES = sizeof lanes / sizeof lanes[0] };

/* Shared with the writers. */
struct shared {
    _Atomic uint64_t budget;
    _Atomic uint32_t stop;
    _Atomic uint64_t lines[NLANES][WRITERS_MAX];
};

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Line `number` of a writer, always the same; returns its length with the newline. */
static size_t make_line(const struct lane *lane, int writer, uint64_t number, char *line)
{
    uint64_t random = mix(number * 64 + (uint64_t)writer);
    size_t head = (size_t)sprintf(line, "%d %" PRIu64 " ", writer, number), body = random % 120;

    if (lane->writers > 1)
        body = random % (SHARED_LINE_MAX - 60);
    else if (random % 500 == 0)
        body = mix(random) % (LINE_MAX_BYTES - 100);
    for (size_t i = 0; i < body; i++) {
        unsigned char c = (unsigned char)(mix(random + i / 8) >> (i % 8 * 8));
        if (lane->format == STREAMS_JSON || lane->writers > 1)
            c = (unsigned char)('a' + c % 26);
        line[head + i] = c == '\n' ? '.' : (char)c;
    }
    line[head + body] = '\n';
    return head + body + 1;
}

static void write_out(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(4);
        data += n;
        len -= (size_t)n;
    }
}

/* Lines in pieces of any size; sole writers split them anywhere. */
static void run_writer(struct shared *shared, int lane_index, int writer, int fd)
{
    const struct lane *lane = &lanes[lane_index];
    char *pending = malloc(2 * LINE_MAX_BYTES);
    uint64_t number = 0, written = 0;
    size_t have = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (pending && !atomic_load(&shared->stop)) {
        if (written >= atomic_load(&shared->budget)) {
            usleep(200);
            continue;
        }
        size_t want = lane->writers > 1 ? 1 : (size_t)(mix(number ^ written) % 9000) + 1;
        while (have < want) {
            size_t len = make_line(lane, writer, number++, pending + have);
            have += len;
        }
        size_t n = lane->writers > 1 ? have : want;
        write_out(fd, pending, n);
        memmove(pending, pending + n, have - n);
        have -= n;
        written += n;
    }
    write_out(fd, pending, have);
    atomic_store(&shared->lines[lane_index][writer], number);
    _exit(0);
}

/* --- what the files hold --- */

struct reader {
    const struct lane *lane;
    uint64_t next[WRITERS_MAX];
    char *line, *expected;
    size_t len;
    uint64_t bytes;
    char where[2048];
};

static void fail(const struct reader *reader, const char *what)
{
    fprintf(stderr, "%s: %s (line of %zu bytes: %.60s)\n", reader->where, what, reader->len,
            reader->line);
    exit(1);
}

static void check_line(struct reader *reader)
{
    int writer = -1;
    uint64_t number = 0;

    reader->line[reader->len] = '\0';
    if (sscanf(reader->line, "%d %" SCNu64, &writer, &number) != 2 || writer < 0 ||
        writer >= reader->lane->writers)
        fail(reader, "no line of ours");
    if (number != reader->next[writer]) {
        fprintf(stderr, "writer %d: expected %" PRIu64 ", found %" PRIu64 "\n", writer,
                reader->next[writer], number);
        fail(reader, "lost, doubled or out of order");
    }
    size_t len = make_line(reader->lane, writer, number, reader->expected);
    if (len != reader->len + 1 || memcmp(reader->expected, reader->line, reader->len) != 0)
        fail(reader, "changed");
    reader->next[writer]++;
    reader->len = 0;
}

static void take_bytes(struct reader *reader, const char *data, size_t len)
{
    if (reader->len + len > 2 * LINE_MAX_BYTES)
        fail(reader, "too long");
    memcpy(reader->line + reader->len, data, len);
    reader->len += len;
}

enum { STAMP_BYTES = 33 }; /* "2026-11-24T01:51:41.123456+01:00 " */

/* One line of a file (without newline), `begun`: it goes on from the file before. */
static bool take_file_line(struct reader *reader, const char *text, size_t len, bool begun)
{
    static const char head[] = "\"message\":\"", end[] = "\"}", part[] = "\",\"partial\":true}";

    if (reader->lane->format == STREAMS_RAW || (reader->lane->format == STREAMS_PLAIN && begun)) {
        take_bytes(reader, text, len);
        return true;
    }
    if (reader->lane->format == STREAMS_PLAIN) {
        if (len < STAMP_BYTES || text[4] != '-' || text[10] != 'T' || text[32] != ' ')
            fail(reader, "no time in front of a line");
        take_bytes(reader, text + STAMP_BYTES, len - STAMP_BYTES);
        return true;
    }
    const char *message = memmem(text, len, head, sizeof head - 1);
    bool is_part =
        len > sizeof part && memcmp(text + len - (sizeof part - 1), part, sizeof part - 1) == 0;
    if (strncmp(text, "{\"time\":\"", 9) != 0 || !message ||
        (!is_part && memcmp(text + len - 2, end, 2) != 0))
        fail(reader, "no object");
    message += sizeof head - 1;
    take_bytes(reader, message, len - (size_t)(message - text) - (is_part ? sizeof part - 1 : 2));
    return !is_part;
}

static void read_file(struct reader *reader, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    snprintf(reader->where, sizeof reader->where, "%s", path);
    if (fd < 0) { /* older than the oldest; later on it would be a gap in the numbers */
        if (reader->bytes > 0)
            fail(reader, "is missing");
        return;
    }
    RIG_NEED(fstat(fd, &st) == 0);
    char *data = st.st_size ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    RIG_NEED(data != MAP_FAILED);
    const char *at = data, *stop = data + st.st_size;
    while (at < stop) {
        bool begun = reader->len > 0;
        const char *newline = memchr(at, '\n', (size_t)(stop - at));
        const char *end = newline ? newline : stop;
        bool whole = take_file_line(reader, at, (size_t)(end - at), begun);
        if (newline && whole)
            check_line(reader);
        at = newline ? newline + 1 : stop;
    }
    reader->bytes += (uint64_t)st.st_size;
    if (data)
        munmap(data, (size_t)st.st_size);
    close(fd);
}

static uint64_t check_lane(const struct shared *shared, const char *folder, int lane_index)
{
    char path[1024];
    struct reader reader = { .lane = &lanes[lane_index],
                             .line = malloc(2 * LINE_MAX_BYTES + 1),
                             .expected = malloc(2 * LINE_MAX_BYTES) };

    RIG_NEED(reader.line && reader.expected);
    for (int number = BACKUPS; number >= 0; number--) {
        snprintf(path, sizeof path, "%s/%s.log", folder, reader.lane->name);
        if (number > 0)
            snprintf(path + strlen(path), 16, ".%d", number);
        read_file(&reader, path);
    }
    if (reader.len > 0)
        fail(&reader, "the last line has no end");
    for (int writer = 0; writer < reader.lane->writers; writer++)
        if (reader.next[writer] != atomic_load(&shared->lines[lane_index][writer])) {
            fprintf(stderr, "%s: writer %d wrote %" PRIu64 " lines, %" PRIu64 " are on file\n",
                    reader.lane->name, writer, atomic_load(&shared->lines[lane_index][writer]),
                    reader.next[writer]);
            exit(1);
        }
    free(reader.line);
    free(reader.expected);
    return reader.bytes;
}

/* --- the killing --- */

/* Kills at stop number `calls`; false if the logger waited for work before it came so far. */
static void kill_at_call(struct rig *rig, uint64_t calls)
{
    int status = 0;

    for (uint64_t i = 0; i <= calls; i++) {
        RIG_NEED(waitpid(rig->logger, &status, 0) == rig->logger);
        RIG_NEED(WIFSTOPPED(status));
        if (i == 0)
            RIG_NEED(ptrace(PTRACE_SETOPTIONS, rig->logger, NULL, PTRACE_O_EXITKILL) == 0);
        if (i < calls)
            RIG_NEED(ptrace(PTRACE_SYSCALL, rig->logger, NULL, NULL) == 0);
    }
    rig_kill(rig);
}

static void kill_after_random_time(struct rig *rig, uint64_t random)
{
    /* From just after exec to many batches and rotations: 0.3 .. 25 ms, more often short. */
    uint64_t us = 300 + (random >> 8) % (400u << (random % 7));
    struct timespec wait = { .tv_nsec = (long)us * 1000 };

    nanosleep(&wait, NULL);
    rig_kill(rig);
}

static pid_t start_writer(struct shared *shared, struct rig *rig, int lane, int writer, size_t slot)
{
    pid_t pid = fork();
    RIG_NEED(pid >= 0);
    if (pid == 0)
        run_writer(shared, lane, writer, rig_fd(rig, "w", slot));
    return pid;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "logger") == 0)
        return logger_run(STORE_INVENTORY_FD);
    if (argc != 5)
        return 2;
    bool step = strcmp(argv[1], "step") == 0;
    uint64_t kills = strtoull(argv[3], NULL, 10), seed = strtoull(argv[4], NULL, 10), bytes = 0;
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct rig rig;
    pid_t writers[NLANES * WRITERS_MAX];
    size_t nwriters = 0;

    RIG_NEED(shared != MAP_FAILED);
    rig_init(&rig);
    for (int lane = 0; lane < NLANES; lane++) {
        struct streams_settings settings = rig_settings(
            argv[2], lanes[lane].name, lanes[lane].format, lanes[lane].maxbytes, BACKUPS);
        size_t slot = rig_stream(&rig, &settings);
        for (int writer = 0; writer < lanes[lane].writers; writer++)
            writers[nwriters++] = start_writer(shared, &rig, lane, writer, slot);
    }
    for (uint64_t i = 0; i < kills; i++) {
        atomic_fetch_add(&shared->budget, BUDGET);
        rig_start(&rig, step);
        if (step)
            kill_at_call(&rig, i + 1);
        else
            kill_after_random_time(&rig, mix(seed + i));
    }
    rig_start(&rig, false);
    atomic_store(&shared->stop, 1);
    for (size_t i = 0; i < nwriters; i++) {
        int status;
        RIG_NEED(waitpid(writers[i], &status, 0) == writers[i] && status == 0);
    }
    rig_finish(&rig);
    for (int lane = 0; lane < NLANES; lane++)
        bytes += check_lane(shared, argv[2], lane);
    printf("kills=%" PRIu64 " bytes=%" PRIu64 " lost=0 doubled=0 reordered=0\n", kills, bytes);
    rig_done(&rig);
    return 0;
}
