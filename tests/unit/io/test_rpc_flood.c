/* test_rpc_flood.c - a client that asks without end, and does not read, costs the others nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "io/jsonx.h"
#include "io/listen.h"
#include "io/loop.h"
#include "io/rpc.h"

enum {
    REQUESTS = 3000,
    ANSWER_BYTES = 2000,
    /* What is queued when a peer is not listened to any more, what the kernel's buffers hold, and
     * as much again. */
    FEW = 2 * (256 * 1024 + 512 * 1024) / ANSWER_BYTES,
    SILENT_TURNS = 200,
    TURNS_MAX = 1000000,
};

struct flood {
    struct loop *loop;
    struct loop_timer *step;
    int greedy, modest;
    size_t asked, answered; /* by and for the greedy one */
    size_t calls, calls_when_modest;
    unsigned turns;
    bool modest_answered, reading;
};

static void on_call(void *context, struct rpc_call *call, const char *method, json_t *params)
{
    struct flood *flood = context;
    char text[ANSWER_BYTES + 1];

    (void)method, (void)params;
    flood->calls++;
    memset(text, 'x', ANSWER_BYTES);
    text[ANSWER_BYTES] = '\0';
    rpc_reply(call, json_pack("{s:s}", "text", text));
}

static const struct rpc_server_events events = { on_call, NULL };

static int connect_to(const char *name)
{
    struct addr addr;
    struct err err;
    assert_int_equal(addr_parse(name, &addr, &err), 0);
    int fd = listen_connect(&addr);
    assert_true(fd >= 0);
    return fd;
}

static bool ask(int fd)
{
    static const char text[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\"}\n";
    return send(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) ==
           (ssize_t)(sizeof(text) - 1);
}

static size_t lines_read(int fd)
{
    char text[64 * 1024];
    ssize_t n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
    size_t lines = 0;
    for (ssize_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    return lines;
}

static void on_step(void *context)
{
    struct flood *flood = context;

    while (flood->asked < REQUESTS && ask(flood->greedy))
        flood->asked++;
    if (++flood->turns == SILENT_TURNS)
        assert_true(ask(flood->modest));
    if (!flood->modest_answered && lines_read(flood->modest) > 0) {
        flood->modest_answered = flood->reading = true;
        flood->calls_when_modest = flood->calls;
    }
    if (flood->reading)
        flood->answered += lines_read(flood->greedy);
    if (flood->answered == REQUESTS || flood->turns == TURNS_MAX)
        loop_stop(flood->loop);
    else
        loop_timer_arm(flood->step, 0);
}

static void who_does_not_read_is_not_served(void **unused)
{
    (void)unused;
    struct flood flood = { 0 };
    struct addr addr;
    struct err err;
    char name[64];

    snprintf(name, sizeof(name), "@rpc-flood-%d", (int)getpid());
    flood.loop = loop_new(&err);
    assert_int_equal(addr_parse(name, &addr, &err), 0);
    int fd = listen_open(&addr, &(struct listen_options){ .backlog = 8 }, &err);
    assert_true(fd >= 0);
    struct rpc_server *server = rpc_server_new(flood.loop, fd, &events, &flood, &err);
    assert_non_null(server);
    flood.greedy = connect_to(name);
    flood.modest = connect_to(name);
    flood.step = loop_timer_new(flood.loop, on_step, &flood);
    loop_timer_arm(flood.step, 0);
    loop_run(flood.loop, NULL, NULL);

    assert_true(flood.modest_answered);
    assert_true(flood.calls_when_modest <= FEW);
    assert_int_equal(flood.answered, REQUESTS); /* nothing of it is lost */
    assert_int_equal(flood.calls, REQUESTS + 1);
    close(flood.greedy);
    close(flood.modest);
    loop_timer_free(flood.step);
    rpc_server_free(server);
    loop_free(flood.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_does_not_read_is_not_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
