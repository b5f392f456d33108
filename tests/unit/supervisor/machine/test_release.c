/* test_release.c - stories of one release set; test_release_explore.c has all the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/machine/release.h"

enum { N = 2, NOW = 1000, LATE = 1000000, STEP = 10, READY = 50, LEASE = 500 };

static const char *const ids[] = { "", "000001-aaaaaaaa", "000002-bbbbbbbb" };

/* For the stories: what was done since the last look, in words. */
struct story {
    struct release release;
    struct release_member members[N];
    char acts[512];
};

static void story_begin(struct story *story)
{
    memset(story, 0, sizeof *story);
    story->release.members = story->members;
    story->release.nmembers = N;
    story->release.step_ms = STEP;
}

static const char *acts_of(struct story *story, int64_t now_ms)
{
    static const char *const names[] = {
        [RELEASE_ACT_COMMIT] = "commit", [RELEASE_ACT_LINKS] = "links",
        [RELEASE_ACT_ARM] = "arm",       [RELEASE_ACT_REPLACE] = "replace",
        [RELEASE_ACT_STOP_ALL] = "stop", [RELEASE_ACT_BAKE] = "bake",
        [RELEASE_ACT_ANSWER] = "answer",
    };
    struct release_act act;
    size_t len = 0;

    story->acts[0] = '\0';
    while (release_next(&story->release, now_ms, &act)) {
        len += (size_t)snprintf(story->acts + len, sizeof story->acts - len, "%s%s", len ? " " : "",
                                names[act.kind]);
        if (act.kind == RELEASE_ACT_REPLACE)
            len += (size_t)snprintf(story->acts + len, sizeof story->acts - len, "%zu", act.member);
    }
    return story->acts;
}

static void all_ready(struct story *story)
{
    for (size_t i = 0; i < N; i++) {
        acts_of(story, NOW);
        release_ready(&story->release, i, story->release.pin.id);
    }
    acts_of(story, NOW);
}

static struct release_order to(const char *id, const char *token, int64_t lease_ms)
{
    return (
        struct release_order){ .id = id, .token = token, .lease_ms = lease_ms, .ready_ms = READY };
}

static void a_release_by_hand_is_good_when_all_are_ready(void **unused)
{
    struct story story;
    struct release_order order = to(ids[1], "", 0);

    (void)unused;
    story_begin(&story);
    assert_int_equal(release_switch(&story.release, &order, NOW, NULL), 1);
    assert_string_equal(acts_of(&story, NOW), "commit links arm replace0");
    assert_int_equal(release_waiting_for(&story.release), 0);
    release_ready(&story.release, 0, ids[1]);
    assert_string_equal(acts_of(&story, NOW), "replace1");
    release_ready(&story.release, 1, ids[1]);
    assert_string_equal(acts_of(&story, NOW), "commit arm answer");
    assert_int_equal(story.release.pin.phase, RELEASE_STEADY);
    assert_int_equal(story.release.pin.last.result, RELEASE_RESULT_SWITCHED);
    assert_string_equal(story.release.pin.good[0], ids[1]);
}

static void an_exit_undoes_what_was_replaced(void **unused)
{
    struct story story;
    struct release_order order = to(ids[1], "", 0);

    (void)unused;
    story_begin(&story);
    release_switch(&story.release, &order, NOW, NULL);
    all_ready(&story);
    order.id = ids[2];
    release_switch(&story.release, &order, NOW, NULL);
    acts_of(&story, NOW);
    release_ready(&story.release, 0, ids[2]);
    assert_string_equal(acts_of(&story, NOW), "replace1");
    release_down(&story.release, 1, ids[2], "web:1: exited with 1");
    assert_string_equal(acts_of(&story, NOW), "commit links arm replace1 arm");
    release_down(&story.release, 1, ids[1], "again");
    assert_string_equal(acts_of(&story, NOW), "replace0 arm");
    release_ready(&story.release, 0, ids[1]);
    assert_string_equal(acts_of(&story, NOW), "commit arm answer");
    assert_int_equal(story.release.pin.last.result, RELEASE_RESULT_REVERTED);
    assert_string_equal(story.release.pin.last.reason, "web:1: exited with 1");
    assert_string_equal(story.release.pin.id, ids[1]);
}

