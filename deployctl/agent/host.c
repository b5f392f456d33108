/* host.c - the contract is in host.h. */
#include "deployctl/agent/host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/accounts.h"
#include "base/auto.h"
#include "deployctl/wire/digest.h"
#include "io/durable.h"

enum { FOLDER_MODE = 0755 };

struct host_known {
    char id[MANIFEST_ID_MAX], digest[MANIFEST_HEX_MAX];
    struct timespec changed;
    off_t size;
};

static int open_folder(int dirfd, const char *name, int *ret, struct err *err)
{
    if (*ret >= 0)
        return 0;
    int fd = durable_open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd == -ENOENT)
        return 0;
    if (fd == -ELOOP || fd == -ENOTDIR)
        return err_set(err, ERR_STATE,
                       "%s has to be a folder of its own here, but is %s; move it away and put the "
                       "folder in its place",
                       name, fd == -ELOOP ? "a symbolic link" : "no folder");
    if (fd < 0)
        return err_sys(err, -fd, "opening the folder %s", name);
    *ret = fd;
    return 0;
}

static int open_folders(struct host *host, struct err *err)
{
    int rc = open_folder(host->root, "releases", &host->releases, err);
    if (rc == 0)
        rc = open_folder(host->root, HOST_META, &host->meta, err);
    if (rc == 0 && host->meta >= 0)
        rc = open_folder(host->meta, HOST_MANIFESTS, &host->manifests, err);
    return rc < 0 ? err_wrap(err, "%s", host->path) : 0;
}

const char *host_user(char user[static HOST_USER_MAX])
{
    char space[ACCOUNTS_ENTRY_BYTES];
    struct passwd entry, *pw;
    if (accounts_user(NULL, geteuid(), &entry, space, sizeof space, &pw) != 0)
        pw = NULL;
    if (pw != NULL && strlen(pw->pw_name) < HOST_USER_MAX)
        snprintf(user, HOST_USER_MAX, "%s", pw->pw_name);
    else
        snprintf(user, HOST_USER_MAX, "%u", (unsigned)geteuid());
    return user;
}

int host_open(struct host *host, const char *path, struct err *err)
{
    *host = (struct host){ .root = -1, .releases = -1, .meta = -1, .manifests = -1 };
    host->path = strdup(path);
    if (host->path == NULL)
        return err_set(err, ERR_MEMORY, "no memory");
    struct stat st;
    if (path[0] != '/') {
        err_set(err, ERR_INVALID, "the path \"%s\" is not absolute", path);
    } else if (stat(path, &st) < 0 && errno == ENOENT) {
        char user[HOST_USER_MAX];
        err_set(err, ERR_NOT_FOUND,
                "%s is not there; make it once, owned by the user who deploys: install -d -o %s %s",
                path, host_user(user), path);
    } else {
        int fd = durable_open_trusted(path, geteuid(), err);
        if (fd >= 0) {
            host->root = fd;
            if (open_folders(host, err) == 0)
                return 0;
        }
    }
    int code = err->code;
    host_done(host);
    return code;
}

void host_done(struct host *host)
{
    int *fds[] = { &host->manifests, &host->meta, &host->releases, &host->root };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        auto_close_(fds[i]);
        *fds[i] = -1;
    }
    free(host->path);
    free(host->known);
    host->path = NULL;
    host->known = NULL;
    host->nknown = 0;
}

int host_prepare(struct host *host, struct err *err)
{
    int rc = durable_mkdir(host->root, "releases", FOLDER_MODE, err);
    if (rc == 0)
        rc = durable_mkdir(host->root, HOST_META, FOLDER_MODE, err);
    if (rc == 0)
        rc = open_folders(host, err);
    if (rc == 0)
        rc = durable_mkdir(host->meta, HOST_MANIFESTS, FOLDER_MODE, err);
    if (rc == 0)
        rc = open_folders(host, err);
    return rc < 0 ? err_wrap(err, "preparing %s", host->path) : 0;
}

/* --- releases ------------------------------------------------------------------------------- */

static struct host_known *remember(struct host *host, const char *id)
{
    for (size_t i = 0; i < host->nknown; i++)
        if (strcmp(host->known[i].id, id) == 0)
            return &host->known[i];
    struct host_known *more = realloc(host->known, (host->nknown + 1) * sizeof *more);
    if (more == NULL)
        return NULL;
    host->known = more;
    struct host_known *known = &more[host->nknown++];
    *known = (struct host_known){ .size = -1 };
    snprintf(known->id, sizeof known->id, "%s", id);
    return known;
}

