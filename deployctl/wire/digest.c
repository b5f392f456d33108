/* digest.c - the contract is in digest.h. */
#include "deployctl/wire/digest.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
/* OpenSSL has a type with the name of one of our error codes. */
#define ERR_STATE OPENSSL_ERR_STATE
#include <openssl/crypto.h>
#include <openssl/evp.h>
#undef ERR_STATE

#include "base/auto.h"

enum { READ_BYTES = 256 * 1024 };

struct digest {
    EVP_MD_CTX *context;
    bool failed;
};

struct digest *digest_new(struct err *err)
{
    struct digest *digest = calloc(1, sizeof *digest);
    if (digest != NULL && (digest->context = EVP_MD_CTX_new()) == NULL) {
        free(digest);
        digest = NULL;
    }
    if (digest == NULL)
        err_set(err, ERR_MEMORY, "no memory for a digest");
    return digest;
}

void digest_free(struct digest *digest)
{
    if (digest == NULL)
        return;
    EVP_MD_CTX_free(digest->context);
    free(digest);
}

void digest_begin(struct digest *digest)
{
    digest->failed = EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL) != 1;
}

void digest_add(struct digest *digest, const void *data, size_t len)
{
    if (!digest->failed && len > 0)
        digest->failed = EVP_DigestUpdate(digest->context, data, len) != 1;
}

int digest_end(struct digest *digest, unsigned char ret[static MANIFEST_DIGEST_BYTES],
               struct err *err)
{
    unsigned len = 0;
    if (digest->failed || EVP_DigestFinal_ex(digest->context, ret, &len) != 1 ||
        len != MANIFEST_DIGEST_BYTES)
        return err_set(err, ERR_SYSTEM, "OpenSSL could not compute a SHA-256");
    return 0;
}

int digest_of(const void *data, size_t len, unsigned char ret[static MANIFEST_DIGEST_BYTES],
              struct err *err)
{
    struct digest *digest = digest_new(err);
    if (digest == NULL)
        return ERR_MEMORY;
    digest_begin(digest);
    digest_add(digest, data, len);
    int rc = digest_end(digest, ret, err);
    digest_free(digest);
    return rc;
}

int digest_of_fd(struct digest *digest, int fd, unsigned char ret[static MANIFEST_DIGEST_BYTES],
                 uint64_t *ret_bytes, struct err *err)
{
    AUTO_FREE char *chunk = malloc(READ_BYTES);
    if (chunk == NULL)
        return err_set(err, ERR_MEMORY, "no memory to read a file");
    uint64_t at = 0;
    digest_begin(digest);
    for (;;) {
        ssize_t n = pread(fd, chunk, READ_BYTES, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, errno, "reading to compute the digest");
        if (n == 0)
            break;
        digest_add(digest, chunk, (size_t)n);
        at += (uint64_t)n;
        if (n < READ_BYTES) /* of a regular file only the end is short */
            break;
    }
    *ret_bytes = at;
    return digest_end(digest, ret, err);
}

void digest_thread_end(void) { OPENSSL_thread_stop(); }
