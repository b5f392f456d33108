/* test_sock_diag.c - the kernel's list of sockets, with sockets of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "deployctl/agent/sock_diag.h"

static int listener(int family, struct sockaddr_storage *ret, uint16_t *ret_port)
{
    socklen_t len = sizeof *ret;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *ret = (struct sockaddr_storage){ .ss_family = (sa_family_t)family };
    if (family == AF_INET)
        ((struct sockaddr_in *)ret)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        ((struct sockaddr_in6 *)ret)->sin6_addr = in6addr_loopback;
    if (fd < 0 || bind(fd, (struct sockaddr *)ret, len) < 0 || listen(fd, 8) < 0 ||
        getsockname(fd, (struct sockaddr *)ret, &len) < 0)
        return -1;
    *ret_port = ntohs(family == AF_INET ? ((struct sockaddr_in *)ret)->sin_port
                                        : ((struct sockaddr_in6 *)ret)->sin6_port);
    return fd;
}

static void connections_are_counted(int family)
{
    struct sockaddr_storage at, other_at;
    struct sock_diag_ports found = { 0 }, here = { 0 };
    struct err err;
    uint16_t port, other_port;
    int clients[3];
    int fd = listener(family, &at, &port), other = listener(family, &other_at, &other_port);
    if (fd < 0 || other < 0)
        skip(); /* a container without IPv6 */
    assert_int_equal(sock_diag_listening(getpid(), &found, &err), 0);
    assert_int_equal(found.count, 2);
    sock_diag_add(&here, port);
    sock_diag_add(&here, port);
    assert_int_equal(here.count, 1);
    assert_int_equal(sock_diag_established(&here, &err), 0);
    for (int i = 0; i < 3; i++) {
        clients[i] = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&at, sizeof at), 0);
        /* One of the other port, its neighbour or not, does not count. */
        int stranger = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(stranger, (struct sockaddr *)&other_at, sizeof at), 0);
        assert_int_equal(sock_diag_established(&here, &err), i + 1);
        close(stranger);
    }
    for (int i = 0; i < 3; i++) {
        int peer = accept(fd, NULL, NULL);
        assert_true(peer >= 0);
        close(clients[i]);
        close(peer);
    }
    assert_int_equal(sock_diag_established(&here, &err), 0);
    close(fd);
    close(other);
    found.count = 0;
    assert_int_equal(sock_diag_listening(getpid(), &found, &err), 0);
    assert_int_equal(found.count, 0);
}

static void of_ipv4(void **unused)
{
    (void)unused;
    connections_are_counted(AF_INET);
}

static void of_ipv6(void **unused)
{
    (void)unused;
    connections_are_counted(AF_INET6);
}

static void a_process_that_is_gone_has_none(void **unused)
{
    (void)unused;
    struct sock_diag_ports found = { 0 };
    struct err err;
    assert_int_equal(sock_diag_listening(0x7ffffff, &found, &err), 0);
    assert_int_equal(found.count, 0);
}

static void ports_have_a_limit(void **unused)
{
    (void)unused;
    struct sock_diag_ports ports = { 0 };
    for (int i = 1; i <= 2 * SOCK_DIAG_PORTS_MAX; i++)
        sock_diag_add(&ports, (uint16_t)i);
    assert_int_equal(ports.count, SOCK_DIAG_PORTS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_ipv4),
        cmocka_unit_test(of_ipv6),
        cmocka_unit_test(a_process_that_is_gone_has_none),
        cmocka_unit_test(ports_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
