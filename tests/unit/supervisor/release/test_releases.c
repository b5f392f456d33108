/* test_releases.c - orders for release sets, and what becomes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/supervisor/release/releases_fake.h"

static void a_first_release_then_a_second(void **state)
{
    struct fake *fake = *state;
    char id[RELEASE_ID_MAX], dir[PATH_MAX];
    struct err err;
    int fd;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    assert_false(releases_pinned(fake->releases, WEB, id));
    assert_string_equal(releases_path(fake->releases, WEB), fake->set);
    struct reply reply = switched(fake, A, 0, "");
    assert_int_equal(reply.result, RELEASE_RESULT_SWITCHED);
    assert_true(reply.confirmed);
    assert_string_equal(reply.from, "");
    assert_string_equal(reply.warning, "");
    assert_all_run(fake, A);
    assert_link(fake, "current", A);
    assert_link(fake, "previous", "");
    reply = switched(fake, B, 0, "");
    assert_string_equal(reply.from, A);
    assert_string_equal(reply.pinned, B);
    assert_all_run(fake, B);
    assert_link(fake, "current", B);
    assert_link(fake, "previous", A);
    assert_int_equal(fake->replaced, 6);
    assert_int_equal(releases_open(fake->releases, WEB, B, &fd, dir, sizeof dir, &err), 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(fd);
    assert_int_equal(releases_open(fake->releases, WEB, C, &fd, dir, sizeof dir, &err),
                     ERR_NOT_FOUND);
    assert_int_equal(releases_open(fake->releases, WEB, "../..", &fd, dir, sizeof dir, &err),
                     ERR_INVALID);
}

static void instances_follow_one_another_in_order(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, A, "");
    struct reply reply = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    releases_switch(fake->releases, &order, on_done, &reply);
    assert_string_equal(fake->running[DB][0].id, A);
    assert_string_equal(fake->running[WEB][0].id, "");
    assert_true(pump_one(fake));
    assert_string_equal(fake->running[WEB][0].id, A);
    assert_string_equal(fake->running[WEB][1].id, "");
    pump(fake);
    assert_int_equal(reply.count, 1);
}

static void a_keeper_that_tells_at_once(void **state)
{
    struct fake *fake = *state;

    fake->at_once = true;
    start(fake, RELEASES_START_FRESH, BOOT_1);
    assert_int_equal(switched(fake, A, 0, "").result, RELEASE_RESULT_SWITCHED);
    assert_int_equal(switched(fake, BAD, 0, "").result, RELEASE_RESULT_REVERTED);
    assert_all_run(fake, A);
}

static void a_bad_release_is_undone_at_once(void **state)
{
    struct fake *fake = *state;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    struct reply reply = switched(fake, BAD, 0, "5:x");
    assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
    assert_string_equal(reply.reason, "db:0: exited with 1");
    assert_string_equal(reply.pinned, A);
    assert_all_run(fake, A);
    assert_link(fake, "current", A);
    assert_link(fake, "previous", "");
    /* A lost answer is asked for again, and nothing happens a second time. */
    size_t before = fake->replaced;
    reply = switched(fake, BAD, 0, "5:x");
    assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
    assert_int_equal(fake->replaced, before);
}

static void a_release_that_is_never_ready_is_undone_in_time(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, SILENT, "");
    struct reply reply = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    order.ready_timeout_ms = 30;
    releases_switch(fake->releases, &order, on_done, &reply);
    run_until(fake, &reply, NULL);
    assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
    assert_string_equal(reply.reason, "db:0 was not ready within 30ms");
    assert_all_run(fake, A);
}

static void told_to_stay_it_stays_and_says_failed(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, SILENT, "");
    struct reply reply = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    order.ready_timeout_ms = 30;
    order.stay = true;
    releases_switch(fake->releases, &order, on_done, &reply);
    run_until(fake, &reply, NULL);
    assert_int_equal(reply.result, RELEASE_RESULT_FAILED);
    assert_all_run(fake, SILENT); /* wholly one release, though not a good one */
    assert_link(fake, "current", SILENT);
    assert_link(fake, "previous", A);
}

static void a_bad_first_release_leaves_nothing(void **state)
{
    struct fake *fake = *state;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    struct reply reply = switched(fake, BAD, 0, "");
    assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
    assert_string_equal(reply.pinned, "");
    assert_all_run(fake, "");
    assert_link(fake, "current", "");
    fresh_start_runs(fake, "");
}

