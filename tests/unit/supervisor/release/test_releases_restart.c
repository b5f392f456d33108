/* test_releases_restart.c - crashes, restarts, reboots, damaged pins and failing disks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/supervisor/release/releases_fake.h"

/* Switches from A to `id` and kills the core after `steps` words of the keeper. */
static void crash_after(struct fake *fake, const char *id, int64_t lease_ms, int steps)
{
    struct releases_order order = order_of(fake, id, "5:x");
    struct reply reply = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    order.confirm_within_ms = lease_ms;
    releases_switch(fake->releases, &order, on_done, &reply);
    for (int i = 0; i < steps; i++)
        pump_one(fake);
    releases_free(fake->releases);
    fake->releases = NULL;
    assert_int_equal(reply.count, 1);
    if (reply.result == RELEASE_RESULT_NONE)
        assert_int_equal(reply.code, ERR_UNREACHABLE);
}

static void clean(struct fake *fake)
{
    everything_died(fake);
    remove_folder(fake->state);
}

static void a_new_core_goes_on_from_any_step(void **state)
{
    struct fake *fake = *state;

    for (int steps = 0; steps < 8; steps++) {
        crash_after(fake, B, 0, steps);
        start(fake, RELEASES_START_ADOPTING, BOOT_1);
        struct reply reply = switched(fake, B, 0, "5:x"); /* the asker comes back */
        assert_int_equal(reply.result, RELEASE_RESULT_SWITCHED);
        assert_all_run(fake, B);
        assert_link(fake, "current", B);
        clean(fake);

        crash_after(fake, BAD, 0, steps);
        start(fake, RELEASES_START_ADOPTING, BOOT_1);
        reply = switched(fake, BAD, 0, "5:x");
        assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
        assert_all_run(fake, A);
        assert_link(fake, "current", A);
        clean(fake);
    }
}

static void a_new_core_keeps_the_lease(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, B, "5:x");
    struct reply reply = { .count = 0 };

    crash_after(fake, B, 60000, 3);
    start(fake, RELEASES_START_ADOPTING, BOOT_1);
    pump(fake);
    assert_true(fake->faster[WEB]);
    struct reply now = switched(fake, B, 60000, "5:x");
    assert_false(now.confirmed);
    assert_in_range(now.deadline_ms, 50000, 60000);
    order.confirm_within_ms = 30;
    releases_extend(fake->releases, &order, on_done, &reply);
    stop(fake);
    start(fake, RELEASES_START_ADOPTING, BOOT_1);
    run_until(fake, NULL, "release.reverted");
    assert_all_run(fake, A);
}

static void a_restart_of_all_undoes_what_was_not_seen_ready(void **state)
{
    struct fake *fake = *state;

    for (int steps = 0; steps < 3; steps++) {
        crash_after(fake, B, 0, steps);
        everything_died(fake);
        start(fake, RELEASES_START_FRESH, BOOT_1);
        fresh_start_runs(fake, A);
        struct reply reply = switched(fake, B, 0, "5:x");
        assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
        assert_non_null(strstr(reply.reason, "restarted"));
        assert_link(fake, "current", A);
        clean(fake);
    }
    /* All ready and the lease still running: it holds. */
    crash_after(fake, B, 60000, 3);
    everything_died(fake);
    start(fake, RELEASES_START_FRESH, BOOT_1);
    fresh_start_runs(fake, B);
    assert_false(switched(fake, B, 60000, "5:x").confirmed);
}

static void a_reboot_undoes_what_was_not_confirmed(void **state)
{
    struct fake *fake = *state;

    crash_after(fake, B, 60000, 3);
    everything_died(fake);
    start(fake, RELEASES_START_FRESH, BOOT_2);
    fresh_start_runs(fake, A);
    assert_link(fake, "current", A);
    struct reply reply = switched(fake, B, 60000, "5:x");
    assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
    assert_non_null(strstr(reply.reason, "rebooted"));
    clean(fake);
    /* What was confirmed stays. */
    crash_after(fake, B, 0, 3);
    everything_died(fake);
    start(fake, RELEASES_START_FRESH, BOOT_2);
    fresh_start_runs(fake, B);
}

static void pin_path(const struct fake *fake, const char *suffix, char path[PATH_MAX])
{
    char name[PIN_NAME_MAX];

    pin_name(fake->set, name);
    snprintf(path, PATH_MAX, "%s/%s%s", fake->state, name, suffix);
}

