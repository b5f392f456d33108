/* test_rpc.c - the server against clients that behave, and against those that do not.
 *
 * The synchronous client talks to a server in a process of its own; bad peers are raw sockets
 * driven in the server's own loop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/buf.h"
#include "io/jsonx.h"
#include "io/listen.h"
#include "io/loop.h"
#include "io/rpc.h"

enum { DEADLINE_MS = 20 * 1000, REPLY_MAX = 64 * 1024, MANY = 50, KEPT_CALLS = 300 };

static char name[64]; /* the abstract socket of this test */

struct host {
    struct loop *loop;
    struct rpc_server *server;
    struct rpc_call *kept[KEPT_CALLS]; /* answered later */
    size_t nkept, calls, closes, wanted_calls, wanted_closes;
    bool reply_on_close, free_in_call, late;
    struct rpc_peer peer;
    size_t ngroups, ends;
    int end_code;
    bool end_result, heard;
};

static void keep_call(struct host *host, struct rpc_call *call)
{
    if (host->nkept < KEPT_CALLS)
        host->kept[host->nkept++] = call;
    else
        rpc_reply(call, NULL);
}

static void send_ticks(struct rpc_call *call, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        rpc_notify(rpc_call_conn(call), "tick", json_pack("{s:I}", "n", (json_int_t)i));
}

static void fail_as_told(struct rpc_call *call, json_t *params)
{
    struct err err;
    err_set(&err, (enum err_code)jsonx_int(params, "code", ERR_STATE), "%s",
            jsonx_text(params, "text", "no"));
    rpc_fail(call, &err, json_pack("{s:s}", "holder", "laptop"));
}

static void large_reply(struct rpc_call *call, int64_t size)
{
    char *text = calloc(1, (size_t)size + 1);
    memset(text, 'x', (size_t)size);
    rpc_reply(call, json_pack("{s:s}", "text", text));
    free(text);
}

static void on_end(void *context, const json_t *result, const struct err *err, bool heard)
{
    struct host *host = context;
    host->ends++;
    host->end_code = err ? (int)err->code : 0;
    host->end_result = result != NULL;
    host->heard = heard;
}

static void on_call(void *context, struct rpc_call *call, const char *method, json_t *params)
{
    struct host *host = context;
    host->calls++;
    host->peer = *rpc_call_peer(call);
    if (strcmp(method, "echo") == 0) {
        rpc_reply(call, json_incref(params));
    } else if (strcmp(method, "fail") == 0) {
        fail_as_told(call, params);
    } else if (strcmp(method, "tick") == 0) {
        send_ticks(call, jsonx_int(params, "count", 1));
        large_reply(call, jsonx_int(params, "size", 0));
    } else if (strcmp(method, "later") == 0) {
        keep_call(host, call);
    } else if (strcmp(method, "now") == 0) {
        while (host->nkept > 0)
            rpc_reply(host->kept[--host->nkept], json_pack("{s:s}", "was", "kept"));
        rpc_reply(call, NULL);
    } else if (strcmp(method, "watched") == 0) {
        (void)rpc_conn_groups(rpc_call_conn(call), &host->ngroups);
        assert_int_equal(rpc_conn_peer(rpc_call_conn(call))->pid, getpid());
        rpc_call_watch(call, on_end, host);
        if (jsonx_bool(params, "fail", false))
            fail_as_told(call, params);
        else
            keep_call(host, call);
    } else if (strcmp(method, "large") == 0) {
        large_reply(call, jsonx_int(params, "size", 0));
    } else {
        struct err err;
        err_set(&err, ERR_NOT_FOUND, "there is no method %s", method);
        rpc_fail(call, &err, NULL);
    }
    if (host->free_in_call) {
        rpc_server_free(host->server);
        host->server = NULL;
        loop_stop(host->loop);
    }
    if (host->calls == host->wanted_calls)
        loop_stop(host->loop);
}

