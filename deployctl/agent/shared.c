/* shared.c - the contract is in shared.h. */
#include "deployctl/agent/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "io/durable.h"

enum { SHARED_MODE = 0755, TARGET_MAX = MANIFEST_PATH_MAX + 3 * (MANIFEST_DEPTH_MAX + 4) };
#define SHARED_FOLDER "shared"

static bool is_at_or_below(const char *path, const char *name)
{
    size_t len = strlen(name);
    return strncmp(path, name, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* An empty folder at that place is welcome: the link replaces it. */
static int check_name(const struct stage *stage, const char *key, const char *name, struct err *err)
{
    for (size_t i = 0; i < stage->manifest.count; i++) {
        const struct manifest_entry *entry = &stage->manifest.entries[i];
        bool exactly = strcmp(entry->path, name) == 0;
        if (is_at_or_below(entry->path, name) && !(exactly && entry->kind == MANIFEST_FOLDER))
            return err_set(
                err, ERR_STATE,
                "the release brings \"%s\", which is one of %s; leave it out (exclude) or "
                "take it from %s",
                entry->path, key, key);
    }
    return 0;
}

int shared_check(const struct stage *stage, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < stage->want.nshared_dirs; i++)
        rc = check_name(stage, "shared_dirs", stage->want.shared_dirs[i], err);
    for (size_t i = 0; rc == 0 && i < stage->want.nshared_files; i++) {
        const char *name = stage->want.shared_files[i];
        char path[sizeof SHARED_FOLDER + 1 + MANIFEST_PATH_MAX];
        rc = check_name(stage, "shared_files", name, err);
        snprintf(path, sizeof path, SHARED_FOLDER "/%s", name);
        if (rc == 0 && faccessat(stage->host->root, path, F_OK, 0) < 0)
            rc = err_set(err, ERR_NOT_FOUND, "shared_files: %s/%s is not there; put it there first",
                         stage->host->path, path);
    }
    return rc;
}

/* PATH/shared/a/b, each part made when it is missing. */
static int make_folder(const struct host *host, const char *name, struct err *err)
{
    int rc = durable_mkdir(host->root, SHARED_FOLDER, SHARED_MODE, err);
    AUTO_CLOSE int fd =
        rc < 0 ? -1 : durable_open_beneath(host->root, SHARED_FOLDER, O_RDONLY | O_DIRECTORY, 0);
    for (const char *at = name; rc == 0 && fd >= 0 && *at != '\0';) {
        char part[NAME_MAX + 1];
        size_t len = strcspn(at, "/");
        snprintf(part, sizeof part, "%.*s", (int)len, at);
        rc = durable_mkdir(fd, part, SHARED_MODE, err);
        if (rc < 0)
            break;
        int below = durable_open_beneath(fd, part, O_RDONLY | O_DIRECTORY, 0);
        close(fd);
        fd = below;
        at += len + (at[len] == '/');
    }
    if (rc == 0 && fd < 0)
        rc = err_sys(err, -fd, "opening %s/" SHARED_FOLDER "/%s", host->path, name);
    return rc;
}

/* From releases/ID/NAME to shared/NAME. */
static void make_target(const char *name, char target[static TARGET_MAX])
{
    size_t up = strlen("../../");
    memcpy(target, "../../", up);
    for (const char *c = name; *c != '\0'; c++)
        if (*c == '/' && up + 3 < TARGET_MAX) {
            memcpy(target + up, "../", 3);
            up += 3;
        }
    snprintf(target + up, TARGET_MAX - up, SHARED_FOLDER "/%s", name);
}

bool shared_is_link(int root, const char *name)
{
    char wanted[TARGET_MAX], found[TARGET_MAX];
    AUTO_CLOSE int fd = durable_open_beneath(root, name, O_PATH | O_NOFOLLOW, 0);
    ssize_t len = fd < 0 ? -1 : readlinkat(fd, "", found, sizeof found);
    make_target(name, wanted);
    return len >= 0 && (size_t)len == strlen(wanted) && memcmp(found, wanted, (size_t)len) == 0;
}

static int link_one(struct stage *stage, const char *name, struct err *err)
{
    const char *last;
    char target[TARGET_MAX];
    make_target(name, target);
    int parent = tree_parent(&stage->tree, name, &last, err);
    if (parent < 0)
        return parent;
    if (unlinkat(parent, last, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return err_sys(err, errno, "replacing the folder %s by its shared one", name);
    return tree_make_link(&stage->tree, name, target, err);
}

int shared_link(struct stage *stage, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < stage->want.nshared_dirs; i++) {
        rc = make_folder(stage->host, stage->want.shared_dirs[i], err);
        if (rc == 0)
            rc = link_one(stage, stage->want.shared_dirs[i], err);
    }
    for (size_t i = 0; rc == 0 && i < stage->want.nshared_files; i++)
        rc = link_one(stage, stage->want.shared_files[i], err);
    return rc;
}
