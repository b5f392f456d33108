/* grpc.c - the contract is in grpc.h.  RFC 9113 (HTTP/2), and gRPC's PROTOCOL-HTTP2. */
#include "supervisor/health/grpc.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/unit.h"
#include "supervisor/health/hpack.h"

enum frame_type {
    FRAME_DATA,
    FRAME_HEADERS,
    FRAME_PRIORITY,
    FRAME_RST_STREAM,
    FRAME_SETTINGS,
    FRAME_PUSH_PROMISE,
    FRAME_PING,
    FRAME_GOAWAY,
    FRAME_WINDOW_UPDATE,
    FRAME_CONTINUATION,
};
enum {
    FLAG_ACK = 0x1,
    FLAG_END_STREAM = 0x1,
    FLAG_END_HEADERS = 0x4,
    FLAG_PADDED = 0x8,
    FLAG_PRIORITY = 0x20,
    FRAME_HEADER = 9,
    PRIORITY_BYTES = 5,
    PING_BYTES = 8,
    SETTING_BYTES = 6,
    OUR_STREAM = 1,
    MESSAGE_HEADER = 5,
    HTTP_OK = 200,
    STATUS_UNKNOWN = 2,
};

struct frame {
    unsigned type, flags;
    uint32_t stream;
    const unsigned char *data;
    size_t len;
};

