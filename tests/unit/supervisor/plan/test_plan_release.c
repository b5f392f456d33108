#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "tests/unit/supervisor/plan/plan_fixture.h"
#include "supervisor/plan/options.h"
#include "supervisor/plan/release_keys.h"

#define ONE "000001-00000001"
#define TWO "000002-00000002"
static const char base[] = "[service:web]\ncommand = bin/run\nrelease = /srv/web\nuser = www\n"
                           "release_config = service.ini\nenvironment = A=\"host\",H=\"host\"\n"
                           "stopwaitsecs = 3\n";

/* The host's text with what releases say; all of it static. */
struct rig {
    struct plan_source source;
    struct plan_release releases[4];
    struct err_list errors, warnings;
    struct plan *plan;
};

static void rig_init(struct rig *rig, const char *text)
{
    *rig = (struct rig){ .source = fixture_source(text, NULL) };
    rig->source.releases = rig->releases;
    err_list_init(&rig->errors);
    err_list_init(&rig->warnings);
}

static void rig_add(struct rig *rig, const char *id, const char *text, bool pinned)
{
    rig->releases[rig->source.nreleases++] =
        (struct plan_release){ .service = "web",
                               .id = id,
                               .path = pinned ? "/srv/web/pinned.ini" : "/srv/web/other.ini",
                               .text = text,
                               .len = text ? strlen(text) : 0,
                               .problem = "",
                               .pinned = pinned };
}

static const struct spec_service *rig_make(struct rig *rig)
{
    rig->plan = plan_make(&rig->source, &rig->errors, &rig->warnings);
    return rig->plan ? &rig->plan->services[0] : NULL;
}

static void rig_done(struct rig *rig)
{
    plan_free(rig->plan);
    err_list_done(&rig->errors);
    err_list_done(&rig->warnings);
}

/* The one error there is. */
static const char *error_of(struct rig *rig)
{
    return rig->errors.total == 1 ? rig->errors.lines[0] : "none, or more than one";
}

static void every_key_is_decided(void **state)
{
    (void)state;
    for (size_t i = 0; i < options_service.count; i++) {
        const struct opt *row = &options_service.rows[i];
        bool may = row->flags & OPTIONS_PER_RELEASE;
        if (may != !release_keys_refusal(row->key))
            fail_msg("%s: the option table and release_keys.c do not agree", row->key);
    }
}

/* Each key there is, in a release: what may not be set is refused by name, and nothing of it gets
 * into the plan. */
static void every_key_is_tried(void **state)
{
    (void)state;
    for (size_t i = 0; i < options_service.count; i++) {
        const struct opt *row = &options_service.rows[i];
        const char *value = row->example ? row->example : row->initial;
        char text[512], expected[64];
        struct rig rig;

        snprintf(text, sizeof text, "[service:web]\n%s = %s\n", row->key, value);
        rig_init(&rig, base);
        rig_add(&rig, ONE, text, true);
        const struct spec_service *service = rig_make(&rig);
        if (row->flags & OPTIONS_PER_RELEASE) {
            if (!service)
                fail_msg("%s: %s", row->key, error_of(&rig));
            assert_true(spec_says_release(service, row->key));
            assert_non_null(strstr(spec_text(service, i), value));
        } else {
            snprintf(expected, sizeof expected, "2: [service:web] %s: a release cannot", row->key);
            if (service || !strstr(error_of(&rig), expected))
                fail_msg("%s: %s", row->key, error_of(&rig));
        }
        rig_done(&rig);
    }
}

static void values_are_looked_at(void **state)
{
    static const struct {
        const char *key, *value;
        bool fine;
    } cases[] = {
        { "ready", "http://127.0.0.1:80/", true },
        { "ready", "http://localhost:80/x", true },
        { "ready", "tcp://[::1]:80", true },
        { "ready", "grpc://127.1.2.3:1", true },
        { "ready", "tcp://:80", true },
        { "ready", "notify", true },
        { "ready", "exec:bin/check unix:/x", true },
        { "ready", "log:http://10.0.0.1", true },
        { "ready", "unix:/run/x.sock", false },
        { "live", "http://10.0.0.1:80/", false },
        { "live", "http://127.0.0.1.evil:80", false },
        { "live", "tcp://[::2]:80", false },
        { "live", "tcp://127.:80", false },
        { "live", "tcp://[::1:80", false },
        { "startup", "http://%(ENV_X)s:80/", false },
        { "startup", "grpc://example.com:1", false },
        { "command", "%(here)s/run", false },
        { "environment", "A=\"%(here)s\"", false },
        { "command", "unix:/run/x", true },
        { "command", "%(release_dir)s/run", true },
    };
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if ((release_keys_value(cases[i].key, cases[i].value, &err) == 0) != cases[i].fine)
            fail_msg("%s = %s", cases[i].key, cases[i].value);
}

