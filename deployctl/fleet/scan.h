/* scan.h - a folder walked into a manifest, without the digests.
 *
 * Nothing is followed: a symlink becomes an entry with its target.  Devices, sockets and FIFOs are
 * errors, and so is whatever cannot be read, each with its name.
 */
#ifndef DEPLOYCTL_FLEET_SCAN_H
#define DEPLOYCTL_FLEET_SCAN_H

#include <stdbool.h>

#include "base/err.h"
#include "deployctl/plan/manifest.h"

struct scan_options {
    const char *root;            /* for messages */
    const char *const *patterns; /* NULL-terminated; one with a '/' is matched against the whole
                                  * path, others against each name; a trailing '/' = folders only */
    bool any_links, keep_modes;
};
/* Fills ret (initialised by the caller; to be done by it also after a failure), sealed.
 * `secrets` gets a line for each file whose name looks like a secret.  An empty folder is
 * ERR_INVALID. */
int scan_folder(int dirfd, const struct scan_options *options, struct manifest *ret,
                struct err_list *secrets, struct err *err);
/* Pure: whether `path` (relative; of a folder if so told) is left out. */
bool scan_excluded(const char *const *patterns, const char *path, bool folder);
bool scan_looks_secret(const char *name);

#endif
