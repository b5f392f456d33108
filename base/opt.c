/* opt.c - the contract is in opt.h. */
#include "base/opt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/auto.h"
#include "base/near.h"
#include "base/signals.h"
#include "base/unit.h"

enum { TEXT_MAX = 256 };

static const struct {
    const char *name;
    size_t size; /* of the field; 0 = any */
} types[OPT_NTYPES] = {
    /* clang-format off */
    [OPT_BOOLEAN]  = { "boolean",           sizeof(bool) },
    [OPT_INTEGER]  = { "number",            sizeof(int64_t) },
    [OPT_OCTAL]    = { "octal number",      sizeof(int64_t) },
    [OPT_DURATION] = { "duration",          sizeof(int64_t) },
    [OPT_SIZE]     = { "size",              sizeof(int64_t) },
    [OPT_CHOICE]   = { "choice",            sizeof(int) },
    [OPT_SIGNAL]   = { "signal",            sizeof(int) },
    [OPT_TEXT]     = { "text",              sizeof(const char *) },
    [OPT_NAMES]    = { "list of names",     sizeof(struct opt_names) },
    [OPT_SHARE]    = { "percent or number", sizeof(struct unit_share) },
    [OPT_CUSTOM]   = { "text",              0 },
    /* clang-format on */
};

const char *opt_type_name(enum opt_type type)
{
    return (unsigned)type < OPT_NTYPES ? types[type].name : "unknown";
}

static bool has_range(const struct opt *row) { return row->min != 0 || row->max != 0; }

/* A number as a person would write it for this row. */
static void put_number(const struct opt *row, int64_t number, struct buf *out)
{
    char text[UNIT_TEXT_MAX];

    if (row->type == OPT_DURATION)
        buf_puts(out, unit_duration_text(number, text));
    else if (row->type == OPT_SIZE)
        buf_puts(out, unit_size_text(number, text));
    else if (row->type == OPT_OCTAL)
        buf_printf(out, "0%llo", (unsigned long long)number);
    else
        buf_printf(out, "%lld", (long long)number);
}

static void put_bounds(const struct opt *row, struct buf *out)
{
    bool bottom = row->min != INT64_MIN, top = row->max != INT64_MAX;

    if (!has_range(row) || (!bottom && !top))
        return;
    if (!top)
        buf_puts(out, "at least ");
    else if (!bottom)
        buf_puts(out, "at most ");
    if (bottom)
        put_number(row, row->min, out);
    if (bottom && top)
        buf_puts(out, " to ");
    if (top)
        put_number(row, row->max, out);
}

static void put_choices(const struct opt *row, struct buf *out)
{
    for (size_t i = 0; row->choices && row->choices[i]; i++)
        buf_printf(out, "%s%s", i ? ", " : "", row->choices[i]);
}

void opt_range_text(const struct opt *row, struct buf *out)
{
    switch (row->type) {
    case OPT_BOOLEAN:
        buf_puts(out, "true, false");
        break;
    case OPT_INTEGER:
    case OPT_OCTAL:
    case OPT_DURATION:
    case OPT_SIZE:
        put_bounds(row, out);
        break;
    case OPT_CHOICE:
        put_choices(row, out);
        break;
    case OPT_SIGNAL:
    case OPT_TEXT:
    case OPT_NAMES:
    case OPT_SHARE:
    case OPT_CUSTOM:
    case OPT_NTYPES:
        break;
    }
}

static int check_range(const struct opt *row, const char *text, int64_t number, struct err *err)
{
    if (!has_range(row) || (number >= row->min && number <= row->max))
        return 0;
    struct buf range;
    buf_init(&range, TEXT_MAX);
    put_bounds(row, &range);
    int rc =
        err_set(err, ERR_INVALID, "\"%.64s\" is out of range (must be %s)", text, buf_text(&range));
    buf_done(&range);
    return rc;
}

static int parse_number(const struct opt *row, const char *text, int64_t *field, struct err *err)
{
    int64_t number = 0;
    int rc;

    if (row->type == OPT_DURATION)
        rc = unit_duration(text, &number, err);
    else if (row->type == OPT_SIZE)
        rc = unit_size(text, &number, err);
    else
        rc = unit_integer(text, row->type == OPT_OCTAL ? 8 : 10, &number, err);
    if (rc == 0 && row->type == OPT_OCTAL && number < 0)
        rc = err_set(err, ERR_INVALID, "\"%.64s\" is not an octal number (try 022)", text);
    if (rc == 0)
        rc = check_range(row, text, number, err);
    if (rc == 0)
        *field = number;
    return rc;
}

