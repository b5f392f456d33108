/* parts.c - the contract is in parts.h. */
#include "deployctl/agent/parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "io/durable.h"

#define PARTS                                                                                      \
    "."                                                                                            \
    "parts"
#define OLDER                                                                                      \
    "."                                                                                            \
    "older"
const char *const parts_folders[PARTS_FOLDERS] = { HOST_INCOMING "/" PARTS,
                                                   HOST_INCOMING "/" OLDER };
enum { PRIVATE_MODE = 0700, PREFIX_BYTES = MANIFEST_PREFIX_DIGITS / 2, BLOCK_BYTES = 512 };

static DIR *open_incoming(const struct host *host, struct err *err)
{
    int fd = durable_open_beneath(host->releases, HOST_INCOMING, O_RDONLY | O_DIRECTORY, 0);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        err_sys(err, fd < 0 ? -fd : errno, "opening releases/" HOST_INCOMING);
        auto_close_(&fd);
    }
    return dir;
}

/* The newest folder with the name of a release; "" = none. */
static void find_newest(DIR *dir, char name[static MANIFEST_ID_MAX])
{
    struct stat st;
    struct timespec newest = { 0 };
    name[0] = '\0';
    rewinddir(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (!manifest_id_parse(entry->d_name, NULL) || strlen(entry->d_name) >= MANIFEST_ID_MAX ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISDIR(st.st_mode))
            continue;
        if (name[0] == '\0' || st.st_ctim.tv_sec > newest.tv_sec ||
            (st.st_ctim.tv_sec == newest.tv_sec && st.st_ctim.tv_nsec > newest.tv_nsec)) {
            newest = st.st_ctim;
            snprintf(name, MANIFEST_ID_MAX, "%.*s", MANIFEST_ID_MAX - 1, entry->d_name);
        }
    }
}

/* Everything; or everything but the parts that are young enough. */
static int remove_all(DIR *dir, bool but_parts, struct err *err)
{
    struct stat st;
    int64_t now_s = clock_wall_us() / 1000000;
    int rc = 0;
    rewinddir(dir);
    for (struct dirent *entry; rc == 0 && (entry = readdir(dir)) != NULL;) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        bool part = but_parts && (strcmp(name, PARTS) == 0 || strcmp(name, OLDER) == 0);
        if (!part || fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            now_s - st.st_ctim.tv_sec > PARTS_AGE_S)
            rc = durable_remove_tree(dirfd(dir), name, err);
    }
    return rc;
}

int parts_collect(const struct host *host, struct err *err)
{
    char newest[MANIFEST_ID_MAX];
    int rc = durable_mkdir(host->releases, HOST_INCOMING, PRIVATE_MODE, err);
    DIR *dir = rc < 0 ? NULL : open_incoming(host, err);
    if (dir == NULL)
        return err->code;
    find_newest(dir, newest);
    if (newest[0] != '\0') {
        int fd = dirfd(dir);
        rc = durable_remove_tree(fd, OLDER, err);
        /* Not durable: after a power cut there is one more try to be begun anew. */
        if (rc == 0 && renameat(fd, PARTS, fd, OLDER) < 0 && errno != ENOENT)
            rc = err_sys(err, errno, "keeping what was received before");
        if (rc == 0 && renameat(fd, newest, fd, PARTS) < 0)
            rc = err_sys(err, errno, "keeping what was received before");
    }
    if (rc == 0)
        rc = remove_all(dir, true, err);
    closedir(dir);
    return rc;
}

int parts_remove(const struct host *host, struct err *err)
{
    struct stat st;
    if (fstatat(host->releases, HOST_INCOMING, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : err_sys(err, errno, "releases/" HOST_INCOMING);
    DIR *dir = open_incoming(host, err);
    if (dir == NULL)
        return err != NULL ? (int)err->code : ERR_SYSTEM;
    int rc = remove_all(dir, false, err);
    closedir(dir);
    return rc;
}

/* The part of an entry with the entry's size; a descriptor or -1. */
static int open_whole(int folder, const struct manifest_entry *entry, struct stat *ret)
{
    AUTO_CLOSE int fd =
        durable_open_beneath(folder, entry->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0 || fstat(fd, ret) < 0 || !S_ISREG(ret->st_mode) || ret->st_nlink != 1 ||
        (uint64_t)ret->st_size != entry->size)
        return -1;
    return take_fd(&fd);
}

static bool wanted(const struct stage *stage, size_t i)
{
    return stage->content[i] == STAGE_MISSING && stage->leader[i] == i;
}

uint64_t parts_bytes(const struct stage *stage)
{
    uint64_t bytes = 0;
    struct stat st;
    for (size_t k = 0; k < PARTS_FOLDERS; k++) {
        AUTO_CLOSE int folder =
            durable_open_beneath(stage->host->releases, parts_folders[k], O_PATH | O_DIRECTORY, 0);
        for (size_t i = 0; folder >= 0 && i < stage->manifest.count; i++) {
            AUTO_CLOSE int fd =
                wanted(stage, i) ? open_whole(folder, &stage->manifest.entries[i], &st) : -1;
            if (fd >= 0)
                bytes += (uint64_t)st.st_blocks * BLOCK_BYTES;
        }
    }
    return bytes;
}

/* 1: it is in the tree now. */
static int take_one(struct stage *stage, int folder, size_t i, struct err *err)
{
    struct stat st;
    struct manifest_entry *entry = &stage->manifest.entries[i];
    unsigned char digest[MANIFEST_DIGEST_BYTES];
    uint64_t bytes = 0;
    const char *name;
    AUTO_CLOSE int fd = open_whole(folder, entry, &st);
    if (fd < 0)
        return 0;
    if (digest_of_fd(stage->digest, fd, digest, &bytes, err) < 0)
        return err->code == ERR_MEMORY ? ERR_MEMORY : 0;
    if (bytes != entry->size || memcmp(digest, entry->digest, PREFIX_BYTES) != 0)
        return 0;
    int parent = tree_parent(&stage->tree, entry->path, &name, err);
    if (parent < 0)
        return parent;
    if (renameat(folder, entry->path, parent, name) < 0 || fchmod(fd, (mode_t)entry->mode) < 0)
        return err_sys(err, errno, "taking %s from what was received before", entry->path);
    if (stage->want.fsync_each && fsync(fd) < 0)
        return err_sys(err, errno, "syncing %s", entry->path);
    memcpy(entry->digest, digest, sizeof digest);
    entry->short_digest = false;
    stage->content[i] = STAGE_HERE;
    stage->resumed++;
    return 1;
}

int parts_take(struct stage *stage, struct err *err)
{
    int rc = 0;
    for (size_t k = 0; rc == 0 && k < PARTS_FOLDERS; k++) {
        AUTO_CLOSE int folder = durable_open_beneath(stage->host->releases, parts_folders[k],
                                                     O_RDONLY | O_DIRECTORY, 0);
        for (size_t i = 0; rc >= 0 && folder >= 0 && i < stage->manifest.count; i++)
            if (wanted(stage, i))
                rc = take_one(stage, folder, i, err);
        rc = rc > 0 ? 0 : rc;
    }
    return rc;
}
