/* users.h - users and groups by name or number.  Looked up when a plan is loaded, never later. */
#ifndef SUPERVISOR_HOST_USERS_H
#define SUPERVISOR_HOST_USERS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"

struct users_identity {
    bool set; /* false: nothing changes: nobody was asked for, or it is who we are already */
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* supplementary, in the arena */
    size_t ngroups;
    char *
        *environment; /* HOME, USER, LOGNAME, SHELL as NULL-terminated pairs; NULL for a bare uid */
};

/* user: name or number, may be NULL; group: name or number overriding the primary group, may be
 * NULL. A number without an entry gets the group of the same number, never root's, and no others.
 * ERR_NOT_FOUND names the user with the nearest known one; ERR_DENIED when we are not root and
 * it is somebody else. */
int users_find(const char *user, const char *group, struct arena *arena, struct users_identity *ret,
               struct err *err);
/* As users_find(user), for a question: it works for everybody, and nothing runs as that user. */
int users_look(const char *user, struct arena *arena, struct users_identity *ret, struct err *err);
int users_group(const char *group, gid_t *ret, struct err *err);
/* "user", "user:group" or ":group" of a socket; without a group the user's primary one, without a
 * user (uid_t)-1, which chown(2) takes as "unchanged". */
int users_owner(const char *owner, uid_t *ret_uid, gid_t *ret_gid, struct err *err);

#endif
