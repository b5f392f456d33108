/* test_ledger.c - records, bodies, and what a killed writer leaves behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/ledger/ledger.h"

static char folder[] = "/tmp/test-ledger-XXXXXX";
static char path[64];

static int set_up(void **unused)
{
    (void)unused;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/control.sock.ledger", folder);
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    unlink(path);
    return rmdir(folder);
}

static struct ledger fresh(void)
{
    struct ledger ledger;
    bool takeover = true;
    struct err err;
    assert_int_equal(ledger_create(NULL, &ledger, &takeover, &err), 0);
    assert_false(takeover);
    return ledger;
}

static void claims_find_the_lowest_free_record(void **unused)
{
    (void)unused;
    struct ledger ledger = fresh();
    struct err err;
    for (int i = 0; i < 40; i++)
        assert_int_equal(ledger_claim(&ledger, LEDGER_SERVICE, "web:0", 7, &err), i);
    ledger_release(&ledger, 30);
    ledger_release(&ledger, 12);
    assert_int_equal(ledger_claim(&ledger, LEDGER_TWIN, "web:1", 9, &err), 12);
    assert_int_equal(ledger_claim(&ledger, LEDGER_HOOK, "web:2", 1, &err), 30);
    assert_int_equal(ledger_claim(&ledger, LEDGER_HOOK, "web:3", 1, &err), 40);
    assert_int_equal(ledger.records[12].kind, LEDGER_TWIN);
    assert_int_equal(ledger.records[12].generation, 9);
    assert_string_equal(ledger.records[12].instance, "web:1");
    ledger_unmap(&ledger);
}

static void a_full_ledger_and_a_long_name_are_refused(void **unused)
{
    (void)unused;
    struct ledger ledger = fresh();
    struct err err;
    char name[LEDGER_NAME_MAX + 1];
    memset(name, 'x', sizeof(name));
    name[LEDGER_NAME_MAX] = '\0';
    assert_int_equal(ledger_claim(&ledger, LEDGER_SERVICE, name, 1, &err), ERR_LIMIT);
    for (int i = 0; i < LEDGER_RECORDS; i++)
        assert_int_equal(ledger_claim(&ledger, LEDGER_PROBE, "p", 1, &err), i);
    assert_int_equal(ledger_claim(&ledger, LEDGER_PROBE, "p", 1, &err), ERR_LIMIT);
    ledger_release(&ledger, 5);
    assert_int_equal(ledger_claim(&ledger, LEDGER_PROBE, "p", 1, &err), 5);
    ledger_unmap(&ledger);
}

static void a_second_mapping_sees_the_same(void **unused)
{
    (void)unused;
    struct ledger guardian = fresh(), core;
    struct err err;
    assert_int_equal(ledger_map(dup(guardian.fd), &core, &err), 0);
    ssize_t index = ledger_claim(&core, LEDGER_SERVICE, "web:0", 1, &err);
    core.pids[index] = 4711;
    assert_int_equal(ledger_find_pid(&guardian, 4711), index);
    assert_int_equal(ledger_used(&guardian), 1);
    struct reaper_exit how = { .pid = 4711, .code = CLD_KILLED, .status = SIGSEGV, .user_us = 12 };
    assert_true(ledger_living(&core, 0));
    ledger_record_exit(&guardian, (size_t)index, &how, true);
    assert_false(ledger_living(&core, 0));
    assert_int_equal(core.records[index].exited, LEDGER_EXITED);
    assert_int_equal(core.records[index].exit_code, CLD_KILLED);
    assert_int_equal(core.records[index].exit_status, SIGSEGV);
    assert_int_equal(core.records[index].user_us, 12);
    assert_true(core.records[index].exit_wall_us > 0);
    ledger_unmap(&core);
    ledger_unmap(&guardian);
}

static void a_reused_pid_means_the_living_one(void **unused)
{
    (void)unused;
    struct ledger ledger = fresh();
    struct err err;
    struct reaper_exit how = { .pid = 50, .code = CLD_EXITED };
    ledger_claim(&ledger, LEDGER_SERVICE, "a", 1, &err);
    ledger_claim(&ledger, LEDGER_SERVICE, "b", 1, &err);
    ledger.pids[0] = 50;
    ledger_record_exit(&ledger, 0, &how, true);
    assert_int_equal(ledger_find_pid(&ledger, 50), 0);
    ledger.pids[1] = 50;
    assert_int_equal(ledger_find_pid(&ledger, 50), 1);
    assert_int_equal(ledger_find_pid(&ledger, 51), -1);
    assert_int_equal(ledger_find_pid(&ledger, 0), -1);
    ledger_release(&ledger, 1);
    ledger_release(&ledger, 0);
    assert_int_equal(ledger_find_pid(&ledger, 50), -1);
    ledger_unmap(&ledger);
}

static void rearming_forgets_the_exit_and_keeps_the_body(void **unused)
{
    (void)unused;
    struct ledger ledger = fresh();
    struct err err;
    int body = 77, got = 0;
    struct reaper_exit how = { .pid = 50, .code = CLD_EXITED, .status = 3 };
    ledger_claim(&ledger, LEDGER_SERVICE, "a", 1, &err);
    ledger.pids[0] = 50;
    ledger_body_put(&ledger, 0, &body, sizeof(body));
    ledger_record_exit(&ledger, 0, &how, false);
    assert_int_equal(ledger.records[0].exited, LEDGER_EXIT_UNKNOWN);
    ledger_rearm(&ledger, 0, 2);
    assert_int_equal(ledger.pids[0], 0);
    assert_int_equal(ledger.records[0].exited, LEDGER_LIVING);
    assert_false(ledger_living(&ledger, 0)); /* not started yet */
    assert_int_equal(ledger.records[0].generation, 2);
    assert_string_equal(ledger.records[0].instance, "a");
    assert_true(ledger_body_get(&ledger, 0, &got, sizeof(got)));
    assert_int_equal(got, 77);
    ledger_unmap(&ledger);
}

