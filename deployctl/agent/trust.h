/* trust.h - whose releases this host takes: the public keys of /etc/deployctl/trust.ini.
 *
 *   [trust]                 for every app of this host that has no section of its own
 *   ann = BASE64            a name for people, and a public key as `deployctl keygen` prints it
 *   ci-2026 = BASE64
 *   [trust:/srv/web]        for the app in this folder alone, in place of [trust]
 *   app = web               only what was signed as this app
 *   ci-2026 = BASE64
 *
 * Without the file, or without a section for a folder, releases need no signature.  The file and
 * its folder must belong to root and be writable by nobody else, for whoever brings releases must
 * not be the one who says whom to trust.  What cannot be read or understood trusts nobody.
 * $DEPLOYCTL_TRUST names another file, for which the same holds.
 */
#ifndef DEPLOYCTL_AGENT_TRUST_H
#define DEPLOYCTL_AGENT_TRUST_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "deployctl/wire/sign.h"

enum { TRUST_KEYS_MAX = 64, TRUST_NAME_MAX = 64, TRUST_FILE_BYTES = 256 * 1024 };

struct trust_key {
    char name[TRUST_NAME_MAX], text[SIGN_PUBLIC_MAX];
};
struct trust {
    bool required;          /* a section says something about this folder */
    char app[SIGN_APP_MAX]; /* "" = any */
    const char *file;       /* borrowed from the environment, or static */
    struct trust_key keys[TRUST_KEYS_MAX];
    size_t count;
};

/* What the host says about the app in `path`. */
int trust_read(const char *path, struct trust *ret, struct err *err);
/* `about` is what came with the release (about.h; NULL = nothing).  0: nothing is required, or a
 * key of ours has signed; `signer` is its name ("" = nobody that is known here).  ERR_DENIED says
 * what is missing and what to do. */
int trust_check(const struct trust *trust, const char *digest, const json_t *about,
                char signer[static TRUST_NAME_MAX], struct err *err);
/* Both. */
int trust_release(const char *path, const char *digest, const json_t *about,
                  char signer[static TRUST_NAME_MAX], struct err *err);

#endif
