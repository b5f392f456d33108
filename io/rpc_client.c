/* rpc_client.c - the synchronous client of rpc.h: poll, send and recv, no event loop, because
 * commands must start fast. */
#include "io/rpc.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/auto.h"
#include "base/clock.h"
#include "io/jsonx.h"
#include "io/rpc_wire.h"

enum {
    CONNECT_SECONDS = 5, /* a supervisor that is stopped keeps the kernel's queue full */
    READ_CHUNK = 64 * 1024,
    KEPT_MAX = 100 * 1000, /* notifications that nobody has asked for yet */
};

struct rpc_client {
    int fd;
    int64_t last_id;
    struct buf in;
    size_t taken;    /* bytes at the beginning of `in` that were used */
    json_t *kept;    /* array of notifications */
    size_t kept_out; /* how many of them were handed out */
};

static int fail_connect(const char *socket, int error, struct err *err)
{
    static const char remedy[] = "start it with \"supervisor run\", or name its socket with -s";

    if (error == ENOENT)
        return err_set(err, ERR_UNREACHABLE, "no supervisor: there is no socket %s; %s", socket,
                       remedy);
    if (error == ECONNREFUSED)
        return err_set(err, ERR_UNREACHABLE, "no supervisor: nobody listens on %s; %s", socket,
                       remedy);
    if (error == EACCES || error == EPERM)
        return err_set(err, ERR_DENIED,
                       "no permission to use %s; become root or join its control_group", socket);
    if (error == EAGAIN)
        return err_set(err, ERR_UNREACHABLE,
                       "the supervisor on %s takes no connections; try \"supervisor recover\"",
                       socket);
    err_sys(err, error, "connecting to %s", socket);
    if (err)
        err->code = ERR_UNREACHABLE;
    return ERR_UNREACHABLE;
}