static void the_newest_whole_body_counts(void **unused)
{
    (void)unused;
    struct ledger ledger = fresh();
    uint64_t got;
    assert_false(ledger_body_get(&ledger, 0, &got, sizeof(got)));
    for (uint64_t i = 1; i <= 9; i++) {
        ledger_body_put(&ledger, 0, &i, sizeof(i));
        assert_true(ledger_body_get(&ledger, 0, &got, sizeof(got)));
        assert_int_equal(got, i);
    }
    assert_false(ledger_body_get(&ledger, 0, &got, 4)); /* another version's size */
    ledger_unmap(&ledger);
}

/* Bodies that end in zeros take no memory beyond the record, and come back with their zeros. */
static void zeros_at_the_end_are_not_kept(void **unused)
{
    (void)unused;
    struct ledger ledger = fresh();
    unsigned char body[LEDGER_BODY_MAX] = { 0 }, got[LEDGER_BODY_MAX];
    const size_t ends[] = { 1, LEDGER_BODY_NEAR, LEDGER_BODY_NEAR + 1, LEDGER_BODY_MAX, 0, 7 };
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        memset(body, 0, sizeof(body));
        memset(body, 0x5a, ends[i]);
        ledger_body_put(&ledger, 0, body, sizeof(body));
        memset(got, 0xff, sizeof(got));
        assert_true(ledger_body_get(&ledger, 0, got, sizeof(got)));
        assert_memory_equal(got, body, sizeof(body));
        if (i < 2)
            assert_int_equal(ledger.records[0].far_ready, 0);
    }
    ledger_unmap(&ledger);
}

enum { FAR_BYTES = LEDGER_BODY_MAX - LEDGER_BODY_NEAR };
struct image {
    struct ledger_draft draft;
    struct ledger_body body;
    unsigned char far[FAR_BYTES];
};

static struct image image_of(const struct ledger *ledger)
{
    struct image image = { .draft = ledger->header->draft, .body = ledger->records[0].body };
    memcpy(image.far, ledger->far, sizeof(image.far));
    return image;
}

static void put_image(struct ledger *ledger, const struct image *image)
{
    ledger->header->draft = image->draft;
    ledger->records[0].body = image->body;
    memcpy(ledger->far, image->far, FAR_BYTES);
    ledger->settled = false; /* as a core that has just started */
}

