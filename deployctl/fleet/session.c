/* session.c - the contract is in session.h. */
#include "deployctl/fleet/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/unit.h"
#include "deployctl/wire/proto.h"
#include "io/jsonx.h"

enum { VERB_MAX = 16, HOST_MAX = 256 };

struct request {
    struct request *next;
    int64_t id, asked_ms, deadline_ms;
    char verb[VERB_MAX];
    session_answer_fn *fn;
    void *context;
};
struct session {
    struct loop *loop;
    struct transport *transport;
    struct session_events events;
    void *context;
    struct loop_timer *timer;
    struct request *requests; /* oldest first */
    char host[HOST_MAX];
    int64_t next_id, heard_ms, pinged_ms;
    bool ready, closed, freed;
    unsigned busy;     /* inside callbacks of the owner */
    struct err ending; /* why it is to close at the next turn; ERR_NONE = not */
};

static void release(struct session *s)
{
    struct err err;
    err_set(&err, ERR_UNREACHABLE, "%s: the connection was closed", s->host);
    while (s->requests) {
        struct request *request = s->requests;
        s->requests = request->next;
        if (request->fn) /* so that the context can be freed */
            request->fn(request->context, NULL, &err);
        free(request);
    }
    transport_free(s->transport);
    loop_timer_free(s->timer);
    free(s);
}

static void leave(struct session *s)
{
    if (--s->busy == 0 && s->freed)
        release(s);
}

/* Tells everybody who waits, then the owner. */
static void close_with(struct session *s, const struct err *why)
{
    struct err err = *why;
    if (s->closed)
        return;
    s->closed = true;
    s->busy++;
    loop_timer_disarm(s->timer);
    while (s->requests && !s->freed) {
        struct request *request = s->requests;
        s->requests = request->next;
        if (request->fn)
            request->fn(request->context, NULL, &err);
        free(request);
    }
    transport_free(s->transport);
    s->transport = NULL;
    if (!s->freed && s->events.on_close)
        s->events.on_close(s->context, &err);
    leave(s);
}

/* Never from inside a call of the owner: at the next turn. */
static void close_soon(struct session *s, const struct err *why)
{
    if (s->closed || s->ending.code != ERR_NONE)
        return;
    s->ending = *why;
    loop_timer_arm(s->timer, 0);
}

static void broke_rules(struct session *s, const char *what)
{
    struct err err;
    err_set(&err, ERR_PROTOCOL,
            "%s: the agent broke the rules of the conversation (%s); is the same version of "
            "deployctl installed there?",
            s->host, what);
    close_with(s, &err);
}

static void queue(struct session *s, struct request *request)
{
    struct request **at = &s->requests;
    while (*at)
        at = &(*at)->next;
    *at = request;
}

static bool put(struct session *s, json_t *message)
{
    struct buf text;
    buf_init(&text, FRAME_CONTROL_MAX);
    bool ok = jsonx_put(message, &text) &&
              transport_send(s->transport, FRAME_CONTROL, buf_text(&text), text.len);
    buf_done(&text);
    json_decref(message);
    return ok;
}

void session_ask(struct session *s, const char *verb, json_t *params, int64_t deadline_ms,
                 session_answer_fn *fn, void *context)
{
    struct err err;
    struct request *request = calloc(1, sizeof *request);
    json_t *message = params ? params : json_object();
    if (!request || !message || s->closed || !s->transport) {
        /* A closed session answers nobody any more: the owner was told by on_close. */
        free(request);
        json_decref(message);
        if (!s->closed) {
            err_set(&err, ERR_MEMORY, "%s: no memory to ask for %s", s->host, verb);
            close_soon(s, &err);
        }
        return;
    }
    request->id = ++s->next_id;
    request->asked_ms = loop_now_ms(s->loop);
    request->deadline_ms = request->asked_ms + deadline_ms;
    request->fn = fn;
    request->context = context;
    snprintf(request->verb, sizeof request->verb, "%s", verb);
    queue(s, request);
    jsonx_set_int(message, "n", request->id);
    jsonx_set_text(message, "do", verb);
    if (!put(s, message)) {
        err_set(&err, ERR_LIMIT, "%s: could not send the request to %s", s->host, verb);
        close_soon(s, &err);
    }
}

static void send_hello(struct session *s)
{
    json_t *hello = json_object(), *inner = json_object();
    jsonx_set_int(inner, "lowest", PROTO_LOWEST);
    jsonx_set_int(inner, "highest", PROTO_HIGHEST);
    jsonx_set_text(inner, "version", VERSION);
    json_object_set_new(hello, "hello", inner);
    put(s, hello);
}

static void on_open(void *context)
{
    struct session *s = context;
    s->heard_ms = loop_now_ms(s->loop);
}

static void on_hello(struct session *s, const json_t *message)
{
    struct err err;
    const json_t *hello = json_object_get(message, "hello");
    if (!json_is_object(hello)) {
        broke_rules(s, "it did not begin with hello");
        return;
    }
    if (jsonx_int(hello, "highest", 0) < PROTO_LOWEST ||
        jsonx_int(hello, "lowest", 0) > PROTO_HIGHEST) {
        err_set(&err, ERR_PROTOCOL,
                "%s: deployctl %s there and %s here speak no common protocol; install this "
                "version on the host",
                s->host, jsonx_text(hello, "version", "?"), VERSION);
        close_with(s, &err);
        return;
    }
    s->ready = true;
    s->events.on_ready(s->context, hello);
}

