/* accounts.c - the contract is in accounts.h. */
#include "base/accounts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"

enum { LINE_FIRST_BYTES = 4096, LINE_MAX_BYTES = 1024 * 1024 };

#ifdef ACCOUNTS_FILES

int accounts_user(const char *name, uid_t uid, struct passwd *pw, char *space, size_t size,
                  struct passwd **ret)
{
    return accounts_file_user("/etc/passwd", name, uid, pw, space, size, ret);
}

int accounts_group(const char *name, struct group *gr, char *space, size_t size, struct group **ret)
{
    return accounts_file_group("/etc/group", name, gr, space, size, ret);
}

int accounts_groups(const char *user, gid_t gid, gid_t *groups, int *count)
{
    return accounts_file_groups("/etc/group", user, gid, groups, count);
}

#else

int accounts_user(const char *name, uid_t uid, struct passwd *pw, char *space, size_t size,
                  struct passwd **ret)
{
    return name ? getpwnam_r(name, pw, space, size, ret) : getpwuid_r(uid, pw, space, size, ret);
}

int accounts_group(const char *name, struct group *gr, char *space, size_t size, struct group **ret)
{
    return getgrnam_r(name, gr, space, size, ret);
}

int accounts_groups(const char *user, gid_t gid, gid_t *groups, int *count)
{
    return getgrouplist(user, gid, groups, count);
}

#endif

/* "+name" and "-name" are orders to NIS, not entries. */
static bool is_entry(const char *name) { return *name != '+' && *name != '-'; }

static int done(FILE *file, int rc)
{
    fclose(file);
    return rc == ENOENT ? 0 : rc; /* the end of the file */
}

int accounts_file_user(const char *path, const char *name, uid_t uid, struct passwd *pw,
                       char *space, size_t size, struct passwd **ret)
{
    FILE *file = fopen(path, "re");
    struct passwd *entry;
    int rc;

    *ret = NULL;
    if (!file)
        return errno;
    while ((rc = fgetpwent_r(file, pw, space, size, &entry)) == 0) {
        bool same = name ? strcmp(entry->pw_name, name) == 0 : entry->pw_uid == uid;
        if (!same || !is_entry(entry->pw_name))
            continue;
        *ret = entry;
        break;
    }
    return done(file, rc);
}

int accounts_file_group(const char *path, const char *name, struct group *gr, char *space,
                        size_t size, struct group **ret)
{
    FILE *file = fopen(path, "re");
    struct group *entry;
    int rc;

    *ret = NULL;
    if (!file)
        return errno;
    while ((rc = fgetgrent_r(file, gr, space, size, &entry)) == 0) {
        if (strcmp(entry->gr_name, name) != 0 || !is_entry(entry->gr_name))
            continue;
        *ret = entry;
        break;
    }
    return done(file, rc);
}

static bool is_member(const struct group *gr, const char *user)
{
    for (char **member = gr->gr_mem; *member; member++)
        if (strcmp(*member, user) == 0)
            return true;
    return false;
}

struct memberships {
    gid_t *groups;
    int room, count;
};

static void add(struct memberships *list, gid_t gid)
{
    for (int i = 0; i < list->count && i < list->room; i++)
        if (list->groups[i] == gid)
            return;
    if (list->count < list->room)
        list->groups[list->count] = gid;
    list->count++;
}

/* One pass over the file with lines of up to `size` bytes; ERANGE when one is longer. */
static int collect(const char *path, const char *user, size_t size, struct memberships *list)
{
    AUTO_FREE char *space = malloc(size);
    FILE *file = space ? fopen(path, "re") : NULL;
    struct group gr, *entry;
    int rc;

    if (!file)
        return space ? errno : ENOMEM;
    while ((rc = fgetgrent_r(file, &gr, space, size, &entry)) == 0)
        if (is_entry(entry->gr_name) && is_member(entry, user))
            add(list, entry->gr_gid);
    return done(file, rc);
}

int accounts_file_groups(const char *path, const char *user, gid_t gid, gid_t *groups, int *count)
{
    struct memberships list = { .groups = groups, .room = *count };
    int rc = ERANGE;

    for (size_t size = LINE_FIRST_BYTES; rc == ERANGE && size <= LINE_MAX_BYTES; size *= 2) {
        list.count = 0;
        add(&list, gid);
        rc = collect(path, user, size, &list);
    }
    *count = list.count;
    return list.count <= list.room ? list.count : -1;
}