static void on_close(void *context, struct rpc_conn *conn)
{
    struct host *host = context;
    (void)conn;
    host->closes++;
    if (host->reply_on_close)
        while (host->nkept > 0)
            rpc_reply(host->kept[--host->nkept], NULL);
    if (host->closes == host->wanted_closes)
        loop_stop(host->loop);
}

static const struct rpc_server_events events = { on_call, on_close };

static int open_socket(void)
{
    const struct listen_options options = { .backlog = RPC_CLIENTS_MAX * 2 };
    struct addr addr;
    snprintf(name, sizeof(name), "@test-rpc-%d", (int)getpid());
    assert_int_equal(addr_parse(name, &addr, NULL), 0);
    int fd = listen_open(&addr, &options, NULL);
    assert_true(fd >= 0);
    return fd;
}

static void host_serve(struct host *host, int fd)
{
    memset(host, 0, sizeof(*host));
    host->loop = loop_new(NULL);
    host->server = rpc_server_new(host->loop, fd, &events, host, NULL);
}

static void host_open(struct host *host)
{
    host_serve(host, open_socket());
    assert_non_null(host->server);
}

static void host_close(struct host *host)
{
    rpc_server_free(host->server);
    while (host->nkept > 0)
        rpc_reply(host->kept[--host->nkept], NULL);
    loop_free(host->loop);
}

static void on_late(void *context)
{
    struct host *host = context;
    host->late = true;
    loop_stop(host->loop);
}

/* Runs until the wanted numbers are reached. */
static void host_run(struct host *host, size_t calls, size_t closes)
{
    struct loop_timer *guard = loop_timer_new(host->loop, on_late, host);
    loop_timer_arm(guard, DEADLINE_MS);
    host->wanted_calls = calls;
    host->wanted_closes = closes;
    loop_run(host->loop, NULL, NULL);
    loop_timer_free(guard);
    assert_false(host->late);
}

struct remote {
    pid_t pid;
    struct rpc_client *client;
};

static int open_remote(void **state)
{
    static struct remote remote;
    struct err err;
    int fd = open_socket(); /* listens before the fork: no race */
    remote.pid = fork();
    if (remote.pid == 0) {
        struct host host; /* not before: an epoll descriptor would be shared */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        host_serve(&host, fd);
        loop_run(host.loop, NULL, NULL);
        _exit(0);
    }
    close(fd);
    remote.client = rpc_client_open(name, &err);
    *state = &remote;
    return remote.client ? 0 : -1;
}

static int close_remote(void **state)
{
    struct remote *remote = *state;
    rpc_client_close(remote->client);
    kill(remote->pid, SIGKILL);
    return waitpid(remote->pid, NULL, 0) == remote->pid ? 0 : -1;
}

static void call_gets_its_result(void **state)
{
    struct remote *remote = *state;
    json_t *result = NULL, *data = NULL;
    struct err err;
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(rpc_client_call(remote->client, "echo", json_pack("{s:i}", "i", i),
                                         DEADLINE_MS, &result, &data, &err),
                         0);
        assert_int_equal(jsonx_int(result, "i", -1), i);
        assert_null(data);
        json_decref(result);
    }
    assert_int_equal(rpc_client_call(remote->client, "echo", NULL, -1, &result, NULL, &err), 0);
    assert_int_equal(json_object_size(result), 0);
    json_decref(result);
}

static void error_keeps_its_kind_text_and_data(void **state)
{
    struct remote *remote = *state;
    json_t *result = NULL, *data = NULL;
    struct err err;
    for (int code = ERR_INVALID; code >= ERR_CORRUPT; code--) {
        json_t *params = json_pack("{s:i,s:s}", "code", code, "text", "held by an\nother");
        assert_int_equal(
            rpc_client_call(remote->client, "fail", params, DEADLINE_MS, &result, &data, &err),
            code);
        assert_int_equal(err.code, code);
        assert_string_equal(err.text, "held by an\nother");
        assert_string_equal(jsonx_text(data, "holder", "?"), "laptop");
        json_decref(data);
    }
    assert_int_equal(
        rpc_client_call(remote->client, "nothing", NULL, DEADLINE_MS, &result, NULL, &err),
        ERR_NOT_FOUND);
    assert_null(result);
}

