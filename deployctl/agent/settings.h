/* settings.h - what the service files of two releases (release_config) say differently.
 *
 * Values of variables may be secrets: of those there are names, and digests under a key that is
 * made for one answer and forgotten.  Equal values have equal digests in it, and that is all that
 * can be learned from them.
 */
#ifndef DEPLOYCTL_AGENT_SETTINGS_H
#define DEPLOYCTL_AGENT_SETTINGS_H

#include <jansson.h>

#include "base/err.h"
#include "deployctl/agent/host.h"

enum { SETTINGS_FILE_MAX = 64 * 1024, SETTINGS_ROWS_MAX = 500 };

/* Appends to `rows`, at most SETTINGS_ROWS_MAX: {"file","section","key","from","to"} with the texts
 * (absent where there is none), or with "variable" instead of "key" and digests.  `files`: names in
 * the releases.  What is no service file has no settings. */
void settings_diff(const struct host *host, const char *from, const char *to, const json_t *files,
                   json_t *rows);

#endif
