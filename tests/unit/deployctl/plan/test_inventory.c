#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "deployctl/plan/inventory.h"
#include "deployctl/plan/recipe.h"

static int read_lines(void *context, const char *command, struct inventory *ret, struct err *err)
{
    (void)context;
    assert_string_equal(command, "./hosts");
    return inventory_lines(ret, context, strlen(context), err);
}

/* deploy.ini with these further lines in [fleet], and a command that prints `output`. */
static int parse(struct recipe *recipe, const char *fleet, const char *output,
                 struct err_list *errors)
{
    char text[1024], lines[2048];
    snprintf(text, sizeof text, "[deploy]\napp = web\n[fleet]\nhosts_command = ./hosts\n%s", fleet);
    snprintf(lines, sizeof lines, "%s", output);
    recipe_init(recipe);
    recipe->ask = read_lines;
    recipe->ask_context = lines;
    err_list_init(errors);
    return recipe_parse(recipe, "deploy.ini", text, strlen(text), errors);
}

static void hosts_add_up(void **state)
{
    struct recipe recipe;
    struct err_list errors;
    size_t len;

    (void)state;
    assert_int_equal(parse(&recipe,
                           "hosts = web[1-2]\nuser = deploy\n[host:db1]\nuser = postgres\n",
                           "# all of them\n\n  web3 address=10.0.0.3 port=2222 zone=a role=web\n"
                           "db1 user=root labels=role=db,rack=7 zone=b # the old one\n",
                           &errors),
                     0);
    assert_int_equal(recipe.count, 4);
    assert_false(recipe.hosts[1].from_command);
    const struct recipe_host *web3 = &recipe.hosts[2], *db1 = &recipe.hosts[3];
    assert_true(web3->from_command && db1->from_command);
    assert_string_equal(web3->address, "10.0.0.3");
    assert_int_equal(web3->port, 2222);
    assert_string_equal(web3->user, "deploy");
    assert_string_equal(recipe_label(web3, "zone", &len), "a role=web");
    assert_int_equal(len, 1);
    assert_true(recipe_host_matches(web3, "role=web"));
    assert_string_equal(db1->user, "postgres"); /* the file wins */
    assert_true(recipe_host_matches(db1, "role=db") && recipe_host_matches(db1, "rack=7") &&
                recipe_host_matches(db1, "zone=b"));
    recipe_done(&recipe);
    err_list_done(&errors);
}

static void the_command_may_be_all(void **state)
{
    struct recipe recipe;
    struct err_list errors;

    (void)state;
    assert_int_equal(parse(&recipe, "", "a\r\nb", &errors), 0);
    assert_int_equal(recipe.count, 2);
    recipe_done(&recipe);
    err_list_done(&errors);
}

static void errors_name_the_line(void **state)
{
    static const struct {
        const char *fleet, *output, *error;
    } cases[] = {
        { "", "", "hosts_command: it names no host" },
        { "", "# none\n", "it names no host" },
        { "", "a\n-b\n", "line 2: \"-b\" is not a host name" },
        { "", "a;rm\n", "line 1: \"a;rm\" is not a host name" },
        { "", "a port\n", "line 1: \"port\" is not KEY=VALUE" },
        { "", "port=1\n", "line 1: a line begins with the name of a host" },
        { "", "a port=many\n", "line 1: a: port: " },
        { "", "a x=1 x=2\n", "line 1: x is given twice" },
        { "", "a\n\na\n", "line 3: host a is named twice" },
        { "hosts = c b\n", "a\nb\n", "line 2: host b is named twice, first in hosts" },
        { "", "a adress=1\n", "line 1: a: adress: did you mean address?" },
        { "", "a zone=\n", "line 1: a: zone: a label" },
        { "", "a \x01=2\n", "is not a key" },
        { "", "a address=-oProxyCommand=x\n", "may not begin with '-'" },
        { "[host:b]\nport = 1\n", "a\n", "nor does hosts_command name it" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct recipe recipe;
        struct err_list errors;
        int rc = parse(&recipe, cases[i].fleet, cases[i].output, &errors);
        if (rc != ERR_INVALID || !errors.count || !strstr(errors.lines[0], cases[i].error))
            fail_msg("%s: %s", cases[i].output, errors.count ? errors.lines[0] : "no error");
        recipe_done(&recipe);
        err_list_done(&errors);
    }
}

static void nothing_is_without_limit(void **state)
{
    struct inventory inventory = { .place_is = "line" };
    struct arena arena;
    char text[64 * 1024], *at = text;
    struct err err;

    (void)state;
    arena_init(&arena);
    inventory.arena = &arena;
    at += sprintf(at, "a");
    for (int i = 0; i <= INVENTORY_PAIRS_MAX; i++)
        at += sprintf(at, " k%d=v", i);
    assert_int_equal(inventory_lines(&inventory, text, strlen(text), &err), ERR_LIMIT);
    memset(text, 'v', sizeof text);
    memcpy(text, "b k=", 4);
    assert_int_equal(inventory_lines(&inventory, text, INVENTORY_VALUE_MAX + 100, &err),
                     ERR_INVALID);
    assert_int_equal(inventory_lines(&inventory, "c\0d", 3, &err), ERR_INVALID);
    arena_done(&arena);
}

#define TEST(name) cmocka_unit_test(name)
int main(void)
{
    const struct CMUnitTest tests[] = { TEST(hosts_add_up), TEST(the_command_may_be_all),
                                        TEST(errors_name_the_line),
                                        TEST(nothing_is_without_limit) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
