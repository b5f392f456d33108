/* manual.h - manual pages (mdoc) made from the tables that parse.
 *
 * A page is what a program knows of itself anyway: commands with their options, or sections with
 * their keys; around it comes the text that only a manual has.
 */
#ifndef BASE_MANUAL_H
#define BASE_MANUAL_H

#include "base/buf.h"
#include "base/cli.h"
#include "base/opt.h"

struct manual_part {
    const char *heading; /* "FILES" */
    const char *mdoc;    /* lines of mdoc, as they are */
};
struct manual {
    const char *name;                 /* "supervisor.ini" */
    const char *section;              /* "5" */
    const char *summary;              /* one line, small letters, no stop */
    const char *description;          /* paragraphs with empty lines between them */
    const struct manual_part *before; /* parts in front of the tables, up to one without heading */
    const struct manual_part *after;
};

/* NAME, SYNOPSIS, DESCRIPTION, COMMANDS (with help and options of each that is not hidden). */
void manual_commands(const struct manual *manual, const struct cli_program *program,
                     struct buf *out);
/* NAME, DESCRIPTION, and a section for each table (NULL-terminated) with all keys.  `note` adds
 * words to a row, such as what a reload does; NULL = nothing. */
typedef void manual_note_fn(const struct opt_table *table, const struct opt *row, struct buf *out);
void manual_options(const struct manual *manual, const struct opt_table *const *tables,
                    manual_note_fn *note, struct buf *out);

#endif
