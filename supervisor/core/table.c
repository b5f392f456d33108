/* table.c - the contract is in table.h. */
#include "supervisor/core/table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { GAP = 2, COLUMNS_MAX = 16, CUT_MIN = 8 };
static const char nothing[] = "-", cut_mark[] = "..";

void table_init(struct table *table, const struct table_column *columns, size_t ncolumns)
{
    memset(table, 0, sizeof *table);
    arena_init(&table->arena);
    table->columns = columns;
    table->ncolumns = ncolumns < COLUMNS_MAX ? ncolumns : COLUMNS_MAX;
}

void table_done(struct table *table)
{
    arena_done(&table->arena);
    free(table->cells);
    table->cells = NULL;
    table->ncells = table->cap = 0;
}

void table_add(struct table *table, const char *text, enum table_paint paint)
{
    if (table->ncells == table->cap) {
        size_t cap = table->cap ? table->cap * 2 : 64;
        struct table_cell *grown = reallocarray(table->cells, cap, sizeof *grown);
        if (!grown) {
            table->failed = true;
            return;
        }
        table->cells = grown;
        table->cap = cap;
    }
    const char *kept = text && *text ? arena_strdup(&table->arena, text) : nothing;
    table->failed |= !kept;
    table->cells[table->ncells++] = (struct table_cell){ kept ? kept : nothing, paint };
}

/* Characters that take a column: not the second and further bytes of UTF-8. */
static size_t columns_of(const char *text)
{
    size_t count = 0;

    for (size_t i = 0; text[i]; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

/* Bytes of the first `columns` characters. */
static size_t bytes_of(const char *text, size_t columns)
{
    size_t at = 0;

    while (text[at]) {
        bool first = ((unsigned char)text[at] & 0xc0) != 0x80;
        if (first && columns-- == 0)
            break;
        at++;
    }
    return at;
}

struct layout {
    size_t widths[COLUMNS_MAX]; /* 0 = left out */
    size_t last;                /* the last column that is shown */
};

static void measure(const struct table *table, size_t width, struct layout *layout)
{
    size_t total = 0;

    for (size_t c = 0; c < table->ncolumns; c++) {
        size_t most = 0;
        bool used = !table->columns[c].optional;

        for (size_t i = c; i < table->ncells; i += table->ncolumns) {
            size_t len = columns_of(table->cells[i].text);
            used |= strcmp(table->cells[i].text, nothing) != 0;
            most = len > most ? len : most;
        }
        size_t heading = strlen(table->columns[c].heading);
        layout->widths[c] = !used ? 0 : most > heading ? most : heading;
        if (used)
            layout->last = c;
        total += used ? layout->widths[c] + GAP : 0;
    }
    total -= total ? GAP : 0;
    if (width == 0 || total <= width)
        return;
    size_t over = total - width, *last = &layout->widths[layout->last];
    *last = *last > over + CUT_MIN ? *last - over : CUT_MIN < *last ? CUT_MIN : *last;
}

static void put_painted(struct buf *out, const char *text, size_t len, enum table_paint paint,
                        bool colour)
{
    static const char *const codes[TABLE_NPAINTS] = { [TABLE_GOOD] = "\033[32m",
                                                      [TABLE_WARN] = "\033[33m",
                                                      [TABLE_BAD] = "\033[31m",
                                                      [TABLE_DIM] = "\033[2m" };
    const char *code = colour ? codes[paint] : NULL;

    if (code)
        buf_puts(out, code);
    buf_put(out, text, len);
    if (code)
        buf_puts(out, "\033[0m");
}

void table_put(struct buf *out, const char *text, enum table_paint paint, bool colour)
{
    put_painted(out, text, strlen(text), paint, colour);
}

static void put_blanks(struct buf *out, size_t count)
{
    while (count-- > 0)
        buf_putc(out, ' ');
}

static void put_cell(const struct table *table, const struct layout *layout, size_t column,
                     const struct table_cell *cell, bool colour, struct buf *out)
{
    size_t width = layout->widths[column], len = columns_of(cell->text);
    bool last = column == layout->last, cut = len > width;
    size_t shown = cut ? width - strlen(cut_mark) : len;

    if (table->columns[column].right && !cut)
        put_blanks(out, width - len);
    put_painted(out, cell->text, bytes_of(cell->text, shown), cell->paint, colour);
    if (cut)
        buf_puts(out, cut_mark);
    else if (!last && !table->columns[column].right)
        put_blanks(out, width - len);
    if (!last)
        put_blanks(out, GAP);
}

void table_print(const struct table *table, size_t width, bool colour, struct buf *out)
{
    struct layout layout = { .last = 0 };

    measure(table, width, &layout);
    for (size_t c = 0; c < table->ncolumns; c++) {
        const struct table_cell heading = { table->columns[c].heading, TABLE_DIM };
        if (layout.widths[c])
            put_cell(table, &layout, c, &heading, colour, out);
    }
    buf_putc(out, '\n');
    for (size_t i = 0; table->ncolumns && i < table->ncells; i++) {
        size_t column = i % table->ncolumns;
        if (layout.widths[column])
            put_cell(table, &layout, column, &table->cells[i], colour, out);
        if (column == table->ncolumns - 1)
            buf_putc(out, '\n');
    }
}

bool table_colour(int fd)
{
    const char *no = getenv("NO_COLOR"), *terminal = getenv("TERM");

    return isatty(fd) && !(no && *no) && !(terminal && strcmp(terminal, "dumb") == 0);
}

size_t table_width(int fd)
{
    struct winsize size;

    if (!isatty(fd))
        return 0;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}
