/* rpc_link.c - the asynchronous client of rpc.h.
 *
 * Callbacks may free the link: its memory is held while one runs.  Every call has a timer of its
 * own, which is its deadline and, when the link is closed already, the way to fail it a turn
 * later.
 */
#include "io/rpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/addr.h"
#include "io/listen.h"
#include "io/rpc_wire.h"
#include "io/stream.h"

enum { IN_MAX = RPC_MESSAGE_MAX + 64 * 1024 };

struct link_call {
    struct rpc_link *link;
    int64_t id;
    struct loop_timer *timer;
    rpc_link_fn *fn;
    void *context;
    bool failed; /* the timer tells of a failure, not of a deadline */
    struct err err;
    TAILQ_ENTRY(link_call) next;
};
struct rpc_link {
    struct loop *loop;
    struct stream *stream; /* NULL once closed */
    void (*on_close)(void *context, const char *reason);
    void (*on_notify)(void *context, const char *method, json_t *params);
    void *context;
    int64_t last_id;
    TAILQ_HEAD(, link_call) calls;
    unsigned holds;
    bool freed;
};

static void release(struct rpc_link *link)
{
    if (--link->holds == 0)
        free(link);
}

/* Ends one call: its callback runs, its memory goes. */
static void end_call(struct link_call *call, json_t *result, const struct err *err, json_t *data)
{
    TAILQ_REMOVE(&call->link->calls, call, next);
    loop_timer_free(call->timer);
    call->fn(call->context, result, err, data);
    free(call);
}

/* A callback that calls again at once does not keep us here: its new call fails a turn later. */
static void fail_all(struct rpc_link *link, const struct err *err)
{
    int64_t last_id = link->last_id;
    struct link_call *call;

    while ((call = TAILQ_FIRST(&link->calls)) != NULL && call->id <= last_id)
        end_call(call, NULL, call->failed ? &call->err : err, NULL);
}

static void on_stream_close(void *context, const char *reason)
{
    struct rpc_link *link = context;
    struct err err;

    link->holds++;
    stream_free(link->stream);
    link->stream = NULL;
    err_set(&err, ERR_UNREACHABLE, "the supervisor closed the connection: %s", reason);
    fail_all(link, &err);
    if (!link->freed && link->on_close)
        link->on_close(link->context, reason);
    release(link);
}

static struct link_call *find_call(struct rpc_link *link, const json_t *id)
{
    struct link_call *call;

    TAILQ_FOREACH(call, &link->calls, next)
    if (json_is_integer(id) && json_integer_value(id) == call->id)
        return call;
    return NULL;
}

static void on_message(struct rpc_link *link, const struct rpc_wire *wire)
{
    struct link_call *call;
    struct err err;

    switch (wire->kind) {
    case RPC_WIRE_CALL:
        if (link->on_notify) {
            json_t *params = wire->params ? json_incref(wire->params) : json_object();
            if (params)
                link->on_notify(link->context, wire->method, params);
            json_decref(params);
        }
        return;
    case RPC_WIRE_RESULT:
        if ((call = find_call(link, wire->id)) != NULL)
            end_call(call, wire->result, NULL, NULL);
        return;
    case RPC_WIRE_ERROR:
        rpc_wire_to_err(wire->error, &err, NULL);
        if (json_is_null(wire->id)) /* of no call in particular: the peer has given us up */
            fail_all(link, &err);
        else if ((call = find_call(link, wire->id)) != NULL)
            end_call(call, NULL, &err, json_object_get(wire->error, "data"));
        return;
    case RPC_WIRE_NKINDS:
        return;
    }
}

static void on_data(void *context, struct buf *in)
{
    struct rpc_link *link = context;
    size_t done = 0;
    const char *end;
    bool broken = false;

    link->holds++;
    while (!link->freed && !broken &&
           (end = memchr(in->data + done, '\n', in->len - done)) != NULL) {
        const char *line = in->data + done;
        struct rpc_wire wire;
        int code;
        done = (size_t)(end + 1 - in->data);
        broken = rpc_wire_read(line, (size_t)(end - line), &wire, &code, NULL) < 0;
        if (!broken)
            on_message(link, &wire);
        rpc_wire_done(&wire);
    }
    buf_consume(in, done);
    if (!link->freed && (broken || in->len > RPC_MESSAGE_MAX))
        on_stream_close(link, "it does not keep to the protocol");
    release(link);
}

