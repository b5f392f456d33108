/* users.c - the contract is in users.h. */
#include "supervisor/host/users.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/accounts.h"
#include "base/auto.h"
#include "base/near.h"

enum {
    ENTRY_FIRST_BYTES = 1024,
    ENTRY_MAX_BYTES = 1024 * 1024, /* a group with a hundred thousand members */
    GROUPS_FIRST = 64,
    GROUPS_MAX = 65536, /* NGROUPS_MAX of the kernel */
    NAMES_MAX = 4096,   /* looked at for a suggestion */
    OWNER_MAX = 128,
};
#define NO_ID UINT_MAX /* (uid_t)-1 means "unchanged" to the kernel */

/* --- suggestions --- */

struct names {
    char *all[NAMES_MAX];
    size_t count;
};

static void add_name(struct names *names, const char *name)
{
    if (names->count < NAMES_MAX && (names->all[names->count] = strdup(name)))
        names->count++;
}

/* Only the local files: listing a directory service may take minutes. */
static void read_names(struct names *names, bool groups)
{
    FILE *file = fopen(groups ? "/etc/group" : "/etc/passwd", "re");

    if (!file)
        return;
    if (groups)
        for (struct group *gr; (gr = fgetgrent(file));)
            add_name(names, gr->gr_name);
    else
        for (struct passwd *pw; (pw = fgetpwent(file));)
            add_name(names, pw->pw_name);
    fclose(file);
}

static const char *name_at(size_t i, const void *context)
{
    return ((const struct names *)context)->all[i];
}

static int no_such(const char *wrong, bool group, struct err *err)
{
    struct names *names = calloc(1, sizeof *names);
    const char *what = group ? "group" : "user", *near = NULL;

    if (names) {
        read_names(names, group);
        near = near_name(wrong, names->count, name_at, names);
    }
    int rc = near ? err_set(err, ERR_NOT_FOUND,
                            "there is no %s \"%.64s\" on this host, did you mean \"%.64s\"?", what,
                            wrong, near)
                  : err_set(err, ERR_NOT_FOUND,
                            "there is no %s \"%.64s\" on this host, create it or use a number",
                            what, wrong);
    for (size_t i = 0; names && i < names->count; i++)
        free(names->all[i]);
    free(names);
    return rc;
}

/* --- entries of the data bases --- */

/* What an entry needs, copied out of the buffer the library filled. */
struct person {
    bool known; /* there is an entry; else only the number */
    uid_t uid;
    gid_t gid;
    const char *name, *home, *shell; /* in the arena */
};

static bool is_number(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

static int parse_id(const char *text, const char *what, unsigned *ret, struct err *err)
{
    char *end;

    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || value >= NO_ID)
        return err_set(err, ERR_INVALID, "%s %.32s is not an id, they end at %u", what, text,
                       NO_ID - 1);
    *ret = (unsigned)value;
    return 0;
}

static int copy_person(const struct passwd *pw, struct arena *arena, struct person *ret,
                       struct err *err)
{
    ret->known = true;
    ret->uid = pw->pw_uid;
    ret->gid = pw->pw_gid;
    ret->name = arena_strdup(arena, pw->pw_name);
    ret->home = arena_strdup(arena, pw->pw_dir && *pw->pw_dir ? pw->pw_dir : "/");
    ret->shell = arena_strdup(arena, pw->pw_shell && *pw->pw_shell ? pw->pw_shell : "/bin/sh");
    if (!ret->name || !ret->home || !ret->shell)
        return err_set(err, ERR_MEMORY, "no memory for a user");
    return 0;
}

/* A missing entry is no error of the library: POSIX wants 0 then, some modules say otherwise. */
static bool means_missing(int rc)
{
    return rc == 0 || rc == ENOENT || rc == ESRCH || rc == EBADF || rc == EPERM;
}

/* By name, or by number when `name` is NULL.  Leaves ret->known false when there is none. */
static int lookup_person(const char *name, uid_t uid, struct arena *arena, struct person *ret,
                         struct err *err)
{
    for (size_t size = ENTRY_FIRST_BYTES; size <= ENTRY_MAX_BYTES; size *= 2) {
        AUTO_FREE char *space = malloc(size);
        struct passwd pw, *found = NULL;

        if (!space)
            return err_set(err, ERR_MEMORY, "no memory for a user");
        int rc = accounts_user(name, uid, &pw, space, size, &found);
        if (rc == EINTR)
            size /= 2;
        else if (found)
            return copy_person(found, arena, ret, err);
        else if (means_missing(rc))
            return 0;
        else if (rc != ERANGE)
            return err_sys(err, rc, "looking up a user");
    }
    return err_set(err, ERR_LIMIT, "the entry of a user is over %d bytes", ENTRY_MAX_BYTES);
}

