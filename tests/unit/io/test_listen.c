/* test_listen.c - sockets that are ours, somebody's, or nobody's any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/listen.h"

enum { PORT_TRIES = 20 };

static char folder[] = "/tmp/test_listen_XXXXXX";
static char path[64];

static int set_up(void **unused)
{
    (void)unused;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/s", folder);
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    unlink(path);
    return rmdir(folder);
}

static struct addr parsed(const char *text)
{
    struct addr addr;
    assert_int_equal(addr_parse(text, &addr, NULL), 0);
    return addr;
}

static void file_has_the_mode_and_owner_asked_for(void **unused)
{
    (void)unused;
    struct listen_options options = { .mode = 0662 };
    struct addr addr = parsed(path);
    struct err err;
    struct stat st;
    if (geteuid() == 0) {
        options.set_owner = true;
        options.uid = 11;
        options.gid = 12;
    }
    mode_t before = umask(0077);
    int fd = listen_open(&addr, &options, &err);
    umask(before);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0662);
    if (options.set_owner)
        assert_true(st.st_uid == 11 && st.st_gid == 12);

    int peer = listen_connect(&addr);
    assert_true(peer >= 0);
    assert_true(fcntl(peer, F_GETFL) & O_NONBLOCK);
    int accepted = accept(fd, NULL, NULL);
    assert_true(accepted >= 0);
    close(accepted);
    close(peer);

    assert_int_equal(listen_open(&addr, &options, &err), ERR_EXISTS); /* a live one */
    close(fd);
    assert_int_equal(listen_connect(&addr), -ECONNREFUSED);
    fd = listen_open(&addr, &options, &err); /* now it is stale */
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    assert_int_equal(listen_connect(&addr), -ENOENT);
}

static void other_kinds_of_unix_sockets(void **unused)
{
    (void)unused;
    struct addr addr = parsed(path);
    struct err err;
    for (int i = 0; i < 2; i++) {
        const struct listen_options options = { .type = i ? SOCK_SEQPACKET : SOCK_DGRAM,
                                                .blocking = true };
        int fd = listen_open(&addr, &options, &err);
        assert_true(fd >= 0);
        assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
        int peer = socket(AF_UNIX, options.type, 0);
        assert_int_equal(connect(peer, (const struct sockaddr *)&addr.at, addr.len), 0);
        assert_int_equal(send(peer, "x", 1, 0), 1);
        close(peer);
        assert_int_equal(listen_open(&addr, &options, &err), ERR_EXISTS); /* a live one */
        close(fd);
        fd = listen_open(&addr, &options, &err); /* now it is stale */
        assert_true(fd >= 0);
        close(fd);
    }
    unlink(path);
}

/* TCP and UDP have ports of their own, and nobody may share a UDP port unasked. */
static void datagrams_beside_a_stream(void **unused)
{
    (void)unused;
    struct listen_options options = { 0 };
    struct addr addr = parsed("127.0.0.1:1");
    struct err err;
    ((struct sockaddr_in *)&addr.at)->sin_port = 0;
    int stream = listen_open(&addr, &options, &err);
    assert_true(stream >= 0);
    addr.len = sizeof addr.at;
    assert_int_equal(getsockname(stream, (struct sockaddr *)&addr.at, &addr.len), 0);
    options.type = SOCK_DGRAM;
    int datagram = listen_open(&addr, &options, &err);
    assert_true(datagram >= 0);
    assert_int_equal(listen_open(&addr, &options, &err), ERR_EXISTS);
    close(datagram);
    close(stream);
}

static void busy_socket_is_not_stale(void **unused)
{
    (void)unused;
    const struct listen_options options = { .backlog = 1 };
    struct addr addr = parsed(path);
    struct err err;
    int peers[16], count = 0;
    int fd = listen_open(&addr, &options, &err);
    assert_true(fd >= 0);
    while (count < 16 && (peers[count] = listen_connect(&addr)) >= 0)
        count++;
    assert_true(count < 16);
    assert_int_equal(peers[count], -EAGAIN);
    assert_int_equal(listen_open(&addr, &options, &err), ERR_EXISTS);
    while (count > 0)
        close(peers[--count]);
    close(fd);
    unlink(path);
}

static void other_files_are_left_alone(void **unused)
{
    (void)unused;
    const struct listen_options options = { .backlog = 1 };
    struct addr addr = parsed(path);
    struct err err;
    int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(file);
    assert_int_equal(listen_open(&addr, &options, &err), ERR_EXISTS);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    addr = parsed("/nonexistent/folder/s");
    assert_int_equal(listen_open(&addr, &options, &err), ERR_SYSTEM);
    assert_int_equal(err.sys, ENOENT);
}

static void ports_are_shared_only_on_purpose(void **unused)
{
    (void)unused;
    struct listen_options options = { .backlog = 8 };
    struct addr addr = parsed("127.0.0.1:1");
    struct err err;
    ((struct sockaddr_in *)&addr.at)->sin_port = 0;
    int fd = listen_open(&addr, &options, &err);
    assert_true(fd >= 0);
    addr.len = sizeof(addr.at);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr.at, &addr.len), 0);
    assert_int_equal(listen_open(&addr, &options, &err), ERR_EXISTS);
    int peer = listen_connect(&addr);
    assert_true(peer >= 0);
    close(peer);
    close(fd);
    options.reuse_port = true;
    ((struct sockaddr_in *)&addr.at)->sin_port = 0;
    fd = listen_open(&addr, &options, &err);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr.at, &addr.len), 0);
    int second = listen_open(&addr, &options, &err);
    assert_true(fd >= 0 && second >= 0);
    close(fd);
    close(second);
}

/* On the same port; -1 when the one chosen is taken in the other family. */
static int listen_on_both(struct addr *six, struct addr *four)
{
    const struct listen_options options = { .backlog = 8 };
    struct err err;
    ((struct sockaddr_in6 *)&six->at)->sin6_port = 0;
    int fd = listen_open(six, &options, &err);
    if (fd < 0)
        skip(); /* no IPv6 here */
    six->len = sizeof(six->at);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&six->at, &six->len), 0);
    ((struct sockaddr_in *)&four->at)->sin_port = ((struct sockaddr_in6 *)&six->at)->sin6_port;
    int second = listen_open(four, &options, &err);
    close(fd);
    if (second < 0)
        return -1;
    close(second);
    return 0;
}

static void both_families_stand_side_by_side(void **unused)
{
    (void)unused;
    struct addr six = parsed("[::]:1"), four = parsed("0.0.0.0:1");
    int tries = PORT_TRIES;
    while (listen_on_both(&six, &four) < 0)
        assert_true(--tries > 0);
}

static void abstract_names_need_no_file(void **unused)
{
    (void)unused;
    const struct listen_options options = { .mode = 0600 };
    char name[64];
    struct err err;
    snprintf(name, sizeof(name), "@test-listen-%d", (int)getpid());
    struct addr addr = parsed(name);
    int fd = listen_open(&addr, &options, &err);
    assert_true(fd >= 0);
    assert_int_equal(listen_open(&addr, &options, &err), ERR_EXISTS);
    assert_non_null(strstr(err.text, name));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_has_the_mode_and_owner_asked_for),
        cmocka_unit_test(other_kinds_of_unix_sockets),
        cmocka_unit_test(datagrams_beside_a_stream),
        cmocka_unit_test(busy_socket_is_not_stale),
        cmocka_unit_test(other_files_are_left_alone),
        cmocka_unit_test(ports_are_shared_only_on_purpose),
        cmocka_unit_test(both_families_stand_side_by_side),
        cmocka_unit_test(abstract_names_need_no_file),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