/* Each byte of [from, to) is the old or the new one: those before `cut` are as `first`. */
static struct image mix(const struct image *base, const struct image *first,
                        const struct image *second, size_t from, size_t to, size_t cut)
{
    struct image mixed = *base;
    memcpy((unsigned char *)&mixed + from, (const unsigned char *)first + from, cut - from);
    memcpy((unsigned char *)&mixed + cut, (const unsigned char *)second + cut, to - cut);
    return mixed;
}

/* What it holds is one of the two, and stays so when other records are put. */
static void check_whole(struct ledger *ledger, const struct image *image)
{
    unsigned char got[LEDGER_BODY_MAX], again[LEDGER_BODY_MAX];
    put_image(ledger, image);
    assert_true(ledger_body_get(ledger, 0, got, sizeof(got)));
    assert_true(got[0] == 0x11 || got[0] == 0x22);
    for (size_t i = 0; i < sizeof(got); i++)
        assert_int_equal(got[i], got[0]);
    ledger_body_put(ledger, 1, "other", 6);
    ledger_body_put(ledger, 2, "other", 6);
    assert_true(ledger_body_get(ledger, 0, again, sizeof(again)));
    assert_memory_equal(got, again, sizeof(got));
}

/* A put writes the draft, then the record.  Killed in either it leaves any mixture of old and new
 * bytes there: each such mixture must give the body before or the new one, whole. */
static void a_torn_put_gives_the_body_before(void **unused)
{
    (void)unused;
    static struct image before, after, mixed;
    struct ledger ledger = fresh();
    unsigned char old[LEDGER_BODY_MAX], new[LEDGER_BODY_MAX];
    const size_t drafted = offsetof(struct image, body);
    memset(old, 0x11, sizeof(old));
    memset(new, 0x22, sizeof(new));
    ledger_body_put(&ledger, 0, old, sizeof(old));
    before = image_of(&ledger);
    ledger_body_put(&ledger, 0, new, sizeof(new));
    after = image_of(&ledger);
    for (size_t cut = 0; cut <= sizeof(before); cut++) {
        size_t from = cut < drafted ? 0 : drafted, to = cut < drafted ? drafted : sizeof(before);
        const struct image *base = cut < drafted ? &before : &after;
        mixed = mix(base, &before, &after, from, to, cut);
        check_whole(&ledger, &mixed);
        mixed = mix(base, &after, &before, from, to, cut);
        check_whole(&ledger, &mixed);
    }
    ledger_unmap(&ledger);
}

static void a_draft_is_not_of_the_next_owner(void **unused)
{
    (void)unused;
    struct ledger ledger = fresh();
    struct err err;
    int value = 5;
    assert_int_equal(ledger_claim(&ledger, LEDGER_SERVICE, "a", 1, &err), 0);
    ledger_body_put(&ledger, 0, &value, sizeof(value));
    ledger_release(&ledger, 0);
    assert_int_equal(ledger_claim(&ledger, LEDGER_SERVICE, "b", 1, &err), 0);
    assert_false(ledger_body_get(&ledger, 0, &value, sizeof(value)));
    ledger_unmap(&ledger);
}

static void damage_to_record_and_draft_is_seen(void **unused)
{
    (void)unused;
    struct ledger ledger = fresh();
    struct ledger_body *body = &ledger.records[0].body;
    int value = 5;
    ledger_body_put(&ledger, 0, &value, sizeof(value));
    body->data[0] ^= 1;
    assert_true(ledger_body_get(&ledger, 0, &value, sizeof(value)));
    ledger.header->draft.head.len = 0xffff;
    assert_false(ledger_body_get(&ledger, 0, &value, sizeof(value)));
    body->head.len = body->head.kept = LEDGER_BODY_MAX; /* with nothing kept apart */
    assert_false(ledger_body_get(&ledger, 0, &value, sizeof(value)));
    ledger_body_put(&ledger, 0, &value, sizeof(value));
    assert_true(ledger_body_get(&ledger, 0, &value, sizeof(value)));
    ledger_unmap(&ledger);
}

