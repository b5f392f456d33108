/* seal.c - the end of a stage: complete, proved, durable, one rename (stage.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "deployctl/agent/about.h"
#include "deployctl/agent/bases.h"
#include "deployctl/agent/parts.h"
#include "deployctl/agent/shared.h"
#include "deployctl/agent/space.h"
#include "deployctl/agent/stage.h"
#include "io/durable.h"

enum { MANIFEST_MODE = 0444, PREFIX_BYTES = MANIFEST_PREFIX_DIGITS / 2 };

/* --- programs ----------------------------------------------------------------------------------
 */

/* The copies of one content lie together. */
static int run_copies(struct stage *stage, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < stage->ncopies;) {
        uint32_t index = stage->copies[i].entry;
        const char *path = stage->manifest.entries[index].path;
        struct base *base = bases_of(stage->bases, index);
        AUTO_CLOSE int fd = durable_open_beneath(stage->tree.fd, path, O_WRONLY | O_NOFOLLOW, 0);
        if (fd < 0)
            return err_sys(err, -fd, "opening %s", path);
        for (; rc == 0 && i < stage->ncopies && stage->copies[i].entry == index; i++)
            rc = bases_copy(stage, base, stage->copies[i].index, stage->copies[i].count, fd,
                            stage->copies[i].offset, err);
        bases_close(base);
        if (rc < 0)
            return err_wrap(err, "%s", path);
    }
    stage->ncopies = 0;
    return rc;
}

/* 1: it is what it should be. */
static int check_made(struct stage *stage, uint32_t index, int fd, struct err *err)
{
    struct manifest_entry *entry = &stage->manifest.entries[index];
    unsigned char digest[MANIFEST_DIGEST_BYTES];
    uint64_t bytes = 0;
    if (digest_of_fd(stage->digest, fd, digest, &bytes, err) < 0)
        return err->code;
    if (bytes != entry->size || memcmp(digest, entry->digest, PREFIX_BYTES) != 0)
        return 0;
    memcpy(entry->digest, digest, sizeof digest);
    entry->short_digest = false;
    if (fchmod(fd, (mode_t)entry->mode) < 0)
        return err_sys(err, errno, "setting the mode");
    if (stage->want.fsync_each && fsync(fd) < 0)
        return err_sys(err, errno, "syncing");
    return 1;
}

static int end_one(struct stage *stage, uint32_t index, struct err *err)
{
    const struct manifest_entry *entry = &stage->manifest.entries[index];
    AUTO_CLOSE int fd = durable_open_beneath(stage->tree.fd, entry->path, O_RDWR | O_NOFOLLOW, 0);
    int rc = fd < 0 ? err_sys(err, -fd, "opening") : 0;
    if (rc == 0 && ftruncate(fd, (off_t)entry->size) < 0)
        rc = err_sys(err, errno, "setting the size");
    if (rc == 0)
        rc = check_made(stage, index, fd, err);
    if (rc > 0) {
        stage->content[index] = STAGE_HERE;
        return 0;
    }
    if (rc < 0)
        return err_wrap(err, "%s", entry->path);
    stage->again[stage->nagain++] = index;
    stage->content[index] = STAGE_MISSING;
    stage->nreceived--;
    return tree_remove(&stage->tree, entry->path, err);
}

/* Carries out what came as programs. */
static int make_all(struct stage *stage, struct err *err)
{
    if (stage->again == NULL)
        stage->again = calloc(stage->nmissing + 1, sizeof *stage->again);
    if (stage->again == NULL)
        return err_set(err, ERR_MEMORY, "no memory");
    int rc = run_copies(stage, err);
    for (size_t i = 0; rc == 0 && i < stage->nmissing; i++)
        if (stage->content[stage->missing[i]] == STAGE_COMING)
            rc = end_one(stage, stage->missing[i], err);
    return rc;
}

/* --- complete ------------------------------------------------------------------------------- */

