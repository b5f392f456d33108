/* upload.c - the contract is in upload.h. */
#include "deployctl/fleet/upload.h"

#include <stdlib.h>
#include <string.h>

#include "deployctl/fleet/bundle.h"
#include "deployctl/fleet/deltas.h"
#include "deployctl/wire/proto.h"
#include "io/jsonx.h"

/* Requests outlive an upload that is freed: their context is this, freed by the last answer. */
struct ticket {
    struct upload *upload; /* NULL once it is gone */
};
/* A content to send. */
struct item {
    size_t entry;        /* or a bundle of the source, which is counted behind the entries */
    struct delta *delta; /* as a program; NULL = whole */
};
struct upload {
    struct loop *loop;
    struct session *session;
    struct source *source;
    struct deltas *deltas;
    struct turns *turns;
    const char *id, *token;
    void (*fn)(void *context, const struct upload_result *result, const struct err *err);
    void (*behind_seal)(void *context);
    void *context;
    void (*on_reserved)(void *context);
    struct loop_timer *timer; /* to go on from the loop, not from a callback */
    struct ticket *ticket;    /* of the request under way */
    struct upload_result result;
    size_t packed_at;   /* of the manifest */
    bool manifest_out;  /* and the empty frame behind it */
    struct item *items; /* owned; whole contents first */
    size_t nitems, at;
    uint64_t offset, done, total;
    bool asked, answered; /* about chunks */
    bool again;           /* what programs did not make right is sent whole */
    bool held;            /* until upload_go */
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

static void go_on(void *context);

static int check_entry(const struct upload *u, json_int_t entry, struct err *err)
{
    const struct manifest *manifest = source_manifest(u->source);
    if (entry < 0 || (size_t)entry >= manifest->count ||
        manifest->entries[entry].kind != MANIFEST_FILE)
        return err_set(err, ERR_PROTOCOL, "the agent asked for a content that does not exist");
    return 0;
}

/* Its old contents changed under it.  Once, for nothing can be wrong with whole contents. */
static int read_again(struct upload *u, const json_t *list, struct err *err)
{
    if (u->again || json_array_size(list) > u->nitems)
        return err_set(err, ERR_PROTOCOL, "the agent asked for contents once more");
    u->again = true;
    u->at = 0;
    u->nitems = json_array_size(list);
    for (size_t i = 0; i < u->nitems; i++) {
        json_int_t entry = json_integer_value(json_array_get(list, i));
        if (check_entry(u, entry, err) < 0)
            return err->code;
        u->items[i] = (struct item){ .entry = (size_t)entry };
        u->total += source_manifest(u->source)->entries[entry].size;
    }
    return 0;
}

static void on_sealed(void *context, const json_t *answer, const struct err *err)
{
    struct upload *u = redeem(context, answer);
    struct err own;
    if (!u)
        return;
    const json_t *again = json_object_get(answer, "again");
    if (err || json_array_size(again) == 0) {
        finish(u, err);
        return;
    }
    u->sealing = false;
    if (read_again(u, again, &own) < 0)
        finish(u, &own);
    else
        go_on(u);
}

static void seal(struct upload *u)
{
    json_t *params = json_object();
    u->sealing = true;
    jsonx_set_text(params, "id", u->id);
    jsonx_set_text(params, "token", u->token);
    ask(u, "seal", params, UPLOAD_SEAL_MS, on_sealed);
    if (u->behind_seal)
        u->behind_seal(u->context);
}

/* --- contents as programs -----------------------------------------------------------------------
 */

static void on_chunks(void *context, const json_t *answer, const struct err *err)
{
    struct upload *u = redeem(context, answer);
    if (!u)
        return;
    u->answered = true;
    const json_t *list = err ? NULL : json_object_get(answer, "bases");
    for (size_t i = 0; i < u->nitems; i++) {
        json_t *question = u->items[i].delta ? deltas_question(u->items[i].delta) : NULL;
        bool known = !question;
        for (size_t k = 0; !known && k < json_array_size(list); k++) {
            const json_t *one = json_array_get(list, k);
            known = jsonx_int(one, "entry", -1) == (int64_t)u->items[i].entry &&
                    deltas_answer(u->deltas, u->items[i].delta, jsonx_text(one, "sums", ""));
        }
        if (!known)
            u->items[i].delta = NULL;
        json_decref(question);
    }
    go_on(u);
}

/* Once all of them are planned: one question for what all of them want to know. */
static void ask_chunks(struct upload *u)
{
    json_t *bases = json_array();
    for (size_t i = 0; i < u->nitems; i++) {
        if (!u->items[i].delta)
            continue;
        enum deltas_state state = deltas_plan(u->deltas, u->items[i].delta, go_on, u);
        if (state == DELTAS_WAIT) {
            json_decref(bases);
            return;
        }
        if (state == DELTAS_USELESS)
            u->items[i].delta = NULL;
        json_t *question = u->items[i].delta ? deltas_question(u->items[i].delta) : NULL;
        if (question)
            json_array_append_new(bases, question);
    }
    u->asked = true;
    u->answered = json_array_size(bases) == 0;
    if (u->answered) {
        json_decref(bases);
        return;
    }
    json_t *params = json_object();
    jsonx_set_text(params, "id", u->id);
    jsonx_set_text(params, "token", u->token);
    json_object_set_new(params, "bases", bases);
    ask(u, "chunks", params, UPLOAD_STAGE_MS, on_chunks);
}

/* --- pieces ----------------------------------------------------------------------------------- */

/* 1: it can be sent; 0: go_on is called when it can; negative: it failed. */
static int make_ready(struct upload *u, struct item *item, struct err *err)
{
    if (item->delta && !u->answered)
        return 0;
    enum deltas_state state =
        item->delta ? deltas_make(u->deltas, item->delta, go_on, u) : DELTAS_USELESS;
    if (state == DELTAS_READY)
        return 1;
    if (state == DELTAS_WAIT)
        return 0;
    item->delta = NULL;
    return source_want(u->source, item->entry, go_on, u, err);
}

/* Those behind it are being made meanwhile. */
static void make_others(struct upload *u)
{
    for (size_t i = u->at + 1; i < u->nitems && i <= u->at + UPLOAD_AHEAD; i++) {
        struct item *item = &u->items[i];
        if (!item->delta)
            source_want(u->source, item->entry, NULL, NULL, NULL);
        else if (u->answered)
            deltas_make(u->deltas, item->delta, NULL, NULL);
    }
}

static void next_item(struct upload *u)
{
    const struct item *item = &u->items[u->at++];
    uint64_t size = source_bytes(u->source, item->entry);
    u->result.bytes += item->delta ? deltas_fresh_bytes(item->delta) : size;
    u->done += size;
    u->offset = 0;
}

/* The next piece of the present content; false when it has to wait. */
static bool send_piece(struct upload *u)
{
    unsigned char frame[PROTO_DATA_HEADER + UPLOAD_PIECE_BYTES], *data = frame + PROTO_DATA_HEADER;
    struct item *item = &u->items[u->at];
    size_t len = 0, most = UPLOAD_PIECE_BYTES;
    bool last = false;
    struct err err = { 0 };
    int ready = make_ready(u, item, &err);
    if (ready >= 0)
        make_others(u);
    if (ready > 0 && u->turns)
        most = turns_ask(u->turns, go_on, u);
    if (ready == 0 || most == 0)
        return false;
    if (ready > 0)
        ready =
            item->delta
                ? deltas_piece(u->deltas, item->delta, u->offset, data, most, &len, &last, &err)
                : source_piece(u->source, item->entry, u->offset, data, most, &len, &last, &err);
    if (ready < 0) {
        fail_soon(u, &err);
        return false;
    }
    bool joined = item->entry >= source_manifest(u->source)->count;
    for (int i = 0; i < 4; i++)
        frame[i] = joined ? 0 : (unsigned char)(item->entry >> (24 - 8 * i));
    frame[4] = (unsigned char)((last ? PROTO_LAST : 0) | (item->delta ? PROTO_PROGRAM : 0) |
                               (joined ? PROTO_JOINED : 0));
    if (!session_send(u->session, FRAME_DATA, frame, PROTO_DATA_HEADER + len))
        return false;
    u->offset += len;
    if (u->turns)
        turns_spend(u->turns, len);
    if (last)
        next_item(u);
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
        if (u->turns)
            turns_spend(u->turns, len);
    }
    u->manifest_out = session_send(u->session, FRAME_MANIFEST, "", 0);
    return u->manifest_out;
}