static void a_held_file_names_its_guardian(void **unused)
{
    (void)unused;
    struct ledger ledger, second;
    bool takeover;
    struct err err;
    assert_int_equal(ledger_create(path, &ledger, &takeover, &err), 0);
    atomic_store(&ledger.header->guardian_pid, 31337);
    assert_int_equal(ledger_create(path, &second, &takeover, &err), ERR_EXISTS);
    assert_non_null(strstr(err.text, "31337"));
    ledger_unmap(&ledger);
}

static void living_records_of_this_boot_are_taken_over(void **unused)
{
    (void)unused;
    struct ledger ledger;
    bool takeover;
    struct err err;
    assert_int_equal(ledger_create(path, &ledger, &takeover, &err), 0);
    assert_false(takeover);
    ledger_claim(&ledger, LEDGER_SERVICE, "web:0", 1, &err);
    ledger.pids[0] = getpid();
    ledger_unmap(&ledger);

    assert_int_equal(ledger_create(path, &ledger, &takeover, &err), 0);
    assert_true(takeover);
    assert_string_equal(ledger.records[0].instance, "web:0");
    strcpy(ledger.header->boot_id, "another boot");
    ledger_unmap(&ledger);

    assert_int_equal(ledger_create(path, &ledger, &takeover, &err), 0);
    assert_false(takeover);
    assert_int_equal(ledger_used(&ledger), 0);
    assert_int_equal(ledger.header->rebuilt, 0);
    ledger_unmap(&ledger);
}

/* Who upgrades reads it: sizes differ between versions, too. */
static void another_version_is_named(void **unused)
{
    const struct ledger_header header = { .magic = "SUPLEDG", .version = 2 };
    struct ledger ledger;
    struct err err = { 0 };
    int fd = memfd_create("older", 0);

    (void)unused;
    assert_int_equal(pwrite(fd, &header, sizeof header, 0), sizeof header);
    assert_int_equal(ledger_map(dup(fd), &ledger, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.text, "of version 2, this program reads 4 and 5"));
    assert_non_null(strstr(err.text, "upgrade to a release between them first"));
    assert_non_null(strstr(err.text, "start it again"));
    assert_int_equal(ftruncate(fd, 3), 0);
    assert_int_equal(ledger_map(fd, &ledger, &err), ERR_CORRUPT);
    assert_string_equal(err.text, "not a ledger, or a damaged one");
}

/* The version before is read, and becomes this one where nobody else looks; older and newer ones
 * are not touched. */
static void the_version_before_becomes_this_one(void **unused)
{
    static const uint32_t others[] = { LEDGER_VERSION - 2, LEDGER_VERSION + 1 };
    struct ledger ledger, old;
    bool takeover;
    struct err err;

    (void)unused;
    assert_int_equal(ledger_create(path, &ledger, &takeover, &err), 0);
    ledger_claim(&ledger, LEDGER_SERVICE, "web:0", 7, &err);
    ledger_body_put(&ledger, 0, "kept", 5);
    ledger.pids[0] = getpid();
    for (size_t i = 0; i < 2; i++) {
        ledger.header->version = others[i];
        assert_int_equal(ledger_readable(ledger.fd, &err), ERR_CORRUPT);
        assert_int_equal(ledger_map_old(dup(ledger.fd), &old, &err), ERR_CORRUPT);
        assert_int_equal(ledger.header->version, others[i]);
    }
    ledger.header->version = LEDGER_VERSION;
    ledger.header->unit_bytes++; /* of another body nothing is known */
    assert_int_equal(ledger_readable(ledger.fd, &err), ERR_CORRUPT);
    ledger.header->version = LEDGER_VERSION - 1;
    ledger.header->unit_bytes = 0;
    assert_int_equal(ledger_readable(ledger.fd, &err), 0);
    assert_int_equal(ledger_map(dup(ledger.fd), &old, &err), ERR_CORRUPT);
    assert_int_equal(ledger_peek(path, &old, &err), 0);
    ledger_unmap(&old);
    assert_int_equal(ledger.header->version,
                     LEDGER_VERSION - 1); /* who only looks changes nothing */
    assert_int_equal(ledger_map_old(dup(ledger.fd), &old, &err), 0);
    assert_int_equal(old.header->version, LEDGER_VERSION);
    assert_int_equal(old.header->unit_bytes, LEDGER_UNIT_BYTES);
    char body[5];
    assert_true(ledger_body_get(&old, 0, body, 5));
    assert_string_equal(body, "kept");
    ledger_unmap(&old);
    ledger.header->version = LEDGER_VERSION - 1;
    ledger.header->unit_bytes = 0;
    ledger_unmap(&ledger);
    assert_int_equal(ledger_create(path, &ledger, &takeover, &err), 0);
    assert_true(takeover);
    assert_int_equal(ledger.header->version, LEDGER_VERSION);
    assert_int_equal(ledger.records[0].generation, 7);
    ledger_clear(&ledger);
    ledger_unmap(&ledger);
}

