/* stage.c - the beginning of a stage; contents arrive in receive.c, the end is in seal.c. */
#include "deployctl/agent/stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/accounts.h"
#include "base/auto.h"
#include "base/clock.h"
#include "base/unit.h"
#include "deployctl/agent/about.h"
#include "deployctl/agent/bases.h"
#include "deployctl/agent/parts.h"
#include "deployctl/agent/reuse.h"
#include "deployctl/agent/shared.h"
#include "deployctl/agent/space.h"
#include "io/durable.h"
#include "io/jsonx.h"

#define TEMPORARY ".new-"
enum { TEMPORARY_AGE_S = 600 };
enum { PRIVATE_MODE = 0700, FOLDER_MODE = 0755, NORMAL_MODE = 0444, NORMAL_EXEC_MODE = 0555 };

/* --- the request ------------------------------------------------------------------------------ */

static int read_names(const json_t *request, const char *key, char *names[static STAGE_SHARED_MAX],
                      size_t *count, struct err *err)
{
    size_t i;
    json_t *name;
    json_array_foreach(json_object_get(request, key), i, name)
    {
        if (i >= STAGE_SHARED_MAX)
            return err_set(err, ERR_LIMIT, "more than %d %s", STAGE_SHARED_MAX, key);
        if (!json_is_string(name) || manifest_check_path(json_string_value(name), err) < 0)
            return err_set(err, ERR_INVALID, "%s: \"%s\" is not a path inside the release", key,
                           json_is_string(name) ? json_string_value(name) : "?");
        names[i] = strdup(json_string_value(name));
        if (names[i] == NULL)
            return err_set(err, ERR_MEMORY, "no memory");
        *count = i + 1;
    }
    return 0;
}

/* "USER" or "USER:GROUP". */
static int read_owner(const char *text, struct stage_want *want, struct err *err)
{
    if (text == NULL || text[0] == '\0')
        return 0;
    if (geteuid() != 0)
        return err_set(err, ERR_DENIED, "owner = %s needs the agent to be root on this host", text);
    AUTO_FREE char *user = strdup(text);
    if (user == NULL)
        return err_set(err, ERR_MEMORY, "no memory");
    char *colon = strchr(user, ':');
    if (colon != NULL)
        *colon = '\0';
    char space[ACCOUNTS_ENTRY_BYTES];
    struct passwd entry, *pw;
    if (accounts_user(user, 0, &entry, space, sizeof space, &pw) != 0 || pw == NULL)
        return err_set(err, ERR_NOT_FOUND, "owner: there is no user \"%s\" on this host", user);
    want->uid = pw->pw_uid;
    want->gid = pw->pw_gid;
    if (colon != NULL) {
        struct group named, *gr;
        if (accounts_group(colon + 1, &named, space, sizeof space, &gr) != 0 || gr == NULL)
            return err_set(err, ERR_NOT_FOUND, "owner: there is no group \"%s\" on this host",
                           colon + 1);
        want->gid = gr->gr_gid;
    }
    want->set_owner = true;
    return 0;
}

static int read_identity(const json_t *request, struct stage_want *want, struct err *err)
{
    const char *id, *hex;
    unsigned char digest[MANIFEST_DIGEST_BYTES];
    if (jsonx_need_text(request, "id", &id, err) < 0 ||
        jsonx_need_text(request, "digest", &hex, err) < 0 ||
        jsonx_need_int(request, "entries", &want->entries, err) < 0 ||
        jsonx_need_int(request, "bytes", &want->bytes, err) < 0)
        return err->code;
    const char *dash = strchr(id, '-');
    if (!manifest_id_parse(id, NULL) || !manifest_unhex(hex, digest) ||
        strncmp(hex, dash + 1, strlen(dash + 1)) != 0)
        return err_set(err, ERR_INVALID, "id \"%s\" and digest \"%s\" do not belong together", id,
                       hex);
    snprintf(want->id, sizeof want->id, "%s", id);
    snprintf(want->hex, sizeof want->hex, "%s", hex);
    return 0;
}

