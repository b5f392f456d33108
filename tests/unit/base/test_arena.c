/* test_arena.c - memory is zeroed, aligned, and overflow is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"

static void pieces_are_zeroed_aligned_and_apart(void **unused)
{
    struct arena arena;
    unsigned char *pieces[500];

    (void)unused;
    arena_init(&arena);
    for (size_t i = 0; i < 500; i++) {
        size_t size = i * 37 % 5000;
        pieces[i] = arena_alloc(&arena, size);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
        for (size_t n = 0; n < size; n++)
            assert_int_equal(pieces[i][n], 0);
        memset(pieces[i], (int)(i % 255) + 1, size);
    }
    for (size_t i = 0; i < 500; i++)
        for (size_t n = 0; n < i * 37 % 5000; n++)
            assert_int_equal(pieces[i][n], i % 255 + 1);
    assert_false(arena.failed);
    arena_done(&arena);
    arena_done(&arena);
}

static void impossible_sizes_are_refused(void **unused)
{
    struct arena arena;

    (void)unused;
    arena_init(&arena);
    assert_null(arena_array(&arena, SIZE_MAX / 2, 3));
    assert_true(arena.failed);
    arena.failed = false;
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_true(arena.failed);
    assert_non_null(arena_alloc(&arena, 0));
    arena_done(&arena);
    assert_false(arena.failed);
}

static void texts_are_copied(void **unused)
{
    struct arena arena;

    (void)unused;
    arena_init(&arena);
    assert_string_equal(arena_strdup(&arena, "abc"), "abc");
    assert_string_equal(arena_strndup(&arena, "abcdef", 3), "abc");
    assert_string_equal(arena_strndup(&arena, "ab", 30), "ab");
    assert_string_equal(arena_printf(&arena, "%s-%d", "x", 5), "x-5");
    arena_done(&arena);
}

static void equal_contents_have_one_copy(void **unused)
{
    struct arena arena;
    const char *texts[1000];
    char text[16];

    (void)unused;
    arena_init(&arena);
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof(text), "text %d", i);
        texts[i] = arena_share_text(&arena, text);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof(text), "text %d", i);
        assert_string_equal(texts[i], text);
        assert_ptr_equal(arena_share_text(&arena, text), texts[i]);
    }
    /* A struct is aligned, whatever text has the same bytes. */
    const uint64_t bytes = 0x0041414141414141;
    const char *twin = arena_share_text(&arena, "AAAAAAA");
    const uint64_t *shared = arena_share(&arena, &bytes, sizeof(bytes));
    assert_int_equal((uintptr_t)shared % _Alignof(max_align_t), 0);
    assert_ptr_equal(arena_share(&arena, &bytes, sizeof(bytes)), shared);
    assert_ptr_equal(arena_share_text(&arena, "AAAAAAA"), twin);
    assert_non_null(arena_share(&arena, "", 0));
    arena_settle(&arena);
    assert_string_equal(texts[999], "text 999");
    assert_string_equal(arena_share_text(&arena, "text 999"), "text 999");
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_zeroed_aligned_and_apart),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(texts_are_copied),
        cmocka_unit_test(equal_contents_have_one_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