static const char *choice_at(size_t i, const void *context)
{
    return ((const char *const *)context)[i];
}

static int parse_choice(const struct opt *row, const char *text, int *field, struct err *err)
{
    int count = 0;

    for (; row->choices && row->choices[count]; count++) {
        if (strcasecmp(row->choices[count], text) == 0) {
            *field = count;
            return 0;
        }
    }
    struct buf all;
    buf_init(&all, TEXT_MAX);
    put_choices(row, &all);
    const char *nearest = near_name(text, (size_t)count, choice_at, row->choices);
    int rc = nearest
                 ? err_set(err, ERR_INVALID, "\"%.64s\" is not one of %s (did you mean \"%s\"?)",
                           text, buf_text(&all), nearest)
                 : err_set(err, ERR_INVALID, "\"%.64s\" is not one of %s", text, buf_text(&all));
    buf_done(&all);
    return rc;
}

static int parse_names(const char *text, struct arena *arena, struct opt_names *field,
                       struct err *err)
{
    static const char between[] = ", \t\r\n";
    struct opt_names names = { 0 };

    for (const char *at = text; *(at += strspn(at, between)); at += strcspn(at, between))
        names.count++;
    AUTO_FREE char **list = calloc(names.count + 1, sizeof(*list));
    size_t i = 0;
    for (const char *at = text; list && *(at += strspn(at, between)); i++) {
        size_t len = strcspn(at, between);
        AUTO_FREE char *name = strndup(at, len);
        list[i] = name ? (char *)arena_share_text(arena, name) : NULL;
        if (!list[i])
            break;
        at += len;
    }
    if (list && i == names.count)
        names.names = (char **)arena_share(arena, list, (names.count + 1) * sizeof(*list));
    if (!names.names)
        return err_set(err, ERR_MEMORY, "out of memory");
    *field = names;
    return 0;
}

static int parse_text(const char *text, struct arena *arena, const char **field, struct err *err)
{
    if (*text == '\0') {
        *field = NULL;
        return 0;
    }
    const char *copy = arena_share_text(arena, text);
    if (!copy)
        return err_set(err, ERR_MEMORY, "out of memory");
    *field = copy;
    return 0;
}

static int parse_row(const struct opt *row, const char *text, struct arena *arena, void *field,
                     struct err *err)
{
    switch (row->type) {
    case OPT_BOOLEAN:
        return unit_boolean(text, field, err);
    case OPT_INTEGER:
    case OPT_OCTAL:
    case OPT_DURATION:
    case OPT_SIZE:
        return parse_number(row, text, field, err);
    case OPT_CHOICE:
        return parse_choice(row, text, field, err);
    case OPT_SIGNAL:
        return signals_parse(text, field, err);
    case OPT_TEXT:
        return parse_text(text, arena, field, err);
    case OPT_NAMES:
        return parse_names(text, arena, field, err);
    case OPT_SHARE:
        return unit_share(text, field, err);
    case OPT_CUSTOM:
        return row->parse(text, arena, field, err);
    case OPT_NTYPES:
        break;
    }
    return err_set(err, ERR_INVALID, "the row has no type");
}

/* A wrong row would write over its neighbours, so it is refused instead. */
static int set_field(const struct opt *row, const char *text, struct arena *arena, void *target,
                     struct err *err)
{
    bool known = (unsigned)row->type < OPT_NTYPES;
    size_t size = known ? types[row->type].size : 0;

    if (!known || row->size == 0 || (size && size != row->size) ||
        (row->type == OPT_CUSTOM && !row->parse))
        return err_set(err, ERR_STATE, "the row of %s does not fit its field", row->key);
    return parse_row(row, text, arena, (char *)target + row->offset, err);
}

