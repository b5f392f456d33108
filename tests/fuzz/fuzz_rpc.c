/* fuzz_rpc.c - any bytes on the control socket are answered by the rules, or with an end.
 *
 * Each input goes through a real server and its loop.  Beside what the sanitizers see: every line
 * that comes back is an answer that our own client would read, every call that was begun was of a
 * connection that is then closed once, and nothing stays open.  The first line alone also goes
 * through the reader, whose message written out again must read the same.
 */
#include <stdint.h>
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
#include "io/rpc_wire.h"

enum { INPUT_MAX = 64 * 1024, REPLY_MAX = 8 * 1024 * 1024, KEPT_MAX = 16 };

struct fixture {
    struct loop *loop;
    struct rpc_server *server;
    struct addr addr;
    struct rpc_call *kept[KEPT_MAX]; /* answered when the peer has gone */
    size_t nkept, opened, closed;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int fact)
{
    if (!fact)
        abort();
}

/* The length of the method chooses what is done with the call. */
static void on_call(void *context, struct rpc_call *call, const char *method, json_t *params)
{
    struct fixture *fixture = context;
    struct err err;

    require(json_is_object(params) && method[0] != '\0');
    require(rpc_call_conn(call) != NULL && rpc_call_peer(call)->pid == getpid());
    switch (strlen(method) % 4) {
    case 0:
        err_set(&err, ERR_STATE, "%s", method);
        rpc_fail(call, &err, json_incref(params));
        return;
    case 1:
        rpc_notify(rpc_call_conn(call), method, json_incref(params));
        rpc_reply(call, NULL);
        return;
    case 2:
        if (fixture->nkept < KEPT_MAX) {
            fixture->kept[fixture->nkept++] = call;
            return;
        }
        break;
    default:
        break;
    }
    rpc_reply(call, json_incref(params));
}

static void on_close(void *context, struct rpc_conn *conn)
{
    struct fixture *fixture = context;

    (void)conn;
    fixture->closed++;
    while (fixture->nkept > 0)
        rpc_reply(fixture->kept[--fixture->nkept], json_object());
    loop_stop(fixture->loop);
}

static struct fixture *get_fixture(void)
{
    static const struct rpc_server_events events = { on_call, on_close };
    static const struct listen_options options = { .backlog = 8 };
    static struct fixture fixture;
    char name[64];

    if (fixture.loop)
        return &fixture;
    snprintf(name, sizeof(name), "@fuzz-rpc-%d", (int)getpid());
    require(addr_parse(name, &fixture.addr, NULL) == 0);
    int fd = listen_open(&fixture.addr, &options, NULL);
    require(fd >= 0);
    fixture.loop = loop_new(NULL);
    fixture.server = rpc_server_new(fixture.loop, fd, &events, &fixture, NULL);
    require(fixture.server != NULL);
    return &fixture;
}

static void check_answers(char *text, size_t len)
{
    char *end;

    for (char *line = text; (end = memchr(line, '\n', len - (size_t)(line - text))) != NULL;
         line = end + 1) {
        struct rpc_wire wire;
        struct err err;
        int code;
        require(rpc_wire_read(line, (size_t)(end - line), &wire, &code, &err) == 0);
        if (wire.kind == RPC_WIRE_ERROR)
            require(rpc_wire_to_err(wire.error, &err, NULL) < 0);
        rpc_wire_done(&wire);
    }
}

static void talk(const uint8_t *data, size_t size)
{
    static char reply[REPLY_MAX];
    struct fixture *fixture = get_fixture();
    size_t len = 0;
    ssize_t got;

    int fd = listen_connect(&fixture->addr);
    require(fd >= 0);
    fixture->opened++;
    require(send(fd, data, size, MSG_NOSIGNAL) == (ssize_t)size);
    require(shutdown(fd, SHUT_WR) == 0);
    loop_run(fixture->loop, NULL, NULL);
    require(fixture->opened == fixture->closed && fixture->nkept == 0);
    require(rpc_server_clients(fixture->server) == 0);
    while ((got = recv(fd, reply + len, sizeof(reply) - len, MSG_DONTWAIT)) > 0)
        len += (size_t)got;
    close(fd);
    check_answers(reply, len);
}

static void check_again(const struct rpc_wire *wire)
{
    struct rpc_wire again;
    struct buf line;
    struct err err;
    int code;

    if (rpc_wire_line(json_incref(wire->root), &line)) {
        int rc = rpc_wire_read(line.data, line.len - 1, &again, &code, &err);
        /* Rounded to 15 digits the very largest double is infinite. */
        require(rc == 0 || strstr(line.data, "e+308") || strstr(line.data, "e308"));
        require(rc != 0 || again.kind == wire->kind);
        require(rc != 0 || !wire->method || strcmp(again.method, wire->method) == 0);
        require(rc != 0 || !again.id == !wire->id);
        rpc_wire_done(&again);
    }
    buf_done(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *end = size > 0 ? memchr(text, '\n', size) : NULL;
    struct rpc_wire wire;
    struct err err;
    int code;

    if (size > INPUT_MAX)
        return 0;
    int rc = rpc_wire_read(text, end ? (size_t)(end - text) : size, &wire, &code, &err);
    require(rc == 0 || (err.code == rc && err.text[0] != '\0' && code < 0));
    if (rc == 0)
        check_again(&wire);
    rpc_wire_done(&wire);
    talk(data, size);
    return 0;
}
