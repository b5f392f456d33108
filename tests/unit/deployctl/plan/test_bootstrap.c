/* Unit tests of bootstrap: every combination of what a host has, and what of it the plan makes. */
#include "deployctl/plan/bootstrap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "deployctl/plan/bootstrap_script.h"

#define VERSION_HERE "1.10.0"
enum { PROGRAM_BYTES = 3 * 1024 * 1024, PROBE_MAX = 64 * 1024 };

static struct bootstrap_wish wish(void)
{
    return (struct bootstrap_wish){
        .user = "deploy",
        .path = "/srv/shop",
        .version = VERSION_HERE,
        .deployctl = { .name = "deployctl",
                       .file = "this deployctl",
                       .target = "/usr/local/bin/deployctl",
                       .machine = 62,
                       .interpreter = "/lib64/ld-linux-x86-64.so.2",
                       .digest = "aa",
                       .bytes = PROGRAM_BYTES },
        .supervisor = { .name = "supervisor",
                        .file = "./supervisor",
                        .target = BOOTSTRAP_SUPERVISOR,
                        .machine = 62,
                        .digest = "bb",
                        .bytes = PROGRAM_BYTES },
        .service_file = "shop.ini",
        .service_digest = "cc",
        .service_users = { "shop" },
        .nservice_users = 1,
    };
}

/* A bare host that can be helped. */
static struct bootstrap_facts bare(void)
{
    return (struct bootstrap_facts){
        .machine = "x86_64",
        .login = "root",
        .init = "systemd",
        .interpreter_deployctl = 1,
        .digests = 1,
        .useradd = 1,
        .programs_writable = 1,
        .path_writable = 1,
        .programs_free_kb = 1 << 20,
        .path_free_kb = 1 << 20,
    };
}

static struct bootstrap_facts complete(void)
{
    struct bootstrap_facts facts = bare();
    strcpy(facts.deployctl, VERSION_HERE);
    strcpy(facts.deployctl_digest, "aa");
    strcpy(facts.supervisor, VERSION_HERE);
    strcpy(facts.supervisor_digest, "bb");
    strcpy(facts.running, VERSION_HERE);
    strcpy(facts.groups, "deploy");
    strcpy(facts.folder, "dir");
    strcpy(facts.folder_real, "/srv/shop");
    strcpy(facts.folder_owner, "deploy");
    strcpy(facts.control_group, "deploy");
    strcpy(facts.service_digest, "cc");
    strcpy(facts.service_users, " shop");
    facts.folder_mode = 755;
    facts.group = facts.user = facts.keys = facts.config = facts.service_file = facts.unit = 1;
    return facts;
}

static bool has(const struct bootstrap_plan *plan, enum bootstrap_act act)
{
    for (size_t i = 0; i < plan->nsteps; i++)
        if (plan->steps[i].act == act)
            return true;
    return false;
}

static struct bootstrap_plan plan_of(struct bootstrap_facts facts, struct bootstrap_wish want)
{
    struct bootstrap_plan plan;
    bootstrap_plan(&plan, &want, &facts);
    return plan;
}

static void a_complete_host_needs_nothing(void **state)
{
    struct bootstrap_plan plan = plan_of(complete(), wish());
    (void)state;
    assert_int_equal(plan.nsteps, 0);
    assert_int_equal(plan.nproblems, 0);
    assert_int_equal(plan.nnotes, 0);
}

static void a_bare_host_gets_all_in_order(void **state)
{
    static const enum bootstrap_act acts[] = {
        BOOTSTRAP_GROUP,
        BOOTSTRAP_USER,
        BOOTSTRAP_SERVICE_USER,
        BOOTSTRAP_DEPLOYCTL,
        BOOTSTRAP_SUPERVISOR_COPY,
        BOOTSTRAP_FOLDER,
        BOOTSTRAP_CONFIG_NEW,
        BOOTSTRAP_SERVICE_FILE,
        BOOTSTRAP_UNIT,
        BOOTSTRAP_START,
    };
    struct bootstrap_plan plan = plan_of(bare(), wish());
    (void)state;
    assert_int_equal(plan.nproblems, 0);
    assert_int_equal(plan.nsteps, sizeof acts / sizeof *acts);
    for (size_t i = 0; i < plan.nsteps; i++)
        assert_int_equal(plan.steps[i].act, acts[i]);
}