/* The reader is on another machine than the socket. */
static void fail_connect(const char *socket, int error, struct err *err)
{
    if (error == EACCES || error == EPERM)
        err_set(err, ERR_UNREACHABLE,
                "uid %u may not use the supervisor's socket %s; in its [supervisor] section set "
                "control_group to a group of that user, then `supervisor reload`",
                (unsigned)geteuid(), socket);
    else
        err_set(err, ERR_UNREACHABLE,
                "no supervisor answers on %s (%s); is it running? Start it there: `supervisor run` "
                "or its systemd unit",
                socket, strerror(error));
    err->sys = error;
}

struct rpc_link *rpc_link_open(struct loop *loop, const char *socket,
                               void (*on_close)(void *context, const char *reason),
                               void (*on_notify)(void *context, const char *method, json_t *params),
                               void *context, struct err *err)
{
    static const struct stream_events events = { on_data, NULL, on_stream_close };
    struct addr addr;

    if (addr_parse(socket, &addr, err) < 0)
        return NULL;
    struct rpc_link *link = calloc(1, sizeof(*link));
    if (!link) {
        err_set(err, ERR_MEMORY, "no memory to talk to %s", socket);
        return NULL;
    }
    *link = (struct rpc_link){
        .loop = loop, .on_close = on_close, .on_notify = on_notify, .context = context, .holds = 1
    };
    TAILQ_INIT(&link->calls);
    int fd = listen_connect(&addr);
    if (fd < 0) {
        fail_connect(socket, -fd, err);
        free(link);
        return NULL;
    }
    link->stream = stream_new(loop, fd, fd, IN_MAX, RPC_QUEUE_MAX, &events, link, err);
    if (!link->stream) {
        free(link);
        return NULL;
    }
    return link;
}

static void on_timer(void *context)
{
    struct link_call *call = context;
    struct rpc_link *link = call->link;
    struct err err = call->err;

    if (!call->failed)
        err_set(&err, ERR_TIMEOUT, "the supervisor did not answer in time");
    link->holds++;
    end_call(call, NULL, &err, NULL);
    release(link);
}

static int send_call(struct rpc_link *link, struct link_call *call, const char *method,
                     json_t *params)
{
    json_t *id = json_integer(call->id);
    struct buf line;
    int rc = 0;

    if (!rpc_wire_line(rpc_wire_call(id, method, params), &line))
        rc = err_set(&call->err, ERR_LIMIT, "the call %s does not fit into a message", method);
    else if (!link->stream)
        rc = err_set(&call->err, ERR_UNREACHABLE, "the connection to the supervisor is closed");
    else if (!stream_write(link->stream, line.data, line.len))
        rc = err_set(&call->err, ERR_UNREACHABLE, "the supervisor does not read");
    buf_done(&line);
    json_decref(id);
    return rc;
}

void rpc_link_call(struct rpc_link *link, const char *method, json_t *params, int64_t timeout_ms,
                   rpc_link_fn *fn, void *context)
{
    struct link_call *call = link->freed ? NULL : calloc(1, sizeof(*call));
    struct loop_timer *timer = call ? loop_timer_new(link->loop, on_timer, call) : NULL;
    struct err err;

    if (!timer) { /* no later moment to tell it */
        free(call);
        json_decref(params);
        err_set(&err, ERR_MEMORY, "no memory for a call");
        if (link->freed)
            err_set(&err, ERR_UNREACHABLE, "the connection to the supervisor is closed");
        fn(context, NULL, &err, NULL);
        return;
    }
    *call = (struct link_call){
        .link = link, .id = ++link->last_id, .timer = timer, .fn = fn, .context = context
    };
    TAILQ_INSERT_TAIL(&link->calls, call, next);
    call->failed = send_call(link, call, method, params) < 0;
    if (call->failed)
        loop_timer_arm(timer, 0);
    else if (timeout_ms >= 0)
        loop_timer_arm(timer, timeout_ms);
}

void rpc_link_free(struct rpc_link *link)
{
    struct err err;

    if (!link || link->freed)
        return;
    link->freed = true;
    stream_free(link->stream);
    link->stream = NULL;
    err_set(&err, ERR_UNREACHABLE, "the connection to the supervisor was closed");
    fail_all(link, &err);
    release(link);
}
