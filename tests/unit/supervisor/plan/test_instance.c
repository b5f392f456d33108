#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/plan/instance.h"
#include "supervisor/plan/instance_file.h"
#include "tests/unit/supervisor/plan/plan_fixture.h"

struct made {
    struct plan *plan;
    struct arena arena;
    struct instance it;
};

static const struct instance_release release7 = { "000007-abcdef01",
                                                  "/srv/web/releases/000007-abcdef01" };

/* Instance `number` of the first service of `text`. */
static void make(struct made *made, const char *text, const char **environment, int64_t number)
{
    struct err err;

    made->plan = fixture_plan(text, environment);
    assert_non_null(made->plan);
    arena_init(&made->arena);
    if (instance_make(made->plan, &made->plan->services[0], number, &release7, NULL, true,
                      &made->arena, &made->it, &err) < 0)
        fail_msg("%s", err.text);
}

static void done(struct made *made)
{
    arena_done(&made->arena);
    plan_free(made->plan);
}

static const char *variable(const struct instance *it, const char *name)
{
    size_t len = strlen(name);

    for (char **at = it->envp; *at; at++)
        if (strncmp(*at, name, len) == 0 && (*at)[len] == '=')
            return *at + len + 1;
    return NULL;
}

static void expansions_fill_in(void **state)
{
    char *names[] = { "process_num=7", "program_name=web", "empty=", NULL };
    char *envp[] = { "HOME=/root", "HOMER=x", NULL };
    static const char *const pairs[][2] = {
        { "plain", "plain" },
        { "", "" },
        { "%(program_name)s-%(process_num)d", "web-7" },
        { "%(process_num)03d|%(process_num)3d|%(process_num)-3d|%(process_num)s", "007|  7|7  |7" },
        { "%(program_name)5s|%(program_name)-5s|", "  web|web  |" },
        { "100%% %%(program_name)s", "100% %(program_name)s" },
        { "%(ENV_HOME)s%(empty)s", "/root" },
        { "%(process_num)i", "7" },
    };
    struct arena arena;
    const char *ret;

    (void)state;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        assert_int_equal(instance_expand(pairs[i][0], names, envp, &arena, &ret, NULL), 0);
        assert_string_equal(ret, pairs[i][1]);
    }
    arena_done(&arena);
}

static void wrong_expansions_are_named(void **state)
{
    char *names[] = { "process_num=7", NULL };
    static const char *const bad[] = { "%",
                                       "a%",
                                       "%(",
                                       "%()s",
                                       "%(process_num",
                                       "%(x)s",
                                       "%(ENV_X)s",
                                       "%(process_num)",
                                       "%d",
                                       "%(ENV_)s",
                                       "%(process_num)999d",
                                       "%(process_num)f" };
    struct arena arena;
    struct err err;
    const char *ret = "untouched";

    (void)state;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        err.text[0] = '\0';
        assert_int_equal(instance_expand(bad[i], names, NULL, &arena, &ret, &err), ERR_INVALID);
        assert_string_equal(ret, "untouched");
        assert_true(strlen(err.text) > 10);
    }
    arena_done(&arena);
}

static void mentions_are_exact(void **state)
{
    (void)state;
    assert_true(instance_mentions("a%(process_num)02d", "process_num"));
    assert_false(instance_mentions("a%%(process_num)02d", "process_num"));
    assert_false(instance_mentions("%(process_number)d", "process_num"));
    assert_false(instance_mentions("100%", "process_num"));
    assert_false(instance_mentions("", "x"));
}

