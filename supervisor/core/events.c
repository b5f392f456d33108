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

/* `text`: the event as it was recorded, which is short enough for both but for a rare one. */
static void keep_in_history(struct events *events, const json_t *event, const struct buf *text,
                            uint64_t number, const char *kind, int64_t wall_us)
{
    if (!events->history || strcmp(kind, "state") == 0)
        return;
    const char *instance = jsonx_text(event, "instance", NULL);
    if (text->len > HISTORY_TEXT_MAX)
        text = text_of(events, event, HISTORY_TEXT_MAX, number, kind);
    history_add(events->history, instance, strcmp(kind, "exit") == 0, wall_us / 1000000, number,
                buf_text(text), text->len);
}

uint64_t events_publish(struct events *events, const char *kind, json_t *details)
{
    uint64_t number = recorder_next(events->recorder);
    int64_t wall_us = clock_wall_us();
    char at[CLOCK_TEXT_MAX];
    json_t *event = json_object();

    jsonx_set_int(event, "seq", (json_int_t)number);
    jsonx_set_text(event, "at", clock_text(wall_us, at));
    jsonx_set_text(event, "event", kind);
    if (details)
        json_object_update_missing(event, details);
    json_decref(details);
    const struct buf *text = text_of(events, event, RECORDER_TEXT_MAX, number, kind);
    recorder_append(events->recorder, buf_text(text), text->len);
    keep_in_history(events, event, text, number, kind, wall_us);
    json_decref(event);
    events_flush(events);
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
