/* capability.h - names and numbers of the kernel's capabilities. */
#ifndef SUPERVISOR_PLAN_CAPABILITY_H
#define SUPERVISOR_PLAN_CAPABILITY_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { CAPABILITY_COUNT = 41 }; /* that have names; 64 is the most there can be */

/* "NET_ADMIN"; NULL when the number has no name. */
const char *capability_name(int number);
/* "NET_ADMIN", "cap_net_admin"; -1 when there is none of that name. */
int capability_find(const char *name);
/* The nearest name, or NULL. */
const char *capability_near(const char *wrong);
/* "CHOWN KILL", "none". */
void capability_put(uint64_t set, struct buf *out);

#endif
