/* test_squeeze.c - round trips in any pieces, bombs and damage refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "deployctl/wire/digest.h"
#include "deployctl/wire/squeeze.h"

static void sha256_is_sha256(void **unused)
{
    (void)unused;
    unsigned char digest[MANIFEST_DIGEST_BYTES];
    char hex[MANIFEST_HEX_MAX];
    assert_int_equal(digest_of("abc", 3, digest, NULL), 0);
    manifest_hex(digest, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(digest_of("", 0, digest, NULL), 0);
    manifest_hex(digest, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static int to_buf(void *context, const void *data, size_t len, struct err *err)
{
    (void)err;
    buf_put(context, data, len);
    return 0;
}

static void contents_survive_in_any_pieces(void **unused)
{
    (void)unused;
    enum { BYTES = 700000 };
    char *content = malloc(BYTES);
    uint32_t seed = 1;
    for (size_t i = 0; i < BYTES; i++)
        content[i] = (char)((seed = seed * 1103515245u + 12345u) >> (i % 3 == 0 ? 16 : 28));
    struct buf packed, back;
    struct err err;
    buf_init(&packed, 1 << 22);
    buf_init(&back, 1 << 22);
    struct squeeze *squeeze = squeeze_new(&err);
    struct unsqueeze *unsqueeze = unsqueeze_new(&err);
    for (size_t piece = 1; piece < BYTES; piece *= 7) { /* the same objects, several contents */
        buf_clear(&packed);
        buf_clear(&back);
        squeeze_begin(squeeze);
        for (size_t at = 0; at < BYTES; at += 100000)
            assert_int_equal(
                squeeze_add(squeeze, content + at, 100000, at + 100000 == BYTES, &packed, &err), 0);
        bool ended = false;
        unsqueeze_begin(unsqueeze, BYTES);
        for (size_t at = 0; at < packed.len; at += piece) {
            assert_false(ended);
            size_t n = packed.len - at < piece ? packed.len - at : piece;
            assert_int_equal(
                unsqueeze_add(unsqueeze, packed.data + at, n, to_buf, &back, &ended, &err), 0);
        }
        assert_true(ended);
        assert_int_equal(back.len, BYTES);
        assert_memory_equal(back.data, content, BYTES);
    }
    squeeze_free(squeeze);
    unsqueeze_free(unsqueeze);
    buf_done(&packed);
    buf_done(&back);
    free(content);
}

static void bombs_and_damage_are_refused(void **unused)
{
    (void)unused;
    enum { BYTES = 50 * 1024 * 1024 };
    char *zeros = calloc(1, BYTES);
    struct buf packed, back;
    struct err err;
    bool ended = false;
    buf_init(&packed, 1 << 22);
    buf_init(&back, 1 << 20);
    assert_int_equal(squeeze_all(zeros, BYTES, &packed, &err), 0);
    assert_true(packed.len < 20000);
    assert_int_equal(unsqueeze_all(packed.data, packed.len, &back, &err), ERR_LIMIT);
    assert_true(back.len <= 1 << 20);
    struct unsqueeze *unsqueeze = unsqueeze_new(&err);
    unsqueeze_begin(unsqueeze, 1000);
    buf_clear(&back);
    assert_int_equal(unsqueeze_add(unsqueeze, packed.data, packed.len, to_buf, &back, &ended, &err),
                     ERR_LIMIT);
    assert_int_equal(back.len, 0);
    unsqueeze_free(unsqueeze);

    buf_clear(&packed);
    buf_clear(&back);
    assert_int_equal(squeeze_all("hello", 5, &packed, &err), 0);
    assert_int_equal(unsqueeze_all(packed.data, packed.len - 1, &back, &err), ERR_CORRUPT);
    buf_clear(&back);
    buf_putc(&packed, 'x');
    assert_int_equal(unsqueeze_all(packed.data, packed.len, &back, &err), ERR_CORRUPT);
    packed.data[0] ^= 1;
    assert_int_equal(unsqueeze_all(packed.data, packed.len, &back, &err), ERR_CORRUPT);
    assert_int_equal(unsqueeze_all("", 0, &back, &err), ERR_CORRUPT);
    buf_done(&packed);
    buf_done(&back);
    free(zeros);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_is_sha256),
        cmocka_unit_test(contents_survive_in_any_pieces),
        cmocka_unit_test(bombs_and_damage_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