/* The digest of a manifest is computed again only when its file has changed. */
static void find_digest(struct host *host, struct host_release *release)
{
    AUTO_CLOSE int fd = host->manifests < 0 ? -1
                                            : durable_open_beneath(host->manifests, release->id,
                                                                   O_RDONLY | O_NOFOLLOW, 0);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > MANIFEST_TEXT_MAX)
        return;
    struct host_known *known = remember(host, release->id);
    if (known == NULL)
        return;
    if (known->size != st.st_size || known->changed.tv_sec != st.st_ctim.tv_sec ||
        known->changed.tv_nsec != st.st_ctim.tv_nsec) {
        unsigned char bytes[MANIFEST_DIGEST_BYTES];
        uint64_t len;
        struct digest *digest = digest_new(NULL);
        int rc = digest == NULL ? ERR_MEMORY : digest_of_fd(digest, fd, bytes, &len, NULL);
        digest_free(digest);
        if (rc < 0)
            return;
        manifest_hex(bytes, known->digest);
        known->size = st.st_size;
        known->changed = st.st_ctim;
    }
    const char *dash = strchr(release->id, '-');
    release->complete = strncmp(known->digest, dash + 1, strlen(dash + 1)) == 0;
    if (release->complete)
        snprintf(release->digest, sizeof release->digest, "%s", known->digest);
}

static int newest_first(const void *a, const void *b)
{
    const struct host_release *x = a, *y = b;
    if (x->number != y->number)
        return x->number < y->number ? 1 : -1;
    return strcmp(y->id, x->id);
}

static int add_release(struct host *host, struct host_releases *list, const char *name,
                       struct err *err)
{
    struct stat st;
    uint64_t number;
    if (!manifest_id_parse(name, &number) ||
        fstatat(host->releases, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
        return 0;
    if (list->count >= HOST_RELEASES_MAX)
        return err_set(err, ERR_LIMIT, "more than %d releases in %s; remove old ones",
                       HOST_RELEASES_MAX, host->path);
    struct host_release *more = realloc(list->at, (list->count + 1) * sizeof *more);
    if (more == NULL)
        return err_set(err, ERR_MEMORY, "no memory for the list of releases");
    list->at = more;
    struct host_release *release = &more[list->count++];
    *release = (struct host_release){ .number = number };
    memcpy(release->id, name, strlen(name) + 1); /* manifest_id_parse() saw it: it fits */
    find_digest(host, release);
    return 0;
}

int host_list(struct host *host, struct host_releases *ret, struct err *err)
{
    *ret = (struct host_releases){ 0 };
    if (host->releases < 0)
        return 0;
    int fd = openat(host->releases, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        auto_close_(&fd);
        return err_sys(err, errno, "listing %s/releases", host->path);
    }
    int rc = 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(dir)) != NULL;)
        rc = add_release(host, ret, entry->d_name, err);
    closedir(dir);
    if (rc < 0)
        host_list_done(ret);
    else if (ret->count > 0)
        qsort(ret->at, ret->count, sizeof *ret->at, newest_first);
    return rc;
}

void host_list_done(struct host_releases *list)
{
    free(list->at);
    *list = (struct host_releases){ 0 };
}

const struct host_release *host_list_find(const struct host_releases *list, const char *id)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->at[i].id, id) == 0)
            return &list->at[i];
    return NULL;
}

const struct host_release *host_list_digest(const struct host_releases *list, const char *digest)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->at[i].complete && strcmp(list->at[i].digest, digest) == 0)
            return &list->at[i];
    return NULL;
}

int host_manifest(const struct host *host, const char *id, struct manifest *ret, struct err *err)
{
    AUTO_CLOSE int fd = host->manifests < 0
                            ? -ENOENT
                            : durable_open_beneath(host->manifests, id, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0)
        return err_set(err, fd == -ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM, "the manifest of %s: %s",
                       id, strerror(-fd));
    struct buf text;
    buf_init(&text, MANIFEST_TEXT_MAX);
    int rc = buf_read_fd(&text, fd);
    if (rc < 0)
        rc = err_sys(err, -rc, "reading the manifest of %s", id);
    else if (manifest_parse(buf_text(&text), text.len, false, ret, err) < 0)
        rc = err_set(err, ERR_CORRUPT, "the manifest of %s is damaged", id);
    buf_done(&text);
    return rc;
}

int host_link(const struct host *host, const char *link, char ret[static MANIFEST_ID_MAX],
              struct err *err)
{
    static const char prefix[] = "releases/";
    char target[sizeof prefix + MANIFEST_ID_MAX];
    ssize_t n = readlinkat(host->root, link, target, sizeof target - 1);
    if (n < 0 && errno == ENOENT)
        return 0;
    if (n < 0 && errno == EINVAL)
        return err_set(err, ERR_STATE,
                       "%s/%s is not a symlink; move what is there away (mv %s/%s %s/%s.before), "
                       "then try again",
                       host->path, link, host->path, link, host->path, link);
    if (n < 0)
        return err_sys(err, errno, "reading the link %s/%s", host->path, link);
    target[n] = '\0';
    if (strncmp(target, prefix, sizeof prefix - 1) != 0 ||
        !manifest_id_parse(target + sizeof prefix - 1, NULL))
        return 0;
    memcpy(ret, target + sizeof prefix - 1, strlen(target + sizeof prefix - 1) + 1);
    return 1;
}