static int connect_to(const char *path, struct err *err)
{
    struct timeval patience = { .tv_sec = CONNECT_SECONDS };
    struct addr addr;

    int rc = addr_parse(path, &addr, err);
    if (rc < 0)
        return err_wrap(err, "the control socket");
    if (addr.at.ss_family != AF_UNIX)
        return err_set(err, ERR_INVALID, "%s is not the path of a unix socket", path);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_sys(err, errno, "making a socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    do
        rc = connect(fd, (const struct sockaddr *)&addr.at, addr.len);
    while (rc != 0 && errno == EINTR);
    return rc == 0 ? take_fd(&fd) : fail_connect(path, errno, err);
}

struct rpc_client *rpc_client_open(const char *socket, struct err *err)
{
    AUTO_CLOSE int fd = connect_to(socket, err);
    struct rpc_client *client = fd < 0 ? NULL : calloc(1, sizeof(*client));

    if (fd < 0)
        return NULL;
    if (!client || !(client->kept = json_array())) {
        free(client);
        err_set(err, ERR_MEMORY, "no memory to talk to %s", socket);
        return NULL;
    }
    client->fd = take_fd(&fd);
    buf_init(&client->in, RPC_MESSAGE_MAX + READ_CHUNK);
    return client;
}

void rpc_client_close(struct rpc_client *client)
{
    if (!client)
        return;
    close(client->fd);
    buf_done(&client->in);
    json_decref(client->kept);
    free(client);
}

int rpc_client_fd(const struct rpc_client *client) { return client->fd; }

/* -1 = for ever */
static int64_t deadline_of(int64_t timeout_ms)
{
    return timeout_ms < 0 ? -1 : clock_mono_ms() + timeout_ms;
}

static int fail_gone(struct err *err)
{
    return err_set(err, ERR_UNREACHABLE, "the supervisor closed the connection");
}

/* Waits for a bit of poll(2); 0, ERR_TIMEOUT or ERR_SYSTEM. */
static int wait_for(const struct rpc_client *client, short events, int64_t deadline,
                    struct err *err)
{
    for (;;) {
        struct pollfd at = { .fd = client->fd, .events = events };
        int64_t left = deadline < 0 ? -1 : deadline - clock_mono_ms();
        if (deadline >= 0 && left < 0)
            left = 0;
        int count = poll(&at, 1, left > INT32_MAX ? INT32_MAX : (int)left);
        if (count > 0)
            return 0;
        if (count < 0 && errno != EINTR)
            return err_sys(err, errno, "waiting for the supervisor");
        if (count == 0 && clock_mono_ms() >= deadline)
            return err_set(err, ERR_TIMEOUT, "the supervisor did not answer in time");
    }
}

static int send_all(struct rpc_client *client, const char *data, size_t len, int64_t deadline,
                    struct err *err)
{
    while (len > 0) {
        ssize_t done = send(client->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (done >= 0) {
            data += done;
            len -= (size_t)done;
        } else if (errno == EAGAIN) {
            int rc = wait_for(client, POLLOUT, deadline, err);
            if (rc < 0)
                return rc;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return 0; /* it may have said why before it went */
        } else if (errno != EINTR) {
            return err_sys(err, errno, "writing to the supervisor");
        }
    }
    return 0;
}

static int receive(struct rpc_client *client, int64_t deadline, struct err *err)
{
    struct buf *in = &client->in;

    buf_consume(in, client->taken);
    client->taken = 0;
    if (in->len > RPC_MESSAGE_MAX)
        return err_set(err, ERR_PROTOCOL, "the supervisor sent more than %d bytes in a message",
                       RPC_MESSAGE_MAX);
    int rc = wait_for(client, POLLIN, deadline, err);
    if (rc < 0)
        return rc;
    if (!buf_reserve(in, READ_CHUNK))
        return err_set(err, ERR_MEMORY, "no memory for the answer");
    ssize_t got = recv(client->fd, in->data + in->len, READ_CHUNK, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got == 0 || (got < 0 && errno == ECONNRESET))
        return fail_gone(err);
    if (got < 0)
        return err_sys(err, errno, "reading from the supervisor");
    in->len += (size_t)got;
    return 0;
}

/* The next whole message; rpc_wire_done() is due on success. */
static int next_message(struct rpc_client *client, int64_t deadline, struct rpc_wire *ret,
                        struct err *err)
{
    size_t looked = client->taken;
    int rc;

    for (;;) {
        const char *begin = client->in.data ? client->in.data + looked : NULL;
        const char *end = begin ? memchr(begin, '\n', client->in.len - looked) : NULL;
        if (end)
            break;
        looked = client->in.len - client->taken; /* receive() moves what is left to the front */
        rc = receive(client, deadline, err);
        if (rc < 0)
            return rc;
    }
    const char *line = client->in.data + client->taken;
    const char *end = memchr(client->in.data + looked, '\n', client->in.len - looked);
    int code;
    client->taken = (size_t)(end + 1 - client->in.data);
    rc = rpc_wire_read(line, (size_t)(end - line), ret, &code, err);
    if (rc < 0) {
        rpc_wire_done(ret);
        return err_wrap(err, "the supervisor's answer");
    }
    return 0;
}

/* {"method", "params"} of a notification; NULL without memory. */
static json_t *notification(const struct rpc_wire *wire)
{
    json_t *kept = json_object();
    json_t *params = wire->params ? json_incref(wire->params) : json_object();

    if (jsonx_set_text(kept, "method", wire->method) < 0 ||
        json_object_set_new(kept, "params", params) != 0) {
        json_decref(kept);
        return NULL;
    }
    return kept;
}

static int keep(struct rpc_client *client, const struct rpc_wire *wire, struct err *err)
{
    if (json_array_size(client->kept) >= KEPT_MAX)
        return err_set(err, ERR_LIMIT, "too many messages while waiting for an answer");
    if (json_array_append_new(client->kept, notification(wire)) != 0)
        return err_set(err, ERR_MEMORY, "no memory for a message of the supervisor");
    return 0;
}

/* Answers to calls that have timed out before are passed over; an error that names no call is
 * about this one. */
static bool is_answer(const struct rpc_wire *wire, int64_t id)
{
    if (wire->kind == RPC_WIRE_CALL)
        return false;
    return json_is_null(wire->id) ||
           (json_is_integer(wire->id) && json_integer_value(wire->id) == id);
}

static int wait_for_answer(struct rpc_client *client, int64_t deadline, json_t **ret_result,
                           json_t **ret_data, struct err *err)
{
    for (int rc = 0; rc == 0;) {
        struct rpc_wire wire;
        rc = next_message(client, deadline, &wire, err);
        if (rc < 0)
            return rc;
        bool ended = is_answer(&wire, client->last_id);
        if (wire.kind == RPC_WIRE_CALL)
            rc = keep(client, &wire, err);
        else if (ended && wire.kind == RPC_WIRE_ERROR)
            rc = rpc_wire_to_err(wire.error, err, ret_data);
        else if (ended)
            *ret_result = json_incref(wire.result);
        rpc_wire_done(&wire);
        if (ended || rc < 0)
            return rc;
    }
    return 0;
}

int rpc_client_call(struct rpc_client *client, const char *method, json_t *params,
                    int64_t timeout_ms, json_t **ret_result, json_t **ret_data, struct err *err)
{
    int64_t deadline = deadline_of(timeout_ms);
    json_t *id = json_integer(++client->last_id);
    struct buf line;

    if (ret_data)
        *ret_data = NULL;
    bool ok = rpc_wire_line(rpc_wire_call(id, method, params), &line);
    json_decref(id);
    int rc = ok ? send_all(client, line.data, line.len, deadline, err)
                : err_set(err, ERR_LIMIT, "the call %s does not fit into a message", method);
    buf_done(&line);
    if (rc == 0)
        rc = wait_for_answer(client, deadline, ret_result, ret_data, err);
    return rc;
}

static json_t *take_kept(struct rpc_client *client)
{
    if (client->kept_out == json_array_size(client->kept))
        return NULL;
    json_t *first = json_incref(json_array_get(client->kept, client->kept_out++));
    if (client->kept_out == json_array_size(client->kept)) {
        json_array_clear(client->kept);
        client->kept_out = 0;
    }
    return first;
}

int rpc_client_next(struct rpc_client *client, int64_t timeout_ms, json_t **ret, struct err *err)
{
    int64_t deadline = deadline_of(timeout_ms);
    json_t *found = take_kept(client);
    int rc = 0;

    while (!found && rc == 0) {
        struct rpc_wire wire;
        rc = next_message(client, deadline, &wire, err);
        if (rc < 0)
            return rc;
        if (wire.kind == RPC_WIRE_CALL && !(found = notification(&wire)))
            rc = err_set(err, ERR_MEMORY, "no memory for a message of the supervisor");
        rpc_wire_done(&wire);
    }
    if (rc == 0)
        *ret = found;
    return rc;
}
