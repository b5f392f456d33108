/* host.h - the folder of an app on this host: its descriptors and what lies in it.
 *
 * PATH/releases/ID, releases/.incoming, releases/.trash, current, previous, shared, .deploy/.
 * The folder is opened once, without symlinks on the way; everything works relative to that.
 */
#ifndef DEPLOYCTL_AGENT_HOST_H
#define DEPLOYCTL_AGENT_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/err.h"
#include "deployctl/plan/manifest.h"

#define HOST_INCOMING  ".incoming"
#define HOST_TRASH     ".trash"
#define HOST_META      ".deploy"
#define HOST_MANIFESTS "manifests"

struct host_known; /* digests of manifests that were read before */
struct host {
    char *path;
    int root, releases, meta, manifests; /* -1 = not there (yet) */
    bool linkable; /* the service runs as another uid, so contents may be hard-linked */
    struct host_known *known;
    size_t nknown;
};

/* Opens what is there; a missing folder is an error with its remedy, missing folders in it not.
 * After a failure the struct is as after host_done. */
int host_open(struct host *host, const char *path, struct err *err);
void host_done(struct host *host);
/* Name (or number) of the user whom the folder must belong to: ours.  Returns `user`. */
enum { HOST_USER_MAX = 64 };
const char *host_user(char user[static HOST_USER_MAX]);
/* Makes the folders that are missing. */
int host_prepare(struct host *host, struct err *err);

struct host_release {
    char id[MANIFEST_ID_MAX];
    uint64_t number;
    bool complete;                 /* folder and a manifest that fits its name */
    char digest[MANIFEST_HEX_MAX]; /* "" when not complete */
};
struct host_releases {
    struct host_release *at; /* newest (highest number) first; owned */
    size_t count;
};
enum { HOST_RELEASES_MAX = 10000 };
int host_list(struct host *host, struct host_releases *ret, struct err *err);
void host_list_done(struct host_releases *list);
const struct host_release *host_list_find(const struct host_releases *list, const char *id);
const struct host_release *host_list_digest(const struct host_releases *list, const char *digest);

/* The manifest of a release, whole.  ERR_NOT_FOUND, ERR_CORRUPT. */
int host_manifest(const struct host *host, const char *id, struct manifest *ret, struct err *err);
/* `link` is "current" or "previous".  1: *ret is its id; 0: not there, or leads elsewhere;
 * ERR_STATE with a remedy: it is not a symlink. */
int host_link(const struct host *host, const char *link, char ret[static MANIFEST_ID_MAX],
              struct err *err);

#endif