static void words_and_environment(void **state)
{
    const char *outer[] = { "PATH=/bin", "A=outer", "OPTS=-x '-y z'", NULL };
    struct made m;

    (void)state;
    make(&m,
         "[service:web]\ncommand = run %(ENV_OPTS)s --n=%(process_num)d --a=%(ENV_A)s\n"
         "environment = A=\"in,ner\",N=%(process_num)d,EVIL=\"%(ENV_OPTS)s\"\n",
         outer, 3);
    assert_string_equal(m.it.name, "web:3");
    assert_string_equal(m.it.argv[0], "run");
    assert_string_equal(m.it.argv[1], "-x");
    assert_string_equal(m.it.argv[2], "-y z");
    assert_string_equal(m.it.argv[3], "--n=3");
    assert_string_equal(m.it.argv[4], "--a=in,ner");
    assert_null(m.it.argv[5]);
    assert_string_equal(variable(&m.it, "A"), "in,ner");
    assert_string_equal(variable(&m.it, "N"), "3");
    assert_string_equal(variable(&m.it, "EVIL"), "-x '-y z'");
    assert_string_equal(variable(&m.it, "PATH"), "/bin");
    assert_null(variable(&m.it, "SUPERVISOR_ENABLED"));
    assert_null(variable(&m.it, "RELEASE_ID"));
    done(&m);
}

static void environment_values_cannot_add_variables(void **state)
{
    const char *outer[] = { "IN=x\",LD_PRELOAD=\"/tmp/evil.so", NULL };
    struct made m;

    (void)state;
    make(&m, "[service:web]\ncommand = run\nenvironment = A=\"%(ENV_IN)s\"\n", outer, 0);
    assert_string_equal(variable(&m.it, "A"), "x\",LD_PRELOAD=\"/tmp/evil.so");
    assert_null(variable(&m.it, "LD_PRELOAD"));
    done(&m);
}

static void user_variables_lie_under_the_service(void **state)
{
    const char *outer[] = { "HOME=/root", "USER=root", NULL };
    char *user[] = { "HOME=/home/www", "USER=www", NULL };
    struct made m;
    struct err err;

    (void)state;
    make(&m, "[service:web]\ncommand = run\nenvironment = HOME=/srv\n", outer, 0);
    assert_int_equal(
        instance_make(m.plan, &m.plan->services[0], 0, NULL, user, true, &m.arena, &m.it, &err), 0);
    assert_string_equal(variable(&m.it, "HOME"), "/srv");
    assert_string_equal(variable(&m.it, "USER"), "www");
    done(&m);
    make(&m, "[program:web]\ncommand = run\n", outer, 0);
    assert_int_equal(
        instance_make(m.plan, &m.plan->services[0], 0, NULL, user, true, &m.arena, &m.it, &err), 0);
    assert_string_equal(variable(&m.it, "HOME"), "/root");
    assert_string_equal(variable(&m.it, "SUPERVISOR_ENABLED"), "1");
    assert_string_equal(variable(&m.it, "SUPERVISOR_PROCESS_NAME"), "web");
    assert_string_equal(variable(&m.it, "SUPERVISOR_GROUP_NAME"), "web");
    done(&m);
}

static void releases_are_known_to_pinned_services(void **state)
{
    struct made m;

    (void)state;
    make(&m,
         "[service:web]\ncommand = bin/web --root %(release_dir)s --id %(release_id)s\n"
         "release = /srv/web\ndirectory = data\n",
         NULL, 0);
    assert_string_equal(m.it.argv[0], "bin/web");
    assert_string_equal(m.it.argv[2], release7.dir);
    assert_string_equal(m.it.argv[4], release7.id);
    assert_string_equal(m.it.directory, "data");
    assert_string_equal(variable(&m.it, "RELEASE_ID"), release7.id);
    assert_string_equal(variable(&m.it, "RELEASE_DIR"), release7.dir);
    done(&m);
}

static void check_logs(const char *kind, const char *keys, const char *out, const char *errors)
{
    char text[512];
    struct made m;

    snprintf(text, sizeof(text), "[%s:web]\ncommand = a\n%s", kind, keys);
    make(&m, text, NULL, 2);
    assert_string_equal(m.it.stdout_log, out);
    assert_string_equal(m.it.stderr_log, errors);
    done(&m);
}