static int find_person(const char *user, struct arena *arena, struct person *ret, struct err *err)
{
    unsigned id = 0;

    memset(ret, 0, sizeof *ret);
    if (!is_number(user)) {
        int rc = lookup_person(user, 0, arena, ret, err);
        return rc != 0 || ret->known ? rc : no_such(user, false, err);
    }
    int rc = parse_id(user, "user", &id, err);
    if (rc != 0)
        return rc;
    ret->uid = id;
    ret->gid = id; /* not 0: a bare number must not give root's group away */
    return lookup_person(NULL, id, arena, ret, err);
}

static int lookup_group(const char *name, bool *ret_found, gid_t *ret, struct err *err)
{
    for (size_t size = ENTRY_FIRST_BYTES; size <= ENTRY_MAX_BYTES; size *= 2) {
        AUTO_FREE char *space = malloc(size);
        struct group gr, *found = NULL;

        if (!space)
            return err_set(err, ERR_MEMORY, "no memory for a group");
        int rc = accounts_group(name, &gr, space, size, &found);
        *ret_found = found != NULL;
        if (found)
            *ret = found->gr_gid;
        if (rc == EINTR)
            size /= 2;
        else if (found || means_missing(rc))
            return 0;
        else if (rc != ERANGE)
            return err_sys(err, rc, "looking up group %.64s", name);
    }
    return err_set(err, ERR_LIMIT, "the entry of group %.64s is over %d bytes", name,
                   ENTRY_MAX_BYTES);
}

int users_group(const char *group, gid_t *ret, struct err *err)
{
    unsigned id = 0;
    bool found = false;

    if (is_number(group)) {
        int rc = parse_id(group, "group", &id, err);
        if (rc == 0)
            *ret = id;
        return rc;
    }
    int rc = lookup_group(group, &found, ret, err);
    return rc != 0 || found ? rc : no_such(group, true, err);
}

/* --- an identity --- */

static int fill_groups(const struct person *person, gid_t gid, struct arena *arena,
                       struct users_identity *ret, struct err *err)
{
    int room = GROUPS_FIRST, count;

    ret->groups = arena_array(arena, 1, sizeof *ret->groups);
    if (!ret->groups)
        return err_set(err, ERR_MEMORY, "no memory for groups");
    ret->groups[0] = gid;
    ret->ngroups = 1;
    while (person && person->known && room <= GROUPS_MAX) {
        gid_t *groups = arena_array(arena, (size_t)room, sizeof *groups);
        if (!groups)
            return err_set(err, ERR_MEMORY, "no memory for groups");
        count = room;
        if (accounts_groups(person->name, gid, groups, &count) >= 0) {
            ret->groups = groups;
            ret->ngroups = count > 0 ? (size_t)count : 0;
            return 0;
        }
        room = count > room ? count : room * 2;
    }
    return room <= GROUPS_MAX ? 0
                              : err_set(err, ERR_LIMIT, "user %.64s is in more than %d groups",
                                        person->name, GROUPS_MAX);
}

static int fill_environment(const struct person *person, struct arena *arena,
                            struct users_identity *ret, struct err *err)
{
    ret->environment = NULL;
    if (!person->known)
        return 0;
    char **pairs = arena_array(arena, 5, sizeof *pairs);
    if (!pairs)
        return err_set(err, ERR_MEMORY, "no memory for the environment of a user");
    pairs[0] = arena_printf(arena, "HOME=%s", person->home);
    pairs[1] = arena_printf(arena, "USER=%s", person->name);
    pairs[2] = arena_printf(arena, "LOGNAME=%s", person->name);
    pairs[3] = arena_printf(arena, "SHELL=%s", person->shell);
    for (int i = 0; i < 4; i++)
        if (!pairs[i])
            return err_set(err, ERR_MEMORY, "no memory for the environment of a user");
    ret->environment = pairs;
    return 0;
}

