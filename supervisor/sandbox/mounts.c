/* mounts.c - the contract is in mounts.h. */
#include "supervisor/sandbox/mounts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

enum { FIELD_PATH = 4, FIELD_FLAGS = 5, NFIELDS = 6 };

/* --- reading --- */

/* "\040" becomes a blank; in place. */
static void unescape(char *text)
{
    char *out = text;

    for (const char *at = text; *at; out++) {
        bool octal = at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] >= '0' &&
                     at[2] <= '7' && at[3] >= '0' && at[3] <= '7';
        *out = octal ? (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0')) : *at;
        at += octal ? 4 : 1;
    }
    *out = '\0';
}

static unsigned long flags_of(const char *text, size_t len)
{
    static const struct {
        const char *name;
        unsigned long flag;
    } known[] = {
        { "ro", MS_RDONLY },         { "nosuid", MS_NOSUID },
        { "nodev", MS_NODEV },       { "noexec", MS_NOEXEC },
        { "noatime", MS_NOATIME },   { "nodiratime", MS_NODIRATIME },
        { "relatime", MS_RELATIME }, { "nosymfollow", 256 /* MS_NOSYMFOLLOW */ },
    };
    unsigned long flags = 0;

    for (size_t at = 0, part; at < len; at += part + 1) {
        part = strcspn(text + at, ",");
        if (part > len - at)
            part = len - at;
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            if (strlen(known[i].name) == part && strncmp(known[i].name, text + at, part) == 0)
                flags |= known[i].flag;
    }
    return flags;
}

/* The fields of a line that lie at fixed places; false when they are not all there. */
static bool split(const char *line, size_t len, const char *fields[static NFIELDS],
                  size_t lens[static NFIELDS])
{
    size_t at = 0;

    for (int i = 0; i < NFIELDS; i++) {
        fields[i] = line + at;
        for (lens[i] = 0; at < len && line[at] != ' '; at++)
            lens[i]++;
        if (lens[i] == 0)
            return false;
        at += at < len;
    }
    return true;
}

static bool is_automatic(const char *line, size_t len)
{
    static const char mark[] = " - autofs ";
    const char *found = memmem(line, len, mark, sizeof(mark) - 1);

    return found != NULL;
}

/* Whether `path` is `folder` or in it; *ret_rest is what follows then ("" or "/..."). */
static bool is_inside(const char *path, const char *folder, const char **ret_rest)
{
    size_t len = strcmp(folder, "/") == 0 ? 0 : strlen(folder);

    if (strncmp(path, folder, len) != 0 || (path[len] != '/' && path[len] != '\0'))
        return false;
    *ret_rest = path + len;
    return true;
}

static void put(struct mounts *mounts, const struct mounts_entry *entry)
{
    for (size_t i = 0; i < mounts->count; i++)
        if (strcmp(mounts->list[i].path, entry->path) == 0) {
            mounts->list[i] = *entry;
            return;
        }
    mounts->list[mounts->count++] = *entry;
}

/* One line; what lies around the root gives "/" its flags. */
static bool take_line(const char *line, size_t len, const char *root, struct arena *arena,
                      struct mounts *mounts)
{
    const char *fields[NFIELDS], *rest;
    size_t lens[NFIELDS];

    if (!split(line, len, fields, lens))
        return true;
    char *path = arena_strndup(arena, fields[FIELD_PATH], lens[FIELD_PATH]);
    if (!path)
        return false;
    unescape(path);
    struct mounts_entry entry = { .flags = flags_of(fields[FIELD_FLAGS], lens[FIELD_FLAGS]),
                                  .automatic = is_automatic(line, len) };
    if (is_inside(path, root, &rest))
        entry.path = *rest ? rest : "/";
    else if (is_inside(root, path, &rest))
        entry.path = "/"; /* outer ones come first, so the nearest is the last */
    else
        return true;
    put(mounts, &entry);
    return true;
}

