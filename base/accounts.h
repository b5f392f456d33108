/* accounts.h - users and groups of this host.
 *
 * Usually what the C library finds, in files or a directory service.  A static build
 * (ACCOUNTS_FILES) reads /etc/passwd and /etc/group itself: into that the C library would load
 * modules of whatever version the host has.  Who is only in a directory is a number there.
 *
 * Results are as those of getpwnam_r: 0 and *ret, 0 and NULL (there is none), or an errno; ERANGE
 * wants more space.
 */
#ifndef BASE_ACCOUNTS_H
#define BASE_ACCOUNTS_H

#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <sys/types.h>

enum { ACCOUNTS_ENTRY_BYTES = 16 * 1024 }; /* enough for most */

/* By name, or by number when `name` is NULL. */
int accounts_user(const char *name, uid_t uid, struct passwd *pw, char *space, size_t size,
                  struct passwd **ret);
int accounts_group(const char *name, struct group *gr, char *space, size_t size,
                   struct group **ret);
/* As getgrouplist: all groups of a user, `gid` among them; the number of them, or -1 when *count is
 * too few; *count is how many there are. */
int accounts_groups(const char *user, gid_t gid, gid_t *groups, int *count);

/* The same from files of these formats. */
int accounts_file_user(const char *path, const char *name, uid_t uid, struct passwd *pw,
                       char *space, size_t size, struct passwd **ret);
int accounts_file_group(const char *path, const char *name, struct group *gr, char *space,
                        size_t size, struct group **ret);
int accounts_file_groups(const char *path, const char *user, gid_t gid, gid_t *groups, int *count);

#endif
