/* unpack.c - the contract is in unpack.h. */
#include "deployctl/fleet/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/arena.h"
#include "base/auto.h"
#include "deployctl/plan/tar.h"
#include "io/durable.h"

enum { PIECE = 256 * 1024, GZIP_WINDOW = 15 + 16, OWN_FOLDER = 0700, OWN_FILE = 0600 };

struct folder {
    struct folder *next;
    const char *path;
    uint32_t mode;
};
struct unpacking {
    int fd, dirfd, file; /* file: being written, -1 = none */
    bool folder_modes;
    const atomic_bool *stop;
    struct tar tar;
    struct arena arena;
    struct folder *folders;        /* with modes to be set at the end; inner ones first */
    char path[TAR_NAME_MAX + 1];   /* of the present entry */
    char folder[TAR_NAME_MAX + 1]; /* was made last */
    uint32_t mode;                 /* of the present file */
    uint64_t entries, bytes;
    unsigned char *in, *out; /* pieces */
};

/* --- entries ---------------------------------------------------------------------------------- */

static int failed(const struct unpacking *u, int sys, const char *path, struct err *err)
{
    (void)u;
    if (sys == EEXIST)
        return err_set(err, ERR_INVALID, "%.128s is in it twice", path);
    if (sys == ELOOP || sys == ENOTDIR || sys == EXDEV)
        return err_set(err, ERR_INVALID, "%.128s lies below a link or a file", path);
    return err_sys(err, sys, "%.128s", path);
}

