/* sign.c - the contract is in sign.h. */
#include "deployctl/wire/sign.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* OpenSSL has types with the names of some of our error codes. */
#define ERR_STATE OPENSSL_ERR_STATE
#include <openssl/evp.h>
#include <openssl/pem.h>
#undef ERR_STATE

#include "base/auto.h"

enum { PUBLIC_BYTES = 32, SIGNATURE_BYTES = 64, MESSAGE_MAX = 256, KEY_MODE = 0600 };

struct sign_key {
    EVP_PKEY *pkey;
};

static struct sign_key *wrap(EVP_PKEY *pkey, struct err *err)
{
    struct sign_key *key = calloc(1, sizeof *key);
    if (key == NULL) {
        EVP_PKEY_free(pkey);
        err_set(err, ERR_MEMORY, "no memory for a key");
        return NULL;
    }
    key->pkey = pkey;
    return key;
}

/* A passphrase could only be asked for, and nobody may be there to answer. */
static int no_passphrase(char *space, int size, int writing, void *context)
{
    (void)space, (void)size, (void)writing, (void)context;
    return -1;
}

static FILE *open_key(const char *path, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        err_sys(err, errno, "opening %s", path);
        return NULL;
    }
    FILE *file = NULL;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        err_set(err, ERR_INVALID, "%s is no regular file", path);
    else if (st.st_mode & 077)
        err_set(err, ERR_DENIED,
                "%s is a private key that others may read (mode %03o); chmod 600 it", path,
                (unsigned)st.st_mode & 0777);
    else if ((file = fdopen(fd, "r")) == NULL)
        err_sys(err, errno, "reading %s", path);
    if (file == NULL)
        close(fd);
    return file;
}

struct sign_key *sign_key_load(const char *path, struct err *err)
{
    FILE *file = open_key(path, err);
    if (file == NULL)
        return NULL;
    EVP_PKEY *pkey = PEM_read_PrivateKey(file, NULL, no_passphrase, NULL);
    fclose(file);
    if (pkey != NULL && EVP_PKEY_id(pkey) == EVP_PKEY_ED25519)
        return wrap(pkey, err);
    EVP_PKEY_free(pkey);
    err_set(err, ERR_INVALID,
            "%s is not the PEM file of an Ed25519 private key without a passphrase; `deployctl "
            "keygen FILE` makes one",
            path);
    return NULL;
}

static int write_key(const char *path, EVP_PKEY *pkey, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, KEY_MODE);
    if (fd < 0 && errno == EEXIST)
        return err_set(err, ERR_EXISTS, "%s is there already", path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (file == NULL) {
        err_sys(err, errno, "making %s", path);
        auto_close_(&fd);
        return err->code;
    }
    bool ok = PEM_write_PrivateKey(file, pkey, NULL, NULL, 0, NULL, NULL) == 1;
    ok = fflush(file) == 0 && ok;
    ok = fsync(fileno(file)) == 0 && ok;
    ok = fclose(file) == 0 && ok;
    if (ok)
        return 0;
    err_sys(err, errno, "writing %s", path);
    unlink(path);
    return err->code;
}

struct sign_key *sign_key_make(const char *path, struct err *err)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (pkey == NULL) {
        err_set(err, ERR_SYSTEM, "OpenSSL could not make an Ed25519 key");
        return NULL;
    }
    if (write_key(path, pkey, err) < 0) {
        EVP_PKEY_free(pkey);
        return NULL;
    }
    return wrap(pkey, err);
}

void sign_key_free(struct sign_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->pkey);
    free(key);
}

int sign_public(const struct sign_key *key, char text[static SIGN_PUBLIC_MAX], struct err *err)
{
    unsigned char raw[PUBLIC_BYTES];
    size_t len = sizeof raw;
    if (EVP_PKEY_get_raw_public_key(key->pkey, raw, &len) != 1 || len != sizeof raw)
        return err_set(err, ERR_SYSTEM, "OpenSSL could not tell the public key");
    EVP_EncodeBlock((unsigned char *)text, raw, sizeof raw);
    return 0;
}

/* Length of the message, 0 = the app's name is too long. */
static size_t message_of(const char *app, const char *digest, char text[static MESSAGE_MAX])
{
    int len = strlen(app) > SIGN_APP_MAX
                  ? -1
                  : snprintf(text, MESSAGE_MAX, "deployctl release 1\n%s\n%s\n", app, digest);
    return len < 0 || len >= MESSAGE_MAX ? 0 : (size_t)len;
}

int sign_make(const struct sign_key *key, const char *app, const char *digest,
              char text[static SIGN_TEXT_MAX], struct err *err)
{
    char message[MESSAGE_MAX];
    unsigned char raw[SIGNATURE_BYTES];
    size_t len = sizeof raw, bytes = message_of(app, digest, message);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context != NULL && bytes > 0 &&
              EVP_DigestSignInit(context, NULL, NULL, NULL, key->pkey) == 1 &&
              EVP_DigestSign(context, raw, &len, (unsigned char *)message, bytes) == 1 &&
              len == sizeof raw;
    EVP_MD_CTX_free(context);
    if (!ok)
        return err_set(err, ERR_SYSTEM, "OpenSSL could not sign the release");
    EVP_EncodeBlock((unsigned char *)text, raw, sizeof raw);
    return 0;
}

/* Strictly: exactly this many bytes, and the one way to write them. */
static bool decode(const char *text, unsigned char *raw, size_t bytes)
{
    unsigned char out[SIGN_TEXT_MAX], again[SIGN_TEXT_MAX];
    size_t wanted = (bytes + 2) / 3 * 4;
    if (text == NULL || strlen(text) != wanted || wanted >= sizeof out)
        return false;
    if (EVP_DecodeBlock(out, (const unsigned char *)text, (int)wanted) < (int)bytes)
        return false;
    memcpy(raw, out, bytes);
    EVP_EncodeBlock(again, raw, (int)bytes);
    return memcmp(again, text, wanted) == 0;
}

bool sign_public_valid(const char *text)
{
    unsigned char raw[PUBLIC_BYTES];
    return decode(text, raw, sizeof raw);
}

bool sign_check(const char *public_key, const char *app, const char *digest, const char *text)
{
    unsigned char key[PUBLIC_BYTES], signature[SIGNATURE_BYTES];
    char message[MESSAGE_MAX];
    size_t bytes = app == NULL || digest == NULL ? 0 : message_of(app, digest, message);
    if (bytes == 0 || !decode(public_key, key, sizeof key) ||
        !decode(text, signature, sizeof signature))
        return false;
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, sizeof key);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = pkey != NULL && context != NULL &&
              EVP_DigestVerifyInit(context, NULL, NULL, NULL, pkey) == 1 &&
              EVP_DigestVerify(context, signature, sizeof signature, (unsigned char *)message,
                               bytes) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pkey);
    return ok;
}
