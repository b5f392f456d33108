/* jsonx.c - the contract is in jsonx.h. */
#include "io/jsonx.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

enum { DEPTH_MAX = 64, REAL_DIGITS = 15, INDENT = 2 };

void jsonx_seed(void)
{
    const void *chance = (const void *)getauxval(AT_RANDOM);
    size_t seed = 0;

    if (chance)
        memcpy(&seed, chance, sizeof seed);
    json_object_seed(seed);
}

/* jansson allows 2048 levels, each of which is a call of itself. */
static bool is_too_deep(const char *text, size_t len)
{
    bool quoted = false;
    int depth = 0;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '[') && ++depth > DEPTH_MAX)
            return true;
        else if (!quoted && (c == '}' || c == ']'))
            depth--;
    }
    return false;
}

json_t *jsonx_parse(const char *text, size_t len, struct err *err)
{
    json_error_t error;

    if (is_too_deep(text, len)) {
        err_set(err, ERR_PROTOCOL, "JSON is nested deeper than %d levels", DEPTH_MAX);
        return NULL;
    }
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!value && json_error_code(&error) == json_error_out_of_memory)
        err_set(err, ERR_MEMORY, "no memory to read JSON");
    else if (!value)
        err_set(err, ERR_PROTOCOL, "JSON, line %d, column %d: %s", error.line, error.column,
                error.text);
    return value;
}

static int put_piece(const char *text, size_t len, void *out)
{
    struct buf *buf = out;
    buf_put(buf, text, len);
    return buf->failed ? -1 : 0;
}

bool jsonx_put(const json_t *value, struct buf *out)
{
    size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(REAL_DIGITS);
    return json_dump_callback(value, put_piece, out, flags) == 0 && !out->failed;
}

bool jsonx_put_ascii(const json_t *value, struct buf *out)
{
    size_t flags = JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(REAL_DIGITS);
    return json_dump_callback(value, put_piece, out, flags) == 0 && !out->failed;
}

bool jsonx_put_pretty(const json_t *value, struct buf *out)
{
    size_t flags = JSON_INDENT(INDENT) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(REAL_DIGITS);
    if (json_dump_callback(value, put_piece, out, flags) != 0)
        return false;
    buf_putc(out, '\n');
    return !out->failed;
}

const char *jsonx_text(const json_t *object, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : fallback;
}

