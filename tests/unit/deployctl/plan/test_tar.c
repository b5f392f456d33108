#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "deployctl/plan/tar.h"

/* What was told, as text: "f a/b 3 644 [abc]", "d x 755", "l x -> y", "h x -> y". */
struct seen {
    struct buf text;
    char archive[64 * 1024];
    size_t len;
};

static int on_entry(void *context, const struct tar_entry *entry, struct err *err)
{
    struct seen *seen = context;
    (void)err;
    if (entry->kind == TAR_FILE)
        buf_printf(&seen->text, "f %s %llu %o [", entry->path, (unsigned long long)entry->size,
                   entry->mode);
    else if (entry->kind == TAR_FOLDER)
        buf_printf(&seen->text, "d %s %o\n", entry->path, entry->mode);
    else
        buf_printf(&seen->text, "%s %s -> %s\n", entry->kind == TAR_LINK ? "l" : "h", entry->path,
                   entry->target);
    return 0;
}

static int on_data(void *context, const void *data, size_t len, struct err *err)
{
    (void)err;
    buf_put(&((struct seen *)context)->text, data, len);
    return 0;
}

static int on_end(void *context, struct err *err)
{
    (void)err;
    buf_puts(&((struct seen *)context)->text, "]\n");
    return 0;
}

static const struct tar_events events = { on_entry, on_data, on_end };

static void begin(struct seen *seen)
{
    memset(seen, 0, sizeof *seen);
    buf_init(&seen->text, sizeof seen->archive);
}

static void put_sum(char *block)
{
    unsigned sum = 0;
    memset(block + 148, ' ', 8);
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += (unsigned char)block[i];
    snprintf(block + 148, 8, "%06o", sum);
}

static char *put(struct seen *seen, char type, const char *name, const char *body)
{
    char *block = seen->archive + seen->len;
    size_t size = strlen(body);
    strncpy(block, name, 100);
    snprintf(block + 100, 8, "%07o", type == '5' ? 0755 : 0644);
    snprintf(block + 124, 12, "%011o", (unsigned)size);
    block[156] = type;
    memcpy(block + 257, "ustar\00000", 8);
    put_sum(block);
    memcpy(block + TAR_BLOCK, body, size);
    seen->len += TAR_BLOCK + (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
    return block;
}

static void put_link(struct seen *seen, char type, const char *name, const char *target)
{
    char *block = put(seen, type, name, "");
    strncpy(block + 157, target, 100);
    put_sum(block);
}

static int feed(struct seen *seen, size_t piece, struct err *err)
{
    struct tar tar;
    int rc = 0;
    tar_init(&tar, &events, seen);
    for (size_t at = 0; rc == 0 && at < seen->len; at += piece)
        rc =
            tar_add(&tar, seen->archive + at, seen->len - at < piece ? seen->len - at : piece, err);
    if (rc == 0)
        rc = tar_finish(&tar, err);
    tar_done(&tar);
    return rc;
}

static void end(struct seen *seen) { seen->len += 2 * TAR_BLOCK; }

static void entries_come_whatever_the_pieces(void **state)
{
    static const size_t pieces[] = { 1, 7, 511, 512, 513, 100000 };
    (void)state;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct seen seen;
        struct err err;
        begin(&seen);
        put(&seen, '5', "./", "");
        put(&seen, '5', "./lib/", "");
        put(&seen, '0', "./lib//a", "abc");
        put(&seen, '0', "empty", "");
        put_link(&seen, '2', "l", "../x");
        put_link(&seen, '1', "h", "./lib/a");
        put(&seen, '0', "old/", "");
        end(&seen);
        assert_int_equal(feed(&seen, pieces[i], &err), 0);
        assert_string_equal(buf_text(&seen.text), "d lib 755\nf lib/a 3 644 [abc]\n"
                                                  "f empty 0 644 []\nl l -> ../x\nh h -> lib/a\n"
                                                  "d old 644\n");
        buf_done(&seen.text);
    }
}

