/* test_streams.c - both sides of the table of streams in one process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "supervisor/ledger/streams.h"

struct rig {
    int fd;
    struct streams *core, *logger;
};

static int setup(void **state)
{
    static struct rig rig;
    struct err err = { 0 };
    assert_int_equal(streams_create(&rig.fd, &err), 0);
    rig.core = streams_map(rig.fd, &err);
    rig.logger = streams_map(rig.fd, &err);
    assert_non_null(rig.core);
    assert_non_null(rig.logger);
    *state = &rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    streams_unmap(rig->core);
    streams_unmap(rig->logger);
    streams_unmap(NULL);
    close(rig->fd);
    return 0;
}

static struct streams_settings settings_for(const char *instance, const char *output)
{
    struct streams_settings settings = { .maxbytes = 5 };
    snprintf(settings.instance, sizeof settings.instance, "%s", instance);
    snprintf(settings.output, sizeof settings.output, "%s", output);
    snprintf(settings.path, sizeof settings.path, "/var/log/%s", instance);
    return settings;
}

static ssize_t claim(struct streams *streams, const struct streams_settings *settings)
{
    ssize_t slot = streams_vacant(streams);

    if (slot >= 0)
        streams_claim(streams, (size_t)slot, settings);
    return slot;
}

static void claims_finds_and_frees(void **state)
{
    struct rig *rig = *state;
    struct streams_settings a = settings_for("web:0", "stdout"),
                            b = settings_for("web:0", "stderr");

    assert_int_equal(claim(rig->core, &a), 0);
    assert_int_equal(claim(rig->core, &b), 1);
    assert_int_equal(streams_find(rig->core, "web:0", "stderr"), 1);
    assert_int_equal(streams_find(rig->core, "web:1", "stderr"), -1);
    streams_order_close(rig->core, 0);
    assert_int_equal(streams_state(rig->logger, 0), STREAMS_CLOSING);
    assert_int_equal(streams_find(rig->core, "web:0", "stdout"), -1);
    assert_int_equal(claim(rig->core, &a), 2); /* not the one that is being closed */
    uint64_t order = streams_order_drain(rig->core, 0);
    assert_false(streams_drained(rig->core, 0, order));
    streams_release(rig->logger, 0);
    assert_true(streams_drained(rig->core, 0, order));
    assert_int_equal(claim(rig->core, &b), 0);
    assert_int_equal(streams_used(rig->core), 3);
}

static void settings_are_seen_once_each(void **state)
{
    struct rig *rig = *state;
    struct streams_settings a = settings_for("a:0", "stdout"), got;
    uint64_t sequence = 0;

    assert_int_equal(claim(rig->core, &a), 0);
    assert_true(streams_settings(rig->logger, 0, &sequence, &got));
    assert_memory_equal(&a, &got, sizeof a);
    assert_false(streams_settings(rig->logger, 0, &sequence, &got));
    for (int i = 0; i < 5; i++) {
        a.maxbytes = i;
        streams_set(rig->core, 0, &a);
        assert_true(streams_settings(rig->logger, 0, &sequence, &got));
        assert_int_equal(got.maxbytes, i);
    }
}

/* Short and long texts take turns: nothing of one shows in the other. */
static void texts_of_any_length_are_kept(void **state)
{
    struct rig *rig = *state;
    const size_t lens[] = { 0, STREAMS_PATH_MAX - 1, 1, 129, 130, 131, 132, 133, 200, 2 };
    struct streams_settings a = settings_for("a:0", "stdout"), got;
    uint64_t sequence = 0;

    assert_int_equal(claim(rig->core, &a), 0);
    for (int long_name = 0; long_name < 2; long_name++) {
        for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
            memset(&a, 0, sizeof a);
            memset(a.instance, 'i', long_name ? sizeof a.instance - 1 : 3);
            memset(a.output, 'o', long_name ? sizeof a.output - 1 : 6);
            memset(a.path, 'p', lens[i]);
            streams_set(rig->core, 0, &a);
            assert_true(streams_settings(rig->logger, 0, &sequence, &got));
            assert_memory_equal(&a, &got, sizeof a);
            assert_int_equal(streams_find(rig->core, a.instance, a.output), 0);
            assert_int_equal(streams_find(rig->core, a.instance, "other"), -1);
        }
    }
}

static void drains_are_numbered(void **state)
{
    struct rig *rig = *state;
    struct streams_settings a = settings_for("a:0", "stdout");

    claim(rig->core, &a);
    assert_true(streams_drained(rig->core, 0, 0));
    uint64_t first = streams_order_drain(rig->core, 0), second = streams_order_drain(rig->core, 0);
    assert_true(second > first);
    assert_int_equal(streams_drain_ordered(rig->logger, 0), second);
    streams_drain_set(rig->logger, 0, first);
    assert_true(streams_drained(rig->core, 0, first));
    assert_false(streams_drained(rig->core, 0, second));
    assert_false(streams_drained(rig->core, 0, 0));
    streams_drain_set(rig->logger, 0, second);
    assert_true(streams_drained(rig->core, 0, 0));
}

