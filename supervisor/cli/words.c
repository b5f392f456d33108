/* words.c - the contract is in words.h. */
#include "supervisor/cli/words.h"

#include <string.h>

#include "base/accounts.h"
#include "io/jsonx.h"

static const char indent[] = "    ";

void words_put_output(struct buf *out, const char *text)
{
    bool begin = true;

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (begin)
            buf_puts(out, indent);
        begin = c == '\n';
        buf_putc(out, (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ? '?' : (char)c);
    }
    if (!begin)
        buf_putc(out, '\n');
}

/* Absent: not so.  Null: the host killed somebody meanwhile, the kernel does not say whom. */
static void put_oom(struct buf *out, const json_t *exit)
{
    const json_t *oom = json_object_get(exit, "oom");

    if (json_is_true(oom))
        buf_puts(out, ", killed by the kernel: out of memory");
    else if (json_is_null(oom))
        buf_puts(out, ", perhaps out of memory: the kernel killed somebody on this host");
}

void words_put_user(struct buf *out, int64_t uid)
{
    char space[ACCOUNTS_ENTRY_BYTES];
    struct passwd pw, *user = NULL;

    if (accounts_file_user("/etc/passwd", NULL, (uid_t)uid, &pw, space, sizeof space, &user) == 0 &&
        user)
        buf_puts(out, user->pw_name);
    else
        buf_printf(out, "uid %lld", (long long)uid);
}

void words_put_exit(struct buf *out, const json_t *exit)
{
    const char *signal = jsonx_text(exit, "signal", NULL);
    const char *error = jsonx_text(exit, "error", NULL);

    if (error)
        buf_printf(out, "could not start (%s): %s", jsonx_text(exit, "step", "?"), error);
    else if (signal)
        buf_printf(out, "signal %s%s", signal,
                   jsonx_bool(exit, "core", false) ? " (core dumped)" : "");
    else if (json_is_integer(json_object_get(exit, "code")))
        buf_printf(out, "code %lld", (long long)jsonx_int(exit, "code", 0));
    else
        buf_puts(out, "in an unknown way (the kernel told nobody)");
    put_oom(out, exit);
}
