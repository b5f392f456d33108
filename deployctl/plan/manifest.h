/* manifest.h - what a release is: its entries in order, and the digest that names it.
 *
 * Full text form, one line per entry, sorted by path (bytewise), each ended by '\n':
 *   f MODE SIZE SHA256HEX PATH      regular file; MODE is 444 or 555 (or any with modes = keep)
 *   d MODE PATH                     folder that would not exist otherwise (empty), or modes = keep
 *   l TARGET-LENGTH PATH TARGET     symlink; the length says where the target begins
 * PATH and TARGET are written with backslash, newline and other control bytes as \ooo (three octal
 * digits), and only these; TARGET-LENGTH counts the target as it is written.  The release's digest
 * is the SHA-256 of the full text.  Owner and times are not part of it.
 *
 * Short form, for the wire: the same with only the first 16 hex digits of each content digest;
 * completed on the host from manifests that are there and from contents that arrive, and proved
 * by the digest of the completed text.
 */
#ifndef DEPLOYCTL_PLAN_MANIFEST_H
#define DEPLOYCTL_PLAN_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum {
    MANIFEST_DIGEST_BYTES = 32,
    MANIFEST_HEX_MAX = 65,       /* 64 digits and NUL */
    MANIFEST_PREFIX_DIGITS = 16, /* of a content digest in the short form */
    MANIFEST_ENTRIES_MAX = 1000000,
    MANIFEST_TEXT_MAX = 256 * 1024 * 1024,
    MANIFEST_PATH_MAX = 4095,
    MANIFEST_DEPTH_MAX = 64,
    MANIFEST_ID_MAX = 32, /* "000123-9f3ac1d2" and NUL, with room for more digits */
};

enum manifest_kind { MANIFEST_FILE, MANIFEST_FOLDER, MANIFEST_LINK };
struct manifest_entry {
    enum manifest_kind kind;
    uint32_t mode;
    uint64_t size;
    const char *path;   /* relative, no "..", no "//", no leading or trailing '/' */
    const char *target; /* of a link */
    unsigned char digest[MANIFEST_DIGEST_BYTES]; /* of a file */
    bool short_digest;                           /* only the first 8 bytes are known */
};
struct manifest {
    struct arena arena;
    struct manifest_entry *entries; /* sorted by path */
    size_t count;
    uint64_t bytes; /* sum of sizes */
};

void manifest_init(struct manifest *manifest);
void manifest_done(struct manifest *manifest);
/* Parses either form; everything is checked: order, uniqueness, path rules (CONTRACT.md §4 "Entry
 * names"), no entry below a file or link, limits.  ERR_INVALID names line and path. */
int manifest_parse(const char *text, size_t len, bool short_form, struct manifest *ret,
                   struct err *err);
bool manifest_write(const struct manifest *manifest, bool short_form, struct buf *out);
/* Sorts entries a caller has put together and checks them like manifest_parse. */
int manifest_seal(struct manifest *manifest, struct err *err);
/* The entry with that path, or NULL. */
const struct manifest_entry *manifest_find(const struct manifest *manifest, const char *path);
/* Two paths that differ in numbers alone: "lib/app-1.9.jar", "lib/app-1.10.jar". */
bool manifest_alike(const char *a, const char *b);
/* Path rules alone, and link rules: relative targets stay inside unless any_links. */
int manifest_check_path(const char *path, struct err *err);
int manifest_check_link(const char *path, const char *target, bool any_links, struct err *err);

void manifest_hex(const unsigned char digest[static MANIFEST_DIGEST_BYTES],
                  char hex[static MANIFEST_HEX_MAX]);
bool manifest_unhex(const char *hex, unsigned char digest[static MANIFEST_DIGEST_BYTES]);
/* "000123-9f3ac1d2" from number and digest; parse checks [0-9]{6,}-[0-9a-f]{8,}. */
void manifest_id(uint64_t number, const unsigned char digest[static MANIFEST_DIGEST_BYTES],
                 char id[static MANIFEST_ID_MAX]);
bool manifest_id_parse(const char *id, uint64_t *ret_number);

#endif
