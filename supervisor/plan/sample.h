/* sample.h - the commented sample configuration, made from the option tables. */
#ifndef SUPERVISOR_PLAN_SAMPLE_H
#define SUPERVISOR_PLAN_SAMPLE_H

#include <stdbool.h>

#include "base/buf.h"

/* Every section with every key, its help and its default, commented out; with all of them
 * uncommented it is a valid configuration.  False when `out` is too small or memory is out. */
bool sample_write(struct buf *out);

#endif
