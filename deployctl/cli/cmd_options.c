/* cmd_options.c - deployctl options. */
#include <stdio.h>

#include "base/buf.h"
#include "deployctl/cli/app.h"
#include "deployctl/cli/commands.h"

enum { TEXT_MAX = 1024 * 1024 };

int cmd_options_run(struct cli *cli)
{
    const char *key = cli->nwords ? cli->words[0] : NULL;
    bool found = false;
    struct buf text;
    buf_init(&text, TEXT_MAX);
    for (size_t i = 0; recipe_tables[i]; i++) {
        if (text.len > 0 && !key)
            buf_puts(&text, "\n");
        found = opt_print(recipe_tables[i], key, &text) || found;
    }
    fputs(buf_text(&text), stdout);
    buf_done(&text);
    if (!found)
        app_error("there is no key %s in deploy.ini; `deployctl options` lists all", key);
    return found ? APP_DONE : APP_USAGE;
}
