/* test_store.c - descriptors under names: kept, handed on over exec, passed between processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/ledger/store.h"

static int marked(const char *text)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

static bool holds(int fd, const char *text)
{
    char got[64] = "";
    return fd >= 0 && pread(fd, got, sizeof(got) - 1, 0) >= 0 && strcmp(got, text) == 0;
}

static bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

static void names_are_kept_sorted_and_replaced(void **unused)
{
    (void)unused;
    struct store store;
    struct err err;
    store_init(&store);
    for (int i = 99; i >= 0; i--) {
        char name[32];
        snprintf(name, sizeof(name), "log.%d.r", i);
        assert_int_equal(store_put(&store, name, marked(name), &err), 0);
    }
    assert_int_equal(store.count, 100);
    for (size_t i = 1; i < store.count; i++)
        assert_true(strcmp(store.entries[i - 1].name, store.entries[i].name) < 0);
    int before = store_get(&store, "log.7.r");
    assert_true(holds(before, "log.7.r"));
    int newer = marked("new");
    assert_int_equal(store_put(&store, "log.7.r", newer, &err), 0);
    assert_int_equal(store.count, 100);
    assert_true(holds(store_get(&store, "log.7.r"), "new"));
    assert_false(is_open(before));
    store_drop(&store, "log.7.r");
    store_drop(&store, "log.7.r");
    assert_int_equal(store_get(&store, "log.7.r"), -1);
    assert_false(is_open(newer));
    int taken = store_take(&store, "log.8.r");
    assert_int_equal(store.count, 98);
    store_done(&store);
    assert_true(holds(taken, "log.8.r"));
    close(taken);
}

static void wrong_names_are_refused_and_the_descriptor_closed(void **unused)
{
    (void)unused;
    struct store store;
    struct err err;
    char name[STORE_NAME_MAX + 1];
    memset(name, 'x', sizeof(name));
    name[STORE_NAME_MAX] = '\0';
    const char *const wrong[] = { "", "two\nlines", name };
    store_init(&store);
    for (size_t i = 0; i < 3; i++) {
        int fd = marked("x");
        assert_int_equal(store_put(&store, wrong[i], fd, &err), ERR_INVALID);
        assert_false(is_open(fd));
    }
    assert_int_equal(store_put(&store, "fine", -1, &err), ERR_INVALID);
    store_done(&store);
}

static void low_numbers_are_moved_up(void **unused)
{
    (void)unused;
    struct store store;
    struct err err;
    int keep = fcntl(STORE_INVENTORY_FD, F_DUPFD_CLOEXEC, 100);
    int fd = marked("low");
    if (fd != STORE_INVENTORY_FD) {
        assert_int_equal(dup2(fd, STORE_INVENTORY_FD), STORE_INVENTORY_FD);
        close(fd);
    }
    store_init(&store);
    assert_int_equal(store_put(&store, "low", STORE_INVENTORY_FD, &err), 0);
    assert_true(store_get(&store, "low") > STORE_INVENTORY_FD);
    assert_true(holds(store_get(&store, "low"), "low"));
    assert_true(fcntl(store_get(&store, "low"), F_GETFD) & FD_CLOEXEC);
    store_done(&store);
    if (keep >= 0) {
        dup2(keep, STORE_INVENTORY_FD);
        close(keep);
    }
}

static bool only_logs(const char *name) { return strncmp(name, "log.", 4) == 0; }

static void an_inventory_is_read_back(void **unused)
{
    (void)unused;
    struct store store, read;
    struct err err;
    int inventory;
    store_init(&store);
    store_put(&store, "log.1.r", marked("one"), &err);
    store_put(&store, "socket.web 8.0", marked("blank"), &err);
    store_put(&store, "plan", marked("plan"), &err);
    assert_int_equal(store_inventory(&store, only_logs, &inventory, &err), 0);
    close(inventory);
    assert_int_equal(store_inventory(&store, NULL, &inventory, &err), 0);
    assert_int_equal(store_pass_on(&store, &err), 0);
    assert_false(fcntl(store_get(&store, "plan"), F_GETFD) & FD_CLOEXEC);
    assert_int_equal(store_inherit(inventory, &read, &err), 0);
    assert_false(is_open(inventory));
    assert_int_equal(read.count, 3);
    assert_true(holds(store_get(&read, "socket.web 8.0"), "blank"));
    assert_true(fcntl(store_get(&read, "plan"), F_GETFD) & FD_CLOEXEC);
    free(store.entries[0].name);
    free(store.entries[1].name);
    free(store.entries[2].name);
    free(store.entries); /* the descriptors belong to `read` now */
    store_done(&read);
}

