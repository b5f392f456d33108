/* rpc_server.c - the answering side; the contract is in rpc.h.
 *
 * A connection is counted: the server's list holds it, and so does the loop over the lines that
 * came in, because a callback may free the server.  It is only ever dropped through its stream's
 * on_close, a turn later, so that on_close never comes out of a call of the owner.
 */
#include "io/rpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/auto.h"
#include "io/rpc_wire.h"
#include "io/stream.h"

enum {
    ACCEPTS_PER_TURN = 32,
    ACCEPT_PAUSE_MS = 100, /* without descriptors or memory the kernel would ask again at once */
    FINISH_MS = 2000,      /* for the last words to a peer that is thrown out */
    OPEN_CALLS_MAX = 256,  /* of one peer */
    GROUPS_FIRST = 32,
    LINES_PER_TURN = 32,      /* of one peer; then others, and the work that this is all about */
    QUEUE_PAUSE = 256 * 1024, /* a peer with so much unread is not listened to until it has read */
    STRANGERS_MAX = RPC_CLIENTS_MAX / 2, /* the rest is for root and ourselves */
    OF_ONE_MAX = STRANGERS_MAX / 2,      /* of one other user */
    IN_MAX = RPC_MESSAGE_MAX + 64 * 1024,
};

struct rpc_call {
    struct rpc_conn *conn; /* NULL once the peer is gone */
    struct rpc_peer peer;
    json_t *id; /* NULL = the answer goes into the void */
    rpc_end_fn *on_end;
    void *end_context;
    bool held;
    json_t *message; /* owned: the answer, while it is held */
    LIST_ENTRY(rpc_call) link;
};
struct rpc_conn {
    struct rpc_server *server;
    struct stream *stream; /* NULL once gone */
    struct rpc_peer peer;
    gid_t *groups; /* owned */
    size_t ngroups;
    size_t ncalls;
    unsigned holds;
    bool stranger, dropped;
    bool full, yielded; /* it is not read: until it has taken its answers, until the next turn */
    LIST_HEAD(, rpc_call) calls;
    LIST_ENTRY(rpc_conn) link;
};
struct rpc_server {
    struct loop *loop;
    struct loop_watch *watch;
    struct loop_timer *pause, *next_turn;
    int fd;
    size_t nclients, nstrangers;
    const struct rpc_server_events *events;
    void *context;
    LIST_HEAD(, rpc_conn) conns;
};

static void release(struct rpc_conn *conn)
{
    if (--conn->holds > 0)
        return;
    free(conn->groups);
    free(conn);
}

/* Ends the connection; calls that are open stay, without it. */
static void conn_gone(struct rpc_conn *conn)
{
    struct rpc_server *server = conn->server;
    struct rpc_call *call;

    conn->dropped = true;
    if (server->events->on_close)
        server->events->on_close(server->context, conn);
    while ((call = LIST_FIRST(&conn->calls)) != NULL) {
        LIST_REMOVE(call, link);
        call->conn = NULL;
    }
    stream_free(conn->stream);
    conn->stream = NULL;
    LIST_REMOVE(conn, link);
    server->nclients--;
    server->nstrangers -= conn->stranger;
    release(conn);
}

static void on_stream_close(void *context, const char *reason)
{
    (void)reason;
    conn_gone(context);
}

static void drop(struct rpc_conn *conn, int64_t patience_ms)
{
    if (conn->dropped)
        return;
    conn->dropped = true;
    stream_finish(conn->stream, patience_ms);
}

/* Steals message.  A peer that has let the queue fill up does not read: it is dropped. */
static void answer(struct rpc_conn *conn, json_t *message)
{
    struct buf line;

    if (conn->dropped) {
        json_decref(message);
        return;
    }
    bool ok = rpc_wire_line(message, &line) && stream_write(conn->stream, line.data, line.len);
    buf_done(&line);
    if (!ok)
        drop(conn, 0);
}

static void answer_error(struct rpc_conn *conn, json_t *id, int code, const struct err *err)
{
    answer(conn, rpc_wire_error(id, code, err, NULL));
}