static int read_want(const json_t *request, struct stage_want *want, struct err *err)
{
    int rc = read_identity(request, want, err);
    if (rc == 0)
        rc = read_names(request, "shared_dirs", want->shared_dirs, &want->nshared_dirs, err);
    if (rc == 0)
        rc = read_names(request, "shared_files", want->shared_files, &want->nshared_files, err);
    if (rc == 0)
        rc = read_owner(jsonx_text(request, "owner", NULL), want, err);
    want->fsync_each = strcmp(jsonx_text(request, "durability", "syncfs"), "fsync") == 0;
    want->any_links = strcmp(jsonx_text(request, "links", "inside"), "any") == 0;
    want->chunks = jsonx_bool(request, "chunks", false);
    want->keep_modes = strcmp(jsonx_text(request, "modes", "normal"), "keep") == 0;
    return rc;
}

struct stage *stage_new(const struct host *host, const json_t *request, struct err *err)
{
    struct stage *stage = calloc(1, sizeof *stage);
    if (stage == NULL) {
        err_set(err, ERR_MEMORY, "no memory to stage");
        return NULL;
    }
    stage->view = *host;
    stage->view.known = NULL;
    stage->view.nknown = 0;
    stage->host = &stage->view;
    stage->file = stage->reserve = -1;
    stage->started_ms = clock_mono_ms();
    buf_init(&stage->packed, STAGE_MANIFEST_MAX);
    manifest_init(&stage->manifest);
    tree_init(&stage->tree, -1);
    stage->digest = digest_new(err);
    stage->unsqueeze = unsqueeze_new(err);
    const json_t *about = json_object_get(request, "about");
    stage->about = json_deep_copy(about); /* a thread works on it */
    if (stage->digest == NULL || stage->unsqueeze == NULL || about_valid(about, err) < 0 ||
        read_want(request, &stage->want, err) < 0) {
        stage_free(stage);
        return NULL;
    }
    return stage;
}

void stage_drop(struct stage *stage)
{
    auto_close_(&stage->file);
    auto_close_(&stage->reserve);
    stage->file = stage->reserve = -1;
    if (stage->tree.fd < 0)
        return;
    tree_done(&stage->tree);
    AUTO_CLOSE int incoming =
        durable_open_beneath(stage->host->releases, HOST_INCOMING, O_RDONLY | O_DIRECTORY, 0);
    if (incoming >= 0)
        durable_remove_tree(incoming, stage->want.id, NULL);
}

void stage_free(struct stage *stage)
{
    if (stage == NULL)
        return;
    if (stage->received_bytes < PARTS_WORTH_BYTES && stage->resumed == 0)
        stage_drop(stage);
    auto_close_(&stage->file);
    auto_close_(&stage->reserve);
    tree_done(&stage->tree);
    idle_end(&stage->idle);
    for (size_t i = 0; i < stage->want.nshared_dirs; i++)
        free(stage->want.shared_dirs[i]);
    for (size_t i = 0; i < stage->want.nshared_files; i++)
        free(stage->want.shared_files[i]);
    buf_done(&stage->packed);
    manifest_done(&stage->manifest);
    free(stage->leader);
    free(stage->content);
    free(stage->missing);
    free(stage->copies);
    free(stage->again);
    bases_free(stage->bases);
    free(stage->view.known);
    json_decref(stage->about);
    digest_free(stage->digest);
    unsqueeze_free(stage->unsqueeze);
    free(stage);
}

int stage_manifest_piece(struct stage *stage, const void *data, size_t len, struct err *err)
{
    buf_put(&stage->packed, data, len);
    return stage->packed.failed
               ? err_set(err, ERR_LIMIT, "a manifest of more than %d bytes compressed",
                         STAGE_MANIFEST_MAX)
               : 0;
}

/* --- the manifest ----------------------------------------------------------------------------- */