struct moved {
    int from, to; /* -1: it did not come */
};

static int where(void *context, int number)
{
    const struct moved *moved = context;
    for (; moved->from > 0; moved++)
        if (moved->from == number)
            return moved->to;
    return -1;
}

static void an_inventory_is_read_for_descriptors_of_other_numbers(void **unused)
{
    (void)unused;
    struct store store, read;
    struct err err;
    int inventory;
    store_init(&store);
    store_put(&store, "plan", marked("plan"), &err);
    store_put(&store, "log.1.r", marked("one"), &err);
    assert_int_equal(store_inventory(&store, NULL, &inventory, &err), 0);
    int plan = store_get(&store, "plan"), copy = dup(plan);
    const struct moved moved[] = { { plan, copy }, { store_get(&store, "log.1.r"), -1 }, { 0, 0 } };
    assert_int_equal(store_restore(inventory, where, (void *)(uintptr_t)moved, &read, &err), 0);
    assert_true(is_open(inventory));
    assert_int_equal(read.count, 1);
    assert_int_equal(store_get(&read, "plan"), copy);
    assert_true(fcntl(copy, F_GETFD) & FD_CLOEXEC);
    close(inventory);
    store_done(&read);
    store_done(&store);
}

static void wrong_inventories_are_refused(void **unused)
{
    (void)unused;
    static const char *const wrong[] = {
        "",
        "store 2 0\n",
        "junk",
        "store 1 1\n",
        "store 1 1\n999 closed\n",
        "store 1 1\n1 low\n",
        "store 1 1\n12\n",
        "store 1 1\nx name\n",
        "store 1 1\n99999999999999999999 name\n",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct store store;
        struct err err;
        int fd = marked(wrong[i]);
        assert_true(store_inherit(fd, &store, &err) < 0);
        assert_true(strlen(err.text) > 0);
        assert_true(is_open(fd)); /* it may be tried again */
        close(fd);
    }
    struct store store;
    struct err err;
    assert_true(store_inherit(-1, &store, &err) < 0);
}

