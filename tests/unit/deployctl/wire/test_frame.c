/* test_frame.c - frames in any pieces, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "deployctl/wire/frame.h"

static void frames_are_found_when_whole(void **unused)
{
    (void)unused;
    char bytes[FRAME_HEADER_BYTES + 5 + FRAME_HEADER_BYTES];
    unsigned char header[FRAME_HEADER_BYTES];
    frame_header(FRAME_CONTROL, 5, header);
    memcpy(bytes, header, sizeof header);
    memcpy(bytes + sizeof header, "hello", 5);
    frame_header(FRAME_DATA, 0, header);
    memcpy(bytes + sizeof header + 5, header, sizeof header);
    struct frame frame;
    struct err err;
    size_t used = 0;
    for (size_t len = 0; len < FRAME_HEADER_BYTES + 5; len++)
        assert_int_equal(frame_parse(bytes, len, &frame, &used, &err), 0);
    assert_int_equal(frame_parse(bytes, sizeof bytes, &frame, &used, &err), 1);
    assert_int_equal(used, FRAME_HEADER_BYTES + 5);
    assert_int_equal(frame.type, FRAME_CONTROL);
    assert_memory_equal(frame.payload, "hello", 5);
    assert_int_equal(frame_parse(bytes + used, sizeof bytes - used, &frame, &used, &err), 1);
    assert_int_equal(frame.len, 0);
}

static void garbage_is_refused_at_once(void **unused)
{
    (void)unused;
    struct frame frame;
    struct err err;
    size_t used;
    assert_int_equal(frame_parse("\0\0\0\1X", 5, &frame, &used, &err), ERR_PROTOCOL);
    assert_non_null(strstr(err.text, "unknown type 0x58"));
    assert_int_equal(frame_parse("\377\377\377\377J", 5, &frame, &used, &err), ERR_PROTOCOL);
    assert_non_null(strstr(err.text, "at most"));
    unsigned char header[FRAME_HEADER_BYTES];
    frame_header(FRAME_DATA, FRAME_DATA_MAX + 1, header);
    assert_int_equal(frame_parse((char *)header, 5, &frame, &used, &err), ERR_PROTOCOL);
    frame_header(FRAME_DATA, FRAME_DATA_MAX, header);
    assert_int_equal(frame_parse((char *)header, 5, &frame, &used, &err), 0);
}

static void magic_is_found_behind_noise(void **unused)
{
    (void)unused;
    char bytes[64] = "Welcome!\n\x89"
                     "deploy";
    size_t noise = strlen(bytes);
    memcpy(bytes + noise, FRAME_MAGIC, FRAME_MAGIC_BYTES);
    assert_int_equal(sizeof FRAME_MAGIC - 1, FRAME_MAGIC_BYTES);
    for (size_t len = 0; len < noise + FRAME_MAGIC_BYTES; len++)
        assert_int_equal(frame_find_magic(bytes, len), 0);
    assert_int_equal(frame_find_magic(bytes, sizeof bytes), noise + FRAME_MAGIC_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_found_when_whole),
        cmocka_unit_test(garbage_is_refused_at_once),
        cmocka_unit_test(magic_is_found_behind_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
