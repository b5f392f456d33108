/* chain.c - the contract is in chain.h. */
#include "supervisor/cli/chain.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "io/child.h"
#include "io/reaper.h"
#include "supervisor/ledger/streams.h"
#include "supervisor/logger/rotate.h"

enum {
    NAME_BYTES = STREAMS_PATH_MAX + 32,
    HOLES_MAX = 3, /* missing numbers in a row after which nothing older is looked for */
    TRIES_MAX = 1000,
    BLOCK = 32 * 1024,
};

void chain_init(struct chain_file *file) { *file = (struct chain_file){ .fd = -1 }; }

void chain_close(struct chain_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    if (file->unpacker > 0) { /* ours and not waited for: the pid is still its */
        kill(file->unpacker, SIGKILL);
        (void)reaper_wait(file->unpacker, &(struct reaper_exit){ 0 });
    }
    chain_init(file);
}

/* A regular file under this number and suffix. */
static bool look(const char *path, uint32_t number, const char *suffix, struct stat *st)
{
    char name[NAME_BYTES];
    return rotate_name(name, sizeof name, path, number, suffix) && stat(name, st) == 0;
}

/* The plain name first: zstd's result is there before the plain file goes. */
static bool look_at(const char *path, uint32_t number, struct stat *st, bool *ret_packed)
{
    *ret_packed = false;
    if (look(path, number, "", st))
        return true;
    *ret_packed = number > 0 && look(path, number, ".zst", st);
    return *ret_packed;
}

static int start_unpacker(const char *name, int source, struct chain_file *ret, struct err *err)
{
    AUTO_FREE char *program = child_find("zstd", environ, err);
    char *argv[] = { "zstd", "-q", "-d", "-c", NULL };
    struct child_report report = { 0 };
    int ends[2];

    if (!program)
        return err_wrap(err, "%s is compressed, zstd is needed to read it", name);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_sys(err, errno, "pipe");
    const struct child_fd fds[] = { { source, 0 }, { ends[1], 1 }, { -1, 2 } };
    const struct child_spec spec = {
        .path = program,
        .argv = argv,
        .envp = environ,
        .fds = fds,
        .nfds = sizeof fds / sizeof fds[0],
        .directory_fd = -1,
        .umask = -1,
        .death_signal = SIGKILL,
        .report = &report,
    };
    int rc = child_start(&spec, &ret->unpacker, err);
    close(ends[1]);
    if (rc != 0) {
        close(ends[0]);
        ret->unpacker = 0;
        return err_wrap(err, "starting zstd");
    }
    ret->fd = ends[0];
    return 0;
}

static int open_named(const char *name, struct chain_file *ret, struct err *err)
{
    ret->fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (ret->fd < 0 && errno == ENOENT)
        return 0;
    if (ret->fd < 0)
        return err_sys(err, errno, "opening %s", name);
    if (fstat(ret->fd, &ret->id) == 0)
        return 0;
    int sys = errno;
    chain_close(ret);
    return err_sys(err, sys, "looking at %s", name);
}

int chain_open(const char *path, uint32_t number, struct chain_file *ret, struct err *err)
{
    char name[NAME_BYTES];

    chain_init(ret);
    if (!rotate_name(name, sizeof name, path, number, ""))
        return err_set(err, ERR_INVALID, "%s is too long a name", path);
    int rc = open_named(name, ret, err);
    if (rc != 0 || ret->fd >= 0 || number == 0)
        return rc;
    if (!rotate_name(name, sizeof name, path, number, ".zst"))
        return err_set(err, ERR_INVALID, "%s is too long a name", path);
    rc = open_named(name, ret, err);
    if (rc != 0 || ret->fd < 0)
        return rc;
    AUTO_CLOSE int source = take_fd(&ret->fd);
    ret->packed = true;
    return start_unpacker(name, source, ret, err);
}

int chain_end(const char *path, struct chain_file *file, struct err *err)
{
    struct reaper_exit how;

    if (file->unpacker <= 0)
        return 0;
    bool known = reaper_wait(file->unpacker, &how);
    file->unpacker = 0;
    if (known && how.code == CLD_EXITED && how.status == 0)
        return 0;
    return err_set(err, ERR_CORRUPT, "a compressed file of %s cannot be unpacked whole", path);
}