/* The folder that `path` is in: a descriptor, and the last part. */
static int open_parent(const struct unpacking *u, const char *path, const char **ret_last)
{
    char parent[TAR_NAME_MAX + 1];
    const char *slash = strrchr(path, '/');
    *ret_last = slash ? slash + 1 : path;
    snprintf(parent, sizeof parent, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    return durable_open_beneath(u->dirfd, parent, O_RDONLY | O_DIRECTORY, 0);
}

/* One that is there is as good. */
static int make_folder(struct unpacking *u, const char *path, struct err *err)
{
    const char *last;
    struct stat st;
    AUTO_CLOSE int parent = open_parent(u, path, &last);
    if (parent < 0)
        return failed(u, -parent, path, err);
    if (mkdirat(parent, last, OWN_FOLDER) == 0)
        return 0;
    if (errno == EEXIST && fstatat(parent, last, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(st.st_mode))
        return 0;
    return failed(u, errno, path, err);
}

/* All folders that `path` is in. */
static int make_parents(struct unpacking *u, const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    int rc = 0;
    if (len == 0 || (strncmp(u->folder, path, len) == 0 && u->folder[len] == '\0'))
        return 0;
    for (size_t i = 1; rc == 0 && i <= len; i++) {
        if (path[i] != '/')
            continue;
        snprintf(u->folder, sizeof u->folder, "%.*s", (int)i, path);
        rc = make_folder(u, u->folder, err);
    }
    return rc;
}

static int take_folder(struct unpacking *u, const struct tar_entry *entry, struct err *err)
{
    int rc = make_folder(u, entry->path, err);
    if (rc < 0 || !u->folder_modes)
        return rc;
    struct folder *folder = arena_alloc(&u->arena, sizeof *folder);
    const char *path = arena_strdup(&u->arena, entry->path);
    if (!folder || !path)
        return err_set(err, ERR_MEMORY, "no memory for its folders");
    *folder = (struct folder){ u->folders, path, entry->mode };
    u->folders = folder;
    return 0;
}

static int take_link(struct unpacking *u, const struct tar_entry *entry, struct err *err)
{
    const char *last;
    AUTO_CLOSE int parent = open_parent(u, entry->path, &last);
    if (parent < 0)
        return failed(u, -parent, entry->path, err);
    return symlinkat(entry->target, parent, last) == 0 ? 0 : failed(u, errno, entry->path, err);
}

/* Another name of a file that came before. */
static int take_hard_link(struct unpacking *u, const struct tar_entry *entry, struct err *err)
{
    const char *last, *old;
    AUTO_CLOSE int parent = open_parent(u, entry->path, &last);
    AUTO_CLOSE int from = open_parent(u, entry->target, &old);
    if (parent < 0)
        return failed(u, -parent, entry->path, err);
    if (from < 0 || linkat(from, old, parent, last, 0) < 0)
        return errno == EEXIST ? failed(u, errno, entry->path, err)
                               : err_set(err, ERR_INVALID,
                                         "%.128s is a hard link to %.128s, which did not come "
                                         "before it",
                                         entry->path, entry->target);
    return 0;
}

static int take_file(struct unpacking *u, const struct tar_entry *entry, struct err *err)
{
    const char *last;
    AUTO_CLOSE int parent = open_parent(u, entry->path, &last);
    if (parent < 0)
        return failed(u, -parent, entry->path, err);
    u->file = openat(parent, last, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, OWN_FILE);
    u->mode = entry->mode;
    snprintf(u->path, sizeof u->path, "%s", entry->path);
    return u->file >= 0 ? 0 : failed(u, errno, entry->path, err);
}

static int on_entry(void *context, const struct tar_entry *entry, struct err *err)
{
    struct unpacking *u = context;
    if (++u->entries > UNPACK_ENTRIES_MAX)
        return err_set(err, ERR_LIMIT, "more than %d entries", UNPACK_ENTRIES_MAX);
    if (entry->size > UNPACK_BYTES_MAX - u->bytes)
        return err_set(err, ERR_LIMIT, "more than %lld bytes", (long long)UNPACK_BYTES_MAX);
    u->bytes += entry->size;
    if (strlen(entry->path) >= sizeof u->path)
        return err_set(err, ERR_LIMIT, "a name is too long");
    int rc = make_parents(u, entry->path, err);
    if (rc < 0)
        return rc;
    switch (entry->kind) {
    case TAR_FILE:
        return take_file(u, entry, err);
    case TAR_FOLDER:
        return take_folder(u, entry, err);
    case TAR_LINK:
        return take_link(u, entry, err);
    case TAR_HARD_LINK:
        return take_hard_link(u, entry, err);
    }
    return 0;
}

static int on_data(void *context, const void *data, size_t len, struct err *err)
{
    struct unpacking *u = context;
    for (size_t done = 0; done < len;) {
        ssize_t n = write(u->file, (const char *)data + done, len - done);
        if (n < 0 && errno != EINTR)
            return err_sys(err, errno, "writing %.128s", u->path);
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* As in the archive: whether it may be released is looked at there. */
static int on_end(void *context, struct err *err)
{
    struct unpacking *u = context;
    AUTO_CLOSE int file = u->file;
    u->file = -1;
    return fchmod(file, u->mode | S_IRUSR) == 0 ? 0 : err_sys(err, errno, "%.128s", u->path);
}

/* --- bytes ------------------------------------------------------------------------------------ */

/* The next piece of the file; 0 at its end. */
static ssize_t read_piece(struct unpacking *u, struct err *err)
{
    ssize_t n;
    if (atomic_load(u->stop))
        return err_set(err, ERR_STATE, "was not read to its end");
    do
        n = read(u->fd, u->in, PIECE);
    while (n < 0 && errno == EINTR);
    return n < 0 ? err_sys(err, errno, "cannot be read") : n;
}

static int read_plain(struct unpacking *u, size_t have, struct err *err)
{
    ssize_t n = (ssize_t)have;
    int rc = 0;
    while (rc == 0 && n > 0) {
        rc = tar_add(&u->tar, u->in, (size_t)n, err);
        n = rc == 0 ? read_piece(u, err) : 0;
    }
    return n < 0 ? (int)n : rc;
}

/* What `stream` has at hand.  Members may follow one another. */
static int inflate_piece(struct unpacking *u, z_stream *stream, bool *ret_ended, struct err *err)
{
    do {
        stream->next_out = u->out;
        stream->avail_out = PIECE;
        if (*ret_ended && inflateReset(stream) != Z_OK)
            return err_set(err, ERR_CORRUPT, "its compression is damaged");
        int z = inflate(stream, Z_NO_FLUSH);
        *ret_ended = z == Z_STREAM_END;
        if (z != Z_OK && z != Z_STREAM_END && z != Z_BUF_ERROR)
            return err_set(err, ERR_CORRUPT, "its compression is damaged%s%s",
                           stream->msg ? ": " : "", stream->msg ? stream->msg : "");
        int rc = tar_add(&u->tar, u->out, PIECE - stream->avail_out, err);
        if (rc < 0 || u->tar.finished) /* what follows is padding */
            return rc;
    } while (stream->avail_in > 0 || stream->avail_out == 0);
    return 0;
}

static int read_gzip(struct unpacking *u, size_t have, struct err *err)
{
    z_stream stream = { .next_in = u->in, .avail_in = (unsigned)have };
    ssize_t n = (ssize_t)have;
    bool ended = false;
    int rc = 0;
    if (inflateInit2(&stream, GZIP_WINDOW) != Z_OK)
        return err_set(err, ERR_MEMORY, "no memory to read it");
    while (rc == 0 && n > 0 && !u->tar.finished) {
        rc = inflate_piece(u, &stream, &ended, err);
        n = rc == 0 ? read_piece(u, err) : 0;
        stream.next_in = u->in;
        stream.avail_in = n > 0 ? (unsigned)n : 0;
    }
    inflateEnd(&stream);
    return n < 0 ? (int)n : rc;
}

static int unzstd_piece(struct unpacking *u, ZSTD_DCtx *context, size_t len, struct err *err)
{
    ZSTD_inBuffer in = { u->in, len, 0 };
    bool full = false;
    int rc = 0;
    while (rc == 0 && (in.pos < in.size || full) && !u->tar.finished) {
        ZSTD_outBuffer out = { u->out, PIECE, 0 };
        size_t hint = ZSTD_decompressStream(context, &out, &in);
        if (ZSTD_isError(hint))
            return err_set(err, ERR_CORRUPT, "its compression is damaged: %s",
                           ZSTD_getErrorName(hint));
        rc = tar_add(&u->tar, u->out, out.pos, err);
        full = out.pos == out.size;
    }
    return rc;
}

static int read_zstd(struct unpacking *u, size_t have, struct err *err)
{
    ZSTD_DCtx *context = ZSTD_createDCtx();
    ssize_t n = (ssize_t)have;
    int rc = 0;
    if (!context ||
        ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, UNPACK_WINDOW_LOG_MAX))) {
        ZSTD_freeDCtx(context);
        return err_set(err, ERR_MEMORY, "no memory to read it");
    }
    while (rc == 0 && n > 0 && !u->tar.finished) {
        rc = unzstd_piece(u, context, (size_t)n, err);
        n = rc == 0 ? read_piece(u, err) : 0;
    }
    ZSTD_freeDCtx(context);
    return n < 0 ? (int)n : rc;
}

/* The first block of an archive names its format, or is the end already. */
static bool looks_like_tar(const unsigned char *data, size_t len)
{
    static const char name[] = "ustar";
    enum { NAME_AT = 257 };
    if (len < TAR_BLOCK)
        return false;
    size_t zeros = 0;
    while (zeros < TAR_BLOCK && data[zeros] == 0)
        zeros++;
    return zeros == TAR_BLOCK || memcmp(data + NAME_AT, name, strlen(name)) == 0;
}

static int read_tar(struct unpacking *u, size_t have, struct err *err)
{
    if (!looks_like_tar(u->in, have))
        return err_set(err, ERR_INVALID,
                       "is not a folder, and not an archive (.tar, .tar.gz, .tar.zst)");
    return read_plain(u, have, err);
}

static int read_all(struct unpacking *u, struct err *err)
{
    static const unsigned char gzip[] = { 0x1f, 0x8b }, zstd[] = { 0x28, 0xb5, 0x2f, 0xfd };
    ssize_t n = read_piece(u, err);
    if (n < 0)
        return (int)n;
    size_t have = (size_t)n;
    int rc = have >= sizeof gzip && memcmp(u->in, gzip, sizeof gzip) == 0 ? read_gzip(u, have, err)
             : have >= sizeof zstd && memcmp(u->in, zstd, sizeof zstd) == 0
                 ? read_zstd(u, have, err)
                 : read_tar(u, have, err);
    return rc < 0 ? rc : tar_finish(&u->tar, err);
}

static int set_folder_modes(const struct unpacking *u, struct err *err)
{
    for (const struct folder *folder = u->folders; folder; folder = folder->next) {
        AUTO_CLOSE int fd = durable_open_beneath(u->dirfd, folder->path, O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0 || fchmod(fd, folder->mode | S_IRWXU) < 0)
            return err_sys(err, fd < 0 ? -fd : errno, "%.128s", folder->path);
    }
    return 0;
}

int unpack(int fd, const char *name, int dirfd, bool folder_modes, const atomic_bool *stop,
           struct err *err)
{
    static const struct tar_events events = { on_entry, on_data, on_end };
    struct unpacking u = {
        .fd = fd, .dirfd = dirfd, .file = -1, .folder_modes = folder_modes, .stop = stop
    };
    AUTO_FREE unsigned char *in = malloc(PIECE);
    AUTO_FREE unsigned char *out = malloc(PIECE);
    if (!in || !out)
        return err_set(err, ERR_MEMORY, "no memory to read %s", name);
    u.in = in;
    u.out = out;
    arena_init(&u.arena);
    tar_init(&u.tar, &events, &u);
    int rc = read_all(&u, err);
    if (rc == 0)
        rc = set_folder_modes(&u, err);
    if (u.file >= 0)
        close(u.file);
    tar_done(&u.tar);
    arena_done(&u.arena);
    return rc < 0 ? err_wrap(err, "%s", name) : 0;
}

/* --- a place for it --------------------------------------------------------------------------- */

int unpack_folder(char **ret_path, struct err *err)
{
    const char *tmp = getenv("TMPDIR");
    AUTO_FREE char *path = NULL;
    if (asprintf(&path, "%s/deployctl-XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp") < 0)
        return err_set(err, ERR_MEMORY, "no memory for a folder");
    if (!mkdtemp(path))
        return err_sys(err, errno, "making %s", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        int sys = errno;
        rmdir(path);
        return err_sys(err, sys, "opening %s", path);
    }
    *ret_path = path;
    path = NULL;
    return fd;
}

void unpack_remove(const char *path)
{
    struct err ignored;
    const char *slash = strrchr(path, '/');
    AUTO_FREE char *parent = slash ? strndup(path, (size_t)(slash - path) + 1) : NULL;
    AUTO_CLOSE int fd = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0)
        durable_remove_tree(fd, slash + 1, &ignored);
}
