#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/unit/supervisor/plan/plan_fixture.h"

enum { TEXT_MAX = 1024 };

/* The digest tells what the diff tells. */
static void check_digests(const struct plan *a, const struct plan *b, const struct plan_diff *diff)
{
    for (size_t i = 0; i < diff->count; i++) {
        ssize_t old = plan_find(a, diff->rows[i].service),
                new = plan_find(b, diff->rows[i].service);
        if (old < 0 || new < 0)
            continue;
        uint64_t before = plan_digest(a, &a->services[old]);
        uint64_t after = plan_digest(b, &b->services[new]);
        assert_int_not_equal(before, 0);
        assert_int_equal(plan_digest_differs(before, after), diff->rows[i].change == PLAN_RESTART);
        assert_false(plan_digest_differs(before ^ 1ULL << 63, after));
        assert_false(plan_digest_differs(0, after));
    }
}

/* "web=live(priority,ready) new=added supervisor(log) sockets(a)", without what is the same. */
static const char *changes(const char *before, const char **environment_before, const char *after,
                           const char **environment_after, char text[static TEXT_MAX])
{
    struct plan *a = fixture_plan(before, environment_before);
    struct plan *b = fixture_plan(after, environment_after);
    struct plan_diff diff;
    struct arena arena;
    struct buf out;

    assert_non_null(a);
    assert_non_null(b);
    arena_init(&arena);
    buf_init(&out, TEXT_MAX - 1);
    assert_int_equal(plan_diff(a, b, &arena, &diff), 0);
    check_digests(a, b, &diff);
    for (size_t i = 0; i < diff.count; i++) {
        const struct plan_diff_row *row = &diff.rows[i];
        if (row->change == PLAN_SAME) {
            assert_int_equal(row->keys.count, 0);
            continue;
        }
        buf_printf(&out, "%s=%s(", row->service, plan_change_name(row->change));
        for (size_t k = 0; k < row->keys.count; k++)
            buf_printf(&out, "%s%s", k ? "," : "", row->keys.names[k]);
        buf_puts(&out, ") ");
    }
    for (size_t i = 0; i < diff.supervisor_keys.count; i++)
        buf_printf(&out, "supervisor(%s) ", diff.supervisor_keys.names[i]);
    for (size_t i = 0; i < diff.sockets.count; i++)
        buf_printf(&out, "socket(%s) ", diff.sockets.names[i]);
    snprintf(text, TEXT_MAX, "%s", buf_text(&out));
    buf_done(&out);
    arena_done(&arena);
    plan_free(a);
    plan_free(b);
    return text;
}

static void diff_is(const char *before, const char *after, const char *expected)
{
    char text[TEXT_MAX];

    assert_string_equal(changes(before, NULL, after, NULL, text), expected);
}

#define WEB "[service:web]\ncommand = web\n"

static void equal_plans_are_the_same(void **state)
{
    (void)state;
    diff_is(WEB "[socket:s]\nlisten = :80\n", "; moved\n\n[socket:s]\nlisten = :80\n" WEB, "");
}

static void services_come_and_go(void **state)
{
    (void)state;
    diff_is(WEB "[service:b]\ncommand = b\n", WEB "[service:a]\ncommand = a\n",
            "a=added() b=removed() ");
}

static void live_keys_do_not_restart(void **state)
{
    (void)state;
    diff_is(WEB, WEB "priority = 5\nready = delay\nnumprocs = 3\n",
            "web=live(numprocs,priority,ready) ");
    diff_is(WEB "stopsignal = INT\n", WEB, "web=live(stopsignal) ");
}

static void one_other_key_restarts(void **state)
{
    (void)state;
    diff_is(WEB, "[service:web]\ncommand = web -v\npriority = 5\n",
            "web=restart(command,priority) ");
    diff_is(WEB, WEB "stdout_logfile = /x\n", "web=restart(stdout_logfile) ");
}

static void what_a_text_means_counts(void **state)
{
    const char *one[] = { "V=1", NULL }, *two[] = { "V=2", NULL };
    char text[TEXT_MAX];

    (void)state;
    diff_is(WEB "environment = G=%(group_name)s\n",
            WEB "environment = G=%(group_name)s\n[group:g]\nprograms = web\n",
            "web=restart(environment) ");
    diff_is("[service:web]\ncommand = web %(numprocs)d\n",
            "[service:web]\ncommand = web %(numprocs)d\nnumprocs = 2\n",
            "web=restart(command,numprocs) ");
    assert_string_equal(changes(WEB, one, WEB, two, text),
                        "web=restart(environment) supervisor(environment) ");
    assert_string_equal(changes("[service:web]\ncommand = web %(ENV_V)s\n", one,
                                "[service:web]\ncommand = web %(ENV_V)s\n", two, text),
                        "web=restart(command,environment) supervisor(environment) ");
    diff_is(WEB, "[supervisor]\nenvironment = A=1\n" WEB,
            "web=restart(environment) supervisor(environment) ");
}

static void folders_of_logs_move_default_files(void **state)
{
    (void)state;
    diff_is(WEB "[service:own]\ncommand = x\nstdout_logfile = /x\n",
            "[supervisor]\nlog_dir = /logs\n" WEB
            "[service:own]\ncommand = x\nstdout_logfile = /x\n",
            "web=restart(stdout_logfile) supervisor(log_dir) ");
}

static void sockets_change_their_services(void **state)
{
    (void)state;
    diff_is("[socket:s]\nlisten = :80\n[socket:t]\nlisten = :90\n" WEB "sockets = s\n"
            "[service:other]\ncommand = o\nsockets = t\n",
            "[socket:s]\nlisten = :81\n[socket:t]\nlisten = :90\n" WEB "sockets = s\n"
            "[service:other]\ncommand = o\nsockets = t\n",
            "web=restart(sockets) socket(s) ");
    diff_is("[socket:s]\nlisten = :80\n" WEB "sockets = s\n",
            "[socket:s]\nlisten = :80\nreuse_port = true\n" WEB "sockets = s\n",
            "web=restart(sockets) socket(s) ");
    /* An open socket takes these as it is. */
    diff_is("[socket:s]\nlisten = /s\n" WEB "sockets = s\n",
            "[socket:s]\nlisten = /s\nmode = 0600\nowner = root\nbacklog = 5\n" WEB "sockets = s\n",
            "socket(s) ");
    diff_is("[socket:s]\nlisten = :80\n" WEB, "[socket:t]\nlisten = :80\n" WEB,
            "socket(s) socket(t) ");
}

static void another_kind_changes_defaults(void **state)
{
    char text[TEXT_MAX];

    (void)state;
    changes(WEB, NULL, "[program:web]\ncommand = web\n", NULL, text);
    assert_non_null(strstr(text, "web=restart("));
    assert_non_null(strstr(text, "redirect_stderr"));
    assert_non_null(strstr(text, "environment"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_plans_are_the_same),
        cmocka_unit_test(services_come_and_go),
        cmocka_unit_test(live_keys_do_not_restart),
        cmocka_unit_test(one_other_key_restarts),
        cmocka_unit_test(what_a_text_means_counts),
        cmocka_unit_test(folders_of_logs_move_default_files),
        cmocka_unit_test(sockets_change_their_services),
        cmocka_unit_test(another_kind_changes_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
