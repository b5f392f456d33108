/* tar.c - the contract is in tar.h. */
#include "deployctl/plan/tar.h"

#include <string.h>

/* Where things stand in a header. */
enum {
    AT_NAME = 0,
    AT_MODE = 100,
    AT_SIZE = 124,
    AT_SUM = 148,
    AT_TYPE = 156,
    AT_LINK = 157,
    AT_MAGIC = 257,
    AT_PREFIX = 345,
    NAME_LEN = 100,
    MODE_LEN = 8,
    SIZE_LEN = 12,
    SUM_LEN = 8,
    PREFIX_LEN = 155,
    MAGIC_LEN = 6, /* "ustar" and what tells POSIX from GNU */
};
enum { MODE_BITS = 07777, SHOWN = 64 };

void tar_init(struct tar *tar, const struct tar_events *events, void *context)
{
    *tar = (struct tar){ .events = events, .context = context };
    buf_init(&tar->extra, TAR_EXTRA_MAX);
    buf_init(&tar->path, TAR_NAME_MAX);
    buf_init(&tar->target, TAR_NAME_MAX);
    buf_init(&tar->name, TAR_NAME_MAX);
    buf_init(&tar->link, TAR_NAME_MAX);
}

void tar_done(struct tar *tar)
{
    buf_done(&tar->extra);
    buf_done(&tar->path);
    buf_done(&tar->target);
    buf_done(&tar->name);
    buf_done(&tar->link);
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* Octal digits, ended by a blank, a NUL or the field; or binary, as GNU writes what is too large.
 */
static bool read_number(const unsigned char *field, size_t len, uint64_t *ret)
{
    uint64_t value = 0;
    size_t i = 0;
    if (field[0] == 0x80) {
        for (i = 1; i < len; i++) {
            if (value >> 55)
                return false;
            value = value << 8 | field[i];
        }
        *ret = value;
        return true;
    }
    while (i < len && field[i] == ' ')
        i++;
    for (; i < len && field[i] >= '0' && field[i] <= '7'; i++)
        value = value << 3 | (uint64_t)(field[i] - '0');
    *ret = value;
    return i == len || field[i] == ' ' || field[i] == '\0';
}

static bool sum_fits(const unsigned char *block)
{
    uint64_t wanted, sum = 0;
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= AT_SUM && i < AT_SUM + SUM_LEN ? ' ' : block[i];
    return read_number(block + AT_SUM, SUM_LEN, &wanted) && sum == wanted;
}

static bool is_zero(const unsigned char *block)
{
    for (size_t i = 0; i < TAR_BLOCK; i++)
        if (block[i])
            return false;
    return true;
}

/* --- names ------------------------------------------------------------------------------------ */

/* "./a//b/" becomes "a/b"; "" for the top folder.  Absolute ones and those that lead out are wrong.
 */
static int make_plain(const char *text, size_t len, struct buf *out, struct err *err)
{
    buf_clear(out);
    if (memchr(text, '\0', len))
        return err_set(err, ERR_CORRUPT, "a name has a NUL byte in it");
    if (len > 0 && text[0] == '/')
        return err_set(err, ERR_INVALID, "%.64s: the name is absolute", text);
    for (size_t at = 0, part; at < len; at += part + 1) {
        const char *slash = memchr(text + at, '/', len - at);
        part = slash ? (size_t)(slash - text) - at : len - at;
        if (part == 2 && text[at] == '.' && text[at + 1] == '.')
            return err_set(err, ERR_INVALID, "%.*s: the name has .. in it",
                           (int)(len < SHOWN ? len : SHOWN), text);
        if (part == 0 || (part == 1 && text[at] == '.'))
            continue;
        if (out->len > 0)
            buf_putc(out, '/');
        buf_put(out, text + at, part);
    }
    return out->failed ? err_set(err, ERR_LIMIT, "a name is longer than %d bytes", TAR_NAME_MAX)
                       : 0;
}

static size_t text_len(const unsigned char *field, size_t max)
{
    const void *end = memchr(field, '\0', max);
    return end ? (size_t)((const unsigned char *)end - field) : max;
}

static int entry_name(struct tar *tar, struct err *err)
{
    char text[NAME_LEN + PREFIX_LEN + 2];
    size_t len = 0;
    if (tar->path.len > 0)
        return make_plain(buf_text(&tar->path), tar->path.len, &tar->name, err);
    size_t prefix = memcmp(tar->block + AT_MAGIC, "ustar", MAGIC_LEN) == 0
                        ? text_len(tar->block + AT_PREFIX, PREFIX_LEN)
                        : 0;
    if (prefix > 0) {
        memcpy(text, tar->block + AT_PREFIX, prefix);
        text[prefix] = '/';
        len = prefix + 1;
    }
    size_t name = text_len(tar->block + AT_NAME, NAME_LEN);
    memcpy(text + len, tar->block + AT_NAME, name);
    text[len + name] = '\0';
    return make_plain(text, len + name, &tar->name, err);
}

static int entry_target(struct tar *tar, bool plain, struct err *err)
{
    char text[NAME_LEN + 1];
    size_t len = text_len(tar->block + AT_LINK, NAME_LEN);
    memcpy(text, tar->block + AT_LINK, len);
    text[len] = '\0';
    const char *target = tar->target.len > 0 ? buf_text(&tar->target) : text;
    len = tar->target.len > 0 ? tar->target.len : len;
    if (plain)
        return make_plain(target, len, &tar->link, err);
    buf_clear(&tar->link);
    buf_put(&tar->link, target, len);
    return memchr(target, '\0', len) ? err_set(err, ERR_CORRUPT, "a link has a NUL byte in it") : 0;
}

/* --- pax -------------------------------------------------------------------------------------- */

static bool is_key(const char *key, size_t len, const char *name)
{
    return strlen(name) == len && memcmp(key, name, len) == 0;
}

static int set_text(struct buf *to, const char *value, size_t len, struct err *err)
{
    buf_clear(to);
    buf_put(to, value, len);
    if (to->failed)
        return err_set(err, ERR_LIMIT, "a name is longer than %d bytes", TAR_NAME_MAX);
    return 0;
}

static int take_record(struct tar *tar, const char *key, size_t key_len, const char *value,
                       size_t len, struct err *err)
{
    if (is_key(key, key_len, "path"))
        return set_text(&tar->path, value, len, err);
    if (is_key(key, key_len, "linkpath"))
        return set_text(&tar->target, value, len, err);
    if (key_len >= 10 && memcmp(key, "GNU.sparse", 10) == 0)
        return err_set(err, ERR_INVALID, "it has a sparse file; make it without (tar without -S)");
    if (!is_key(key, key_len, "size"))
        return 0;
    tar->size = 0;
    tar->has_size = len > 0;
    for (size_t i = 0; i < len; i++) {
        if (value[i] < '0' || value[i] > '9' || tar->size > UINT64_MAX / 16)
            return err_set(err, ERR_CORRUPT, "a size is damaged");
        tar->size = tar->size * 10 + (uint64_t)(value[i] - '0');
    }
    return 0;
}

/* "LENGTH KEY=VALUE\n", LENGTH counting all of that. */
static int read_pax(struct tar *tar, struct err *err)
{
    const char *at = buf_text(&tar->extra), *end = at + tar->extra.len;
    int rc = 0;
    while (rc == 0 && at < end) {
        size_t len = 0, digits = 0;
        for (; at + digits < end && at[digits] >= '0' && at[digits] <= '9' && digits < 7; digits++)
            len = len * 10 + (size_t)(at[digits] - '0');
        if (digits == 0 || at + digits >= end || at[digits] != ' ' || len < digits + 3 ||
            len > (size_t)(end - at) || at[len - 1] != '\n')
            return err_set(err, ERR_CORRUPT, "a pax header is damaged");
        const char *key = at + digits + 1, *stop = at + len - 1;
        const char *equals = memchr(key, '=', (size_t)(stop - key));
        if (!equals)
            return err_set(err, ERR_CORRUPT, "a pax header is damaged");
        rc = take_record(tar, key, (size_t)(equals - key), equals + 1, (size_t)(stop - equals - 1),
                         err);
        at += len;
    }
    return rc;
}

/* A body that is about the next entry is complete. */
static int take_extra(struct tar *tar, struct err *err)
{
    size_t len = tar->extra.len;
    const char *text = buf_text(&tar->extra);
    int rc = 0;
    if (tar->kind == 'x')
        rc = read_pax(tar, err);
    else if (tar->kind == 'L' || tar->kind == 'K') /* GNU's end with a NUL */
        rc = set_text(tar->kind == 'L' ? &tar->path : &tar->target, text, strnlen(text, len), err);
    buf_clear(&tar->extra);
    return rc;
}

/* --- headers ---------------------------------------------------------------------------------- */

static int unfit(char type, const char *name, struct err *err)
{
    const char *what = type == '3' || type == '4' ? "is a device, which cannot be released"
                       : type == '6'              ? "is a FIFO, which cannot be released"
                       : type == 'S' ? "is a sparse file; make the archive without (tar without -S)"
                                     : NULL;
    if (what)
        return err_set(err, ERR_INVALID, "%.64s %s", name, what);
    return err_set(err, ERR_INVALID, "%.64s is an entry of an unknown kind (%d)", name,
                   (unsigned char)type);
}

static int tell_entry(struct tar *tar, enum tar_kind kind, uint64_t size, struct err *err)
{
    uint64_t mode = 0;
    bool links = kind == TAR_LINK || kind == TAR_HARD_LINK;
    if (!read_number(tar->block + AT_MODE, MODE_LEN, &mode))
        return err_set(err, ERR_CORRUPT, "%.64s: its mode is damaged", buf_text(&tar->name));
    if (links && entry_target(tar, kind == TAR_HARD_LINK, err) < 0)
        return err_wrap(err, "%.64s", buf_text(&tar->name));
    const struct tar_entry entry = {
        .kind = kind,
        .path = buf_text(&tar->name),
        .target = links ? buf_text(&tar->link) : NULL,
        .size = kind == TAR_FILE ? size : 0,
        .mode = (uint32_t)mode & MODE_BITS,
    };
    if (tar->name.len == 0 && kind == TAR_FOLDER) /* the top itself */
        return 0;
    if (tar->name.len == 0)
        return err_set(err, ERR_INVALID, "an entry has no name");
    int rc = tar->events->entry(tar->context, &entry, err);
    if (rc == 0 && kind == TAR_FILE && size == 0)
        rc = tar->events->end(tar->context, err);
    return rc;
}

static int read_entry(struct tar *tar, char type, uint64_t size, struct err *err)
{
    int rc = entry_name(tar, err);
    const char *name = buf_text(&tar->name);
    size_t raw = tar->path.len ? tar->path.len : text_len(tar->block + AT_NAME, NAME_LEN);
    const char *written = tar->path.len ? buf_text(&tar->path) : (const char *)tar->block;
    bool slash = raw > 0 && written[raw - 1] == '/';
    if (rc < 0)
        return rc;
    if (tar->has_size)
        size = tar->size;
    if (type == '5' || ((type == '0' || type == '\0') && slash))
        rc = tell_entry(tar, TAR_FOLDER, 0, err);
    else if (type == '0' || type == '\0' || type == '7')
        rc = tell_entry(tar, TAR_FILE, size, err);
    else if (type == '2' || type == '1')
        rc = tell_entry(tar, type == '2' ? TAR_LINK : TAR_HARD_LINK, 0, err);
    else
        rc = unfit(type, name, err);
    bool body = type != '5' && type != '2' && type != '1' && !slash;
    if (!body && size > 0 && type != '1') /* pax allows it of hard links, nobody writes it */
        return err_set(err, ERR_INVALID, "%.64s has contents and cannot have any", name);
    tar->kind = '0';
    tar->left = body ? size : 0;
    tar->padding = (TAR_BLOCK - tar->left % TAR_BLOCK) % TAR_BLOCK;
    tar->has_size = false;
    buf_clear(&tar->path);
    buf_clear(&tar->target);
    return rc;
}

static int read_header(struct tar *tar, struct err *err)
{
    uint64_t size;
    char type = (char)tar->block[AT_TYPE];
    tar->have = 0;
    if (is_zero(tar->block)) {
        tar->finished = true;
        return 0;
    }
    if (!sum_fits(tar->block) || memcmp(tar->block + AT_MAGIC, "ustar", MAGIC_LEN - 1) != 0)
        return err_set(err, ERR_CORRUPT, "is not a tar archive, or damaged");
    if (!read_number(tar->block + AT_SIZE, SIZE_LEN, &size))
        return err_set(err, ERR_CORRUPT, "a size is damaged");
    if (type != 'x' && type != 'g' && type != 'L' && type != 'K')
        return read_entry(tar, type, size, err);
    if (size > TAR_EXTRA_MAX)
        return err_set(err, ERR_LIMIT, "a header of more than %d bytes", TAR_EXTRA_MAX);
    tar->kind = type;
    tar->left = size;
    tar->padding = (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
    return size > 0 ? 0 : take_extra(tar, err);
}

static int read_body(struct tar *tar, const unsigned char *data, size_t len, struct err *err)
{
    tar->left -= len;
    if (tar->kind == '0') {
        int rc = tar->events->data(tar->context, data, len, err);
        return rc < 0 || tar->left > 0 ? rc : tar->events->end(tar->context, err);
    }
    buf_put(&tar->extra, data, len);
    return tar->left > 0 ? 0 : take_extra(tar, err);
}

int tar_add(struct tar *tar, const void *data, size_t len, struct err *err)
{
    const unsigned char *at = data, *end = at + len;
    int rc = 0;
    while (rc == 0 && at < end && !tar->finished) {
        size_t here = (size_t)(end - at), use;
        if (tar->left > 0) {
            use = tar->left < here ? (size_t)tar->left : here;
            rc = read_body(tar, at, use, err);
        } else if (tar->padding > 0) {
            use = tar->padding < here ? tar->padding : here;
            tar->padding -= use;
        } else {
            use = TAR_BLOCK - tar->have < here ? TAR_BLOCK - tar->have : here;
            memcpy(tar->block + tar->have, at, use);
            tar->have += use;
            rc = tar->have == TAR_BLOCK ? read_header(tar, err) : 0;
        }
        at += use;
    }
    return rc;
}

int tar_finish(const struct tar *tar, struct err *err)
{
    return tar->finished ? 0 : err_set(err, ERR_CORRUPT, "ends in the middle, it is cut off");
}
