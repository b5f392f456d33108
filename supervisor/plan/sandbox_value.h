/* sandbox_value.h - the values of the keys of a sandbox in their one spelling, for comparing. */
#ifndef SUPERVISOR_PLAN_SANDBOX_VALUE_H
#define SUPERVISOR_PLAN_SANDBOX_VALUE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/opt.h"

/* Of the rows whose `parse` is in options_sandbox.h; false of any other, and nothing is put. */
bool sandbox_value_put(const struct opt *row, const void *field, struct buf *out);

#endif