/* Every set of things that a host may have: exactly what is missing is brought, and once it has
 * been brought there is nothing left to do. */
static void every_combination(void **state)
{
    enum {
        GROUP = 1,
        USER = 2,
        SERVICE_USER = 4,
        DEPLOYCTL = 8,
        SUPERVISOR = 16,
        FOLDER = 32,
        CONFIG = 64,
        CONTROL = 128,
        SERVICE = 256,
        UNIT = 512,
        RUNNING = 1024,
        ALL = 2048
    };
    static const char *const inits[] = { "", "systemd", "sysv", "supervisor" };
    (void)state;
    for (unsigned init = 0; init < 4; init++)
        for (unsigned have = 0; have < ALL; have++) {
            struct bootstrap_facts facts = complete(), none = bare();
            strcpy(facts.init, inits[init]);
            facts.group = (have & GROUP) != 0;
            facts.user = (have & USER) != 0;
            if (!(have & USER))
                facts.groups[0] = '\0';
            if (!(have & SERVICE_USER))
                facts.service_users[0] = '\0';
            if (!(have & DEPLOYCTL))
                facts.deployctl[0] = facts.deployctl_digest[0] = '\0';
            if (!(have & SUPERVISOR))
                facts.supervisor[0] = facts.supervisor_digest[0] = '\0';
            if (!(have & FOLDER))
                memcpy(facts.folder, none.folder, sizeof facts.folder), facts.folder_real[0] = '\0';
            facts.config = (have & CONFIG) != 0;
            if (!(have & CONTROL) || !(have & CONFIG))
                facts.control_group[0] = '\0';
            facts.service_file = (have & SERVICE) != 0;
            facts.unit = (have & UNIT) != 0;
            if (!(have & RUNNING))
                facts.running[0] = '\0';
            struct bootstrap_plan plan = plan_of(facts, wish());
            bool starts = init == 1 || init == 2, running = (have & RUNNING) != 0;
            bool config = !(have & CONFIG), control = !config && !(have & CONTROL);
            assert_int_equal(plan.nproblems, 0);
            assert_int_equal(has(&plan, BOOTSTRAP_GROUP), !(have & GROUP));
            assert_int_equal(has(&plan, BOOTSTRAP_USER), !(have & USER));
            assert_int_equal(has(&plan, BOOTSTRAP_SERVICE_USER), !(have & SERVICE_USER));
            assert_int_equal(has(&plan, BOOTSTRAP_DEPLOYCTL), !(have & DEPLOYCTL));
            assert_int_equal(has(&plan, BOOTSTRAP_SUPERVISOR_COPY), !(have & SUPERVISOR));
            assert_int_equal(has(&plan, BOOTSTRAP_FOLDER), !(have & FOLDER));
            assert_int_equal(has(&plan, BOOTSTRAP_CONFIG_NEW), config);
            assert_int_equal(has(&plan, BOOTSTRAP_CONTROL_GROUP), control);
            assert_int_equal(has(&plan, BOOTSTRAP_MEMBER), false);
            assert_int_equal(has(&plan, BOOTSTRAP_SERVICE_FILE), !(have & SERVICE));
            assert_int_equal(has(&plan, BOOTSTRAP_UNIT), !running && starts && !(have & UNIT));
            assert_int_equal(has(&plan, BOOTSTRAP_START), !running && starts);
            assert_int_equal(has(&plan, BOOTSTRAP_RELOAD),
                             running && (config || control || !(have & SERVICE)));
            assert_int_equal(has(&plan, BOOTSTRAP_UPGRADE), running && !(have & SUPERVISOR));
            assert_int_equal(plan.nnotes, !running && !starts);
        }
}

