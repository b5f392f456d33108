/* evidence_words.c - the contract is in evidence_words.h. */
#include "supervisor/cli/evidence_words.h"

#include <string.h>

#include "base/when.h"
#include "io/jsonx.h"

static void put_list(const json_t *list, const char *between, struct buf *out)
{
    size_t i;
    json_t *word;

    json_array_foreach((json_t *)list, i, word)
    {
        const char *text = json_string_value(word);
        buf_printf(out, "%s%s", i > 0 ? between : "", text ? text : "?");
    }
}

static void put_signal(const json_t *row, struct buf *out)
{
    const char *does = jsonx_text(row, "stop_signal", "default");

    if (strcmp(does, "ignored") == 0)
        buf_puts(out, "; it IGNORES the stop signal");
    else if (strcmp(does, "blocked") == 0)
        buf_puts(out, "; it BLOCKS the stop signal");
    else if (strcmp(does, "caught") == 0)
        buf_puts(out, "; it handles the stop signal");
    if (jsonx_bool(row, "stop_signal_pending", false))
        buf_puts(out, ", one is waiting for it");
}

static void put_fds(const json_t *row, struct buf *out)
{
    const json_t *files = json_object_get(row, "files");
    size_t i;
    json_t *file;

    if (!json_is_integer(json_object_get(row, "fds")))
        return;
    buf_printf(out, "        open: %lld descriptors, %lld sockets, %lld pipes",
               (long long)jsonx_int(row, "fds", 0), (long long)jsonx_int(row, "sockets", 0),
               (long long)jsonx_int(row, "pipes", 0));
    json_array_foreach((json_t *)files, i, file)
        buf_printf(out, "%s%s", i > 0 ? ", " : "; ", jsonx_text(file, "path", "?"));
    buf_putc(out, '\n');
}

static void put_process(const json_t *row, struct buf *out)
{
    const json_t *stack = json_object_get(row, "stack");
    const json_t *threads = json_object_get(row, "threads_in");

    buf_printf(out, "      pid %lld %s: %s", (long long)jsonx_int(row, "pid", 0),
               jsonx_text(row, "comm", "?"), jsonx_text(row, "state", "?"));
    if (jsonx_text(row, "wchan", NULL))
        buf_printf(out, " in %s", jsonx_text(row, "wchan", ""));
    if (jsonx_int(row, "rss_kb", 0) > 0)
        buf_printf(out, ", %lld KB", (long long)jsonx_int(row, "rss_kb", 0));
    put_signal(row, out);
    buf_putc(out, '\n');
    if (json_array_size(stack) > 0) {
        buf_puts(out, "        stack: ");
        put_list(stack, " < ", out);
        buf_putc(out, '\n');
    }
    if (json_array_size(threads) > 0) {
        buf_printf(out,
                   "        %lld threads, others in: ", (long long)jsonx_int(row, "threads", 0));
        put_list(threads, ", ", out);
        buf_putc(out, '\n');
    }
    put_fds(row, out);
}

void evidence_words_put(const json_t *event, int64_t now_us, struct buf *out)
{
    const json_t *rows = json_object_get(event, "processes");
    char clock[WHEN_TEXT_MAX];
    int64_t at = 0, all = jsonx_int(event, "in_all", 0);
    size_t i;
    json_t *row;

    if (!when_parse(jsonx_text(event, "at", ""), &at))
        at = 0;
    buf_printf(out, "    %s  %s\n", when_clock(at, now_us, clock), jsonx_text(event, "why", ""));
    json_array_foreach((json_t *)rows, i, row) put_process(row, out);
    if (all > (int64_t)json_array_size(rows))
        buf_printf(out, "      and %lld more\n", (long long)(all - (int64_t)json_array_size(rows)));
}