static int place_duplicate(struct stage *stage, size_t i, struct err *err)
{
    struct manifest_entry *entry = &stage->manifest.entries[i];
    const struct manifest_entry *leader = &stage->manifest.entries[stage->leader[i]];
    unsigned char digest[MANIFEST_DIGEST_BYTES];
    enum tree_way way;
    bool linkable = stage->host->linkable && !stage->want.set_owner;
    if (!stage->cheap)
        space_use(stage, entry->size);
    int rc = tree_place(&stage->tree, entry->path, stage->tree.fd, leader->path, entry->size,
                        entry->mode, linkable, stage->digest, digest, &way, err);
    if (rc == 0 && memcmp(digest, leader->digest, sizeof digest) != 0)
        rc = err_set(err, ERR_CORRUPT, "%s changed while it was staged", leader->path);
    if (rc == 0 && stage->want.fsync_each) {
        AUTO_CLOSE int fd = durable_open_beneath(stage->tree.fd, entry->path, O_RDONLY, 0);
        if (fd < 0 || fsync(fd) < 0)
            rc = err_sys(err, fd < 0 ? -fd : errno, "syncing %s", entry->path);
    }
    memcpy(entry->digest, leader->digest, sizeof entry->digest);
    entry->short_digest = false;
    return rc;
}

static int complete(struct stage *stage, struct err *err)
{
    if (stage->nreceived < stage->nmissing)
        return err_set(err, ERR_STATE, "%zu of %zu contents are still missing",
                       stage->nmissing - stage->nreceived, stage->nmissing);
    int rc = make_all(stage, err);
    if (rc < 0 || stage->nagain > 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < stage->manifest.count; i++)
        if (stage->leader[i] != i)
            rc = place_duplicate(stage, i, err);
    return rc;
}

static int prove(struct stage *stage, struct buf *text, struct err *err)
{
    unsigned char digest[MANIFEST_DIGEST_BYTES];
    char hex[MANIFEST_HEX_MAX];
    if (!manifest_write(&stage->manifest, false, text))
        return err_set(err, ERR_LIMIT, "the manifest is larger than %d bytes", MANIFEST_TEXT_MAX);
    int rc = digest_of(buf_text(text), text->len, digest, err);
    if (rc < 0)
        return rc;
    manifest_hex(digest, hex);
    if (strcmp(hex, stage->want.hex) != 0)
        return err_set(err, ERR_CORRUPT, "the completed manifest has digest %s, not %s", hex,
                       stage->want.hex);
    return 0;
}

/* --- owners and modes ---------------------------------------------------------------------------
 */

static int own_folder(void *context, const char *path, struct err *err)
{
    struct stage *stage = context;
    AUTO_CLOSE int fd = durable_open_beneath(stage->tree.fd, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd == -ENOTDIR || fd == -ELOOP) /* replaced by the link to a shared one */
        return 0;
    if (fd < 0 || fchown(fd, stage->want.uid, stage->want.gid) < 0)
        return err_sys(err, fd < 0 ? -fd : errno, "giving %s to its owner", path);
    return 0;
}

static int set_owners(struct stage *stage, struct err *err)
{
    int rc = tree_each_folder(&stage->manifest, own_folder, stage, err);
    for (size_t i = 0; rc == 0 && i < stage->manifest.count; i++) {
        const struct manifest_entry *entry = &stage->manifest.entries[i];
        const char *name;
        if (entry->kind == MANIFEST_FOLDER)
            continue;
        int parent = tree_parent(&stage->tree, entry->path, &name, err);
        if (parent < 0)
            return parent;
        if (fchownat(parent, name, stage->want.uid, stage->want.gid, AT_SYMLINK_NOFOLLOW) < 0)
            rc = err_sys(err, errno, "giving %s to its owner", entry->path);
    }
    if (rc == 0 && fchown(stage->tree.fd, stage->want.uid, stage->want.gid) < 0)
        rc = err_sys(err, errno, "giving the release to its owner");
    return rc;
}