/* Facts that keep a bare host from being helped, and what is said of them. */
static void problems(void **state)
{
    static const struct {
        const char *fact, *says;
    } cases[] = {
        { "uid=1000\nlogin=bob\n", "logged in as bob" },
        { "machine=aarch64\n", "the host is aarch64" },
        { "machine=\n", "the host is " },
        { "interpreter_deployctl=0\n", "STATIC=1" },
        { "digests=0\n", "sha256sum" },
        { "useradd=0\n", "neither useradd nor adduser" },
        { "programs_writable=0\n", "cannot be written to" },
        { "programs_free_kb=100\n", "only 100 KB are free" },
        { "folder=link\n", "is a symlink" },
        { "folder=other\n", "is no folder" },
        { "folder=dir\nfolder_real=/data/shop\n", "set `path = /data/shop`" },
        { "path_writable=0\n", "cannot be made" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        struct bootstrap_facts facts;
        struct bootstrap_wish want = wish();
        struct bootstrap_plan plan;
        snprintf(text, sizeof text,
                 "machine=x86_64\nlogin=root\ninterpreter_deployctl=1\ndigests=1\nuseradd=1\n"
                 "programs_writable=1\npath_writable=1\nprograms_free_kb=999999\n%s",
                 cases[i].fact);
        bootstrap_facts_read(&facts, text);
        bootstrap_plan(&plan, &want, &facts);
        assert_true(plan.nproblems >= 1);
        assert_non_null(strstr(plan.problems[0], cases[i].says));
    }
}

static void versions(void **state)
{
    (void)state;
    assert_true(bootstrap_version_order("1.9.9", "1.10.0") < 0);
    assert_true(bootstrap_version_order("1.10.0", "1.10.0") == 0);
    assert_true(bootstrap_version_order("2", "1.10.0") > 0);
    assert_true(bootstrap_version_order("1.10", "1.10.1") < 0);
    assert_true(bootstrap_version_order("", "0.1") < 0);
    assert_true(bootstrap_version_order("1.0-rc1", "1.0-rc2") < 0);
}

static void older_newer_and_other_builds(void **state)
{
    static const struct {
        const char *version, *digest;
        bool replace, copied, noted;
    } cases[] = {
        { VERSION_HERE, "bb", false, false, false },
        { VERSION_HERE, "bb", true, false, false },
        { VERSION_HERE, "xx", false, false, false },
        { VERSION_HERE, "xx", true, true, false },
        { "1.9.0", "xx", false, true, false },
        { "2.0.0", "xx", false, false, true },
        { "2.0.0", "xx", true, true, false },
        { "0", "xx", false, true, false }, /* a file that does not say its version */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bootstrap_facts facts = complete();
        struct bootstrap_wish want = wish();
        strcpy(facts.supervisor, cases[i].version);
        strcpy(facts.supervisor_digest, cases[i].digest);
        want.replace = cases[i].replace;
        struct bootstrap_plan plan = plan_of(facts, want);
        assert_int_equal(has(&plan, BOOTSTRAP_SUPERVISOR_COPY), cases[i].copied);
        assert_int_equal(has(&plan, BOOTSTRAP_UPGRADE), cases[i].copied);
        assert_int_equal(plan.nnotes, cases[i].noted);
    }
}

static void a_package_is_left_alone(void **state)
{
    struct bootstrap_facts facts = complete();
    (void)state;
    strcpy(facts.packaged, "/usr/sbin/supervisor");
    strcpy(facts.supervisor, "1.9.0");
    strcpy(facts.running, "1.9.0");
    struct bootstrap_plan plan = plan_of(facts, wish());
    assert_int_equal(plan.nsteps, 0);
    assert_non_null(strstr(plan.notes[0], "upgrade the package"));
}

static void members(void **state)
{
    struct bootstrap_facts facts = complete();
    (void)state;
    strcpy(facts.control_group, "ops");
    struct bootstrap_plan plan = plan_of(facts, wish());
    assert_int_equal(plan.nsteps, 1);
    assert_int_equal(plan.steps[0].act, BOOTSTRAP_MEMBER);
    assert_string_equal(plan.steps[0].name, "ops");
    strcpy(facts.groups, "devops deploy");
    assert_true(plan_of(facts, wish()).nsteps == 1);
    strcpy(facts.groups, "deploy ops");
    assert_true(plan_of(facts, wish()).nsteps == 0);
    struct bootstrap_wish root = wish();
    root.user = "root";
    strcpy(facts.folder_owner, "root");
    facts.groups[0] = facts.control_group[0] = '\0';
    assert_true(plan_of(facts, root).nsteps == 0); /* root may do all anyway */
}

static void folder_of_somebody_else(void **state)
{
    struct bootstrap_facts facts = complete();
    (void)state;
    strcpy(facts.folder_owner, "root");
    assert_true(has(&(struct bootstrap_plan[]){ plan_of(facts, wish()) }[0], BOOTSTRAP_FOLDER));
    facts = complete();
    facts.folder_mode = 700;
    assert_true(has(&(struct bootstrap_plan[]){ plan_of(facts, wish()) }[0], BOOTSTRAP_FOLDER));
}

/* What a host answers is not trusted. */
static void strange_facts(void **state)
{
    struct bootstrap_facts facts;
    char text[2000] = "nonsense\n=\nuid=\nlogin=a\033[2Jb\nmachine=";
    (void)state;
    memset(text + strlen(text), 'x', 900);
    bootstrap_facts_read(&facts, text);
    assert_string_equal(facts.login, "a?[2Jb");
    assert_int_equal(strlen(facts.machine), sizeof facts.machine - 1);
    assert_int_equal(facts.uid, 0);
}

static void quotes(void **state)
{
    struct buf out;
    (void)state;
    buf_init(&out, 1000);
    bootstrap_quote(&out, "it's $(x) `y` \"z\" \\ ;\n!");
    assert_string_equal(buf_text(&out), "'it'\\''s $(x) `y` \"z\" \\ ;\n!'");
    buf_done(&out);
}

static void the_services_of_init_systems_name_the_right_program(void **state)
{
    struct bootstrap_facts facts = bare();
    struct bootstrap_wish want = wish();
    struct buf out;
    (void)state;
    buf_init(&out, PROBE_MAX);
    strcpy(facts.packaged, "/usr/sbin/supervisor");
    bootstrap_text(&out, BOOTSTRAP_OF_UNIT, &want, &facts);
    assert_non_null(strstr(buf_text(&out), "ExecStart=/usr/sbin/supervisor run\n"));
    buf_clear(&out);
    facts.packaged[0] = '\0';
    strcpy(facts.init, "sysv");
    bootstrap_text(&out, BOOTSTRAP_OF_UNIT, &want, &facts);
    assert_non_null(strstr(buf_text(&out), "DAEMON=/usr/local/sbin/supervisor\n"));
    buf_clear(&out);
    bootstrap_text(&out, BOOTSTRAP_OF_CONFIG, &want, &facts);
    assert_non_null(strstr(buf_text(&out), "\ncontrol_group = deploy\n"));
    want.user = "root";
    buf_clear(&out);
    bootstrap_text(&out, BOOTSTRAP_OF_CONFIG, &want, &facts);
    assert_null(strstr(buf_text(&out), "\ncontrol_group ="));
    buf_done(&out);
}

static void programs(void **state)
{
    struct bootstrap_program program = { 0 };
    struct buf own;
    (void)state;
    buf_init(&own, 256 * 1024 * 1024);
    assert_int_equal(buf_read_file(&own, -100, "/proc/self/exe"), 0);
    unsigned char *data = (unsigned char *)own.data;
    assert_true(bootstrap_program_read(&program, data, own.len));
    assert_true(program.interpreter[0] == '/' || program.interpreter[0] == '\0');
    assert_int_not_equal(program.machine, 0);
    /* Cut anywhere, or with any byte of its header wrong: an answer, and no reading past the end.
     */
    for (size_t len = 0; len < 2000; len++) {
        char *copy = malloc(len + 1);
        memcpy(copy, data, len);
        bootstrap_program_read(&program, (unsigned char *)copy, len);
        free(copy);
    }
    for (size_t i = 4; i < 64; i++)
        for (unsigned value = 0; value < 256; value += 51) {
            unsigned char kept = data[i];
            data[i] = (unsigned char)value;
            bootstrap_program_read(&program, data, 4096);
            data[i] = kept;
        }
    assert_false(bootstrap_program_read(&program, (const unsigned char *)"#!/bin/sh\n", 10));
    buf_done(&own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_complete_host_needs_nothing),
        cmocka_unit_test(a_bare_host_gets_all_in_order),
        cmocka_unit_test(every_combination),
        cmocka_unit_test(problems),
        cmocka_unit_test(versions),
        cmocka_unit_test(older_newer_and_other_builds),
        cmocka_unit_test(a_package_is_left_alone),
        cmocka_unit_test(members),
        cmocka_unit_test(folder_of_somebody_else),
        cmocka_unit_test(strange_facts),
        cmocka_unit_test(quotes),
        cmocka_unit_test(the_services_of_init_systems_name_the_right_program),
        cmocka_unit_test(programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