static size_t count_lines(const char *text)
{
    size_t count = 1;

    while ((text = strchr(text, '\n'))) {
        text++;
        count++;
    }
    return count;
}

int mounts_parse(const char *text, const char *root, struct arena *arena, struct mounts *ret,
                 struct err *err)
{
    size_t most = count_lines(text) + 1;

    if (most > MOUNTS_MAX)
        return err_set(err, ERR_LIMIT, "there are more than %d mounts", MOUNTS_MAX);
    *ret = (struct mounts){ .list = arena_array(arena, most, sizeof(*ret->list)) };
    bool ok = ret->list;
    if (ok)
        ret->list[ret->count++] = (struct mounts_entry){ .path = "/" };
    for (size_t len; ok && *text; text += len + (text[len] == '\n')) {
        len = strcspn(text, "\n");
        ok = take_line(text, len, root, arena, ret);
    }
    return ok ? 0 : err_set(err, ERR_MEMORY, "no memory for the list of mounts");
}

/* --- planning --- */

/* Outer ones first, so that an inner mount is made on what covers it. */
static int by_path(const void *a, const void *b)
{
    const struct mounts_rule *x = a, *y = b;
    int order = strcmp(x->path, y->path);

    return order ? order : x->read_only - y->read_only;
}

static const struct mounts_entry *find(const struct mounts *mounts, const char *path)
{
    for (size_t i = 0; i < mounts->count; i++)
        if (strcmp(mounts->list[i].path, path) == 0)
            return &mounts->list[i];
    return NULL;
}

/* The mount that `path` is in. */
static const struct mounts_entry *around(const struct mounts *mounts, const char *path)
{
    const struct mounts_entry *best = &mounts->list[0];
    const char *rest;

    for (size_t i = 0; i < mounts->count; i++)
        if (is_inside(path, mounts->list[i].path, &rest) &&
            strlen(mounts->list[i].path) >= strlen(best->path))
            best = &mounts->list[i];
    return best;
}

static bool becomes_read_only(const struct mounts_rule *rules, size_t count, const char *path)
{
    const struct mounts_rule *best = NULL;
    const char *rest;

    for (size_t i = 0; i < count; i++)
        if (is_inside(path, rules[i].path, &rest) &&
            (!best || strlen(rules[i].path) > strlen(best->path)))
            best = &rules[i];
    return best && best->read_only;
}

static void remount(struct mounts_plan *plan, const struct mounts_entry *like, const char *path)
{
    if (like->automatic || like->flags & MS_RDONLY)
        return;
    plan->remounts[plan->nremounts++] =
        (struct mounts_entry){ .path = path, .flags = like->flags | MS_RDONLY };
}

int mounts_read_only(const struct mounts *mounts, struct mounts_rule *rules, size_t nrules,
                     struct arena *arena, struct mounts_plan *ret, struct err *err)
{
    *ret = (struct mounts_plan){
        .binds = arena_array(arena, nrules + 1, sizeof(*ret->binds)),
        .remounts = arena_array(arena, nrules + mounts->count + 1, sizeof(*ret->remounts)),
    };
    if (!ret->binds || !ret->remounts)
        return err_set(err, ERR_MEMORY, "no memory for the list of mounts");
    if (nrules > 0)
        qsort(rules, nrules, sizeof(*rules), by_path);
    for (size_t i = 0; i < nrules; i++) {
        if (find(mounts, rules[i].path) || (i > 0 && strcmp(rules[i - 1].path, rules[i].path) == 0))
            continue;
        ret->binds[ret->nbinds++] = rules[i].path;
        if (becomes_read_only(rules, nrules, rules[i].path))
            remount(ret, around(mounts, rules[i].path), rules[i].path);
    }
    for (size_t i = 0; i < mounts->count; i++)
        if (becomes_read_only(rules, nrules, mounts->list[i].path))
            remount(ret, &mounts->list[i], mounts->list[i].path);
    return 0;
}
