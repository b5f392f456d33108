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

#include "supervisor/host/filesum.h"

static char folder[64];

static void put(const char *name, const char *text)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static const char *cut; /* of the last */

static uint32_t sum_of(const char *pattern)
{
    char path[128];
    char *patterns[] = { path, NULL };

    snprintf(path, sizeof path, "%s/%s", folder, pattern);
    return filesum(patterns, &cut);
}

static void contents_and_names_count(void **state)
{
    (void)state;
    uint32_t nothing = sum_of("*.conf");
    assert_int_not_equal(nothing, 0);
    put("a.conf", "one\n");
    uint32_t one = sum_of("*.conf");
    assert_int_not_equal(one, nothing);
    put("a.conf", "one\n"); /* written again: another time, the same contents */
    put("b.other", "x");
    assert_int_equal(sum_of("*.conf"), one);
    put("a.conf", "two\n");
    assert_int_not_equal(sum_of("*.conf"), one);
    put("a.conf", "one\n");
    put("b.conf", "");
    assert_int_not_equal(sum_of("*.conf"), one);
    char from[128], to[128];
    snprintf(from, sizeof from, "%s/b.conf", folder);
    assert_int_equal(unlink(from), 0);
    assert_int_equal(sum_of("*.conf"), one);
    snprintf(from, sizeof from, "%s/a.conf", folder);
    snprintf(to, sizeof to, "%s/c.conf", folder);
    assert_int_equal(rename(from, to), 0);
    assert_int_not_equal(sum_of("*.conf"), one);
}

/* A FIFO without a writer must not hold anybody, a folder and what is missing are nothing. */
static void only_files_are_read(void **state)
{
    char path[128];

    (void)state;
    uint32_t before = sum_of("*.odd");
    snprintf(path, sizeof path, "%s/fifo.odd", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(path, sizeof path, "%s/dir.odd", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(sum_of("*.odd"), before);
}

/* Of both only the time counts: the first takes what may be read at all. */
static void not_more_than_so_much_is_read(void **state)
{
    char path[128];

    (void)state;
    for (const char *name = "ab"; *name; name++) {
        snprintf(path, sizeof path, "%s/%c.long", folder, *name);
        put(path + strlen(folder) + 1, "");
        assert_int_equal(truncate(path, FILESUM_BYTES_MAX), 0);
    }
    uint32_t before = sum_of("*.long");
    const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_int_not_equal(sum_of("*.long"), before);
}

/* It says that it is empty, and has a page of numbers for each GB of addresses: hours of reading.
 */
static void a_file_without_an_end(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/endless", folder);
    assert_int_equal(symlink("/proc/self/pagemap", path), 0);
    alarm(30); /* ends us */
    (void)sum_of("endless");
    alarm(0);
}

/* In the order of their names, whatever the folder says; and wildcards in folders, too. */
static void folders_with_wildcards(void **state)
{
    char path[160];

    (void)state;
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/d%d", folder, i);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(path, sizeof path, "d%d/x.ini", i);
        put(path, "one");
    }
    uint32_t all = sum_of("d*/*.ini"), two = sum_of("d[12]//x.ini");
    assert_int_not_equal(all, two);
    assert_int_equal(sum_of("d?/x.ini"), all);
    assert_int_equal(sum_of("d*/../d0/x.ini"), sum_of("d*/../d0/x.ini"));
    assert_int_equal(sum_of("*/.*"), sum_of("nothing"));
    put("d2/x.ini", "two");
    assert_int_not_equal(sum_of("d*/*.ini"), all);
    assert_null(cut);
}

static void what_is_too_much_is_told(void **state)
{
    char name[64], path[160];

    (void)state;
    snprintf(path, sizeof path, "%s/many", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    for (int i = 0; i < FILESUM_FILES_MAX; i++) {
        snprintf(name, sizeof name, "many/%04d", i);
        put(name, "");
    }
    (void)sum_of("many/*");
    assert_null(cut);
    put("many/beyond", "");
    (void)sum_of("many/*");
    assert_non_null(strstr(cut, "more than 1024 files"));
    (void)sum_of("many/0*");
    assert_null(cut);
    /* Each of a thousand names leads to a thousand others, of which none fits. */
    (void)sum_of("many/*/../*/../*/x");
    assert_null(cut); /* they are files */
    for (int i = 0; i < 300; i++) {
        snprintf(path, sizeof path, "%s/many/d%03d", folder, i);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    alarm(60); /* ends us */
    (void)sum_of("many/d*/../d*/../d*/../d*/../d*/../d*/x");
    alarm(0);
    assert_non_null(strstr(cut, "more than 65536 names"));
    put("big", "x");
    snprintf(path, sizeof path, "%s/big", folder);
    assert_int_equal(truncate(path, FILESUM_BYTES_MAX + 1), 0);
    (void)sum_of("big");
    assert_non_null(strstr(cut, "16 MiB"));
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/filesum-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command); /* NOLINT(cert-env33-c): a test */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contents_and_names_count),      cmocka_unit_test(only_files_are_read),
        cmocka_unit_test(not_more_than_so_much_is_read), cmocka_unit_test(a_file_without_an_end),
        cmocka_unit_test(folders_with_wildcards),        cmocka_unit_test(what_is_too_much_is_told)
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