static void notifications_wait_until_they_are_asked_for(void **state)
{
    struct remote *remote = *state;
    json_t *result = NULL, *next = NULL;
    struct err err;
    assert_int_equal(rpc_client_call(remote->client, "tick", json_pack("{s:i}", "count", 3),
                                     DEADLINE_MS, &result, NULL, &err),
                     0);
    json_decref(result);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rpc_client_next(remote->client, DEADLINE_MS, &next, &err), 0);
        assert_string_equal(jsonx_text(next, "method", "?"), "tick");
        assert_int_equal(jsonx_int(json_object_get(next, "params"), "n", -1), i);
        json_decref(next);
    }
    assert_int_equal(rpc_client_next(remote->client, 1, &next, &err), ERR_TIMEOUT);
}

static void late_answer_is_not_taken_for_another(void **state)
{
    struct remote *remote = *state;
    json_t *result = NULL;
    struct err err;
    assert_int_equal(rpc_client_call(remote->client, "later", NULL, 1, &result, NULL, &err),
                     ERR_TIMEOUT);
    assert_int_equal(rpc_client_call(remote->client, "now", NULL, DEADLINE_MS, &result, NULL, &err),
                     0);
    assert_null(json_object_get(result, "was"));
    json_decref(result);
}

static void large_messages_pass_and_larger_ones_are_named(void **state)
{
    struct remote *remote = *state;
    json_t *result = NULL;
    struct err err;
    int size = RPC_MESSAGE_MAX - 1000;
    assert_int_equal(rpc_client_call(remote->client, "large", json_pack("{s:i}", "size", size),
                                     DEADLINE_MS, &result, NULL, &err),
                     0);
    assert_int_equal(strlen(jsonx_text(result, "text", "")), size);
    json_t *echoed = NULL; /* and the other way round */
    assert_int_equal(
        rpc_client_call(remote->client, "echo", result, DEADLINE_MS, &echoed, NULL, &err), 0);
    assert_int_equal(strlen(jsonx_text(echoed, "text", "")), size);
    assert_int_equal(rpc_client_call(remote->client, "large",
                                     json_pack("{s:i}", "size", RPC_MESSAGE_MAX), DEADLINE_MS,
                                     &result, NULL, &err),
                     ERR_LIMIT);
    json_decref(echoed);
    char *text = calloc(1, RPC_MESSAGE_MAX + 1);
    memset(text, 'x', RPC_MESSAGE_MAX);
    assert_int_equal(rpc_client_call(remote->client, "echo", json_pack("{s:s}", "t", text),
                                     DEADLINE_MS, &result, NULL, &err),
                     ERR_LIMIT);
    free(text);
}

static void server_that_goes_is_unreachable(void **state)
{
    struct remote *remote = *state;
    json_t *result = NULL;
    struct err err;
    kill(remote->pid, SIGKILL);
    assert_int_equal(
        rpc_client_call(remote->client, "later", NULL, DEADLINE_MS, &result, NULL, &err),
        ERR_UNREACHABLE);
    assert_int_equal(rpc_client_next(remote->client, DEADLINE_MS, &result, &err), ERR_UNREACHABLE);
}

static void missing_server_is_named_with_the_remedy(void **unused)
{
    (void)unused;
    struct err err;
    assert_null(rpc_client_open("/nonexistent/control.sock", &err));
    assert_int_equal(err.code, ERR_UNREACHABLE);
    assert_non_null(strstr(err.text, "/nonexistent/control.sock"));
    assert_non_null(strstr(err.text, "supervisor run"));
    assert_null(rpc_client_open("@nobody-listens-here", &err));
    assert_int_equal(err.code, ERR_UNREACHABLE);
    assert_null(rpc_client_open("127.0.0.1:80", &err));
    assert_int_equal(err.code, ERR_INVALID);
}