static void a_lease_that_runs_out_is_undone_and_asked_again_says_so(void **unused)
{
    struct story story;
    struct release_order first = to(ids[1], "", 0), second = to(ids[2], "5:x", LEASE);

    (void)unused;
    story_begin(&story);
    release_switch(&story.release, &first, NOW, NULL);
    all_ready(&story);
    release_switch(&story.release, &second, NOW, NULL);
    all_ready(&story);
    assert_int_equal(story.release.pin.phase, RELEASE_UNCONFIRMED);
    assert_int_equal(story.release.pin.deadline_ms, NOW + LEASE);
    release_time(&story.release, NOW + LEASE - 1, "early");
    assert_string_equal(acts_of(&story, NOW), "arm");
    assert_int_equal(release_extend(&story.release, ids[2], "5:x", LEASE, NOW + 100, NULL), 0);
    release_time(&story.release, NOW + LEASE, "still early");
    assert_int_equal(story.release.pin.phase, RELEASE_UNCONFIRMED);
    release_time(&story.release, NOW + 100 + LEASE, "not confirmed");
    all_ready(&story);
    assert_int_equal(story.release.pin.phase, RELEASE_STEADY);
    assert_string_equal(story.release.pin.id, ids[1]);
    assert_int_equal(release_switch(&story.release, &second, NOW, NULL), 0);
    assert_int_equal(story.release.pin.last.result, RELEASE_RESULT_REVERTED);
    assert_string_equal(story.release.pin.last.reason, "not confirmed");
}

static void the_good_ones_are_remembered_newest_first(void **unused)
{
    struct story story;
    char id[RELEASE_ID_MAX];

    (void)unused;
    story_begin(&story);
    for (int i = 0; i < RELEASE_GOOD_MAX + 3; i++) {
        snprintf(id, sizeof id, "%06d-abcdef01", i);
        struct release_order order = to(id, "", 0);
        assert_int_equal(release_switch(&story.release, &order, NOW, NULL), 1);
        all_ready(&story);
    }
    assert_int_equal(story.release.pin.ngood, RELEASE_GOOD_MAX);
    assert_string_equal(story.release.pin.good[0], "000034-abcdef01");
    assert_string_equal(release_rollback_target(&story.release, 0), "000033-abcdef01");
    assert_string_equal(release_rollback_target(&story.release, 30), "000003-abcdef01");
    assert_null(release_rollback_target(&story.release, 31));
    assert_string_equal(release_previous(&story.release.pin), "000033-abcdef01");
}

static void a_deadline_of_another_clock_is_cut_to_what_it_can_be(void **unused)
{
    struct story story;
    struct release_order order = to(ids[1], "5:x", LEASE);

    (void)unused;
    story_begin(&story);
    release_switch(&story.release, &order, LATE, NULL);
    all_ready(&story);
    story.release.pin.deadline_ms = LATE;
    release_begin(&story.release, RELEASE_CORE_RESTARTED, NOW);
    assert_int_equal(story.release.pin.deadline_ms, NOW + LEASE);
}

static void one_that_strays_is_put_right_once(void **unused)
{
    struct story story;
    struct release_order order = to(ids[1], "", 0);

    (void)unused;
    story_begin(&story);
    release_switch(&story.release, &order, NOW, NULL);
    all_ready(&story);
    release_ready(&story.release, 1, ids[2]);
    assert_string_equal(acts_of(&story, NOW), "replace1");
    release_ready(&story.release, 1, ids[2]);
    assert_string_equal(acts_of(&story, NOW), "");
    release_down(&story.release, 1, ids[1], "died");
    assert_string_equal(acts_of(&story, NOW), "");
}

static void ids_and_tokens(void **unused)
{
    (void)unused;
    assert_true(release_id_valid("000123-9f3ac1d2"));
    assert_true(release_id_valid("1234567-0123456789abcdef"));
    assert_false(release_id_valid(""));
    assert_false(release_id_valid("00012-9f3ac1d2"));
    assert_false(release_id_valid("000123-9f3ac1d"));
    assert_false(release_id_valid("000123-9f3ac1dX"));
    assert_false(release_id_valid("000123-9F3AC1D2"));
    assert_false(release_id_valid("000123-9f3ac1d2/.."));
    assert_false(release_id_valid("../000123-9f3ac1d2"));
    assert_false(release_id_valid("000123-9f3ac1d29f3ac1d29f3ac1d29f3ac1d2"));
    assert_int_equal(release_token_epoch("12:abc"), 12);
    assert_int_equal(release_token_epoch("0:a"), 0);
    assert_int_equal(release_token_epoch("12:"), -1);
    assert_int_equal(release_token_epoch(":abc"), -1);
    assert_int_equal(release_token_epoch("12"), -1);
    assert_int_equal(release_token_epoch("-1:abc"), -1);
    assert_int_equal(release_token_epoch("12:a b"), -1);
    assert_int_equal(release_token_epoch("99999999999999999999:a"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_release_by_hand_is_good_when_all_are_ready),
        cmocka_unit_test(an_exit_undoes_what_was_replaced),
        cmocka_unit_test(a_lease_that_runs_out_is_undone_and_asked_again_says_so),
        cmocka_unit_test(the_good_ones_are_remembered_newest_first),
        cmocka_unit_test(a_deadline_of_another_clock_is_cut_to_what_it_can_be),
        cmocka_unit_test(one_that_strays_is_put_right_once),
        cmocka_unit_test(ids_and_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
