/* test_recipe.c - deploy.ini, host patterns and shares. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "deployctl/plan/hosts.h"
#include "deployctl/plan/recipe.h"
#include "deployctl/plan/recipe_options.h"
#include "deployctl/plan/share.h"

static int parse(struct recipe *recipe, const char *text, struct err_list *errors)
{
    recipe_init(recipe);
    err_list_init(errors);
    return recipe_parse(recipe, "deploy.ini", text, strlen(text), errors);
}

static void a_small_file_has_all_defaults(void **unused)
{
    (void)unused;
    struct recipe recipe;
    struct err_list errors;
    assert_int_equal(parse(&recipe,
                           "[deploy]\napp = web\nservice = web worker\n"
                           "[fleet]\nhosts = web[01-03].example.net\n  db1\n"
                           "[host:db1]\ntransport = local:/run/x.sock\npath = /srv/db\n",
                           &errors),
                     0);
    assert_int_equal(recipe.count, 4);
    assert_string_equal(recipe.hosts[0].name, "web01.example.net");
    assert_string_equal(recipe.hosts[0].path, "/srv/web");
    assert_false(recipe.hosts[0].local);
    assert_true(recipe.hosts[3].local);
    assert_string_equal(recipe.hosts[3].local_socket, "/run/x.sock");
    assert_string_equal(recipe.hosts[3].path, "/srv/db");
    assert_int_equal(recipe.deploy.services.count, 2);
    assert_int_equal(recipe.canary.bake_ms, 60000);
    assert_int_equal(recipe.rollout.confirm_within_ms, 120000);
    assert_int_equal(recipe.rollout.max_unavailable.count, 1);
    assert_int_equal(recipe.fleet.parallel, 32);
    err_list_done(&errors);
    recipe_done(&recipe);
}

static void expect_line(const struct err_list *errors, const char *piece)
{
    for (size_t i = 0; i < errors->count; i++)
        if (strstr(errors->lines[i], piece))
            return;
    for (size_t i = 0; i < errors->count; i++)
        print_message("%s\n", errors->lines[i]);
    fail_msg("no error has \"%s\"", piece);
}

static void all_errors_are_told_at_once(void **unused)
{
    (void)unused;
    struct recipe recipe;
    struct err_list errors;
    assert_int_equal(parse(&recipe,
                           "[deploy]\napp = web\napp = api\nservise = web\n"
                           "path = /srv/a b\n"
                           "[fleet]\nhosts = a a\ntransport = rsh\nport = no\n"
                           "[canry]\nsize = 10%\n"
                           "[rollout]\nbatch = many\nready_timeout = 5 parsecs\n"
                           "[drain]\ncomand = x\n",
                           &errors),
                     ERR_INVALID);
    expect_line(&errors, "deploy.ini:3: [deploy] app: given twice, first on line 2");
    expect_line(&errors, "deploy.ini:4: [deploy] servise: ");
    expect_line(&errors, "\"service\"");
    expect_line(&errors, "deploy.ini:5: [deploy] path: must be an absolute path");
    expect_line(&errors, "deploy.ini:7: [fleet] hosts: host a is named twice");
    expect_line(&errors, "deploy.ini:10: [canry] unknown section, did you mean [canary]?");
    expect_line(&errors, "deploy.ini:13: [rollout] batch: ");
    expect_line(&errors, "deploy.ini:14: [rollout] ready_timeout: ");
    expect_line(&errors, "deploy.ini:16: [drain] comand: ");
    err_list_done(&errors);
    recipe_done(&recipe);

    assert_int_equal(parse(&recipe, "", &errors), ERR_INVALID);
    expect_line(&errors, "[deploy] app: missing");
    expect_line(&errors, "[fleet] hosts: missing");
    err_list_done(&errors);
    recipe_done(&recipe);

    assert_int_equal(parse(&recipe,
                           "[deploy]\napp=w\n[fleet]\nhosts=a\ntransport=rsh\n[host:b]\nport=1\n"
                           "[canary]\nhosts=z*\n",
                           &errors),
                     ERR_INVALID);
    expect_line(&errors, "deploy.ini:6: [host:b] no such host");
    expect_line(&errors, "deploy.ini:5: [fleet] transport: must be ssh");
    expect_line(&errors, "deploy.ini:9: [canary] hosts: none of these");
    err_list_done(&errors);
    recipe_done(&recipe);
}

static void draining_is_read_and_checked(void **unused)
{
    (void)unused;
    struct recipe recipe;
    struct err_list errors;
    const char *base = "[deploy]\napp=w\nservice=w\n[fleet]\nhosts=a\n";
    char text[600];
    assert_int_equal(parse(&recipe, base, &errors), 0);
    assert_false(recipe.drain.on);
    recipe_done(&recipe);

    snprintf(text, sizeof text, "%s[drain]\ndelay = 3s\n", base);
    assert_int_equal(parse(&recipe, text, &errors), 0);
    assert_true(recipe.drain.on);
    assert_int_equal(recipe.drain.delay_ms, 3000);
    assert_int_equal(recipe.drain.wait_ms, 30000);
    recipe_done(&recipe);

    snprintf(text, sizeof text,
             "%s[drain]\nhaproxy_socket = /run/a.sock 127.0.0.1:99\nhaproxy_backend = web\n", base);
    assert_int_equal(parse(&recipe, text, &errors), 0);
    assert_int_equal(recipe.drain.haproxy_sockets.count, 2);
    assert_string_equal(recipe.drain.haproxy_server, "%h");
    recipe_done(&recipe);

    assert_int_equal(parse(&recipe,
                           "[deploy]\napp=w\n[fleet]\nhosts=a\n[drain]\nports = 80 http\n"
                           "haproxy_socket = lb:port\nhaproxy_server = a b\n",
                           &errors),
                     ERR_INVALID);
    expect_line(&errors, "[deploy] service: [drain] means nothing without one");
    expect_line(&errors, "deploy.ini:6: [drain] ports: must be ports");
    expect_line(&errors, "deploy.ini:7: [drain] haproxy_socket: ");
    expect_line(&errors, "[drain] haproxy_backend: missing");
    expect_line(&errors, "deploy.ini:8: [drain] haproxy_server: must be a name");
    err_list_done(&errors);
    recipe_done(&recipe);

    snprintf(text, sizeof text, "%s[drain]\nhaproxy_backend = web\nhaproxy_server = x\n", base);
    assert_int_equal(parse(&recipe, text, &errors), ERR_INVALID);
    expect_line(&errors, "deploy.ini:7: [drain] haproxy_backend: means nothing without");
    expect_line(&errors, "deploy.ini:8: [drain] haproxy_server: means nothing without");
    err_list_done(&errors);
    recipe_done(&recipe);
}

static void what_the_verdict_rests_on_is_read(void **unused)
{
    (void)unused;
    struct recipe recipe;
    struct err_list errors;
    assert_int_equal(parse(&recipe,
                           "[deploy]\napp=w\n[fleet]\nhosts=a b\n"
                           "[host:b]\nmetrics = http://[::1]:81\n"
                           "[canary]\nmetrics = http://localhost:80/m\nlatency = 250ms\n"
                           "metrics_errors = http_requests_total{status=~\"5..\"}\n"
                           "max_error_ratio = 0.5%\non_inconclusive = promote\n",
                           &errors),
                     0);
    const struct evidence *evidence = &recipe.evidence;
    assert_string_equal(recipe.hosts[0].metrics, "http://localhost:80/m");
    assert_string_equal(recipe.hosts[1].metrics, "http://[::1]:81");
    assert_string_equal(evidence_errors(evidence), "http_requests_total{status=~\"5..\"}");
    assert_string_equal(evidence_requests(evidence), "http_requests_total");
    assert_int_equal(evidence->latency_ms, 250);
    assert_true(evidence->max_error_ratio == 0.005 && evidence->false_abort == 0.01);
    assert_true(evidence->promote);
    err_list_done(&errors);
    recipe_done(&recipe);

    assert_int_equal(
        parse(&recipe, "[deploy]\napp=w\n[fleet]\nhosts=a\n[canary]\nmetrics = probes\n", &errors),
        0);
    err_list_done(&errors);
    recipe_done(&recipe);
}

static void what_the_verdict_cannot_rest_on_is_told(void **unused)
{
    (void)unused;
    static const struct {
        const char *keys, *line;
    } cases[] = {
        { "metrics = http://10.0.0.1/m", "7: [canary] metrics: must be http://127.0.0.1:PORT" },
        { "metrics = http://metrics.local/m", "7: [canary] metrics: must be http://127.0.0.1" },
        { "metrics = http://me@127.0.0.1/m", "7: [canary] metrics: must be http://127.0.0.1" },
        { "metrics = http://127.0.0.1:99999/m", "7: [canary] metrics: must be http://127.0.0.1" },
        { "metrics = https://127.0.0.1/", "7: [canary] metrics: \"https://127.0.0.1/\" is none" },
        { "metrics = log:access.log", "7: [canary] metrics: log: wants an absolute path" },
        { "metrics = log:/a\nlatency = 1s", "8: [canary] latency: needs metrics = http" },
        { "metrics = log:/a\nmetrics_errors = (", "8: [canary] metrics_errors: " },
        { "metrics = http://127.0.0.1\nmetrics_errors = {",
          "8: [canary] metrics_errors: must beg" },
        { "metrics = probes\nmax_error_ratio = 3", "8: [canary] max_error_ratio: must be a perc" },
        { "metrics = probes\nfalse_abort = 0%", "8: [canary] false_abort: must be a perc" },
        { "metrics = probes\nbake = 5s\nwarm_up = 5s", "9: [canary] warm_up: must be shorter" },
        { "size = 1\nlatency = 1s", "8: [canary] latency: means nothing without metrics" },
        { "metrics = probes\n[host:a]\nmetrics = log:/a",
          "9: [host:a] metrics: must be of the sa" },
        { "metrics = probes\n[host:a]\nmetrics = x", "9: [host:a] metrics: \"x\" is none of" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct recipe recipe;
        struct err_list errors;
        char text[512];
        snprintf(text, sizeof text, "[deploy]\napp=w\n\n[fleet]\nhosts=a\n[canary]\n%s\n",
                 cases[i].keys);
        assert_int_equal(parse(&recipe, text, &errors), ERR_INVALID);
        expect_line(&errors, cases[i].line);
        err_list_done(&errors);
        recipe_done(&recipe);
    }
}

static void every_row_is_well_formed(void **unused)
{
    (void)unused;
    for (size_t t = 0; recipe_tables[t]; t++)
        for (size_t i = 0; i < recipe_tables[t]->count; i++) {
            const struct opt *row = &recipe_tables[t]->rows[i];
            assert_non_null(row->help);
            assert_int_equal(row->help[strlen(row->help) - 1], '.');
            assert_true(row->initial || row->example);
            assert_ptr_equal(opt_find(recipe_tables[t], row->key), row);
        }
}

static void the_sample_is_a_deploy_ini(void **unused)
{
    (void)unused;
    struct buf sample;
    struct recipe recipe;
    struct err_list errors;
    buf_init(&sample, 1 << 20);
    recipe_sample("shop", &sample);
    assert_false(sample.failed);
    recipe_init(&recipe);
    err_list_init(&errors);
    recipe_parse(&recipe, "deploy.ini", buf_text(&sample), sample.len, &errors);
    assert_int_equal(errors.total, 1); /* the hosts are for the reader to name */
    expect_line(&errors, "[fleet] hosts: missing");
    assert_string_equal(recipe.deploy.app, "shop");
    err_list_done(&errors);
    recipe_done(&recipe);
    buf_done(&sample);
}

