/* verify.c - the contract is in verify.h. */
#include "deployctl/agent/verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "deployctl/agent/about.h"
#include "deployctl/agent/shared.h"
#include "deployctl/wire/digest.h"
#include "io/durable.h"

enum { PERMISSIONS = 07777, COMMAND_LISTED = 20 };
enum { EXIT_SAME = 0, EXIT_DIFFERS = 1, EXIT_CANNOT = 2 };

struct comparison {
    int root;
    const struct manifest *manifest;
    struct digest *digest;
    struct verify_report *report;
    bool no_memory;
};

const char *verify_kind_name(enum verify_kind kind)
{
    static const char *const names[VERIFY_NKINDS] = {
        [VERIFY_MISSING] = "missing",
        [VERIFY_CHANGED] = "changed",
        [VERIFY_ADDED] = "added",
    };
    return names[kind];
}

static void differs(struct comparison *c, enum verify_kind kind, const char *path, const char *how)
{
    struct verify_report *report = c->report;
    report->counts[kind]++;
    if (report->count >= report->most)
        return;
    char *copy = strdup(path);
    struct verify_difference *more =
        copy == NULL ? NULL : reallocarray(report->at, report->count + 1, sizeof *more);
    if (more == NULL) {
        free(copy);
        c->no_memory = true;
        return;
    }
    report->at = more;
    more[report->count++] = (struct verify_difference){ kind, how, copy };
}

/* --- what the manifest names ------------------------------------------------------------------ */

/* NULL = it is as it should be; *ret_kind otherwise. */
static const char *not_opened(int fd, enum verify_kind *ret_kind)
{
    *ret_kind = fd == -ENOENT ? VERIFY_MISSING : VERIFY_CHANGED;
    switch (fd) {
    case -ENOENT:
        return "is missing";
    case -ELOOP:
    case -EXDEV:
        return "is, or lies behind, a symbolic link";
    case -ENOTDIR:
        return "lies below what is no folder any more";
    default:
        return "cannot be read";
    }
}

static const char *file_differs(struct comparison *c, const struct manifest_entry *entry,
                                enum verify_kind *ret_kind)
{
    AUTO_CLOSE int fd =
        durable_open_beneath(c->root, entry->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    unsigned char found[MANIFEST_DIGEST_BYTES];
    struct stat st;
    uint64_t bytes;
    struct err err;
    if (fd < 0)
        return not_opened(fd, ret_kind);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return "is no regular file any more";
    if ((uint64_t)st.st_size != entry->size)
        return "has another size";
    if (digest_of_fd(c->digest, fd, found, &bytes, &err) < 0)
        return "cannot be read";
    if (memcmp(found, entry->digest, sizeof found) != 0)
        return "has other contents";
    return (st.st_mode & PERMISSIONS) == entry->mode ? NULL : "has other permissions";
}

static const char *link_differs(struct comparison *c, const struct manifest_entry *entry,
                                enum verify_kind *ret_kind)
{
    char target[MANIFEST_PATH_MAX + 1];
    AUTO_CLOSE int fd = durable_open_beneath(c->root, entry->path, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0)
        return not_opened(fd, ret_kind);
    ssize_t len = readlinkat(fd, "", target, sizeof target);
    if (len < 0)
        return "is no symbolic link any more";
    bool same =
        (size_t)len == strlen(entry->target) && memcmp(target, entry->target, (size_t)len) == 0;
    return same ? NULL : "leads elsewhere";
}

static const char *folder_differs(struct comparison *c, const struct manifest_entry *entry,
                                  enum verify_kind *ret_kind)
{
    struct stat st;
    AUTO_CLOSE int fd = durable_open_beneath(c->root, entry->path, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0)
        return not_opened(fd, ret_kind);
    if (fstat(fd, &st) < 0)
        return "cannot be read";
    if (S_ISLNK(st.st_mode) && shared_is_link(c->root, entry->path))
        return NULL;
    if (!S_ISDIR(st.st_mode))
        return "is no folder any more";
    return (st.st_mode & PERMISSIONS) == entry->mode ? NULL : "has other permissions";
}

static void compare_entry(struct comparison *c, const struct manifest_entry *entry)
{
    enum verify_kind kind = VERIFY_CHANGED;
    const char *how = NULL;
    switch (entry->kind) {
    case MANIFEST_FILE:
        how = file_differs(c, entry, &kind);
        break;
    case MANIFEST_LINK:
        how = link_differs(c, entry, &kind);
        break;
    case MANIFEST_FOLDER:
        how = folder_differs(c, entry, &kind);
        break;
    }
    if (how != NULL)
        differs(c, kind, entry->path, how);
}

/* --- what it does not name -------------------------------------------------------------------- */

/* Is `path` an entry, or a folder above one?  Entries are sorted bytewise, so those below "a/"
 * stand together. */
static bool is_named(const struct manifest *manifest, const char *path, bool folder)
{
    char below[MANIFEST_PATH_MAX + 2];
    size_t low = 0, high = manifest->count;
    size_t len = (size_t)snprintf(below, sizeof below, "%s%s", path, folder ? "/" : "");
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(manifest->entries[middle].path, below) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < manifest->count && folder && strncmp(manifest->entries[low].path, below, len) == 0)
        return true;
    return low < manifest->count && !folder && strcmp(manifest->entries[low].path, path) == 0;
}

