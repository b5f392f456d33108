/* test_recorder.c - the ring, its gap, and what a killed writer leaves behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "supervisor/ledger/recorder.h"

struct seen {
    uint64_t first, last, count;
    uint64_t stop_after;
    int step; /* +1 forward, -1 back */
};

/* Every record's text is its number and filling that depends on it. */
static size_t text_of(uint64_t number, char *text)
{
    size_t len = (size_t)(number * 37 % 3000) + 24;
    memset(text, 'a' + (int)(number % 26), len);
    int n = snprintf(text, 24, "{\"n\":%llu}", (unsigned long long)number);
    text[n] = ' ';
    return len;
}

static bool check(void *context, uint64_t number, const char *text, size_t len)
{
    struct seen *seen = context;
    char want[4096];
    assert_int_equal(len, text_of(number, want));
    assert_memory_equal(text, want, len);
    if (seen->count++ == 0)
        seen->first = number;
    else
        assert_int_equal(number, (int64_t)seen->last + seen->step);
    seen->last = number;
    return seen->count != seen->stop_after;
}

static void append_many(struct recorder *recorder, uint64_t count)
{
    char text[4096];
    for (uint64_t i = 0; i < count; i++) {
        uint64_t number = recorder_next(recorder);
        size_t len = text_of(number, text);
        assert_int_equal(recorder_append(recorder, text, len), number);
    }
}

static struct recorder fresh(int *fd)
{
    struct recorder recorder;
    struct err err;
    assert_int_equal(recorder_create(fd, &err), 0);
    assert_int_equal(recorder_map(*fd, &recorder, &err), 0);
    return recorder;
}

static void an_empty_one_has_nothing(void **unused)
{
    (void)unused;
    int fd;
    struct recorder recorder = fresh(&fd);
    struct seen seen = { .step = 1 };
    assert_int_equal(recorder_next(&recorder), 1);
    assert_int_equal(recorder_read(&recorder, 1, check, &seen), 1);
    recorder_read_back(&recorder, check, &seen);
    assert_int_equal(seen.count, 0);
    recorder_unmap(&recorder);
    close(fd);
}

static void reading_begins_where_asked_and_stops_when_told(void **unused)
{
    (void)unused;
    int fd;
    struct recorder recorder = fresh(&fd);
    append_many(&recorder, 20);
    struct seen seen = { .step = 1, .stop_after = 3 };
    assert_int_equal(recorder_read(&recorder, 5, check, &seen), 1);
    assert_int_equal(seen.first, 5);
    assert_int_equal(seen.count, 3);
    struct seen back = { .step = -1, .stop_after = 4 };
    recorder_read_back(&recorder, check, &back);
    assert_int_equal(back.first, 20);
    assert_int_equal(back.count, 4);
    recorder_unmap(&recorder);
    close(fd);
}

static void reading_on_takes_each_once_and_jumps_over_what_has_gone(void **unused)
{
    (void)unused;
    int fd;
    struct recorder recorder = fresh(&fd);
    struct seen seen = { .step = 1, .stop_after = 3 };
    uint64_t at = 0;
    append_many(&recorder, 5);
    recorder_read_on(&recorder, &at, check, &seen);
    assert_int_equal(seen.last, 3); /* refused: it comes again */
    seen = (struct seen){ .step = 1 };
    recorder_read_on(&recorder, &at, check, &seen);
    assert_true(seen.first == 3 && seen.last == 5);
    recorder_read_on(&recorder, &at, check, &seen);
    assert_int_equal(seen.count, 3);
    append_many(&recorder, 5000); /* more than the ring holds */
    seen = (struct seen){ .step = 1 };
    recorder_read_on(&recorder, &at, check, &seen);
    assert_true(seen.first > 6 && seen.last == 5005);
    recorder_unmap(&recorder);
    close(fd);
}

static void the_oldest_go_when_it_is_full(void **unused)
{
    (void)unused;
    int fd;
    struct recorder recorder = fresh(&fd);
    append_many(&recorder, 5000);
    struct seen seen = { .step = 1 }, back = { .step = -1 };
    uint64_t first = recorder_read(&recorder, 1, check, &seen);
    assert_true(first > 1000); /* the gap is told */
    assert_int_equal(seen.first, first);
    assert_int_equal(seen.last, 5000);
    recorder_read_back(&recorder, check, &back);
    assert_int_equal(back.first, 5000);
    assert_int_equal(back.last, first);
    recorder_unmap(&recorder);
    close(fd);
}

