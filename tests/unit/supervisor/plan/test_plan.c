#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/supervisor/plan/plan_fixture.h"

static struct plan *must(const char *text)
{
    struct plan *plan = fixture_plan(text, NULL);
    assert_non_null(plan);
    return plan;
}

static void service_and_program_have_their_defaults(void **state)
{
    struct plan *plan = must("[service:a]\ncommand = a\n[program:b]\ncommand = b\n");
    const struct spec_service *a = fixture_service(plan, "a"), *b = fixture_service(plan, "b");

    (void)state;
    assert_int_equal(a->kind, SPEC_SERVICE);
    assert_int_equal(b->kind, SPEC_PROGRAM);
    assert_int_equal(a->set->autorestart, SPEC_RESTART_TRUE);
    assert_int_equal(b->set->autorestart, SPEC_RESTART_UNEXPECTED);
    assert_int_equal(a->set->startretries, SPEC_UNLIMITED);
    assert_int_equal(b->set->startretries, 3);
    assert_int_equal(a->set->kill_mode, SPEC_KILL_MIXED);
    assert_int_equal(b->set->kill_mode, SPEC_KILL_PROCESS);
    assert_true(a->set->redirect_stderr && !b->set->redirect_stderr);
    assert_int_equal(a->set->log_format, SPEC_LOG_PLAIN);
    assert_int_equal(b->set->log_format, SPEC_LOG_RAW);
    assert_true(!a->set->backoff_linear && b->set->backoff_linear);
    assert_int_equal(a->set->backoff_min_ms, 100);
    assert_int_equal(b->set->backoff_min_ms, 1000);
    assert_int_equal(a->set->ready.threshold, 3);
    assert_int_equal(a->set->live.successes, 1);
    assert_int_equal(a->set->live.interval_ms, 10000);
    assert_string_equal(a->group, "a");
    assert_string_equal(a->here, "/etc/t");
    assert_false(a->set->set_oom_score);
    assert_int_equal(plan_find(plan, "c"), -1);
    plan_free(plan);
}

static void what_is_alike_is_kept_once(void **state)
{
    struct plan *plan = must("[service:a]\ncommand = one\nrequires = c\nuser = u\n"
                             "[service:b]\ncommand = two\nrequires = c\nuser = u\n"
                             "[service:c]\ncommand = one\nstopsignal = QUIT\n");
    const struct spec_service *a = fixture_service(plan, "a"), *b = fixture_service(plan, "b");
    const struct spec_service *c = fixture_service(plan, "c");

    (void)state;
    assert_ptr_equal(a->set, b->set);
    assert_ptr_not_equal(a->set, c->set);
    assert_ptr_equal(a->command, c->command);
    assert_ptr_equal(a->user, b->user);
    assert_string_equal(b->command, "two");
    assert_int_equal(c->ntexts, 2);
    plan_free(plan);
}

