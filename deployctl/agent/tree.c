/* tree.c - the contract is in tree.h. */
#include "deployctl/agent/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "io/durable.h"

enum {
    FOLDER_MODE = 0755,
    NEW_FILE_MODE = 0600,
    RESERVE_FROM_BYTES = 1024 * 1024,
    COPY_BYTES = 256 * 1024,
    SPREAD_BYTES = 8 * 1024 * 1024,
};

void tree_init(struct tree *tree, int fd)
{
    tree->fd = fd;
    tree->no_clones = false;
    tree->parent = -1;
    tree->parent_path[0] = '\0';
}

void tree_done(struct tree *tree)
{
    auto_close_(&tree->parent);
    auto_close_(&tree->fd);
    tree_init(tree, -1);
}

static int make_parents(struct tree *tree, const char *path, size_t len, struct err *err)
{
    char part[MANIFEST_PATH_MAX + 1];
    for (size_t i = 1; i <= len; i++) {
        if (i < len && path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        /* Made beneath the folder above it, which is opened without following links. */
        char *slash = strrchr(part, '/');
        AUTO_CLOSE int above = -1;
        if (slash != NULL) {
            *slash = '\0';
            above = durable_open_beneath(tree->fd, part, O_PATH | O_DIRECTORY, 0);
            if (above < 0)
                return err_sys(err, -above, "opening the folder %s", part);
        }
        const char *name = slash != NULL ? slash + 1 : part;
        if (mkdirat(slash != NULL ? above : tree->fd, name, FOLDER_MODE) < 0 && errno != EEXIST)
            return err_sys(err, errno, "making the folder %s", name);
    }
    return 0;
}

int tree_parent(struct tree *tree, const char *path, const char **ret_name, struct err *err)
{
    const char *slash = strrchr(path, '/');
    *ret_name = slash == NULL ? path : slash + 1;
    if (slash == NULL)
        return tree->fd;
    size_t len = (size_t)(slash - path);
    if (tree->parent >= 0 && strlen(tree->parent_path) == len &&
        memcmp(tree->parent_path, path, len) == 0)
        return tree->parent;
    auto_close_(&tree->parent);
    tree->parent = -1;
    memcpy(tree->parent_path, path, len);
    tree->parent_path[len] = '\0';
    int fd = durable_open_beneath(tree->fd, tree->parent_path, O_RDONLY | O_DIRECTORY, 0);
    if (fd == -ENOENT) {
        int rc = make_parents(tree, tree->parent_path, len, err);
        if (rc < 0)
            return rc;
        fd = durable_open_beneath(tree->fd, tree->parent_path, O_RDONLY | O_DIRECTORY, 0);
    }
    if (fd < 0)
        return err_sys(err, -fd, "opening the folder %s", tree->parent_path);
    tree->parent = fd;
    return fd;
}

int tree_make_folder(struct tree *tree, const char *path, struct err *err)
{
    const char *name;
    int parent = tree_parent(tree, path, &name, err);
    if (parent < 0)
        return parent;
    if (mkdirat(parent, name, FOLDER_MODE) < 0 && errno != EEXIST)
        return err_sys(err, errno, "making the folder %s", path);
    return 0;
}

int tree_make_link(struct tree *tree, const char *path, const char *target, struct err *err)
{
    const char *name;
    int parent = tree_parent(tree, path, &name, err);
    if (parent < 0)
        return parent;
    if (symlinkat(target, parent, name) < 0)
        return err_sys(err, errno, "making the link %s", path);
    return 0;
}

int tree_create(struct tree *tree, const char *path, uint64_t size, struct err *err)
{
    const char *name;
    int parent = tree_parent(tree, path, &name, err);
    if (parent < 0)
        return parent;
    AUTO_CLOSE int fd =
        openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, NEW_FILE_MODE);
    if (fd < 0)
        return err_sys(err, errno, "creating %s", path);
    if (size >= RESERVE_FROM_BYTES && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size) < 0 &&
        (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
        return err_sys(err, errno, "reserving %llu bytes for %s", (unsigned long long)size, path);
    return take_fd(&fd);
}

void tree_wrote(int fd, uint64_t from, uint64_t to)
{
    uint64_t begin = from / SPREAD_BYTES * SPREAD_BYTES, end = to / SPREAD_BYTES * SPREAD_BYTES;
    if (end > begin) /* best effort */
        (void)sync_file_range(fd, (off_t)begin, (off_t)(end - begin), SYNC_FILE_RANGE_WRITE);
}

int tree_remove(struct tree *tree, const char *path, struct err *err)
{
    const char *name;
    int parent = tree_parent(tree, path, &name, err);
    if (parent < 0)
        return parent;
    if (unlinkat(parent, name, 0) < 0 && errno != ENOENT)
        return err_sys(err, errno, "removing %s", path);
    return 0;
}

/* --- contents that are here already ----------------------------------------------------------- */

static int copy_by_hand(int from, int to, const char *path, struct err *err)
{
    AUTO_FREE char *chunk = malloc(COPY_BYTES);
    if (chunk == NULL)
        return err_set(err, ERR_MEMORY, "no memory to copy %s", path);
    for (;;) {
        ssize_t n = read(from, chunk, COPY_BYTES);
        if (n == 0)
            return 0;
        for (ssize_t done = 0, m; n > 0 && done < n; done += m)
            if ((m = write(to, chunk + done, (size_t)(n - done))) < 0)
                return err_sys(err, errno, "copying %s", path);
        if (n < 0 && errno != EINTR)
            return err_sys(err, errno, "copying %s", path);
    }
}

static int copy(int from, int to, const char *path, struct err *err)
{
    for (;;) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, (size_t)1 << 30, 0);
        if (n == 0)
            return 0;
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO))
            return err_sys(err, errno, "copying %s", path);
        if (n < 0) /* not offered between these file systems; both offsets stand where it stopped */
            return copy_by_hand(from, to, path, err);
    }
}