static void an_unreadable_file_means_rebuild(void **unused)
{
    (void)unused;
    struct ledger ledger, peek;
    bool takeover;
    struct err err;
    assert_int_equal(ledger_create(path, &ledger, &takeover, &err), 0);
    ledger_claim(&ledger, LEDGER_SERVICE, "web:0", 1, &err);
    ledger.pids[0] = getpid();
    ledger.header->version = LEDGER_VERSION + 1;
    int copy = dup(ledger.fd);
    assert_int_equal(ledger_peek(path, &peek, &err), ERR_CORRUPT);
    ledger_unmap(&ledger);
    assert_int_equal(ledger_map(copy, &ledger, &err), ERR_CORRUPT);

    assert_int_equal(ledger_create(path, &ledger, &takeover, &err), 0);
    assert_false(takeover);
    assert_int_equal(ledger.header->rebuilt, 1);
    ledger_unmap(&ledger);

    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(ledger_peek(path, &peek, &err), ERR_CORRUPT);
    assert_int_equal(ledger_create(path, &ledger, &takeover, &err), 0);
    assert_int_equal(ledger.header->rebuilt, 1);
    assert_int_equal(ledger_used(&ledger), 0);
    ledger_unmap(&ledger);
}

static void an_unusable_place_means_memory(void **unused)
{
    (void)unused;
    struct ledger ledger;
    bool takeover;
    struct err err;
    char link[128];
    snprintf(link, sizeof(link), "%s/link", folder);
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(ledger_create(link, &ledger, &takeover, &err), 0); /* never followed */
    assert_int_equal(access(path, F_OK) == 0 && ledger_peek(path, &(struct ledger){ 0 }, &err), 0);
    unlink(link);
    ledger_unmap(&ledger);
    assert_int_equal(ledger_create("/nowhere/at/all", &ledger, &takeover, &err), 0);
    assert_int_equal(ledger_claim(&ledger, LEDGER_CORE, "core", 1, &err), 0);
    ledger_unmap(&ledger);
    assert_int_equal(ledger_peek("/nowhere/at/all", &ledger, &err), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_find_the_lowest_free_record),
        cmocka_unit_test(a_full_ledger_and_a_long_name_are_refused),
        cmocka_unit_test(a_second_mapping_sees_the_same),
        cmocka_unit_test(a_reused_pid_means_the_living_one),
        cmocka_unit_test(rearming_forgets_the_exit_and_keeps_the_body),
        cmocka_unit_test(the_newest_whole_body_counts),
        cmocka_unit_test(zeros_at_the_end_are_not_kept),
        cmocka_unit_test(a_torn_put_gives_the_body_before),
        cmocka_unit_test(a_draft_is_not_of_the_next_owner),
        cmocka_unit_test(damage_to_record_and_draft_is_seen),
        cmocka_unit_test(a_held_file_names_its_guardian),
        cmocka_unit_test(living_records_of_this_boot_are_taken_over),
        cmocka_unit_test(another_version_is_named),
        cmocka_unit_test(the_version_before_becomes_this_one),
        cmocka_unit_test(an_unreadable_file_means_rebuild),
        cmocka_unit_test(an_unusable_place_means_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