static void long_names_come_in_both_dialects(void **state)
{
    struct seen seen;
    struct err err;
    char name[300];

    (void)state;
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    begin(&seen);
    char record[400];
    snprintf(record, sizeof record, "%d path=%s\n", (int)(strlen("309 path=\n") + 299), name);
    put(&seen, 'g', "global", "18 comment=nothing\n");
    put(&seen, 'x', "pax", record);
    put(&seen, '0', "short", "1");
    put(&seen, 'L', "././@LongLink", name);
    put(&seen, '0', "short", "2");
    put(&seen, 'K', "././@LongLink", name);
    put_link(&seen, '2', "l", "short");
    put(&seen, '0', "after", "");
    char *block = put(&seen, '0', "tail", "");
    memcpy(block + 345, "head", 4);
    put_sum(block);
    end(&seen);
    assert_int_equal(feed(&seen, 1000, &err), 0);
    char expected[2000];
    snprintf(expected, sizeof expected,
             "f %s 1 644 [1]\nf %s 1 644 [2]\nl l -> %s\nf after 0 644 []\nf head/tail 0 644 []\n",
             name, name, name);
    assert_string_equal(buf_text(&seen.text), expected);
    buf_done(&seen.text);
}

static void expect(void (*make)(struct seen *seen), const char *error)
{
    struct seen seen;
    struct err err;
    begin(&seen);
    make(&seen);
    if (feed(&seen, 512, &err) == 0 || !strstr(err.text, error))
        fail_msg("expected: %s; was: %s", error, err.text);
    buf_done(&seen.text);
}

static void cut(struct seen *seen) { put(seen, '0', "a", "abc"); }
static void cut_inside(struct seen *seen)
{
    put(seen, '0', "a", "abc");
    seen->len -= 300;
}
static void absolute(struct seen *seen) { put(seen, '0', "/etc/passwd", ""); }
static void outside(struct seen *seen) { put(seen, '0', "a/../../b", ""); }
static void outside_hard(struct seen *seen) { put_link(seen, '1', "a", "../b"); }
static void device(struct seen *seen) { put(seen, '3', "dev", ""); }
static void fifo(struct seen *seen) { put(seen, '6', "pipe", ""); }
static void sparse(struct seen *seen) { put(seen, 'S', "holes", ""); }
static void sparse_pax(struct seen *seen) { put(seen, 'x', "p", "22 GNU.sparse.major=1\n"); }
static void unknown(struct seen *seen) { put(seen, 'Z', "what", ""); }
static void damaged(struct seen *seen) { put(seen, '0', "a", "")[0] = 'b'; }
static void text(struct seen *seen)
{
    memset(seen->archive, 'x', TAR_BLOCK);
    seen->len = TAR_BLOCK;
}
static void bad_pax(struct seen *seen) { put(seen, 'x', "p", "99 path=a\n"); }
static void bad_pax_length(struct seen *seen) { put(seen, 'x', "p", "path=a\n"); }
static void full_folder(struct seen *seen) { put(seen, '5', "d", "abc"); }
static void nameless(struct seen *seen) { put(seen, '0', ".", "abc"); }
static void size_in_letters(struct seen *seen)
{
    char *block = put(seen, '0', "a", "");
    memcpy(block + 124, "zzz", 3);
    put_sum(block);
}
static void large_header(struct seen *seen)
{
    char *block = put(seen, 'x', "a", "");
    memcpy(block + 124, "77777777777", 11);
    put_sum(block);
}

static void what_is_wrong_is_told(void **state)
{
    (void)state;
    expect(cut, "cut off");
    expect(cut_inside, "cut off");
    expect(absolute, "/etc/passwd: the name is absolute");
    expect(outside, "has .. in it");
    expect(outside_hard, "has .. in it");
    expect(device, "dev is a device");
    expect(fifo, "pipe is a FIFO");
    expect(sparse, "holes is a sparse file");
    expect(sparse_pax, "sparse");
    expect(unknown, "of an unknown kind");
    expect(damaged, "not a tar archive, or damaged");
    expect(text, "not a tar archive");
    expect(bad_pax, "a pax header is damaged");
    expect(bad_pax_length, "a pax header is damaged");
    expect(full_folder, "d has contents");
    expect(nameless, "has no name");
    expect(size_in_letters, "size is damaged");
    expect(large_header, "a header of more than");
}

#define TEST(name) cmocka_unit_test(name)
int main(void)
{
    const struct CMUnitTest tests[] = { TEST(entries_come_whatever_the_pieces),
                                        TEST(long_names_come_in_both_dialects),
                                        TEST(what_is_wrong_is_told) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
