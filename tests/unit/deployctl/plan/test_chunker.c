/* test_chunker.c - cuts depend on the content alone, and changes disturb only what they touch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "deployctl/plan/chunker.h"

enum { BYTES = 1 << 20, CUTS_MAX = BYTES / 16, AVERAGE = 4096 };

struct cuts {
    size_t at[CUTS_MAX], count;
};

static void fill(unsigned char *data, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (unsigned char)((seed = seed * 1103515245u + 12345u) >> 16);
}

/* The last cut is the end of the content. */
static void cut(const unsigned char *data, size_t len, uint64_t average, size_t piece,
                struct cuts *cuts)
{
    struct chunker chunker;
    chunker_init(&chunker, average);
    cuts->count = 0;
    for (size_t at = 0; at < len;) {
        bool ends;
        size_t n = len - at < piece ? len - at : piece;
        size_t used = chunker_feed(&chunker, data + at, n, &ends);
        assert_true(used > 0 && used <= n && (ends || used == n));
        at += used;
        if (ends || at == len)
            cuts->at[cuts->count++] = at;
    }
}

static void the_same_in_any_pieces(void **unused)
{
    (void)unused;
    unsigned char *data = malloc(BYTES);
    struct cuts *a = malloc(sizeof *a), *b = malloc(sizeof *b);
    fill(data, BYTES, 1);
    for (uint64_t average = CHUNKER_AVERAGE_MIN; average <= 65536; average *= 4) {
        cut(data, BYTES, average, BYTES, a);
        for (size_t piece = 1; piece < BYTES; piece = piece * 5 + 3) {
            cut(data, BYTES, average, piece, b);
            assert_int_equal(a->count, b->count);
            assert_memory_equal(a->at, b->at, a->count * sizeof a->at[0]);
        }
    }
    free(data), free(a), free(b);
}

static void lengths_are_bounded_and_near_the_average(void **unused)
{
    (void)unused;
    unsigned char *data = malloc(BYTES);
    struct cuts *cuts = malloc(sizeof *cuts);
    for (int kind = 0; kind < 2; kind++) {
        if (kind == 0)
            fill(data, BYTES, 7);
        else
            memset(data, 0, BYTES); /* nothing to cut at */
        for (uint64_t average = CHUNKER_AVERAGE_MIN; average <= 16384; average *= 2) {
            cut(data, BYTES, average, BYTES, cuts);
            for (size_t i = 0; i < cuts->count; i++) {
                size_t len = cuts->at[i] - (i > 0 ? cuts->at[i - 1] : 0);
                assert_true(len <= average * CHUNKER_SPREAD);
                assert_true(len > average / CHUNKER_SPREAD || i + 1 == cuts->count);
            }
            if (kind == 0)
                assert_in_range(BYTES / cuts->count, average / 2, average * 2);
        }
    }
    free(data), free(cuts);
}

/* How many chunks of `b` end where none of `a` does; `shift` is what was inserted at `place`. */
static size_t disturbed(const struct cuts *a, const struct cuts *b, size_t place, size_t shift)
{
    size_t count = 0, k = 0;
    for (size_t i = 0; i < b->count; i++) {
        size_t was = b->at[i] <= place ? b->at[i] : b->at[i] - shift;
        while (k < a->count && a->at[k] < was)
            k++;
        count += k == a->count || a->at[k] != was;
    }
    return count;
}

static void an_insertion_disturbs_only_its_place(void **unused)
{
    (void)unused;
    enum { INSERTED = 1000 };
    unsigned char *data = malloc(BYTES + INSERTED), *more = malloc(BYTES + INSERTED);
    struct cuts *a = malloc(sizeof *a), *b = malloc(sizeof *b);
    fill(data, BYTES, 3);
    cut(data, BYTES, AVERAGE, BYTES, a);
    size_t sum = 0, times = 0;
    for (size_t place = 0; place < BYTES; place += 9973) {
        for (size_t shift = 1; shift <= INSERTED; shift *= 31, times++) {
            memcpy(more, data, place);
            fill(more + place, shift, (uint32_t)place);
            memcpy(more + place + shift, data + place, BYTES - place);
            cut(more, BYTES + shift, AVERAGE, BYTES, b);
            size_t count = disturbed(a, b, place, shift);
            assert_true(count <= 12); /* of about 250 */
            sum += count;
        }
    }
    assert_true(sum <= 2 * times);
    free(data), free(more), free(a), free(b);
}

static void sizes_follow_the_file(void **unused)
{
    (void)unused;
    for (uint64_t size = CHUNKER_FILE_MIN; size < (uint64_t)1 << 45; size += size / 3) {
        uint64_t coarse = chunker_coarse(size);
        assert_true(chunker_average_valid(coarse));
        assert_true(coarse == CHUNKER_COARSE_MIN || (size / coarse >= CHUNKER_COARSE_PARTS &&
                                                     size / coarse <= 2 * CHUNKER_COARSE_PARTS));
        for (size_t regions = 0; regions < 1000; regions = regions * 3 + 1) {
            uint64_t fine = chunker_fine(size, regions, size, true);
            assert_true(chunker_average_valid(fine));
            assert_true(fine <= chunker_fine(size, regions, size, false));
            assert_true(fine * fine <= size || fine == CHUNKER_AVERAGE_MIN);
        }
    }
    assert_false(chunker_average_valid(0));
    assert_false(chunker_average_valid(CHUNKER_AVERAGE_MIN / 2));
    assert_false(chunker_average_valid(CHUNKER_AVERAGE_MIN + 1));
    assert_false(chunker_average_valid(CHUNKER_AVERAGE_MAX * 2));
}

/* Both sides must cut alike, also when they are of different versions. */
static void the_cuts_are_a_part_of_the_protocol(void **unused)
{
    (void)unused;
    static const size_t known[] = { 2771, 12483, 17342, 19331 };
    unsigned char *data = malloc(BYTES);
    struct cuts *cuts = malloc(sizeof *cuts);
    fill(data, BYTES, 1);
    cut(data, BYTES, AVERAGE, BYTES, cuts);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_int_equal(cuts->at[i], known[i]);
    free(data), free(cuts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_in_any_pieces),
        cmocka_unit_test(lengths_are_bounded_and_near_the_average),
        cmocka_unit_test(an_insertion_disturbs_only_its_place),
        cmocka_unit_test(sizes_follow_the_file),
        cmocka_unit_test(the_cuts_are_a_part_of_the_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