/* Stands in for a writer that is killed: everything behind the committed end is overwritten. */
static void what_was_not_committed_is_not_there(void **unused)
{
    (void)unused;
    int fd;
    struct recorder recorder = fresh(&fd), again;
    struct err err;
    append_many(&recorder, 3000);
    unsigned char header[64], torn[64];
    memcpy(header, recorder.header, sizeof(header));
    append_many(&recorder, 1); /* writes its bytes and moves the beginning ... */
    memcpy(torn, recorder.header, sizeof(torn));
    /* ... but dies before the stores of `end` and `next`: only `begin` is new. */
    memcpy(torn + 16, header + 16, 8);
    memcpy(torn + 32, header + 32, 8);
    memcpy(recorder.header, torn, sizeof(torn));
    assert_int_equal(recorder_map(fd, &again, &err), 0);
    assert_int_equal(recorder_next(&again), 3001);
    struct seen seen = { .step = 1 };
    recorder_read(&again, 1, check, &seen);
    assert_int_equal(seen.last, 3000);
    append_many(&again, 1);
    struct seen more = { .step = 1 };
    recorder_read(&again, 1, check, &more);
    assert_int_equal(more.last, 3001);
    recorder_unmap(&again);
    recorder_unmap(&recorder);
    close(fd);
}

static void killed_between_end_and_next_the_numbers_go_on(void **unused)
{
    (void)unused;
    int fd;
    struct recorder recorder = fresh(&fd), again;
    struct err err;
    append_many(&recorder, 10);
    uint64_t stale = 10;
    memcpy((unsigned char *)recorder.header + 16, &stale, sizeof(stale));
    assert_int_equal(recorder_next(&recorder), 10);
    assert_int_equal(recorder_map(fd, &again, &err), 0);
    assert_int_equal(recorder_next(&again), 11);
    recorder_unmap(&again);
    recorder_unmap(&recorder);
    close(fd);
}

static void a_damaged_record_ends_the_reading(void **unused)
{
    (void)unused;
    int fd;
    struct recorder recorder = fresh(&fd), again;
    struct err err;
    append_many(&recorder, 50);
    for (int i = 0; i < 24; i++) /* more than padding and tail */
        recorder.ring[3000 + i] ^= 0xff;
    assert_int_equal(recorder_map(fd, &again, &err), 0);
    assert_int_equal(recorder_next(&again), 51);
    struct seen seen = { .step = 1 };
    recorder_read(&again, 1, check, &seen);
    assert_true(seen.last > 0 && seen.last < 50);
    /* Wild positions are no reason to read outside the ring. */
    memset((unsigned char *)recorder.header + 24, 0xee, 16);
    recorder_unmap(&again);
    assert_int_equal(recorder_map(fd, &again, &err), 0);
    struct seen none = { .step = 1 };
    assert_int_equal(recorder_read(&again, 1, check, &none), 51);
    assert_int_equal(none.count, 0);
    recorder_unmap(&again);
    recorder_unmap(&recorder);
    close(fd);
}

static bool keep_length(void *context, uint64_t number, const char *text, size_t len)
{
    (void)number;
    assert_true(len == 0 || text[len - 1] == 'x');
    *(size_t *)context = len;
    return true;
}

static void the_longest_and_the_empty_text_fit(void **unused)
{
    (void)unused;
    int fd;
    struct recorder recorder = fresh(&fd);
    static char text[RECORDER_TEXT_MAX + 100];
    size_t len = 1;
    memset(text, 'x', sizeof(text));
    for (int i = 0; i < 200; i++)
        recorder_append(&recorder, text, sizeof(text));
    recorder_read(&recorder, 200, keep_length, &len);
    assert_int_equal(len, RECORDER_TEXT_MAX);
    recorder_append(&recorder, text, 0);
    recorder_read(&recorder, 201, keep_length, &len);
    assert_int_equal(len, 0);
    recorder_unmap(&recorder);
    close(fd);
}

static void something_else_is_refused(void **unused)
{
    (void)unused;
    struct recorder recorder;
    struct err err;
    int fd = memfd_create("other", MFD_CLOEXEC);
    assert_int_equal(recorder_map(fd, &recorder, &err), ERR_CORRUPT);
    assert_int_equal(ftruncate(fd, 4096 + RECORDER_BYTES), 0);
    assert_int_equal(recorder_map(fd, &recorder, &err), ERR_CORRUPT);
    close(fd);
    assert_true(recorder_map(-1, &recorder, &err) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_one_has_nothing),
        cmocka_unit_test(reading_begins_where_asked_and_stops_when_told),
        cmocka_unit_test(reading_on_takes_each_once_and_jumps_over_what_has_gone),
        cmocka_unit_test(the_oldest_go_when_it_is_full),
        cmocka_unit_test(what_was_not_committed_is_not_there),
        cmocka_unit_test(killed_between_end_and_next_the_numbers_go_on),
        cmocka_unit_test(a_damaged_record_ends_the_reading),
        cmocka_unit_test(the_longest_and_the_empty_text_fit),
        cmocka_unit_test(something_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
