/* test_opened.c - the record of an open rollout goes out and comes back, and damage is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "deployctl/fleet/opened.h"
#include "io/jsonx.h"

static json_t *sample(void)
{
    struct opened_host hosts[] = {
        { .name = "a", .from = "000001-00000000", .canary = true, .metrics = "http://[::1]:1/" },
        { .name = "b", .from = NULL },
        { .name = "c", .from = "000001-00000000", .absent = true },
    };
    struct opened opened = {
        .rollout = "r1",
        .id = "000002-9f3ac1d2",
        .digest = "9f",
        .app = "web",
        .kind = "release",
        .who = "ann@laptop",
        .started = "now",
        .epoch = 7,
        .partial = true,
        .limits = { .canary = 1,
                    .batch = 2,
                    .unavailable = 1,
                    .undo_unavailable = 3,
                    .failed = 4,
                    .unreachable = 5,
                    .bake_ms = 60000,
                    .healthy_for_ms = 10,
                    .progress_deadline_ms = 20,
                    .confirm_within_ms = 5000,
                    .pause_on_failure = true },
        .evidence = { .metrics = "http://127.0.0.1:80/m",
                      .errors = "e{code=~\"5..\"}",
                      .latency_ms = 250,
                      .max_error_ratio = 0.03,
                      .max_slow_ratio = 0.05,
                      .false_abort = 0.01,
                      .interval_ms = 100,
                      .warm_up_ms = 7,
                      .promote = true },
        .hold_for_ms = 1,
        .ready_timeout_ms = 2,
        .hosts = hosts,
        .count = 3,
    };
    return opened_make(&opened);
}

static void what_goes_out_comes_back(void **unused)
{
    (void)unused;
    struct opened opened;
    struct err err;
    json_t *json = sample();
    assert_int_equal(opened_parse(json, &opened, &err), 0);
    assert_string_equal(opened.id, "000002-9f3ac1d2");
    assert_string_equal(opened.who, "ann@laptop");
    assert_null(opened.message);
    assert_int_equal(opened.epoch, 7);
    assert_true(opened.partial);
    assert_int_equal(opened.limits.batch, 2);
    assert_string_equal(opened.evidence.metrics, "http://127.0.0.1:80/m");
    assert_string_equal(opened.evidence.errors, "e{code=~\"5..\"}");
    assert_null(opened.evidence.requests);
    assert_int_equal(opened.evidence.latency_ms, 250);
    assert_true(opened.evidence.max_error_ratio == 0.03 && opened.evidence.promote);
    assert_true(opened.evidence.max_slow_ratio == 0.05 && opened.evidence.false_abort == 0.01);
    assert_int_equal(opened.evidence.interval_ms + opened.evidence.warm_up_ms, 107);
    assert_string_equal(opened.hosts[0].metrics, "http://[::1]:1/");
    assert_null(opened.hosts[1].metrics);
    assert_int_equal(opened.limits.undo_unavailable, 3);
    assert_int_equal(opened.limits.unreachable, 5);
    assert_int_equal(opened.limits.confirm_within_ms, 5000);
    assert_true(opened.limits.pause_on_failure);
    assert_int_equal(opened.count, 3);
    assert_true(opened_host(&opened, "a")->canary);
    assert_null(opened_host(&opened, "b")->from);
    assert_true(opened_host(&opened, "c")->absent);
    assert_null(opened_host(&opened, "d"));
    opened_done(&opened);
    json_decref(json);
}

static void damage_is_refused(void **unused)
{
    (void)unused;
    static const char *const needed[] = { "rollout", "id", "digest", "epoch", "limits", "hosts" };
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        struct opened opened;
        struct err err;
        json_t *json = sample();
        json_object_del(json, needed[i]);
        assert_int_equal(opened_parse(json, &opened, &err), ERR_CORRUPT);
        assert_non_null(strstr(err.text, "damaged"));
        json_decref(json);
    }
    struct opened opened;
    json_t *json = sample();
    jsonx_set_text(json, "id", "../../etc");
    assert_int_equal(opened_parse(json, &opened, NULL), ERR_CORRUPT);
    json_decref(json);
    json = sample();
    jsonx_set_real(json_object_get(json, "verdict"), "false_abort", 2);
    assert_int_equal(opened_parse(json, &opened, NULL), ERR_CORRUPT);
    json_decref(json);
    json = sample();
    jsonx_set_text(json_object_get(json, "verdict"), "metrics", "http://192.0.2.1/");
    assert_int_equal(opened_parse(json, &opened, NULL), ERR_CORRUPT);
    json_decref(json);
    json = json_object();
    jsonx_set_text(json, "damaged", "line 1: no");
    assert_int_equal(opened_parse(json, &opened, NULL), ERR_CORRUPT);
    json_decref(json);
}

static json_t *with_groups(void)
{
    struct opened_host hosts[] = {
        { .name = "a", .group = 0, .zone = "east" },
        { .name = "b", .group = 1, .zone = NULL },
    };
    struct opened opened = {
        .rollout = "r1",
        .id = "000002-9f3ac1d2",
        .digest = "9f",
        .kind = "rollback",
        .epoch = 7,
        .limits = { .batch = 2,
                    .unavailable = 1,
                    .undo_unavailable = 3,
                    .confirm_within_ms = 5000,
                    .ngroups = 2,
                    .groups = { { "api", 1, 2, 3 }, { "web", 4, 5, 6 } } },
        .hosts = hosts,
        .count = 2,
    };
    return opened_make(&opened);
}

static void groups_come_back_in_their_order(void **unused)
{
    (void)unused;
    struct opened opened;
    struct err err;
    json_t *json = with_groups();
    assert_int_equal(opened_parse(json, &opened, &err), 0);
    assert_int_equal(opened.limits.ngroups, 2);
    assert_true(opened.limits.last_first); /* of a rollback */
    assert_string_equal(opened.limits.groups[1].name, "web");
    assert_int_equal(opened.limits.groups[1].batch, 4);
    assert_int_equal(opened.limits.groups[1].unavailable, 5);
    assert_int_equal(opened.limits.groups[1].undo_unavailable, 6);
    assert_int_equal(opened.hosts[1].group, 1);
    assert_string_equal(opened.hosts[0].zone, "east");
    assert_null(opened.hosts[1].zone);
    opened_done(&opened);
    json_decref(json);

    json = sample(); /* none, as in records of before */
    assert_null(json_object_get(json, "groups"));
    assert_int_equal(opened_parse(json, &opened, &err), 0);
    assert_int_equal(opened.limits.ngroups, 0);
    assert_int_equal(opened.hosts[2].group, 0);
    assert_false(opened.limits.last_first);
    opened_done(&opened);
    json_decref(json);
}

