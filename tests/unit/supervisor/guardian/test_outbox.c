/* test_outbox.c - what waits for a slow reader arrives in order, or is found to be broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "supervisor/guardian/outbox.h"

enum { MANY = 20000 };

static void everything_arrives_in_order_through_a_full_pair(void **unused)
{
    (void)unused;
    struct outbox outbox;
    struct store store;
    struct store_message message;
    struct err err;
    int pair[2], got = 0, full = 0;
    store_init(&store);
    outbox_init(&outbox);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    for (int i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof(name), "log.%d.r", i);
        assert_true(outbox_add(&outbox, STORE_DROP, name));
    }
    while (outbox_flush(&outbox, pair[1], &store) == OUTBOX_FULL_PAIR) {
        full++;
        while (store_receive(pair[0], &message, &err) == 1) {
            char want[32];
            snprintf(want, sizeof(want), "log.%d.r", got++);
            assert_string_equal(message.name, want);
        }
    }
    while (store_receive(pair[0], &message, &err) == 1)
        got++;
    assert_true(full > 0);
    assert_int_equal(got, MANY);
    assert_int_equal(outbox.count, 0);
    close(pair[0]);
    assert_true(outbox_add(&outbox, STORE_DROP, "log.1.r"));
    assert_int_equal(outbox_flush(&outbox, pair[1], &store), OUTBOX_BROKEN);
    outbox_clear(&outbox);
    assert_int_equal(outbox_flush(&outbox, pair[1], &store), OUTBOX_EMPTY);
    close(pair[1]);
}

static void a_put_whose_descriptor_is_gone_is_skipped(void **unused)
{
    (void)unused;
    struct outbox outbox;
    struct store store;
    struct store_message message;
    struct err err;
    int pair[2];
    store_init(&store);
    outbox_init(&outbox);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    store_put(&store, "log.2.r", eventfd(0, EFD_CLOEXEC), &err);
    assert_true(outbox_add(&outbox, STORE_PUT, "log.1.r"));
    assert_true(outbox_add(&outbox, STORE_PUT, "log.2.r"));
    assert_int_equal(outbox_flush(&outbox, pair[1], &store), OUTBOX_EMPTY);
    assert_int_equal(store_receive(pair[0], &message, &err), 1);
    assert_string_equal(message.name, "log.2.r");
    assert_true(message.fd >= 0);
    close(message.fd);
    assert_int_equal(store_receive(pair[0], &message, &err), 0);
    store_done(&store);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_arrives_in_order_through_a_full_pair),
        cmocka_unit_test(a_put_whose_descriptor_is_gone_is_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
