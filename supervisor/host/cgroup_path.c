/* cgroup_path.c - the contract is in cgroup_path.h. */
#include "supervisor/host/cgroup_path.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { FIELD_ROOT = 4, FIELD_POINT = 5, OCTAL_DIGITS = 3 };

static bool is_octal(const char *at)
{
    for (int i = 1; i <= OCTAL_DIGITS; i++)
        if (at[i] < '0' || at[i] > '7')
            return false;
    return true;
}

/* Blanks and backslashes stand as \040 in there. */
static bool copy_field(const char *from, size_t len, char *ret, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        char c = from[i];
        if (c == '\\' && len - i > OCTAL_DIGITS && is_octal(from + i)) {
            c = (char)((from[i + 1] - '0') * 64 + (from[i + 2] - '0') * 8 + (from[i + 3] - '0'));
            i += OCTAL_DIGITS;
        }
        if (n + 1 >= size)
            return false;
        ret[n++] = c;
    }
    ret[n] = '\0';
    return true;
}

/* One line: "31 23 0:28 ROOT POINT OPTIONS [TAGS...] - TYPE SOURCE OPTIONS". */
static bool parse_line(const char *line, size_t len, struct cgroup_mount *ret)
{
    static const char kind[] = " - cgroup2 ";
    const char *at = line, *end = line + len;

    if (!memmem(line, len, kind, sizeof kind - 1))
        return false;
    for (int field = 1; field <= FIELD_POINT; field++) {
        const char *blank = memchr(at, ' ', (size_t)(end - at));
        if (!blank)
            return false;
        size_t size = (size_t)(blank - at);
        if (field == FIELD_ROOT && !copy_field(at, size, ret->root, sizeof ret->root))
            return false;
        if (field == FIELD_POINT && !copy_field(at, size, ret->point, sizeof ret->point))
            return false;
        at = blank + 1;
    }
    return true;
}

bool cgroup_path_mount(const char **at, struct cgroup_mount *ret)
{
    while (**at) {
        const char *line = *at;
        size_t len = strcspn(line, "\n");

        *at = line + len + (line[len] == '\n');
        if (parse_line(line, len, ret))
            return true;
    }
    return false;
}

bool cgroup_path_own(const char *text, char *ret, size_t size)
{
    static const char deleted[] = " (deleted)";

    while (*text && strncmp(text, "0::/", 4) != 0) {
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    if (!*text)
        return false;
    text += strlen("0::");
    size_t len = strcspn(text, "\n");
    if (len >= size || (len > sizeof deleted && memcmp(text + len - (sizeof deleted - 1), deleted,
                                                       sizeof deleted - 1) == 0))
        return false;
    memcpy(ret, text, len);
    ret[len] = '\0';
    return true;
}

bool cgroup_path_join(const struct cgroup_mount *mount, const char *own, char *ret, size_t size)
{
    size_t len = strcmp(mount->root, "/") == 0 ? 0 : strlen(mount->root);

    if (strncmp(own, mount->root, len) != 0 || (own[len] != '/' && own[len] != '\0') ||
        strncmp(own, "/..", 3) == 0)
        return false;
    int n = snprintf(ret, size, "%s%s", mount->point, strcmp(own + len, "/") == 0 ? "" : own + len);
    return n >= 0 && (size_t)n < size;
}

static bool is_plain(char c) { return isalnum((unsigned char)c) || (c && strchr("._-:@+", c)); }

bool cgroup_path_name(const char *instance, unsigned number, char *ret, size_t size)
{
    size_t n = 0;

    if (size > CGROUP_NAME_MAX)
        size = CGROUP_NAME_MAX;
    for (const char *at = instance; *at; at++) {
        bool plain = is_plain(*at) && (at > instance || *at != '.');
        if (n + 4 >= size)
            return false;
        n += (size_t)(plain ? snprintf(ret + n, 2, "%c", *at)
                            : snprintf(ret + n, 4, "%%%02X", (unsigned)(unsigned char)*at));
    }
    if (number < 2)
        return n > 0;
    int more = snprintf(ret + n, size - n, "~%u", number);
    return n > 0 && more > 0 && n + (size_t)more < size;
}

bool cgroup_path_inside(const char *own, const char *ours, char *ret, size_t size)
{
    size_t len = strlen(ours);

    for (const char *at = own; len > 0 && (at = strstr(at, ours)) != NULL; at += len) {
        if (at == own || at[-1] != '/' || at[len] != '/')
            continue;
        const char *name = at + len + 1;
        size_t n = strcspn(name, "/");
        if (n == 0 || n >= size)
            return false;
        memcpy(ret, name, n);
        ret[n] = '\0';
        return true;
    }
    return false;
}