static void damage(const struct fake *fake, const char *suffix)
{
    char path[PATH_MAX];

    pin_path(fake, suffix, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "#", 1, 150), 1);
    close(fd);
}

static void a_damaged_pin_is_read_from_its_copy(void **state)
{
    struct fake *fake = *state;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    everything_died(fake);
    damage(fake, "");
    fake->events[0] = '\0';
    start(fake, RELEASES_START_FRESH, BOOT_1);
    fresh_start_runs(fake, A);
    assert_non_null(strstr(fake->events, "release.pin_damaged"));
    everything_died(fake);
    damage(fake, ".copy"); /* the other one was mended meanwhile */
    start(fake, RELEASES_START_FRESH, BOOT_1);
    fresh_start_runs(fake, A);
}

static void copy_file(const struct fake *fake, const char *from, const char *to)
{
    char path[PATH_MAX];
    struct buf buf;

    buf_init(&buf, PIN_BYTES_MAX);
    pin_path(fake, from, path);
    assert_int_equal(buf_read_file(&buf, AT_FDCWD, path), 0);
    pin_path(fake, to, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, buf_text(&buf), buf.len), buf.len);
    close(fd);
    buf_done(&buf);
}

/* The power went between writing the one and the other. */
static void the_newest_whole_pin_counts(void **state)
{
    static const char *const stale[] = { "", ".copy" };
    struct fake *fake = *state;

    for (size_t i = 0; i < 2; i++) {
        start(fake, RELEASES_START_FRESH, BOOT_1);
        switched(fake, A, 0, "");
        copy_file(fake, "", ".kept");
        switched(fake, B, 0, "");
        everything_died(fake);
        copy_file(fake, ".kept", stale[i]);
        start(fake, RELEASES_START_FRESH, BOOT_1);
        fresh_start_runs(fake, B);
        clean(fake);
    }
}

static void a_pin_that_is_lost_starts_nothing_until_named(void **state)
{
    struct fake *fake = *state;
    struct err_list errors;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    everything_died(fake);
    damage(fake, "");
    damage(fake, ".copy");
    err_list_init(&errors);
    start_with(fake, RELEASES_START_FRESH, BOOT_1, &errors);
    fresh_start_runs(fake, "");
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.lines[0], "supervisor switch db RELEASE"));
    err_list_done(&errors);
    assert_non_null(releases_problem(fake->releases, WEB));
    assert_link(fake, "current", A); /* the last that people can see of it */
    /* What ran before is not known, so a bad one cannot be undone. */
    assert_int_equal(switched(fake, BAD, 0, "").result, RELEASE_RESULT_FAILED);
    assert_null(releases_problem(fake->releases, WEB));
    struct releases_order order = order_of(fake, BAD, "");
    struct reply reply = { .count = 0 };
    releases_revert(fake->releases, &order, on_done, &reply);
    assert_int_equal(reply.code, ERR_STATE);
    assert_int_equal(switched(fake, A, 0, "").result, RELEASE_RESULT_SWITCHED);
    assert_all_run(fake, A);
}

static void without_a_state_dir_pins_survive_the_core(void **state)
{
    struct fake *fake = *state;

    snprintf(fake->state, sizeof fake->state, "/proc/nowhere/state");
    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    struct reply reply = switched(fake, B, 60000, "5:x");
    assert_int_equal(reply.result, RELEASE_RESULT_SWITCHED);
    assert_non_null(strstr(reply.warning, "state_dir"));
    stop(fake);
    start(fake, RELEASES_START_ADOPTING, BOOT_1);
    pump(fake);
    assert_false(switched(fake, B, 60000, "5:x").confirmed);
    everything_died(fake);
    start(fake, RELEASES_START_FRESH, BOOT_1);
    fresh_start_runs(fake, "");
}

