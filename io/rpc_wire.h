/* rpc_wire.h - one line of the conversation that rpc.h describes, read and written.  Pure.
 *
 * Shared by the server and both clients; nobody else includes it.
 */
#ifndef IO_RPC_WIRE_H
#define IO_RPC_WIRE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* Codes of JSON-RPC itself.  Ours are RPC_WIRE_OURS + enum err_code, -32001 and below. */
enum {
    RPC_WIRE_NO_JSON = -32700,
    RPC_WIRE_BAD_REQUEST = -32600,
    RPC_WIRE_BAD_PARAMS = -32602,
    RPC_WIRE_OURS = -32000
};

enum rpc_wire_kind {
    RPC_WIRE_CALL,   /* method and params; id when an answer is wanted */
    RPC_WIRE_RESULT, /* id and result */
    RPC_WIRE_ERROR,  /* id (JSON null when the request could not be read) and error */
    RPC_WIRE_NKINDS
};
struct rpc_wire {
    enum rpc_wire_kind kind;
    json_t *root; /* owns all that follows */
    json_t *id;   /* an integer, a text or null; NULL = none */
    const char *method;
    json_t *params; /* NULL when absent */
    json_t *result, *error;
};

/* Reads one line without its newline.  Returns 0, or ERR_PROTOCOL (ERR_MEMORY) with *ret_code the
 * code to answer; then ret->id is what could be made out (NULL = nothing).  rpc_wire_done() is
 * due in every case. */
int rpc_wire_read(const char *line, size_t len, struct rpc_wire *ret, int *ret_code,
                  struct err *err);
void rpc_wire_done(struct rpc_wire *wire); /* twice is fine */

/* Each steals `params`, `result`, `data` (NULL = {}) and borrows `id`; NULL without memory.
 * An id that is NULL is left out of a call and null in an answer. */
json_t *rpc_wire_call(const json_t *id, const char *method, json_t *params);
json_t *rpc_wire_result(json_t *id, json_t *result);
json_t *rpc_wire_error(json_t *id, int code, const struct err *err, json_t *data);

/* The line with its newline; steals message.  False: no memory, NULL, or over RPC_MESSAGE_MAX;
 * `out` is then empty.  buf_done(out) is the caller's. */
bool rpc_wire_line(json_t *message, struct buf *out);

/* What an "error" member says: sets err (kind, message) and returns its code.  *ret_data, if
 * wanted: new reference or NULL. */
int rpc_wire_to_err(const json_t *error, struct err *err, json_t **ret_data);

#endif
