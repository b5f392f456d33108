/* digest.h - SHA-256 over OpenSSL's EVP, in pieces or all at once. */
#ifndef DEPLOYCTL_WIRE_DIGEST_H
#define DEPLOYCTL_WIRE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/plan/manifest.h"

struct digest;

/* One object can be used for many contents, one after another. */
struct digest *digest_new(struct err *err);
void digest_free(struct digest *digest);
/* A failure of the library inside (memory) shows at digest_end. */
void digest_begin(struct digest *digest);
void digest_add(struct digest *digest, const void *data, size_t len);
int digest_end(struct digest *digest, unsigned char ret[static MANIFEST_DIGEST_BYTES],
               struct err *err);

int digest_of(const void *data, size_t len, unsigned char ret[static MANIFEST_DIGEST_BYTES],
              struct err *err);
/* Reads fd from its beginning (pread) to end of file. */
int digest_of_fd(struct digest *digest, int fd, unsigned char ret[static MANIFEST_DIGEST_BYTES],
                 uint64_t *ret_bytes, struct err *err);

/* At the end of work on a thread of a pool: gives back what the library keeps for the thread. */
void digest_thread_end(void);

#endif