static void logs_go_where_they_should(void **state)
{
    (void)state;
    check_logs("service", "", "/var/log/supervisor/web-2.log", "stdout");
    check_logs("program", "", "/var/log/supervisor/web-2.log", "/var/log/supervisor/web-2.err.log");
    check_logs("service", "redirect_stderr = false\n", "/var/log/supervisor/web-2.log",
               "/var/log/supervisor/web-2.err.log");
    check_logs("service", "stderr_logfile = /x/%(process_num)d.err\nstdout_logfile = none\n",
               "none", "/x/2.err");
    check_logs("service", "stdout_logfile = inherit\n", "inherit", "stdout");
    check_logs("program", "stdout_logfile = AUTO\nstderr_logfile = NONE\n",
               "/var/log/supervisor/web-2.log", "none");
    check_logs("program", "stdout_logfile = /dev/stdout\nstderr_logfile = /dev/stderr\n", "inherit",
               "inherit");
    check_logs("program", "stdout_logfile = /x\nstderr_logfile = /x\n", "/x", "stdout");
    check_logs("program", "stdout_logfile = logs/a.log\nredirect_stderr = true\n",
               "/etc/t/logs/a.log", "stdout");
    check_logs("program",
               "numprocs = 4\nprocess_name = w%(process_num)d\nstdout_logfile = /x/a.log\n"
               "redirect_stderr = yes\n",
               "/x/a-web-2.log", "stdout");
    check_logs("service", "stdout_logfile = /dev/null\n", "none", "stdout");
}

static struct instance_check parsed(const char *text, struct arena *arena)
{
    struct instance_check check;
    struct err err;

