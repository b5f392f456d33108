/* haproxy.h - a load balancer on or near this host, by its runtime ("stats") socket.
 *
 * One command for each connection; everything that is read has a limit, and a time.
 */
#ifndef DEPLOYCTL_AGENT_HAPROXY_H
#define DEPLOYCTL_AGENT_HAPROXY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "io/loop.h"

enum { HAPROXY_ANSWER_MAX = 256 * 1024, HAPROXY_COMMAND_MAX = 512, HAPROXY_TIMEOUT_MS = 5000 };

/* `answer`: what it said, whole; NULL: err says why not.  The request is over then, and is to be
 * freed, which may happen in the call. */
typedef void haproxy_fn(void *context, const char *answer, const struct err *err);
struct haproxy;
/* `socket` is a path or HOST:PORT (numeric or localhost).  fn is called once, later; NULL when
 * it cannot even be asked. */
struct haproxy *haproxy_ask(struct loop *loop, const char *socket, const char *command,
                            haproxy_fn *fn, void *context, struct err *err);
void haproxy_free(struct haproxy *haproxy); /* NULL is fine; without a call */

/* The commands: "set server BACKEND/SERVER state STATE", and what tells haproxy_sessions. */
void haproxy_set_state(const char *backend, const char *server, const char *state,
                       char command[static HAPROXY_COMMAND_MAX]);
void haproxy_show(const char *backend, char command[static HAPROXY_COMMAND_MAX]);
/* An order is answered with nothing but blanks; anything else is what was wrong with it. */
int haproxy_check(const char *answer, struct err *err);
/* Current sessions (scur) of the server in the CSV that haproxy_show asks for; ERR_NOT_FOUND when
 * it is not in there, ERR_PROTOCOL when that is no such table. */
int64_t haproxy_sessions(const char *answer, const char *backend, const char *server,
                         struct err *err);

#endif