static void order_follows_needs_then_priority_then_name(void **state)
{
    struct plan *plan = must("[service:web]\ncommand = w\nrequires = db\nwants = cache\n"
                             "[service:zebra]\ncommand = z\npriority = 1\n"
                             "[service:cache]\ncommand = c\n"
                             "[service:db]\ncommand = d\nbefore = cache\n"
                             "[service:alpha]\ncommand = a\nafter = web\n");
    static const char *const order[] = { "zebra", "db", "cache", "web", "alpha" };

    (void)state;
    assert_int_equal(plan->nservices, 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(plan->services[i].name, order[i]);
    const struct spec_service *web = fixture_service(plan, "web");
    assert_int_equal(web->nneeds, 2);
    assert_string_equal(plan->services[web->needs[0]].name, "db");
    assert_true(web->need_hard[0] && web->need_ready[0]);
    assert_true(!web->need_hard[1] && web->need_ready[1]);
    const struct spec_service *cache = fixture_service(plan, "cache");
    assert_int_equal(cache->nneeds, 1);
    assert_true(!cache->need_hard[0] && !cache->need_ready[0]);
    plan_free(plan);
}

static void needs_named_twice_are_merged(void **state)
{
    struct plan *plan = must("[service:a]\ncommand = a\nafter = b\nrequires = b b\nwants = b\n"
                             "[service:b]\ncommand = b\nbefore = a\n");
    const struct spec_service *a = fixture_service(plan, "a");

    (void)state;
    assert_int_equal(a->nneeds, 1);
    assert_true(a->need_hard[0] && a->need_ready[0]);
    plan_free(plan);
    /* The weakest word comes first. */
    plan = must("[service:b]\ncommand = b\nbefore = a\n"
                "[service:a]\ncommand = a\nrequires = b\n");
    a = fixture_service(plan, "a");
    assert_int_equal(a->nneeds, 1);
    assert_true(a->need_hard[0] && a->need_ready[0]);
    plan_free(plan);
}

static void groups_order_and_name_their_programs(void **state)
{
    struct plan *plan = must("[program:a]\ncommand = a\n[program:b]\ncommand = b\n"
                             "[program:c]\ncommand = c\npriority = 500\n"
                             "[group:late]\nprograms = a\npriority = 1000\n"
                             "[group:early]\nprograms = b\npriority = 1\n");
    (void)state;
    assert_string_equal(plan->services[0].name, "b");
    assert_string_equal(plan->services[1].name, "c");
    assert_string_equal(plan->services[2].name, "a");
    assert_string_equal(plan->services[2].group, "late");
    assert_string_equal(plan->services[1].group, "c");
    plan_free(plan);
}

static void later_keys_of_programs_win(void **state)
{
    struct plan *plan = must("[program:a]\ncommand = one\nuser = x\ncommand = two\n"
                             "[program:b]\ncommand = b\n"
                             "[program:a]\nuser = y\n");
    const struct spec_service *a = fixture_service(plan, "a");

    (void)state;
    assert_int_equal(plan->nservices, 2);
    assert_string_equal(a->command, "two");
    assert_string_equal(a->user, "y");
    assert_int_equal(a->line, 1);
    plan_free(plan);
}

static void sockets_of_a_service_keep_their_order(void **state)
{
    struct plan *plan = must("[socket:web]\nlisten = 0.0.0.0:80 [::]:80\n  /run/x.sock\n"
                             "mode = 0600\nowner = www:www\n"
                             "[socket:adm]\nlisten = :81\nreuse_port = yes\ntype = datagram\n"
                             "[service:a]\ncommand = a\nsockets = adm web\n");
    const struct spec_service *a = fixture_service(plan, "a");

    (void)state;
    assert_int_equal(plan->nsockets, 2);
    assert_int_equal(a->nsockets, 2);
    assert_string_equal(plan->sockets[a->socket_index[0]].name, "adm");
    const struct spec_socket *web = &plan->sockets[a->socket_index[1]];
    assert_int_equal(web->naddrs, 3);
    assert_int_equal(web->mode, 0600);
    assert_int_equal(web->backlog, 4096);
    assert_true(plan->sockets[a->socket_index[0]].reuse_port && !web->reuse_port);
    assert_int_equal(plan->sockets[a->socket_index[0]].type, SPEC_SOCKET_DATAGRAM);
    assert_int_equal(web->type, SPEC_SOCKET_STREAM);
    plan_free(plan);
}

static void release_sets_are_folders(void **state)
{
    struct plan *plan = must("[service:a]\ncommand = bin/a\nrelease = /srv//web/./\n"
                             "[service:b]\ncommand = bin/b\nrelease = /srv/web\n"
                             "[service:c]\ncommand = bin/c\nrelease = /srv/other\n");
    size_t set[4] = { 99, 99, 99, 99 };

    (void)state;
    assert_int_equal(plan_release_set(plan, "/srv/web", set, 4), 2);
    assert_string_equal(plan->services[set[0]].name, "a");
    assert_string_equal(plan->services[set[1]].name, "b");
    assert_int_equal(plan_release_set(plan, "/srv/web", set, 1), 2);
    assert_int_equal(plan_release_set(plan, "/srv", set, 4), 0);
    plan_free(plan);
}

static void supervisor_is_filled_and_supervisord_under_it(void **state)
{
    const char *environment[] = { "A=outer", "B=outer", NULL };
    struct plan *plan = fixture_plan("[supervisord]\nloglevel = blather\nidentifier = old\n"
                                     "environment = A=\"one\",C=\"%(ENV_B)s\"\n"
                                     "[supervisor]\nidentifier = %(host_node_name)s\n"
                                     "environment = A=two\nlog_dir = %(here)s/log\n",
                                     environment);
    (void)state;
    assert_non_null(plan);
    assert_int_equal(plan->supervisor.log_level, 3);
    assert_string_equal(plan->supervisor.identifier, "host1");
    assert_string_equal(plan->supervisor.log_dir, "/etc/t/log");
    assert_int_equal(plan->supervisor.socket_mode, 0660);
    assert_null(plan->supervisor.socket);
    assert_string_equal(plan->environment[0], "A=two");
    assert_string_equal(plan->environment[1], "B=outer");
    assert_string_equal(plan->environment[2], "C=outer");
    assert_null(plan->environment[3]);
    plan_free(plan);
}

static void scalars_are_expanded_when_loaded(void **state)
{
    const char *environment[] = { "N=4", "WHO=www", NULL };
    struct plan *plan = fixture_plan("[service:a]\ncommand = a --n %(numprocs)d\n"
                                     "priority = %(numprocs)d\nnumprocs = %(ENV_N)s\n"
                                     "user = %(ENV_WHO)s\n",
                                     environment);
    (void)state;
    assert_non_null(plan);
    assert_int_equal(plan->services[0].numprocs, 4);
    assert_int_equal(plan->services[0].priority, 4);
    assert_string_equal(plan->services[0].user, "www");
    assert_string_equal(plan->services[0].command, "a --n %(numprocs)d");
    plan_free(plan);
}

static void scales_override_numprocs(void **state)
{
    struct plan_source source = fixture_source("[service:a]\ncommand = a\nnumprocs = 2\n", NULL);
    struct err_list errors, warnings;

    (void)state;
    arena_init(&source.arena);
    err_list_init(&errors);
    err_list_init(&warnings);
    assert_true(plan_source_scale(&source, "a", 3));
    assert_true(plan_source_scale(&source, "gone", 3));
    assert_true(plan_source_scale(&source, "a", 5));
    assert_int_equal(source.nscales, 2);
    struct plan *plan = plan_make(&source, &errors, &warnings);
    assert_non_null(plan);
    assert_int_equal(plan->services[0].numprocs, 5);
    assert_int_equal(warnings.total, 1);
    plan_free(plan);
    assert_true(plan_source_scale(&source, "a", 100000));
    assert_null(plan_make(&source, &errors, &warnings));
    err_list_done(&errors);
    err_list_done(&warnings);
    arena_done(&source.arena);
}

static void a_plan_outlives_its_source(void **state)
{
    char text[] = "[service:a]\ncommand = a\nuser = www\n[socket:s]\nlisten = :80\n";
    struct plan *plan = must(text);

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    assert_string_equal(plan->services[0].name, "a");
    assert_string_equal(plan->services[0].user, "www");
    assert_string_equal(plan->sockets[0].name, "s");
    assert_string_equal(plan->services[0].file, "/etc/t/main.ini");
    plan_free(plan);
}

static void many_services_load_quickly(void **state)
{
    enum { MANY = 3000, LINE = 160 };
    char *text = malloc((size_t)MANY * LINE), *at = text;

    (void)state;
    assert_non_null(text);
    for (int i = 0; i < MANY; i++)
        at += snprintf(at, LINE, "[service:s%d]\ncommand = /bin/x %%(process_num)d\n%s%s%d\n", i,
                       i ? "" : "priority = 5\n", i ? "after = s" : "numprocs = ", i ? i - 1 : 2);
    struct plan *plan = must(text);
    assert_int_equal(plan->nservices, MANY);
    assert_string_equal(plan->services[MANY - 1].name, "s2999");
    plan_free(plan);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(service_and_program_have_their_defaults),
        cmocka_unit_test(what_is_alike_is_kept_once),
        cmocka_unit_test(order_follows_needs_then_priority_then_name),
        cmocka_unit_test(needs_named_twice_are_merged),
        cmocka_unit_test(groups_order_and_name_their_programs),
        cmocka_unit_test(later_keys_of_programs_win),
        cmocka_unit_test(sockets_of_a_service_keep_their_order),
        cmocka_unit_test(release_sets_are_folders),
        cmocka_unit_test(supervisor_is_filled_and_supervisord_under_it),
        cmocka_unit_test(scalars_are_expanded_when_loaded),
        cmocka_unit_test(scales_override_numprocs),
        cmocka_unit_test(a_plan_outlives_its_source),
        cmocka_unit_test(many_services_load_quickly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