/* state_dir is a file now: nothing can be written there. */
static void break_state_dir(struct fake *fake)
{
    remove_folder(fake->state);
    int fd = open(fake->state, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void a_disk_that_fails_stops_orders_but_no_undo(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, B, "5:x");
    struct reply reply = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    switched(fake, B, 60000, "5:x");
    break_state_dir(fake);
    releases_confirm(fake->releases, &order, on_done, &reply);
    assert_int_equal(reply.count, 1);
    assert_int_not_equal(reply.code, ERR_NONE);
    assert_non_null(strstr(reply.text, fake->set));
    assert_true(fake->faster[WEB]); /* still waiting to be confirmed */
    memset(&reply, 0, sizeof reply);
    releases_revert(fake->releases, &order, on_done, &reply);
    pump(fake);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
    assert_all_run(fake, A);
    assert_non_null(strstr(fake->events, "release.unsaved"));
    stop(fake);
    start(fake, RELEASES_START_ADOPTING, BOOT_1); /* the guardian's store has the newest */
    assert_string_equal(switched(fake, B, 60000, "5:x").reason, "undone by order by a test");
}

static void a_state_dir_that_was_removed_is_made_again(void **state)
{
    struct fake *fake = *state;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    remove_folder(fake->state);
    struct reply reply = switched(fake, B, 0, "");
    assert_int_equal(reply.result, RELEASE_RESULT_SWITCHED);
    assert_string_equal(reply.warning, "");
    everything_died(fake);
    start(fake, RELEASES_START_FRESH, BOOT_2);
    fresh_start_runs(fake, B);
}

/* A host mounts the disk with state_dir after its init has started. */
static void a_pin_that_comes_to_light_later_counts(void **state)
{
    struct fake *fake = *state;
    char away[sizeof fake->state + 8];
    struct err err;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    switched(fake, B, 60000, "5:x");
    everything_died(fake);
    snprintf(away, sizeof away, "%s.away", fake->state);
    assert_int_equal(rename(fake->state, away), 0);
    start(fake, RELEASES_START_FRESH, BOOT_2);
    fresh_start_runs(fake, "");
    remove_folder(fake->state);
    assert_int_equal(rename(away, fake->state), 0);
    assert_int_equal(
        releases_configure(fake->releases, &fake->plan, fake->counts, RELEASES_RELOAD, NULL, &err),
        0);
    fresh_start_runs(fake, A); /* the other one was not confirmed before the reboot */
}

static void a_pin_survives_its_text(void **state)
{
    struct pin pin = { .sequence = 7, .boot_id = BOOT_1 }, back;
    struct err err;

    (void)state;
    pin.release.phase = RELEASE_UNCONFIRMED;
    strcpy(pin.release.id, B);
    strcpy(pin.release.from, A);
    strcpy(pin.release.token, "5:x");
    pin.release.epoch = 5;
    pin.release.undoable = true;
    pin.release.lease_ms = 120000;
    pin.release.deadline_ms = 123456789;
    strcpy(pin.release.good[0], A);
    pin.release.ngood = 1;
    memset(pin.release.reason, 0xff, sizeof pin.release.reason - 1); /* no UTF-8 */
    AUTO_FREE char *text = pin_text("/srv/web", &pin);
    assert_int_equal(pin_parse(text, strlen(text), "/srv/web", &back, &err), 0);
    assert_int_equal(back.sequence, 7);
    assert_string_equal(back.release.from, A);
    assert_int_equal(back.release.deadline_ms, 123456789);
    assert_int_equal(pin_parse(text, strlen(text), "/srv/other", &back, &err), ERR_CORRUPT);
    for (size_t len = 0; len < strlen(text) - 1; len += 13)
        assert_int_equal(pin_parse(text, len, "/srv/web", &back, &err), ERR_CORRUPT);
    char *epoch = strstr(text, "\"epoch\":5");
    assert_non_null(epoch);
    epoch[8] = '6';
    assert_int_equal(pin_parse(text, strlen(text), "/srv/web", &back, &err), ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_core_goes_on_from_any_step),
        TEST(a_new_core_keeps_the_lease),
        TEST(a_restart_of_all_undoes_what_was_not_seen_ready),
        TEST(a_reboot_undoes_what_was_not_confirmed),
        TEST(a_damaged_pin_is_read_from_its_copy),
        TEST(the_newest_whole_pin_counts),
        TEST(a_pin_that_is_lost_starts_nothing_until_named),
        TEST(without_a_state_dir_pins_survive_the_core),
        TEST(a_disk_that_fails_stops_orders_but_no_undo),
        TEST(a_state_dir_that_was_removed_is_made_again),
        TEST(a_pin_that_comes_to_light_later_counts),
        cmocka_unit_test(a_pin_survives_its_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
