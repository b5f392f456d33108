/* test_journal.c - lines survive, torn and damaged ones do no harm, memory outlives rotation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deployctl/agent/journal.h"
#include "io/durable.h"
#include "io/jsonx.h"

static int meta = -1;
static char folder[] = "/tmp/test-journal-XXXXXX";

static int setup(void **unused)
{
    (void)unused;
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    meta = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return meta < 0;
}

static int teardown(void **unused)
{
    (void)unused;
    close(meta);
    int above = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int rc = durable_remove_tree(above, strrchr(folder, '/') + 1, NULL);
    close(above);
    return rc;
}

static void mark(struct journal *journal, char digit, const char *verdict)
{
    char digest[MANIFEST_HEX_MAX];
    struct err err;
    memset(digest, digit, sizeof digest - 1);
    digest[sizeof digest - 1] = '\0';
    json_t *line = json_pack("{s:s,s:s,s:s,s:s}", "act", "mark", "digest", digest, "verdict",
                             verdict, "reason", "because");
    assert_int_equal(journal_append(journal, line, &err), 0);
    json_decref(line);
}

static const struct journal_mark *find(const struct journal *journal, char digit)
{
    char digest[MANIFEST_HEX_MAX];
    memset(digest, digit, sizeof digest - 1);
    digest[sizeof digest - 1] = '\0';
    return journal_find(journal, digest);
}

static off_t size_of(const char *name)
{
    struct stat st;
    return fstatat(meta, name, &st, 0) < 0 ? -1 : st.st_size;
}

static void append_raw(const char *text)
{
    int fd = openat(meta, "journal", O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void an_empty_one_is_fine(void **unused)
{
    (void)unused;
    struct journal journal;
    struct err err;
    journal_init(&journal);
    assert_int_equal(journal_read(&journal, meta, &err), 0);
    assert_int_equal(journal.next, 1);
    assert_int_equal(size_of("journal"), -1);
    json_t *line = json_object();
    assert_int_equal(journal_append(&journal, line, &err), ERR_STATE); /* not opened */
    json_decref(line);
    journal_done(&journal);
}

static void the_last_word_counts(void **unused)
{
    (void)unused;
    struct journal journal;
    struct err err;
    journal_init(&journal);
    assert_int_equal(journal_open(&journal, meta, &err), 0);
    mark(&journal, 'a', "good");
    mark(&journal, 'b', "good");
    mark(&journal, 'a', "bad");
    for (int again = 0; again < 2; again++) {
        assert_true(find(&journal, 'a')->bad);
        assert_string_equal(find(&journal, 'a')->reason, "because");
        assert_false(find(&journal, 'b')->bad);
        assert_null(find(&journal, 'c'));
        assert_int_equal(journal.next, 4);
        assert_int_equal(journal_open(&journal, meta, &err), 0);
    }
    journal_done(&journal);
}

static void torn_is_cut_damaged_is_kept(void **unused)
{
    (void)unused;
    struct journal journal;
    struct err err;
    journal_init(&journal);
    assert_int_equal(journal_open(&journal, meta, &err), 0);
    mark(&journal, 'a', "good");
    append_raw("{\"n\":2,\"act\":\"mark\",\"crc32\":\"00000000\"}\n\n\0{{\n");
    append_raw("not json at all\n{\"n\":7,\"act\":\"ma");
    off_t torn = size_of("journal");
    assert_int_equal(journal_read(&journal, meta, &err), 0);
    assert_int_equal(size_of("journal"), torn); /* reading changes nothing */
    assert_int_equal(journal.damaged, 3);
    assert_true(journal.torn > 0);
    assert_int_equal(journal_open(&journal, meta, &err), 0);
    assert_int_equal(size_of("journal"), torn - (off_t)strlen("{\"n\":7,\"act\":\"ma"));
    mark(&journal, 'b', "good");
    assert_int_equal(journal_open(&journal, meta, &err), 0);
    assert_int_equal(journal.damaged, 3);
    assert_non_null(find(&journal, 'a'));
    assert_non_null(find(&journal, 'b'));
    json_t *lines = journal_history(&journal, meta, 10);
    assert_int_equal(json_array_size(lines), 2);
    assert_int_equal(jsonx_int(json_array_get(lines, 0), "n", 0), 2);
    json_decref(lines);
    journal_done(&journal);
}

static void rotation_keeps_the_memory(void **unused)
{
    (void)unused;
    struct journal journal;
    struct err err;
    char filler[8000];
    memset(filler, 'x', sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    json_t *line = json_pack("{s:s,s:s}", "act", "filler", "text", filler);
    journal_init(&journal);
    assert_int_equal(journal_open(&journal, meta, &err), 0);
    mark(&journal, 'a', "bad");
    uint64_t n = journal.next;
    for (int i = 0; i < 2 * JOURNAL_MAX / 8000 + 10; i++, n++)
        assert_int_equal(journal_append(&journal, line, &err), 0);
    json_decref(line);
    assert_true(journal.next > n); /* the snapshots have numbers, too */
    assert_true(size_of("journal") < JOURNAL_MAX);
    assert_true(size_of("journal.1") > JOURNAL_MAX);
    assert_true(find(&journal, 'a')->bad);
    assert_int_equal(journal_open(&journal, meta, &err), 0);
    assert_true(find(&journal, 'a')->bad);
    assert_int_equal(find(&journal, 'a')->n, 1);
    journal_done(&journal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_one_is_fine, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_word_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(torn_is_cut_damaged_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(rotation_keeps_the_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
