/* rpc_wire.c - the contract is in rpc_wire.h. */
#include "io/rpc_wire.h"

#include <string.h>

#include "io/jsonx.h"
#include "io/rpc.h"

static int refuse(int code, int *ret_code, struct err *err, const char *what)
{
    *ret_code = code;
    return err_set(err, ERR_PROTOCOL, "%s", what);
}

static int read_call(struct rpc_wire *wire, int *ret_code, struct err *err)
{
    wire->kind = RPC_WIRE_CALL;
    wire->params = json_object_get(wire->root, "params");
    wire->method = jsonx_text(wire->root, "method", NULL);
    if (!wire->method || wire->method[0] == '\0')
        return refuse(RPC_WIRE_BAD_REQUEST, ret_code, err, "\"method\" must be a text");
    if (json_is_null(wire->id))
        wire->id = NULL;
    if (wire->params && !json_is_object(wire->params))
        return refuse(RPC_WIRE_BAD_PARAMS, ret_code, err, "\"params\" must be an object");
    return 0;
}

static int read_answer(struct rpc_wire *wire, int *ret_code, struct err *err)
{
    wire->result = json_object_get(wire->root, "result");
    wire->error = json_object_get(wire->root, "error");
    wire->kind = wire->error ? RPC_WIRE_ERROR : RPC_WIRE_RESULT;
    if (!wire->result == !wire->error)
        return refuse(RPC_WIRE_BAD_REQUEST, ret_code, err,
                      "neither a request with \"method\" nor an answer");
    if (wire->error && !json_is_object(wire->error))
        return refuse(RPC_WIRE_BAD_REQUEST, ret_code, err, "\"error\" must be an object");
    if (!wire->id || (wire->result && json_is_null(wire->id)))
        return refuse(RPC_WIRE_BAD_REQUEST, ret_code, err, "an answer without \"id\"");
    return 0;
}

int rpc_wire_read(const char *line, size_t len, struct rpc_wire *ret, int *ret_code,
                  struct err *err)
{
    struct err why;

    memset(ret, 0, sizeof(*ret));
    ret->root = jsonx_parse(line, len, &why);
    if (!ret->root) {
        *ret_code = RPC_WIRE_NO_JSON;
        return err_set(err, why.code, "%s", why.text);
    }
    if (!json_is_object(ret->root))
        return refuse(RPC_WIRE_BAD_REQUEST, ret_code, err,
                      "batches are not supported; send one object a line");
    json_t *id = json_object_get(ret->root, "id");
    if (id && !json_is_integer(id) && !json_is_string(id) && !json_is_null(id))
        return refuse(RPC_WIRE_BAD_REQUEST, ret_code, err, "\"id\" must be a number or a text");
    ret->id = id;
    if (strcmp(jsonx_text(ret->root, "jsonrpc", ""), "2.0") != 0)
        return refuse(RPC_WIRE_BAD_REQUEST, ret_code, err, "\"jsonrpc\" must be \"2.0\"");
    if (json_object_get(ret->root, "method"))
        return read_call(ret, ret_code, err);
    return read_answer(ret, ret_code, err);
}

void rpc_wire_done(struct rpc_wire *wire)
{
    json_decref(wire->root);
    memset(wire, 0, sizeof(*wire));
}

static json_t *envelope(void)
{
    json_t *message = json_object();

    if (message && jsonx_set_text(message, "jsonrpc", "2.0") < 0) {
        json_decref(message);
        return NULL;
    }
    return message;
}

/* Steals value, NULL when memory was out before; on failure *message is gone as well. */
static void add(json_t **message, const char *key, json_t *value)
{
    if (*message && value && json_object_set_new(*message, key, value) == 0)
        return;
    if (!*message || !value)
        json_decref(value);
    json_decref(*message);
    *message = NULL;
}

json_t *rpc_wire_call(const json_t *id, const char *method, json_t *params)
{
    json_t *message = envelope();

    if (id)
        add(&message, "id", json_deep_copy(id));
    add(&message, "method", json_string(method));
    add(&message, "params", params ? params : json_object());
    return message;
}

json_t *rpc_wire_result(json_t *id, json_t *result)
{
    json_t *message = envelope();

    add(&message, "id", id ? json_incref(id) : json_null());
    add(&message, "result", result ? result : json_object());
    return message;
}

json_t *rpc_wire_error(json_t *id, int code, const struct err *err, json_t *data)
{
    json_t *message = envelope(), *error = json_object();

    if (!data)
        data = json_object();
    if (jsonx_set_text(data, "kind", err_code_name(err->code)) < 0 ||
        jsonx_set_int(error, "code", code) < 0 || jsonx_set_text(error, "message", err->text) < 0) {
        json_decref(error);
        error = NULL;
    }
    add(&error, "data", data);
    add(&message, "id", id ? json_incref(id) : json_null());
    add(&message, "error", error);
    return message;
}

bool rpc_wire_line(json_t *message, struct buf *out)
{
    buf_init(out, RPC_MESSAGE_MAX + 1);
    bool ok = message && jsonx_put(message, out);
    json_decref(message);
    buf_putc(out, '\n');
    if (ok && !out->failed)
        return true;
    buf_clear(out);
    return false;
}

/* An error without a kind of ours (another program, or a broken request) is one of protocol. */
static enum err_code code_of_kind(const char *kind)
{
    for (int code = ERR_INVALID; code >= ERR_CORRUPT; code--)
        if (strcmp(kind, err_code_name((enum err_code)code)) == 0)
            return (enum err_code)code;
    return ERR_PROTOCOL;
}

int rpc_wire_to_err(const json_t *error, struct err *err, json_t **ret_data)
{
    json_t *data = json_object_get(error, "data");

    if (ret_data)
        *ret_data = json_incref(data);
    return err_set(err, code_of_kind(jsonx_text(data, "kind", "")), "%s",
                   jsonx_text(error, "message", "an error without a message"));
}