static uint32_t get_u32(const unsigned char *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

/* --- what we say --- */

static void put_u32(struct buf *out, uint32_t value)
{
    const char bytes[] = { (char)(value >> 24), (char)(value >> 16), (char)(value >> 8),
                           (char)value };

    buf_put(out, bytes, sizeof bytes);
}

static void put_frame(struct buf *out, enum frame_type type, unsigned flags, uint32_t stream,
                      const void *data, size_t len)
{
    const char head[] = { (char)(len >> 16), (char)(len >> 8), (char)len, (char)type, (char)flags };

    buf_put(out, head, sizeof head);
    put_u32(out, stream);
    if (len > 0)
        buf_put(out, data, len);
}

/* No dynamic table for their headers, and nothing pushed. */
static void put_settings(struct buf *out)
{
    static const unsigned char settings[] = { 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0 };

    put_frame(out, FRAME_SETTINGS, 0, 0, settings, sizeof settings);
}

static void put_headers(struct buf *out, const char *authority)
{
    enum { METHOD_POST = 0x83, SCHEME_HTTP = 0x86, PATH = 4, AUTHORITY = 1, TYPE = 31, AGENT = 58 };
    struct buf block;

    buf_init(&block, GRPC_HEADERS_MAX);
    buf_putc(&block, (char)METHOD_POST);
    buf_putc(&block, (char)SCHEME_HTTP);
    hpack_put(&block, PATH, NULL, "/grpc.health.v1.Health/Check");
    hpack_put(&block, AUTHORITY, NULL, authority);
    hpack_put(&block, TYPE, NULL, "application/grpc");
    hpack_put(&block, AGENT, NULL, "supervisor-probe");
    hpack_put(&block, 0, "te", "trailers");
    put_frame(out, FRAME_HEADERS, FLAG_END_HEADERS, OUR_STREAM, block.data, block.len);
    buf_done(&block);
}

/* HealthCheckRequest { string service = 1; } */
static void put_message(struct buf *out, const char *service)
{
    enum { FIELD_SERVICE = 1 << 3 | 2 };
    size_t len = strlen(service);
    struct buf message;

    buf_init(&message, GRPC_MESSAGE_MAX);
    buf_putc(&message, 0); /* not compressed */
    put_u32(&message, len == 0 ? 0 : (uint32_t)(len + (len < 0x80 ? 2 : 3)));
    if (len > 0) {
        buf_putc(&message, FIELD_SERVICE);
        if (len >= 0x80)
            buf_putc(&message, (char)(len | 0x80));
        buf_putc(&message, (char)(len < 0x80 ? len : len >> 7));
        buf_puts(&message, service);
    }
    put_frame(out, FRAME_DATA, FLAG_END_STREAM, OUR_STREAM, message.data, message.len);
    buf_done(&message);
}

void grpc_begin(struct grpc *grpc, const char *authority, const char *service, struct buf *out)
{
    memset(grpc, 0, sizeof *grpc);
    grpc->grpc_status = -1;
    buf_init(&grpc->in, FRAME_HEADER + GRPC_FRAME_MAX);
    buf_init(&grpc->block, GRPC_HEADERS_MAX);
    buf_init(&grpc->message, GRPC_MESSAGE_MAX);
    buf_puts(out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    put_settings(out);
    put_headers(out, authority);
    put_message(out, service);
}

void grpc_done(struct grpc *grpc)
{
    buf_done(&grpc->in);
    buf_done(&grpc->block);
    buf_done(&grpc->message);
}

/* --- verdicts --- */

static enum grpc_verdict __attribute__((format(printf, 2, 3)))
bad(char text[static GRPC_TEXT_MAX], const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, GRPC_TEXT_MAX, fmt, args);
    va_end(args);
    return GRPC_BAD;
}

static const char *status_name(int status)
{
    static const char *const names[] = {
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    };

    return status >= 0 && (size_t)status < sizeof names / sizeof *names ? names[status] : "?";
}

static bool get_varint(const unsigned char **at, const unsigned char *end, uint64_t *ret)
{
    *ret = 0;
    for (unsigned shift = 0; shift < 64 && *at < end; shift += 7) {
        unsigned char byte = *(*at)++;
        *ret |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

/* Skips the value of a field that we do not know. */
static bool skip_field(const unsigned char **at, const unsigned char *end, unsigned wire)
{
    uint64_t len = wire == 1 ? 8 : wire == 5 ? 4 : 0;

    if (wire == 0)
        return get_varint(at, end, &len);
    if (wire == 2 && !get_varint(at, end, &len))
        return false;
    if ((wire != 1 && wire != 2 && wire != 5) || len > (uint64_t)(end - *at))
        return false;
    *at += len;
    return true;
}

/* HealthCheckResponse { ServingStatus status = 1; }: false when it is none. */
static bool get_serving(const unsigned char *at, size_t len, uint64_t *ret_status)
{
    const unsigned char *end = at + len;

    *ret_status = 0;
    while (at < end) {
        uint64_t tag;
        if (!get_varint(&at, end, &tag))
            return false;
        if (tag == 1 << 3 ? !get_varint(&at, end, ret_status)
                          : !skip_field(&at, end, (unsigned)(tag & 7)))
            return false;
    }
    return true;
}

static enum grpc_verdict judge_message(const struct grpc *grpc, char text[static GRPC_TEXT_MAX])
{
    static const char *const names[] = { "UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN" };
    const unsigned char *data = (const unsigned char *)grpc->message.data;
    size_t len = grpc->message.len;
    uint64_t status;

    if (len < MESSAGE_HEADER || data[0] != 0 || get_u32(data + 1) != len - MESSAGE_HEADER ||
        !get_serving(data + MESSAGE_HEADER, len - MESSAGE_HEADER, &status))
        return bad(text, "not an answer of grpc.health.v1.Health");
    snprintf(text, GRPC_TEXT_MAX, "%s",
             status < sizeof names / sizeof *names ? names[status] : "an unknown health status");
    return status == 1 ? GRPC_OK : GRPC_BAD;
}

static enum grpc_verdict judge(const struct grpc *grpc, char text[static GRPC_TEXT_MAX])
{
    if (grpc->http_status != HTTP_OK)
        return bad(text, "HTTP status %d", grpc->http_status);
    if (grpc->grpc_status < 0)
        return bad(text, "the answer ended without a gRPC status");
    if (grpc->grpc_status > 0)
        return bad(text, "gRPC status %d (%s)%s%s", grpc->grpc_status,
                   status_name(grpc->grpc_status), grpc->words[0] ? ": " : "", grpc->words);
    return judge_message(grpc, text);
}

/* --- frames --- */

/* A status; `other` for what is none. */
static int get_number(const char *text, int other)
{
    int64_t value;

    return unit_integer(text, 10, &value, NULL) == 0 && value >= 0 && value < 1000 ? (int)value
                                                                                   : other;
}

static void on_field(void *context, const char *name, const char *value)
{
    struct grpc *grpc = context;

    if (strcmp(name, ":status") == 0) {
        grpc->http_status = get_number(value, 0);
    } else if (strcmp(name, "grpc-status") == 0) {
        grpc->grpc_status = get_number(value, STATUS_UNKNOWN);
    } else if (strcmp(name, "grpc-message") == 0) {
        snprintf(grpc->words, sizeof grpc->words, "%.*s", (int)sizeof grpc->words - 1, value);
        for (char *at = grpc->words; *at; at++)
            if (!isprint((unsigned char)*at))
                *at = '?';
    }
}

static bool strip(struct frame *frame, size_t head)
{
    size_t padding = 0;

    if (frame->flags & FLAG_PADDED) {
        if (frame->len < 1)
            return false;
        padding = frame->data[0];
        head++;
    }
    if (frame->len < head + padding)
        return false;
    frame->data += head;
    frame->len -= head + padding;
    return true;
}

/* A whole block; 1xx answers come before the real one. */
static enum grpc_verdict end_block(struct grpc *grpc, char text[static GRPC_TEXT_MAX])
{
    bool ok =
        hpack_decode((const unsigned char *)grpc->block.data, grpc->block.len, on_field, grpc);

    grpc->in_block = false;
    buf_consume(&grpc->block, grpc->block.len);
    if (!ok)
        return bad(text, "malformed HTTP/2 headers");
    if (grpc->http_status >= 100 && grpc->http_status < 200)
        grpc->http_status = 0;
    return grpc->block_ends ? judge(grpc, text) : GRPC_MORE;
}

static enum grpc_verdict on_headers(struct grpc *grpc, struct frame *frame,
                                    char text[static GRPC_TEXT_MAX])
{
    bool first = frame->type == FRAME_HEADERS;

    if (frame->stream != OUR_STREAM || first == grpc->in_block)
        return bad(text, "HTTP/2 headers out of place");
    if (first) {
        if (!strip(frame, frame->flags & FLAG_PRIORITY ? PRIORITY_BYTES : 0))
            return bad(text, "malformed HTTP/2 frame");
        grpc->in_block = true;
        grpc->block_ends = frame->flags & FLAG_END_STREAM;
    }
    buf_put(&grpc->block, frame->data, frame->len);
    if (grpc->block.failed)
        return bad(text, "over %d bytes of headers", GRPC_HEADERS_MAX);
    return frame->flags & FLAG_END_HEADERS ? end_block(grpc, text) : GRPC_MORE;
}

static enum grpc_verdict on_data(struct grpc *grpc, struct frame *frame,
                                 char text[static GRPC_TEXT_MAX])
{
    if (frame->stream != OUR_STREAM || !strip(frame, 0))
        return bad(text, "malformed HTTP/2 frame");
    if (grpc->http_status == HTTP_OK) /* else it is a page that explains the failure */
        buf_put(&grpc->message, frame->data, frame->len);
    if (grpc->message.failed)
        return bad(text, "not an answer of grpc.health.v1.Health");
    return frame->flags & FLAG_END_STREAM ? judge(grpc, text) : GRPC_MORE;
}

static enum grpc_verdict on_frame(struct grpc *grpc, struct frame *frame, struct buf *out,
                                  char text[static GRPC_TEXT_MAX])
{
    if (grpc->in_block && frame->type != FRAME_CONTINUATION)
        return bad(text, "HTTP/2 headers out of place");
    switch (frame->type) {
    case FRAME_DATA:
        return on_data(grpc, frame, text);
    case FRAME_HEADERS:
    case FRAME_CONTINUATION:
        return on_headers(grpc, frame, text);
    case FRAME_RST_STREAM:
        return frame->len == 4 ? bad(text, "the call was reset (HTTP/2 error %u)",
                                     (unsigned)get_u32(frame->data))
                               : bad(text, "malformed HTTP/2 frame");
    case FRAME_SETTINGS:
        if (frame->len % SETTING_BYTES != 0)
            return bad(text, "malformed HTTP/2 frame");
        if (!(frame->flags & FLAG_ACK))
            put_frame(out, FRAME_SETTINGS, FLAG_ACK, 0, NULL, 0);
        return GRPC_MORE;
    case FRAME_PING:
        if (frame->len != PING_BYTES)
            return bad(text, "malformed HTTP/2 frame");
        if (!(frame->flags & FLAG_ACK))
            put_frame(out, FRAME_PING, FLAG_ACK, 0, frame->data, frame->len);
        return GRPC_MORE;
    case FRAME_GOAWAY: /* with our stream in it, the answer still comes */
        if (frame->len >= 8 && (get_u32(frame->data) & 0x7fffffff) >= OUR_STREAM)
            return GRPC_MORE;
        return bad(text, "the server is going away");
    case FRAME_PUSH_PROMISE:
        return bad(text, "malformed HTTP/2 frame");
    default: /* of no interest to us, or not known yet */
        return GRPC_MORE;
    }
}

/* False while it is not whole. */
static bool next_frame(const struct grpc *grpc, struct frame *ret)
{
    const unsigned char *at = (const unsigned char *)grpc->in.data;

    if (grpc->in.len < FRAME_HEADER)
        return false;
    *ret = (struct frame){
        .len = (size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2],
        .type = at[3],
        .flags = at[4],
        .stream = get_u32(at + 5) & 0x7fffffff,
        .data = at + FRAME_HEADER,
    };
    return ret->len > GRPC_FRAME_MAX || grpc->in.len >= FRAME_HEADER + ret->len;
}

static enum grpc_verdict take_frames(struct grpc *grpc, struct buf *out,
                                     char text[static GRPC_TEXT_MAX])
{
    enum grpc_verdict verdict = GRPC_MORE;
    struct frame frame;

    while (verdict == GRPC_MORE && next_frame(grpc, &frame)) {
        size_t len = FRAME_HEADER + frame.len;
        if (frame.len > GRPC_FRAME_MAX || (!grpc->settled && frame.type != FRAME_SETTINGS))
            return bad(text, grpc->settled ? "an HTTP/2 frame that is too long"
                                           : "not an HTTP/2 server (gRPC without TLS)");
        grpc->settled = true;
        verdict = on_frame(grpc, &frame, out, text);
        buf_consume(&grpc->in, len);
    }
    return verdict;
}

static void put_farewell(struct buf *out)
{
    static const unsigned char no_error[8] = { 0 };

    put_frame(out, FRAME_GOAWAY, 0, 0, no_error, sizeof no_error);
}

enum grpc_verdict grpc_feed(struct grpc *grpc, const void *data, size_t len, struct buf *out,
                            char text[static GRPC_TEXT_MAX])
{
    enum grpc_verdict verdict = GRPC_MORE;
    const char *at = data;

    grpc->total += len;
    if (grpc->total > GRPC_ANSWER_MAX)
        verdict = bad(text, "over %d bytes of an answer", GRPC_ANSWER_MAX);
    /* A frame at most is kept, so a long piece goes in by parts. */
    while (verdict == GRPC_MORE && len > 0) {
        size_t room = FRAME_HEADER + GRPC_FRAME_MAX - grpc->in.len, n = len < room ? len : room;

        buf_put(&grpc->in, at, n);
        if (grpc->in.failed)
            return bad(text, "no memory for an answer");
        at += n;
        len -= n;
        verdict = take_frames(grpc, out, text);
    }
    if (verdict == GRPC_MORE && out->failed)
        verdict = bad(text, "too many HTTP/2 frames that want an answer");
    if (verdict != GRPC_MORE)
        put_farewell(out);
    return verdict;
}