static int raw_peer(void)
{
    struct addr addr;
    assert_int_equal(addr_parse(name, &addr, NULL), 0);
    int fd = listen_connect(&addr);
    assert_true(fd >= 0);
    return fd;
}

static void raw_send(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* All that the server has written; true if it has closed. */
static bool raw_read(int fd, char text[static REPLY_MAX])
{
    size_t len = 0;
    ssize_t got;
    while ((got = recv(fd, text + len, REPLY_MAX - 1 - len, MSG_DONTWAIT)) > 0)
        len += (size_t)got;
    text[len] = '\0';
    return got == 0;
}

static void pipelined_requests_are_answered_in_order(void **unused)
{
    (void)unused;
    struct host host;
    static char text[REPLY_MAX];
    host_open(&host);
    int fd = raw_peer();
    raw_send(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}\r\n\n\r\n"
                 "{\"jsonrpc\":\"2.0\",\"method\":\"echo\"}\n" /* into the void */
                 "{\"jsonrpc\":\"2.0\",\"id\":\"two\",\"method\":\"echo\",\"params\":{\"a\":1}}\n"
                 "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"ec");
    host_run(&host, 3, 0);
    raw_send(fd, "ho\"}\n");
    host_run(&host, 4, 0);
    assert_false(raw_read(fd, text));
    assert_string_equal(text, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n"
                              "{\"jsonrpc\":\"2.0\",\"id\":\"two\",\"result\":{\"a\":1}}\n"
                              "{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{}}\n");
    assert_int_equal(host.peer.pid, getpid());
    assert_int_equal(host.peer.uid, geteuid());
    assert_string_equal(host.peer.command, "test_rpc");
    assert_int_equal(rpc_server_clients(host.server), 1);
    close(fd);
    host_run(&host, 0, 1);
    assert_int_equal(rpc_server_clients(host.server), 0);
    host_close(&host);
}

static void wrong_requests_get_the_code_of_the_standard(void **unused)
{
    (void)unused;
    const struct {
        const char *request, *code;
        bool closes;
    } cases[] = {
        { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":", "\"id\":null,\"error\":{\"code\":-32700",
          true },
        { "hello", "\"code\":-32700", true },
        { "{\"a\":1,\"a\":2}", "\"code\":-32700", true },
        { "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}]", "\"code\":-32600", false },
        { "{\"id\":7,\"method\":\"echo\"}", "\"id\":7,\"error\":{\"code\":-32600", false },
        { "{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"echo\"}",
          "\"id\":null,\"error\":{\"code\":-32600", false },
        { "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":5}", "\"code\":-32600", false },
        { "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"\"}", "\"code\":-32600", false },
        { "{\"jsonrpc\":\"2.0\",\"id\":7}", "\"code\":-32600", false },
        { "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"echo\",\"params\":[1]}", "\"code\":-32602",
          false },
        { "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"none\"}", "\"code\":-32002", false },
    };
    static char text[REPLY_MAX];
    struct host host;
    host_open(&host);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int fd = raw_peer();
        raw_send(fd, cases[i].request);
        raw_send(fd, "\n{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"echo\"}\n");
        shutdown(fd, SHUT_WR);
        host_run(&host, 0, host.closes + 1);
        assert_true(raw_read(fd, text));
        assert_non_null(strstr(text, cases[i].code));
        assert_non_null(strstr(text, "\"kind\":\""));
        assert_int_equal(strstr(text, "\"id\":8") == NULL, cases[i].closes);
        close(fd);
    }
    host_close(&host);
}

static void message_without_end_is_refused(void **unused)
{
    (void)unused;
    struct host host;
    static char text[REPLY_MAX];
    host_open(&host);
    int fd = raw_peer();
    memset(text, 'x', sizeof(text));
    pid_t writer = fork(); /* it cannot write all while we do not read */
    if (writer == 0) {
        ssize_t done = 1;
        for (size_t len = 0; done > 0 && len < RPC_MESSAGE_MAX + sizeof(text);
             len += (size_t)done) {
            done = send(fd, text, sizeof(text), MSG_NOSIGNAL);
            if (done < 0 && errno == EAGAIN)
                done = sched_yield() + 1;
        }
        _exit(0);
    }
    host_run(&host, 0, 1);
    assert_int_equal(waitpid(writer, NULL, 0), writer);
    raw_read(fd, text);
    assert_non_null(strstr(text, "\"kind\":\"limit\""));
    close(fd);
    host_close(&host);
}

