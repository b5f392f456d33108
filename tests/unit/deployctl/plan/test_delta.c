/* test_delta.c - sums as text, matching, and programs that make the new content or are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "deployctl/plan/delta.h"

enum { LETTERS = 3, LONGEST = 5 };

/* A chunk is one letter here, and its sum is the letter. */
static void list_of(const char *letters, struct delta_list *list)
{
    *list = (struct delta_list){ 0 };
    for (; *letters; letters++) {
        unsigned char sum[DELTA_SUM_BYTES] = { 0, 0, (unsigned char)*letters };
        assert_int_equal(delta_list_add(list, sum, 1, 1000, NULL), 0);
    }
}

struct made {
    const char *old;
    char text[64];
    size_t len;
};

static int add_bytes(void *context, const void *data, size_t len, struct err *err)
{
    struct made *made = context;
    (void)err;
    memcpy(made->text + made->len, data, len);
    made->len += len;
    return 0;
}

static int add_copy(void *context, uint64_t index, uint64_t count, struct err *err)
{
    struct made *made = context;
    assert_true(count > 0 && index + count <= strlen(made->old));
    return add_bytes(context, made->old + index, (size_t)count, err);
}

static const struct delta_sink sink = { add_bytes, add_copy };

/* The program for `fresh` against `old`, run in pieces, makes `fresh`. */
static void check_pair(const char *fresh, const char *old)
{
    struct delta_list a, b;
    int64_t match[LONGEST];
    struct delta_index index, back;
    struct buf program;
    buf_init(&program, 1000);
    list_of(fresh, &a), list_of(old, &b);
    assert_int_equal(delta_index_init(&index, &b, NULL), 0);
    assert_int_equal(delta_index_init(&back, &a, NULL), 0);
    delta_match(&a, &index, match);
    for (size_t i = 0; i < a.count; i++) {
        unsigned char op[DELTA_OP_MAX];
        assert_int_equal(match[i] == DELTA_NONE, strchr(old, fresh[i]) == NULL);
        if (match[i] == DELTA_NONE) {
            buf_put(&program, op, delta_put_bytes(op, 1));
            buf_put(&program, &fresh[i], 1);
            continue;
        }
        assert_int_equal(old[match[i]], fresh[i]);
        /* It goes on where the one before was, if that is right. */
        if (i > 0 && match[i - 1] != DELTA_NONE && old[match[i - 1] + 1] == fresh[i])
            assert_int_equal(match[i], match[i - 1] + 1);
        buf_put(&program, op, delta_put_copy(op, (uint64_t)match[i], 1));
    }
    for (size_t i = 0; i < b.count; i++)
        assert_int_equal(delta_index_has(&back, &b.at[i]), strchr(fresh, old[i]) != NULL);
    for (size_t piece = 1; piece <= program.len; piece++) {
        struct made made = { .old = old };
        struct delta_reader reader = { 0 };
        for (size_t at = 0; at < program.len; at += piece) {
            size_t n = program.len - at < piece ? program.len - at : piece;
            assert_int_equal(delta_read(&reader, program.data + at, n, &sink, &made, NULL), 0);
        }
        assert_true(delta_ended(&reader));
        assert_int_equal(made.len, strlen(fresh));
        assert_memory_equal(made.text, fresh, made.len);
    }
    buf_done(&program);
    delta_index_done(&index), delta_index_done(&back);
    delta_list_done(&a), delta_list_done(&b);
}

/* All words up to a length, by number. */
static bool word(size_t number, char *ret)
{
    size_t len = 0;
    for (; number > 0; number /= LETTERS + 1) {
        if (number % (LETTERS + 1) == 0)
            return false;
        ret[len++] = (char)('a' + number % (LETTERS + 1) - 1);
    }
    ret[len] = '\0';
    return true;
}

static void every_pair_of_short_contents(void **unused)
{
    (void)unused;
    char fresh[LONGEST + 1], old[LONGEST + 1];
    size_t all = 1;
    for (int i = 0; i < 4; i++)
        all *= LETTERS + 1;
    for (size_t i = 0; i < all; i++)
        for (size_t k = 0; k < all; k++)
            if (word(i, fresh) && word(k, old))
                check_pair(fresh, old);
}

static void numbers_of_any_size(void **unused)
{
    (void)unused;
    unsigned char op[DELTA_OP_MAX];
    char old[64];
    memset(old, 'x', sizeof old - 1);
    old[sizeof old - 1] = '\0';
    for (uint64_t len = 1; len < (uint64_t)1 << 61; len = len * 3 + 1) {
        struct delta_reader reader = { 0 };
        struct made made = { .old = old };
        assert_true(delta_put_bytes(op, len) <= DELTA_OP_MAX);
        assert_int_equal(delta_read(&reader, op, delta_put_bytes(op, len), &sink, &made, NULL), 0);
        assert_true(reader.left == len);
        assert_false(delta_ended(&reader));
    }
}

static void refused(const void *program, size_t len)
{
    struct delta_reader reader = { 0 };
    struct made made = { .old = "abc" };
    struct err err;
    assert_int_equal(delta_read(&reader, program, len, &sink, &made, &err), ERR_CORRUPT);
}

static void programs_that_are_none(void **unused)
{
    (void)unused;
    refused("\0", 1);   /* no bytes */
    refused("\1\0", 2); /* no chunks */
    refused("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", 10);
    refused("\xff\xff\xff\xff\xff\xff\xff\xff\x7f\0", 10); /* chunks without end */
    refused("\3\xff\xff\xff\xff\x7f", 6);                  /* from far away */
    struct delta_reader reader = { 0 };
    struct made made = { .old = "abc" };
    assert_int_equal(delta_read(&reader, "\3", 1, &sink, &made, NULL), 0);
    assert_false(delta_ended(&reader)); /* cut off */
}

static void sums_as_text(void **unused)
{
    (void)unused;
    struct delta_list list, back = { 0 };
    struct buf text;
    struct err err;
    buf_init(&text, 1000);
    list_of("ab", &list);
    for (size_t i = 0; i < DELTA_SUM_BYTES; i++)
        list.at[1].sum[i] = (unsigned char)(255 - i);
    delta_list_text(&list, &text);
    assert_string_equal(buf_text(&text), "AABhAAAA//79/Pv6");
    assert_int_equal(delta_list_parse(buf_text(&text), 2, &back, &err), 0);
    assert_int_equal(back.count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_memory_equal(back.at[i].sum, list.at[i].sum, DELTA_SUM_BYTES);
    delta_list_done(&back);
    assert_int_equal(delta_list_parse(buf_text(&text), 1, &back, &err), ERR_LIMIT);
    delta_list_done(&back);
    const char *bad[] = { "A", "AABhAAA", "AABhAAA=", "AABh\nAAA", "AABhAAAAA" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(delta_list_parse(bad[i], 9, &back, &err), ERR_INVALID);
        delta_list_done(&back);
    }
    buf_done(&text);
    delta_list_done(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_of_short_contents),
        cmocka_unit_test(numbers_of_any_size),
        cmocka_unit_test(programs_that_are_none),
        cmocka_unit_test(sums_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