int opt_defaults(const struct opt_table *table, struct arena *arena, void *target, struct err *err)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct opt *row = &table->rows[i];
        int rc = 0;
        if (row->initial)
            rc = set_field(row, row->initial, arena, target, err);
        else if (row->type == OPT_OCTAL)
            *(int64_t *)((char *)target + row->offset) = -1;
        if (rc < 0)
            return err_wrap(err, "default of [%s] %s", table->section, row->key);
    }
    return 0;
}

const struct opt *opt_find(const struct opt_table *table, const char *key)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->rows[i].key, key) == 0)
            return &table->rows[i];
    return NULL;
}

static const char *key_at(size_t i, const void *context)
{
    return ((const struct opt *)context)[i].key;
}

int opt_set(const struct opt_table *table, const char *key, const char *text, struct arena *arena,
            void *target, struct err *err)
{
    const struct opt *row = opt_find(table, key);

    if (row)
        return set_field(row, text, arena, target, err);
    const char *nearest = near_name(key, table->count, key_at, table->rows);
    if (nearest)
        return err_set(err, ERR_NOT_FOUND, "unknown key \"%.64s\" (did you mean \"%s\"?)", key,
                       nearest);
    return err_set(err, ERR_NOT_FOUND, "unknown key \"%.64s\"", key);
}

/* "duration, 1ms to 1h; default 10s" */
static void put_type(const struct opt *row, struct buf *out)
{
    struct buf range;

    buf_init(&range, TEXT_MAX);
    opt_range_text(row, &range);
    if (row->type == OPT_BOOLEAN)
        buf_puts(out, "true or false");
    else if (row->type == OPT_CHOICE)
        buf_printf(out, "one of %s", buf_text(&range));
    else
        buf_printf(out, "%s%s%s", opt_type_name(row->type), range.len ? ", " : "",
                   buf_text(&range));
    if (row->initial && *row->initial)
        buf_printf(out, "; default %s", row->initial);
    buf_done(&range);
}

static void print_row(const struct opt *row, struct buf *out)
{
    static const char margin[] = "    ";
    struct buf line;

    buf_init(&line, 4096);
    put_type(row, &line);
    buf_puts(out, margin);
    buf_wrap(out, buf_text(&line), strlen(margin), margin);
    if (row->help) {
        buf_puts(out, margin);
        buf_wrap(out, row->help, strlen(margin), margin);
    }
    buf_done(&line);
}

bool opt_print(const struct opt_table *table, const char *key, struct buf *out)
{
    const struct opt *row = key ? opt_find(table, key) : NULL;

    if (key && !row)
        return false;
    if (key) {
        buf_printf(out, "[%s] %s\n", table->section, row->key);
        print_row(row, out);
        return true;
    }
    buf_printf(out, "[%s]\n", table->section);
    if (table->help)
        buf_wrap(out, table->help, 0, "");
    for (size_t i = 0; i < table->count; i++) {
        buf_printf(out, "\n  %s\n", table->rows[i].key);
        print_row(&table->rows[i], out);
    }
    return true;
}

static void sample_comment(const char *text, struct buf *out)
{
    buf_puts(out, "; ");
    buf_wrap(out, text, 2, "; ");
}

/* ";key = value", each further line of the value commented out and indented too. */
static void sample_value(const struct opt *row, struct buf *out)
{
    const char *value = row->example ? row->example : row->initial;

    buf_printf(out, ";%s =", row->key);
    if (value && *value)
        buf_putc(out, ' ');
    for (; value && *value; value++) {
        buf_putc(out, *value);
        if (*value == '\n')
            buf_puts(out, ";    ");
    }
    buf_putc(out, '\n');
}

void opt_sample(const struct opt_table *table, struct buf *out)
{
    /* A section for each of many things would make one called NAME. */
    bool placeholder = strchr(table->section, ':') != NULL;
    struct buf type;

    if (table->help)
        sample_comment(table->help, out);
    buf_printf(out, "%s[%s]\n", placeholder ? ";" : "", table->section);
    buf_init(&type, 4096);
    for (size_t i = 0; i < table->count; i++) {
        buf_putc(out, '\n');
        if (table->rows[i].help)
            sample_comment(table->rows[i].help, out);
        buf_clear(&type);
        buf_putc(&type, '(');
        put_type(&table->rows[i], &type);
        buf_putc(&type, ')');
        sample_comment(buf_text(&type), out);
        sample_value(&table->rows[i], out);
    }
    buf_done(&type);
}