static void find_added(struct comparison *c, int dirfd, const char *above, size_t depth);

static void look_at(struct comparison *c, int dirfd, const char *path, const char *name,
                    size_t depth)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return; /* gone meanwhile */
    bool folder = S_ISDIR(st.st_mode);
    bool entry = is_named(c->manifest, path, false);
    if (!entry && !(folder && is_named(c->manifest, path, true))) {
        if (!(S_ISLNK(st.st_mode) && shared_is_link(c->root, path)))
            differs(c, VERIFY_ADDED, path, folder ? "folder was added" : "was added");
        return;
    }
    if (folder && depth < MANIFEST_DEPTH_MAX)
        find_added(c, openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), path,
                   depth + 1);
}

/* Takes over dirfd. */
static void find_added(struct comparison *c, int dirfd, const char *above, size_t depth)
{
    DIR *dir = dirfd < 0 ? NULL : fdopendir(dirfd);
    if (dir == NULL) {
        auto_close_(&dirfd);
        differs(c, VERIFY_CHANGED, above, "cannot be listed");
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        AUTO_FREE char *path = NULL;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (asprintf(&path, "%s%s%s", above, above[0] != '\0' ? "/" : "", entry->d_name) < 0) {
            path = NULL;
            c->no_memory = true;
        } else if (strlen(path) > MANIFEST_PATH_MAX) {
            differs(c, VERIFY_ADDED, above, "holds what no release can have");
        } else {
            look_at(c, dirfd, path, entry->d_name, depth);
        }
    }
    closedir(dir);
}

/* --- the whole -------------------------------------------------------------------------------- */

static int open_release(const struct host *host, const char *id, struct verify_report *report,
                        struct err *err)
{
    struct host_releases list;
    struct host view = *host; /* on a thread: the cache of digests is the loop's */
    view.known = NULL;
    view.nknown = 0;
    int rc = host_list(&view, &list, err);
    free(view.known);
    if (rc < 0)
        return rc;
    const struct host_release *release = host_list_find(&list, id);
    int fd = -1;
    if (release == NULL) {
        err_set(err, ERR_NOT_FOUND, "release %s is not in %s/releases", id, host->path);
    } else if (!release->complete) {
        err_set(err, ERR_CORRUPT,
                "the manifest of release %s (%s/.deploy/manifests/%s) is missing or was changed; "
                "release its contents again",
                id, host->path, id);
    } else {
        memcpy(report->digest, release->digest, sizeof report->digest);
        fd = durable_open_beneath(host->releases, id, O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0)
            err_sys(err, -fd, "opening %s/releases/%s", host->path, id);
    }
    host_list_done(&list);
    return fd < 0 ? err->code : fd;
}

