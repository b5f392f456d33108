/* options_sandbox.c - the contract is in options_sandbox.h. */
#include "supervisor/plan/options_sandbox.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

#include "base/near.h"
#include "base/unit.h"
#include "supervisor/plan/capability.h"
#include "supervisor/plan/spec.h"

enum { WORD_MAX = 64, TMP_BYTES_MIN = 64 * 1024 };
static const char between[] = ", \t\r\n";

/* The next word of *text, which is moved behind it; false at the end.  Longer ones are cut, which
 * is as good for a message: no right word is that long. */
static bool next_word(const char **text, char word[static WORD_MAX])
{
    *text += strspn(*text, between);
    size_t len = strcspn(*text, between), kept = len < WORD_MAX ? len : WORD_MAX - 1;

    memcpy(word, *text, kept);
    word[kept] = '\0';
    *text += len;
    return len > 0;
}

static int find_word(const char *(*name_of)(int), int count, const char *word)
{
    for (int i = 0; i < count; i++)
        if (strcasecmp(name_of(i), word) == 0)
            return i;
    return -1;
}

static int add_capability(struct spec_capabilities *set, const char *word, struct err *err)
{
    bool negative = *word == '-';
    const char *name = word + negative;
    int number = capability_find(name);

    if (number < 0) {
        const char *near = capability_near(name);
        return near ? err_set(err, ERR_INVALID,
                              "\"%.64s\" is no capability, did you mean \"%s\"? (or none)", name,
                              near)
                    : err_set(err, ERR_INVALID,
                              "\"%.64s\" is no capability, try names as NET_BIND_SERVICE, or none",
                              name);
    }
    if (set->named != 0 && set->all_but != negative)
        return err_set(err, ERR_INVALID,
                       "\"%.64s\": either those that it has, or (with -) those that it has not",
                       word);
    set->all_but = negative;
    set->named |= 1ULL << number;
    return 0;
}

int options_sandbox_capabilities(const char *text, struct arena *arena, void *field,
                                 struct err *err)
{
    struct spec_capabilities set = { .given = true };
    char word[WORD_MAX];
    bool none = false;
    int rc = 0;

    (void)arena;
    while (rc == 0 && next_word(&text, word))
        if (strcasecmp(word, "none") == 0)
            none = true;
        else
            rc = add_capability(&set, word, err);
    if (rc == 0 && none && set.named != 0)
        return err_set(err, ERR_INVALID, "none stands alone, remove it or the names");
    if (rc == 0) {
        struct spec_capabilities *ret = field;
        ret->named = set.named;
        ret->given = true;
        ret->all_but = set.all_but;
    }
    return rc;
}

int options_sandbox_tmp(const char *text, struct arena *arena, void *field, struct err *err)
{
    struct spec_private_tmp *ret = field;
    int64_t bytes = 0;
    bool on;

    (void)arena;
    if (unit_boolean(text, &on, NULL) == 0) {
        ret->on = on;
        ret->bytes = 0;
        return 0;
    }
    if (unit_size(text, &bytes, NULL) < 0 || bytes < TMP_BYTES_MIN)
        return err_set(err, ERR_INVALID,
                       "\"%.64s\" is not known, try true, false or a size from 64KB on, as 512MB",
                       text);
    ret->on = true;
    ret->bytes = bytes;
    return 0;
}

/* --- paths --- */

static bool has_dotdot(const char *path, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t part = 0;
        while (at + part < len && path[at + part] != '/')
            part++;
        if (part == 2 && path[at] == '.' && path[at + 1] == '.')
            return true;
        at += part + 1;
    }
    return false;
}

/* "-/var//lib/" becomes "-/var/lib" in `out`. */
static int take_path(const char *text, size_t len, char out[static PATH_MAX], struct err *err)
{
    size_t optional = *text == '-', kept = 0;
    int shown = (int)(len < 64 ? len : 64);

    if (len >= PATH_MAX)
        return err_set(err, ERR_INVALID, "a path is longer than %d bytes", PATH_MAX - 1);
    if (len == optional || (text[optional] != '/' && text[optional] != '%'))
        return err_set(err, ERR_INVALID, "\"%.*s\" is relative, try an absolute path", shown, text);
    if (has_dotdot(text, len))
        return err_set(err, ERR_INVALID, "\"%.*s\" has .. in it, try the path without", shown,
                       text);
    for (size_t i = 0; i < len; i++)
        if (text[i] != '/' || kept == 0 || out[kept - 1] != '/')
            out[kept++] = text[i];
    if (kept > optional + 1 && out[kept - 1] == '/')
        kept--;
    out[kept] = '\0';
    return 0;
}

