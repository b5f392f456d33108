/* program.h - what to ask a host about an old content, and the program that makes the new one.
 *
 * program_make reads the new content as a stream, on any thread.
 */
#ifndef DEPLOYCTL_FLEET_PROGRAM_H
#define DEPLOYCTL_FLEET_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/fleet/pack.h"
#include "deployctl/plan/delta.h"

struct program_plan {
    int64_t *match;   /* owned; per coarse chunk of the new content: an old one, or DELTA_NONE */
    size_t *runs;     /* owned; pairs of first and count: old chunks that the new content has not */
    size_t nruns;     /* 0 = there is nothing to ask */
    uint64_t average; /* for the finer cut of these */
};
/* Pure.  ERR_MEMORY. */
int program_plan(const struct delta_list *fresh, const struct delta_list *old,
                 struct program_plan *ret);
void program_plan_done(struct program_plan *plan);

struct program_order {
    int fd;           /* of the new content */
    const char *name; /* for messages */
    const struct delta_list *fresh, *old;
    const struct delta_list *old_fine; /* the answer; empty without one */
    const struct program_plan *plan;
};
/* *ret_fresh: bytes of the content that are in the program.  ERR_STATE: nothing old is of use. */
int program_make(const struct program_order *order, struct pack *pack, struct pack_item *ret,
                 uint64_t *ret_fresh, struct err *err);

#endif