static void both_who_ask_get_the_answer(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, A, "5:x"), other = order_of(fake, B, "5:x");
    struct reply one = { .count = 0 }, two = { .count = 0 }, three = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    releases_switch(fake->releases, &order, on_done, &one);
    releases_switch(fake->releases, &order, on_done, &two);
    releases_switch(fake->releases, &other, on_done, &three);
    assert_int_equal(three.count, 1);
    assert_int_equal(three.code, ERR_STALE);
    assert_non_null(strstr(three.text, "5:x"));
    assert_int_equal(one.count + two.count, 0);
    pump(fake);
    assert_int_equal(one.count, 1);
    assert_int_equal(two.count, 1);
    assert_int_equal(two.result, RELEASE_RESULT_SWITCHED);
    assert_int_equal(fake->replaced, 3);
}

static void a_late_command_is_fenced_off(void **state)
{
    struct fake *fake = *state;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "6:new");
    assert_int_equal(switched(fake, B, 0, "5:old").code, ERR_STALE);
    assert_int_equal(switched(fake, B, 0, "6:other").code, ERR_STALE);
    assert_int_equal(switched(fake, B, 0, "7:newer").result, RELEASE_RESULT_SWITCHED);
    everything_died(fake); /* the fence is on disk */
    start(fake, RELEASES_START_FRESH, BOOT_2);
    assert_int_equal(switched(fake, A, 0, "6:new").code, ERR_STALE);
}

static void a_lease_is_confirmed_or_runs_out(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, B, "5:x");
    struct reply reply = { .count = 0 }, again = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    struct reply first = switched(fake, B, 60000, "5:x");
    assert_int_equal(first.result, RELEASE_RESULT_SWITCHED);
    assert_false(first.confirmed);
    assert_in_range(first.deadline_ms, 50000, 60000);
    assert_true(fake->faster[WEB] && fake->faster[DB]);
    order.confirm_within_ms = 30;
    releases_extend(fake->releases, &order, on_done, &reply);
    assert_int_equal(reply.count, 1);
    assert_in_range(reply.deadline_ms, 0, 30);
    run_until(fake, NULL, "release.reverted");
    assert_all_run(fake, A);
    assert_false(fake->faster[WEB]);
    releases_confirm(fake->releases, &order, on_done, &again);
    assert_int_equal(again.code, ERR_STATE);
    assert_non_null(strstr(again.text, "not confirmed within 30ms"));

    switched(fake, B, 60000, "6:y");
    order.token = "6:y";
    memset(&reply, 0, sizeof reply);
    releases_confirm(fake->releases, &order, on_done, &reply);
    assert_int_equal(reply.count, 1);
    assert_true(reply.confirmed);
    assert_int_equal(reply.deadline_ms, -1);
    assert_false(fake->faster[WEB]);
}

static void an_order_undoes(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, B, "5:x");
    struct reply reply = { .count = 0 }, again = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    switched(fake, B, 60000, "5:x");
    releases_revert(fake->releases, &order, on_done, &reply);
    pump(fake);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
    assert_string_equal(reply.reason, "undone by order by a test");
    assert_all_run(fake, A);
    releases_revert(fake->releases, &order, on_done, &again);
    assert_int_equal(again.count, 1);
    assert_int_equal(again.result, RELEASE_RESULT_REVERTED);
}

static void rollback_goes_to_what_was_good(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, NULL, "");
    struct reply none = { .count = 0 }, reply = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    releases_rollback(fake->releases, &order, on_done, &none);
    assert_int_equal(none.code, ERR_NOT_FOUND);
    switched(fake, B, 0, "");
    switched(fake, BAD, 0, "");
    releases_rollback(fake->releases, &order, on_done, &reply);
    pump(fake);
    assert_int_equal(reply.count, 1);
    assert_string_equal(reply.pinned, A);
    assert_all_run(fake, A);
    /* Unconfirmed: the way back is an undo. */
    memset(&reply, 0, sizeof reply);
    switched(fake, B, 60000, "5:x");
    releases_rollback(fake->releases, &order, on_done, &reply);
    pump(fake);
    assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
    assert_all_run(fake, A);
}

static void nonsense_is_refused(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, A, "");
    struct reply reply = { .count = 0 };
    json_t *state_json = NULL;
    struct err err;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    assert_int_equal(switched(fake, "../../etc", 0, "").code, ERR_INVALID);
    assert_int_equal(switched(fake, A, 0, "token").code, ERR_INVALID);
    assert_int_equal(switched(fake, C, 0, "").code, ERR_NOT_FOUND);
    order.path = "/nowhere";
    releases_switch(fake->releases, &order, on_done, &reply);
    assert_int_equal(reply.code, ERR_NOT_FOUND);
    order = order_of(fake, NULL, NULL);
    releases_confirm(fake->releases, &order, on_done, &reply);
    assert_int_equal(reply.code, ERR_INVALID);
    assert_int_equal(releases_state(fake->releases, "/nowhere", &state_json, &err), ERR_NOT_FOUND);
    fresh_start_runs(fake, "");
    assert_int_equal(fake->replaced, 0);
}

