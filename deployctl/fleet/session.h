/* session.h - the conversation with one host: requests with answers, events, deadlines, pings.
 *
 * Nothing waits for ever: a host that says nothing for SESSION_SILENCE_MS, or does not finish an
 * act within its deadline, is given up with an error that names the act.  When a session closes,
 * every open request is answered with that error first, then on_close is called once.
 */
#ifndef DEPLOYCTL_FLEET_SESSION_H
#define DEPLOYCTL_FLEET_SESSION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/wire/transport.h"
#include "io/loop.h"

enum { SESSION_SILENCE_MS = 20000, SESSION_TICK_MS = 1000, SESSION_QUEUE_LOW = 512 * 1024 };

struct session;
/* `answer` is borrowed; err is NULL when the host did it.  A refusal has err->code by its kind,
 * its message as text, and the answer with whatever else it said; answer is NULL when the
 * session broke. */
typedef void session_answer_fn(void *context, const json_t *answer, const struct err *err);
struct session_events {
    void (*on_ready)(void *context, const json_t *hello); /* both have said hello */
    void (*on_event)(void *context, const char *name, const json_t *event);
    void (*on_drain)(void *context); /* there is room for more data */
    void (*on_close)(void *context, const struct err *err);
};

struct session *session_open(struct loop *loop, const struct transport_target *target,
                             const struct session_events *events, void *context, struct err *err);
/* May be asked before on_ready: it is answered behind the host's hello.  Steals params (NULL = {}).
 * fn is called exactly once, never from inside this call, with answer
 * NULL when the session broke or is freed; not at all when it was closed before. */
void session_ask(struct session *session, const char *verb, json_t *params, int64_t deadline_ms,
                 session_answer_fn *fn, void *context);
/* Raw frames behind a `stage`; false: the queue is full, try again after on_drain. */
bool session_send(struct session *session, enum frame_type type, const void *payload, size_t len);
bool session_has_room(const struct session *session);
uint64_t session_sent_bytes(const struct session *session);
/* From any callback; on_close is not called afterwards.  NULL is fine. */
void session_free(struct session *session);

#endif
