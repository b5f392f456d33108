/* format.c - the contract is in format.h. */
#include "supervisor/logger/format.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    STAMP_COPY = 48, /* a stamp is copied as so many bytes, whatever its length: one move or two */
    CHAR_OUT_MAX = 12, /* most bytes that one byte of input becomes: two escapes */
};
static const char json_end[] = "\"}\n";
static const char json_partial[] = "\",\"partial\":true}\n";
static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

static char *put(char *to, const void *data, size_t len)
{
    memcpy(to, data, len);
    return to + len;
}

/* Bytes that go into a JSON string as they are. */
static bool is_plain(unsigned char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }

/* Whether eight bytes are all plain, without a branch per byte; may say no too often, never yes. */
static bool are_plain(const char *s)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t x, quote, back, del;

    memcpy(&x, s, sizeof x);
    quote = x ^ ones * '"';
    back = x ^ ones * '\\';
    del = x ^ ones * 0x7f;
    return ((x | ((x - ones * 0x20) & ~x) | ((quote - ones) & ~quote) | ((back - ones) & ~back) |
             ((del - ones) & ~del)) &
            high) == 0;
}

static char *put_escaped(char *to, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    static const char from[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *at = c ? strchr(from, c) : NULL;

    *to++ = '\\';
    if (at) {
        *to++ = letters[at - from];
        return to;
    }
    to = put(to, "u00", 3);
    *to++ = digits[c >> 4];
    *to++ = digits[c & 15];
    return to;
}

/* The sequence at `s`: > 0 its length; 0 = good so far, but more bytes are needed; < 0 = so many
 * bytes are no UTF-8 (as Unicode advises: the longest part that could have begun a character). */
static int utf8_at(const unsigned char *s, size_t len)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t need;

    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return -1;
    need = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < need; i++, low = 0x80, high = 0xbf) {
        if (i == len)
            return 0;
        if (s[i] < low || s[i] > high)
            return -(int)i;
    }
    return (int)need;
}

/* One character that is not plain; returns how many bytes of the input it took (0 when it only
 * ended a sequence that turned out broken). */
static size_t put_char(char **to, struct streams_line *line, const unsigned char *s, size_t len)
{
    unsigned char both[4] = { 0 };
    size_t before = line->nbytes, have = before;

    memcpy(both, line->bytes, before);
    while (have < sizeof both && have - before < len) {
        both[have] = s[have - before];
        have++;
    }
    int n = utf8_at(both, have);
    if (n == 0) {
        memcpy(line->bytes, both, have);
        line->nbytes = (uint8_t)have;
        return have - before;
    }
    line->nbytes = 0;
    if (n < 0) {
        *to = put(*to, replacement, sizeof replacement - 1);
        return (size_t)-n - before;
    }
    if (n == 1 && !is_plain(both[0]) && both[0] != 0x7f)
        *to = put_escaped(*to, both[0]);
    else
        *to = put(*to, both, (size_t)n);
    return (size_t)n - before;
}

static char *put_pending(char *to, struct streams_line *line)
{
    if (line->nbytes > 0)
        to = put(to, replacement, sizeof replacement - 1);
    line->nbytes = 0;
    return to;
}

/* A whole short text as the inside of a JSON string, at most `max` bytes of output. */
static char *put_text(char *to, const char *text, size_t max)
{
    struct streams_line line = { 0 };
    const char *start = to;
    size_t len = strlen(text);

    while (len > 0 && (size_t)(to - start) + CHAR_OUT_MAX <= max) {
        size_t n = put_char(&to, &line, (const unsigned char *)text, len);
        text += n;
        len -= n;
    }
    return put_pending(to, &line);
}

void format_init(struct format *format, enum streams_format kind, const char *instance,
                 const char *output, const char *time)
{
    enum { NAME_OUT_MAX = 400, OUTPUT_OUT_MAX = 100 };
    char *to = format->head;

    format->kind = kind;
    format->instance = instance;
    format->output = output;
    format->head_len = 0;
    snprintf(format->time, sizeof format->time, "%s", time);
    if (kind == STREAMS_RAW)
        return;
    if (kind == STREAMS_PLAIN) {
        format->head_len = (size_t)snprintf(to, sizeof format->head, "%s ", format->time);
        return;
    }
    to += snprintf(to, sizeof format->head, "{\"time\":\"%s\",\"instance\":\"", format->time);
    to = put_text(to, instance, NAME_OUT_MAX);
    to = put(to, "\",\"output\":\"", 12);
    to = put_text(to, output, OUTPUT_OUT_MAX);
    to = put(to, "\",\"message\":\"", 13);
    format->head_len = (size_t)(to - format->head);
}

static struct format_piece run_raw(struct streams_line *line, const char *in, size_t len,
                                   uint64_t room)
{
    struct format_piece piece = { .data = in, .len = len, .used = len };

    if (len > room) {
        size_t from = room > 0 ? (size_t)room - 1 : 0;
        const char *newline = memchr(in + from, '\n', len - from);
        if (newline)
            piece.len = piece.used = (size_t)(newline + 1 - in);
    }
    if (piece.used > 0)
        line->midline = in[piece.used - 1] != '\n';
    return piece;
}

