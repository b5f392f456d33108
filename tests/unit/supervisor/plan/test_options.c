#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/plan/options.h"
#include "supervisor/plan/options_parse.h"
#include "supervisor/plan/spec.h"

static size_t struct_size(const struct opt_table *table)
{
    if (table == &options_service)
        return sizeof(struct spec_filling);
    if (table == &options_socket)
        return sizeof(struct spec_socket);
    if (table == &options_group)
        return sizeof(struct spec_group);
    return sizeof(struct spec_supervisor);
}

static void check_row(const struct opt_table *table, const struct opt *row)
{
    union {
        struct spec_filling service;
        struct spec_socket socket;
        struct spec_group group;
        struct spec_supervisor supervisor;
    } target;
    const char *example = row->example ? row->example : row->initial;
    struct arena arena;
    struct err err;

    memset(&target, 0, sizeof(target));
    arena_init(&arena);
    assert_true(row->size > 0 && row->offset + row->size <= struct_size(table));
    assert_non_null(row->help);
    assert_int_equal(row->help[strlen(row->help) - 1], '.');
    assert_true(row->min <= row->max);
    /* The sample file shows an example or the default, and either must be right. */
    if (!example)
        fail_msg("[%s] %s has neither a default nor an example", table->section, row->key);
    if (opt_set(table, row->key, example, &arena, &target, &err) < 0)
        fail_msg("[%s] %s = %s: %s", table->section, row->key, example, err.text);
    const char *program = options_program_initial(row->key);
    if (table == &options_service && program)
        assert_int_equal(opt_set(table, row->key, program, &arena, &target, &err), 0);
    arena_done(&arena);
}

static void rows_are_sound(void **state)
{
    (void)state;
    for (size_t t = 0; options_all[t]; t++)
        for (size_t i = 0; i < options_all[t]->count; i++) {
            const struct opt *row = &options_all[t]->rows[i];
            check_row(options_all[t], row);
            assert_ptr_equal(opt_find(options_all[t], row->key), row); /* no key twice */
        }
}

static void fields_are_not_shared(void **state)
{
    const struct opt_table *tables[] = { &options_supervisor, &options_service, &options_socket,
                                         &options_group };
    (void)state;
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
        for (size_t i = 0; i < tables[t]->count; i++)
            for (size_t k = 0; k < i; k++)
                if (tables[t]->rows[i].offset == tables[t]->rows[k].offset)
                    fail_msg("%s and %s share a field", tables[t]->rows[i].key,
                             tables[t]->rows[k].key);
}

static void defaults_fill_each_struct(void **state)
{
    struct spec_filling service;
    struct arena arena;
    struct err err;

    (void)state;
    memset(&service, 0, sizeof(service));
    arena_init(&arena);
    assert_int_equal(opt_defaults(&options_service, &arena, &service, &err), 0);
    assert_int_equal(service.set.umask, -1);
    assert_int_equal(service.set.startretries, SPEC_UNLIMITED);
    assert_int_equal(service.set.stopsignal, SIGTERM);
    assert_int_equal(service.set.backoff_min_ms, 100);
    assert_int_equal(service.set.log_format, SPEC_LOG_PLAIN);
    assert_true(service.set.backoff_jitter == 0.1);
    assert_false(service.set.limits[SPEC_LIMIT_NOFILE].set);
    arena_done(&arena);
}

static void keys_apply_live_as_documented(void **state)
{
    static const char *const live[] = { "autostart",  "stopsignal", "numprocs",  "ready",
                                        "log_format", "requires",   "pre_start", "backoff_max" };
    static const char *const restart[] = { "command",        "user",        "environment",
                                           "stdout_logfile", "sockets",     "umask",
                                           "release",        "rlimit_core", "type" };
    (void)state;
    for (size_t i = 0; i < sizeof(live) / sizeof(live[0]); i++)
        assert_true(opt_find(&options_service, live[i])->flags & OPTIONS_LIVE);
    for (size_t i = 0; i < sizeof(restart) / sizeof(restart[0]); i++)
        assert_false(opt_find(&options_service, restart[i])->flags & OPTIONS_LIVE);
}

static void exits_are_sets(void **state)
{
    struct spec_exits exits;
    struct err err;

    (void)state;
    assert_int_equal(options_parse_exits("0, 2 255,TERM sigkill", NULL, &exits, &err), 0);
    for (int code = -1; code < 300; code++)
        assert_int_equal(spec_exit_expected(&exits, false, code),
                         code == 0 || code == 2 || code == 255);
    for (int number = -1; number < 100; number++)
        assert_int_equal(spec_exit_expected(&exits, true, number),
                         number == SIGTERM || number == SIGKILL);
    assert_int_equal(options_parse_exits("", NULL, &exits, &err), 0);
    assert_false(spec_exit_expected(&exits, false, 0));
    assert_int_equal(options_parse_exits("-1", NULL, &exits, &err), ERR_INVALID);
}

