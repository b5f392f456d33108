/* test_grpc.c - header blocks, and whole answers as real servers send them, in pieces of any size.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/health/grpc.h"
#include "supervisor/health/hpack.h"

#define BLOCK(text) text, sizeof(text) - 1

/* --- hpack --- */

struct fields {
    char text[1024];
};

static void on_field(void *context, const char *name, const char *value)
{
    struct fields *fields = context;
    size_t len = strlen(fields->text);

    snprintf(fields->text + len, sizeof fields->text - len, "%s=%s;", name, value);
}

static bool decode(const char *block, size_t len, struct fields *fields)
{
    fields->text[0] = '\0';
    return hpack_decode((const unsigned char *)block, len, on_field, fields);
}

static void examples_of_the_rfc_are_read(void **unused)
{
    struct fields fields;

    (void)unused;
    /* C.2.1, C.2.2, C.2.3, C.2.4 of RFC 7541, for fields that answers may have. */
    assert_true(decode(BLOCK("\x40\x0a"
                             "custom-key\x0d"
                             "custom-header"),
                       &fields));
    assert_string_equal(fields.text, "custom-key=custom-header;");
    assert_true(decode(BLOCK("\x10\x08password\x06secret"), &fields));
    assert_string_equal(fields.text, "password=secret;");
    assert_true(decode(BLOCK("\x88\x8d"), &fields));
    assert_string_equal(fields.text, ":status=200;:status=404;");
    /* As gRPC servers encode it: Huffman, and a table that is told to be empty. */
    assert_true(decode(BLOCK("\x20\x88\x5f\x8b\x1d\x75\xd0\x62\x0d\x26\x3d\x4c\x4d\x65\x64\x40\x88"
                             "\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x81\x6f\x40\x89\x9a\xca\xc8\xb5\x25"
                             "\x42\x07\x31\x7f\x8b\xb6\xae\xb5\x1f\xc5\x4a\x20\xb6\x77\x31\x0b"),
                       &fields));
    assert_string_equal(fields.text, ":status=200;content-type=application/grpc;grpc-status=5;"
                                     "grpc-message=unknown service;");
    assert_true(decode(BLOCK("\x00\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8"
                             "\xe8\xb4\xbf"),
                       &fields));
    assert_string_equal(fields.text, "custom-key=custom-value;");
}

static void nonsense_is_refused(void **unused)
{
    static const struct {
        const char *block;
        size_t len;
    } bad[] = {
        { BLOCK("\x80") },         /* index 0 */
        { BLOCK("\xbe") },         /* 62: the dynamic table is empty */
        { BLOCK("\x3f\xe1\x1f") }, /* a table of another size than ours */
        { BLOCK("\x00\x05"
                "ab") }, /* longer than the block */
        { BLOCK("\x00\x01"
                "a") },                            /* no value */
        { BLOCK("\xff\xff\xff\xff\xff\xff\x01") }, /* an endless number */
        { BLOCK("\x00\x81\x00\x00") },             /* padded with zeros */
        { BLOCK("\x00\x82\xff\xff\x00") },         /* padded with more than 7 ones */
        { BLOCK("\x00\x84\xff\xff\xff\xff\x00") }, /* the end symbol itself */
        { BLOCK("\x7f") },
    };
    struct fields fields;

    (void)unused;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(decode(bad[i].block, bad[i].len, &fields));
    assert_true(decode("", 0, &fields));
}

/* --- whole answers --- */

struct answer {
    struct buf bytes;
};

static void add(struct answer *answer, unsigned type, unsigned flags, uint32_t stream,
                const char *data, size_t len)
{
    const char head[] = {
        (char)(len >> 16), (char)(len >> 8), (char)len, (char)type, (char)flags, 0, 0, 0,
        (char)stream
    };

    buf_put(&answer->bytes, head, sizeof head);
    if (len > 0)
        buf_put(&answer->bytes, data, len);
}

enum { DATA, HEADERS, RST = 3, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION };
enum { END_STREAM = 1, END_HEADERS = 4, PADDED = 8, PRIORITY = 32 };

/* Fed in pieces of each size; the same every time. */
static enum grpc_verdict judge(struct answer *answer, char text[GRPC_TEXT_MAX], struct buf *out)
{
    enum grpc_verdict verdict = GRPC_MORE;

