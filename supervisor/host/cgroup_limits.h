/* cgroup_limits.h - the limits of a service as its control group takes them.  Pure. */
#ifndef SUPERVISOR_HOST_CGROUP_LIMITS_H
#define SUPERVISOR_HOST_CGROUP_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supervisor/host/cgroup.h"
#include "supervisor/plan/spec.h"

enum { CGROUP_LIMIT_TEXT = 64 };

struct cgroup_limit {
    const char *key; /* of the configuration */
    const char *file;
    enum cgroup_controller controller;
};
extern const struct cgroup_limit cgroup_limits[];
extern const size_t cgroup_nlimits;

/* What goes into the file of limit i: its value, or what means "none"; returns whether it is set.
 */
bool cgroup_limits_text(const struct spec_cgroup *spec, size_t i, char ret[CGROUP_LIMIT_TEXT]);
/* The same for a kernel that has the BFQ scheduler's weights only ("io.bfq.weight"). */
void cgroup_limits_bfq(const struct spec_cgroup *spec, char ret[CGROUP_LIMIT_TEXT]);
/* Bits of the controllers that the limits need; 0 = no limits. */
unsigned cgroup_limits_need(const struct spec_cgroup *spec);
/* Changes when anything that would be written does; never 0. */
uint32_t cgroup_limits_sum(const struct spec_cgroup *spec, unsigned enabled);

#endif