static void peer_that_does_not_read_is_dropped(void **unused)
{
    (void)unused;
    struct host host;
    host_open(&host);
    int fd = raw_peer(), other = raw_peer();
    /* It asks for little; what comes of it does not fit into the queue. */
    raw_send(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tick\","
                 "\"params\":{\"count\":300000,\"size\":1000}}\n");
    host_run(&host, 0, 1);
    assert_int_equal(rpc_server_clients(host.server), 1);
    raw_send(other, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}\n");
    size_t calls = host.calls;
    host_run(&host, calls + 1, 0); /* nobody else has noticed */
    close(fd);
    close(other);
    host_close(&host);
}

static void notifications_say_when_the_queue_is_full(void **unused)
{
    (void)unused;
    struct host host;
    host_open(&host);
    int fd = raw_peer();
    raw_send(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"later\"}\n");
    host_run(&host, 1, 0);
    struct rpc_conn *conn = rpc_call_conn(host.kept[0]);
    char *text = calloc(1, 1024 * 1024);
    memset(text, 'x', 1024 * 1024 - 1);
    int sent = 0, writable = 0;
    assert_true(rpc_writable(conn));
    while (rpc_notify(conn, "n", json_pack("{s:s}", "t", text))) {
        sent++;
        writable += rpc_writable(conn);
    }
    assert_true(sent >= 7 && sent <= 8);
    assert_true(writable >= 3 && writable <= 4);
    assert_int_equal(host.closes, 0); /* that is for the owner to judge */
    free(text);
    close(fd);
    host_close(&host);
}

/* Told once, with how it ended, whoever is there to hear it. */
static void a_watched_call_tells_its_end(void **unused)
{
    (void)unused;
    struct host host;
    for (int fails = 0; fails < 2; fails++)
        for (int leaves = 0; leaves < 2 - fails; leaves++) {
            host_open(&host);
            host.reply_on_close = leaves;
            int fd = raw_peer();
            raw_send(fd, fails ? "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"watched\",\"params\":"
                                 "{\"fail\":true,\"code\":-4}}\n"
                               : "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"watched\"}\n");
            host_run(&host, 1, 0);
            assert_int_equal(host.ngroups, getgroups(0, NULL));
            assert_int_equal(host.ends, fails);
            if (leaves) {
                close(fd);
                host_run(&host, 0, 1);
            } else if (!fails) {
                rpc_reply(host.kept[--host.nkept], json_object());
            }
            assert_int_equal(host.ends, 1);
            assert_int_equal(host.end_code, fails ? ERR_DENIED : 0);
            assert_int_equal(host.end_result, !fails && !leaves);
            assert_int_equal(host.heard, !leaves);
            if (!leaves)
                close(fd);
            host_close(&host);
        }
}

static void answer_for_a_peer_that_went_is_discarded(void **unused)
{
    (void)unused;
    struct host host;
    for (int on_closing = 0; on_closing < 2; on_closing++) {
        host_open(&host);
        host.reply_on_close = on_closing;
        int fd = raw_peer();
        for (int i = 0; i < 3; i++)
            raw_send(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"later\"}\n");
        host_run(&host, 3, 0);
        assert_non_null(rpc_call_conn(host.kept[0]));
        close(fd);
        host_run(&host, 0, 1);
        assert_int_equal(host.nkept, on_closing ? 0 : 3);
        for (size_t i = 0; i < host.nkept; i++) {
            assert_null(rpc_call_conn(host.kept[i]));
            assert_int_equal(rpc_call_peer(host.kept[i])->pid, getpid());
        }
        host_close(&host);
    }
}