static int compare(struct comparison *c, struct err *err)
{
    c->digest = digest_new(err);
    if (c->digest == NULL)
        return err->code;
    c->report->entries = c->manifest->count;
    for (size_t i = 0; i < c->manifest->count; i++)
        compare_entry(c, &c->manifest->entries[i]);
    digest_free(c->digest);
    find_added(c, openat(c->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "", 0);
    return c->no_memory ? err_set(err, ERR_MEMORY, "no memory to compare a release") : 0;
}

int verify_compare(const struct host *host, const char *id, struct verify_report *report,
                   struct err *err)
{
    struct manifest manifest;
    struct comparison c = { .manifest = &manifest, .report = report };
    manifest_init(&manifest);
    AUTO_CLOSE int root = open_release(host, id, report, err);
    int rc = root < 0 ? root : host_manifest(host, id, &manifest, err);
    c.root = root;
    if (rc == 0)
        rc = compare(&c, err);
    if (rc == 0) {
        json_t *about = about_read(host, id);
        if (trust_release(host->path, report->digest, about, report->signer, &report->trust) == 0)
            report->trust = (struct err){ 0 };
        json_decref(about);
    }
    manifest_done(&manifest);
    digest_thread_end();
    return rc;
}

void verify_report_done(struct verify_report *report)
{
    for (size_t i = 0; i < report->count; i++)
        free(report->at[i].path);
    free(report->at);
    *report = (struct verify_report){ 0 };
}

int verify_release(const struct host *host, const char *id, struct err *err)
{
    struct verify_report report = { .most = 1 };
    int rc = verify_compare(host, id, &report, err);
    if (rc == 0 && report.counts[VERIFY_MISSING] + report.counts[VERIFY_CHANGED] > 0)
        rc = err_set(err, ERR_CORRUPT,
                     "release %s was changed on this host: %.100s %s; it is not used. Remove "
                     "%s/releases/%s there, then release its contents again",
                     id, report.at[0].path, report.at[0].how, host->path, id);
    else if (rc == 0 && report.trust.code != ERR_NONE)
        rc = (*err = report.trust).code;
    verify_report_done(&report);
    return rc;
}

/* --- the command ------------------------------------------------------------------------------ */

/* PATH/releases/ID becomes PATH and ID; any other DIR is a PATH whose id is "". */
static int split(const char *dir, char path[static PATH_MAX], char id[static MANIFEST_ID_MAX],
                 struct err *err)
{
    if (strlen(dir) >= PATH_MAX)
        return err_set(err, ERR_INVALID, "the path is longer than %d bytes", PATH_MAX - 1);
    snprintf(path, PATH_MAX, "%s", dir);
    for (size_t len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
        path[len - 1] = '\0';
    id[0] = '\0';
    char *last = strrchr(path, '/');
    if (last == NULL || !manifest_id_parse(last + 1, NULL))
        return 0;
    static const char folder[] = "/releases";
    *last = '\0';
    size_t len = strlen(path), tail = sizeof folder - 1;
    if (len <= tail || strcmp(path + len - tail, folder) != 0)
        return err_set(err, ERR_INVALID, "%s does not lie in a folder `releases`", dir);
    memcpy(id, last + 1, strlen(last + 1) + 1);
    path[len - tail] = '\0';
    return 0;
}

static int command(const char *dir, char id[static MANIFEST_ID_MAX], struct verify_report *report,
                   struct err *err)
{
    char path[PATH_MAX];
    struct host host;
    int rc = split(dir, path, id, err);
    if (rc < 0 || (rc = host_open(&host, path, err)) < 0)
        return rc;
    if (id[0] == '\0' && (rc = host_link(&host, "current", id, err)) == 0)
        rc = err_set(err, ERR_NOT_FOUND, "%s/current leads to no release", path);
    if (rc >= 0)
        rc = verify_compare(&host, id, report, err);
    host_done(&host);
    return rc;
}

/* What lies there may have been named by anybody: nothing of it may act on a terminal. */
static void print_path(const char *path)
{
    for (const unsigned char *at = (const unsigned char *)path; *at != '\0'; at++)
        if (*at < ' ' || *at == '\\' || *at == 0x7f)
            printf("\\%03o", *at);
        else
            putchar(*at);
}

int verify_command(const char *dir, bool additions_count)
{
    struct verify_report report = { .most = COMMAND_LISTED };
    char id[MANIFEST_ID_MAX];
    struct err err;
    if (command(dir, id, &report, &err) < 0) {
        fprintf(stderr, "deployctl agent: %s\n", err.text);
        verify_report_done(&report);
        return EXIT_CANNOT;
    }
    size_t lost = report.counts[VERIFY_MISSING] + report.counts[VERIFY_CHANGED];
    size_t added = report.counts[VERIFY_ADDED];
    for (size_t i = 0; i < report.count; i++) {
        print_path(report.at[i].path);
        printf(" %s\n", report.at[i].how);
    }
    if (lost + added > report.count)
        printf("... and %zu more\n", lost + added - report.count);
    if (report.trust.code != ERR_NONE)
        printf("release %s is not trusted: %s\n", id, report.trust.text);
    else if (report.signer[0] != '\0')
        printf("release %s was signed by %s\n", id, report.signer);
    printf("release %s %s (%zu entries; %zu missing, %zu changed, %zu added)\n", id,
           lost + added > 0 ? "differs from its manifest" : "is what its manifest says",
           report.entries, report.counts[VERIFY_MISSING], report.counts[VERIFY_CHANGED], added);
    bool bad = lost > 0 || report.trust.code != ERR_NONE || (additions_count && added > 0);
    verify_report_done(&report);
    return bad ? EXIT_DIFFERS : EXIT_SAME;
}