static int check_entry(const struct stage_want *want, const struct manifest_entry *entry,
                       struct err *err)
{
    if (entry->kind == MANIFEST_LINK)
        return manifest_check_link(entry->path, entry->target, want->any_links, err);
    if (want->keep_modes)
        return 0;
    bool normal = entry->kind == MANIFEST_FOLDER
                      ? entry->mode == FOLDER_MODE
                      : entry->mode == NORMAL_MODE || entry->mode == NORMAL_EXEC_MODE;
    return normal ? 0
                  : err_set(err, ERR_INVALID,
                            "\"%s\" has mode %o; a release has 0444, 0555 and folders 0755 unless "
                            "modes = keep",
                            entry->path, (unsigned)entry->mode);
}

static int read_manifest(struct stage *stage, struct err *err)
{
    struct buf text;
    buf_init(&text, MANIFEST_TEXT_MAX);
    int rc = unsqueeze_all(buf_text(&stage->packed), stage->packed.len, &text, err);
    buf_done(&stage->packed);
    if (rc == 0)
        rc = manifest_parse(buf_text(&text), text.len, true, &stage->manifest, err);
    buf_done(&text);
    if (rc == 0 && ((uint64_t)stage->want.entries != stage->manifest.count ||
                    (uint64_t)stage->want.bytes != stage->manifest.bytes))
        rc = err_set(err, ERR_PROTOCOL, "it has %zu entries and %llu bytes, not %lld and %lld",
                     stage->manifest.count, (unsigned long long)stage->manifest.bytes,
                     (long long)stage->want.entries, (long long)stage->want.bytes);
    for (size_t i = 0; rc == 0 && i < stage->manifest.count; i++)
        rc = check_entry(&stage->want, &stage->manifest.entries[i], err);
    return rc < 0 ? err_wrap(err, "the manifest of %s", stage->want.id) : 0;
}

/* --- what lies here -----------------------------------------------------------------------------
 */

static bool is_dot(const char *name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

/* Removes the contents of releases/NAME that earlier agents left; makes it private. */
static int empty_folder(const struct host *host, const char *name, struct err *err)
{
    int rc = durable_mkdir(host->releases, name, PRIVATE_MODE, err);
    if (rc < 0)
        return rc;
    int fd = durable_open_beneath(host->releases, name, O_RDONLY | O_DIRECTORY, 0);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        auto_close_(&fd);
        return err_set(err, ERR_SYSTEM, "opening releases/%s", name);
    }
    for (struct dirent *entry; rc == 0 && (entry = readdir(dir)) != NULL;)
        if (!is_dot(entry->d_name))
            rc = durable_remove_tree(dirfd(dir), entry->d_name, err);
    closedir(dir);
    return rc;
}

