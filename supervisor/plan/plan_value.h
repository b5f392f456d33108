/* plan_value.h - what a key of a service says, whoever wrote it and however: for comparing.
 *
 * "10000ms" and "10s", a default and the same value given, variables in another order: these are
 * the same value.  An unchanged text whose expansions mean something else is another value.
 */
#ifndef SUPERVISOR_PLAN_PLAN_VALUE_H
#define SUPERVISOR_PLAN_PLAN_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "supervisor/plan/plan.h"

/* The value of a row of options_service in its one spelling; nothing when it is not set.  Of
 * variables only the names: their values may be secrets. */
void plan_value(const struct plan *plan, const struct spec_service *service, size_t row,
                struct buf *out);
/* The same of any field of the types that base/opt.h has. */
void plan_value_plain(const struct opt *row, const void *field, struct buf *out);
/* A number that is equal exactly for equal values; no protection against anybody.  False without
 * memory. */
bool plan_value_sum(const struct plan *plan, const struct spec_service *service, size_t row,
                    uint64_t *ret);
/* Likewise of that part of the value that a process is given at its start and nothing changes
 * later; 0 = there is none.  `tunes`: as for plan_diff(). */
bool plan_value_fixed(const struct plan *plan, const struct spec_service *service, size_t row,
                      bool tunes, uint64_t *ret);
/* Names of the variables that differ, "CHANGED -OLD +NEW" with blanks in between; without services
 * of those that the supervisor has. */
void plan_value_variables(const struct plan *a, const struct spec_service *of_a,
                          const struct plan *b, const struct spec_service *of_b, struct buf *out);

#endif
