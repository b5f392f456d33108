/* events.c - the contract is in events.h.
 *
 * A subscriber is only a position in the recorder: what it has not got is read from the ring when
 * it has room, so a slow peer costs nothing but the ring that is there anyway.
 */
#include "supervisor/core/events.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "io/jsonx.h"

struct subscriber {
    struct rpc_conn *conn;
    uint64_t next; /* the number it gets next */
    uint64_t at;   /* its place in the ring, so that what it has got is not read again */
    struct events *events;
    bool withheld; /* the last one was not for it */
    bool caught_up;
    struct subscriber *after;
};

struct events {
    struct recorder *recorder;
    struct history *history; /* may be NULL */
    struct subscriber *subscribers;
    events_filter_fn *may; /* NULL = everything */
    void *may_context;
    struct buf text; /* of the event that is recorded; has its room from the beginning */
    int64_t wall_us; /* of the event that is recorded; as text: */
    char at[CLOCK_TEXT_MAX];
    bool lagging;
};

struct events *events_new(struct recorder *recorder, struct history *history)
{
    struct events *events = calloc(1, sizeof *events);

    if (!events)
        return NULL;
    events->recorder = recorder;
    events->history = history;
    buf_init(&events->text, RECORDER_TEXT_MAX);
    if (!buf_reserve(&events->text, RECORDER_TEXT_MAX)) {
        events_free(events);
        return NULL;
    }
    return events;
}

void events_free(struct events *events)
{
    if (!events)
        return;
    while (events->subscribers) {
        struct subscriber *gone = events->subscribers;
        events->subscribers = gone->after;
        free(gone);
    }
    buf_done(&events->text);
    free(events);
}

void events_filter(struct events *events, events_filter_fn *fn, void *context)
{
    events->may = fn;
    events->may_context = context;
}

static bool send_gap(struct subscriber *to, uint64_t first)
{
    json_t *gap = json_object();

    jsonx_set_text(gap, "event", "gap");
    jsonx_set_int(gap, "from", (json_int_t)to->next);
    jsonx_set_int(gap, "to", (json_int_t)first - 1);
    return rpc_notify(to->conn, "event", gap);
}

static bool send_one(void *context, uint64_t number, const char *text, size_t len)
{
    struct subscriber *to = context;
    struct err err = { 0 };

    if (number < to->next)
        return true;
    if (!rpc_writable(to->conn))
        return false;
    json_t *event = jsonx_parse(text, len, &err);
    if (!event && err.code == ERR_MEMORY)
        return false; /* it comes later */
    to->withheld =
        event && to->events->may && !to->events->may(to->events->may_context, to->conn, event);
    if (to->withheld)
        json_decref(event);
    else if (event && !rpc_notify(to->conn, "event", event))
        return false;
    to->next = number + 1;
    return true;
}

/* Sends what one subscriber has not got yet; true when it is up to date. */
static bool catch_up(struct events *events, struct subscriber *to)
{
    uint64_t end = recorder_next(events->recorder);

    if (to->next < end)
        recorder_read_on(events->recorder, &to->at, send_one, to);
    if (to->next < end)
        return false;
    if (to->withheld && !to->caught_up) /* who reads up to the end would wait for it */
        rpc_notify(to->conn, "passed", json_pack("{s:I}", "seq", (json_int_t)end - 1));
    to->caught_up = true;
    return true;
}

static bool first_only(void *context, uint64_t number, const char *text, size_t len)
{
    (void)text, (void)len;
    *(uint64_t *)context = number;
    return false;
}

static bool tell_gap(struct events *events, struct subscriber *to)
{
    uint64_t there = to->next, at = to->at;

    recorder_read_on(events->recorder, &at, first_only, &there);
    if (there <= to->next)
        return true;
    if (!rpc_writable(to->conn) || !send_gap(to, there))
        return false;
    to->next = there;
    return true;
}

void events_flush(struct events *events)
{
    events->lagging = false;
    for (struct subscriber *s = events->subscribers; s; s = s->after)
        if (!tell_gap(events, s) || !catch_up(events, s))
            events->lagging = true;
}

bool events_lagging(const struct events *events) { return events->lagging; }

