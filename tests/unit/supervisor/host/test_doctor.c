/* test_doctor.c - facts and needs in, guarantees out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "io/jsonx.h"
#include "supervisor/host/doctor.h"

static const struct doctor_facts everything = {
    .running = true,
    .guardian_pid = 1,
    .controllers = (1u << CGROUP_NCONTROLLERS) - 1,
    .born_in_group = true,
    .pidfds = true,
    .pidfd_info = true,
    .subreaper = true,
    .children = true,
    .pressure = true,
    .host_oom = true,
    .stacks = true,
    .environment = true,
    .change_users = true,
    .ability = { .effective = UINT64_MAX, .bounding = UINT64_MAX, .last = 40 },
    .runtime = "/run/x",
    .runtime_writable = true,
    .runtime_memory = true,
    .state_writable = true,
    .logs_writable = true,
    .descriptors = 1024,
    .clock_right = true,
};

static json_t *row_of(json_t *rows, const char *id)
{
    json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        if (strcmp(jsonx_text(row, "id", ""), id) == 0)
            return row;
    }
    fail_msg("no row %s", id);
    return NULL;
}

static void expect(const struct doctor_facts *facts, const struct doctor_needs *needs,
                   const char *id, bool holds, bool needed)
{
    json_t *rows = doctor_judge(facts, needs), *row = row_of(rows, id);

    assert_int_equal(jsonx_bool(row, "holds", !holds), holds);
    assert_int_equal(jsonx_bool(row, "needed", !needed), needed);
    assert_int_equal(doctor_all_well(rows), holds || !needed);
    if (!holds) { /* what is missing says why, and what to do */
        assert_true(strlen(jsonx_text(row, "why", "")) > 5);
        assert_true(strlen(jsonx_text(row, "remedy", "")) > 5);
    }
    json_decref(rows);
}

static void test_all_there(void **unused)
{
    const struct doctor_needs needs = { .descriptors = 100 };
    json_t *rows = doctor_judge(&everything, &needs), *row;
    size_t i;

    (void)unused;
    assert_true(json_array_size(rows) >= 15);
    json_array_foreach(rows, i, row) assert_true(jsonx_bool(row, "holds", false));
    json_decref(rows);
}

static void test_each_missing(void **unused)
{
    const struct doctor_needs none = { .descriptors = 100 };
    struct doctor_needs needs = none;
    struct doctor_facts facts = everything;

    (void)unused;
    facts.cgroups_why = "read-only";
    expect(&facts, &none, "containment", false, false);
    expect(&facts, &none, "oom", false, false);
    needs.cgroups_required = true;
    expect(&facts, &needs, "containment", false, true);
    needs = none;
    needs.controllers = 1u << CGROUP_MEMORY;
    needs.limited[CGROUP_MEMORY] = "web";
    expect(&facts, &needs, "limits-memory", false, true);
    expect(&everything, &needs, "limits-memory", true, true);
    facts = everything;
    facts.controllers &= ~(1u << CGROUP_CPU);
    expect(&facts, &needs, "limits-memory", true, true);
    expect(&facts, &needs, "limits-cpu", false, false);
    facts = everything;
    facts.descriptors = 99;
    expect(&facts, &none, "descriptors", false, true);
    facts = everything;
    facts.change_users = false;
    expect(&facts, &none, "users", false, false);
    needs = none;
    needs.other_user = "web";
    expect(&facts, &needs, "users", false, true);
    facts = everything;
    facts.environment = false; /* matters only where there are no groups */
    expect(&facts, &needs, "other-users", false, false);
    facts.cgroups_why = "none";
    expect(&facts, &needs, "other-users", false, true);
    facts = everything;
    facts.state_writable = facts.logs_writable = false;
    expect(&facts, &none, "state", false, false);
    needs = none;
    needs.release = "web";
    expect(&facts, &needs, "state", false, true);
    needs = none;
    needs.default_log = "web";
    expect(&facts, &needs, "logs", false, true);
    facts = everything;
    facts.pidfd_info = false;
    expect(&facts, &none, "exits-of-strangers", true, false); /* PID 1 cannot be killed */
    facts.guardian_pid = 7;
    expect(&facts, &none, "exits-of-strangers", false, false);
}

static void test_sandboxes(void **unused)
{
    static const char *const ids[] = { "sandbox-mounts", "sandbox-namespaces",
                                       "sandbox-capabilities", "sandbox-filters" };
    const struct doctor_needs none = { .descriptors = 100 };
    struct doctor_needs all = none;
    struct doctor_facts facts = everything;

    (void)unused;
    all.mounts = all.namespaces = all.capabilities = all.filter = "web";
    facts.ability = (struct ability){ .mounts = EPERM, .no_filters = "there is no libseccomp" };
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        expect(&facts, &none, ids[i], false, false);
        expect(&everything, &all, ids[i], true, true);
        json_t *rows = doctor_judge(&facts, &all), *row = row_of(rows, ids[i]);
        assert_true(jsonx_bool(row, "needed", false));
        assert_string_equal(jsonx_text(row, "needed_by", ""), "web");
        json_decref(rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_there),
        cmocka_unit_test(test_each_missing),
        cmocka_unit_test(test_sandboxes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