static void open_calls_of_a_peer_have_a_limit(void **unused)
{
    (void)unused;
    struct host host;
    static char text[REPLY_MAX];
    host_open(&host);
    int fd = raw_peer();
    for (int i = 0; i < 257; i++)
        raw_send(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"later\"}\n");
    raw_send(fd, "{\"jsonrpc\":\"2.0\"\n"); /* the end of the test */
    host_run(&host, 0, 1);
    assert_int_equal(host.calls, 256);
    raw_read(fd, text);
    assert_non_null(strstr(text, "\"kind\":\"limit\""));
    close(fd);
    host_close(&host);
}

static void connections_have_a_limit(void **unused)
{
    (void)unused;
    struct host host;
    static char text[REPLY_MAX];
    int fds[RPC_CLIENTS_MAX + 1];
    host_open(&host);
    for (int i = 0; i <= RPC_CLIENTS_MAX; i++)
        fds[i] = raw_peer();
    raw_send(fds[RPC_CLIENTS_MAX - 1], "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}\n");
    host_run(&host, 1, 0);
    assert_int_equal(rpc_server_clients(host.server), RPC_CLIENTS_MAX);
    close(fds[0]);
    host_run(&host, 0, 1);
    assert_true(raw_read(fds[RPC_CLIENTS_MAX], text));
    assert_non_null(strstr(text, "too many connections"));
    fds[0] = raw_peer(); /* room for one again */
    raw_send(fds[0], "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}\n");
    host_run(&host, 2, 0);
    for (int i = 0; i <= RPC_CLIENTS_MAX; i++)
        close(fds[i]);
    host_close(&host);
}

static void server_may_be_freed_inside_of_a_call(void **unused)
{
    (void)unused;
    struct host host;
    static char text[REPLY_MAX];
    host_open(&host);
    host.free_in_call = true;
    int fd = raw_peer();
    raw_send(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}\n"
                 "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"echo\"}\n");
    host_run(&host, 0, 0);
    assert_int_equal(host.calls, 1);
    assert_int_equal(host.closes, 1);
    raw_read(fd, text);
    assert_non_null(strstr(text, "\"id\":1"));
    close(fd);
    host_close(&host);
}

struct caller {
    struct host host;
    struct rpc_link *link;
    int results, errors, closes, ticks, wanted;
    enum err_code last;
    bool call_again, free_in_result;
};

static void maybe_stop(struct caller *caller)
{
    if (caller->results + caller->errors + caller->closes == caller->wanted)
        loop_stop(caller->host.loop);
}

static void on_answer(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct caller *caller = context;
    if (err) {
        assert_null(result);
        caller->errors++;
        caller->last = err->code;
        if (err->code == ERR_STALE)
            assert_string_equal(jsonx_text(data, "holder", "?"), "laptop");
    } else {
        assert_non_null(result);
        caller->results++;
    }
    if (caller->call_again) {
        caller->call_again = false;
        rpc_link_call(caller->link, "echo", NULL, DEADLINE_MS, on_answer, caller);
    }
    if (caller->free_in_result) {
        rpc_link_free(caller->link);
        caller->link = NULL;
    }
    maybe_stop(caller);
}

static void on_link_close(void *context, const char *reason)
{
    struct caller *caller = context;
    assert_true(strlen(reason) > 0);
    caller->closes++;
    maybe_stop(caller);
}

static void on_notify(void *context, const char *method, json_t *params)
{
    struct caller *caller = context;
    assert_string_equal(method, "tick");
    assert_true(json_is_object(params));
    caller->ticks++;
}

static void open_link(struct caller *caller)
{
    memset(caller, 0, sizeof(*caller));
    host_open(&caller->host);
    caller->link = rpc_link_open(caller->host.loop, name, on_link_close, on_notify, caller, NULL);
    assert_non_null(caller->link);
}

static void run_until(struct caller *caller, int wanted)
{
    caller->wanted = wanted;
    host_run(&caller->host, 0, 0);
}