static enum err_code code_of(const char *kind)
{
    for (int code = ERR_INVALID; code >= ERR_CORRUPT; code--)
        if (strcmp(err_code_name((enum err_code)code), kind) == 0)
            return (enum err_code)code;
    return ERR_STATE;
}

static void on_answer(struct session *s, const json_t *message)
{
    int64_t id = jsonx_int(message, "n", -1);
    struct request **at = &s->requests;
    struct err err = { 0 };
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    struct request *request = *at;
    if (!request) {
        broke_rules(s, "an answer that nobody asked for");
        return;
    }
    *at = request->next;
    bool ok = jsonx_bool(message, "ok", false);
    if (!ok)
        err_set(&err, code_of(jsonx_text(message, "kind", "state")), "%s",
                jsonx_text(message, "message", "refused without a reason"));
    if (request->fn)
        request->fn(request->context, message, ok ? NULL : &err);
    free(request);
}

static void on_control(struct session *s, const struct frame *frame)
{
    struct err err;
    json_t *message = jsonx_parse(frame->payload, frame->len, &err);
    const char *event = jsonx_text(message, "event", NULL);
    if (!message)
        broke_rules(s, err.text);
    else if (!s->ready && json_object_get(message, "ok"))
        /* Before its hello an agent only says why it cannot go on. */
        err_set(&err, ERR_STATE, "%s: %s", s->host, jsonx_text(message, "message", "refused")),
            close_with(s, &err);
    else if (!s->ready)
        on_hello(s, message);
    else if (event)
        s->events.on_event(s->context, event, message);
    else
        on_answer(s, message);
    json_decref(message);
}

static void on_frame(void *context, const struct frame *frame)
{
    struct session *s = context;
    if (s->closed)
        return;
    s->heard_ms = loop_now_ms(s->loop);
    s->busy++;
    if (frame->type == FRAME_CONTROL)
        on_control(s, frame);
    else
        broke_rules(s, "data from the agent");
    leave(s);
}

static void on_drain(void *context)
{
    struct session *s = context;
    s->busy++;
    if (!s->closed && s->ready && s->events.on_drain)
        s->events.on_drain(s->context);
    leave(s);
}

static void on_transport_close(void *context, const struct err *err)
{
    struct session *s = context;
    s->busy++;
    close_with(s, err);
    leave(s);
}

/* The oldest act whose time is over, or silence.  True when the session was closed. */
static bool overdue(struct session *s, int64_t now)
{
    struct err err;
    char text[UNIT_TEXT_MAX];
    for (const struct request *request = s->requests; request; request = request->next) {
        if (now < request->deadline_ms)
            continue;
        unit_duration_text(request->deadline_ms - request->asked_ms, text);
        err_set(&err, ERR_TIMEOUT, "%s: did not finish `%s` within %s", s->host, request->verb,
                text);
        close_with(s, &err);
        return true;
    }
    if (now - s->heard_ms < SESSION_SILENCE_MS)
        return false;
    unit_duration_text(now - s->heard_ms, text);
    err_set(&err, ERR_TIMEOUT,
            "%s: has answered before, but now says nothing for %s%s%s; it hangs, or the network "
            "does",
            s->host, text, s->requests ? ", last asked to " : "",
            s->requests ? s->requests->verb : "");
    close_with(s, &err);
    return true;
}

static void on_tick(void *context)
{
    struct session *s = context;
    int64_t now = loop_now_ms(s->loop);
    s->busy++;
    if (s->ending.code != ERR_NONE) {
        struct err err = s->ending;
        close_with(s, &err);
    } else if (s->heard_ms > 0 && !s->closed && !overdue(s, now)) {
        if (s->ready && now - s->pinged_ms >= PROTO_PING_MS) {
            s->pinged_ms = now;
            session_ask(s, "ping", NULL, 3 * (int64_t)SESSION_SILENCE_MS, NULL, NULL);
        }
    }
    if (!s->closed && !s->freed)
        loop_timer_arm(s->timer, SESSION_TICK_MS);
    leave(s);
}

struct session *session_open(struct loop *loop, const struct transport_target *target,
                             const struct session_events *events, void *context, struct err *err)
{
    static const struct transport_events wires = { on_open, on_frame, on_drain,
                                                   on_transport_close };
    struct session *s = calloc(1, sizeof *s);
    if (!s) {
        err_set(err, ERR_MEMORY, "%s: no memory for a connection", target->host);
        return NULL;
    }
    s->loop = loop;
    s->events = *events;
    s->context = context;
    s->pinged_ms = loop_now_ms(loop);
    snprintf(s->host, sizeof s->host, "%s", target->host);
    s->timer = loop_timer_new(loop, on_tick, s);
    if (!s->timer)
        err_set(err, ERR_MEMORY, "%s: no memory for a connection", target->host);
    else
        s->transport = transport_open(loop, target, &wires, s, err);
    if (!s->transport) {
        release(s);
        return NULL;
    }
    send_hello(s); /* ssh passes it on as soon as it can, with the requests behind it */
    loop_timer_arm(s->timer, SESSION_TICK_MS);
    return s;
}

bool session_send(struct session *s, enum frame_type type, const void *payload, size_t len)
{
    return s->transport && transport_send(s->transport, type, payload, len);
}

bool session_has_room(const struct session *s)
{
    return s->transport && transport_queued(s->transport) < SESSION_QUEUE_LOW;
}

uint64_t session_sent_bytes(const struct session *s)
{
    return s->transport ? transport_sent_bytes(s->transport) : 0;
}

void session_free(struct session *s)
{
    if (!s)
        return;
    s->freed = true;
    if (s->busy == 0)
        release(s);
}
