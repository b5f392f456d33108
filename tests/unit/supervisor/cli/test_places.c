/* Where socket and configuration are looked for, in a tree of folders made for each test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/cli/places.h"

struct tree {
    char root[64], run[96], tmp[96], etc[96], xdg[96];
    struct places places;
};

static void make_folder(const char *path) { assert_int_equal(mkdir(path, 0755), 0); }

static int setup(void **state)
{
    struct tree *tree = calloc(1, sizeof *tree);

    strcpy(tree->root, "/tmp/test-places-XXXXXX");
    assert_non_null(mkdtemp(tree->root));
    snprintf(tree->run, sizeof tree->run, "%s/run", tree->root);
    snprintf(tree->tmp, sizeof tree->tmp, "%s/tmp", tree->root);
    snprintf(tree->etc, sizeof tree->etc, "%s/etc", tree->root);
    snprintf(tree->xdg, sizeof tree->xdg, "%s/xdg", tree->root);
    tree->places =
        (struct places){ .run = tree->run, .tmp = tree->tmp, .etc = tree->etc, .uid = geteuid() };
    *state = tree;
    return 0;
}

static int teardown(void **state)
{
    struct tree *tree = *state;
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", tree->root);
    assert_int_equal(system(command), 0);
    free(tree);
    return 0;
}

static void a_named_socket_is_the_only_one(void **state)
{
    struct tree *tree = *state;
    struct places_socket sockets[PLACES_SOCKETS_MAX];
    struct err err = { 0 };

    tree->places.variable = "/from/environment.sock";
    assert_int_equal(places_sockets(&tree->places, sockets, &err), 1);
    assert_string_equal(sockets[0].path, "/from/environment.sock");
    tree->places.socket = "@abstract";
    assert_int_equal(places_sockets(&tree->places, sockets, &err), 1);
    assert_string_equal(sockets[0].path, "@abstract");
    assert_true(sockets[0].named);
    tree->places.socket = "@";
    assert_int_equal(places_sockets(&tree->places, sockets, &err), ERR_INVALID);
}

static void the_order_of_the_manual(void **state)
{
    struct tree *tree = *state;
    struct places_socket sockets[PLACES_SOCKETS_MAX];
    struct err err = { 0 };
    char wanted[256];

    tree->places.uid = 4711;
    assert_int_equal(places_sockets(&tree->places, sockets, &err), 3);
    tree->places.runtime_dir = tree->xdg;
    assert_int_equal(places_sockets(&tree->places, sockets, &err), 4);
    snprintf(wanted, sizeof wanted, "%s/supervisor/control.sock", tree->run);
    assert_string_equal(sockets[0].path, wanted);
    snprintf(wanted, sizeof wanted, "%s/supervisor/control.sock", tree->xdg);
    assert_string_equal(sockets[1].path, wanted);
    snprintf(wanted, sizeof wanted, "%s/supervisor-4711/control.sock", tree->tmp);
    assert_string_equal(sockets[2].path, wanted);
    assert_true(sockets[2].personal);
    assert_string_equal(sockets[3].path, "@supervisor-4711");
    assert_true(sockets[3].personal);
}

static void makes_the_first_folder_it_can(void **state)
{
    struct tree *tree = *state;
    struct err err = { 0 };
    char path[PLACES_PATH_MAX], wanted[256];
    struct stat st;

    /* Nothing there to make a folder in: only the abstract one is left. */
    assert_int_equal(places_make_socket(&tree->places, path, &err), 0);
    snprintf(wanted, sizeof wanted, "@supervisor-%u", (unsigned)geteuid());
    assert_string_equal(path, wanted);

    make_folder(tree->tmp);
    assert_int_equal(places_make_socket(&tree->places, path, &err), 0);
    snprintf(wanted, sizeof wanted, "%s/supervisor-%u", tree->tmp, (unsigned)geteuid());
    assert_int_equal(strncmp(path, wanted, strlen(wanted)), 0);
    assert_int_equal(stat(wanted, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);

    make_folder(tree->xdg);
    tree->places.runtime_dir = tree->xdg;
    assert_int_equal(places_make_socket(&tree->places, path, &err), 0);
    assert_int_equal(strncmp(path, tree->xdg, strlen(tree->xdg)), 0);

    make_folder(tree->run);
    assert_int_equal(places_make_socket(&tree->places, path, &err), 0);
    assert_int_equal(strncmp(path, tree->run, strlen(tree->run)), 0);
    assert_int_equal(places_make_socket(&tree->places, path, &err), 0); /* once more */
}

