/* test_recipe_groups.c - [group:NAME]: who is in which, in which order, with which limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "deployctl/plan/limits.h"
#include "deployctl/plan/recipe.h"

#define FLEET                                                                                      \
    "[deploy]\napp = shop\nservice = web\n[fleet]\nhosts = w[1-4] a[1-2] e1\n"                     \
    "[host:w1]\nlabels = role=web\n[host:w2]\nlabels = role=web\n"                                 \
    "[host:w3]\nlabels = role=web\n[host:w4]\nlabels = role=web group=special\n"

static int parse(struct recipe *recipe, const char *groups, struct err_list *errors)
{
    char text[4096];
    int len = snprintf(text, sizeof text, FLEET "%s", groups);
    recipe_init(recipe);
    err_list_init(errors);
    return recipe_parse(recipe, "deploy.ini", text, (size_t)len, errors);
}

static void done(struct recipe *recipe, struct err_list *errors)
{
    err_list_done(errors);
    recipe_done(recipe);
}

static void groups_come_after_those_they_name(void **unused)
{
    (void)unused;
    struct recipe recipe;
    struct err_list errors;
    assert_int_equal(parse(&recipe,
                           "[group:web]\nhosts = role=web\nafter = api\n"
                           "[group:api]\nhosts = a*\nservice = migrate api\n"
                           "[group:edge]\nhosts = e1\n",
                           &errors),
                     0);
    assert_int_equal(recipe.ngroups, 3);
    assert_string_equal(recipe.groups[0].name, "api");
    assert_string_equal(recipe.groups[1].name, "web");
    assert_string_equal(recipe.groups[2].name, "edge");
    assert_int_equal(recipe.hosts[0].group, 1);
    assert_string_equal(recipe.hosts[0].group_name, "web");
    assert_int_equal(recipe.hosts[4].group, 0);
    assert_int_equal(recipe.hosts[4].services.count, 2);
    assert_string_equal(recipe.hosts[4].services.names[0], "migrate");
    assert_int_equal(recipe.hosts[6].group, 2);
    assert_string_equal(recipe.hosts[6].services.names[0], "web");
    done(&recipe, &errors);
}

/* After all names the file says it last, and its order holds among the rest. */
static void the_order_of_the_file_holds_otherwise(void **unused)
{
    (void)unused;
    struct recipe recipe;
    struct err_list errors;
    assert_int_equal(parse(&recipe,
                           "[group:edge]\nhosts = e1\nafter = web, api\n"
                           "[group:web]\nhosts = role=web\n[group:api]\nhosts = a1 a2\n",
                           &errors),
                     0);
    assert_string_equal(recipe.groups[0].name, "web");
    assert_string_equal(recipe.groups[1].name, "api");
    assert_string_equal(recipe.groups[2].name, "edge");
    done(&recipe, &errors);

    assert_int_equal(parse(&recipe, "", &errors), 0); /* no groups at all */
    assert_int_equal(recipe.ngroups, 0);
    assert_null(recipe.hosts[0].group_name);
    assert_string_equal(recipe.hosts[6].services.names[0], "web");
    done(&recipe, &errors);
}

static void expect(const char *groups, const char *piece)
{
    struct recipe recipe;
    struct err_list errors;
    bool found = false;
    assert_int_equal(parse(&recipe, groups, &errors), ERR_INVALID);
    for (size_t i = 0; i < errors.count; i++)
        found = found || strstr(errors.lines[i], piece);
    for (size_t i = 0; !found && i < errors.count; i++)
        print_message("%s\n", errors.lines[i]);
    assert_true(found);
    done(&recipe, &errors);
}

#define REST "[group:rest]\nhosts = a1 a2 e1\n"

static void every_mistake_has_its_line(void **unused)
{
    (void)unused;
    char many[4096] = "";
    expect("[group:web]\nhosts = role=web\n[group:api]\nhosts = a1 a2\n",
           "deploy.ini:5: [fleet] hosts: host e1 is in no group");
    expect("[group:web]\nhosts = role=web a1\n" REST,
           "deploy.ini:17: [group:rest] hosts: host a1 is in group web already");
    expect("[group:web]\nhosts = role=wep\n" REST,
           "deploy.ini:15: [group:web] hosts: none of these is in [fleet] hosts");
    expect("[group:web]\nafter = rest\n" REST, "deploy.ini:14: [group:web] hosts: missing");
    expect("[group:web]\nhosts = role=web\nafter = rast\n" REST,
           "deploy.ini:16: [group:web] after: there is no group \"rast\", did you mean rest?");
    expect("[group:web]\nhosts = role=web\nafter = web\n" REST, "after: a circle: web after web");
    expect("[group:web]\nhosts = role=web\nafter = rest\n" REST "after = web\n",
           "after: a circle: ");
    expect("[group:we b]\nhosts = role=web\n" REST, "deploy.ini:14: [group:we b] a group's name");
    expect("[group:]\nhosts = role=web\n" REST, "deploy.ini:14: [group:] a group's name");
    expect("[gruop:web]\nhosts = role=web\n" REST,
           "deploy.ini:14: [gruop:web] unknown section, did you mean [group:NAME]?");
    expect("[group:web]\nhost = role=web\n" REST, "deploy.ini:15: [group:web] host: ");
    expect("[group:web]\nhosts = role=web\nhosts = e1\n" REST, "given twice, first on line 15");
    for (int i = 0; i < 33; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "[group:g%d]\nhosts = w1\n", i);
    expect(many, "deploy.ini:78: [group:g32] more than 32 groups");
}

static void shares_are_of_the_group(void **unused)
{
    (void)unused;
    struct recipe recipe;
    struct err_list errors;
    struct err err;
    struct rollout_limits limits;
    assert_int_equal(parse(&recipe,
                           "[group:api]\nhosts = a*\n[group:web]\nhosts = role=web e1\n"
                           "[rollout]\nmax_unavailable = 50%\nbatch = 50%\n",
                           &errors),
                     0);
    struct limits_asked asked = { .canary = recipe.canary.size, .batch = recipe.rollout.batch };
    limits_make(&recipe, &asked, &limits);
    assert_int_equal(limits.ngroups, 2);
    assert_string_equal(limits.groups[0].name, "api");
    assert_int_equal(limits.groups[0].unavailable, 1); /* of the fleet it would be 3: all of api */
    assert_int_equal(limits.groups[0].batch, 1);
    assert_int_equal(limits.groups[1].unavailable, 2);
    assert_int_equal(limits.groups[1].batch, 3);
    assert_int_equal(limits.groups[1].undo_unavailable, 1);
    assert_int_equal(limits.unavailable, 2);
    assert_int_equal(limits.canary, 1);
    asked.canary_hosts = "a2";
    assert_int_equal(limits_check(&recipe, &asked, &err), 0);
    asked.canary_hosts = "a2 w1";
    assert_int_equal(limits_check(&recipe, &asked, &err), ERR_INVALID);
    assert_string_equal(err.text, "w1 cannot be a canary: it is in group web, which comes after "
                                  "api; name hosts of api");
    assert_int_equal(recipe_select(&recipe, "group=web", &err), 0);
    assert_int_equal(recipe.count, 4); /* w4 has a label of that name, which counts */
    assert_int_equal(limits_check(&recipe, &asked, &err), 0); /* now web is the first */
    limits_make(&recipe, &asked, &limits);
    assert_int_equal(limits.canary, 1);
    done(&recipe, &errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_come_after_those_they_name),
        cmocka_unit_test(the_order_of_the_file_holds_otherwise),
        cmocka_unit_test(every_mistake_has_its_line),
        cmocka_unit_test(shares_are_of_the_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