/* --- the whole ---------------------------------------------------------------------------------
 */

static void go_on(void *context)
{
    struct upload *u = context;
    if (u->over || u->failure.code != ERR_NONE)
        return;
    if (!u->manifest_out) {
        send_manifest(u);
        return;
    }
    if (!u->items || u->sealing)
        return;
    if (!u->asked)
        ask_chunks(u);
    if (u->held)
        return;
    while (u->at < u->nitems && session_has_room(u->session))
        if (!send_piece(u))
            return;
    if (u->at == u->nitems)
        seal(u);
}

/* The delta against what the host has of this content; NULL = it says nothing of it. */
static struct delta *find_delta(struct upload *u, const json_t *bases, json_int_t entry)
{
    for (size_t i = 0; i < json_array_size(bases); i++) {
        const json_t *base = json_array_get(bases, i);
        if (jsonx_int(base, "entry", -1) == entry)
            return deltas_find(u->deltas, (size_t)entry, jsonx_text(base, "sums", ""));
    }
    return NULL;
}

static int compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    int order = (x->delta != NULL) - (y->delta != NULL);
    return order ? order : (x->entry > y->entry) - (x->entry < y->entry);
}

/* Small contents that were gathered, in the place of their items: as one, or each alone. */
static void put_gathered(struct upload *u, const size_t *entries, size_t count)
{
    int64_t bundle = count > 1 ? source_bundle(u->source, entries, count) : -1;
    if (bundle >= 0)
        u->items[u->nitems++] = (struct item){ .entry = (size_t)bundle };
    for (size_t i = 0; bundle < 0 && i < count; i++)
        u->items[u->nitems++] = (struct item){ .entry = entries[i] };
}