static void labels_select_as_names_do(void **unused)
{
    (void)unused;
    const struct recipe_host a = { .name = "web1", .labels = "zone=a, rack=12" };
    const struct recipe_host bare = { .name = "db1" };
    static const struct {
        const char *pattern;
        bool a, bare;
    } rows[] = {
        { "zone=a", true, false },     { "zone=b", false, false },
        { "zone=*", true, false },     { "rack=1?", true, false },
        { "rack=1", false, false },    { "one=a", false, false },
        { "zone=b,db1", false, true }, { "web1 zone=b", true, false },
        { "zone=", false, false },     { "web[1,2],zone=b", true, false },
        { "db[1-3]", false, true },    { "=a", false, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(recipe_host_matches(&a, rows[i].pattern), rows[i].a);
        assert_int_equal(recipe_host_matches(&bare, rows[i].pattern), rows[i].bare);
    }
    size_t len;
    assert_memory_equal(recipe_label(&a, "rack", &len), "12", 2);
    assert_int_equal(len, 2);
    recipe_label(&bare, "rack", &len);
    assert_int_equal(len, 0);
}

static void hosts_can_be_selected(void **unused)
{
    (void)unused;
    struct recipe recipe;
    struct err_list errors;
    struct err err;
    assert_int_equal(parse(&recipe, "[deploy]\napp=w\n[fleet]\nhosts=web[1-9] db1\n", &errors), 0);
    assert_int_equal(recipe_select(&recipe, "mail*", &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "mail*"));
    assert_int_equal(recipe_select(&recipe, "web[2-3],db*", &err), 0);
    assert_int_equal(recipe.count, 3);
    assert_string_equal(recipe.hosts[2].name, "db1");
    err_list_done(&errors);
    recipe_done(&recipe);
}

/* What a pattern matches is what it lists. */
static void matching_is_listing(void **unused)
{
    (void)unused;
    static const char *const patterns[] = {
        "w[1-12]",          "w[01-12]", "w[1,3,7-9]x",  "w[8-12][0-1]",
        "w[1-2]-[08-11].a", "[1-3]w",   "w[0-0]",       "w[1-20000]",
        "w[3-1]",           "w[1-2",    "w[1-2][0-9x]", "w[1-2,]",
        "w[001-010]",       "w]",       "w[]",          "w[1-9][1-9][1-9][1-9][1-9]",
        "w[9-10][10-11]",
    };
    static const char *const names[] = { "w1",     "w01",  "w001",  "w12",    "w012",    "w3x",
                                         "w8x",    "w80",  "w121",  "w120",   "w1-08.a", "w2-11.a",
                                         "w1-8.a", "2w",   "w0",    "w00",    "w",       "w]",
                                         "w10",    "w010", "w1010", "w910",   "w1011",   "w12345",
                                         "w[]",    "w1,",  "w1x",   "w19999", "" };
    for (size_t p = 0; p < sizeof patterns / sizeof patterns[0]; p++) {
        struct hosts hosts = { 0 };
        struct arena arena;
        arena_init(&arena);
        bool good = hosts_add_all(&hosts, patterns[p], true, &arena, NULL) == 0;
        for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
            bool listed = good && hosts_find(&hosts, names[n]) < hosts.count;
            bool plain = !strchr(patterns[p], '[') && strcmp(patterns[p], names[n]) == 0;
            if (hosts_match(patterns[p], names[n]) != (listed || plain))
                fail_msg("%s and \"%s\": %d", patterns[p], names[n], listed);
        }
        arena_done(&arena);
    }
    /* Quickly, also where there are many ways to read a name. */
    char many[64], digits[254];
    memset(digits, '1', sizeof digits - 1);
    digits[sizeof digits - 1] = '\0';
    strcpy(many, "[1-9999][1-9999][1-9999][1-9999][1-9999][1-9999]");
    assert_false(hosts_match(many, digits));
}

