/* unpack.h - an archive (.tar, .tar.gz, .tar.zst) made into the folder that it was made from.
 *
 * For the operator's side: what comes out is scanned like any folder, so an archive and its folder
 * have the same digest and the same rules.  What is inside decides how it was compressed, not the
 * name.  Nothing is written outside of the folder, through no link, and nothing over something.
 */
#ifndef DEPLOYCTL_FLEET_UNPACK_H
#define DEPLOYCTL_FLEET_UNPACK_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"

enum { UNPACK_ENTRIES_MAX = 2000000, UNPACK_WINDOW_LOG_MAX = 27 };
#define UNPACK_BYTES_MAX (256LL * 1024 * 1024 * 1024)

/* Reads `fd` to its end into the empty folder `dirfd`; long, for a thread.  `name`: for messages.
 * Ends with ERR_STATE when *stop becomes true.  `folder_modes`: folders get theirs, too. */
int unpack(int fd, const char *name, int dirfd, bool folder_modes, const atomic_bool *stop,
           struct err *err);

/* A folder of our own for it, beneath $TMPDIR or /tmp: a descriptor and its path (malloc'ed). */
int unpack_folder(char **ret_path, struct err *err);
void unpack_remove(const char *path); /* with all that is in it */

#endif
