#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "supervisor/plan/access.h"
#include "tests/unit/supervisor/plan/plan_fixture.h"

enum { SERVICES = 2, TEXT_MAX = 2048 };

/* A small universe: one rule is a choice of each of these, a peer likewise. */
static const uid_t users[] = { 1001, 1002 };
static const gid_t groups[] = { 2001, 2002 };
static const bool none_of_them[SERVICES], first_only[SERVICES] = { true, false },
                                          second_only[SERVICES] = { false, true };
static const bool *const covers[] = { NULL, none_of_them, first_only, second_only };
static const uint32_t some_verbs[] = { 0, 1u << ACCESS_STOP,
                                       1u << ACCESS_STATUS | 1u << ACCESS_RELOAD };
enum { NCOVERS = 4, NVERBS = 3, WHOM = 6, NRULES = NCOVERS * NVERBS * WHOM };

/* Whom: nobody, one user, another user, one group, everybody, the user and the other group. */
static struct access_rule rule_number(int number)
{
    struct access_rule rule = { .title = "access:x", .file = "f", .line = 1 };
    int whom = number % WHOM;

    number /= WHOM;
    rule.verbs = some_verbs[number % NVERBS];
    rule.covers = covers[number / NVERBS];
    rule.everybody = whom == 4;
    if (whom == 1 || whom == 2 || whom == 5) {
        rule.uids = &users[whom == 2];
        rule.nuids = 1;
    }
    if (whom == 3 || whom == 5) {
        rule.gids = &groups[whom == 5];
        rule.ngids = 1;
    }
    return rule;
}

/* The same said in another way: one long condition, rule by rule. */
static bool oracle_rule(const struct access_rule *rule, const struct access_peer *peer, int verb,
                        size_t service)
{
    if (!(rule->verbs >> verb & 1))
        return false;
    if (service == ACCESS_HOST ? rule->covers != NULL : rule->covers && !rule->covers[service])
        return false;
    if (rule->everybody)
        return true;
    for (size_t i = 0; i < rule->nuids; i++)
        if (rule->uids[i] == peer->uid)
            return true;
    for (size_t i = 0; i < rule->ngids; i++) {
        if (rule->gids[i] == peer->gid)
            return true;
        for (size_t k = 0; k < peer->ngroups; k++)
            if (peer->groups[k] == rule->gids[i])
                return true;
    }
    return false;
}

static void check(const struct access_rules *rules, const struct access_peer *peer, int verb)
{
    static const size_t services[] = { 0, 1, ACCESS_HOST };
    bool any = peer->absolute;

    for (size_t s = 0; s < sizeof services / sizeof *services; s++) {
        const struct access_rule *by = (const void *)rules, *first = NULL;
        for (size_t i = 0; i < rules->count && !first && !peer->absolute; i++)
            if (oracle_rule(&rules->list[i], peer, verb, services[s]))
                first = &rules->list[i];
        bool expected = peer->absolute || first;
        assert_int_equal(access_decide(rules, peer, (enum access_verb)verb, services[s], &by),
                         expected);
        assert_ptr_equal(by, first);
        assert_int_equal(access_verbs(rules, peer, services[s]) >> verb & 1, expected);
        any |= expected;
    }
    if (any) /* the other way round a rule may be about no service at all */
        assert_true(access_any(rules, peer, (enum access_verb)verb));
}

static void all_combinations_are_as_the_oracle_says(void **state)
{
    static const gid_t second[] = { 7, 2002 };
    static const int looked_at[] = { ACCESS_STATUS, ACCESS_STOP, ACCESS_START, ACCESS_RELOAD };
    struct access_peer peers[2 * 2 * 3 * 2];
    size_t npeers = 0;

    (void)state;
    for (int absolute = 0; absolute < 2; absolute++)
        for (int user = 0; user < 2; user++)
            for (int group = 0; group < 3; group++)
                for (int more = 0; more < 2; more++)
                    peers[npeers++] = (struct access_peer){ .absolute = absolute,
                                                            .uid = users[user],
                                                            .gid = group < 2 ? groups[group] : 5,
                                                            .groups = second,
                                                            .ngroups = more ? 2 : 0 };
    for (int a = 0; a < NRULES; a++)
        for (int b = a; b < NRULES; b++) {
            const struct access_rule list[] = { rule_number(a), rule_number(b) };
            for (size_t count = 0; count <= 2; count++)
                for (size_t p = 0; p < npeers; p++)
                    for (size_t v = 0; v < sizeof looked_at / sizeof *looked_at; v++)
                        check(&(struct access_rules){ list, count }, &peers[p], looked_at[v]);
        }
}

static void a_further_rule_takes_nothing_away(void **state)
{
    const struct access_peer peer = { .uid = 1001, .gid = 2001 };

    (void)state;
    for (int a = 0; a < NRULES; a++)
        for (int b = 0; b < NRULES; b++) {
            const struct access_rule list[] = { rule_number(a), rule_number(b) };
            for (size_t service = 0; service < SERVICES; service++) {
                uint32_t one = access_verbs(&(struct access_rules){ list, 1 }, &peer, service);
                uint32_t two = access_verbs(&(struct access_rules){ list, 2 }, &peer, service);
                assert_int_equal(one & ~two, 0);
            }
        }
}