static void put_and_drop_travel_and_survive_the_sender(void **unused)
{
    (void)unused;
    int pair[2];
    struct store_message message;
    struct err err;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(store_receive(pair[0], &message, &err), 0);
    int fd = marked("hello");
    assert_int_equal(store_send(pair[1], STORE_PUT, "log.3.r", fd, 0, &err), 0);
    close(fd);
    assert_int_equal(store_send(pair[1], STORE_DROP, "plan.undo", -1, 0, &err), 0);
    char path[3000];
    memset(path, '/', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(store_send(pair[1], STORE_UPGRADE, path, -1, 0, &err), 0);
    /* Unread mail of the one that leaves makes the kernel say ECONNRESET once. */
    assert_int_equal(store_send(pair[0], STORE_DROP, "unread", -1, 0, &err), 0);
    close(pair[1]);
    assert_int_equal(store_receive(pair[0], &message, &err), 1);
    assert_int_equal(message.op, STORE_PUT);
    assert_string_equal(message.name, "log.3.r");
    assert_true(holds(message.fd, "hello"));
    assert_true(fcntl(message.fd, F_GETFD) & FD_CLOEXEC);
    close(message.fd);
    assert_int_equal(store_receive(pair[0], &message, &err), 1);
    assert_int_equal(message.op, STORE_DROP);
    assert_int_equal(message.fd, -1);
    assert_int_equal(store_receive(pair[0], &message, &err), 1);
    assert_int_equal(message.op, STORE_UPGRADE);
    assert_string_equal(message.name, path);
    assert_int_equal(store_receive(pair[0], &message, &err), ERR_UNREACHABLE);
    assert_int_equal(store_send(pair[0], STORE_DROP, "x", -1, 0, &err), ERR_UNREACHABLE);
    close(pair[0]);
}

static void a_full_pair_never_blocks(void **unused)
{
    (void)unused;
    int pair[2];
    struct store_message message;
    struct err err;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    size_t sent = 0, got = 0;
    int rc;
    while ((rc = store_send(pair[1], STORE_DROP, "log.1.r", -1, 0, &err)) == 0)
        sent++;
    assert_int_equal(rc, ERR_TIMEOUT);
    assert_int_equal(err.sys, EAGAIN);
    assert_true(sent > 10);
    assert_int_equal(store_send(pair[1], STORE_DROP, "log.1.r", -1, 20, &err), ERR_TIMEOUT);
    while (store_receive(pair[0], &message, &err) == 1)
        got++;
    assert_int_equal(got, sent);
    assert_int_equal(store_send(pair[1], STORE_DROP, "log.1.r", -1, 20, &err), 0);
    close(pair[0]);
    close(pair[1]);
}

static void nonsense_is_reported_and_skipped(void **unused)
{
    (void)unused;
    int pair[2];
    struct store_message message;
    struct err err;
    char long_one[STORE_TEXT_MAX + 10];
    memset(long_one, 2, sizeof(long_one));
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(send(pair[1], "\1log.1.r", 8, 0), 8); /* PUT without descriptor */
    assert_int_equal(send(pair[1], "\77what", 5, 0), 5);   /* unknown op */
    assert_int_equal(send(pair[1], "\2", 1, 0), 1);        /* no name */
    assert_int_equal(send(pair[1], "\2a\0b", 4, 0), 4);    /* NUL inside */
    assert_int_equal(send(pair[1], long_one, sizeof(long_one), 0), sizeof(long_one));
    assert_int_equal(store_send(pair[1], STORE_DROP, "ok", -1, 0, &err), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(store_receive(pair[0], &message, &err), ERR_PROTOCOL);
    assert_int_equal(store_receive(pair[0], &message, &err), 1);
    assert_string_equal(message.name, "ok");
    close(pair[0]);
    close(pair[1]);
}

/* In the child: the entry as the exec'ed shell sees it. */
static void exec_child(struct store *store, const char *path)
{
    char script[256];
    struct err err;
    char *argv[] = { "sh", "-c", script, NULL };
    snprintf(script, sizeof(script), "head -1 <&3 | grep -q '^store 1 1$' && grep -q marked <&%d",
             store_get(store, "plan"));
    store_exec(store, path, argv, &err);
}

static void exec_hands_all_on_and_failure_changes_nothing(void **unused)
{
    (void)unused;
    struct store store;
    struct err err;
    int status, fd = marked("marked");
    store_init(&store);
    lseek(fd, 0, SEEK_SET);
    store_put(&store, "plan", fd, &err);
    int at3 = fcntl(STORE_INVENTORY_FD, F_GETFD), flags;
    struct stat before = { 0 }, after = { 0 };
    fstat(STORE_INVENTORY_FD, &before);
    assert_int_equal(store_exec(&store, "/nowhere", (char *[]){ "x", NULL }, &err), ERR_SYSTEM);
    assert_int_equal(err.sys, ENOENT);
    flags = fcntl(STORE_INVENTORY_FD, F_GETFD);
    fstat(STORE_INVENTORY_FD, &after);
    assert_int_equal(flags, at3);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_true(fcntl(store_get(&store, "plan"), F_GETFD) & FD_CLOEXEC);
    pid_t pid = fork();
    if (pid == 0) {
        exec_child(&store, "/bin/sh");
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    store_done(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_kept_sorted_and_replaced),
        cmocka_unit_test(wrong_names_are_refused_and_the_descriptor_closed),
        cmocka_unit_test(low_numbers_are_moved_up),
        cmocka_unit_test(an_inventory_is_read_back),
        cmocka_unit_test(an_inventory_is_read_for_descriptors_of_other_numbers),
        cmocka_unit_test(wrong_inventories_are_refused),
        cmocka_unit_test(put_and_drop_travel_and_survive_the_sender),
        cmocka_unit_test(a_full_pair_never_blocks),
        cmocka_unit_test(nonsense_is_reported_and_skipped),
        cmocka_unit_test(exec_hands_all_on_and_failure_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
