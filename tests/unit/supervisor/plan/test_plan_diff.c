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
static void check_digests(const struct plan *a, const struct plan *b, bool tunes,
                          const struct plan_diff *diff)
{
    for (size_t i = 0; i < diff->count; i++) {
        ssize_t old = plan_find(a, diff->rows[i].service),
                new = plan_find(b, diff->rows[i].service);
        if (old < 0 || new < 0)
            continue;
        uint64_t before = plan_digest(a, &a->services[old], tunes);
        uint64_t after = plan_digest(b, &b->services[new], tunes);
        assert_int_not_equal(before, 0);
        assert_int_equal(plan_digest_differs(before, after), diff->rows[i].change == PLAN_RESTART);
        assert_false(plan_digest_differs(before ^ 1ULL << 63, after));
        assert_false(plan_digest_differs(0, after));
    }
}

static bool may_tune = true;

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
    assert_int_equal(plan_diff(a, b, may_tune, &arena, &diff), 0);
    check_digests(a, b, may_tune, &diff);
    for (size_t i = 0; i < diff.count; i++) {
        const struct plan_diff_row *row = &diff.rows[i];
        if (row->change == PLAN_SAME) {
            assert_int_equal(row->keys.count, 0);
            continue;
        }
        buf_printf(&out, "%s=%s(", row->service, plan_change_name(row->change));
        for (size_t k = 0; k < row->keys.count; k++)
            buf_printf(&out, "%s%s", k ? "," : "", row->keys.list[k].key);
        buf_puts(&out, ") ");
    }
    for (size_t i = 0; i < diff.supervisor.count; i++)
        buf_printf(&out, "supervisor(%s) ", diff.supervisor.list[i].key);
    for (size_t i = 0; i < diff.access.count; i++)
        buf_printf(&out, "access(%s) ", diff.access.names[i]);
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
    diff_is(WEB, WEB "umask = 077\n", "web=restart(umask) ");
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
            "web=live(stdout_logfile) supervisor(log_dir) ");
}

/* The logger takes another file while the pipe stays; a pipe cannot come or go. */
static void output_moves_while_it_is_captured(void **state)
{
    (void)state;
    diff_is(WEB, WEB "stdout_logfile = /x\n", "web=live(stdout_logfile) ");
    diff_is(WEB "stdout_logfile = /x\n", WEB "stdout_logfile = syslog\n",
            "web=live(stdout_logfile) ");
    diff_is(WEB, WEB "stdout_logfile = none\n", "web=restart(stdout_logfile) ");
    diff_is(WEB "stdout_logfile = inherit\n", WEB "stdout_logfile = none\n",
            "web=restart(stdout_logfile) ");
    diff_is(WEB "stdout_logfile = off\n", WEB "stdout_logfile = none\n", "");
    diff_is(WEB, WEB "redirect_stderr = false\n", "web=restart(stderr_logfile,redirect_stderr) ");
    diff_is(WEB "stdout_logfile = /x\nstderr_logfile = /x\n",
            WEB "stdout_logfile = /x\nstderr_logfile = /y\n", "web=restart(stderr_logfile) ");
    diff_is(WEB "stdout_logfile = /x\nstderr_logfile = /z\n",
            WEB "stdout_logfile = /x\nstderr_logfile = /y\n", "web=live(stderr_logfile) ");
}

static void without_the_right_limits_restart(void **state)
{
    (void)state;
    diff_is(WEB, WEB "nice = 5\nrlimit_nofile = 100\n", "web=live(nice,rlimit_nofile) ");
    may_tune = false;
    diff_is(WEB, WEB "nice = 5\nrlimit_nofile = 100\n", "web=restart(nice,rlimit_nofile) ");
    may_tune = true;
    diff_is(WEB, WEB "rlimit_stack = 8MB\n", "web=restart(rlimit_stack) ");
}

