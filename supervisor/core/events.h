/* events.h - everything that happens, numbered, in the recorder and to whoever subscribed. */
#ifndef SUPERVISOR_CORE_EVENTS_H
#define SUPERVISOR_CORE_EVENTS_H

#include <jansson.h>
#include <stdint.h>

#include "io/rpc.h"
#include "supervisor/ledger/history.h"
#include "supervisor/ledger/recorder.h"

struct events;

/* Both borrowed; `history` may be NULL. */
struct events *events_new(struct recorder *recorder, struct history *history);
void events_free(struct events *events);

/* Publishes {"seq", "at", "event": kind, ...members of details}.  Steals details (may be NULL).
 * Returns the number.  What is too long for the recorder is cut to its head and marked "cut".  All
 * but "state" goes into the history as well: under "instance" if there is one; an "exit" counts. */
uint64_t events_publish(struct events *events, const char *kind, json_t *details);

/* The same for what happens all the time, with its members written as text (jsonx_add_...) into the
 * buffer that the first one returns, at most RECORDER_TEXT_MAX bytes in all.  Nothing else may be
 * published in between.  `instance`: the value of its member of that name, or NULL. */
struct buf *events_begin(struct events *events, const char *kind);
uint64_t events_end(struct events *events, const char *kind, const char *instance);

/* Sends everything from number `since` on (0 = only what comes) as notifications "event", then what
 * comes, until events_unsubscribe.  A gap is told first: {"event": "gap", "from", "to"}.  A peer
 * that does not read gets a gap record when it reads again, never a silent hole. */
int events_subscribe(struct events *events, struct rpc_conn *conn, uint64_t since, struct err *err);
/* Asked for each event before it is sent to a subscriber: false keeps it from that one.  When it
 * has caught up for the first time and did not get the last one, it is told by a notification
 * "passed" {"seq"} how far that was.  Without a filter everybody gets everything. */
typedef bool events_filter_fn(void *context, const struct rpc_conn *conn, const json_t *event);
void events_filter(struct events *events, events_filter_fn *fn, void *context);
void events_unsubscribe(struct events *events, struct rpc_conn *conn);
/* Peers that were full may have room again: called once per turn while somebody lags. */
void events_flush(struct events *events);
bool events_lagging(const struct events *events);

#endif
