/* logger_cases.c - what the logger does for orders and on bad days, one case per run.
 *
 *     logger_cases CASE FOLDER      leaves with 0, 1 (what was expected is said), or 77 (not
 * possible on this machine)
 */
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "tests/system/logger_rig.h"

enum { SKIPPED = 77, TEXT_MAX = 8 * 1024 * 1024, FULL_KB = 512 };

static char text[TEXT_MAX];

#define EXPECT(what)                                                                               \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: expected: %s\n", __FILE__, __LINE__, #what);                   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static size_t slurp(const char *folder, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    n = n < 0 ? 0 : n;
    text[n] = '\0';
    return (size_t)n;
}

static void put_text(const struct rig *rig, size_t slot, const char *what)
{
    RIG_NEED(write(rig_fd(rig, "w", slot), what, strlen(what)) == (ssize_t)strlen(what));
}

static size_t one_stream(struct rig *rig, const char *folder, int format)
{
    struct streams_settings settings = rig_settings(folder, "a", format, 0, 3);
    return rig_stream(rig, &settings);
}

static void rename_in(const char *folder, const char *from, const char *to)
{
    char a[1024], b[1024];
    snprintf(a, sizeof a, "%s/%s", folder, from);
    snprintf(b, sizeof b, "%s/%s", folder, to);
    RIG_NEED(rename(a, b) == 0);
}

/* A drain answers for what was in the pipe; lines in pieces are stamped once. */
static void case_drain(struct rig *rig, const char *folder)
{
    size_t slot = one_stream(rig, folder, STREAMS_PLAIN);

    rig_start(rig, false);
    put_text(rig, slot, "one\ntw");
    rig_drain(rig, slot);
    size_t n = slurp(folder, "a.log");
    EXPECT(n == 33 + 4 + 33 + 2 && memcmp(text + n - 3, " tw", 3) == 0);
    put_text(rig, slot, "o\n");
    rig_drain(rig, slot);
    EXPECT(slurp(folder, "a.log") == n + 2 && strcmp(text + n - 3, " two\n") == 0);
    struct streams_progress progress;
    streams_progress(rig->table, slot, &progress);
    EXPECT(progress.bytes_in == 8 && progress.has_output && progress.error == 0);
    rig_finish(rig);
}

static bool is_free(const struct rig *rig, void *context)
{
    return streams_state(rig->table, *(size_t *)context) == STREAMS_FREE;
}

/* An order to close drains, ends the line, frees the slot, which then serves another stream whose
 * pipe comes over the channel; its file is appended to. */
static void case_close(struct rig *rig, const char *folder)
{
    size_t slot = one_stream(rig, folder, STREAMS_JSON);
    struct err err = { 0 };

    rig_start(rig, false);
    put_text(rig, slot, "no end");
    streams_order_close(rig->table, slot);
    rig_poke(rig);
    rig_wait(rig, is_free, &slot);
    size_t n = slurp(folder, "a.log");
    EXPECT(n > 20 && strcmp(text + n - 9, "no end\"}\n") == 0);
    RIG_NEED(store_send(rig->channel, STORE_DROP, "log.0.r", -1, 1000, &err) == 0);
    EXPECT(one_stream(rig, folder, STREAMS_RAW) == slot);
    RIG_NEED(store_send(rig->channel, STORE_PUT, "log.0.r", rig_fd(rig, "r", slot), 1000, &err) ==
             0);
    put_text(rig, slot, "again\n");
    rig_drain(rig, slot);
    EXPECT(slurp(folder, "a.log") == n + 6 && strcmp(text + n, "again\n") == 0);
    rig_finish(rig);
}

/* An order that is seen before the pipe has come answers for the pipe all the same. */
static void case_late(struct rig *rig, const char *folder)
{
    struct err err = { 0 };
    struct streams_settings settings = rig_settings(folder, "first", STREAMS_RAW, 0, 0);
    size_t first = rig_stream(rig, &settings);

    rig_start(rig, false);
    rig_drain(rig, first);
    size_t slot = one_stream(rig, folder, STREAMS_RAW);
    put_text(rig, slot, "late\n");
    struct rig_drain drain = { slot, streams_order_drain(rig->table, slot) };
    rig_drain(rig, first); /* one look at all slots: ours was seen as well */
    EXPECT(!rig_is_drained(rig, &drain));
    RIG_NEED(store_send(rig->channel, STORE_PUT, "log.1.r", rig_fd(rig, "r", slot), 1000, &err) ==
             0);
    rig_wait(rig, rig_is_drained, &drain);
    EXPECT(slurp(folder, "a.log") == 5);
    rig_finish(rig);
}