static void one_value_has_many_spellings(void **state)
{
    static const char *const same[][2] = {
        { "stopwaitsecs = 10s\n", "stopwaitsecs = 10000ms\n" },
        { "", "stopwaitsecs = 10\n" }, /* the default */
        { "rlimit_as = 4GB\n", "rlimit_as = 4096MB\n" },
        { "autostart = yes\n", "autostart = true\n" },
        { "stopsignal = TERM\n", "stopsignal = 15\n" },
        { "umask = 22\n", "umask = 0022\n" },
        { "exitcodes = 0, 2, TERM\n", "exitcodes = SIGTERM 2,0\n" },
        { "restart_on = 75: backoff 5m\n", "restart_on = 75: backoff 300s\n" },
        { "autorestart = on-failure\n", "autorestart = unexpected\n" },
        { "cpu_max = 150%\n", "cpu_max = 1.5\n" },
        { "backoff_jitter = 10%\n", "" },
        { "backoff_factor = 2.0\n", "" },
        { "rlimit_cpu = 1h\n", "rlimit_cpu = 60m\n" },
        { "environment = A=1,B=\"2\"\n", "environment = B='2', A=\"1\"\n" },
        { "environment = A=1\n", "environment = A=0,A=1\n" },
        { "memory_max = 1GB\n", "memory_max = 1024 MB\n" },
        { "stdout_logfile_maxbytes = 50MB\n", "" },
        { "capabilities = CHOWN, cap_kill\n", "capabilities = KILL CHOWN\n" },
        { "private_tmp = 1GB\n", "private_tmp = 1024MB\n" },
        { "private_tmp = off\nread_only = no\nseccomp = none\n", "" },
        { "read_only = /b /a\n", "read_only = /a//\n /b/\n" },
        { "namespaces = net ipc\n", "namespaces = ipc,net\n" },
        { "seccomp = default\n", "seccomp = DEFAULT:error\nno_new_privs = true\n" },
    };
    static const char job[] = "[service:web]\ncommand = web\ntype = scheduled\n";
    char before[TEXT_MAX], after[TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        snprintf(before, sizeof(before), WEB "%s", same[i][0]);
        snprintf(after, sizeof(after), WEB "%s", same[i][1]);
        diff_is(before, after, "");
    }
    snprintf(before, sizeof(before), "%sschedule = 0 3 * * 1-5 | @daily\n", job);
    snprintf(after, sizeof(after),
             "%sschedule = 0 0 * * * | 0 3 * * MON-FRI\nschedule_timezone = local\n", job);
    diff_is(before, after, "");
    snprintf(after, sizeof(after), "%sschedule = 0 4 * * 1-5 | @daily\n", job);
    diff_is(before, after, "web=live(schedule) ");
    diff_is("[service:web]\ncommand = web  -v 'a b'\n", "[service:web]\ncommand = web -v \"a b\"\n",
            "");
    diff_is("[service:web]\ncommand = web -v 'a  b'\n", "[service:web]\ncommand = web -v 'a b'\n",
            "web=restart(command) ");
    diff_is(WEB "requires = a b\n[service:a]\ncommand = x\n[service:b]\ncommand = x\n",
            WEB "requires = b, a\n[service:a]\ncommand = x\n[service:b]\ncommand = x\n", "");
    diff_is("[supervisor]\nenvironment = A=1\n" WEB "environment = A=2\n",
            "[supervisor]\nenvironment = A=3\n" WEB "environment = A=2\n",
            "supervisor(environment) ");
    diff_is("[supervisor]\nshutdown_timeout = 60s\n" WEB,
            "[supervisor]\nshutdown_timeout = 1m\n" WEB, "");
}

/* What is shown of a key: "OLD -> NEW", or the variables. */
static void shows(const char *before, const char *after, const char *key, const char *expected)
{
    struct plan *a = fixture_plan(before, NULL), *b = fixture_plan(after, NULL);
    struct plan_diff diff;
    struct arena arena;
    char text[TEXT_MAX] = "";

    arena_init(&arena);
    assert_int_equal(plan_diff(a, b, true, &arena, &diff), 0);
    for (size_t i = 0; i < diff.rows[0].keys.count; i++) {
        const struct plan_diff_key *found = &diff.rows[0].keys.list[i];
        if (strcmp(found->key, key) == 0 && found->variables)
            snprintf(text, sizeof(text), "%s", found->variables);
        else if (strcmp(found->key, key) == 0)
            snprintf(text, sizeof(text), "%s -> %s", found->before, found->after);
    }
    assert_string_equal(text, expected);
    arena_done(&arena);
    plan_free(a);
    plan_free(b);
}

