/* test_buf.c - a buffer never passes its maximum and never loses what it had. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"

static void texts_grow(void **unused)
{
    struct buf buf;

    (void)unused;
    buf_init(&buf, 10000);
    assert_string_equal(buf_text(&buf), "");
    for (int i = 0; i < 1000; i++) {
        buf_puts(&buf, "ab");
        buf_putc(&buf, 'c');
        assert_int_equal(buf.data[buf.len], '\0');
    }
    assert_int_equal(buf.len, 3000);
    buf_printf(&buf, "%d-%s", 42, "x");
    assert_string_equal(buf.data + 3000, "42-x");
    buf_consume(&buf, 2999);
    assert_string_equal(buf_text(&buf), "c42-x");
    buf_consume(&buf, 100);
    assert_string_equal(buf_text(&buf), "");
    assert_false(buf.failed);
    buf_done(&buf);
    buf_done(&buf);
    buf_consume(&buf, 1);
}

static void the_maximum_holds_exactly(void **unused)
{
    struct buf buf;

    (void)unused;
    for (size_t max = 0; max < 200; max++) {
        buf_init(&buf, max);
        for (size_t i = 0; i < max; i++)
            buf_putc(&buf, 'x');
        assert_false(buf.failed);
        assert_int_equal(buf.len, max);
        buf_putc(&buf, 'y');
        assert_true(buf.failed);
        assert_int_equal(buf.len, max);
        buf_consume(&buf, max);
        buf_puts(&buf, ""); /* stays failed until cleared */
        assert_true(buf.failed);
        buf_clear(&buf);
        buf_puts(&buf, max > 2 ? "ok" : "");
        assert_string_equal(buf_text(&buf), max > 2 ? "ok" : "");
        buf_done(&buf);
    }
}

static void what_does_not_fit_is_left_out_whole(void **unused)
{
    struct buf buf;

    (void)unused;
    buf_init(&buf, 8);
    buf_puts(&buf, "123456");
    buf_printf(&buf, "%s", "789");
    assert_true(buf.failed);
    buf_puts(&buf, "7");
    assert_string_equal(buf_text(&buf), "123456");
    assert_false(buf_reserve(&buf, 1));
    buf_clear(&buf);
    assert_true(buf_reserve(&buf, 8));
    assert_false(buf_reserve(&buf, SIZE_MAX));
    buf_done(&buf);
}

static void taken_text_belongs_to_the_taker(void **unused)
{
    struct buf buf;

    (void)unused;
    buf_init(&buf, 100);
    char *empty = buf_take(&buf);
    assert_string_equal(empty, "");
    buf_puts(&buf, "text");
    char *text = buf_take(&buf);
    buf_puts(&buf, "next");
    assert_string_equal(text, "text");
    assert_string_equal(buf_text(&buf), "next");
    free(empty);
    free(text);
    buf_done(&buf);
}

static void wrapping_keeps_to_the_columns(void **unused)
{
    struct buf buf, text;

    (void)unused;
    buf_init(&text, 10000);
    for (int i = 1; i < 100; i++)
        buf_printf(&text, "%s%.*s", i % 3 ? " " : " \n ", i % 11 + 1, "abcdefghijklmnop");
    buf_init(&buf, 10000);
    buf_wrap(&buf, buf_text(&text), 10, "    ");
    size_t lines = 0;
    for (const char *at = buf.data; *at; lines++) {
        size_t len = strcspn(at, "\n");
        assert_true(len + (lines == 0 ? 10 : 0) <= BUF_COLUMNS);
        assert_true(len + (lines == 0 ? 10 : 0) > BUF_COLUMNS - 13 || at[len + 1] == '\0');
        assert_int_equal(strncmp(at, "    ", 4) == 0, lines > 0);
        at += len + 1;
    }
    assert_true(lines > 5);
    buf_clear(&buf);
    buf_wrap(&buf, "", 0, "");
    assert_string_equal(buf_text(&buf), "\n");
    buf_done(&buf);
    buf_done(&text);
}

static void files_are_read_up_to_the_maximum(void **unused)
{
    char folder[] = "/tmp/test-buf-XXXXXX";
    struct buf buf;

    (void)unused;
    assert_non_null(mkdtemp(folder));
    AUTO_CLOSE int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_CLOSE int fd = openat(dir, "f", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    char *data = calloc(1, 50000);
    memset(data, 'x', 50000);
    assert_int_equal(write(fd, data, 50000), 50000);
    assert_int_equal(mkfifoat(dir, "p", 0600), 0);

    buf_init(&buf, 50000);
    assert_int_equal(buf_read_file(&buf, dir, "f"), 0);
    assert_int_equal(buf.len, 50000);
    assert_memory_equal(buf.data, data, 50000);
    buf_done(&buf);
    buf_init(&buf, 49999);
    assert_int_equal(buf_read_file(&buf, dir, "f"), -EFBIG);
    assert_true(buf.failed);
    buf_clear(&buf);
    assert_int_equal(buf_read_file(&buf, dir, "missing"), -ENOENT);
    assert_int_equal(buf_read_file(&buf, dir, "."), -EISDIR);
    assert_int_equal(buf_read_file(&buf, dir, "p"), -EINVAL);
    assert_int_equal(buf_read_file(&buf, dir, "/dev/null"), 0);
    buf_done(&buf);

    free(data);
    unlinkat(dir, "f", 0);
    unlinkat(dir, "p", 0);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_grow),
        cmocka_unit_test(the_maximum_holds_exactly),
        cmocka_unit_test(what_does_not_fit_is_left_out_whole),
        cmocka_unit_test(taken_text_belongs_to_the_taker),
        cmocka_unit_test(wrapping_keeps_to_the_columns),
        cmocka_unit_test(files_are_read_up_to_the_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