/* Another path and another format, live. */
static void case_settings(struct rig *rig, const char *folder)
{
    char deeper[512];
    size_t slot = one_stream(rig, folder, STREAMS_PLAIN);

    snprintf(deeper, sizeof deeper, "%s/deep/er", folder);
    struct streams_settings settings = rig_settings(deeper, "b", STREAMS_RAW, 0, 3);
    rig_start(rig, false);
    put_text(rig, slot, "half");
    rig_drain(rig, slot);
    streams_set(rig->table, slot, &settings);
    rig_drain(rig, slot);
    put_text(rig, slot, " other half\n");
    rig_drain(rig, slot);
    size_t n = slurp(folder, "a.log");
    EXPECT(n == 33 + 5 && strcmp(text + 33, "half\n") == 0);
    slurp(deeper, "b.log");
    EXPECT(strcmp(text, " other half\n") == 0);
    rig_finish(rig);
}

/* Renamed and reopened, cut, deleted: always on at the real end, and counted. */
static void case_outside(struct rig *rig, const char *folder)
{
    char path[512];
    size_t slot = one_stream(rig, folder, STREAMS_RAW);
    struct streams_progress progress;

    snprintf(path, sizeof path, "%s/a.log", folder);
    rig_start(rig, false);
    put_text(rig, slot, "1\n");
    rig_drain(rig, slot);
    rename_in(folder, "a.log", "old");
    put_text(rig, slot, "2\n");
    rig_drain(rig, slot);
    streams_order_reopen(rig->table);
    rig_drain(rig, slot);
    put_text(rig, slot, "3\n");
    rig_drain(rig, slot);
    slurp(folder, "old");
    EXPECT(strcmp(text, "1\n2\n") == 0);
    slurp(folder, "a.log");
    EXPECT(strcmp(text, "3\n") == 0);
    RIG_NEED(truncate(path, 0) == 0);
    put_text(rig, slot, "4\n");
    rig_drain(rig, slot);
    slurp(folder, "a.log");
    EXPECT(strcmp(text, "4\n") == 0);
    streams_progress(rig->table, slot, &progress);
    EXPECT(progress.cuts == 1);
    RIG_NEED(unlink(path) == 0);
    put_text(rig, slot, "5\n");
    rig_drain(rig, slot);
    slurp(folder, "a.log");
    EXPECT(strcmp(text, "5\n") == 0);
    streams_progress(rig->table, slot, &progress);
    EXPECT(progress.cuts == 2 && progress.bytes_lost == 0);
    rig_finish(rig);
}

/* A link under the file's name is not followed: the error is told, nothing is lost once it is gone.
 */
static bool has_error(const struct rig *rig, void *context)
{
    struct streams_progress progress;
    streams_progress(rig->table, *(size_t *)context, &progress);
    return progress.error != 0;
}

static void case_link(struct rig *rig, const char *folder)
{
    char path[512];
    size_t slot = one_stream(rig, folder, STREAMS_RAW);
    struct streams_progress progress;

    snprintf(path, sizeof path, "%s/a.log", folder);
    RIG_NEED(symlink("/dev/null", path) == 0);
    rig_start(rig, false);
    put_text(rig, slot, "kept\n");
    rig_wait(rig, has_error, &slot);
    streams_progress(rig->table, slot, &progress);
    EXPECT(progress.error == ELOOP);
    RIG_NEED(unlink(path) == 0);
    rig_drain(rig, slot);
    slurp(folder, "a.log");
    EXPECT(strcmp(text, "kept\n") == 0);
    rig_finish(rig);
}