static void a_sandbox_is_made_by_a_restart(void **state)
{
    (void)state;
    shows(WEB, WEB "capabilities = -NET_RAW\n", "capabilities", " -> all but NET_RAW");
    shows(WEB "capabilities = none\n", WEB, "capabilities", "none -> ");
    shows(WEB, WEB "private_tmp = 512MB\n", "private_tmp", "false -> 512MB");
    shows(WEB "read_only = true\n", WEB "read_only = /usr -/b\n", "read_only", "true -> -/b /usr");
    shows(WEB "seccomp = strict\n", WEB "seccomp = default:log\n", "seccomp",
          "strict -> default:log");
    shows(WEB, WEB "namespaces = pid net\n", "namespaces", " -> net pid");
    diff_is(WEB "private_tmp = 1MB\nread_only = /a /b\n", WEB "private_tmp = 2MB\nread_only = /a\n",
            "web=restart(private_tmp,read_only) ");
    diff_is(WEB "numprocs = 1\nread_only = /srv/%(numprocs)d\n",
            WEB "numprocs = 2\nread_only = /srv/%(numprocs)d\n",
            "web=restart(numprocs,read_only) ");
    diff_is(WEB, WEB "seccomp = service\nhidden_paths = /x\nroot = /srv/x\n",
            "web=restart(seccomp,hidden_paths,root) ");
}

static void values_are_shown_and_secrets_are_not(void **state)
{
    (void)state;
    shows(WEB, WEB "stopwaitsecs = 90\n", "stopwaitsecs", "10s -> 90s");
    shows(WEB, WEB "rlimit_as = 2048MB\n", "rlimit_as", " -> 2GB");
    shows(WEB "cpu_max = 1.5\n", WEB, "cpu_max", "150% -> ");
    shows(WEB, WEB "umask = 7\n", "umask", " -> 007");
    shows(WEB, WEB "oom_score_adj = 0\n", "oom_score_adj", " -> 0");
    shows(WEB, WEB "restart_on = 64-78: never, SEGV: backoff 90s\n", "restart_on",
          " -> 64-78: never, SEGV: backoff 90s");
    shows(WEB, WEB "stdout_logfile = /x\n", "stdout_logfile",
          "/var/log/supervisor/web-N.log -> /x");
    shows("[program:web]\ncommand = web\n", "[program:web]\ncommand = web\nbackoff_factor = 3\n",
          "backoff_factor", "linear -> 3");
    shows(WEB "environment = KEEP=1,PASSWORD=one,GONE=x\n",
          WEB "environment = KEEP=1,PASSWORD=two,NEW=x\n", "environment", "PASSWORD -GONE +NEW");
    shows("[supervisor]\nenvironment = SHARED=1,MINE=1\n" WEB "environment = MINE=2\n",
          "[supervisor]\nenvironment = MORE=1,MINE=3\n" WEB "environment = MINE=2\n", "environment",
          "-SHARED +MORE");
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

static void rights_change_no_service(void **state)
{
#define RIGHTS(verbs)                                                                              \
    "[service:a]\ncommand = a\n[access:x]\nusers = 1\nverbs = " verbs "\nservices = all\n"
    char text[TEXT_MAX];

    (void)state;
    assert_string_equal(changes(RIGHTS("start"), NULL, RIGHTS("start"), NULL, text), "");
    assert_string_equal(changes(RIGHTS("start"), NULL, RIGHTS("stop"), NULL, text), "access(x) ");
    assert_string_equal(changes("[service:a]\ncommand = a\n", NULL, RIGHTS("stop"), NULL, text),
                        "supervisor(socket_mode) access(x) ");
    assert_string_equal(changes(RIGHTS("stop"), NULL, "[service:a]\ncommand = a\n", NULL, text),
                        "supervisor(socket_mode) access(x) ");
#undef RIGHTS
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
        cmocka_unit_test(output_moves_while_it_is_captured),
        cmocka_unit_test(without_the_right_limits_restart),
        cmocka_unit_test(one_value_has_many_spellings),
        cmocka_unit_test(a_sandbox_is_made_by_a_restart),
        cmocka_unit_test(values_are_shown_and_secrets_are_not),
        cmocka_unit_test(sockets_change_their_services),
        cmocka_unit_test(another_kind_changes_defaults),
        cmocka_unit_test(rights_change_no_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
