/* mounts.h - which mounts become read-only, worked out from what is mounted.  Pure.
 *
 * The kernel makes mounts read-only, not folders: a folder of its own gets a mount of itself first.
 * Mounts keep their other flags (nosuid, noexec, ...), which a careless remount would take away.
 */
#ifndef SUPERVISOR_SANDBOX_MOUNTS_H
#define SUPERVISOR_SANDBOX_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

enum { MOUNTS_MAX = 8192 };

struct mounts_entry {
    const char *path;    /* in the arena */
    unsigned long flags; /* MS_RDONLY, MS_NOSUID, ... */
    bool automatic;      /* autofs: to touch it would mount something */
};
struct mounts {
    struct mounts_entry *list;
    size_t count;
};
/* `text`: /proc/self/mountinfo.  Of two mounts at one path the one on top counts.  `root`: only
 * what is in this folder, as seen from there ("/" = everything); "/" is there in any case. */
int mounts_parse(const char *text, const char *root, struct arena *arena, struct mounts *ret,
                 struct err *err);

/* From here on, down to the next one, everything is read-only, or is as it was. */
struct mounts_rule {
    const char *path;
    bool read_only;
};
struct mounts_plan {
    const char **binds; /* these are mounted on themselves, in this order; then ... */
    size_t nbinds;
    struct mounts_entry *remounts; /* ... these are mounted again, with these flags and MS_RDONLY */
    size_t nremounts;
};
/* Sorts the rules.  Of two rules for one path "as it was" wins. */
int mounts_read_only(const struct mounts *mounts, struct mounts_rule *rules, size_t nrules,
                     struct arena *arena, struct mounts_plan *ret, struct err *err);

#endif