/* On SIGTERM, and when the guardian is gone, the logger leaves with 0; the next one goes on. */
static void case_leave(struct rig *rig, const char *folder)
{
    size_t slot = one_stream(rig, folder, STREAMS_PLAIN);

    rig_start(rig, false);
    put_text(rig, slot, "a");
    rig_drain(rig, slot);
    RIG_NEED(kill(rig->logger, SIGTERM) == 0);
    EXPECT(rig_reap(rig) == 0);
    rig_start(rig, false);
    put_text(rig, slot, "b\n");
    rig_drain(rig, slot);
    RIG_NEED(shutdown(rig->channel, SHUT_RDWR) == 0);
    EXPECT(rig_reap(rig) == 0);
    size_t n = slurp(folder, "a.log");
    EXPECT(n == 33 + 3 && strcmp(text + 33, "ab\n") == 0);
}

/* One line of 10 MB and bytes of every value. */
static void case_long(struct rig *rig, const char *folder)
{
    enum { LONG = 10 * 1024 * 1024 };
    static char bytes[256];
    char path[512];
    struct stat st;
    size_t slot = one_stream(rig, folder, STREAMS_PLAIN);

    for (int i = 0; i < 256; i++)
        bytes[i] = i == '\n' ? 'n' : (char)i;
    rig_start(rig, false);
    for (int i = 0; i < LONG / 256; i++)
        RIG_NEED(write(rig_fd(rig, "w", slot), bytes, 256) == 256);
    put_text(rig, slot, "\nnext\n");
    rig_drain(rig, slot);
    snprintf(path, sizeof path, "%s/a.log", folder);
    RIG_NEED(stat(path, &st) == 0);
    EXPECT(st.st_size == 33 + LONG + 1 + 33 + 5 && (st.st_mode & 0777) == 0640);
    EXPECT(slurp(folder, "a.log") > 33 + 256 && memcmp(text + 33, bytes, 256) == 0);
    rig_finish(rig);
}

/* Rotated files are compressed; their number follows the rotation. */
static bool all_compressed(const struct rig *rig, void *context)
{
    char path[1024];
    (void)rig;
    for (int number = 1; number <= 3; number++) {
        snprintf(path, sizeof path, "%s/a.log.%d.zst", (const char *)context, number);
        if (access(path, F_OK) != 0)
            return usleep(20000), false;
        snprintf(path, sizeof path, "%s/a.log.%d", (const char *)context, number);
        if (access(path, F_OK) == 0)
            return usleep(20000), false;
    }
    return true;
}

static void case_compress(struct rig *rig, const char *folder)
{
    char path[1024];
    struct streams_settings settings = rig_settings(folder, "a", STREAMS_RAW, 1000, 3);

    settings.compress = STREAMS_COMPRESS_ZSTD;
    size_t slot = rig_stream(rig, &settings);
    struct streams_settings other = rig_settings(folder, "b", STREAMS_RAW, 1000, 3);
    (void)rig_stream(rig, &other);
    snprintf(path, sizeof path, "%s/b.log.zst.tmp", folder); /* of a logger that was killed */
    RIG_NEED(close(open(path, O_WRONLY | O_CREAT, 0600)) == 0);
    rig_start(rig, false);
    for (int i = 0; i < 1000; i++)
        put_text(rig, slot, "a line that is not very long\n");
    rig_drain(rig, slot);
    EXPECT(access(path, F_OK) != 0);
    rig_wait(rig, all_compressed, (void *)(uintptr_t)folder);
    snprintf(path, sizeof path, "%s/a.log.4.zst", folder);
    EXPECT(access(path, F_OK) != 0);
    snprintf(path, sizeof path, "%s/a.log.zst.tmp", folder);
    EXPECT(access(path, F_OK) != 0);
    snprintf(path, sizeof path, "zstd -dqc %s/a.log.3.zst | wc -c | grep -qx 1015", folder);
    EXPECT(system(path) == 0);
    rig_finish(rig);
}

/* No wake-up when nothing is to do. */
static long switches(pid_t pid)
{
    char path[64], line[256];
    long sum = 0, n;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    RIG_NEED(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1 ||
            sscanf(line, "nonvoluntary_ctxt_switches: %ld", &n) == 1)
            sum += n;
    fclose(file);
    return sum;
}