int64_t jsonx_int(const json_t *object, const char *key, int64_t fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

double jsonx_real(const json_t *object, const char *key, double fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

bool jsonx_bool(const json_t *object, const char *key, bool fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

static int refuse(const json_t *value, const char *key, const char *type, struct err *err)
{
    if (!value)
        return err_set(err, ERR_PROTOCOL, "\"%s\" is missing", key);
    return err_set(err, ERR_PROTOCOL, "\"%s\" must be %s", key, type);
}

int jsonx_need_text(const json_t *object, const char *key, const char **ret, struct err *err)
{
    const json_t *value = json_object_get(object, key);

    if (!json_is_string(value))
        return refuse(value, key, "a text", err);
    *ret = json_string_value(value);
    return 0;
}

int jsonx_need_int(const json_t *object, const char *key, int64_t *ret, struct err *err)
{
    const json_t *value = json_object_get(object, key);

    if (!json_is_integer(value))
        return refuse(value, key, "a whole number", err);
    *ret = json_integer_value(value);
    return 0;
}

/* The length of the UTF-8 sequence that begins here, 0 if there is none: too long for its value,
 * a surrogate, beyond U+10FFFF, or cut off (the NUL at the end is no continuation). */
static size_t sequence(const unsigned char *at)
{
    unsigned char low = 0x80, high = 0xbf; /* allowed for the second byte */
    size_t len = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;

    if (at[0] > 0xf4)
        return 0;
    if (at[0] == 0xe0)
        low = 0xa0;
    else if (at[0] == 0xed)
        high = 0x9f;
    else if (at[0] == 0xf0)
        low = 0x90;
    else if (at[0] == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < len; i++) {
        if (at[i] < low || at[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return len;
}

static const char replacement[] = "\xef\xbf\xbd";

static json_t *repaired(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    struct buf buf;

    buf_init(&buf, 3 * strlen(text));
    while (*at) {
        size_t len = sequence(at);
        if (len > 0)
            buf_put(&buf, at, len);
        else
            buf_puts(&buf, replacement);
        at += len > 0 ? len : 1;
    }
    json_t *value = buf.failed ? NULL : json_stringn(buf_text(&buf), buf.len);
    buf_done(&buf);
    return value;
}

/* Steals value; NULL is what a failed allocation gave. */
static int set(json_t *object, const char *key, json_t *value)
{
    return value && json_object_set_new(object, key, value) == 0 ? 0 : ERR_MEMORY;
}

int jsonx_set_text(json_t *object, const char *key, const char *text)
{
    json_t *value = text ? json_string(text) : json_null();

    if (!value && text)
        value = repaired(text);
    return set(object, key, value);
}

int jsonx_set_int(json_t *object, const char *key, int64_t value)
{
    return set(object, key, json_integer(value));
}

int jsonx_set_real(json_t *object, const char *key, double value)
{
    /* Neither infinity nor "not a number" exist in JSON. */
    json_t *real = json_real(value);
    return set(object, key, real ? real : json_null());
}

int jsonx_set_bool(json_t *object, const char *key, bool value)
{
    return set(object, key, json_boolean(value));
}

/* --- members as text --- */

static void add_key(struct buf *out, const char *key)
{
    buf_put(out, ",\"", 2);
    buf_puts(out, key);
    buf_put(out, "\":", 2);
}

/* What cannot stand for itself between quotes. */
static void add_escaped(struct buf *out, unsigned char c)
{
    static const char shorts[] = "\bb\ff\nn\rr\tt\"\"\\\\";

    for (size_t i = 0; i < sizeof shorts - 1; i += 2) {
        if ((unsigned char)shorts[i] != c)
            continue;
        buf_putc(out, '\\');
        buf_putc(out, shorts[i + 1]);
        return;
    }
    buf_printf(out, "\\u%04X", c);
}

static bool is_plain(unsigned char c) { return c >= ' ' && c < 0x80 && c != '"' && c != '\\'; }

void jsonx_add_text(struct buf *out, const char *key, const char *text)
{
    const unsigned char *at = (const unsigned char *)text, *from;

    add_key(out, key);
    if (!text) {
        buf_puts(out, "null");
        return;
    }
    buf_putc(out, '"');
    while (*at) {
        for (from = at; is_plain(*at);)
            at++;
        buf_put(out, from, (size_t)(at - from));
        size_t len = *at ? sequence(at) : 0;
        if (len > 1)
            buf_put(out, at, len);
        else if (len == 1)
            add_escaped(out, *at);
        else if (*at)
            buf_puts(out, replacement);
        at += len > 0 ? len : *at != 0;
    }
    buf_putc(out, '"');
}

void jsonx_add_int(struct buf *out, const char *key, int64_t value)
{
    add_key(out, key);
    buf_printf(out, "%lld", (long long)value);
}

/* With a point or an exponent, so that it stays a real, and that without "+" and zeros in front. */
void jsonx_add_real(struct buf *out, const char *key, double value)
{
    char text[64];

    add_key(out, key);
    if (!isfinite(value)) {
        buf_puts(out, "null");
        return;
    }
    snprintf(text, sizeof text, "%.*g", REAL_DIGITS, value);
    const char *exponent = strchr(text, 'e');
    buf_put(out, text, exponent ? (size_t)(exponent - text) : strlen(text));
    if (exponent)
        buf_printf(out, "e%ld", strtol(exponent + 1, NULL, 10));
    else if (!strchr(text, '.'))
        buf_puts(out, ".0");
}

void jsonx_add_bool(struct buf *out, const char *key, bool value)
{
    add_key(out, key);
    buf_puts(out, value ? "true" : "false");
}
