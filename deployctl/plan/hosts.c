/* hosts.c - the contract is in hosts.h. */
#include "deployctl/plan/hosts.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS_MAX = 9, WORD_MAX = 4096 };

bool hosts_name_ok(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > HOSTS_NAME_MAX || name[0] == '-')
        return false;
    for (const char *at = name; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr(".-_:", *at))
            return false;
    return true;
}

size_t hosts_find(const struct hosts *hosts, const char *name)
{
    size_t i = 0;
    while (i < hosts->count && strcmp(hosts->names[i], name) != 0)
        i++;
    return i;
}

static int append(struct hosts *hosts, const char *name, bool again, struct arena *arena,
                  struct err *err)
{
    if (!hosts_name_ok(name))
        return err_set(err, ERR_INVALID,
                       "\"%s\" is not a host name (letters, digits, '.', '-', '_')", name);
    if (hosts_find(hosts, name) < hosts->count)
        return again ? 0 : err_set(err, ERR_EXISTS, "host %s is named twice", name);
    if (hosts->count >= HOSTS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d hosts", HOSTS_MAX);
    if (hosts->count == hosts->cap) {
        size_t cap = hosts->cap ? hosts->cap * 2 : 64;
        const char **names = arena_array(arena, cap, sizeof *names);
        if (!names)
            return err_set(err, ERR_MEMORY, "no memory for the list of hosts");
        if (hosts->count)
            memcpy(names, hosts->names, hosts->count * sizeof *names);
        hosts->names = names;
        hosts->cap = cap;
    }
    char *copy = arena_strdup(arena, name);
    if (!copy)
        return err_set(err, ERR_MEMORY, "no memory for the list of hosts");
    hosts->names[hosts->count++] = copy;
    return 0;
}

/* Reads "01-20" or "7" at *at: first, last and the number of digits to keep. */
static int read_range(const char **at, unsigned *first, unsigned *last, int *digits,
                      const char *word, struct err *err)
{
    char *end;
    const char *from = *at;
    size_t len = strspn(from, "0123456789");
    if (len == 0 || len > DIGITS_MAX)
        return err_set(err, ERR_INVALID, "\"%s\": inside [ ] there must be numbers, as in [01-20]",
                       word);
    *first = *last = (unsigned)strtoul(from, &end, 10);
    *digits = (int)len;
    if (*end == '-') {
        from = end + 1;
        len = strspn(from, "0123456789");
        if (len == 0 || len > DIGITS_MAX)
            return err_set(err, ERR_INVALID, "\"%s\": the range has no end, try [01-20]", word);
        *last = (unsigned)strtoul(from, &end, 10);
        if (*last < *first)
            return err_set(err, ERR_INVALID, "\"%s\": the range runs backwards", word);
        if (*last - *first >= HOSTS_MAX)
            return err_set(err, ERR_LIMIT, "\"%s\": more than %d hosts", word, HOSTS_MAX);
    }
    *at = end;
    return 0;
}

static int expand(struct hosts *hosts, const char *prefix, const char *rest, bool again,
                  struct arena *arena, struct err *err);

static int expand_range(struct hosts *hosts, const char *prefix, const char **at, const char *tail,
                        bool again, struct arena *arena, struct err *err)
{
    unsigned first = 1, last = 0;
    int digits = 0;
    int rc = read_range(at, &first, &last, &digits, *at, err);
    for (unsigned n = first; rc == 0 && n <= last; n++) {
        char next[HOSTS_NAME_MAX * 2];
        int len = snprintf(next, sizeof next, "%s%0*u", prefix, digits, n);
        if (len > HOSTS_NAME_MAX)
            return err_set(err, ERR_INVALID, "\"%s\": longer than a host name may be", prefix);
        rc = expand(hosts, next, tail, again, arena, err);
    }
    return rc;
}

/* prefix is final; rest may have brackets. */
static int expand(struct hosts *hosts, const char *prefix, const char *rest, bool again,
                  struct arena *arena, struct err *err)
{
    char name[HOSTS_NAME_MAX * 2];
    const char *open = strchr(rest, '[');
    int fixed = open ? (int)(open - rest) : (int)strlen(rest);
    if (snprintf(name, sizeof name, "%s%.*s", prefix, fixed, rest) > HOSTS_NAME_MAX)
        return err_set(err, ERR_INVALID, "\"%.60s...\": longer than a host name may be", prefix);
    if (!open)
        return append(hosts, name, again, arena, err);
    const char *close = strchr(open, ']');
    if (!close)
        return err_set(err, ERR_INVALID, "\"%s\": the [ is never closed", rest);
    const char *at = open + 1;
    for (;;) {
        int rc = expand_range(hosts, name, &at, close + 1, again, arena, err);
        if (rc < 0)
            return rc;
        if (at == close)
            return 0;
        if (*at != ',')
            return err_set(err, ERR_INVALID, "\"%s\": unexpected '%c' inside [ ]", rest, *at);
        at++;
    }
}

int hosts_add(struct hosts *hosts, const char *word, struct arena *arena, struct err *err)
{
    return expand(hosts, "", word, false, arena, err);
}

/* The next word of a list; commas inside brackets belong to the word.  Returns its length. */
static size_t next_word(const char **at)
{
    const char *from = *at + strspn(*at, ", \t\r\n");
    int depth = 0;
    size_t len = 0;
    for (; from[len]; len++) {
        if (from[len] == '[')
            depth++;
        else if (from[len] == ']')
            depth--;
        else if (strchr(" \t\r\n", from[len]) || (from[len] == ',' && depth <= 0))
            break;
    }
    *at = from;
    return len;
}

int hosts_add_all(struct hosts *hosts, const char *text, bool again, struct arena *arena,
                  struct err *err)
{
    size_t len;
    for (const char *at = text; (len = next_word(&at)) > 0; at += len) {
        char word[WORD_MAX];
        if (len >= sizeof word)
            return err_set(err, ERR_LIMIT, "a host pattern longer than %d bytes", WORD_MAX);
        memcpy(word, at, len);
        word[len] = '\0';
        int rc = expand(hosts, "", word, again, arena, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static bool match_here(const char *rest, const char *name);

/* Does `name` go on with a number of this range, as it would be written, and then with `tail`? */
static bool match_number(unsigned first, unsigned last, int digits, const char *tail,
                         const char *name)
{
    size_t run = strspn(name, "0123456789");
    unsigned long value = 0;
    for (size_t len = 1; len <= run && len <= DIGITS_MAX; len++) {
        value = value * 10 + (unsigned long)(name[len - 1] - '0');
        bool written = len == (size_t)digits || (len > (size_t)digits && name[0] != '0');
        if (written && value >= first && value <= last && match_here(tail, name + len))
            return true;
    }
    return false;
}

/* Without listing what the pattern stands for: it is asked of every host. */
static bool match_here(const char *rest, const char *name)
{
    size_t fixed = strcspn(rest, "[");
    const char *close = strchr(rest + fixed, ']'), *at = rest + fixed;
    bool found = false;
    if (strncmp(rest, name, fixed) != 0)
        return false;
    if (*at == '\0')
        return name[fixed] == '\0';
    while (!found && at < close) { /* names_in() has read it before */
        unsigned first = 1, last = 0;
        int digits = 0;
        at++;
        if (read_range(&at, &first, &last, &digits, rest, NULL) < 0)
            return false;
        found = match_number(first, last, digits, close + 1, name + fixed);
    }
    return found;
}

/* How many names the pattern stands for; 0 when it is wrong, or they are more than there may be:
 * then it stands for nobody, as in a list. */
static size_t names_in(const char *word)
{
    size_t total = 1;
    for (const char *open = word; (open = strchr(open, '[')) != NULL;) {
        size_t here = 0;
        const char *close = strchr(open, ']');
        for (const char *at = open + 1; close; at++) {
            unsigned first = 1, last = 0;
            int digits = 0;
            if (read_range(&at, &first, &last, &digits, word, NULL) < 0)
                return 0;
            here += last - first + 1;
            if (at == close)
                break;
            if (*at != ',')
                return 0;
        }
        total *= here;
        if (!close || total > HOSTS_MAX)
            return 0;
        open = close;
    }
    return total;
}

static bool match_word(const char *word, const char *name)
{
    if (!strchr(word, '[') || strpbrk(word, "*?"))
        return fnmatch(word, name, 0) == 0;
    return names_in(word) > 0 && match_here(word, name);
}

bool hosts_match(const char *pattern, const char *name)
{
    size_t len;
    for (const char *at = pattern; (len = next_word(&at)) > 0; at += len) {
        char word[WORD_MAX];
        if (len >= sizeof word)
            continue;
        memcpy(word, at, len);
        word[len] = '\0';
        if (match_word(word, name))
            return true;
    }
    return false;
}
