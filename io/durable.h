/* durable.h - files that are there after a power cut, and paths that cannot be tricked.
 *
 * Everything works relative to a directory descriptor.  "Durable" means: file data synced, renamed
 * into place, folder synced, before success is returned.  libc only.
 */
#ifndef IO_DURABLE_H
#define IO_DURABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Replaces `name` in dirfd by a file with these bytes (temporary name, fsync, rename, fsync of
 * the folder).  On failure no temporary is left and the old file is as it was (only when the
 * folder's fsync is what failed is the new one there, perhaps not for long).  `name` is one part.
 */
int durable_write(int dirfd, const char *name, const void *data, size_t len, mode_t mode,
                  struct err *err);
/* Makes or replaces the symlink `name` atomically (random temporary, renameat, folder fsync).
 * ERR_STATE if `name` is a directory.  Nothing is done when it has that target already. */
int durable_symlink(int dirfd, const char *name, const char *target, struct err *err);
int durable_unlink(int dirfd, const char *name, struct err *err); /* a missing one is fine */
/* renameat2 + fsync of both folders.  `replace` false: ERR_EXISTS if `to` is there. */
int durable_rename(int from_dirfd, const char *from, int to_dirfd, const char *to, bool replace,
                   struct err *err);
/* mkdir unless it is a directory already, then fsync the parent. */
int durable_mkdir(int dirfd, const char *name, mode_t mode, struct err *err);
int durable_sync_dir(int dirfd, struct err *err);

/* openat2 with RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS|RESOLVE_NO_MAGICLINKS, O_CLOEXEC added; a
 * descriptor or -errno (-ELOOP, -EXDEV for tricks). */
int durable_open_beneath(int dirfd, const char *path, int flags, mode_t mode);
/* Opens an absolute folder: no symlink on the way, no parent (the folder itself excepted) that
 * somebody other than root or `owner` may write to (sticky folders like /tmp pass).  A
 * descriptor or a negative err_code with the offending part named. */
int durable_open_trusted(const char *path, uid_t owner, struct err *err);
/* Removes a file or a whole tree without following links; a missing one is fine. */
int durable_remove_tree(int dirfd, const char *name, struct err *err);
/* mkdir -p for an absolute path. */
int durable_make_dirs(const char *path, mode_t mode, struct err *err);

#endif
