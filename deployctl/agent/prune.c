/* prune.c - the contract is in prune.h. */
#include "deployctl/agent/prune.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "deployctl/agent/parts.h"
#include "io/durable.h"

enum { TRASH_MODE = 0700 };

void prune_choose(struct prune_release *at, size_t count, size_t keep)
{
    size_t good = 0;
    for (size_t i = 0; i < count; i++) {
        at[i].remove = !at[i].in_use && good > 0 && (!at[i].good || good >= keep);
        good += at[i].good;
    }
}

static int remove_one(struct prune *prune, int trash, struct prune_release *release,
                      struct err *err)
{
    struct manifest manifest;
    if (host_manifest(prune->host, release->id, &manifest, NULL) == 0) {
        prune->bytes += manifest.bytes;
        manifest_done(&manifest);
    }
    int rc = 0;
    if (!prune->dry) {
        rc = durable_remove_tree(trash, release->id, err);
        if (rc == 0)
            rc = durable_rename(prune->host->releases, release->id, trash, release->id, false, err);
        if (rc == 0)
            rc = durable_unlink(prune->host->manifests, release->id, err);
        if (rc == 0)
            rc = durable_remove_tree(trash, release->id, err);
    }
    release->removed = rc == 0;
    return rc < 0 ? err_wrap(err, "removing %s", release->id) : 0;
}

int prune_run(struct prune *prune, struct err *err)
{
    int rc = prune->dry ? 0 : durable_mkdir(prune->host->releases, HOST_TRASH, TRASH_MODE, err);
    if (rc < 0)
        return rc;
    AUTO_CLOSE int trash = prune->dry ? -1
                                      : durable_open_beneath(prune->host->releases, HOST_TRASH,
                                                             O_RDONLY | O_DIRECTORY, 0);
    if (!prune->dry && trash < 0)
        return err_sys(err, -trash, "opening releases/" HOST_TRASH);
    for (size_t i = 0; rc == 0 && i < prune->count; i++)
        if (prune->at[i].remove)
            rc = remove_one(prune, trash, &prune->at[i], err);
    return rc == 0 && prune->parts && !prune->dry ? parts_remove(prune->host, err) : rc;
}

void prune_done(struct prune *prune)
{
    free(prune->at);
    prune->at = NULL;
    prune->count = 0;
}