static void current_that_is_a_folder_is_refused(void **state)
{
    struct fake *fake = *state;
    char path[256];

    start(fake, RELEASES_START_FRESH, BOOT_1);
    snprintf(path, sizeof path, "%s/current", fake->set);
    assert_int_equal(mkdir(path, 0755), 0);
    struct reply reply = switched(fake, A, 0, "");
    assert_int_equal(reply.code, ERR_STATE);
    assert_non_null(strstr(reply.text, "mv "));
    assert_int_equal(fake->replaced, 0);
    fresh_start_runs(fake, "");
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(switched(fake, A, 0, "").result, RELEASE_RESULT_SWITCHED);
}

static void links_are_repaired_and_never_believed(void **state)
{
    struct fake *fake = *state;
    char path[256];

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    everything_died(fake);
    snprintf(path, sizeof path, "%s/current", fake->set);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc", path), 0);
    start(fake, RELEASES_START_FRESH, BOOT_1);
    fresh_start_runs(fake, A);
    assert_link(fake, "current", A);
}

static void a_set_that_never_had_a_release_is_left_alone(void **state)
{
    struct fake *fake = *state;
    char path[256], target[64] = "";

    snprintf(path, sizeof path, "%s/current", fake->set);
    assert_int_equal(symlink("releases/by-another-tool", path), 0);
    start(fake, RELEASES_START_FRESH, BOOT_1);
    fresh_start_runs(fake, "");
    assert_true(readlink(path, target, sizeof target - 1) > 0);
    assert_string_equal(target, "releases/by-another-tool");
}

static void root_must_be_spelt_out(void **state)
{
    struct fake *fake = *state;
    struct err_list errors;

    if (geteuid() != 0)
        skip();
    fake->services[WEB].user = NULL;
    err_list_init(&errors);
    start_with(fake, RELEASES_START_FRESH, BOOT_1, &errors);
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.lines[0], "[service:web] user"));
    err_list_done(&errors);
    assert_non_null(releases_problem(fake->releases, WEB));
    assert_null(releases_problem(fake->releases, DB));
    assert_int_equal(switched(fake, A, 0, "").code, ERR_DENIED);
}

static void scaling_and_reloading_in_the_middle(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, B, "");
    struct reply reply = { .count = 0 };
    struct err err;

    fake->counts[WEB].instances = 1;
    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    releases_switch(fake->releases, &order, on_done, &reply);
    fake->counts[WEB].instances = 2;
    assert_int_equal(
        releases_configure(fake->releases, &fake->plan, fake->counts, RELEASES_RELOAD, NULL, &err),
        0);
    pump(fake);
    assert_int_equal(reply.count, 1);
    assert_all_run(fake, B);
    /* The set goes away while somebody waits for it. */
    memset(&reply, 0, sizeof reply);
    order.id = A;
    releases_switch(fake->releases, &order, on_done, &reply);
    fake->plan.nservices = 0;
    assert_int_equal(
        releases_configure(fake->releases, &fake->plan, fake->counts, RELEASES_RELOAD, NULL, &err),
        0);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.code, ERR_STATE);
    assert_null(releases_path(fake->releases, WEB));
    fake->plan.nservices = NSERVICES;
}

static void the_state_is_told(void **state)
{
    struct fake *fake = *state;
    json_t *json = NULL;
    struct err err;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    switched(fake, B, 60000, "5:x");
    assert_int_equal(releases_state(fake->releases, fake->set, &json, &err), 0);
    assert_string_equal(jsonx_text(json, "pinned", ""), B);
    assert_string_equal(jsonx_text(json, "from", ""), A);
    assert_string_equal(jsonx_text(json, "token", ""), "5:x");
    assert_string_equal(jsonx_text(json, "phase", ""), "unconfirmed");
    assert_false(jsonx_bool(json, "confirmed", true));
    assert_true(jsonx_real(json, "deadline_s", 0) > 50);
    assert_int_equal(json_array_size(json_object_get(json, "good")), 1);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_first_release_then_a_second),
        TEST(instances_follow_one_another_in_order),
        TEST(a_keeper_that_tells_at_once),
        TEST(a_bad_release_is_undone_at_once),
        TEST(a_release_that_is_never_ready_is_undone_in_time),
        TEST(told_to_stay_it_stays_and_says_failed),
        TEST(a_bad_first_release_leaves_nothing),
        TEST(both_who_ask_get_the_answer),
        TEST(a_late_command_is_fenced_off),
        TEST(a_lease_is_confirmed_or_runs_out),
        TEST(an_order_undoes),
        TEST(rollback_goes_to_what_was_good),
        TEST(nonsense_is_refused),
        TEST(current_that_is_a_folder_is_refused),
        TEST(links_are_repaired_and_never_believed),
        TEST(a_set_that_never_had_a_release_is_left_alone),
        TEST(root_must_be_spelt_out),
        TEST(scaling_and_reloading_in_the_middle),
        TEST(the_state_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
