/* upload.c - the contract is in upload.h. */
#include "deployctl/fleet/upload.h"

#include <stdlib.h>
#include <string.h>

#include "deployctl/wire/proto.h"
#include "io/jsonx.h"

/* Requests outlive an upload that is freed: their context is this, freed by the last answer. */
struct ticket {
    struct upload *upload; /* NULL once it is gone */
};
struct upload {
    struct loop *loop;
    struct session *session;
    struct source *source;
    const char *id, *token;
    void (*fn)(void *context, const struct upload_result *result, const struct err *err);
    void *context;
    struct loop_timer *timer; /* to go on from the loop, not from a callback */
    struct ticket *ticket;    /* of the request under way */
    struct upload_result result;
    size_t packed_at;  /* of the manifest */
    bool manifest_out; /* and the empty frame behind it */
    size_t *missing;   /* owned */
    size_t nmissing, at;
    uint64_t offset, done, total;
    bool sealing, over;
    struct err failure; /* to be told from the timer */
};

static void ask(struct upload *u, const char *verb, json_t *params, int64_t deadline_ms,
                session_answer_fn *fn)
{
    u->ticket = calloc(1, sizeof *u->ticket);
    if (u->ticket)
        u->ticket->upload = u;
    session_ask(u->session, verb, params, deadline_ms, fn, u->ticket);
}

/* The upload a ticket stands for; NULL when it is gone or the session broke. */
static struct upload *redeem(void *context, const json_t *answer)
{
    struct ticket *ticket = context;
    struct upload *u = ticket ? ticket->upload : NULL;
    free(ticket);
    if (u)
        u->ticket = NULL;
    return answer ? u : NULL;
}

static void finish(struct upload *u, const struct err *err)
{
    if (u->over)
        return;
    u->over = true;
    struct upload_result result = u->result; /* fn may free the upload */
    struct err why = err ? *err : (struct err){ 0 };
    u->fn(u->context, &result, err ? &why : NULL);
}

/* Told from the loop, so that nobody is called from inside his own call. */
static void fail_soon(struct upload *u, const struct err *err)
{
    u->failure = *err;
    loop_timer_arm(u->timer, 0);
}

static void on_sealed(void *context, const json_t *answer, const struct err *err)
{
    struct upload *u = redeem(context, answer);
    if (u)
        finish(u, err);
}

static void seal(struct upload *u)
{
    json_t *params = json_object();
    u->sealing = true;
    jsonx_set_text(params, "id", u->id);
    jsonx_set_text(params, "token", u->token);
    ask(u, "seal", params, UPLOAD_SEAL_MS, on_sealed);
}

static void go_on(void *context);

/* The next piece of the present content; false when it has to wait. */
static bool send_piece(struct upload *u)
{
    unsigned char frame[PROTO_DATA_HEADER + UPLOAD_PIECE_BYTES];
    size_t entry = u->missing[u->at], len = 0;
    bool last = false;
    struct err err = { 0 };
    int ready = source_want(u->source, entry, go_on, u, &err);
    for (size_t i = 1; ready >= 0 && i <= UPLOAD_AHEAD && u->at + i < u->nmissing; i++)
        source_want(u->source, u->missing[u->at + i], NULL, NULL, NULL);
    if (ready == 0)
        return false;
    if (ready < 0 || source_piece(u->source, entry, u->offset, frame + PROTO_DATA_HEADER,
                                  UPLOAD_PIECE_BYTES, &len, &last, &err) < 0) {
        fail_soon(u, &err);
        return false;
    }
    for (int i = 0; i < 4; i++)
        frame[i] = (unsigned char)(entry >> (24 - 8 * i));
    frame[4] = last ? PROTO_LAST : 0;
    if (!session_send(u->session, FRAME_DATA, frame, PROTO_DATA_HEADER + len))
        return false;
    u->offset += len;
    if (last) {
        u->done += source_manifest(u->source)->entries[entry].size;
        u->offset = 0;
        u->at++;
    }
    return true;
}

static bool send_manifest(struct upload *u)
{
    const struct buf *packed = source_packed(u->source);
    while (u->packed_at < packed->len) {
        size_t len = packed->len - u->packed_at;
        if (len > UPLOAD_PIECE_BYTES)
            len = UPLOAD_PIECE_BYTES;
        if (!session_has_room(u->session) ||
            !session_send(u->session, FRAME_MANIFEST, packed->data + u->packed_at, len))
            return false;
        u->packed_at += len;
    }
    u->manifest_out = session_send(u->session, FRAME_MANIFEST, "", 0);
    return u->manifest_out;
}

