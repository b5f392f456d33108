/* follow.h - the output of services on all hosts, in the order of time, as it is written.
 *
 * Each host has a connection of its own, which is made again when it was lost, and goes on where it
 * was: cursors see to it that no line is lost or told twice.  A host that is slow or gone holds
 * up nobody (plan/weave.h).
 */
#ifndef DEPLOYCTL_FLEET_FOLLOW_H
#define DEPLOYCTL_FLEET_FOLLOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/plan/recipe.h"

enum { FOLLOW_RETRY_MS = 3000, FOLLOW_FIRST_MS = 3000 };
struct follow_order {
    const json_t *names; /* of services */
    int64_t lines;       /* of each instance, to begin with */
    bool follow, on_err;
};
struct follow_line {
    const char *host, *instance; /* instance NULL: a note on the host */
    const char *text;            /* without newline */
    int64_t time_us;             /* -1 = it has none */
    bool cut;                    /* the rest of a very long line was left out */
};
/* False: nobody reads any more, it ends. */
typedef bool follow_fn(void *context, const struct follow_line *line);

struct follow_result {
    size_t silent; /* hosts that could not be asked, in the end */
    bool interrupted;
};
/* Until all is told, with `follow` until INT or TERM.  Returns 0 or an error. */
int follow_run(const struct recipe *recipe, const struct follow_order *order, follow_fn *fn,
               void *context, struct follow_result *ret, struct err *err);

#endif
