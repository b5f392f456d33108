/* opened.h - the record of an open rollout, as every host keeps it in .deploy/rollout.
 *
 * It holds all that promote, resume, pause and abort need, so that they work from any machine.
 */
#ifndef DEPLOYCTL_FLEET_OPENED_H
#define DEPLOYCTL_FLEET_OPENED_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/plan/evidence.h"
#include "deployctl/plan/manifest.h"
#include "deployctl/plan/rollout.h"

enum { OPENED_NAME_MAX = 96, OPENED_WHO_MAX = 128, OPENED_TIME_MAX = 40 };

struct opened_host {
    const char *name, *from; /* from NULL: its first release */
    const char *metrics;     /* NULL = as all */
    const char *zone;        /* NULL = none, or a record of before */
    size_t group;            /* among limits.groups */
    bool canary, absent;     /* absent: unreachable when the record was written */
};
struct opened {
    json_t *json; /* owned; the texts lie in it */
    const char *rollout, *id, *digest, *app, *kind, *who, *started, *message;
    int64_t epoch;
    bool partial; /* only some hosts of the fleet were selected */
    struct rollout_limits limits;
    int64_t hold_for_ms, ready_timeout_ms;
    struct evidence evidence;  /* metrics NULL: gates alone */
    struct opened_host *hosts; /* owned, in rollout order */
    size_t count;
};

/* Checks everything.  ERR_CORRUPT says what is wrong. */
int opened_parse(const json_t *json, struct opened *ret, struct err *err);
void opened_done(struct opened *opened);
/* New reference; NULL without memory. */
json_t *opened_make(const struct opened *opened);
const struct opened_host *opened_host(const struct opened *opened, const char *name); /* or NULL */

#endif
