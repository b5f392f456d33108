/* manifest_diff.h - what changes from one release to another, entry by entry. */
#ifndef DEPLOYCTL_PLAN_MANIFEST_DIFF_H
#define DEPLOYCTL_PLAN_MANIFEST_DIFF_H

#include <stdbool.h>

#include "deployctl/plan/manifest.h"

/* Kind, permissions, size and contents, or target.  Where one digest is short, its part counts. */
bool manifest_diff_same(const struct manifest_entry *a, const struct manifest_entry *b);
/* Calls fn for each path that differs, in the order of paths: `from` NULL = it is added, `to` NULL
 * = it is removed, otherwise it is another entry. */
void manifest_diff(const struct manifest *from, const struct manifest *to,
                   void (*fn)(void *context, const struct manifest_entry *from,
                              const struct manifest_entry *to),
                   void *context);

#endif