static bool same_time(const struct stat *a, const struct stat *b)
{
    return a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Whether what comes out of `packed` is what is in the plain file; several small files may have
 * been finished at the same time. */
static bool same_content(int plain, struct chain_file *packed)
{
    char a[BLOCK], b[BLOCK];
    off_t at = 0;

    for (;;) {
        ssize_t n = read(packed->fd, a, sizeof a);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 && pread(plain, b, 1, at) == 0;
        if (pread(plain, b, (size_t)n, at) != n || memcmp(a, b, (size_t)n) != 0)
            return false;
        at += n;
    }
}

static bool is_packed_copy(const char *path, uint32_t number, const struct chain_file *file)
{
    struct chain_file packed;
    struct err err = { 0 };
    struct stat now;

    if (file->packed || fstat(file->fd, &now) != 0)
        return false;
    if (chain_open(path, number, &packed, &err) != 0)
        return false;
    bool same = packed.packed && same_time(&packed.id, &now) && same_content(file->fd, &packed);
    chain_close(&packed);
    return same;
}

int64_t chain_number(const char *path, const struct chain_file *file)
{
    struct stat st, now;
    bool packed;
    int holes = 0;

    bool known = !file->packed && fstat(file->fd, &now) == 0;
    for (uint32_t number = 0; number <= ROTATE_BACKUPS_MAX && holes < HOLES_MAX; number++) {
        if (!look_at(path, number, &st, &packed)) {
            holes++;
            continue;
        }
        holes = 0;
        if (same_file(&st, &file->id))
            return number;
        if (packed && known && same_time(&st, &now) && is_packed_copy(path, number, file))
            return number;
    }
    return CHAIN_GONE;
}

uint32_t chain_oldest(const char *path)
{
    uint32_t found = 0;
    struct stat st;
    bool packed;

    for (uint32_t number = 1; number <= found + HOLES_MAX && number <= ROTATE_BACKUPS_MAX; number++)
        if (look_at(path, number, &st, &packed))
            found = number;
    return found;
}

int64_t chain_time_us(const char *path, uint32_t number)
{
    struct stat st;
    bool packed;

    if (!look_at(path, number, &st, &packed))
        return 0;
    return (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
}

/* The nearest file below `number`, and its number. */
static int open_below(const char *path, int64_t number, struct chain_file *ret, int64_t *ret_number,
                      struct err *err)
{
    chain_init(ret);
    for (int64_t at = number - 1; at >= 0; at--) {
        int rc = chain_open(path, (uint32_t)at, ret, err);
        *ret_number = at;
        if (rc != 0 || ret->fd >= 0)
            return rc;
    }
    return 0;
}

/* Nothing has moved between looking and opening: `file` is where it was, and nothing lies between
 * it and the one that was opened.  What is renamed moves away from PATH, the oldest first. */
static bool still_so(const char *path, const struct chain_file *file, int64_t number,
                     int64_t opened)
{
    struct stat st;
    bool packed;

    for (int64_t at = opened + 1; at < number; at++)
        if (look_at(path, (uint32_t)at, &st, &packed))
            return false;
    return chain_number(path, file) == number;
}

static int open_oldest(const char *path, struct chain_file *ret, struct err *err)
{
    for (int tries = 0; tries < TRIES_MAX; tries++) {
        uint32_t oldest = chain_oldest(path);
        int rc = chain_open(path, oldest, ret, err);
        if (rc != 0 || ret->fd >= 0 || oldest == 0)
            return rc;
    }
    return 0;
}

int chain_next(const char *path, const struct chain_file *file, struct chain_file *ret,
               bool *ret_missed, struct err *err)
{
    struct stat st;

    *ret_missed = false;
    chain_init(ret);
    for (int tries = 0; file->fd >= 0 && tries < TRIES_MAX; tries++) {
        int64_t number = chain_number(path, file), below = 0;
        if (number == CHAIN_GONE && fstat(file->fd, &st) == 0 && !file->packed && st.st_nlink > 0)
            return chain_open(path, 0, ret, err); /* renamed by somebody else */
        if (number == CHAIN_GONE)
            break;
        int rc = open_below(path, number, ret, &below, err);
        if (rc != 0 || ret->fd < 0 || still_so(path, file, number, below))
            return rc;
        chain_close(ret);
    }
    *ret_missed = file->fd >= 0;
    return open_oldest(path, ret, err);
}
