/* fetch.h - one page of this host by HTTP: a plain GET with a limit in bytes and in time.
 *
 * HTTP/1.0 is asked for, so that servers send the page as it is and close, and no address but one
 * of this machine is ever connected to (plan/evidence.h).
 */
#ifndef DEPLOYCTL_AGENT_FETCH_H
#define DEPLOYCTL_AGENT_FETCH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "deployctl/plan/evidence.h"
#include "io/loop.h"

enum { FETCH_TIMEOUT_MS = 2000, FETCH_HEADERS_MAX = 16 * 1024 };

/* Looks at what has come of an answer; `ended`: nothing more will come.  1: *ret_body is the whole
 * page; 0: more is needed; ERR_PROTOCOL: it is no page, cut off, or not 200. */
int fetch_parse(const char *text, size_t len, bool ended, const char **ret_body, size_t *ret_len,
                struct err *err);

struct fetch;
/* err NULL: the page, borrowed.  The fetch is over then and may be freed inside. */
typedef void fetch_fn(void *context, const char *body, size_t len, const struct err *err);
struct fetch *fetch_start(struct loop *loop, const struct evidence_url *url, size_t max,
                          fetch_fn *fn, void *context, struct err *err);
void fetch_free(struct fetch *fetch); /* fn is not called any more; NULL is fine */

#endif