    for (size_t piece = answer->bytes.len; piece > 0; piece = piece > 40 ? piece / 3 : piece - 1) {
        enum grpc_verdict now = GRPC_MORE;
        struct grpc grpc;

        buf_done(out);
        buf_init(out, 4096);
        grpc_begin(&grpc, "localhost:1", "", out);
        assert_false(out->failed);
        buf_clear(out);
        for (size_t at = 0; at < answer->bytes.len && now == GRPC_MORE; at += piece) {
            size_t left = answer->bytes.len - at;
            now = grpc_feed(&grpc, answer->bytes.data + at, left < piece ? left : piece, out, text);
        }
        grpc_done(&grpc);
        assert_true(piece == answer->bytes.len || now == verdict);
        verdict = now;
    }
    buf_done(&answer->bytes);
    buf_init(&answer->bytes, 1 << 20);
    return verdict;
}

#define STATUS_200                                                                                 \
    "\x88\x5f\x10"                                                                                 \
    "application/grpc"

static void good_answers_are_good(void **unused)
{
    struct answer answer;
    struct buf out;
    char text[GRPC_TEXT_MAX];

    (void)unused;
    buf_init(&answer.bytes, 1 << 20);
    buf_init(&out, 4096);
    add(&answer, SETTINGS, 0, 0, BLOCK("\0\3\0\0\0\x64"));
    add(&answer, SETTINGS, 1, 0, "", 0);
    add(&answer, WINDOW, 0, 0, BLOCK("\0\0\1\0"));
    add(&answer, PING, 0, 0, BLOCK("12345678"));
    add(&answer, 99, 0, 7, BLOCK("from the future"));
    add(&answer, HEADERS, END_HEADERS, 1, BLOCK("\x20" STATUS_200));
    add(&answer, DATA, 0, 1, BLOCK("\0\0\0\0\2\x08\1"));
    add(&answer, HEADERS, END_HEADERS | END_STREAM, 1,
        BLOCK("\x00\x0bgrpc-status\x01"
              "0"));
    assert_int_equal(judge(&answer, text, &out), GRPC_OK);
    assert_string_equal(text, "SERVING");
    /* Acknowledged: SETTINGS, and the ping with what was in it; then the farewell. */
    assert_memory_equal(out.data,
                        "\0\0\0\4\1\0\0\0\0\0\0\x08\6\1\0\0\0\0"
                        "12345678"
                        "\0\0\x08\7\0\0\0\0\0\0\0\0\0\0\0\0\0",
                        43);
    /* Padding, priority, a block in parts, a message in parts with a field that we do not know. */
    add(&answer, SETTINGS, 0, 0, "", 0);
    add(&answer, HEADERS, PADDED | PRIORITY, 1, BLOCK("\2\0\0\0\0\0\x88\0\0"));
    add(&answer, CONTINUATION, 0, 1,
        BLOCK("\x5f\x10"
              "applica"));
    add(&answer, CONTINUATION, END_HEADERS, 1, BLOCK("tion/grpc"));
    add(&answer, DATA, PADDED, 1, BLOCK("\1\0\0\0\0\0"));
    add(&answer, DATA, 0, 1, BLOCK("\6\x12\2hi\x08\1"));
    add(&answer, HEADERS, END_HEADERS | END_STREAM, 1,
        BLOCK("\x00\x0bgrpc-status\x01"
              "0"));
    assert_int_equal(judge(&answer, text, &out), GRPC_OK);
    buf_done(&answer.bytes);
    buf_done(&out);
}

/* The rest of an answer after SETTINGS, and what is said of it. */
static void expect(const char *what, unsigned type, unsigned flags, const char *data, size_t len)
{
    struct answer answer;
    struct buf out;
    char text[GRPC_TEXT_MAX] = "";

    buf_init(&answer.bytes, 1 << 20);
    buf_init(&out, 4096);
    add(&answer, SETTINGS, 0, 0, "", 0);
    add(&answer, type, flags, type == GOAWAY ? 0 : 1, data, len);
    assert_int_equal(judge(&answer, text, &out), *what ? GRPC_BAD : GRPC_MORE);
    assert_string_equal(text, what);
    buf_done(&answer.bytes);
    buf_done(&out);
}