static void a_commit_is_one_store(void **state)
{
    struct rig *rig = *state;
    struct streams_mark mark;
    struct streams_progress progress;
    bool draining = true;

    streams_mark(rig->logger, 7, &mark, &draining);
    assert_false(draining);
    assert_int_equal(mark.offset, 0);
    for (uint64_t i = 1; i < 10; i++) {
        mark.offset = mark.bytes_in = i;
        mark.bytes_lost = i * 2;
        streams_commit(rig->logger, 7, &mark, i % 2);
        struct streams_mark got;
        streams_mark(rig->core, 7, &got, &draining);
        assert_memory_equal(&mark, &got, sizeof mark);
        assert_int_equal(draining, i % 2);
        streams_commit_empty(rig->logger, 7);
        streams_mark(rig->core, 7, &got, &draining);
        assert_memory_equal(&mark, &got, sizeof mark);
        assert_false(draining);
    }
    streams_error(rig->logger, 7, 28);
    streams_progress(rig->core, 7, &progress);
    assert_int_equal(progress.bytes_in, 9);
    assert_int_equal(progress.bytes_lost, 18);
    assert_int_equal(progress.error, 28);
}

static void hold_and_orders(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(streams_hold_owner(rig->logger), -1);
    streams_hold_own(rig->logger, 0);
    assert_int_equal(streams_hold_owner(rig->core), 0);
    streams_release(rig->logger, 0);
    assert_int_equal(streams_hold_owner(rig->logger), -1);
    uint32_t reopens = streams_reopens(rig->logger);
    streams_order_reopen(rig->core);
    assert_int_equal(streams_reopens(rig->logger), reopens + 1);
    assert_false(streams_finishing(rig->logger));
    streams_order_finish(rig->core);
    assert_true(streams_finishing(rig->logger));
}

static void spills_lie_apart(void **state)
{
    struct rig *rig = *state;
    static char data[STREAMS_BATCH_MAX], got[STREAMS_BATCH_MAX];
    static const size_t slots[] = { 0, 1, STREAMS_SLOTS - 1 };

    for (size_t i = 0; i < 3; i++)
        for (unsigned area = 0; area < STREAMS_SPILL_AREAS; area++) {
            memset(data, (int)(i * 10 + area + 1), sizeof data);
            assert_int_equal(streams_spill_write(rig->logger, slots[i], area, data, sizeof data),
                             0);
        }
    for (size_t i = 0; i < 3; i++)
        for (unsigned area = 0; area < STREAMS_SPILL_AREAS; area++) {
            memset(data, (int)(i * 10 + area + 1), sizeof data);
            assert_int_equal(streams_spill_read(rig->logger, slots[i], area, got, sizeof got), 0);
            assert_memory_equal(data, got, sizeof got);
        }
    streams_spill_drop(rig->logger, 1);
    assert_int_equal(streams_spill_read(rig->logger, 1, 0, got, sizeof got), 0);
    assert_int_equal(got[0], 0);
    assert_int_equal(streams_spill_read(rig->logger, 0, 1, got, 1), 0);
    assert_int_equal(got[0], 2);
}

static void refuses_what_is_no_table(void **state)
{
    (void)state;
    struct err err = { 0 };
    int fd = memfd_create("x", MFD_CLOEXEC);
    assert_null(streams_map(fd, &err));
    assert_int_equal(err.code, ERR_CORRUPT);
    close(fd);
    assert_null(streams_map(-1, &err));
    assert_int_equal(err.code, ERR_SYSTEM);
}

static void all_slots_can_be_taken(void **state)
{
    struct rig *rig = *state;
    struct streams_settings a = settings_for("a:0", "stdout");

    for (int i = 0; i < STREAMS_SLOTS; i++)
        if (claim(rig->core, &a) != i)
            fail();
    assert_int_equal(claim(rig->core, &a), ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(claims_finds_and_frees, setup, teardown),
        cmocka_unit_test_setup_teardown(settings_are_seen_once_each, setup, teardown),
        cmocka_unit_test_setup_teardown(texts_of_any_length_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(drains_are_numbered, setup, teardown),
        cmocka_unit_test_setup_teardown(a_commit_is_one_store, setup, teardown),
        cmocka_unit_test_setup_teardown(hold_and_orders, setup, teardown),
        cmocka_unit_test_setup_teardown(spills_lie_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_what_is_no_table, setup, teardown),
        cmocka_unit_test_setup_teardown(all_slots_can_be_taken, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
