/* The end of a log, and following it across rotation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/cli/tail.h"

struct place {
    char folder[64], path[96], moved[96];
    char *printed;
    size_t len;
    FILE *to;
};

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);

    strcpy(place->folder, "/tmp/test-tail-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    snprintf(place->path, sizeof place->path, "%s/web.log", place->folder);
    snprintf(place->moved, sizeof place->moved, "%s/web.log.1", place->folder);
    place->to = open_memstream(&place->printed, &place->len);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;

    unlink(place->path);
    unlink(place->moved);
    assert_int_equal(rmdir(place->folder), 0);
    fclose(place->to);
    free(place->printed);
    free(place);
    return 0;
}

static void add(const struct place *place, const char *text)
{
    FILE *file = fopen(place->path, "a");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* What was printed since the last time. */
static void expect(struct place *place, struct tail *tail, const char *wanted)
{
    struct err err = { 0 };

    assert_int_equal(tail_print(tail, place->to, &err), 0);
    fflush(place->to);
    assert_string_equal(place->printed ? place->printed : "", wanted);
    fclose(place->to);
    free(place->printed);
    place->printed = NULL;
    place->to = open_memstream(&place->printed, &place->len);
}

static off_t start_of(const struct place *place, uint64_t lines)
{
    int fd = open(place->path, O_RDONLY);
    off_t at = tail_start(fd, lines);

    close(fd);
    return at;
}

static void finds_the_last_lines(void **state)
{
    struct place *place = *state;

    add(place, "");
    assert_int_equal(start_of(place, 10), 0);
    add(place, "one\ntwo\nthree\n");
    assert_int_equal(start_of(place, 0), 14);
    assert_int_equal(start_of(place, 1), 8);
    assert_int_equal(start_of(place, 2), 4);
    assert_int_equal(start_of(place, 3), 0);
    assert_int_equal(start_of(place, 99), 0);
    add(place, "half");
    assert_int_equal(start_of(place, 1), 14);
    assert_int_equal(start_of(place, 2), 8);
}

static void finds_them_in_a_large_file(void **state)
{
    struct place *place = *state;
    char line[32];
    FILE *file = fopen(place->path, "w");

    for (int i = 0; i < 10000; i++)
        fprintf(file, "line %06d\n", i);
    fclose(file);
    struct tail tail;
    struct err err = { 0 };
    assert_int_equal(tail_open(&tail, place->path, NULL, 5000, &err), 0);
    assert_int_equal(tail.at, 5000 * 12);
    snprintf(line, sizeof line, "line %06d\n", 5000);
    assert_int_equal(tail_print(&tail, place->to, &err), 0);
    fflush(place->to);
    assert_int_equal(strncmp(place->printed, line, strlen(line)), 0);
    assert_int_equal(place->len, 5000 * 12);
    tail_done(&tail);
}

static void follows_across_rotation(void **state)
{
    struct place *place = *state;
    struct tail tail;
    struct err err = { 0 };

    assert_int_equal(tail_open(&tail, place->path, NULL, 10, &err), 0); /* not there yet */
    expect(place, &tail, "");
    add(place, "a\n");
    expect(place, &tail, "a\n");
    add(place, "b\n");
    assert_int_equal(rename(place->path, place->moved), 0);
    expect(place, &tail, "b\n"); /* nothing new has that name yet */
    add(place, "c\n");
    expect(place, &tail, "c\n");
    add(place, "d\n");
    expect(place, &tail, "d\n");
    assert_int_equal(truncate(place->path, 0), 0);
    expect(place, &tail, "");
    add(place, "e\n");
    expect(place, &tail, "e\n");
    tail_done(&tail);
}

static void prefixes_whole_lines(void **state)
{
    struct place *place = *state;
    struct tail tail;
    struct err err = { 0 };

    add(place, "one\ntw");
    assert_int_equal(tail_open(&tail, place->path, "web:0 | ", 10, &err), 0);
    expect(place, &tail, "web:0 | one\n");
    add(place, "o\n\nend");
    expect(place, &tail, "web:0 | two\nweb:0 | \n");
    tail_flush(&tail, place->to);
    expect(place, &tail, "web:0 | end\n");
    tail_done(&tail);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(finds_the_last_lines),
        CASE(finds_them_in_a_large_file),
        CASE(follows_across_rotation),
        CASE(prefixes_whole_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
