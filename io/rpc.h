/* rpc.h - newline-delimited JSON-RPC 2.0 over a unix socket, both ways.
 *
 * Server: peers are known by SO_PEERCRED and SO_PEERGROUPS.  Limits: RPC_MESSAGE_MAX bytes a
 * message, RPC_CLIENTS_MAX connections (a quarter of them for any one user other than root and
 * ourselves), RPC_QUEUE_MAX bytes waiting for a slow reader (then it is dropped).
 * Who asks and does not read its answers is not listened to meanwhile, and nobody who asks a lot at
 * once keeps the others waiting.
 * A call may be answered later; if its peer goes away in between the answer is discarded.
 * Errors on the wire: {"code": N, "message": text, "data": {"kind": "stale", ...}}.
 */
#ifndef IO_RPC_H
#define IO_RPC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "io/loop.h"

enum {
    RPC_MESSAGE_MAX = 4 * 1024 * 1024,
    RPC_CLIENTS_MAX = 256,
    RPC_QUEUE_MAX = 8 * 1024 * 1024,
    RPC_COMMAND_MAX = 32
};

struct rpc_server;
struct rpc_conn; /* one peer; valid until on_close */
struct rpc_call; /* one request; ends with rpc_reply or rpc_fail, exactly one of them */

struct rpc_peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
    char command[RPC_COMMAND_MAX]; /* /proc/PID/comm, "?" if gone */
};

struct rpc_server_events {
    /* params is borrowed, an object (empty when the request had none).  Requests without an id are
     * answered too, into the void. */
    void (*on_call)(void *context, struct rpc_call *call, const char *method, json_t *params);
    /* The connection is about to go; forget every pointer to it.  Calls still open on it must
     * still be ended with rpc_reply/rpc_fail.  May be NULL. */
    void (*on_close)(void *context, struct rpc_conn *conn);
};
/* Takes over the listening descriptor `fd`. */
struct rpc_server *rpc_server_new(struct loop *loop, int fd, const struct rpc_server_events *events,
                                  void *context, struct err *err);
void rpc_server_free(struct rpc_server *server);
size_t rpc_server_clients(const struct rpc_server *server);

/* The supplementary groups of a peer when it connected; borrowed, valid until on_close. */
const gid_t *rpc_conn_groups(const struct rpc_conn *conn, size_t *ret_count);
const struct rpc_peer *rpc_conn_peer(const struct rpc_conn *conn);
/* fn is called once, when the call is answered: with its result, or with err.  `heard` is false
 * when the peer was gone by then.  One per call. */
typedef void rpc_end_fn(void *context, const json_t *result, const struct err *err, bool heard);
void rpc_call_watch(struct rpc_call *call, rpc_end_fn *fn, void *context);
/* Within that fn: the answer waits until it is released, which must come. */
void rpc_call_hold(struct rpc_call *call);
void rpc_call_release(struct rpc_call *call);
struct rpc_conn *rpc_call_conn(const struct rpc_call *call); /* NULL once the peer is gone */
const struct rpc_peer *rpc_call_peer(const struct rpc_call *call);
void rpc_reply(struct rpc_call *call, json_t *result); /* steals result; NULL = {} */
/* `code` of err becomes "kind" in data; `data` (stolen, may be NULL) is merged into it. */
void rpc_fail(struct rpc_call *call, const struct err *err, json_t *data);
/* Sends a notification; steals params.  False: the queue is full, nothing was sent. */
bool rpc_notify(struct rpc_conn *conn, const char *method, json_t *params);
/* True while less than half of the queue is waiting. */
bool rpc_writable(const struct rpc_conn *conn);

/* Synchronous client, for commands. */
struct rpc_client;
/* Connects to a path or "@abstract".  ERR_UNREACHABLE names the remedy. */
struct rpc_client *rpc_client_open(const char *socket, struct err *err);
void rpc_client_close(struct rpc_client *client);
/* Calls and waits for the answer (timeout_ms < 0: forever).  Steals params (NULL = {}).
 * *ret_result: new reference.  An error answer gives its kind as code, its message as text, and, if
 * ret_data is not NULL, its data (new reference or NULL).  Notifications that arrive
 * meanwhile are kept for rpc_client_next. */
int rpc_client_call(struct rpc_client *client, const char *method, json_t *params,
                    int64_t timeout_ms, json_t **ret_result, json_t **ret_data, struct err *err);
/* Waits for the next notification; new reference {"method", "params"}.  ERR_TIMEOUT,
 * ERR_UNREACHABLE. */
int rpc_client_next(struct rpc_client *client, int64_t timeout_ms, json_t **ret, struct err *err);
int rpc_client_fd(const struct rpc_client *client);

/* Asynchronous client on a loop, for the agent. */
struct rpc_link;
typedef void rpc_link_fn(void *context, json_t *result, const struct err *err, json_t *data);
struct rpc_link *rpc_link_open(struct loop *loop, const char *socket,
                               void (*on_close)(void *context, const char *reason),
                               void (*on_notify)(void *context, const char *method, json_t *params),
                               void *context, struct err *err);
/* fn is called exactly once: with result (borrowed), or with err and data when it failed, the
 * deadline passed or the link closed (also by rpc_link_free).  Steals params. */
void rpc_link_call(struct rpc_link *link, const char *method, json_t *params, int64_t timeout_ms,
                   rpc_link_fn *fn, void *context);
void rpc_link_free(struct rpc_link *link);

#endif
