/* instance_file.h - files of KEY=VALUE lines for environment_file. */
#ifndef SUPERVISOR_PLAN_INSTANCE_FILE_H
#define SUPERVISOR_PLAN_INSTANCE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

enum { INSTANCE_FILE_MAX = 1024 * 1024 };

/* Reads `path`; a missing file gives no pairs when it is `optional`.  Errors name the line. */
int instance_file_read(const char *path, bool optional, struct arena *arena, char ***ret_pairs,
                       struct err *err);
/* Lines KEY=VALUE, also "export KEY=VALUE"; quotes around a value are removed; empty lines and
 * those that begin with # or ; are skipped.  *ret_pairs: NULL-terminated, in the arena. */
int instance_file_parse(const char *path, const char *text, size_t len, struct arena *arena,
                        char ***ret_pairs, struct err *err);

#endif