static bool has_group(const gid_t *groups, size_t count, gid_t gid)
{
    for (size_t i = 0; i < count; i++)
        if (groups[i] == gid)
            return true;
    return false;
}

/* Whether the process that asks is that already, so that nothing has to be changed. */
static bool is_ourselves(const struct users_identity *who)
{
    if (who->uid != geteuid() || who->uid != getuid() || who->gid != getegid() ||
        who->gid != getgid())
        return false;
    int count = getgroups(0, NULL);
    if (count < 0)
        return false;
    AUTO_FREE gid_t *ours = calloc((size_t)count + 1, sizeof *ours);
    if (!ours || (count = getgroups(count, ours)) < 0)
        return false;
    for (int i = 0; i < count; i++)
        if (!has_group(who->groups, who->ngroups, ours[i]))
            return false;
    for (size_t i = 0; i < who->ngroups; i++)
        if (who->groups[i] != who->gid && !has_group(ours, (size_t)count, who->groups[i]))
            return false;
    return true;
}

/* Without root only our own user and group can be had, and then nothing changes. */
static int check_allowed(const char *user, const char *group, const struct users_identity *who,
                         struct err *err)
{
    if (geteuid() == 0)
        return 0;
    if (user && who->uid != geteuid())
        return err_set(err, ERR_DENIED,
                       "running as user %.64s needs a supervisor that is root, this one is uid %u",
                       user, (unsigned)geteuid());
    if (group && (!user || who->gid != getegid()))
        return err_set(err, ERR_DENIED,
                       "running as group %.64s needs a supervisor that is root, this one is uid %u",
                       group, (unsigned)geteuid());
    return 0;
}

static int find_identity(const char *user, const char *group, struct arena *arena,
                         struct users_identity *ret, struct err *err)
{
    struct person person = { .uid = geteuid(), .gid = getegid() };
    int rc = user ? find_person(user, arena, &person, err) : 0;

    if (rc != 0)
        return rc;
    ret->uid = person.uid;
    ret->gid = person.gid;
    if (group && (rc = users_group(group, &ret->gid, err)) != 0)
        return rc;
    if ((rc = check_allowed(user, group, ret, err)) != 0 ||
        (rc = fill_groups(user ? &person : NULL, ret->gid, arena, ret, err)) != 0)
        return rc;
    ret->set = geteuid() == 0 && !is_ourselves(ret);
    return user ? fill_environment(&person, arena, ret, err) : 0;
}

int users_find(const char *user, const char *group, struct arena *arena, struct users_identity *ret,
               struct err *err)
{
    struct users_identity found = { .uid = geteuid(), .gid = getegid() };

    if (user || group) {
        int rc = find_identity(user, group, arena, &found, err);
        if (rc != 0)
            return rc;
    }
    *ret = found;
    return 0;
}

int users_look(const char *user, struct arena *arena, struct users_identity *ret, struct err *err)
{
    struct person person;
    int rc = find_person(user, arena, &person, err);

    if (rc != 0)
        return rc;
    *ret = (struct users_identity){ .uid = person.uid, .gid = person.gid };
    return fill_groups(&person, person.gid, arena, ret, err);
}

/* --- others --- */

static int find_owner(char *user, char *group, struct arena *arena, uid_t *ret_uid, gid_t *ret_gid,
                      struct err *err)
{
    struct person person = { .uid = NO_ID };
    int rc = *user ? find_person(user, arena, &person, err) : 0;
    gid_t gid = person.gid;

    if (rc == 0 && group)
        rc = users_group(group, &gid, err);
    if (rc != 0)
        return rc;
    *ret_uid = person.uid;
    *ret_gid = gid;
    return 0;
}

int users_owner(const char *owner, uid_t *ret_uid, gid_t *ret_gid, struct err *err)
{
    char text[OWNER_MAX];
    struct arena arena;

    if (strlen(owner) >= sizeof text)
        return err_set(err, ERR_LIMIT, "an owner has at most %d characters", OWNER_MAX - 1);
    memcpy(text, owner, strlen(owner) + 1);
    char *group = strchr(text, ':');
    if (group)
        *group++ = '\0';
    if (group ? !*group : !*text)
        return err_set(err, ERR_INVALID, "\"%.64s\" is not an owner, try USER or USER:GROUP",
                       owner);
    arena_init(&arena);
    int rc = find_owner(text, group, &arena, ret_uid, ret_gid, err);
    arena_done(&arena);
    return rc;
}
