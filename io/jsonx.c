/* jsonx.c - the contract is in jsonx.h. */
#include "io/jsonx.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64 };

/* Jansson allows far deeper nesting than anybody needs; a scan of the text is enough to refuse it.
 */
static bool too_deep(const char *text, size_t len)
{
    unsigned depth = 0;
    bool quoted = false;

    for (size_t i = 0; i < len; i++) {
        if (quoted) {
            if (text[i] == '\\')
                i++;
            else if (text[i] == '"')
                quoted = false;
        } else if (text[i] == '"') {
            quoted = true;
        } else if (text[i] == '{' || text[i] == '[') {
            if (++depth > DEPTH_MAX)
                return true;
        } else if ((text[i] == '}' || text[i] == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

json_t *jsonx_parse(const char *text, size_t len, struct err *err)
{
    json_error_t error;

    if (too_deep(text, len)) {
        err_set(err, ERR_PROTOCOL, "JSON nested deeper than %d", DEPTH_MAX);
        return NULL;
    }
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!value)
        err_set(err, ERR_PROTOCOL, "not JSON: line %d, column %d: %s", error.line, error.column,
                error.text);
    return value;
}

static int put_bytes(const char *data, size_t len, void *context)
{
    struct buf *out = context;

    buf_put(out, data, len);
    return out->failed ? -1 : 0;
}

bool jsonx_put(const json_t *value, struct buf *out)
{
    return json_dump_callback(value, put_bytes, out, JSON_COMPACT) == 0 && !out->failed;
}

bool jsonx_put_pretty(const json_t *value, struct buf *out)
{
    if (json_dump_callback(value, put_bytes, out, JSON_INDENT(2)) != 0)
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

static const json_t *need(const json_t *object, const char *key, struct err *err)
{
    const json_t *value = json_object_get(object, key);

    if (!value)
        err_set(err, ERR_PROTOCOL, "\"%s\" is missing", key);
    return value;
}

int jsonx_need_text(const json_t *object, const char *key, const char **ret, struct err *err)
{
    const json_t *value = need(object, key, err);

    if (!value)
        return ERR_PROTOCOL;
    if (!json_is_string(value))
        return err_set(err, ERR_PROTOCOL, "\"%s\" must be a text", key);
    *ret = json_string_value(value);
    return 0;
}

int jsonx_need_int(const json_t *object, const char *key, int64_t *ret, struct err *err)
{
    const json_t *value = need(object, key, err);

    if (!value)
        return ERR_PROTOCOL;
    if (!json_is_integer(value))
        return err_set(err, ERR_PROTOCOL, "\"%s\" must be a whole number", key);
    *ret = json_integer_value(value);
    return 0;
}

/* Length of the UTF-8 sequence at `at`, 0 when it is not one (RFC 3629: no surrogates, no overlong
 * forms, nothing above U+10FFFF). */
static size_t utf8_length(const unsigned char *at, size_t left)
{
    if (at[0] < 0x80)
        return 1;
    size_t len = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || len > left)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool outside = (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf4 && at[1] > 0x8f);
    return overlong || outside ? 0 : len;
}

static json_t *cleaned(const char *text)
{
    size_t left = strlen(text);
    struct buf out;

    buf_init(&out, left * 3 + 1);
    for (const unsigned char *at = (const unsigned char *)text; left > 0;) {
        size_t len = utf8_length(at, left);
        if (len > 0)
            buf_put(&out, at, len);
        else
            buf_puts(&out, "\xef\xbf\xbd");
        len = len > 0 ? len : 1;
        at += len;
        left -= len;
    }
    json_t *value = json_string(buf_text(&out));
    buf_done(&out);
    return value;
}

int jsonx_set_text(json_t *object, const char *key, const char *text)
{
    json_t *value = text ? json_string(text) : json_null();

    if (!value && text)
        value = cleaned(text);
    return json_object_set_new(object, key, value);
}

int jsonx_set_int(json_t *object, const char *key, int64_t value)
{
    return json_object_set_new(object, key, json_integer(value));
}

int jsonx_set_real(json_t *object, const char *key, double value)
{
    return json_object_set_new(object, key, json_real(value));
}

int jsonx_set_bool(json_t *object, const char *key, bool value)
{
    return json_object_set_new(object, key, json_boolean(value));
}
