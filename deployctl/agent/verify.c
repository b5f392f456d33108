/* verify.c - the contract is in verify.h. */
#include "deployctl/agent/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "deployctl/wire/digest.h"
#include "io/durable.h"

static const char *file_differs(struct digest *digest, int root, const struct manifest_entry *entry)
{
    AUTO_CLOSE int fd =
        durable_open_beneath(root, entry->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    unsigned char found[MANIFEST_DIGEST_BYTES];
    struct stat st;
    uint64_t bytes;
    struct err err;
    if (fd < 0)
        return fd == -ENOENT ? "is missing" : "cannot be read";
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return "is no regular file any more";
    if ((uint64_t)st.st_size != entry->size)
        return "has another size";
    if (digest_of_fd(digest, fd, found, &bytes, &err) < 0)
        return "cannot be read";
    return memcmp(found, entry->digest, sizeof found) == 0 ? NULL : "has other contents";
}

static const char *link_differs(int root, const struct manifest_entry *entry)
{
    char target[MANIFEST_PATH_MAX + 1];
    AUTO_CLOSE int fd = durable_open_beneath(root, entry->path, O_PATH | O_NOFOLLOW, 0);
    ssize_t len = fd < 0 ? -1 : readlinkat(fd, "", target, sizeof target);
    if (len < 0)
        return "is no symbolic link any more";
    bool same =
        (size_t)len == strlen(entry->target) && memcmp(target, entry->target, (size_t)len) == 0;
    return same ? NULL : "leads elsewhere";
}

static int check(const struct host *host, int root, const char *id, const struct manifest *manifest,
                 struct err *err)
{
    struct digest *digest = digest_new(err);
    if (digest == NULL)
        return err->code;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < manifest->count; i++) {
        const struct manifest_entry *entry = &manifest->entries[i];
        const char *how = entry->kind == MANIFEST_FILE   ? file_differs(digest, root, entry)
                          : entry->kind == MANIFEST_LINK ? link_differs(root, entry)
                                                         : NULL;
        if (how != NULL)
            rc = err_set(err, ERR_CORRUPT,
                         "release %s was changed on this host: %.100s %s; it is not used. Remove "
                         "%s/releases/%s there, then release its contents again",
                         id, entry->path, how, host->path, id);
    }
    digest_free(digest);
    return rc;
}

int verify_release(const struct host *host, const char *id, struct err *err)
{
    struct manifest manifest;
    manifest_init(&manifest);
    int rc = host_manifest(host, id, &manifest, err);
    if (rc == 0) {
        AUTO_CLOSE int root = host->releases < 0 ? -ENOENT
                                                 : durable_open_beneath(host->releases, id,
                                                                        O_RDONLY | O_DIRECTORY, 0);
        rc = root < 0 ? err_sys(err, -root, "opening %s/releases/%s", host->path, id)
                      : check(host, root, id, &manifest, err);
    }
    manifest_done(&manifest);
    digest_thread_end();
    return rc;
}
