/* table.h - aligned columns for people: as narrow as the text allows, colours only when asked. */
#ifndef SUPERVISOR_CORE_TABLE_H
#define SUPERVISOR_CORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"

enum table_paint { TABLE_PLAIN, TABLE_GOOD, TABLE_WARN, TABLE_BAD, TABLE_DIM, TABLE_NPAINTS };

struct table_column {
    const char *heading;
    bool right;    /* numbers */
    bool optional; /* left out when no row has anything in it */
};
struct table_cell {
    const char *text;
    enum table_paint paint;
};
struct table {
    struct arena arena; /* owns the texts */
    const struct table_column *columns;
    size_t ncolumns;
    struct table_cell *cells; /* owned; row after row */
    size_t ncells, cap;
    bool failed; /* memory ran out: some cells are missing */
};

void table_init(struct table *table, const struct table_column *columns, size_t ncolumns);
void table_done(struct table *table);
/* The next cell, from left to right, row after row.  NULL or "" is shown as "-". */
void table_add(struct table *table, const char *text, enum table_paint paint);
/* `width` 0 = any; otherwise the last column is cut so that lines fit, as far as that helps. */
void table_print(const struct table *table, size_t width, bool colour, struct buf *out);
/* Text in a colour, or plain. */
void table_put(struct buf *out, const char *text, enum table_paint paint, bool colour);

/* Of a stream: colours on a terminal unless NO_COLOR is set; its columns, 0 when it is none. */
bool table_colour(int fd);
size_t table_width(int fd);

#endif
