/* cmd_options.c - supervisor options: every key of every section, from the same tables that parse
 * them. */
#include <string.h>

#include "base/near.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/plan/options.h"
#include "supervisor/plan/sample.h"

enum { OUT_MAX = 1024 * 1024, KEYS_MAX = 512 };

struct keys {
    const char *names[KEYS_MAX];
    size_t count;
};

static const char *key_at(size_t i, const void *context)
{
    return ((const struct keys *)context)->names[i];
}

static void collect(struct keys *keys)
{
    for (size_t t = 0; options_all[t]; t++)
        for (size_t i = 0; i < options_all[t]->count && keys->count < KEYS_MAX; i++)
            keys->names[keys->count++] = options_all[t]->rows[i].key;
}

static int unknown(const char *key)
{
    struct keys keys = { .count = 0 };

    collect(&keys);
    const char *near = near_name(key, keys.count, key_at, &keys);
    client_say("no section has a key \"%s\"%s%s%s; \"supervisor options\" lists them all", key,
               near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
    return CLIENT_UNKNOWN;
}

static void put_more(const char *key, struct buf *out)
{
    static const char margin[] = "    ";
    const char *program = options_program_initial(key);

    if (program)
        buf_printf(out, "%sIn [program:NAME] the default is %s.\n", margin, program);
    buf_puts(out, margin);
    buf_wrap(out, options_takes(opt_find(&options_service, key)), strlen(margin), margin);
}

static bool put_key(const char *key, struct buf *out)
{
    bool found = false;

    for (size_t i = 0; options_all[i]; i++) {
        if (!opt_find(options_all[i], key))
            continue;
        if (found)
            buf_putc(out, '\n');
        found = opt_print(options_all[i], key, out);
        if (options_all[i] == &options_service)
            put_more(key, out);
    }
    return found;
}

static void put_all(struct buf *out)
{
    for (size_t i = 0; options_all[i]; i++) {
        if (i > 0)
            buf_puts(out, "\n\n");
        opt_print(options_all[i], NULL, out);
    }
}

int cmd_options(struct cli *cli)
{
    struct buf out;
    int code;

    buf_init(&out, OUT_MAX);
    if (cli_flag(cli, "sample")) {
        code = sample_write(&out) ? client_print(buf_text(&out)) : CLIENT_FAILED;
    } else if (cli->nwords == 0) {
        put_all(&out);
        code = client_print(buf_text(&out));
    } else {
        code = put_key(cli->words[0], &out) ? client_print(buf_text(&out)) : unknown(cli->words[0]);
    }
    buf_done(&out);
    return code;
}
