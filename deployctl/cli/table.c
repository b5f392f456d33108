/* table.c - the contract is in table.h. */
#include "deployctl/cli/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELL_MAX = 1024 };

void table_init(struct table *table, size_t columns)
{
    memset(table, 0, sizeof *table);
    arena_init(&table->arena);
    table->columns = columns;
}

void table_done(struct table *table)
{
    arena_done(&table->arena);
    free(table->cells);
    table->cells = NULL;
    table->count = table->cap = 0;
}

void table_put(struct table *table, const char *fmt, ...)
{
    char text[CELL_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (char *at = text; *at; at++) /* what hosts say must not act on the terminal */
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    if (table->count == table->cap) {
        size_t cap = table->cap ? table->cap * 2 : 64;
        const char **more = realloc(table->cells, cap * sizeof *more);
        if (!more)
            return;
        table->cells = more;
        table->cap = cap;
    }
    const char *copy = arena_strdup(&table->arena, text);
    table->cells[table->count++] = copy ? copy : "";
}

void table_print(const struct table *table)
{
    size_t width[TABLE_COLUMNS_MAX] = { 0 };
    for (size_t i = 0; i < table->count; i++) {
        size_t len = strlen(table->cells[i]);
        if (len > width[i % table->columns])
            width[i % table->columns] = len;
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % table->columns;
        if (column + 1 == table->columns)
            printf("%s\n", table->cells[i]);
        else
            printf("%-*s  ", (int)width[column], table->cells[i]);
    }
}
