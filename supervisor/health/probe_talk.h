/* probe_talk.h - one conversation of a probe: connect, ask, read a verdict, leave in order.
 *
 * A connection is closed in order, never by a reset: a server that is still writing its page, or
 * has not accepted yet, would log a reset as an error every few seconds.  So after the verdict the
 * rest is read for a moment (drained) until the server closes; then TIME_WAIT is the server's too,
 * as with any client that says Connection: close.  Only what did not answer is dropped at once.
 */
#ifndef SUPERVISOR_HEALTH_PROBE_TALK_H
#define SUPERVISOR_HEALTH_PROBE_TALK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "io/loop.h"

enum { PROBE_TALK_ADDRS = 8 };
enum probe_talk_end {
    PROBE_TALK_OK,
    PROBE_TALK_BAD,
    PROBE_TALK_LACK, /* no descriptor or memory of our own: nothing is known about the server */
};

/* What is asked.  The texts must outlive the talk. */
struct probe_talk_ask {
    const char *request;   /* of HTTP/1; "" = to connect is enough */
    const char *authority; /* not NULL: grpc, and no request */
    const char *service;   /* with authority */
};

struct probe_talk;
/* `end` is called once for each begin() that was not hung up before; text: "200", "connected",
 * "503 Service Unavailable", "SERVING", ...  The talk may be freed inside.  NULL without memory. */
struct probe_talk *probe_talk_new(struct loop *loop, const struct probe_talk_ask *ask,
                                  void (*end)(void *context, enum probe_talk_end how,
                                              const char *text),
                                  void *context);
void probe_talk_free(struct probe_talk *talk);
/* Tries the addresses (at most PROBE_TALK_ADDRS, copied) one after another until one accepts.
 * May end at once.  drain_ms: how long to wait for the server's end after the verdict. */
void probe_talk_begin(struct probe_talk *talk, const struct addr *addrs, size_t count,
                      int64_t drain_ms);
/* Reads what has come but was not served yet; true when that was the end. */
bool probe_talk_catch_up(struct probe_talk *talk);
/* "no connection", "no answer", "only part of an answer": what is missing. */
const char *probe_talk_missing(const struct probe_talk *talk);
/* Closes now, without a call of `end`. */
void probe_talk_hang_up(struct probe_talk *talk);

#endif