/* The head of the story, which is worth more than nothing. */
static bool put_head(const json_t *event, struct buf *text)
{
    static const char *const kept[] = { "seq",  "at",     "event", "instance", "why",      "pid",
                                        "code", "signal", "core",  "oom",      "uptime_s", NULL };
    json_t *head = json_object();

    for (const char *const *key = kept; *key; key++)
        if (json_object_get(event, *key))
            json_object_set(head, *key, json_object_get(event, *key));
    jsonx_set_bool(head, "cut", true);
    buf_clear(text);
    bool ok = head && jsonx_put(head, text);
    json_decref(head);
    return ok;
}

/* The text of an event in at most `max` bytes.  Its number is taken: something is said in any case,
 * for which there is room since the beginning. */
static const struct buf *text_of(struct events *events, const json_t *event, size_t max,
                                 uint64_t number, const char *kind)
{
    struct buf *text = &events->text;

    text->max = max;
    buf_clear(text);
    if ((event && jsonx_put(event, text)) || (event && put_head(event, text)))
        return text;
    buf_clear(text);
    buf_printf(text, "{\"seq\":%llu,\"event\":\"%s\",\"cut\":true}", (unsigned long long)number,
               kind);
    return text;
}

/* Of one that is longer than the history takes. */
static const struct buf *shorter(struct events *events, uint64_t number, const char *kind)
{
    json_t *event = jsonx_parse(buf_text(&events->text), events->text.len, NULL);
    const struct buf *text = text_of(events, event, HISTORY_TEXT_MAX, number, kind);

    json_decref(event);
    return text;
}

/* The text is there: into the recorder, into the history, to whoever subscribed. */
static void hand_out(struct events *events, uint64_t number, const char *kind, const char *instance)
{
    const struct buf *text = &events->text;

    recorder_append(events->recorder, buf_text(text), text->len);
    if (events->history && strcmp(kind, "state") != 0) {
        if (text->len > HISTORY_TEXT_MAX)
            text = shorter(events, number, kind);
        history_add(events->history, instance, strcmp(kind, "exit") == 0, events->wall_us / 1000000,
                    number, buf_text(text), text->len);
    }
    events_flush(events);
}

static const char *time_of(struct events *events)
{
    int64_t before_us = events->wall_us, now_us = clock_wall_us();

    events->wall_us = now_us;
    return now_us / 1000000 == before_us / 1000000 ? clock_text_again(now_us, events->at)
                                                   : clock_text(now_us, events->at);
}

struct buf *events_begin(struct events *events, const char *kind)
{
    struct buf *text = &events->text;

    text->max = RECORDER_TEXT_MAX;
    buf_clear(text);
    buf_printf(text, "{\"seq\":%llu", (unsigned long long)recorder_next(events->recorder));
    jsonx_add_text(text, "at", time_of(events));
    jsonx_add_text(text, "event", kind);
    return text;
}

uint64_t events_end(struct events *events, const char *kind, const char *instance)
{
    uint64_t number = recorder_next(events->recorder);

    buf_putc(&events->text, '}');
    if (events->text.failed)
        text_of(events, NULL, RECORDER_TEXT_MAX, number, kind);
    hand_out(events, number, kind, instance);
    return number;
}

uint64_t events_publish(struct events *events, const char *kind, json_t *details)
{
    uint64_t number = recorder_next(events->recorder);
    json_t *event = json_object();

    jsonx_set_int(event, "seq", (json_int_t)number);
    jsonx_set_text(event, "at", time_of(events));
    jsonx_set_text(event, "event", kind);
    if (details)
        json_object_update_missing(event, details);
    json_decref(details);
    text_of(events, event, RECORDER_TEXT_MAX, number, kind);
    hand_out(events, number, kind, jsonx_text(event, "instance", NULL));
    json_decref(event);
    return number;
}

int events_subscribe(struct events *events, struct rpc_conn *conn, uint64_t since, struct err *err)
{
    struct subscriber *s = calloc(1, sizeof *s);

    if (!s)
        return err_set(err, ERR_MEMORY, "no memory for a subscriber");
    events_unsubscribe(events, conn);
    s->conn = conn;
    s->events = events;
    s->next = since > 0 ? since : recorder_next(events->recorder);
    s->after = events->subscribers;
    events->subscribers = s;
    events_flush(events);
    return 0;
}

void events_unsubscribe(struct events *events, struct rpc_conn *conn)
{
    for (struct subscriber **at = &events->subscribers; *at; at = &(*at)->after) {
        if ((*at)->conn == conn) {
            struct subscriber *gone = *at;
            *at = gone->after;
            free(gone);
            return;
        }
    }
}