static void a_folder_open_to_others_is_not_used(void **state)
{
    struct tree *tree = *state;
    struct err err = { 0 };
    char path[PLACES_PATH_MAX], folder[256];

    make_folder(tree->tmp);
    snprintf(folder, sizeof folder, "%s/supervisor-%u", tree->tmp, (unsigned)geteuid());
    make_folder(folder);
    assert_int_equal(chmod(folder, 0777), 0);
    assert_int_equal(places_make_socket(&tree->places, path, &err), 0);
    assert_int_equal(path[0], '@');

    /* Nor one that is somebody's link. */
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(symlink(tree->root, folder), 0);
    assert_int_equal(places_make_socket(&tree->places, path, &err), 0);
    assert_int_equal(path[0], '@');
}

static void the_folder_of_a_named_socket_is_made(void **state)
{
    struct tree *tree = *state;
    struct err err = { 0 };
    char path[PLACES_PATH_MAX], name[256];

    snprintf(name, sizeof name, "%s/a/b/control.sock", tree->root);
    tree->places.socket = name;
    assert_int_equal(places_make_socket(&tree->places, path, &err), 0);
    assert_string_equal(path, name);
    *strrchr(name, '/') = '\0';
    assert_int_equal(access(name, F_OK), 0);
}

static void the_configuration(void **state)
{
    struct tree *tree = *state;
    struct err err = { 0 };
    char path[PLACES_PATH_MAX], name[256];

    assert_int_equal(places_config(&tree->places, NULL, path, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "supervisor.ini"));
    assert_non_null(strstr(err.text, "-c PATH"));

    make_folder(tree->etc);
    snprintf(name, sizeof name, "%s/supervisor", tree->etc);
    make_folder(name);
    snprintf(name, sizeof name, "%s/supervisor/conf.d", tree->etc);
    make_folder(name);
    assert_int_equal(places_config(&tree->places, NULL, path, &err), 0);
    assert_string_equal(path, name);
    snprintf(name, sizeof name, "%s/supervisor/supervisor.ini", tree->etc);
    make_folder(name); /* a folder is good enough for this */
    assert_int_equal(places_config(&tree->places, NULL, path, &err), 0);
    assert_string_equal(path, name);
    assert_int_equal(places_config(&tree->places, tree->etc, path, &err), 0);
    assert_string_equal(path, tree->etc);
    assert_int_equal(places_config(&tree->places, "/no/such", path, &err), ERR_NOT_FOUND);
}

static void paths_are_made_absolute(void **state)
{
    struct tree *tree = *state;
    struct err err = { 0 };
    char path[PLACES_PATH_MAX], real[PLACES_PATH_MAX], wanted[PLACES_PATH_MAX + 16];

    assert_int_equal(chdir(tree->root), 0);
    assert_non_null(getcwd(real, sizeof real));
    assert_int_equal(places_absolute("x.ini", path, &err), 0);
    snprintf(wanted, sizeof wanted, "%s/x.ini", real);
    assert_string_equal(path, wanted);
    assert_int_equal(places_absolute(".//x.ini", path, &err), 0);
    assert_string_equal(path, wanted);
    assert_int_equal(places_absolute(".", path, &err), 0);
    assert_string_equal(path, real);
    assert_int_equal(places_absolute("/a", path, &err), 0);
    assert_string_equal(path, "/a");
    assert_int_equal(places_absolute("", path, &err), ERR_INVALID);
    assert_int_equal(chdir("/"), 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_named_socket_is_the_only_one),
        CASE(the_order_of_the_manual),
        CASE(makes_the_first_folder_it_can),
        CASE(a_folder_open_to_others_is_not_used),
        CASE(the_folder_of_a_named_socket_is_made),
        CASE(the_configuration),
        CASE(paths_are_made_absolute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
