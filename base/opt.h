/* opt.h - one table of options drives parsing, defaults, ranges, "did you mean", listings.
 *
 * A row names a key, its type, where the value goes in a struct, its default as text (parsed by
 * the same code) and its help.  supervisor options, deployctl options, the commented sample
 * file and the manual pages are printed from the rows.
 */
#ifndef BASE_OPT_H
#define BASE_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum opt_type {
    OPT_BOOLEAN,  /* bool */
    OPT_INTEGER,  /* int64_t, min..max */
    OPT_OCTAL,    /* int64_t, e.g. umask; -1 when unset */
    OPT_DURATION, /* int64_t, milliseconds, min..max */
    OPT_SIZE,     /* int64_t, bytes, min..max */
    OPT_CHOICE,   /* int, index into choices */
    OPT_SIGNAL,   /* int */
    OPT_TEXT,     /* const char * as written, quotes too; NULL when unset or empty */
    OPT_NAMES,    /* struct opt_names: words separated by blanks, commas or newlines */
    OPT_SHARE,    /* struct unit_share: "25%" or "3" */
    OPT_CUSTOM,   /* parsed by row->parse */
    OPT_NTYPES
};

struct opt_names {
    char **names; /* NULL-terminated, in the arena, shared with equal ones: not to be changed */
    size_t count;
};

struct opt {
    const char *key;
    enum opt_type type;
    size_t offset; /* OPT_FIELD(struct x, member) sets offset and size */
    size_t size;
    const char *initial;        /* default as text; NULL = unset (field keeps its zero) */
    int64_t min, max;           /* both 0 = no range */
    const char *const *choices; /* NULL-terminated */
    /* For OPT_CUSTOM: writes to `field`. */
    int (*parse)(const char *text, struct arena *arena, void *field, struct err *err);
    const char *help;    /* one or two sentences, ending with a full stop */
    const char *example; /* for the sample file; NULL = the default */
    unsigned flags;      /* meaning belongs to the table's owner */
};
#define OPT_FIELD(type, member)                                                                    \
    .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)

struct opt_table {
    const char *section; /* "service:NAME", as shown to people */
    const char *help;    /* one sentence on the section */
    const struct opt *rows;
    size_t count;
};

/* Fills every field of `target` that has a default.  Fails only on memory or a wrong table. */
int opt_defaults(const struct opt_table *table, struct arena *arena, void *target, struct err *err);

/* Parses `text` for `key` into target.  ERR_NOT_FOUND: unknown key, the message names the
 * nearest one; ERR_INVALID: the message says what was wrong and what would be right.  The key
 * itself is not in front of that message: the caller knows file, line, section and key.  On
 * failure the field keeps its value. */
int opt_set(const struct opt_table *table, const char *key, const char *text, struct arena *arena,
            void *target, struct err *err);

const struct opt *opt_find(const struct opt_table *table, const char *key); /* or NULL */
const char *opt_type_name(enum opt_type type); /* "duration", "boolean", ... */
/* The allowed values in words: "true, false", "1ms to 1h", "stop-first, overlap". */
void opt_range_text(const struct opt *row, struct buf *out);
/* One block per row for `options` output; `key` NULL = all.  False if no row has that key. */
bool opt_print(const struct opt_table *table, const char *key, struct buf *out);
/* The section as a commented sample file: every key with help, default commented out.  The
 * header is commented out too where it is only a pattern ("service:NAME"). */
void opt_sample(const struct opt_table *table, struct buf *out);

#endif
