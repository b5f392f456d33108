/* deltas.h - large contents as programs (plan/delta.h), made once for all hosts that have the same.
 *
 * What a host has of a content is told by the sums of its coarse chunks.  Hosts that told the same
 * share a *delta*: first it is planned, which may give a question to each host (the verb chunks);
 * with the answer the program is made.  Our own content is cut into chunks once for all deltas.
 * Files are read as streams on the loop's threads.
 */
#ifndef DEPLOYCTL_FLEET_DELTAS_H
#define DEPLOYCTL_FLEET_DELTAS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/fleet/source.h"
#include "io/loop.h"

enum {
    DELTAS_MAX = 4096,            /* different old contents; beyond, new ones travel whole */
    DELTAS_SUMS_MAX = 512 * 1024, /* of one */
    DELTAS_ALL_SUMS_MAX = 8 * 1024 * 1024, /* of all; beyond, likewise */
};

struct deltas;
struct delta;
struct deltas *deltas_new(struct loop *loop, struct source *source, struct err *err);
void deltas_free(struct deltas *deltas); /* before the source */

/* NULL: this content has to travel whole. */
struct delta *deltas_find(struct deltas *deltas, size_t entry, const char *sums);

/* Of both: WAIT: fn(context) is called from the loop when it is time to ask again, once for each
 * context.  USELESS: the content has to travel whole. */
enum deltas_state { DELTAS_WAIT, DELTAS_READY, DELTAS_USELESS };
enum deltas_state deltas_plan(struct deltas *deltas, struct delta *delta, void (*fn)(void *context),
                              void *context);
enum deltas_state deltas_make(struct deltas *deltas, struct delta *delta, void (*fn)(void *context),
                              void *context);
void deltas_forget(struct deltas *deltas, void *context); /* its fn is not called any more */

/* Once planned: what to ask of a host, a member of "bases"; NULL = nothing.  New reference. */
json_t *deltas_question(const struct delta *delta);
/* The host's answer; false: it is not what another host said, so this one needs all of it. */
bool deltas_answer(struct deltas *deltas, struct delta *delta, const char *sums);

/* Of a program that is made. */
int deltas_piece(const struct deltas *deltas, const struct delta *delta, uint64_t offset,
                 void *data, size_t max, size_t *ret_len, bool *ret_last, struct err *err);
uint64_t deltas_packed_bytes(const struct delta *delta);
uint64_t deltas_fresh_bytes(const struct delta *delta); /* of the content, that are in it */

#endif
