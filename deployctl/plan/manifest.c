/* manifest.c - the contract is in manifest.h. */
#include "deployctl/plan/manifest.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 255, SHORT_BYTES = MANIFEST_PREFIX_DIGITS / 2, SHOWN_MAX = 120 };

/* A path in a message: control bytes made visible, long ones cut at the front end. */
struct shown {
    char text[SHOWN_MAX + 8];
};

static const char *shown(const char *path, struct shown *out)
{
    size_t n = 0;
    for (; n < SHOWN_MAX && path[n] != '\0'; n++)
        out->text[n] = iscntrl((unsigned char)path[n]) ? '?' : path[n];
    snprintf(out->text + n, sizeof out->text - n, "%s", path[n] == '\0' ? "" : "...");
    return out->text;
}

void manifest_init(struct manifest *manifest)
{
    *manifest = (struct manifest){ 0 };
    arena_init(&manifest->arena);
}

void manifest_done(struct manifest *manifest)
{
    arena_done(&manifest->arena);
    manifest_init(manifest);
}

/* --- names ------------------------------------------------------------------------------- */

static int check_component(const char *path, const char *name, size_t len, struct err *err)
{
    struct shown s;
    if (len == 0)
        return err_set(err, ERR_INVALID,
                       "path \"%s\" has an empty part (no leading, trailing or "
                       "double '/')",
                       shown(path, &s));
    if ((len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.'))
        return err_set(err, ERR_INVALID, "path \"%s\" has the part \"%.*s\"", shown(path, &s),
                       (int)len, name);
    if (len > NAME_MAX_BYTES)
        return err_set(err, ERR_INVALID, "path \"%s\" has a part of more than %d bytes",
                       shown(path, &s), NAME_MAX_BYTES);
    return 0;
}

int manifest_check_path(const char *path, struct err *err)
{
    struct shown s;
    size_t depth = 0;
    if (path[0] == '\0')
        return err_set(err, ERR_INVALID, "an entry has an empty path");
    if (strlen(path) > MANIFEST_PATH_MAX)
        return err_set(err, ERR_INVALID, "path \"%s\" is longer than %d bytes", shown(path, &s),
                       MANIFEST_PATH_MAX);
    for (const char *at = path;; at++) {
        const char *end = strchrnul(at, '/');
        int rc = check_component(path, at, (size_t)(end - at), err);
        if (rc < 0)
            return rc;
        if (++depth > MANIFEST_DEPTH_MAX)
            return err_set(err, ERR_INVALID, "path \"%s\" is more than %d folders deep",
                           shown(path, &s), MANIFEST_DEPTH_MAX);
        if (*end == '\0')
            return 0;
        at = end;
    }
}

static size_t folders_above(const char *path)
{
    size_t n = 0;
    for (; *path != '\0'; path++)
        n += *path == '/';
    return n;
}

/* A target stays inside when ".." stands only at its beginning and not more often than there are
 * real folders above the link: behind a name, ".." would be relative to whatever that name
 * leads to, and two harmless links together could lead out of the release. */
int manifest_check_link(const char *path, const char *target, bool any_links, struct err *err)
{
    struct shown s, t;
    if (target[0] == '\0' || strlen(target) > MANIFEST_PATH_MAX)
        return err_set(err, ERR_INVALID,
                       "link \"%s\" has an empty target or one longer than %d bytes",
                       shown(path, &s), MANIFEST_PATH_MAX);
    if (any_links)
        return 0;
    if (target[0] == '/')
        return err_set(err, ERR_INVALID,
                       "link \"%s\" -> \"%s\" is absolute; make it relative, or set links = any",
                       shown(path, &s), shown(target, &t));
    size_t up = 0;
    bool name_seen = false;
    for (const char *at = target; *at != '\0';) {
        size_t len = (size_t)(strchrnul(at, '/') - at);
        bool parent = len == 2 && at[0] == '.' && at[1] == '.';
        up += parent;
        if (parent && name_seen)
            return err_set(
                err, ERR_INVALID,
                "link \"%s\" -> \"%s\" has \"..\" behind a name; write it shorter, or set "
                "links = any",
                shown(path, &s), shown(target, &t));
        if (!parent && len > 0 && !(len == 1 && at[0] == '.'))
            name_seen = true;
        at += len + (at[len] == '/');
    }
    if (up > folders_above(path))
        return err_set(
            err, ERR_INVALID,
            "link \"%s\" -> \"%s\" leads out of the release; set links = any to allow it",
            shown(path, &s), shown(target, &t));
    return 0;
}

/* --- checks over all entries ----------------------------------------------------------------- */

static int compare_paths(const void *a, const void *b)
{
    return strcmp(((const struct manifest_entry *)a)->path,
                  ((const struct manifest_entry *)b)->path);
}

static const struct manifest_entry *find(const struct manifest *manifest, const char *path)
{
    struct manifest_entry key = { .path = path };
    return bsearch(&key, manifest->entries, manifest->count, sizeof key, compare_paths);
}

/* Every folder above `entry` that the entry before it did not have too. */
static int check_parents(const struct manifest *manifest, const struct manifest_entry *entry,
                         const char *before, struct err *err)
{
    char parent[MANIFEST_PATH_MAX + 1];
    size_t i = 0;
    while (entry->path[i] != '\0' && entry->path[i] == before[i])
        i++;
    for (; entry->path[i] != '\0'; i++) {
        if (entry->path[i] != '/')
            continue;
        memcpy(parent, entry->path, i);
        parent[i] = '\0';
        const struct manifest_entry *above = find(manifest, parent);
        struct shown s, p;
        if (above != NULL && above->kind != MANIFEST_FOLDER)
            return err_set(err, ERR_INVALID, "entry \"%s\" is below \"%s\", which is a %s",
                           shown(entry->path, &s), shown(parent, &p),
                           above->kind == MANIFEST_FILE ? "file" : "link");
    }
    return 0;
}

static int check_entry(const struct manifest_entry *entry, struct err *err)
{
    struct shown s;
    int rc = manifest_check_path(entry->path, err);
    if (rc == 0 && entry->kind == MANIFEST_LINK)
        rc = manifest_check_link(entry->path, entry->target, true, err);
    if (rc == 0 && (entry->mode & ~0777u) != 0)
        rc = err_set(err, ERR_INVALID,
                     "\"%s\" has mode %o; setuid, setgid and sticky bits are not part of a release",
                     shown(entry->path, &s), (unsigned)entry->mode);
    return rc;
}

static int check_order(const struct manifest *manifest, size_t i, struct err *err)
{
    if (i == 0)
        return 0;
    struct shown s;
    const char *path = manifest->entries[i].path;
    int order = strcmp(manifest->entries[i - 1].path, path);
    if (order == 0)
        return err_set(err, ERR_INVALID, "\"%s\" is there twice", shown(path, &s));
    if (order > 0)
        return err_set(err, ERR_INVALID, "\"%s\" is not in order", shown(path, &s));
    return 0;
}

/* Fills in manifest->bytes.  `lines`: name the line in messages. */
static int check_all(struct manifest *manifest, bool lines, struct err *err)
{
    manifest->bytes = 0;
    for (size_t i = 0; i < manifest->count; i++) {
        const struct manifest_entry *entry = &manifest->entries[i];
        int rc = check_entry(entry, err);
        if (rc == 0)
            rc = check_order(manifest, i, err);
        if (rc == 0 && (entry->size > INT64_MAX ||
                        __builtin_add_overflow(manifest->bytes, entry->size, &manifest->bytes) ||
                        manifest->bytes > INT64_MAX))
            rc = err_set(err, ERR_LIMIT, "the sizes add up to more than a disk can hold");
        if (rc < 0)
            return lines ? err_wrap(err, "line %zu", i + 1) : rc;
    }
    for (size_t i = 0; i < manifest->count; i++) {
        const char *before = i == 0 ? "" : manifest->entries[i - 1].path;
        if (check_parents(manifest, &manifest->entries[i], before, err) < 0)
            return lines ? err_wrap(err, "line %zu", i + 1) : (int)err->code;
    }
    return 0;
}

int manifest_seal(struct manifest *manifest, struct err *err)
{
    struct err own;
    if (manifest->count > MANIFEST_ENTRIES_MAX)
        return err_set(err, ERR_LIMIT, "%zu entries; a release may have at most %d",
                       manifest->count, MANIFEST_ENTRIES_MAX);
    if (manifest->count > 0)
        qsort(manifest->entries, manifest->count, sizeof *manifest->entries, compare_paths);
    return check_all(manifest, false, err != NULL ? err : &own);
}

/* --- reading -----------------------------------------------------------------------------------
 */

struct reader {
    const char *at, *end; /* the rest of one line, without its newline */
    struct arena *arena;
    bool short_form;
};

static bool must_escape(unsigned char c) { return c < 0x20 || c == 0x7f || c == '\\'; }

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool unhex(const char *hex, size_t bytes, unsigned char *out)
{
    for (size_t i = 0; i < bytes; i++) {
        int high = hex_value(hex[2 * i]), low = high < 0 ? -1 : hex_value(hex[2 * i + 1]);
        if (low < 0)
            return false;
        out[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

/* A number without leading zeros, and the blank behind it. */
static bool read_number(struct reader *r, unsigned base, uint64_t *ret)
{
    uint64_t value = 0;
    const char *start = r->at;
    for (; r->at < r->end && *r->at >= '0' && *r->at < (char)('0' + base); r->at++)
        if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*r->at - '0'), &value))
            return false;
    if (r->at == start || (*start == '0' && r->at - start > 1) || r->at == r->end || *r->at != ' ')
        return false;
    r->at++;
    *ret = value;
    return true;
}

static bool read_digest(struct reader *r, struct manifest_entry *entry)
{
    size_t bytes = r->short_form ? SHORT_BYTES : MANIFEST_DIGEST_BYTES;
    if ((size_t)(r->end - r->at) < 2 * bytes + 1 || !unhex(r->at, bytes, entry->digest))
        return false;
    entry->short_digest = r->short_form;
    r->at += 2 * bytes;
    return *r->at++ == ' ';
}

/* The text [at, end) with its escapes undone.  Only the one way to write a name is accepted,
 * or one release would have two digests. */
static const char *read_name(struct reader *r, const char *at, const char *end)
{
    char *name = arena_alloc(r->arena, (size_t)(end - at) + 1), *to = name;
    if (name == NULL)
        return NULL;
    while (at < end) {
        unsigned char c = (unsigned char)*at++;
        if (c == '\\') {
            if (end - at < 3 || at[0] < '0' || at[0] > '3' || at[1] < '0' || at[1] > '7' ||
                at[2] < '0' || at[2] > '7')
                return NULL;
            c = (unsigned char)((at[0] - '0') << 6 | (at[1] - '0') << 3 | (at[2] - '0'));
            at += 3;
            if (c == '\0' || !must_escape(c))
                return NULL;
        } else if (must_escape(c)) {
            return NULL;
        }
        *to++ = (char)c;
    }
    return name;
}

static bool read_link(struct reader *r, struct manifest_entry *entry)
{
    uint64_t len;
    if (!read_number(r, 10, &len) || len >= (uint64_t)(r->end - r->at))
        return false;
    const char *target = r->end - len;
    if (target == r->at || target[-1] != ' ')
        return false;
    entry->path = read_name(r, r->at, target - 1);
    entry->target = read_name(r, target, r->end);
    return entry->path != NULL && entry->target != NULL;
}

static bool read_line(struct reader *r, struct manifest_entry *entry)
{
    uint64_t mode = 0;
    if (r->end - r->at < 3 || r->at[1] != ' ')
        return false;
    char kind = r->at[0];
    r->at += 2;
    if (kind == 'l') {
        entry->kind = MANIFEST_LINK;
        return read_link(r, entry);
    }
    if ((kind != 'f' && kind != 'd') || !read_number(r, 8, &mode) || mode > 07777)
        return false;
    entry->kind = kind == 'f' ? MANIFEST_FILE : MANIFEST_FOLDER;
    entry->mode = (uint32_t)mode;
    if (kind == 'f' && (!read_number(r, 10, &entry->size) || !read_digest(r, entry)))
        return false;
    entry->path = read_name(r, r->at, r->end);
    return entry->path != NULL;
}

static int count_lines(const char *text, size_t len, size_t *ret, struct err *err)
{
    size_t lines = 0;
    if (len > MANIFEST_TEXT_MAX)
        return err_set(err, ERR_LIMIT, "a manifest of %zu bytes; at most %d are allowed", len,
                       MANIFEST_TEXT_MAX);
    for (const char *at = text, *end = text + len; at < end; lines++) {
        at = memchr(at, '\n', (size_t)(end - at));
        if (at == NULL)
            return err_set(err, ERR_INVALID, "line %zu: no newline at the end (cut off?)",
                           lines + 1);
        at++;
    }
    if (lines > MANIFEST_ENTRIES_MAX)
        return err_set(err, ERR_LIMIT, "%zu entries; a release may have at most %d", lines,
                       MANIFEST_ENTRIES_MAX);
    *ret = lines;
    return 0;
}

int manifest_parse(const char *text, size_t len, bool short_form, struct manifest *ret,
                   struct err *err)
{
    struct err own;
    size_t lines = 0;
    if (err == NULL)
        err = &own;
    int rc = count_lines(text, len, &lines, err);
    if (rc < 0)
        return rc;

    struct manifest m;
    manifest_init(&m);
    m.entries = arena_array(&m.arena, lines + 1, sizeof *m.entries);
    const char *at = text;
    for (; m.entries != NULL && m.count < lines; m.count++) {
        const char *end = memchr(at, '\n', len - (size_t)(at - text));
        struct reader r = { at, end, &m.arena, short_form };
        if (!read_line(&r, &m.entries[m.count])) {
            rc = err_set(err, m.arena.failed ? ERR_MEMORY : ERR_INVALID,
                         "line %zu: not a manifest line", m.count + 1);
            break;
        }
        at = end + 1;
    }
    if (m.entries == NULL)
        rc = err_set(err, ERR_MEMORY, "no memory for a manifest of %zu entries", lines);
    if (rc == 0)
        rc = check_all(&m, true, err);
    if (rc < 0) {
        manifest_done(&m);
        return rc;
    }
    *ret = m;
    return 0;
}

/* --- writing -----------------------------------------------------------------------------------
 */

static size_t name_len(const char *name)
{
    size_t n = 0;
    for (; *name != '\0'; name++)
        n += must_escape((unsigned char)*name) ? 4 : 1;
    return n;
}

static void put_name(struct buf *out, const char *name)
{
    while (*name != '\0') {
        size_t plain = 0;
        while (name[plain] != '\0' && !must_escape((unsigned char)name[plain]))
            plain++;
        buf_put(out, name, plain);
        name += plain;
        if (*name != '\0')
            buf_printf(out, "\\%03o", (unsigned char)*name++);
    }
}

static void put_entry(struct buf *out, const struct manifest_entry *entry, bool short_form)
{
    char hex[MANIFEST_HEX_MAX];
    switch (entry->kind) {
    case MANIFEST_FILE:
        manifest_hex(entry->digest, hex);
        if (short_form)
            hex[MANIFEST_PREFIX_DIGITS] = '\0';
        buf_printf(out, "f %o %llu %s ", (unsigned)entry->mode, (unsigned long long)entry->size,
                   hex);
        put_name(out, entry->path);
        break;
    case MANIFEST_FOLDER:
        buf_printf(out, "d %o ", (unsigned)entry->mode);
        put_name(out, entry->path);
        break;
    case MANIFEST_LINK:
        buf_printf(out, "l %zu ", name_len(entry->target));
        put_name(out, entry->path);
        buf_putc(out, ' ');
        put_name(out, entry->target);
        break;
    }
    buf_putc(out, '\n');
}

bool manifest_write(const struct manifest *manifest, bool short_form, struct buf *out)
{
    for (size_t i = 0; i < manifest->count && !out->failed; i++) {
        if (!short_form && manifest->entries[i].short_digest)
            return false; /* an unfinished one has no full form */
        put_entry(out, &manifest->entries[i], short_form);
    }
    return !out->failed;
}

/* --- digests and ids ---------------------------------------------------------------------------
 */

void manifest_hex(const unsigned char digest[static MANIFEST_DIGEST_BYTES],
                  char hex[static MANIFEST_HEX_MAX])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < MANIFEST_DIGEST_BYTES; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[MANIFEST_HEX_MAX - 1] = '\0';
}

bool manifest_unhex(const char *hex, unsigned char digest[static MANIFEST_DIGEST_BYTES])
{
    unsigned char bytes[MANIFEST_DIGEST_BYTES];
    if (strlen(hex) != MANIFEST_HEX_MAX - 1 || !unhex(hex, sizeof bytes, bytes))
        return false;
    memcpy(digest, bytes, sizeof bytes);
    return true;
}

void manifest_id(uint64_t number, const unsigned char digest[static MANIFEST_DIGEST_BYTES],
                 char id[static MANIFEST_ID_MAX])
{
    char digits[21];
    size_t n = sizeof digits;
    do {
        digits[--n] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (sizeof digits - n < 6)
        digits[--n] = '0';
    char hex[MANIFEST_HEX_MAX];
    manifest_hex(digest, hex);
    memcpy(id, digits + n, sizeof digits - n);
    id += sizeof digits - n;
    *id++ = '-';
    memcpy(id, hex, 8);
    id[8] = '\0';
}

bool manifest_id_parse(const char *id, uint64_t *ret_number)
{
    uint64_t number = 0;
    size_t digits = 0, hex = 0;
    for (; id[digits] >= '0' && id[digits] <= '9'; digits++)
        if (__builtin_mul_overflow(number, UINT64_C(10), &number) ||
            __builtin_add_overflow(number, (uint64_t)(id[digits] - '0'), &number))
            return false;
    if (digits < 6 || id[digits] != '-')
        return false;
    while (hex_value(id[digits + 1 + hex]) >= 0)
        hex++;
    if (hex < 8 || id[digits + 1 + hex] != '\0' || digits + 1 + hex >= MANIFEST_ID_MAX)
        return false;
    if (ret_number != NULL)
        *ret_number = number;
    return true;
}

const struct manifest_entry *manifest_find(const struct manifest *manifest, const char *path)
{
    size_t low = 0, high = manifest->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(manifest->entries[middle].path, path);
        if (order == 0)
            return &manifest->entries[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool manifest_alike(const char *a, const char *b)
{
    for (;;) {
        if (is_digit(*a) && is_digit(*b)) {
            while (is_digit(*a))
                a++;
            while (is_digit(*b))
                b++;
        }
        if (*a != *b)
            return false;
        if (*a == '\0')
            return true;
        a++;
        b++;
    }
}