static void link_answers_each_call_once(void **unused)
{
    (void)unused;
    struct caller caller;
    open_link(&caller);
    rpc_link_call(caller.link, "tick", json_pack("{s:i}", "count", 2), -1, on_answer, &caller);
    rpc_link_call(caller.link, "fail", json_pack("{s:i}", "code", ERR_STALE), DEADLINE_MS,
                  on_answer, &caller);
    run_until(&caller, 2);
    assert_int_equal(caller.ticks, 2);
    assert_int_equal(caller.last, ERR_STALE);
    rpc_link_call(caller.link, "later", NULL, 5, on_answer, &caller);
    run_until(&caller, 3);
    assert_int_equal(caller.last, ERR_TIMEOUT);
    rpc_link_call(caller.link, "now", NULL, -1, on_answer, &caller); /* its answer comes too late */
    run_until(&caller, 4);
    assert_int_equal(caller.results, 2);
    rpc_link_call(caller.link, "later", NULL, -1, on_answer, &caller);
    rpc_link_free(caller.link); /* fails what is open, at once */
    assert_int_equal(caller.errors, 3);
    assert_int_equal(caller.last, ERR_UNREACHABLE);
    assert_int_equal(caller.closes, 0);
    host_close(&caller.host);
}

static void link_tells_when_the_server_goes(void **unused)
{
    (void)unused;
    struct caller caller;
    open_link(&caller);
    rpc_link_call(caller.link, "later", NULL, -1, on_answer, &caller);
    host_run(&caller.host, 1, 0);
    rpc_server_free(caller.host.server);
    caller.host.server = NULL;
    caller.call_again = true; /* on a link that is closed by then */
    run_until(&caller, 3);
    assert_int_equal(caller.errors, 2);
    assert_int_equal(caller.closes, 1);
    assert_int_equal(caller.last, ERR_UNREACHABLE);
    rpc_link_free(caller.link);
    host_close(&caller.host);
}

static void link_may_be_freed_in_an_answer(void **unused)
{
    (void)unused;
    struct caller caller;
    open_link(&caller);
    caller.free_in_result = true;
    rpc_link_call(caller.link, "echo", NULL, -1, on_answer, &caller);
    rpc_link_call(caller.link, "echo", NULL, -1, on_answer, &caller);
    run_until(&caller, 2);
    assert_int_equal(caller.results, 1);
    assert_int_equal(caller.errors, 1);
    host_close(&caller.host);
}

static void link_to_nobody_is_refused(void **unused)
{
    (void)unused;
    struct loop *loop = loop_new(NULL);
    struct err err;
    assert_null(rpc_link_open(loop, "@nobody-listens-here", NULL, NULL, NULL, &err));
    assert_int_equal(err.code, ERR_UNREACHABLE);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define REMOTE(name) cmocka_unit_test_setup_teardown(name, open_remote, close_remote)
        REMOTE(call_gets_its_result),
        REMOTE(error_keeps_its_kind_text_and_data),
        REMOTE(notifications_wait_until_they_are_asked_for),
        REMOTE(late_answer_is_not_taken_for_another),
        REMOTE(large_messages_pass_and_larger_ones_are_named),
        REMOTE(server_that_goes_is_unreachable),
        cmocka_unit_test(missing_server_is_named_with_the_remedy),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(wrong_requests_get_the_code_of_the_standard),
        cmocka_unit_test(message_without_end_is_refused),
        cmocka_unit_test(peer_that_does_not_read_is_dropped),
        cmocka_unit_test(notifications_say_when_the_queue_is_full),
        cmocka_unit_test(a_watched_call_tells_its_end),
        cmocka_unit_test(answer_for_a_peer_that_went_is_discarded),
        cmocka_unit_test(open_calls_of_a_peer_have_a_limit),
        cmocka_unit_test(connections_have_a_limit),
        cmocka_unit_test(server_may_be_freed_inside_of_a_call),
        cmocka_unit_test(link_answers_each_call_once),
        cmocka_unit_test(link_tells_when_the_server_goes),
        cmocka_unit_test(link_may_be_freed_in_an_answer),
        cmocka_unit_test(link_to_nobody_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
