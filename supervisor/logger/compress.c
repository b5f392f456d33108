/* compress.c - the contract is in compress.h. */
#include "supervisor/logger/compress.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/log.h"
#include "io/reaper.h"
#include "supervisor/logger/rotate.h"

enum { NAME_BYTES = STREAMS_PATH_MAX + 32, LOWEST_PRIORITY = 19, FILE_MODE = 0640 };

void compress_init(struct compress *compress) { *compress = (struct compress){ .pidfd = -1 }; }

static void temporary_name(const struct compress *compress, char name[static NAME_BYTES])
{
    (void)rotate_name(name, NAME_BYTES, compress->path, 0, ".zst.tmp");
}

static void remove_temporary(const struct compress *compress)
{
    char name[NAME_BYTES];
    temporary_name(compress, name);
    unlink(name);
}

/* Waits for the child; true if it did its work. */
static bool reap(struct compress *compress)
{
    struct reaper_exit how;
    bool known = reaper_wait(compress->pid, &how);
    close(compress->pidfd);
    compress->pidfd = -1;
    return known && how.code == CLD_EXITED && how.status == 0;
}

void compress_done(struct compress *compress)
{
    if (compress->pidfd >= 0) {
        (void)child_pidfd_signal(compress->pidfd, SIGKILL);
        (void)reap(compress);
        remove_temporary(compress);
    }
    free(compress->program);
    compress->program = NULL;
}

bool compress_busy(const struct compress *compress) { return compress->pidfd >= 0; }

/* `source` and `result` become its standard streams. */
static bool run_child(struct compress *compress, const char *path, char *const argv[], int source,
                      int result, struct err *err)
{
    const struct child_fd fds[] = { { source, 0 }, { result, 1 }, { -1, 2 } };
    struct child_spec spec = {
        .path = path,
        .argv = argv,
        .envp = environ,
        .fds = fds,
        .nfds = sizeof fds / sizeof fds[0],
        .directory_fd = -1,
        .umask = -1,
        .nice = LOWEST_PRIORITY,
        .new_group = true,
        .death_signal = SIGKILL,
        .report = &compress->report,
    };

    compress->report = (struct child_report){ 0 };
    if (child_start(&spec, &compress->pid, err) != 0)
        return false;
    compress->pidfd = child_pidfd(compress->pid);
    if (compress->pidfd >= 0)
        return true;
    kill(compress->pid, SIGKILL); /* ours and not reaped: the pid is still its */
    (void)reaper_wait(compress->pid, &(struct reaper_exit){ 0 });
    compress->pidfd = -1;
    (void)err_set(err, ERR_SYSTEM, "it cannot be watched");
    return false;
}

static bool find_program(struct compress *compress)
{
    struct err err = { 0 };

    if (!compress->looked) {
        compress->looked = true;
        compress->program = child_find("zstd", environ, &err);
        if (!compress->program)
            log_warn("zstd is not installed, rotated logs stay uncompressed", "error", err.text,
                     NULL);
    }
    return compress->program != NULL;
}

static bool exists(const char *name)
{
    struct stat st;
    return lstat(name, &st) == 0;
}

/* The lowest number that is there uncompressed; 0 = none. */
static uint32_t find_work(const char *path, uint32_t backups)
{
    char plain[NAME_BYTES], packed[NAME_BYTES];

    for (uint32_t number = 1; number <= backups; number++) {
        if (!rotate_name(plain, sizeof plain, path, number, "") ||
            !rotate_name(packed, sizeof packed, path, number, ".zst"))
            return 0;
        bool is_packed = exists(packed);
        if (exists(plain)) {
            if (!is_packed)
                return number;
            unlink(plain); /* we were killed between the rename and this */
        } else if (!is_packed)
            return 0; /* numbers have no gaps: nothing older is there */
    }
    return 0;
}

static int open_result(const struct compress *compress, int source)
{
    char name[NAME_BYTES];
    struct stat st;

    remove_temporary(compress);
    temporary_name(compress, name);
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd >= 0 && fstat(source, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) != 0)
        return fd; /* not root: it is ours, as all the others */
    return fd;
}

static bool start_packing(struct compress *compress, int source, int result)
{
    char *const argv[] = { (char *)"zstd", (char *)"-q", (char *)"-c", NULL };
    struct err err = { 0 };

    compress->phase = COMPRESS_PACKING;
    if (run_child(compress, compress->program, argv, source, result, &err))
        return true;
    log_warn("cannot start zstd, a rotated log stays uncompressed", "error", err.text, NULL);
    return false;
}

bool compress_start(struct compress *compress, size_t slot, const char *path, uint32_t backups)
{
    char name[NAME_BYTES];

    if (compress_busy(compress))
        return false;
    uint32_t number = find_work(path, backups);
    if (number == 0 || !find_program(compress))
        return false;
    snprintf(compress->path, sizeof compress->path, "%s", path);
    compress->slot = slot;
    compress->number = number;
    if (!rotate_name(name, sizeof name, path, number, ""))
        return false;
    AUTO_CLOSE int source = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (source < 0)
        return false;
    struct stat st;
    if (fstat(source, &st) != 0)
        return false;
    compress->written = st.st_mtim;
    AUTO_CLOSE int result = open_result(compress, source);
    if (result >= 0 && start_packing(compress, source, result))
        return true;
    remove_temporary(compress);
    return false;
}

void compress_tidy(const char *path)
{
    char name[NAME_BYTES];

    if (rotate_name(name, sizeof name, path, 0, ".zst.tmp"))
        unlink(name);
}

void compress_moved(struct compress *compress, size_t slot, uint32_t from, uint32_t to)
{
    if (compress_busy(compress) && compress->slot == slot && compress->number == from)
        compress->number = to;
}

/* Where it is not installed, or does not start, the kernel writes the file in its own time. */
static bool start_syncing(struct compress *compress)
{
    char temporary[NAME_BYTES];
    char *const argv[] = { (char *)"sync", temporary, NULL };
    struct err err = { 0 };

    temporary_name(compress, temporary);
    AUTO_FREE char *program = child_find("sync", environ, &err);
    compress->phase = COMPRESS_SYNCING;
    return program && run_child(compress, program, argv, -1, -1, &err);
}

static bool put_in_place(const struct compress *compress)
{
    char temporary[NAME_BYTES], plain[NAME_BYTES], packed[NAME_BYTES];

    temporary_name(compress, temporary);
    const struct timespec times[] = { { .tv_nsec = UTIME_OMIT }, compress->written };
    (void)utimensat(AT_FDCWD, temporary, times, AT_SYMLINK_NOFOLLOW);
    if (compress->number == 0 ||
        !rotate_name(plain, sizeof plain, compress->path, compress->number, "") ||
        !rotate_name(packed, sizeof packed, compress->path, compress->number, ".zst") ||
        rename(temporary, packed) != 0)
        return false;
    unlink(plain);
    return true;
}

enum compress_outcome compress_next(struct compress *compress)
{
    bool well = reap(compress);

    if (well && compress->phase == COMPRESS_PACKING && start_syncing(compress))
        return COMPRESS_GOES_ON;
    if (well && put_in_place(compress))
        return COMPRESS_DONE;
    remove_temporary(compress);
    if (!well)
        log_warn(compress->phase == COMPRESS_PACKING
                     ? "zstd failed, a rotated log stays uncompressed"
                     : "a compressed log cannot be made durable, it stays uncompressed",
                 "file", compress->path, NULL);
    return compress->number == 0 ? COMPRESS_DONE : COMPRESS_FAILED;
}
