/* cmd_why.c - supervisor why: why is it down, or was it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/jsonx.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/story.h"
#include "supervisor/cli/tail.h"
#include "supervisor/core/table.h"

enum {
    OUT_MAX = 64 * 1024 * 1024,
    OUTPUT_LINES = 20,
    LINE_SHOWN = 1000, /* bytes of each */
    OUTPUT_MAX = OUTPUT_LINES * (LINE_SHOWN + 1) + 1,
};

/* What is in the files, also in old and compressed ones; the core has looked at the newest only.
 * Whoever may not read them keeps what the core said. */
static void look_into(json_t *row, const char *log_key, const char *output_key)
{
    const char *path = jsonx_text(row, log_key, NULL), *line;
    struct err err = { 0 };
    struct tail tail;
    struct buf text;
    size_t len;

    if (!path)
        return;
    tail_init(&tail, path);
    buf_init(&text, OUTPUT_MAX);
    if (tail_from_end(&tail, OUTPUT_LINES, &err) == 0)
        while (tail_next(&tail, &line, &len, &err) > 0 || tail_rest(&tail, &line, &len)) {
            buf_put(&text, line, len > LINE_SHOWN ? LINE_SHOWN : len);
            buf_putc(&text, '\n');
        }
    if (text.len > 0)
        jsonx_set_text(row, output_key, buf_text(&text));
    buf_done(&text);
    tail_done(&tail);
}

static int print_stories(const json_t *instances)
{
    struct buf out;
    json_t *row;
    size_t i;

    buf_init(&out, OUT_MAX);
    json_array_foreach((json_t *)instances, i, row)
    {
        if (i > 0)
            buf_puts(&out, "\n\n");
        story_print(row, clock_wall_us(), table_colour(STDOUT_FILENO), &out);
    }
    int code = client_print(buf_text(&out));
    buf_done(&out);
    return code;
}

int cmd_why(struct cli *cli)
{
    json_t *answer, *row;
    size_t i;

    int code = client_call(cli, "why", json_pack("{s:o}", "names", client_names(cli)),
                           CLIENT_READ_MS, &answer);
    if (code != CLIENT_OK)
        return code;
    json_array_foreach(json_object_get(answer, "instances"), i, row)
    {
        look_into(row, "log", "output");
        look_into(row, "stderr_log", "stderr_output");
    }
    code = cli_flag(cli, "json") ? client_print_json(answer)
                                 : print_stories(json_object_get(answer, "instances"));
    json_decref(answer);
    return code;
}