    if (instance_check_parse(text, arena, &check, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return check;
}

static void checks_are_parsed(void **state)
{
    struct arena arena;
    char text[ADDR_TEXT_MAX];

    (void)state;
    arena_init(&arena);
    struct instance_check check = parsed("http://127.0.0.1:8080/health?x=1", &arena);
    assert_int_equal(check.kind, SPEC_CHECK_HTTP);
    assert_string_equal(check.path, "/health?x=1");
    assert_string_equal(check.authority, "127.0.0.1:8080");
    assert_string_equal(addr_text(&check.addr, text), "127.0.0.1:8080");
    check = parsed("http://[::1]", &arena);
    assert_string_equal(addr_text(&check.addr, text), "[::1]:80");
    assert_string_equal(check.path, "/");
    check = parsed("http://:81?q", &arena);
    assert_string_equal(addr_text(&check.addr, text), "127.0.0.1:81");
    assert_string_equal(check.authority, "localhost:81");
    assert_string_equal(check.path, "/?q");
    check = parsed("http://db.example.net/x", &arena);
    assert_int_equal(check.addr.len, 0);
    assert_string_equal(check.host, "db.example.net");
    assert_string_equal(check.port, "80");
    check = parsed("tcp://localhost:5432", &arena);
    assert_int_equal(check.kind, SPEC_CHECK_TCP);
    assert_int_equal(check.addr.at.ss_family, AF_INET);
    check = parsed("unix:/run/x.sock", &arena);
    assert_int_equal(check.kind, SPEC_CHECK_UNIX);
    check = parsed("exec:/bin/sh -c 'test -e x'", &arena);
    assert_int_equal(check.kind, SPEC_CHECK_EXEC);
    assert_string_equal(check.argv[2], "test -e x");
    check = parsed("fd:5", &arena);
    assert_int_equal(check.kind, SPEC_CHECK_FD);
    assert_int_equal(check.fd, 5);
    assert_int_equal(parsed("notify", &arena).kind, SPEC_CHECK_NOTIFY);
    assert_int_equal(parsed("delay", &arena).kind, SPEC_CHECK_DELAY);
    arena_done(&arena);
}

static void wrong_checks_are_refused(void **state)
{
    static const char *const bad[] = {
        "",          "http://",        "http:///x",      "tcp://",     "tcp://a",
        "tcp://a:0", "tcp://a:x",      "tcp:///x",       "tcp://@x:1", "fd:",
        "fd:-1",     "fd:1024",        "exec:",          "exec:'",     "unix:",
        "unix:x",    "HTTP://a",       "http://a:1/\tb", "http://*:1", "http://a#b",
        "notify ",   "http://[::1:80/"
    };
    struct instance_check check;
    struct arena arena;
    struct err err;

    (void)state;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (instance_check_parse(bad[i], &arena, &check, &err) != ERR_INVALID)
            fail_msg("\"%s\" was taken", bad[i]);
    arena_done(&arena);
}

static void paths_of_the_sandbox_are_its_own(void **state)
{
    const char *outer[] = { "D=/with a blank/", NULL };
    struct made m;

    (void)state;
    make(&m,
         "[service:web]\ncommand = web\nread_only = true\nhidden_paths = -%(ENV_D)s/x/\n"
         "read_write_paths = /srv/%(program_name)s/%(process_num)d /var\n",
         outer, 3);
    assert_string_equal(m.it.sandbox->read_write.list[0], "/srv/web/3");
    assert_string_equal(m.it.sandbox->read_write.list[1], "/var");
    assert_string_equal(m.it.sandbox->hidden.list[0], "-/with a blank/x");
    assert_true(m.it.sandbox->read_only.all);
    done(&m);
    make(&m, "[service:web]\ncommand = web\nhidden_paths = /x\n", NULL, 0);
    assert_ptr_equal(m.it.sandbox, &m.it.service->set->sandbox);
    done(&m);
}

static void environment_files_are_parsed(void **state)
{
    static const char text[] = "# comment\n\nA=1\nexport B = \"two words\" \n;x\nC='it''s'\r\nD=\n";
    char **pairs;
    struct arena arena;
    struct err err;

    (void)state;
    arena_init(&arena);
    assert_int_equal(instance_file_parse("f", text, strlen(text), &arena, &pairs, &err), 0);
    assert_string_equal(pairs[0], "A=1");
    assert_string_equal(pairs[1], "B=two words");
    assert_string_equal(pairs[2], "C=it''s");
    assert_string_equal(pairs[3], "D=");
    assert_null(pairs[4]);
    assert_int_equal(instance_file_parse("f", "A=1\nB C=2\n", 10, &arena, &pairs, &err),
                     ERR_INVALID);
    assert_string_equal(err.text, "f:2: not KEY=VALUE");
    assert_int_equal(instance_file_parse("f", "A=\0x\n", 5, &arena, &pairs, &err), ERR_INVALID);
    arena_done(&arena);
}

static void environment_files_are_read_when_wanted(void **state)
{
    char path[] = "/tmp/test_instance_XXXXXX", text[256];
    int fd = mkstemp(path);
    struct made m;
    struct err err;

    (void)state;
    assert_true(fd >= 0 && write(fd, "A=file\nB=file\n", 14) == 14);
    close(fd);
    snprintf(text, sizeof(text),
             "[service:a]\ncommand = a\nenvironment_file = -%s\n"
             "environment = B=own\n",
             path);
    make(&m, text, NULL, 0);
    assert_string_equal(variable(&m.it, "A"), "file");
    assert_string_equal(variable(&m.it, "B"), "own");
    unlink(path);
    assert_int_equal(
        instance_make(m.plan, m.plan->services, 0, NULL, NULL, true, &m.arena, &m.it, &err), 0);
    assert_null(variable(&m.it, "A"));
    done(&m);
    snprintf(text, sizeof(text), "[service:a]\ncommand = a\nenvironment_file = %s\n", path);
    struct plan *plan = fixture_plan(text, NULL);
    assert_non_null(plan); /* files are not looked at while loading */
    arena_init(&m.arena);
    assert_int_equal(
        instance_make(plan, plan->services, 0, NULL, NULL, true, &m.arena, &m.it, &err),
        ERR_SYSTEM);
    assert_non_null(strstr(err.text, "[service:a] environment_file: reading /tmp/"));
    arena_done(&m.arena);
    plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expansions_fill_in),
        cmocka_unit_test(wrong_expansions_are_named),
        cmocka_unit_test(mentions_are_exact),
        cmocka_unit_test(words_and_environment),
        cmocka_unit_test(environment_values_cannot_add_variables),
        cmocka_unit_test(user_variables_lie_under_the_service),
        cmocka_unit_test(releases_are_known_to_pinned_services),
        cmocka_unit_test(logs_go_where_they_should),
        cmocka_unit_test(checks_are_parsed),
        cmocka_unit_test(wrong_checks_are_refused),
        cmocka_unit_test(paths_of_the_sandbox_are_its_own),
        cmocka_unit_test(environment_files_are_parsed),
        cmocka_unit_test(environment_files_are_read_when_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