static void go_on(void *context)
{
    struct upload *u = context;
    if (u->over || u->failure.code != ERR_NONE)
        return;
    if (!u->manifest_out) {
        send_manifest(u);
        return;
    }
    if (!u->missing || u->sealing)
        return;
    while (u->at < u->nmissing && session_has_room(u->session))
        if (!send_piece(u))
            return;
    if (u->at == u->nmissing)
        seal(u);
}

static int read_missing(struct upload *u, const json_t *answer, struct err *err)
{
    const json_t *list = json_object_get(answer, "missing");
    const struct manifest *manifest = source_manifest(u->source);
    if (!json_is_array(list))
        return err_set(err, ERR_PROTOCOL, "the agent did not say which contents are missing");
    u->nmissing = json_array_size(list);
    u->missing = calloc(u->nmissing + 1, sizeof *u->missing);
    if (!u->missing)
        return err_set(err, ERR_MEMORY, "no memory for the list of contents");
    for (size_t i = 0; i < u->nmissing; i++) {
        json_int_t entry = json_integer_value(json_array_get(list, i));
        if (entry < 0 || (size_t)entry >= manifest->count ||
            manifest->entries[entry].kind != MANIFEST_FILE)
            return err_set(err, ERR_PROTOCOL, "the agent asked for a content that does not exist");
        u->missing[i] = (size_t)entry;
        u->total += manifest->entries[entry].size;
    }
    u->result.bytes = u->total;
    u->result.contents = u->nmissing;
    return 0;
}

static void on_staged(void *context, const json_t *answer, const struct err *err)
{
    struct upload *u = redeem(context, answer);
    struct err own;
    if (!u)
        return;
    if (err) {
        finish(u, err);
    } else if (jsonx_bool(answer, "have", false)) {
        u->result.had = true;
        finish(u, NULL);
    } else if (read_missing(u, answer, &own) < 0) {
        finish(u, &own);
    } else {
        go_on(u);
    }
}

static void on_timer(void *context)
{
    struct upload *u = context;
    if (u->failure.code != ERR_NONE)
        finish(u, &u->failure);
    else
        go_on(u);
}

struct upload *upload_start(struct loop *loop, const struct upload_order *order,
                            void (*fn)(void *context, const struct upload_result *result,
                                       const struct err *err),
                            void *context, struct err *err)
{
    const struct manifest *manifest = source_manifest(order->source);
    struct upload *u = calloc(1, sizeof *u);
    json_t *params = order->stage;
    if (u)
        u->timer = loop_timer_new(loop, on_timer, u);
    if (!u || !u->timer || !params) {
        json_decref(params);
        upload_free(u);
        err_set(err, ERR_MEMORY, "no memory to send the release");
        return NULL;
    }
    u->loop = loop;
    u->session = order->session;
    u->source = order->source;
    u->id = order->id;
    u->token = order->token;
    u->fn = fn;
    u->context = context;
    jsonx_set_text(params, "id", order->id);
    jsonx_set_text(params, "digest", source_digest(order->source));
    jsonx_set_int(params, "entries", (int64_t)manifest->count);
    jsonx_set_int(params, "bytes", (int64_t)manifest->bytes);
    jsonx_set_text(params, "token", order->token);
    ask(u, "stage", params, UPLOAD_STAGE_MS, on_staged);
    loop_timer_arm(u->timer, 0);
    return u;
}

void upload_room(struct upload *u) { loop_timer_arm(u->timer, 0); }

void upload_progress(const struct upload *u, uint64_t *ret_done, uint64_t *ret_total)
{
    *ret_done = u->done;
    *ret_total = u->total;
    if (u->at < u->nmissing && u->offset > 0) {
        uint64_t packed = source_packed_bytes(u->source, u->missing[u->at]);
        uint64_t size = source_manifest(u->source)->entries[u->missing[u->at]].size;
        if (packed > 0)
            *ret_done += (uint64_t)((double)size * (double)u->offset / (double)packed);
    }
}

void upload_free(struct upload *u)
{
    if (!u)
        return;
    if (u->ticket)
        u->ticket->upload = NULL;
    if (u->source)
        source_forget(u->source, u);
    loop_timer_free(u->timer);
    free(u->missing);
    free(u);
}