static bool may_link(const struct stat *st, uint32_t mode)
{
    return st->st_uid == geteuid() && (st->st_mode & 0222) == 0 && (st->st_mode & 07777) == mode;
}

static bool link_to(struct tree *tree, const char *path, int from)
{
    char self[64];
    const char *name;
    int parent = tree_parent(tree, path, &name, NULL);
    snprintf(self, sizeof self, "/proc/self/fd/%d", from);
    return parent >= 0 && linkat(AT_FDCWD, self, parent, name, AT_SYMLINK_FOLLOW) == 0;
}

static int fill(struct tree *tree, const char *path, int from, const struct stat *st, uint32_t mode,
                bool linkable, enum tree_way *ret_way, struct err *err)
{
    linkable = linkable && may_link(st, mode);
    *ret_way = TREE_LINKED;
    if (linkable && tree->no_clones && link_to(tree, path, from))
        return 0;
    AUTO_CLOSE int to = tree_create(tree, path, 0, err);
    if (to < 0)
        return to;
    *ret_way = TREE_CLONED;
    if (st->st_size == 0 || ioctl(to, FICLONE, from) == 0)
        return fchmod(to, (mode_t)mode) < 0 ? err_sys(err, errno, "setting the mode of %s", path)
                                            : 0;
    if (linkable && !tree->no_clones) {
        tree->no_clones = true; /* the next one is linked at once */
        if (tree_remove(tree, path, err) < 0)
            return err->code;
        auto_close_(&to);
        to = -1;
        *ret_way = TREE_LINKED;
        if (link_to(tree, path, from))
            return 0;
        if ((to = tree_create(tree, path, 0, err)) < 0) /* too many links: a copy, then */
            return to;
    }
    *ret_way = TREE_COPIED;
    int rc = copy(from, to, path, err);
    if (rc == 0 && fchmod(to, (mode_t)mode) < 0)
        rc = err_sys(err, errno, "setting the mode of %s", path);
    return rc;
}

int tree_place(struct tree *tree, const char *path, int from_fd, const char *from_path,
               uint64_t size, uint32_t mode, bool linkable, struct digest *digest,
               unsigned char ret_digest[static MANIFEST_DIGEST_BYTES], enum tree_way *ret_way,
               struct err *err)
{
    struct stat st;
    AUTO_CLOSE int from =
        durable_open_beneath(from_fd, from_path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (from < 0 || fstat(from, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
        return err_set(err, ERR_NOT_FOUND, "%s is not what its manifest says", from_path);
    int rc = fill(tree, path, from, &st, mode, linkable, ret_way, err);
    if (rc < 0)
        return rc;
    const char *name;
    uint64_t bytes = 0;
    AUTO_CLOSE int back = -1;
    if (*ret_way != TREE_LINKED) { /* a link is the very file that is open */
        int parent = tree_parent(tree, path, &name, err);
        back = parent < 0 ? -1 : openat(parent, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (back <
            0) /* a mode without read for us, as with modes = keep: read it before it is set */
            return err_sys(err, errno, "reading back %s", path);
    }
    rc = digest_of_fd(digest, back < 0 ? from : back, ret_digest, &bytes, err);
    if (rc == 0 && bytes != size)
        rc = err_set(err, ERR_NOT_FOUND, "%s changed while it was copied", from_path);
    return rc;
}

/* --- folders ------------------------------------------------------------------------------------
 */

int tree_each_folder(const struct manifest *manifest,
                     int (*fn)(void *context, const char *path, struct err *err), void *context,
                     struct err *err)
{
    char part[MANIFEST_PATH_MAX + 1];
    const char *before = "";
    for (size_t i = 0; i < manifest->count; i++) {
        const struct manifest_entry *entry = &manifest->entries[i];
        size_t at = 0;
        while (entry->path[at] != '\0' && entry->path[at] == before[at])
            at++;
        for (; entry->path[at] != '\0' || entry->kind == MANIFEST_FOLDER; at++) {
            if (entry->path[at] != '/' && entry->path[at] != '\0')
                continue;
            memcpy(part, entry->path, at);
            part[at] = '\0';
            int rc = fn(context, part, err);
            if (rc < 0)
                return rc;
            if (entry->path[at] == '\0')
                break;
        }
        before = entry->path;
    }
    return 0;
}
