/* filesum.h - whether files say something else than before, by a number for all of their contents.
 */
#ifndef SUPERVISOR_HOST_FILESUM_H
#define SUPERVISOR_HOST_FILESUM_H

#include <stdint.h>

#include "supervisor/plan/instance.h"

enum {
    FILESUM_FILES_MAX = 1024,
    FILESUM_NAMES_MAX = 64 * 1024, /* in all folders that are looked through */
    FILESUM_WILD_MAX = INSTANCE_WILD_MAX,
    FILESUM_BYTES_MAX = 16 * 1024 * 1024
};

/* Of all regular files that these patterns (glob(7), NULL-terminated, absolute) match: names and
 * contents.  FILESUM_BYTES_MAX are read at most, of all together; a file for which that does not
 * suffice counts by its length and time of change, files beyond FILESUM_FILES_MAX, or found only
 * after FILESUM_NAMES_MAX names were looked at, do not.  What was left out so is said in words in
 * *ret_cut, else NULL; may be NULL.  Never 0.  Tells edits apart, protects nothing. */
uint32_t filesum(char *const *patterns, const char **ret_cut);
#endif