static void verbs_have_names_and_classes(void **state)
{
    char *words[] = { "start", "read", NULL }, *wrong[] = { "strat", NULL };
    char *far[] = { "xyzzy", NULL };
    struct err err;
    uint32_t bits;

    (void)state;
    assert_int_equal(access_class("all"), (1u << ACCESS_NVERBS) - 1);
    assert_int_equal(access_class("operate") & ~access_class("all"), 0);
    assert_int_equal(access_class("read") & ~access_class("operate"), 0);
    assert_false(access_class("operate") & 1u << ACCESS_RELOAD);
    assert_false(access_class("read") & 1u << ACCESS_LOGS);
    assert_int_equal(access_class("start"), 0);
    assert_int_equal(access_parse(&(struct opt_names){ words, 2 }, &bits, &err), 0);
    assert_int_equal(bits, access_class("read") | 1u << ACCESS_START);
    assert_int_equal(access_parse(&(struct opt_names){ wrong, 1 }, &bits, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "did you mean \"start\"?"));
    assert_int_equal(access_parse(&(struct opt_names){ far, 1 }, &bits, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "try read"));
}

static const char *explained(const struct access_rules *rules, enum access_verb verb,
                             size_t service, const char *name, struct buf *out)
{
    const struct access_peer peer = { .uid = 1002, .gid = 9 };

    buf_clear(out);
    access_explain(rules, &peer, verb, service, name, out);
    return buf_text(out);
}

static void a_denial_names_the_rule_and_the_remedy(void **state)
{
    const struct access_rule mine = { .title = "access:deploy",
                                      .file = "/etc/x.ini",
                                      .line = 12,
                                      .uids = &users[1],
                                      .nuids = 1,
                                      .verbs = 1u << ACCESS_START | 1u << ACCESS_RESTART |
                                               1u << ACCESS_DOCTOR,
                                      .covers = first_only };
    const struct access_rule built_in = {
        .title = "control_read", .file = "", .everybody = true, .verbs = 1u << ACCESS_STATUS
    };
    const struct access_rules none = { NULL, 0 }, one = { &mine, 1 }, other = { &built_in, 1 };
    struct buf out;

    (void)state;
    buf_init(&out, TEXT_MAX);
    assert_string_equal(explained(&one, ACCESS_STOP, 0, "web", &out),
                        "uid 1002 may not stop web; [access:deploy] at /etc/x.ini:12 allows: "
                        "start, restart; add stop to its verbs and reload");
    assert_string_equal(explained(&one, ACCESS_START, 1, "db", &out),
                        "uid 1002 may not start db; [access:deploy] at /etc/x.ini:12 is for other "
                        "services; add db to its services and reload");
    assert_string_equal(explained(&one, ACCESS_RELOAD, ACCESS_HOST, NULL, &out),
                        "uid 1002 may not reload; [access:deploy] at /etc/x.ini:12 is for some "
                        "services only, this needs services = all");
    assert_non_null(strstr(explained(&none, ACCESS_STOP, 0, "web", &out), "control_group"));
    assert_null(strstr(explained(&none, ACCESS_RELOAD, ACCESS_HOST, NULL, &out), "control_group"));
    assert_non_null(strstr(explained(&other, ACCESS_STOP, 0, "web", &out), "control_read allows"));
    buf_done(&out);
}

static void sections_become_rights(void **state)
{
    static const char text[] = "[service:web]\ncommand = true\n[service:db]\ncommand = true\n"
                               "[group:site]\nprograms = web\n"
                               "[access:a]\nusers = 1\nverbs = start\nservices = site:*\n"
                               "[access:b]\ngroups = 2\nverbs = all\nservices = all\n";
    struct plan *plan = fixture_plan(text, NULL);

    (void)state;
    assert_non_null(plan);
    assert_int_equal(plan->naccess, 2);
    const struct spec_access *a = &plan->access[0], *b = &plan->access[1];
    assert_int_equal(a->verb_bits, 1u << ACCESS_START | 1u << ACCESS_STATUS);
    assert_true(a->covers[plan_find(plan, "web")]);
    assert_false(a->covers[plan_find(plan, "db")]);
    assert_null(b->covers);
    assert_int_equal(b->line, 11);
    assert_int_equal(plan->supervisor.socket_mode, 0666);
    plan_free(plan);
    plan = fixture_plan("[service:web]\ncommand = true\n", NULL);
    assert_int_equal(plan->supervisor.socket_mode, 0660);
    plan_free(plan);
}

/* The user of a helper may read what the helper is there for, without a word about it. */
static void helpers_bring_their_right(void **state)
{
    static const char text[] = "[service:web]\ncommand = true\n[service:worker]\ncommand = true\n"
                               "[events:some]\ncommand = true\nuser = nobody\n"
                               "services = web:1 wor*\n"
                               "[events:every]\ncommand = true\nuser = 1001\nevents = exit\n"
                               "[events:ours]\ncommand = true\n";
    struct plan *plan = fixture_plan(text, NULL);

    (void)state;
    assert_non_null(plan);
    assert_int_equal(plan->naccess, 2);
    const struct spec_access *some = &plan->access[0], *all = &plan->access[1];
    assert_string_equal(some->title, "events:some");
    assert_string_equal(some->users.names[0], "nobody");
    assert_int_equal(some->users_line, 7);
    assert_int_equal(some->verb_bits, 1u << ACCESS_EVENTS | 1u << ACCESS_STATUS);
    assert_true(some->covers[plan_find(plan, "web")]);
    assert_true(some->covers[plan_find(plan, "worker")]);
    assert_false(some->covers[plan_find(plan, "some")]);
    assert_null(all->covers);
    assert_true(some->helper && all->helper);
    assert_int_equal(plan->supervisor.socket_mode, 0666);
    plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_combinations_are_as_the_oracle_says),
        cmocka_unit_test(a_further_rule_takes_nothing_away),
        cmocka_unit_test(verbs_have_names_and_classes),
        cmocka_unit_test(a_denial_names_the_rule_and_the_remedy),
        cmocka_unit_test(sections_become_rights),
        cmocka_unit_test(helpers_bring_their_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
