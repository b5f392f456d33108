/* near.h - the nearest right name, for "did you mean". */
#ifndef BASE_NEAR_H
#define BASE_NEAR_H

#include <stddef.h>

/* Of `count` names (read through `name_at`) the one with the least edit distance to `wrong`,
 * or NULL when none is near (more than a third of the letters differ). */
const char *near_name(const char *wrong, size_t count, const char *(*name_at)(size_t, const void *),
                      const void *context);

#endif