int options_sandbox_path(const char *text, struct arena *arena, const char **ret, struct err *err)
{
    char path[PATH_MAX];
    int rc = take_path(text, strlen(text), path, err);

    if (rc == 0 && path[*path == '-'] != '/')
        rc = err_set(err, ERR_INVALID, "\"%.64s\" is relative, try an absolute path", path);
    if (rc == 0)
        *ret = arena_strdup(arena, path);
    return rc == 0 && !*ret ? err_set(err, ERR_MEMORY, "out of memory") : rc;
}

int options_sandbox_paths(const char *text, struct arena *arena, void *field, struct err *err)
{
    const char *paths[SPEC_PATHS_MAX];
    struct spec_paths *ret = field;
    char path[PATH_MAX];
    size_t count = 0;

    for (text += strspn(text, between); *text; text += strspn(text, between)) {
        size_t len = strcspn(text, between);
        if (count == SPEC_PATHS_MAX)
            return err_set(err, ERR_INVALID, "more than %d paths", SPEC_PATHS_MAX);
        int rc = take_path(text, len, path, err);
        if (rc < 0)
            return rc;
        paths[count] = arena_share_text(arena, path);
        if (!paths[count++])
            return err_set(err, ERR_MEMORY, "out of memory");
        text += len;
    }
    const char *const *list = arena_share(arena, paths, count * sizeof(*paths));
    if (!list)
        return err_set(err, ERR_MEMORY, "out of memory");
    ret->list = list;
    ret->count = count;
    ret->all = false;
    return 0;
}

int options_sandbox_read_only(const char *text, struct arena *arena, void *field, struct err *err)
{
    struct spec_paths *ret = field;
    bool all;

    if (unit_boolean(text, &all, NULL) < 0)
        return options_sandbox_paths(text, arena, field, err);
    ret->list = NULL;
    ret->count = 0;
    ret->all = all;
    return 0;
}

/* --- words --- */

static const char *namespace_at(size_t index, const void *unused)
{
    (void)unused;
    return spec_namespace_name((int)index);
}

int options_sandbox_namespaces(const char *text, struct arena *arena, void *field, struct err *err)
{
    char word[WORD_MAX];
    unsigned bits = 0;

    (void)arena;
    while (next_word(&text, word)) {
        int number = find_word(spec_namespace_name, SPEC_NNAMESPACES, word);
        if (number < 0) {
            const char *near = near_name(word, SPEC_NNAMESPACES, namespace_at, NULL);
            return err_set(err, ERR_INVALID,
                           "\"%.64s\" is no namespace%s%s%s, try net, ipc, uts, pid, cgroup "
                           "(mounts get one by private_tmp, read_only, root)",
                           word, near ? ", did you mean \"" : "", near ? near : "",
                           near ? "\"" : "");
        }
        bits |= 1u << number;
    }
    *(unsigned *)field = bits;
    return 0;
}

int options_sandbox_seccomp(const char *text, struct arena *arena, void *field, struct err *err)
{
    char profile[WORD_MAX], action[WORD_MAX] = "error";
    const char *colon = strchr(text, ':');
    struct spec_seccomp *ret = field;

    (void)arena;
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    size_t kept = len < WORD_MAX ? len : WORD_MAX - 1;
    memcpy(profile, text, kept);
    profile[kept] = '\0';
    if (colon) {
        kept = strnlen(colon + 1, WORD_MAX - 1);
        memcpy(action, colon + 1, kept);
        action[kept] = '\0';
    }
    int number = find_word(spec_seccomp_name, SPEC_NSECCOMP, profile);
    if (number < 0)
        return err_set(err, ERR_INVALID,
                       "\"%.64s\" is no profile, try default, service, strict or none", profile);
    int denied = find_word(spec_denied_name, SPEC_NDENIED, action);
    if (denied < 0)
        return err_set(err, ERR_INVALID,
                       "\"%.64s\" is not what can follow a denied call, try %s:error, %s:kill or "
                       "%s:log",
                       action, profile, profile, profile);
    if (colon && number == SPEC_SECCOMP_NONE)
        return err_set(err, ERR_INVALID, "none denies nothing, try none alone");
    ret->profile = number;
    ret->denied = denied;
    return 0;
}
