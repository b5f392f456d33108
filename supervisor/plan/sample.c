/* sample.c - the contract is in sample.h. */
#include "supervisor/plan/sample.h"

#include <string.h>

#include "supervisor/plan/options.h"

enum { TEXT_MAX = 4096 };

static const char head[] =
    "Every section and key of the supervisor's configuration, with defaults and examples. "
    "All of it is commented out: remove the ; in front of a [section] and of the keys that are "
    "wanted. Comments begin with ; or #, at the start of a line or after a blank. Durations: "
    "500ms 10s 5m 2h 1d, a bare number is seconds. Sizes: KB MB GB. %(program_name)s, "
    "%(process_num)d, %(port)d, %(here)s, %(host_node_name)s, %(group_name)s, %(numprocs)d, "
    "%(ENV_X)s and, "
    "for services with a release, %(release_dir)s and %(release_id)s stand for what they say; "
    "%% is a percent sign. [program:NAME] takes the same keys as [service:NAME], with the "
    "defaults of supervisord.";

static void put_comment(struct buf *out, const char *text)
{
    buf_puts(out, "; ");
    buf_wrap(out, text, strlen("; "), "; ");
}

/* What people replace; the names fit those of the examples in the tables. */
static const char *example_name(const struct opt_table *table)
{
    if (table == &options_service)
        return "service:example";
    if (table == &options_socket)
        return "socket:web";
    if (table == &options_group)
        return "group:site";
    if (table == &options_access)
        return "access:deploy";
    return table->section;
}

static void put_type(const struct opt *row, struct buf *out)
{
    struct buf line, range;

    buf_init(&line, TEXT_MAX);
    buf_init(&range, TEXT_MAX);
    opt_range_text(row, &range);
    buf_printf(&line, "(%s%s%s", opt_type_name(row->type), range.len ? ": " : "", buf_text(&range));
    if (row->initial)
        buf_printf(&line, "; default %s", row->initial);
    const char *program = options_program_initial(row->key);
    if (program)
        buf_printf(&line, ", in [program:] %s", program);
    buf_putc(&line, ')');
    put_comment(out, buf_text(&line));
    buf_done(&range);
    buf_done(&line);
}

static void put_table(const struct opt_table *table, struct buf *out)
{
    buf_puts(out, "\n\n");
    put_comment(out, table->help);
    buf_printf(out, ";[%s]\n", example_name(table));
    for (size_t i = 0; i < table->count; i++) {
        const struct opt *row = &table->rows[i];
        const char *value = row->example ? row->example : row->initial;
        buf_putc(out, '\n');
        put_comment(out, row->help);
        put_type(row, out);
        buf_printf(out, ";%s = %s\n", row->key, value ? value : "");
    }
}

/* The services that the examples above name, so that all of it can be uncommented together. */
static void put_others(struct buf *out)
{
    static const char *const others[] = { "database", "cache", "migrate", "frontend" };

    buf_puts(out, "\n\n");
    put_comment(out, "The other services that the examples above name.");
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        buf_printf(out, ";[service:%s]\n;command = /usr/bin/%s\n", others[i], others[i]);
}

bool sample_write(struct buf *out)
{
    put_comment(out, head);
    for (size_t i = 0; options_all[i]; i++)
        put_table(options_all[i], out);
    put_others(out);
    return !out->failed;
}