static void rules_are_tried_in_order(void **state)
{
    struct spec_rules rules = { 0 };
    struct arena arena;
    struct err err;

    (void)state;
    arena_init(&arena);
    assert_int_equal(options_parse_rules("75: backoff 5m, 64-74 :never,\n  SIGSEGV: Always\n76:now",
                                         &arena, &rules, &err),
                     0);
    assert_int_equal(rules.count, 4);
    assert_int_equal(spec_rule_for(&rules, false, 75)->delay_ms, 300000);
    assert_int_equal(spec_rule_for(&rules, false, 75)->action, SPEC_RULE_BACKOFF);
    assert_int_equal(spec_rule_for(&rules, false, 64)->action, SPEC_RULE_NEVER);
    assert_int_equal(spec_rule_for(&rules, false, 74)->action, SPEC_RULE_NEVER);
    assert_int_equal(spec_rule_for(&rules, true, SIGSEGV)->action, SPEC_RULE_ALWAYS);
    assert_int_equal(spec_rule_for(&rules, false, 76)->action, SPEC_RULE_NOW);
    assert_null(spec_rule_for(&rules, false, 63));
    assert_null(spec_rule_for(&rules, true, 75));
    assert_null(spec_rule_for(&rules, false, SIGSEGV));
    assert_null(spec_rule_for(&rules, false, -1));
    assert_int_equal(options_parse_rules("", &arena, &rules, &err), 0);
    assert_int_equal(rules.count, 0);
    static const char *const wrong[] = { "75",
                                         "75:",
                                         "never",
                                         ":never",
                                         "256:never",
                                         "9-3:never",
                                         "75:sometimes",
                                         "75:backoff",
                                         "75:backoff 0s",
                                         "75:backoff 2d",
                                         "75:never 5m",
                                         "75:never 76:never",
                                         "75:never,70-80:now",
                                         "NOPE:now" };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(options_parse_rules(wrong[i], &arena, &rules, &err), ERR_INVALID);
    arena_done(&arena);
}

static void limits_know_unlimited(void **state)
{
    struct spec_limit limit = { 0 };

    (void)state;
    assert_int_equal(options_parse_limit_size("64MB", NULL, &limit, NULL), 0);
    assert_true(limit.set && limit.value == 64 * 1024 * 1024);
    assert_int_equal(options_parse_limit_count("unlimited", NULL, &limit, NULL), 0);
    assert_true(limit.value == RLIM_INFINITY);
    assert_int_equal(options_parse_limit_time("1m", NULL, &limit, NULL), 0);
    assert_true(limit.value == 60);
    assert_int_equal(options_parse_limit_count("-1", NULL, &limit, NULL), ERR_INVALID);
    for (int name = 0; name < SPEC_NLIMITS; name++)
        for (int other = 0; other < name; other++)
            assert_int_not_equal(spec_limit_resource((enum spec_limit_name)name),
                                 spec_limit_resource((enum spec_limit_name)other));
}

static void factors_and_retries(void **state)
{
    double number = 0;
    int64_t count = 0;

    (void)state;
    assert_int_equal(options_parse_factor("1.5", NULL, &number, NULL), 0);
    assert_true(number == 1.5);
    const char *bad[] = { "", "nan", "inf", "1e3", "0x2", "101", "1.2.3", "." };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(options_parse_factor(bad[i], NULL, &number, NULL), ERR_INVALID);
    assert_int_equal(options_parse_jitter("0", NULL, &number, NULL), 0);
    assert_true(number == 0);
    assert_int_equal(options_parse_jitter("5", NULL, &number, NULL), ERR_INVALID);
    assert_int_equal(options_parse_retries("Unlimited", NULL, &count, NULL), 0);
    assert_int_equal(count, SPEC_UNLIMITED);
    assert_int_equal(options_parse_retries("-1", NULL, &count, NULL), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_sound),
        cmocka_unit_test(fields_are_not_shared),
        cmocka_unit_test(defaults_fill_each_struct),
        cmocka_unit_test(keys_apply_live_as_documented),
        cmocka_unit_test(exits_are_sets),
        cmocka_unit_test(rules_are_tried_in_order),
        cmocka_unit_test(limits_know_unlimited),
        cmocka_unit_test(factors_and_retries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