/* From the deepest: a folder that is closed to us ends what can be done below it. */
static int set_folder_modes(struct stage *stage, struct err *err)
{
    for (size_t i = stage->manifest.count; i-- > 0;) {
        const struct manifest_entry *entry = &stage->manifest.entries[i];
        if (entry->kind != MANIFEST_FOLDER)
            continue;
        AUTO_CLOSE int fd =
            durable_open_beneath(stage->tree.fd, entry->path, O_RDONLY | O_DIRECTORY, 0);
        if (fd == -ENOTDIR || fd == -ELOOP)
            continue;
        if (fd < 0 || fchmod(fd, (mode_t)entry->mode) < 0)
            return err_sys(err, fd < 0 ? -fd : errno, "setting the mode of %s", entry->path);
    }
    return 0;
}

/* --- durable ------------------------------------------------------------------------------------
 */

static int sync_folder(void *context, const char *path, struct err *err)
{
    struct stage *stage = context;
    AUTO_CLOSE int fd = durable_open_beneath(stage->tree.fd, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd == -ENOTDIR || fd == -ELOOP)
        return 0;
    if (fd < 0 || fsync(fd) < 0)
        return err_sys(err, fd < 0 ? -fd : errno, "syncing the folder %s", path);
    return 0;
}

static int make_durable(struct stage *stage, struct err *err)
{
    if (!stage->want.fsync_each)
        return syncfs(stage->tree.fd) < 0 ? err_sys(err, errno, "syncing the file system") : 0;
    int rc = tree_each_folder(&stage->manifest, sync_folder, stage, err);
    if (rc == 0 && fsync(stage->tree.fd) < 0)
        rc = err_sys(err, errno, "syncing the release's folder");
    return rc;
}

/* The manifest first: a release folder without one would not count as complete. */
static int publish(struct stage *stage, const struct buf *text, struct err *err)
{
    const struct host *host = stage->host;
    int rc = stage->about == NULL ? 0 : about_write(host, stage->want.id, stage->about, err);
    if (rc < 0)
        return rc;
    rc = durable_write(host->manifests, stage->want.id, buf_text(text), text->len, MANIFEST_MODE,
                       err);
    if (rc < 0)
        return err_wrap(err, "writing the manifest");
    AUTO_CLOSE int incoming =
        durable_open_beneath(host->releases, HOST_INCOMING, O_RDONLY | O_DIRECTORY, 0);
    if (incoming < 0)
        return err_sys(err, -incoming, "opening releases/" HOST_INCOMING);
    rc = durable_rename(incoming, stage->want.id, host->releases, stage->want.id, false, err);
    if (rc < 0) {
        /* It may have got there and only not be durable; without its manifest it is nothing. */
        durable_unlink(host->manifests, stage->want.id, NULL);
        if (rc != ERR_EXISTS)
            durable_remove_tree(host->releases, stage->want.id, NULL);
        return err_wrap(err, "putting it into place");
    }
    return 0;
}

/* Once every content is there. */
static int finish(struct stage *stage, struct err *err)
{
    auto_close_(&stage->reserve); /* the rest is for the manifest */
    stage->reserve = -1;
    struct buf text;
    buf_init(&text, MANIFEST_TEXT_MAX);
    int rc = prove(stage, &text, err);
    if (rc == 0)
        rc = shared_link(stage, err);
    if (rc == 0 && stage->want.set_owner)
        rc = set_owners(stage, err);
    if (rc == 0)
        rc = set_folder_modes(stage, err);
    if (rc == 0)
        rc = make_durable(stage, err);
    if (rc == 0)
        rc = publish(stage, &text, err);
    buf_done(&text);
    return rc;
}

int stage_seal(struct stage *stage, struct err *err)
{
    int rc = stage->failed.code;
    if (rc < 0)
        *err = stage->failed;
    if (rc == 0)
        rc = complete(stage, err);
    if (rc == 0 && stage->nagain > 0)
        return 0;
    if (rc == 0)
        rc = finish(stage, err);
    if (rc == 0) {
        tree_done(&stage->tree); /* it is releases/ID now and stays */
        parts_remove(stage->host, NULL);
    } else
        stage_drop(stage);
    stage->seconds = (double)(clock_mono_ms() - stage->started_ms) / 1000;
    return rc < 0 ? err_wrap(err, "sealing %s", stage->want.id) : 0;
}