static void case_idle(struct rig *rig, const char *folder)
{
    size_t slot = one_stream(rig, folder, STREAMS_PLAIN);

    rig_start(rig, false);
    put_text(rig, slot, "x\n");
    rig_drain(rig, slot);
    usleep(300000);
    long before = switches(rig->logger);
    usleep(1500000); /* the case itself is that nothing happens in this time */
    EXPECT(switches(rig->logger) == before);
    rig_finish(rig);
}

/* --- a full disk --- */

static void mount_small(const char *folder)
{
    char options[64];
    snprintf(options, sizeof options, "size=%dk", FULL_KB);
    if (geteuid() != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        exit(SKIPPED);
    if (geteuid() == 0 && unshare(CLONE_NEWNS) != 0)
        exit(SKIPPED);
    (void)mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
    if (mount("tmpfs", folder, "tmpfs", 0, options) != 0)
        exit(SKIPPED);
}

static void fill(const char *folder, size_t kb)
{
    static const char block[1024];
    char path[1024];
    snprintf(path, sizeof path, "%s/filler", folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    RIG_NEED(fd >= 0);
    for (size_t i = 0; i < kb && write(fd, block, sizeof block) > 0; i++)
        continue;
    close(fd);
}

static void unfill(const char *folder)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/filler", folder);
    RIG_NEED(unlink(path) == 0);
}

static pid_t write_numbers(const struct rig *rig, size_t slot, unsigned lines)
{
    char line[32];
    pid_t pid = fork();
    RIG_NEED(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (unsigned i = 0; i < lines; i++) {
        int n = snprintf(line, sizeof line, "%07u\n", i);
        if (write(rig_fd(rig, "w", slot), line, (size_t)n) != n)
            _exit(1);
    }
    _exit(0);
}

static void expect_numbers(const char *folder, const char *name, unsigned from, unsigned lines)
{
    char line[32];
    EXPECT(slurp(folder, name) >= (size_t)(lines - from) * 8);
    for (unsigned i = from; i < lines; i++) {
        snprintf(line, sizeof line, "%07u\n", i);
        EXPECT(memcmp(text + (size_t)(i - from) * 8, line, 8) == 0);
    }
    EXPECT(text[(size_t)(lines - from) * 8] == '\0');
}

static void kill_often(struct rig *rig, int times)
{
    for (int i = 0; i < times; i++) {
        usleep((useconds_t)(700 + i * 97 % 1500)); /* from before to behind the end of its start */
        rig_kill(rig);
        rig_start(rig, false);
    }
}

/* `block`: the service waits, others go on, kills change nothing, every byte arrives. */
static void case_full_block(struct rig *rig, const char *folder)
{
    enum { LINES = 30000 }; /* 240 kB: more than pipe, spill and the free space together */
    char other[512];
    struct streams_progress progress;
    int status;

    snprintf(other, sizeof other, "%s.other", folder);
    mount_small(folder);
    fill(folder, FULL_KB - 40);
    size_t slot = one_stream(rig, folder, STREAMS_RAW);
    struct streams_settings settings = rig_settings(other, "b", STREAMS_RAW, 0, 0);
    size_t second = rig_stream(rig, &settings);
    rig_start(rig, false);
    pid_t writer = write_numbers(rig, slot, LINES);
    rig_wait(rig, has_error, &slot);
    streams_progress(rig->table, slot, &progress);
    EXPECT(progress.error == ENOSPC && progress.bytes_lost == 0);
    put_text(rig, second, "still here\n");
    rig_drain(rig, second);
    EXPECT(slurp(other, "b.log") == 11);
    kill_often(rig, 50);
    EXPECT(waitpid(writer, &status, WNOHANG) == 0);
    unfill(folder);
    kill_often(rig, 50);  /* while the spill is written */
    rig_drain(rig, slot); /* an order makes it try at once */
    RIG_NEED(waitpid(writer, &status, 0) == writer && status == 0);
    rig_drain(rig, slot);
    streams_progress(rig->table, slot, &progress);
    EXPECT(progress.error == 0 && progress.bytes_in == LINES * 8 && progress.bytes_lost == 0);
    rig_finish(rig);
    expect_numbers(folder, "a.log", 0, LINES);
}

/* Two streams with one file: each line is whole, none is lost, also when one of them was blocked.
 */
static void case_shared(struct rig *rig, const char *folder)
{
    enum { LINES = 5000 };
    static bool seen[2][LINES];
    struct streams_settings settings = rig_settings(folder, "a", STREAMS_RAW, 0, 0);
    char line[32];

    size_t first = rig_stream(rig, &settings), second = rig_stream(rig, &settings);
    rig_start(rig, false);
    for (int i = 0; i < LINES; i++) {
        snprintf(line, sizeof line, "0 %d\n", i);
        put_text(rig, first, line);
        line[0] = '1';
        put_text(rig, second, line);
        if (i % 500 == 0) {
            rig_kill(rig);
            rig_start(rig, false);
        }
    }
    rig_drain(rig, first);
    rig_drain(rig, second);
    rig_finish(rig);
    slurp(folder, "a.log");
    int count = 0;
    for (char *at = text; *at; at = strchr(at, '\n') + 1, count++) {
        int who = -1, number = -1;
        EXPECT(sscanf(at, "%d %d\n", &who, &number) == 2 && strchr(at, '\n'));
        EXPECT(who >= 0 && who < 2 && number >= 0 && number < LINES && !seen[who][number]);
        seen[who][number] = true;
    }
    EXPECT(count == 2 * LINES);
}

/* `drop-old`: the service never waits; what is missing is counted and told. */
static void case_full_drop(struct rig *rig, const char *folder)
{
    enum { LINES = 60000 };
    struct streams_progress progress;
    unsigned long long told = 0, once;
    size_t said = 0, notices = 0;
    int status;

    mount_small(folder);
    fill(folder, FULL_KB - 40);
    struct streams_settings settings = rig_settings(folder, "a", STREAMS_RAW, 0, 0);
    settings.overflow = STREAMS_DROP_OLD;
    size_t slot = rig_stream(rig, &settings);
    rig_start(rig, false);
    pid_t writer = write_numbers(rig, slot, LINES);
    RIG_NEED(waitpid(writer, &status, 0) == writer && status == 0);
    EXPECT(has_error(rig, &slot));
    unfill(folder);
    rig_drain(rig, slot);
    streams_progress(rig->table, slot, &progress);
    EXPECT(progress.bytes_lost > 0 && progress.bytes_in == LINES * 8 && progress.error == 0);
    rig_finish(rig);
    size_t n = slurp(folder, "a.log");
    /* Once, or again when the logger got some of it away before the disk was full for good. */
    for (char *notice = strstr(text, " supervisor: "); notice;
         notice = strstr(notice + 1, " supervisor: ")) {
        EXPECT(sscanf(notice, " supervisor: %llu bytes dropped", &once) == 1);
        told += once;
        said += strcspn(notice, "\n") + 33;
        notices++;
    }
    EXPECT(notices > 0 && told == progress.bytes_lost);
    EXPECT(strcmp(text + n - 8, "0059999\n") == 0);
    size_t kept = (size_t)LINES * 8 - told;
    EXPECT(n + notices >= kept + said && n <= kept + said + notices);
}

static const struct {
    const char *name;
    void (*fn)(struct rig *rig, const char *folder);
} cases[] = {
    /* clang-format off */
    { "drain", case_drain },           { "close", case_close },
    { "late", case_late },             { "settings", case_settings },
    { "outside", case_outside },
    { "link", case_link },             { "leave", case_leave },
    { "long", case_long },             { "compress", case_compress },
    { "idle", case_idle },             { "full-block", case_full_block },
    { "full-drop", case_full_drop },   { "shared", case_shared },
    /* clang-format on */
};

int main(int argc, char **argv)
{
    struct rig rig;

    if (argc > 1 && strcmp(argv[1], "logger") == 0)
        return logger_run(STORE_INVENTORY_FD);
    for (size_t i = 0; argc == 3 && i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(argv[1], cases[i].name) != 0)
            continue;
        rig_init(&rig);
        cases[i].fn(&rig, argv[2]);
        rig_done(&rig);
        return 0;
    }
    fprintf(stderr, "cases:");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        fprintf(stderr, " %s", cases[i].name);
    fprintf(stderr, "\n");
    return 2;
}