static void damaged_groups_are_refused(void **unused)
{
    (void)unused;
    static const char *const keys[] = { "name", "batch", "max_unavailable", "undo_unavailable" };
    static const json_int_t numbers[] = { -1, 2 };
    struct opened opened;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        json_t *json = with_groups();
        json_object_del(json_array_get(json_object_get(json, "groups"), 1), keys[i]);
        assert_int_equal(opened_parse(json, &opened, NULL), ERR_CORRUPT);
        json_decref(json);
    }
    for (size_t i = 0; i < 2; i++) {
        json_t *json = with_groups();
        jsonx_set_int(json_array_get(json_object_get(json, "hosts"), 0), "group", numbers[i]);
        assert_int_equal(opened_parse(json, &opened, NULL), ERR_CORRUPT);
        json_decref(json);
    }
    json_t *json = with_groups();
    jsonx_set_text(json_array_get(json_object_get(json, "groups"), 0), "name", "\033[2J");
    assert_int_equal(opened_parse(json, &opened, NULL), ERR_CORRUPT);
    json_decref(json);
    json = with_groups();
    for (size_t i = 0; i < ROLLOUT_GROUPS_MAX; i++)
        json_array_append(json_object_get(json, "groups"),
                          json_array_get(json_object_get(json, "groups"), 0));
    assert_int_equal(opened_parse(json, &opened, NULL), ERR_CORRUPT);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_out_comes_back),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(groups_come_back_in_their_order),
        cmocka_unit_test(damaged_groups_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