static void begin_call(struct rpc_conn *conn, const struct rpc_wire *wire)
{
    struct rpc_server *server = conn->server;
    struct rpc_call *call = conn->ncalls < OPEN_CALLS_MAX ? calloc(1, sizeof(*call)) : NULL;
    json_t *params = wire->params ? json_incref(wire->params) : json_object();
    struct err err;

    if (!call || !params) {
        int code = err_set(&err, ERR_LIMIT, "more than %d calls are waiting for their answers",
                           OPEN_CALLS_MAX);
        answer_error(conn, wire->id, RPC_WIRE_OURS + code, &err);
        free(call);
    } else {
        call->conn = conn;
        call->peer = conn->peer;
        call->id = json_incref(wire->id);
        LIST_INSERT_HEAD(&conn->calls, call, link);
        conn->ncalls++;
        server->events->on_call(server->context, call, wire->method, params);
    }
    json_decref(params);
}

static void on_line(struct rpc_conn *conn, const char *line, size_t len)
{
    struct rpc_wire wire;
    struct err err;
    int code;

    if (rpc_wire_read(line, len, &wire, &code, &err) < 0) {
        answer_error(conn, wire.id, code, &err);
        if (code == RPC_WIRE_NO_JSON) /* where its next message begins is anyone's guess */
            drop(conn, FINISH_MS);
    } else if (wire.kind == RPC_WIRE_CALL) {
        begin_call(conn, &wire);
    } /* answers to nothing are nothing */
    rpc_wire_done(&wire);
}

/* What it has said so far waits in its stream. */
static void listen_or_not(struct rpc_conn *conn)
{
    if (!conn->dropped)
        stream_pause(conn->stream, conn->full || conn->yielded);
}

static bool may_go_on(struct rpc_conn *conn, unsigned lines)
{
    if (conn->dropped)
        return false;
    conn->full = stream_queued(conn->stream) > QUEUE_PAUSE;
    conn->yielded = lines == LINES_PER_TURN;
    if (!conn->full && !conn->yielded)
        return true;
    if (conn->yielded)
        loop_timer_arm(conn->server->next_turn, 0);
    listen_or_not(conn);
    return false;
}

static void on_drain(void *context)
{
    struct rpc_conn *conn = context;

    conn->full = false;
    listen_or_not(conn);
}

static void on_next_turn(void *context)
{
    struct rpc_server *server = context;
    struct rpc_conn *conn;

    LIST_FOREACH(conn, &server->conns, link)
    {
        if (conn->yielded) {
            conn->yielded = false;
            listen_or_not(conn);
        }
    }
}

static void on_data(void *context, struct buf *in)
{
    struct rpc_conn *conn = context;
    unsigned lines = 0;
    size_t done = 0;
    const char *end;

    conn->holds++;
    while (may_go_on(conn, lines++) &&
           (end = memchr(in->data + done, '\n', in->len - done)) != NULL) {
        size_t len = (size_t)(end - (in->data + done));
        if (len > RPC_MESSAGE_MAX)
            break;
        if (len > 0 && !(len == 1 && end[-1] == '\r'))
            on_line(conn, in->data + done, len);
        done += len + 1;
    }
    buf_consume(in, done);
    bool waits = conn->full || conn->yielded;
    if (!conn->dropped && !waits && in->len > RPC_MESSAGE_MAX) {
        struct err err;
        err_set(&err, ERR_LIMIT, "a message may have at most %d bytes", RPC_MESSAGE_MAX);
        answer_error(conn, NULL, RPC_WIRE_BAD_REQUEST, &err);
        drop(conn, FINISH_MS);
    }
    release(conn);
}

static void identify(int fd, struct rpc_peer *peer)
{
    struct ucred ucred = { .pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1 };
    socklen_t size = sizeof(ucred);
    char path[32];
    struct buf name;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &ucred, &size) != 0)
        ucred.uid = (uid_t)-1; /* nobody with rights */
    *peer = (struct rpc_peer){ .pid = ucred.pid, .uid = ucred.uid, .gid = ucred.gid };
    buf_init(&name, RPC_COMMAND_MAX - 1);
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)ucred.pid);
    bool ok = ucred.pid > 0 && buf_read_file(&name, -1, path) == 0 && name.len > 0;
    snprintf(peer->command, sizeof(peer->command), "%s", ok ? buf_text(&name) : "?");
    peer->command[strcspn(peer->command, "\n")] = '\0';
    buf_done(&name);
}