/* A manifest whose release is not there was written just before a crash, or outlived it. */
static void remove_lone_manifests(const struct host *host)
{
    struct stat st;
    int fd = openat(host->manifests, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        auto_close_(&fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (!is_dot(entry->d_name) &&
            fstatat(host->releases, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

/* Temporary files of io/durable that a kill left behind; young ones may be in use by an agent that
 * leaves a request, for which it needs no lock. */
static void remove_temporaries(const struct host *host)
{
    struct stat st;
    time_t now = (time_t)(clock_wall_us() / 1000000);
    int fd = openat(host->meta, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        auto_close_(&fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strncmp(entry->d_name, TEMPORARY, sizeof TEMPORARY - 1) == 0 &&
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            now - st.st_mtime > TEMPORARY_AGE_S)
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

static int check_place(struct stage *stage, const struct host_releases *list, struct err *err)
{
    const char *id = stage->want.id;
    char unused[MANIFEST_ID_MAX];
    if (host_link(stage->host, "current", unused, err) < 0)
        return err->code;
    const struct host_release *there = host_list_find(list, id);
    if (there == NULL)
        return 0;
    stage->have = there->complete && strcmp(there->digest, stage->want.hex) == 0;
    if (stage->have)
        return 0;
    if (there->complete)
        return err_set(err, ERR_EXISTS, "%s is here already with other contents (digest %s)", id,
                       there->digest);
    return err_set(
        err, ERR_EXISTS,
        "%s/releases/%s is there without its manifest: not made by deployctl, or damaged; "
        "remove it",
        stage->host->path, id);
}

/* Before a byte of it travels.  What is here already may have been signed then. */
static int check_trust(struct stage *stage, struct err *err)
{
    json_t *about = about_read(stage->host, stage->want.id);
    if (about == NULL)
        about = json_object();
    json_object_update(about, stage->about);
    int rc = trust_release(stage->host->path, stage->want.hex, about, stage->signer, err);
    json_decref(about);
    return rc;
}

static int make_tree(struct stage *stage, struct err *err)
{
    int rc = 0;
    AUTO_CLOSE int incoming =
        durable_open_beneath(stage->host->releases, HOST_INCOMING, O_RDONLY | O_DIRECTORY, 0);
    if (incoming < 0)
        return err_sys(err, -incoming, "opening releases/" HOST_INCOMING);
    if (mkdirat(incoming, stage->want.id, FOLDER_MODE) < 0)
        return err_sys(err, errno, "making releases/" HOST_INCOMING "/%s", stage->want.id);
    int fd = durable_open_beneath(incoming, stage->want.id, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return err_sys(err, -fd, "opening releases/" HOST_INCOMING "/%s", stage->want.id);
    tree_init(&stage->tree, fd);
    for (size_t i = 0; rc == 0 && i < stage->manifest.count; i++) {
        const struct manifest_entry *entry = &stage->manifest.entries[i];
        if (entry->kind == MANIFEST_FOLDER)
            rc = tree_make_folder(&stage->tree, entry->path, err);
        else if (entry->kind == MANIFEST_LINK)
            rc = tree_make_link(&stage->tree, entry->path, entry->target, err);
    }
    return rc;
}

static int list_missing(struct stage *stage, struct err *err)
{
    stage->missing = calloc(stage->manifest.count + 1, sizeof *stage->missing);
    if (stage->missing == NULL)
        return err_set(err, ERR_MEMORY, "no memory for the list of missing contents");
    for (size_t i = 0; i < stage->manifest.count; i++)
        if (stage->content[i] == STAGE_MISSING && stage->leader[i] == i) {
            stage->missing[stage->nmissing++] = (uint32_t)i;
            stage->missing_bytes += stage->manifest.entries[i].size;
        }
    return 0;
}

static int prepare(struct stage *stage, const struct host_releases *list, struct err *err)
{
    struct reuse *reuse = reuse_find(stage, list, err);
    if (reuse == NULL)
        return err->code;
    int rc = space_check(stage, reuse, err);
    if (rc == ERR_LIMIT && (rc = parts_remove(stage->host, err)) == 0)
        rc = space_check(stage, reuse, err);
    if (rc == 0)
        rc = make_tree(stage, err);
    if (rc == 0)
        rc = reuse_place(stage, reuse, err);
    if (rc == 0)
        rc = parts_take(stage, err);
    if (rc == 0)
        rc = list_missing(stage, err);
    if (rc == 0)
        rc = space_reserve(stage, err);
    if (rc == 0 && stage->want.chunks && (stage->bases = bases_find(stage, reuse, err)) == NULL)
        rc = err->code;
    reuse_free(reuse);
    return rc;
}

int stage_begin(struct stage *stage, struct err *err)
{
    struct host *host = stage->host;
    struct host_releases list = { 0 };
    int rc = check_trust(stage, err);
    if (rc == 0)
        rc = read_manifest(stage, err);
    if (rc == 0)
        rc = parts_collect(host, err);
    if (rc == 0)
        rc = empty_folder(host, HOST_TRASH, err);
    if (rc == 0) {
        remove_lone_manifests(host);
        remove_temporaries(host);
        rc = host_list(host, &list, err);
    }
    if (rc == 0) {
        about_clean(host, &list);
        rc = check_place(stage, &list, err);
    }
    if (rc == 0 && stage->have && stage->about != NULL)
        rc = about_write(host, stage->want.id, stage->about, err);
    if (rc == 0 && !stage->have)
        rc = shared_check(stage, err);
    if (rc == 0 && !stage->have)
        rc = prepare(stage, &list, err);
    host_list_done(&list);
    if (rc < 0)
        stage_drop(stage);
    return rc;
}
