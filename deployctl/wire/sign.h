/* sign.h - Ed25519 signatures of releases: who says that a digest is a release of an app.
 *
 * What is signed is "deployctl release 1\nAPP\nDIGEST\n", so neither a signature for another app
 * nor one made for another purpose fits.  The number in a release's id is not part of it: the same
 * contents keep their signature, and an older release that was signed may be gone back to.
 *
 * A private key is a PEM file as `openssl genpkey -algorithm ed25519` makes it; public keys and
 * signatures are base64 of the bare 32 and 64 bytes.
 */
#ifndef DEPLOYCTL_WIRE_SIGN_H
#define DEPLOYCTL_WIRE_SIGN_H

#include <stdbool.h>

#include "base/err.h"

enum {
    SIGN_PUBLIC_MAX = 45, /* 44 characters and NUL */
    SIGN_TEXT_MAX = 89,   /* 88 characters and NUL */
    SIGN_APP_MAX = 128,
};

struct sign_key;

/* ERR_DENIED: others may read it; ERR_INVALID: no Ed25519 key, or one with a passphrase. */
struct sign_key *sign_key_load(const char *path, struct err *err);
/* A new key in a new file (0600); ERR_EXISTS. */
struct sign_key *sign_key_make(const char *path, struct err *err);
void sign_key_free(struct sign_key *key); /* NULL is fine */
int sign_public(const struct sign_key *key, char text[static SIGN_PUBLIC_MAX], struct err *err);
int sign_make(const struct sign_key *key, const char *app, const char *digest,
              char text[static SIGN_TEXT_MAX], struct err *err);

bool sign_public_valid(const char *text);
/* Whether the signature is by this key, for this app and digest.  Whatever is malformed is not. */
bool sign_check(const char *public_key, const char *app, const char *digest, const char *text);

#endif
