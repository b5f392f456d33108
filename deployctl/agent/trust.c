/* trust.c - the contract is in trust.h. */
#include "deployctl/agent/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "base/ini.h"
#include "io/durable.h"
#include "io/jsonx.h"

#define TRUST_FILE "/etc/deployctl/trust.ini"
enum { OTHERS_WRITE = 022 };

/* --- the file --------------------------------------------------------------------------------- */

static bool only_roots(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_uid == 0 && (st.st_mode & OTHERS_WRITE) == 0;
}

/* A descriptor, ERR_NOT_FOUND, or what is wrong with it. */
static int open_file(const char *file, struct err *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(file, '/');
    if (file[0] != '/' || slash == file || strlen(file) >= sizeof folder)
        return err_set(err, ERR_INVALID, "%s must be an absolute path in a folder of root's", file);
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - file), file);
    if (access(folder, F_OK) < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "%s is not there", folder);
    AUTO_CLOSE int dirfd = durable_open_trusted(folder, 0, err);
    if (dirfd < 0)
        return dirfd;
    if (!only_roots(dirfd))
        return err_set(err, ERR_DENIED, "%s must belong to root and be writable by root alone",
                       folder);
    int fd = durable_open_beneath(dirfd, slash + 1, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd == -ENOENT)
        return err_set(err, ERR_NOT_FOUND, "%s is not there", file);
    if (fd < 0)
        return err_sys(err, -fd, "opening %s", file);
    if (only_roots(fd))
        return fd;
    auto_close_(&fd);
    return err_set(err, ERR_DENIED, "%s must belong to root and be writable by root alone", file);
}

/* --- its sections ----------------------------------------------------------------------------- */

static bool is_name(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len < TRUST_NAME_MAX &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@-") ==
               len;
}

static int add_key(struct trust *trust, const struct ini_entry *entry, struct err *err)
{
    if (!is_name(entry->key))
        return err_set(err, ERR_INVALID,
                       "%s:%d: \"%.80s\" is no name for a key: letters, digits and _ . @ -",
                       trust->file, entry->line, entry->key);
    if (!sign_public_valid(entry->value))
        return err_set(err, ERR_INVALID,
                       "%s:%d: %s is not a public key as `deployctl keygen` prints it (44 "
                       "characters)",
                       trust->file, entry->line, entry->key);
    if (trust->count >= TRUST_KEYS_MAX)
        return err_set(err, ERR_LIMIT, "%s:%d: more than %d keys", trust->file, entry->line,
                       TRUST_KEYS_MAX);
    struct trust_key *key = &trust->keys[trust->count++];
    memcpy(key->name, entry->key, strlen(entry->key) + 1);
    memcpy(key->text, entry->value, strlen(entry->value) + 1);
    return 0;
}

static int take_entry(struct trust *trust, const struct ini_entry *entry, struct err *err)
{
    if (entry->key == NULL)
        return 0;
    if (strcmp(entry->key, "app") != 0)
        return add_key(trust, entry, err);
    if (entry->value[0] == '\0' || strlen(entry->value) >= sizeof trust->app)
        return err_set(err, ERR_INVALID, "%s:%d: app is the name of one app", trust->file,
                       entry->line);
    memcpy(trust->app, entry->value, strlen(entry->value) + 1);
    return 0;
}

/* Sections of all other folders are checked for their spelling only. */
static int take_section(struct trust *trust, const struct ini *ini, const char *section,
                        struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ini->count; i++) {
        const struct ini_entry *entry = &ini->entries[i];
        const char *name = entry->section;
        if (strcmp(name, "trust") != 0 && strncmp(name, "trust:/", strlen("trust:/")) != 0)
            return err_set(err, ERR_INVALID,
                           "%s:%d: [%.80s] is neither [trust] nor [trust:/FOLDER/OF/AN/APP]",
                           trust->file, entry->line, name);
        if (strcmp(name, section) != 0)
            continue;
        trust->required = true;
        rc = take_entry(trust, entry, err);
    }
    return rc;
}

static int parse(struct trust *trust, const char *path, const struct buf *text, struct err *err)
{
    char section[PATH_MAX + sizeof "trust:"];
    struct arena arena;
    struct ini ini;
    struct err_list errors;
    arena_init(&arena);
    err_list_init(&errors);
    snprintf(section, sizeof section, "trust:%s", path);
    int rc = ini_parse_text(trust->file, buf_text(text), text->len, &arena, &ini, &errors);
    if (rc < 0)
        rc = err_set(err, ERR_INVALID, "%s", errors.count > 0 ? errors.lines[0] : "no memory");
    if (rc == 0)
        rc = take_section(trust, &ini, section, err);
    if (rc == 0 && !trust->required)
        rc = take_section(trust, &ini, "trust", err);
    err_list_done(&errors);
    arena_done(&arena);
    return rc;
}

int trust_read(const char *path, struct trust *ret, struct err *err)
{
    const char *named = getenv("DEPLOYCTL_TRUST");
    struct buf text;
    *ret = (struct trust){ .file = named != NULL ? named : TRUST_FILE };
    AUTO_CLOSE int fd = open_file(ret->file, err);
    if (fd == ERR_NOT_FOUND && named == NULL)
        return 0;
    if (fd < 0)
        return err_wrap(err, "which releases are trusted on this host cannot be told");
    buf_init(&text, TRUST_FILE_BYTES);
    int rc = buf_read_fd(&text, fd);
    rc = rc < 0 ? err_sys(err, -rc, "reading %s", ret->file) : parse(ret, path, &text, err);
    buf_done(&text);
    return rc < 0 ? err_wrap(err, "which releases are trusted on this host cannot be told") : 0;
}

/* --- a release -------------------------------------------------------------------------------- */

static const struct trust_key *find_signer(const struct trust *trust, const char *app,
                                           const char *digest, const char *signature)
{
    for (size_t i = 0; i < trust->count; i++)
        if (sign_check(trust->keys[i].text, app, digest, signature))
            return &trust->keys[i];
    return NULL;
}

int trust_check(const struct trust *trust, const char *digest, const json_t *about,
                char signer[static TRUST_NAME_MAX], struct err *err)
{
    const char *signature = jsonx_text(about, "signature", NULL);
    const char *app = jsonx_text(about, "app", "");
    signer[0] = '\0';
    const struct trust_key *key =
        signature == NULL ? NULL : find_signer(trust, app, digest, signature);
    if (key != NULL)
        memcpy(signer, key->name, sizeof key->name);
    if (!trust->required)
        return 0;
    if (signature == NULL)
        return err_set(err, ERR_DENIED,
                       "this host takes only releases that are signed (%s), and this one is not; "
                       "set signing_key in [deploy] and release it again",
                       trust->file);
    if (key == NULL)
        return err_set(err, ERR_DENIED,
                       "the signature of this release (app %.60s) is by none of the %zu keys that "
                       "this host trusts, or damaged; sign it with one of them, or have root add "
                       "the key to %s",
                       app, trust->count, trust->file);
    if (trust->app[0] != '\0' && strcmp(trust->app, app) != 0)
        return err_set(err, ERR_DENIED, "%s has signed this as a release of %.60s, but %s wants %s",
                       key->name, app, trust->file, trust->app);
    return 0;
}

int trust_release(const char *path, const char *digest, const json_t *about,
                  char signer[static TRUST_NAME_MAX], struct err *err)
{
    struct trust trust;
    signer[0] = '\0';
    int rc = trust_read(path, &trust, err);
    return rc < 0 ? rc : trust_check(&trust, digest, about, signer, err);
}