static void patterns_expand(void **unused)
{
    (void)unused;
    static const struct {
        const char *word, *last;
        size_t count; /* 0 = refused */
    } rows[] = {
        { "web[01-20].example.net", "web20.example.net", 20 },
        { "db[1,3,7-9]", "db9", 5 },
        { "r[1-2]s[1-3]", "r2s3", 6 },
        { "plain", "plain", 1 },
        { "a[09-11]", "a11", 3 },
        { "a[3-1]", NULL, 0 },
        { "a[", NULL, 0 },
        { "a[1-", NULL, 0 },
        { "a[]", NULL, 0 },
        { "a[1;2]", NULL, 0 },
        { "-oProxyCommand=x", NULL, 0 },
        { "a$b", NULL, 0 },
        { "a[1-99999]", NULL, 0 },
        { "a[1,1]", NULL, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct arena arena;
        struct hosts hosts = { 0 };
        struct err err;
        arena_init(&arena);
        int rc = hosts_add(&hosts, rows[i].word, &arena, &err);
        assert_int_equal(rc == 0, rows[i].count > 0);
        if (rc == 0) {
            assert_int_equal(hosts.count, rows[i].count);
            assert_string_equal(hosts.names[hosts.count - 1], rows[i].last);
        }
        arena_done(&arena);
    }
    assert_true(hosts_match("web[01-03]", "web02"));
    assert_false(hosts_match("web[01-03]", "web2"));
    assert_true(hosts_match("x, web*", "web2"));
    assert_false(hosts_match("", "web2"));
}

static void shares_are_rounded_as_promised(void **unused)
{
    (void)unused;
    static const struct {
        const char *share;
        size_t total, canary, batch, unavailable, budget;
    } rows[] = {
        { "10%", 3, 1, 1, 1, 0 },     { "10%", 1, 1, 1, 1, 0 },  { "100%", 5, 5, 5, 5, 5 },
        { "99%", 5, 4, 5, 4, 4 },     { "25%", 10, 3, 3, 2, 2 }, { "0", 10, 0, 1, 1, 0 },
        { "0%", 10, 0, 1, 1, 0 },     { "3", 10, 3, 3, 3, 3 },   { "10%", 30, 3, 3, 3, 3 },
        { "20", 10, 10, 10, 10, 10 }, { "34%", 3, 2, 2, 1, 1 },  { "50%", 2, 1, 1, 1, 1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct unit_share share;
        assert_int_equal(unit_share(rows[i].share, &share, NULL), 0);
        assert_int_equal(share_canary(share, rows[i].total), rows[i].canary);
        assert_int_equal(share_batch(share, rows[i].total), rows[i].batch);
        assert_int_equal(share_unavailable(share, rows[i].total), rows[i].unavailable);
        assert_int_equal(share_budget(share, rows[i].total), rows[i].budget);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_file_has_all_defaults),
        cmocka_unit_test(all_errors_are_told_at_once),
        cmocka_unit_test(matching_is_listing),
        cmocka_unit_test(draining_is_read_and_checked),
        cmocka_unit_test(what_the_verdict_rests_on_is_read),
        cmocka_unit_test(what_the_verdict_cannot_rest_on_is_told),
        cmocka_unit_test(every_row_is_well_formed),
        cmocka_unit_test(the_sample_is_a_deploy_ini),
        cmocka_unit_test(labels_select_as_names_do),
        cmocka_unit_test(hosts_can_be_selected),
        cmocka_unit_test(patterns_expand),
        cmocka_unit_test(shares_are_rounded_as_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
