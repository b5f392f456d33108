/* table.h - columns that line up. */
#ifndef DEPLOYCTL_CLI_TABLE_H
#define DEPLOYCTL_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

enum { TABLE_COLUMNS_MAX = 10 };
struct table {
    struct arena arena;
    const char **cells; /* rows one after another */
    size_t columns, count, cap;
};
void table_init(struct table *table, size_t columns);
void table_done(struct table *table);
void table_put(struct table *table, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* To stdout; the first row is the head.  The last column is not padded. */
void table_print(const struct table *table);

#endif