/* Without memory, or from a kernel before 4.13, there are none: they only ever give rights. */
static void find_groups(int fd, struct rpc_conn *conn)
{
    gid_t first[GROUPS_FIRST], *groups = first;
    socklen_t size = sizeof(first);
    int rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size);

    if (rc != 0 && errno == ERANGE) { /* size is what it takes */
        groups = malloc(size);
        rc = groups ? getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) : -1;
    } else if (rc == 0 && size > 0 && (groups = malloc(size)) != NULL) {
        memcpy(groups, first, size);
    }
    if (rc == 0 && size > 0 && groups && groups != first) {
        conn->groups = groups;
        conn->ngroups = size / sizeof(*groups);
    } else if (groups != first) {
        free(groups);
    }
}

/* Says why, if the peer listens; takes over fd. */
static void turn_away(int fd, const char *why)
{
    struct err err;
    struct buf line;

    int code = err_set(&err, ERR_LIMIT, "%s", why);
    if (rpc_wire_line(rpc_wire_error(NULL, RPC_WIRE_OURS + code, &err, NULL), &line))
        (void)!send(fd, line.data, line.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    buf_done(&line);
    close(fd);
}

static size_t count_of(const struct rpc_server *server, uid_t uid)
{
    const struct rpc_conn *conn;
    size_t count = 0;

    LIST_FOREACH(conn, &server->conns, link)
    count += conn->peer.uid == uid;
    return count;
}

static bool is_full(const struct rpc_server *server, const struct rpc_conn *newcomer)
{
    return server->nclients == RPC_CLIENTS_MAX ||
           (newcomer->stranger && (server->nstrangers == STRANGERS_MAX ||
                                   count_of(server, newcomer->peer.uid) >= OF_ONE_MAX));
}

/* Takes over fd. */
static void welcome(struct rpc_server *server, int fd)
{
    static const struct stream_events events = { on_data, on_drain, on_stream_close };
    struct rpc_conn *conn = calloc(1, sizeof(*conn));
    struct err err;

    if (!conn) {
        close(fd);
        return;
    }
    identify(fd, &conn->peer);
    conn->server = server;
    conn->holds = 1;
    conn->stranger = conn->peer.uid != 0 && conn->peer.uid != geteuid();
    if (is_full(server, conn)) {
        free(conn);
        turn_away(fd, "too many connections; close some or try again later");
        return;
    }
    find_groups(fd, conn);
    conn->stream = stream_new(server->loop, fd, fd, IN_MAX, RPC_QUEUE_MAX, &events, conn, &err);
    if (!conn->stream) {
        release(conn);
        return;
    }
    LIST_INIT(&conn->calls);
    LIST_INSERT_HEAD(&server->conns, conn, link);
    server->nclients++;
    server->nstrangers += conn->stranger;
}

static void on_connection(void *context, unsigned events)
{
    struct rpc_server *server = context;

    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            welcome(server, fd);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            if (errno != EAGAIN) {
                loop_watch_set(server->watch, 0);
                loop_timer_arm(server->pause, ACCEPT_PAUSE_MS);
            }
            return;
        }
    }
}

static void on_pause_over(void *context)
{
    struct rpc_server *server = context;
    loop_watch_set(server->watch, LOOP_READ);
}

struct rpc_server *rpc_server_new(struct loop *loop, int fd, const struct rpc_server_events *events,
                                  void *context, struct err *err)
{
    struct rpc_server *server = calloc(1, sizeof(*server));

    if (!server) {
        close(fd);
        err_set(err, ERR_MEMORY, "no memory for a server");
        return NULL;
    }
    server->loop = loop;
    server->fd = fd;
    server->events = events;
    server->context = context;
    LIST_INIT(&server->conns);
    server->pause = loop_timer_new(loop, on_pause_over, server);
    server->next_turn = loop_timer_new(loop, on_next_turn, server);
    server->watch = loop_watch_new(loop, fd, on_connection, server, err);
    if (!server->pause || !server->next_turn)
        err_set(err, ERR_MEMORY, "no memory for a server");
    if (!server->pause || !server->next_turn || !server->watch) {
        rpc_server_free(server);
        return NULL;
    }
    loop_watch_set(server->watch, LOOP_READ);
    return server;
}