static void names_stay_inside(void **state)
{
    static const char *const fine[] = { "service.ini", "-a/b.ini", "a/..b", "a/b../c" };
    static const char *const bad[] = {
        "/etc/x", "-/etc/x", "", "-", "..", "a/../b", "../x", "a/.."
    };
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
        assert_int_equal(release_keys_name(fine[i], &err), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(release_keys_name(bad[i], &err), ERR_INVALID);
}

static void releases_lie_over_the_host(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig, base);
    rig_add(&rig, ONE, "[service:web]\ncommand = bin/one\nnumprocs = 3\nenvironment = A=\"1\"\n",
            true);
    rig_add(&rig, TWO, "[service:web]\nstopwaitsecs = 7\n", false);
    const struct spec_service *one = rig_make(&rig);
    assert_non_null(one);
    assert_string_equal(one->command, "bin/one");
    assert_int_equal(one->numprocs, 3);
    assert_string_equal(one->environment, "A=\"host\",H=\"host\",A=\"1\"");
    assert_int_equal(one->set->stopwaitsecs_ms, 3000);
    assert_string_equal(one->user, "www");
    const struct spec_service *two = spec_for(one, TWO);
    assert_ptr_equal(spec_for(one, ONE), one);
    assert_string_equal(two->command, "bin/run");
    assert_int_equal(two->numprocs, 1);
    assert_int_equal(two->set->stopwaitsecs_ms, 7000);
    assert_true(spec_knows(one, ONE) && spec_knows(one, TWO) && spec_knows(one, ""));
    assert_false(spec_knows(one, "000003-00000003"));
    assert_true(plan_digest(rig.plan, one, true) != plan_digest(rig.plan, two, true));
    rig_done(&rig);
}

/* Nothing is known of the release that is pinned: it is told, and no other's settings are taken. */
static void a_problem_is_kept(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig, base);
    rig_add(&rig, ONE, NULL, true);
    rig.releases[0].problem = "it is gone";
    const struct spec_service *service = rig_make(&rig);
    assert_non_null(service);
    assert_string_equal(service->release_problem, "it is gone");
    assert_string_equal(service->release_id, ONE);
    rig_done(&rig);
}

static void the_command_may_come_with_the_release(void **state)
{
    static const char none[] = "[service:web]\nrelease = /srv/web\nrelease_config = x.ini\n";
    struct rig rig;

    (void)state;
    rig_init(&rig, none);
    assert_non_null(rig_make(&rig));
    rig_done(&rig);
    rig_init(&rig, none);
    rig_add(&rig, ONE, "[service:web]\ncommand = bin/x\n", true);
    assert_string_equal(rig_make(&rig)->command, "bin/x");
    rig_done(&rig);
    rig_init(&rig, none);
    rig_add(&rig, ONE, "[service:web]\nnumprocs = 2\n", true);
    assert_null(rig_make(&rig));
    assert_non_null(strstr(error_of(&rig), "command: is missing"));
    rig_done(&rig);
}

static void files_are_judged(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        { "[service:web]\n[service:web]\n", "other.ini:2: [service:web] given twice, first given" },
        { "[service:wep]\n", "there is no [service:web]" },
        { "", "there is no [service:web]" },
        { "[supervisor]\nlog = x\n[service:web]\n", "other.ini:1: [supervisor] a release has" },
        { "[program:web]\n[service:web]\n", "other.ini:1: [program:web] a release has" },
        { "[service:web]\nx\n", "other.ini:2:" },
        { "[service:web]\nlive = tcp://127.0.0.1:1\nlive = notify\n", "other.ini:3: " },
        { "[service:web]\nnumprocs = many\n", "other.ini:2: [service:web] numprocs: " },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rig rig;
        rig_init(&rig, base);
        rig_add(&rig, ONE, cases[i].text, false);
        assert_null(rig_make(&rig));
        if (!strstr(error_of(&rig), cases[i].error))
            fail_msg("case %zu: %s", i, error_of(&rig));
        rig_done(&rig);
    }
}

static void releases_are_packed(void **state)
{
    struct plan_source back;
    struct rig rig;
    struct buf bytes;
    struct err err;

    (void)state;
    rig_init(&rig, base);
    rig_add(&rig, ONE, "[service:web]\n", true);
    rig_add(&rig, TWO, NULL, false);
    buf_init(&bytes, PLAN_SOURCE_MAX);
    assert_true(plan_source_pack(&rig.source, &bytes));
    assert_int_equal(plan_source_unpack(bytes.data, bytes.len, &back, &err), 0);
    assert_int_equal(back.nreleases, 2);
    assert_string_equal(back.releases[0].text, "[service:web]\n");
    assert_true(back.releases[0].pinned && !back.releases[1].pinned);
    assert_string_equal(back.releases[1].id, TWO);
    assert_null(back.releases[1].text);
    assert_true(plan_source_release(&back, &rig.releases[0]));
    assert_int_equal(back.nreleases, 3);
    plan_source_free(&back);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(plan_source_unpack(bytes.data, len, &back, &err), ERR_CORRUPT);
    buf_done(&bytes);
    rig_done(&rig);
}

#define TEST(name) cmocka_unit_test(name)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_key_is_decided),
        TEST(every_key_is_tried),
        TEST(values_are_looked_at),
        TEST(names_stay_inside),
        TEST(releases_lie_over_the_host),
        TEST(a_problem_is_kept),
        TEST(the_command_may_come_with_the_release),
        TEST(files_are_judged),
        TEST(releases_are_packed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
