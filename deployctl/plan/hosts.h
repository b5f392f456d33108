/* hosts.h - host names as patterns: "web[01-20].example.net", "db[1,3,7-9]", "web*".
 *
 * Numbers in brackets keep their leading zeros.  Several brackets multiply.  Nothing here looks a
 * name up.
 */
#ifndef DEPLOYCTL_PLAN_HOSTS_H
#define DEPLOYCTL_PLAN_HOSTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

enum { HOSTS_MAX = 10000, HOSTS_NAME_MAX = 253 };

struct hosts {
    const char **names; /* in the arena, in the order written, no name twice */
    size_t count, cap;
};

/* Appends what one word stands for.  ERR_INVALID says what is wrong with the word (a range that
 * runs backwards, an open bracket, a character no host name has), ERR_EXISTS names a host that
 * is there twice, ERR_LIMIT past HOSTS_MAX. */
int hosts_add(struct hosts *hosts, const char *word, struct arena *arena, struct err *err);
/* As hosts_add for words separated by blanks, commas (outside brackets) or newlines; a
 * repeated host is fine when `again` is set. */
int hosts_add_all(struct hosts *hosts, const char *text, bool again, struct arena *arena,
                  struct err *err);
/* The index of a name, or hosts->count. */
size_t hosts_find(const struct hosts *hosts, const char *name);
/* True when `name` is one of the names `pattern` stands for; besides brackets '*' and '?' are
 * understood, and several patterns separated by commas or blanks. */
bool hosts_match(const char *pattern, const char *name);
/* Only letters, digits, '.', '-', '_' and ':'; not beginning with '-'; at most HOSTS_NAME_MAX. */
bool hosts_name_ok(const char *name);

#endif