/* Joins what is small.  Nothing is written before it was read: there is never more than there was.
 */
static void join_items(struct upload *u)
{
    size_t count = u->nitems, gathered = 0;
    uint64_t bytes = 0;
    size_t *entries = calloc(count + 1, sizeof *entries);
    if (!entries)
        return;
    u->nitems = 0;
    for (size_t i = 0; i < count; i++) {
        struct item item = u->items[i];
        uint64_t size = source_bytes(u->source, item.entry);
        if (item.delta || size > BUNDLE_CONTENT_MAX) {
            put_gathered(u, entries, gathered); /* keeps the order */
            gathered = bytes = 0;
            u->items[u->nitems++] = item;
            continue;
        }
        entries[gathered++] = item.entry;
        bytes += size;
        if (bytes >= BUNDLE_BYTES || gathered == BUNDLE_COUNT_MAX) {
            put_gathered(u, entries, gathered);
            gathered = bytes = 0;
        }
    }
    put_gathered(u, entries, gathered);
    free(entries);
}

static int read_missing(struct upload *u, const json_t *answer, struct err *err)
{
    const json_t *list = json_object_get(answer, "missing"),
                 *bases = json_object_get(answer, "bases");
    if (!json_is_array(list))
        return err_set(err, ERR_PROTOCOL, "the agent did not say which contents are missing");
    u->nitems = json_array_size(list);
    u->items = calloc(u->nitems + 1, sizeof *u->items);
    if (!u->items)
        return err_set(err, ERR_MEMORY, "no memory for the list of contents");
    for (size_t i = 0; i < u->nitems; i++) {
        json_int_t entry = json_integer_value(json_array_get(list, i));
        if (check_entry(u, entry, err) < 0)
            return err->code;
        u->items[i] = (struct item){ (size_t)entry, find_delta(u, bases, entry) };
        u->total += source_manifest(u->source)->entries[entry].size;
    }
    qsort(u->items, u->nitems, sizeof *u->items, compare_items);
    u->result.contents = u->nitems;
    if (jsonx_bool(answer, "joined", false))
        join_items(u);
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
        u->held = u->on_reserved != NULL;
        if (u->held)
            u->on_reserved(u->context);
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
    u->turns = order->turns;
    u->deltas = source_deltas(order->source);
    u->id = order->id;
    u->token = order->token;
    u->fn = fn;
    u->behind_seal = order->behind_seal;
    u->on_reserved = order->on_reserved;
    u->context = context;
    jsonx_set_text(params, "id", order->id);
    jsonx_set_text(params, "digest", source_digest(order->source));
    jsonx_set_int(params, "entries", (int64_t)manifest->count);
    jsonx_set_int(params, "bytes", (int64_t)manifest->bytes);
    jsonx_set_bool(params, "chunks", true);
    jsonx_set_text(params, "token", order->token);
    ask(u, "stage", params, UPLOAD_STAGE_MS, on_staged);
    loop_timer_arm(u->timer, 0);
    return u;
}

bool upload_held(const struct upload *u) { return u->held; }

void upload_go(struct upload *u)
{
    u->held = false;
    loop_timer_arm(u->timer, 0);
}

void upload_room(struct upload *u) { loop_timer_arm(u->timer, 0); }

void upload_progress(const struct upload *u, uint64_t *ret_done, uint64_t *ret_total)
{
    *ret_done = u->done;
    *ret_total = u->total;
    if (u->at < u->nitems && u->offset > 0) {
        const struct item *item = &u->items[u->at];
        uint64_t packed = item->delta ? deltas_packed_bytes(item->delta)
                                      : source_packed_bytes(u->source, item->entry);
        uint64_t size = source_bytes(u->source, item->entry);
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
    if (u->deltas)
        deltas_forget(u->deltas, u);
    if (u->turns)
        turns_forget(u->turns, u);
    loop_timer_free(u->timer);
    free(u->items);
    free(u);
}
