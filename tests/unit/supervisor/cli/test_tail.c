/* One log read line by line across rotation and compression. */
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

#include "supervisor/cli/tail.h"

enum { OLDEST = 12, ROUNDS = 4000, PATH_BYTES = 128 };

struct place {
    char folder[64], path[96];
    unsigned random;
};

static void name_of(const struct place *place, int number, const char *suffix, char *name)
{
    if (number > 0)
        snprintf(name, PATH_BYTES, "%s.%d%s", place->path, number, suffix);
    else
        snprintf(name, PATH_BYTES, "%s%s", place->path, suffix);
}

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);

    strcpy(place->folder, "/tmp/test-tail-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    snprintf(place->path, sizeof place->path, "%s/web.log", place->folder);
    place->random = 1;
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    char name[PATH_BYTES];

    for (int number = 0; number <= OLDEST; number++) {
        name_of(place, number, "", name);
        unlink(name);
        name_of(place, number, ".zst", name);
        unlink(name);
    }
    assert_int_equal(rmdir(place->folder), 0);
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

/* As the logger does: the oldest first, and the file itself last. */
static void rotate(const struct place *place, int backups)
{
    char from[PATH_BYTES], to[PATH_BYTES];

    for (int number = backups; number >= 0; number--) {
        for (int packed = 0; packed < 2; packed++) {
            const char *suffix = packed ? ".zst" : "";
            name_of(place, number, suffix, from);
            name_of(place, number + 1, suffix, to);
            if (packed && number == 0)
                continue;
            if (number == backups)
                unlink(from);
            else
                rename(from, to);
        }
    }
}

static void compress(const struct place *place, int number)
{
    char plain[PATH_BYTES], packed[PATH_BYTES], command[4 * PATH_BYTES];
    struct stat st;

    name_of(place, number, "", plain);
    name_of(place, number, ".zst", packed);
    if (stat(plain, &st) != 0)
        return;
    snprintf(command, sizeof command, "zstd -1 -q -c < %s > %s", plain, packed);
    assert_int_equal(system(command), 0);
    const struct timespec times[] = { { .tv_nsec = UTIME_OMIT }, st.st_mtim };
    assert_int_equal(utimensat(AT_FDCWD, packed, times, 0), 0);
    unlink(plain);
}

static bool have_zstd(void) { return system("zstd --version >/dev/null 2>&1") == 0; }

/* What can be read now, lines joined with "|". */
static const char *read_all(struct tail *tail)
{
    static char all[64 * 1024];
    struct err err = { 0 };
    const char *line;
    size_t len, used = 0;
    int rc;

    while ((rc = tail_next(tail, &line, &len, &err)) == 1) {
        assert_true(used + len + 2 < sizeof all);
        memcpy(all + used, line, len);
        all[used + len] = '|';
        used += len + 1;
    }
    assert_int_equal(rc, 0);
    all[used] = '\0';
    return all;
}

static const char *last_lines(const struct place *place, uint64_t lines)
{
    struct tail tail;
    struct err err = { 0 };
    static char all[64 * 1024];

    tail_init(&tail, place->path);
    assert_int_equal(tail_from_end(&tail, lines, &err), 0);
    size_t used = (size_t)snprintf(all, sizeof all, "%s", read_all(&tail)), len;
    const char *rest;
    if (tail_rest(&tail, &rest, &len)) {
        memcpy(all + used, rest, len);
        all[used + len] = '\0';
    }
    assert_false(tail_rest(&tail, &rest, &len));
    tail_done(&tail);
    return all;
}

static void finds_the_last_lines(void **state)
{
    struct place *place = *state;

    assert_string_equal(last_lines(place, 10), "");
    add(place, "");
    assert_string_equal(last_lines(place, 10), "");
    add(place, "one\ntwo\nthree\n");
    assert_string_equal(last_lines(place, 0), "");
    assert_string_equal(last_lines(place, 1), "three|");
    assert_string_equal(last_lines(place, 2), "two|three|");
    assert_string_equal(last_lines(place, 3), "one|two|three|");
    assert_string_equal(last_lines(place, 99), "one|two|three|");
    add(place, "half");
    assert_string_equal(last_lines(place, 1), "half");
    assert_string_equal(last_lines(place, 2), "three|half");
}

static void finds_them_in_old_files(void **state)
{
    struct place *place = *state;

    add(place, "1\n2\n3\n");
    rotate(place, 5);
    add(place, "4\n5\n");
    if (have_zstd())
        compress(place, 1);
    rotate(place, 5);
    assert_string_equal(last_lines(place, 3), "3|4|5|"); /* nothing has the name now */
    add(place, "6\n");
    assert_string_equal(last_lines(place, 1), "6|");
    assert_string_equal(last_lines(place, 2), "5|6|");
    assert_string_equal(last_lines(place, 3), "4|5|6|");
    assert_string_equal(last_lines(place, 5), "2|3|4|5|6|");
    assert_string_equal(last_lines(place, 6), "1|2|3|4|5|6|");
    assert_string_equal(last_lines(place, 60), "1|2|3|4|5|6|");
}

static void begins_at_a_time(void **state)
{
    struct place *place = *state;
    char name[PATH_BYTES];
    struct tail tail;
    struct err err = { 0 };

    for (int number = 3; number >= 0; number--) {
        char line[8];
        snprintf(line, sizeof line, "%d\n", number);
        add(place, line);
        const struct timespec times[] = { { .tv_nsec = UTIME_OMIT },
                                          { .tv_sec = 1000 - 100 * number } };
        name_of(place, 0, "", name);
        assert_int_equal(utimensat(AT_FDCWD, name, times, 0), 0);
        if (number > 0)
            rotate(place, 5);
    }
    static const struct {
        int64_t since_s;
        const char *lines;
    } cases[] = {
        { 1, "3|2|1|0|" }, { 701, "2|1|0|" }, { 800, "2|1|0|" }, { 801, "1|0|" }, { 2000, "0|" }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tail_init(&tail, place->path);
        assert_int_equal(tail_from_time(&tail, cases[i].since_s * 1000000, &err), 0);
        assert_string_equal(read_all(&tail), cases[i].lines);
        tail_done(&tail);
    }
}

static void follows_across_rotation(void **state)
{
    struct place *place = *state;
    struct tail tail;
    struct err err = { 0 };

    tail_init(&tail, place->path);
    assert_int_equal(tail_from_end(&tail, 10, &err), 0); /* not there yet */
    assert_string_equal(read_all(&tail), "");
    add(place, "a\n");
    assert_string_equal(read_all(&tail), "a|");
    add(place, "b\n");
    rotate(place, 2);
    assert_string_equal(read_all(&tail), "b|"); /* nothing new has that name yet */
    add(place, "c\n");
    assert_string_equal(read_all(&tail), "c|");
    add(place, "d");
    assert_string_equal(read_all(&tail), "");
    rotate(place, 2); /* inside a line, as for raw */
    add(place, "e\n");
    assert_string_equal(read_all(&tail), "de|");
    assert_false(tail.missed);
    assert_int_equal(truncate(place->path, 0), 0);
    add(place, "f\n");
    assert_string_equal(read_all(&tail), "");
    add(place, "g\n");
    assert_string_equal(read_all(&tail), "g|"); /* the cut could not be seen: as long as before */
    assert_int_equal(truncate(place->path, 0), 0);
    assert_string_equal(read_all(&tail), "");
    assert_true(tail.missed);
    tail.missed = false;
    add(place, "h\n");
    assert_string_equal(read_all(&tail), "h|");
    for (int i = 0; i < 4; i++) { /* more than are kept */
        rotate(place, 2);
        add(place, i < 3 ? "x\n" : "y\n");
    }
    assert_string_equal(read_all(&tail), "x|x|y|");
    assert_true(tail.missed);
    tail_done(&tail);
}

static unsigned chance(struct place *place, unsigned below)
{
    place->random = place->random * 1103515245u + 12345u;
    return (place->random >> 16) % below;
}

/* Every line exactly once, whatever happens between two looks, as long as no file that was not read
 * is removed. */
static void loses_nothing_in_any_order(void **state)
{
    struct place *place = *state;
    bool packs = have_zstd();
    struct tail tail;
    int written = 0, seen = 0, rotated = 0;

    tail_init(&tail, place->path);
    for (int round = 0; round < ROUNDS; round++) {
        unsigned act = chance(place, 10);
        if (act < 5) {
            char line[32];
            snprintf(line, sizeof line, "%d\n", written++);
            add(place, line);
        } else if (act < 8 && rotated < OLDEST - 2 && access(place->path, F_OK) == 0) {
            rotate(place, OLDEST);
            rotated++;
        } else if (act == 8 && packs && chance(place, 4) == 0)
            compress(place, 1 + (int)chance(place, OLDEST));
        else if (act == 9) {
            char *at = (char *)(uintptr_t)read_all(&tail);
            for (; *at; seen++)
                assert_int_equal(strtol(at, &at, 10), seen), at++;
            struct stat st;
            if (stat(place->path, &st) == 0) {
                assert_int_equal(seen, written);
                rotated = 0;
            }
        }
    }
    assert_false(tail.missed);
    assert_true(seen > ROUNDS / 4);
    tail_done(&tail);
}

static void takes_a_line_of_any_length(void **state)
{
    struct place *place = *state;
    enum { LONG = 10 * 1024 * 1024 };
    char *text = malloc(LONG + 2);
    struct tail tail;
    struct err err = { 0 };
    const char *line;
    size_t len;

    memset(text, 'x', LONG);
    strcpy(text + LONG, "\n");
    add(place, text);
    add(place, "end\n");
    tail_init(&tail, place->path);
    assert_int_equal(tail_next(&tail, &line, &len, &err), 1);
    assert_int_equal(len, LONG);
    assert_memory_equal(line, text, LONG);
    assert_string_equal(read_all(&tail), "end|");
    tail_done(&tail);
    free(text);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(finds_the_last_lines),       CASE(finds_them_in_old_files),
        CASE(begins_at_a_time),           CASE(follows_across_rotation),
        CASE(loses_nothing_in_any_order), CASE(takes_a_line_of_any_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