static void bad_answers_say_why(void **unused)
{
    const unsigned whole = END_HEADERS | END_STREAM;

    (void)unused;
    expect("gRPC status 5 (NOT_FOUND): unknown service", HEADERS, whole,
           BLOCK("\x88\x00\x0bgrpc-status\x01"
                 "5\x00\x0cgrpc-message\x0funknown service"));
    expect("gRPC status 99 (?)", HEADERS, whole,
           BLOCK("\x88\x00\x0bgrpc-status\x02"
                 "99"));
    expect("HTTP status 404", HEADERS, whole, BLOCK("\x8d"));
    expect("the answer ended without a gRPC status", HEADERS, whole, BLOCK("\x88"));
    expect("not an answer of grpc.health.v1.Health", HEADERS, whole,
           BLOCK("\x88\x00\x0bgrpc-status\x01"
                 "0"));
    expect("malformed HTTP/2 headers", HEADERS, whole, BLOCK("\xbe"));
    expect("malformed HTTP/2 frame", HEADERS, whole | PADDED, BLOCK("\x09\x88"));
    expect("HTTP/2 headers out of place", CONTINUATION, whole, BLOCK("\x88"));
    expect("the call was reset (HTTP/2 error 7)", RST, 0, BLOCK("\0\0\0\7"));
    expect("malformed HTTP/2 frame", PUSH, 0, BLOCK("\0\0\0\2"));
    expect("malformed HTTP/2 frame", PING, 0, BLOCK("1234"));
    expect("the server is going away", GOAWAY, 0, BLOCK("\0\0\0\0\0\0\0\0"));
    expect("", GOAWAY, 0, BLOCK("\0\0\0\1\0\0\0\0"));
    expect("", HEADERS, END_HEADERS, BLOCK("\x88"));
}

static void bounds_hold(void **unused)
{
    static char filler[GRPC_FRAME_MAX];
    struct answer answer;
    struct buf out;
    char text[GRPC_TEXT_MAX];

    (void)unused;
    buf_init(&answer.bytes, 1 << 20);
    buf_init(&out, 4096);
    buf_puts(&answer.bytes, "HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_int_equal(judge(&answer, text, &out), GRPC_BAD);
    assert_string_equal(text, "not an HTTP/2 server (gRPC without TLS)");
    add(&answer, SETTINGS, 0, 0, "", 0);
    buf_put(&answer.bytes, "\0\x40\1\0\0\0\0\0\1", 9);
    assert_int_equal(judge(&answer, text, &out), GRPC_BAD);
    assert_string_equal(text, "an HTTP/2 frame that is too long");
    add(&answer, SETTINGS, 0, 0, "", 0);
    for (int i = 0; i < 9; i++)
        add(&answer, 99, 0, 0, filler, sizeof filler);
    assert_int_equal(judge(&answer, text, &out), GRPC_BAD);
    assert_string_equal(text, "over 131072 bytes of an answer");
    add(&answer, SETTINGS, 0, 0, "", 0);
    add(&answer, HEADERS, 0, 1, filler, 10000);
    add(&answer, CONTINUATION, 0, 1, filler, 10000);
    assert_int_equal(judge(&answer, text, &out), GRPC_BAD);
    assert_string_equal(text, "over 16384 bytes of headers");
    for (int i = 0; i < 1000; i++)
        add(&answer, SETTINGS, 0, 0, "", 0);
    assert_int_equal(judge(&answer, text, &out), GRPC_BAD);
    assert_string_equal(text, "too many HTTP/2 frames that want an answer");
    buf_done(&answer.bytes);
    buf_done(&out);
}

static void long_names_are_asked_for(void **unused)
{
    char service[GRPC_SERVICE_MAX + 1];
    struct grpc grpc;
    struct buf out;

    (void)unused;
    memset(service, 's', sizeof service - 1);
    service[sizeof service - 1] = '\0';
    buf_init(&out, 4096);
    grpc_begin(&grpc, "localhost:50051", service, &out);
    assert_false(out.failed);
    /* DATA, END_STREAM, stream 1; not compressed, 258 bytes; field 1, 255 bytes. */
    assert_memory_equal(out.data + out.len - 272, "\0\1\7\0\1\0\0\0\1\0\0\0\1\2\x0a\xff\1s", 18);
    grpc_done(&grpc);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_of_the_rfc_are_read),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(good_answers_are_good),
        cmocka_unit_test(bad_answers_say_why),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(long_names_are_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