void rpc_server_free(struct rpc_server *server)
{
    struct rpc_conn *conn;

    if (!server)
        return;
    while ((conn = LIST_FIRST(&server->conns)) != NULL)
        conn_gone(conn);
    loop_watch_free(server->watch);
    loop_timer_free(server->pause);
    loop_timer_free(server->next_turn);
    close(server->fd);
    free(server);
}

size_t rpc_server_clients(const struct rpc_server *server) { return server->nclients; }

struct rpc_conn *rpc_call_conn(const struct rpc_call *call) { return call->conn; }
const struct rpc_peer *rpc_call_peer(const struct rpc_call *call) { return &call->peer; }
const struct rpc_peer *rpc_conn_peer(const struct rpc_conn *conn) { return &conn->peer; }

const gid_t *rpc_conn_groups(const struct rpc_conn *conn, size_t *ret_count)
{
    *ret_count = conn->ngroups;
    return conn->groups;
}

void rpc_call_watch(struct rpc_call *call, rpc_end_fn *fn, void *context)
{
    call->on_end = fn;
    call->end_context = context;
}

static void tell_end(const struct rpc_call *call, const json_t *result, const struct err *err)
{
    if (call->on_end)
        call->on_end(call->end_context, result, err, call->conn && !call->conn->dropped);
}

static void end_call(struct rpc_call *call)
{
    if (call->conn) {
        LIST_REMOVE(call, link);
        call->conn->ncalls--;
    }
    json_decref(call->id);
    free(call);
}

/* A reply that is too large is told instead of dropping the peer without a word.  Steals. */
static void send_answer(struct rpc_conn *conn, json_t *id, json_t *message)
{
    struct buf line;
    struct err err;

    if (conn->dropped) {
        json_decref(message);
    } else if (!rpc_wire_line(message, &line)) {
        buf_done(&line);
        int code = err_set(&err, ERR_LIMIT, "the answer does not fit into a message");
        answer_error(conn, id, RPC_WIRE_OURS + code, &err);
    } else {
        bool ok = stream_write(conn->stream, line.data, line.len);
        buf_done(&line);
        if (!ok)
            drop(conn, 0);
    }
}

/* Steals message; NULL without memory, which drops the peer. */
static void deliver(struct rpc_call *call, json_t *message)
{
    if (call->held) {
        call->message = message;
        return;
    }
    if (call->conn && call->id)
        send_answer(call->conn, call->id, message);
    else
        json_decref(message);
    end_call(call);
}

void rpc_call_hold(struct rpc_call *call) { call->held = true; }

void rpc_call_release(struct rpc_call *call)
{
    json_t *message = call->message;

    call->held = false;
    call->message = NULL;
    deliver(call, message);
}

void rpc_reply(struct rpc_call *call, json_t *result)
{
    tell_end(call, result, NULL);
    if (call->id)
        deliver(call, rpc_wire_result(call->id, result));
    else
        json_decref(result), deliver(call, NULL);
}

void rpc_fail(struct rpc_call *call, const struct err *err, json_t *data)
{
    tell_end(call, NULL, err);
    if (call->id)
        deliver(call, rpc_wire_error(call->id, RPC_WIRE_OURS + (int)err->code, err, data));
    else
        json_decref(data), deliver(call, NULL);
}

bool rpc_notify(struct rpc_conn *conn, const char *method, json_t *params)
{
    struct buf line;

    if (conn->dropped) {
        json_decref(params);
        return false;
    }
    bool ok = rpc_wire_line(rpc_wire_call(NULL, method, params), &line) &&
              stream_write(conn->stream, line.data, line.len);
    buf_done(&line);
    return ok;
}

bool rpc_writable(const struct rpc_conn *conn)
{
    return !conn->dropped && stream_queued(conn->stream) < RPC_QUEUE_MAX / 2;
}
