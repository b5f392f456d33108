/* Folders of tests/data/config: input.ini, and in `expected` all that is said about it, line by
 * line: "error: ..." and "warning: ...", without the folder's name in front of file names.
 * With REWRITE=1 in the environment `expected` is written instead of compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "supervisor/plan/plan.h"

enum { TEXT_MAX = 64 * 1024, CASES_MIN = 100 };
static const char folder[] = "tests/data/config";

/* Appends `line`; the folder of the case becomes "." or, in front of a file, nothing. */
static void put_without(struct buf *out, const char *kind, const char *line, const char *prefix)
{
    size_t len = strlen(prefix) - strlen("/");
    char bare[PATH_MAX];

    snprintf(bare, sizeof(bare), "%.*s", (int)len, prefix);
    buf_puts(out, kind);
    for (const char *next; (next = strstr(line, bare));) {
        buf_put(out, line, (size_t)(next - line));
        line = next + len;
        if (*line == '/')
            line++;
        else
            buf_putc(out, '.');
    }
    buf_printf(out, "%s\n", line);
}

/* Loads the case and tells what was said; whether a plan came out goes to *ret_made. */
static void load(const char *path, const char *prefix, struct buf *said, bool *ret_made)
{
    char *environment[] = { "PATH=/usr/bin:/bin", "HOME=/root", NULL };
    struct err_list errors, warnings;
    struct plan_source source;

    err_list_init(&errors);
    err_list_init(&warnings);
    plan_source_read(path, environment, &source, &errors);
    size_t reading = errors.total;
    source.host = "host1";
    struct plan *plan = plan_make(&source, &errors, &warnings);
    *ret_made = plan != NULL && reading == 0;
    assert_int_equal(plan != NULL, errors.total == reading);
    for (size_t i = 0; i < errors.count; i++)
        put_without(said, "error: ", errors.lines[i], prefix);
    for (size_t i = 0; i < warnings.count; i++)
        put_without(said, "warning: ", warnings.lines[i], prefix);
    plan_free(plan);
    plan_source_free(&source);
    err_list_done(&errors);
    err_list_done(&warnings);
}

static void write_expected(const char *path, const struct buf *said)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_int_equal(fwrite(said->data, 1, said->len, file), said->len);
    assert_int_equal(fclose(file), 0);
}

static bool check_case(const char *name)
{
    char *root = realpath(folder, NULL), prefix[PATH_MAX], path[PATH_MAX + 16];
    struct buf said, expected;
    bool made, same = true;

    assert_non_null(root);
    assert_true(snprintf(prefix, sizeof(prefix), "%s/%s/", root, name) < PATH_MAX);
    free(root);
    buf_init(&said, TEXT_MAX);
    buf_init(&expected, TEXT_MAX);
    snprintf(path, sizeof(path), "%sinput.ini", prefix);
    load(path, prefix, &said, &made);
    snprintf(path, sizeof(path), "%sexpected", prefix);
    if (getenv("REWRITE"))
        write_expected(path, &said);
    else if (buf_read_file(&expected, AT_FDCWD, path) < 0 ||
             strcmp(buf_text(&expected), buf_text(&said)) != 0) {
        fprintf(stderr, "%s:\n--- expected\n%s--- but was\n%s", name, buf_text(&expected),
                buf_text(&said));
        same = false;
    }
    /* What is called fine loads, everything else does not. */
    if (made != (strncmp(name, "fine-", 5) == 0)) {
        fprintf(stderr, "%s: a plan was %s\n", name, made ? "made" : "refused");
        same = false;
    }
    buf_done(&said);
    buf_done(&expected);
    return same;
}

static void every_case_says_what_is_expected(void **state)
{
    DIR *dir = opendir(folder);
    size_t cases = 0, wrong = 0;
    struct dirent *entry;

    (void)state;
    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        if (*entry->d_name == '.')
            continue;
        cases++;
        wrong += !check_case(entry->d_name);
    }
    closedir(dir);
    assert_int_equal(wrong, 0);
    assert_true(cases >= CASES_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_case_says_what_is_expected) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
