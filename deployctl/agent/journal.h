/* journal.h - .deploy/journal: what was asked of this host and what happened, one JSON line per
 * act, numbered, each with the CRC-32 of what stands before it, fsynced before the answer.
 *
 * A last line without its newline was torn by a crash: it is cut.  A damaged line inside is kept,
 * counted and skipped.  Over JOURNAL_MAX the file becomes journal.1 (the one before is
 * dropped) and the new one begins with a snapshot of the memory of good and bad digests.
 */
#ifndef DEPLOYCTL_AGENT_JOURNAL_H
#define DEPLOYCTL_AGENT_JOURNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/plan/manifest.h"

enum {
    JOURNAL_MAX = 4 * 1024 * 1024,
    JOURNAL_READ_MAX = 16 * 1024 * 1024,
    JOURNAL_LINE_MAX = 1024 * 1024,
    JOURNAL_MARKS_MAX = 2000,
    JOURNAL_REASON_MAX = 200,
};

struct journal_mark {
    char digest[MANIFEST_HEX_MAX], id[MANIFEST_ID_MAX];
    bool bad; /* else good */
    char reason[JOURNAL_REASON_MAX];
    uint64_t n; /* of the line that said so: larger is later */
};
struct journal {
    int meta, fd;  /* fd -1 = not open for writing */
    uint64_t next; /* number of the next line */
    size_t bytes, damaged;
    size_t torn;                /* bytes of a torn last line, seen or cut */
    json_t *moved, *closed;     /* owned; the last lines that say so, NULL = none in this file */
    struct journal_mark *marks; /* owned; one per digest */
    size_t nmarks;
};

void journal_init(struct journal *journal);
void journal_done(struct journal *journal);
/* Reads memory and counters anew, changes nothing.  A missing file is an empty one. */
int journal_read(struct journal *journal, int meta, struct err *err);
/* For the holder of the lock: reads, cuts a torn line, opens for appending. */
int journal_open(struct journal *journal, int meta, struct err *err);
/* Appends {"n","at", members of line...,"crc32"} durably.  "act" "mark" and "snapshot" lines change
 * the memory. */
int journal_append(struct journal *journal, const json_t *line, struct err *err);
/* Newest first, at most `limit`, from this file and the one before; a new array. */
json_t *journal_history(const struct journal *journal, int meta, size_t limit);
/* What is remembered of a digest; NULL = nothing. */
const struct journal_mark *journal_find(const struct journal *journal, const char *digest);

#endif
