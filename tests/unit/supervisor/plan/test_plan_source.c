#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/supervisor/plan/plan_fixture.h"

struct scene {
    char folder[256];
    struct err_list errors;
    struct plan_source source;
};

static int make_folder(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));

    if (!s)
        return -1;
    strcpy(s->folder, "/tmp/test_plan_source_XXXXXX");
    err_list_init(&s->errors);
    *state = s;
    return mkdtemp(s->folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static int remove_folder(void **state)
{
    struct scene *s = *state;

    nftw(s->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    plan_source_free(&s->source);
    err_list_done(&s->errors);
    free(s);
    return 0;
}

static void put(const struct scene *s, const char *name, const char *text)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", s->folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int take(struct scene *s, const char *name)
{
    char *environment[] = { "CONF=conf", NULL };
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s%s%s", s->folder, *name ? "/" : "", name);
    return plan_source_read(path, environment, &s->source, &s->errors);
}

/* Names of the files read, without the folder. */
static const char *names(const struct scene *s, char text[static 512])
{
    *text = '\0';
    for (size_t i = 0; i < s->source.nfiles; i++) {
        assert_int_equal(strncmp(s->source.files[i].path, s->folder, strlen(s->folder)), 0);
        strncat(text, s->source.files[i].path + strlen(s->folder) + 1, 511 - strlen(text));
        strncat(text, " ", 511 - strlen(text));
    }
    return text;
}

static void folders_are_read_in_order(void **state)
{
    struct scene *s = *state;
    char text[512], path[PATH_MAX];

    put(s, "b.conf", "");
    put(s, "a.ini", "");
    put(s, "c.ini~", "");
    put(s, ".hidden.ini", "");
    put(s, "readme", "");
    snprintf(path, sizeof(path), "%s/sub.ini", s->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(take(s, ""), 0);
    assert_string_equal(names(s, text), "a.ini b.conf ");
}

static void includes_are_followed_once(void **state)
{
    struct scene *s = *state;
    char text[512];

    put(s, "main.ini",
        "[supervisor]\ninclude = b*.ini %(here)s/c.ini\n[include]\n"
        "files = %(ENV_CONF)s.* none.*\n");
    /* As in supervisord an [include] counts only where it was not included itself. */
    put(s, "b2.ini", "[include]\nfiles = e.ini\n[supervisor]\ninclude = main.ini d.ini\n");
    put(s, "e.ini", "");
    put(s, "b1.ini", "");
    put(s, "c.ini", "");
    put(s, "d.ini", "");
    put(s, "conf.x", "");
    assert_int_equal(take(s, "main.ini"), 0);
    assert_string_equal(names(s, text), "main.ini b1.ini b2.ini c.ini conf.x d.ini ");
    assert_string_equal(s->source.environment[0], "CONF=conf");
}

static void files_that_cannot_be_read_are_errors(void **state)
{
    struct scene *s = *state;
    char line[PATH_MAX], path[PATH_MAX];

    assert_int_equal(take(s, "gone.ini"), ERR_INVALID);
    snprintf(line, sizeof(line), "cannot read %s/gone.ini: No such file or directory", s->folder);
    assert_string_equal(s->errors.lines[0], line);
    plan_source_free(&s->source);
    put(s, "main.ini", "\n[supervisor]\ninclude = gone.ini fifo\n");
    snprintf(path, sizeof(path), "%s/fifo", s->folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(take(s, "main.ini"), ERR_INVALID);
    assert_int_equal(s->errors.total, 3);
    snprintf(line, sizeof(line), "%s/main.ini:3: [supervisor] include: there is no %s/gone.ini",
             s->folder, s->folder);
    assert_string_equal(s->errors.lines[1], line);
    assert_non_null(strstr(s->errors.lines[2], "cannot read"));
}

static void an_empty_folder_is_an_error(void **state)
{
    struct scene *s = *state;

    assert_int_equal(take(s, ""), ERR_INVALID);
    assert_non_null(strstr(s->errors.lines[0], "has no *.ini or *.conf file"));
}

static void nul_bytes_are_kept_for_the_parser(void **state)
{
    struct scene *s = *state;
    struct err_list warnings;
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/x.ini", s->folder);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fwrite("[service:a]\ncommand = a\0b\n", 1, 26, file);
    fclose(file);
    assert_int_equal(take(s, "x.ini"), 0);
    assert_int_equal(s->source.files[0].len, 26);
    err_list_init(&warnings);
    assert_null(plan_make(&s->source, &s->errors, &warnings));
    assert_non_null(strstr(s->errors.lines[s->errors.count - 1], "x.ini:2: "));
    err_list_done(&warnings);
}

static void check_equal(const struct plan_source *a, const struct plan_source *b)
{
    assert_string_equal(a->config, b->config);
    assert_string_equal(a->host, b->host);
    assert_int_equal(a->nfiles, b->nfiles);
    for (size_t i = 0; i < a->nfiles; i++) {
        assert_string_equal(a->files[i].path, b->files[i].path);
        assert_int_equal(a->files[i].len, b->files[i].len);
        assert_memory_equal(a->files[i].text, b->files[i].text, a->files[i].len);
    }
    for (size_t i = 0; a->environment[i] || b->environment[i]; i++)
        assert_string_equal(a->environment[i], b->environment[i]);
    assert_int_equal(a->nscales, b->nscales);
    for (size_t i = 0; i < a->nscales; i++) {
        assert_string_equal(a->scales[i].service, b->scales[i].service);
        assert_int_equal(a->scales[i].count, b->scales[i].count);
    }
}

static void packed_sources_come_back(void **state)
{
    struct scene *s = *state;
    struct plan_source back;
    struct buf bytes;
    struct err err;

    put(s, "a.ini", "[service:a]\ncommand = a\n");
    put(s, "b.ini", "");
    assert_int_equal(take(s, ""), 0);
    assert_true(plan_source_scale(&s->source, "a", 7));
    buf_init(&bytes, PLAN_SOURCE_MAX);
    assert_true(plan_source_pack(&s->source, &bytes));
    assert_int_equal(plan_source_unpack(bytes.data, bytes.len, &back, &err), 0);
    check_equal(&s->source, &back);
    plan_source_free(&back);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(plan_source_unpack(bytes.data, len, &back, &err), ERR_CORRUPT);
    for (size_t i = 0; i < bytes.len; i++) {
        bytes.data[i] ^= 0x20;
        assert_int_equal(plan_source_unpack(bytes.data, bytes.len, &back, &err), ERR_CORRUPT);
        bytes.data[i] ^= 0x20;
    }
    buf_done(&bytes);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(folders_are_read_in_order),
        TEST(includes_are_followed_once),
        TEST(files_that_cannot_be_read_are_errors),
        TEST(an_empty_folder_is_an_error),
        TEST(nul_bytes_are_kept_for_the_parser),
        TEST(packed_sources_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
