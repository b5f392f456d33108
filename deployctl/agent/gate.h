/* gate.h - what the supervisor says about instances, and whether that is bad.  Pure but for JSON.
 */
#ifndef DEPLOYCTL_AGENT_GATE_H
#define DEPLOYCTL_AGENT_GATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Whole seconds until the lease runs out, rounded up, or null; a new reference. */
json_t *gate_deadline(const json_t *state);

enum { GATE_TEXT_MAX = 256 };

/* The instances of the named services out of `status`, only the members that proto.h names (and
 * "pid", "last_exit", "reason"); a new array. */
json_t *gate_instances(const json_t *status, const json_t *services);
/* All running and ready (or a oneshot that ended well), none with bad health; false for none. */
bool gate_healthy(const json_t *instances);
bool gate_ready(const json_t *instances);
/* Probes run by all of them. */
int64_t gate_probes(const json_t *instances);

struct gate {
    const char *kind; /* "exit", "restart", "probe", "readiness"; NULL = none */
    char text[GATE_TEXT_MAX];
};
/* Compares with `base`, the same instances just after the switch.  Counters that went back were
 * reset and are taken as the new base: members of `base` are updated then. */
void gate_compare(json_t *base, const json_t *now, struct gate *ret);

#endif