static struct format_piece run_plain(const struct format *format, struct streams_line *line,
                                     const char *in, size_t len, uint64_t room, char *out)
{
    const char *at = in, *end = in + len;
    char *to = out, *limit = out + FORMAT_OUT_MAX - STAMP_COPY - 1;

    while (at < end && to < limit && (line->midline || to == out || (uint64_t)(to - out) < room)) {
        if (!line->midline) {
            memcpy(to, format->head, STAMP_COPY);
            to += format->head_len;
        }
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((newline ? newline + 1 : end) - at), left = (size_t)(limit - to);
        bool whole = to < limit && n <= left;
        if (to >= limit)
            n = 0;
        else if (!whole)
            n = left;
        to = put(to, at, n);
        at += n;
        line->midline = !(newline && whole);
    }
    return (
        struct format_piece){ .data = out, .len = (size_t)(to - out), .used = (size_t)(at - in) };
}

/* The message bytes of a line up to `end` or until the output is full or the object is. */
static const char *put_message(char **to, const char *limit, struct streams_line *line,
                               const char *at, const char *end)
{
    char *out = *to;

    while (at < end && out < limit && line->object < FORMAT_OBJECT_MAX) {
        size_t n = 1;
        if (end - at >= 8 && line->object <= FORMAT_OBJECT_MAX - 8 && line->nbytes == 0 &&
            are_plain(at)) {
            out = put(out, at, n = 8);
        } else if (line->nbytes == 0 && is_plain((unsigned char)*at))
            *out++ = *at;
        else
            n = put_char(&out, line, (const unsigned char *)at, (size_t)(end - at));
        at += n;
        line->object += (uint32_t)n;
    }
    *to = out;
    return at;
}

static char *put_head(const struct format *format, struct streams_line *line, char *to)
{
    line->midline = 1;
    line->object = 0;
    return put(to, format->head, format->head_len);
}

static struct format_piece run_json(const struct format *format, struct streams_line *line,
                                    const char *in, size_t len, uint64_t room, char *out)
{
    const char *at = in, *end = in + len;
    char *to = out, *limit = out + FORMAT_OUT_MAX - FORMAT_HEAD_MAX - 1;

    while (at < end && to < limit && (line->midline || to == out || (uint64_t)(to - out) < room)) {
        if (!line->midline)
            to = put_head(format, line, to);
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        at = put_message(&to, limit, line, at, newline ? newline : end);
        if (newline && at == newline) {
            to = put(put_pending(to, line), json_end, sizeof json_end - 1);
            line->midline = 0;
            at++;
        } else if (line->object >= FORMAT_OBJECT_MAX) {
            to = put(to, json_partial, sizeof json_partial - 1);
            line->midline = 0;
        }
    }
    return (
        struct format_piece){ .data = out, .len = (size_t)(to - out), .used = (size_t)(at - in) };
}

struct format_piece format_run(const struct format *format, struct streams_line *line,
                               const char *in, size_t len, uint64_t room, char *out)
{
    struct format_piece piece = { .data = out };
    size_t lead = 0;

    if (len == 0)
        return piece;
    if (line->broken && format->kind != STREAMS_RAW)
        out[lead++] = '\n';
    line->broken = 0;
    switch (format->kind) {
    case STREAMS_RAW:
        return run_raw(line, in, len, room);
    case STREAMS_PLAIN:
        piece = run_plain(format, line, in, len, room, out + lead);
        break;
    case STREAMS_JSON:
        piece = run_json(format, line, in, len, room, out + lead);
        break;
    }
    piece.data -= lead;
    piece.len += lead;
    return piece;
}

size_t format_end(const struct format *format, struct streams_line *line, char *out)
{
    char *to = out;

    if (line->midline && format->kind == STREAMS_PLAIN)
        *to++ = '\n';
    if (line->midline && format->kind == STREAMS_JSON)
        to = put(put_pending(to, line), json_end, sizeof json_end - 1);
    *line = (struct streams_line){ 0 };
    return (size_t)(to - out);
}

size_t format_cut(const struct format *format, struct streams_line *line, char *out)
{
    if (!line->midline || format->kind != STREAMS_JSON)
        return 0;
    line->midline = 0; /* a UTF-8 sequence under way goes on in the next object */
    return (size_t)(put(out, json_partial, sizeof json_partial - 1) - out);
}

size_t format_notice_words(uint64_t lost, char text[static FORMAT_NOTICE_MAX])
{
    int n = snprintf(text, FORMAT_NOTICE_MAX,
                     "supervisor: %llu bytes dropped here, the log could not be written",
                     (unsigned long long)lost);
    return (size_t)n;
}

size_t format_notice(const struct format *format, struct streams_line *line, uint64_t lost,
                     char *out)
{
    bool broken = line->broken || (line->midline && format->kind == STREAMS_RAW);
    size_t len = format_end(format, line, out);
    char *to = out + len, text[FORMAT_NOTICE_MAX];
    bool json = format->kind == STREAMS_JSON;

    if (broken)
        *to++ = '\n';
    if (json)
        to = put(to, format->head, format->head_len);
    else
        to = put(put(to, format->time, strlen(format->time)), " ", 1);
    size_t words = format_notice_words(lost, text);
    to = put(to, text, words);
    if (json)
        to += snprintf(to, FORMAT_NOTICE_MAX, "\",\"dropped\":%llu}", (unsigned long long)lost);
    *to++ = '\n';
    return (size_t)(to - out);
}
