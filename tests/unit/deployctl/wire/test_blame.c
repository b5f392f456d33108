/* test_blame.c - what ssh and shells say becomes a sentence with a remedy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>

#include "deployctl/wire/blame.h"

static const struct {
    struct blame in;
    enum err_code code;
    const char *says;
} rows[] = {
    /* clang-format off */
    { { .exited = true, .code = 255, .errors = "@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n"
        "Host key verification failed.\r\n" }, ERR_DENIED, "ssh-keygen -R web1" },
    { { .exited = true, .code = 255, .errors = "No ED25519 host key is known for web1 and you have requested "
        "strict checking.\nHost key verification failed.\n" }, ERR_DENIED, "not known here" },
    { { .exited = true, .code = 255, .errors = "root@web1: Permission denied (publickey).\n" },
      ERR_DENIED, "`ssh -l deploy web1 -o BatchMode=yes true`" },
    { { .exited = true, .code = 255, .errors = "@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @\n"
        "Load key \"id\": bad permissions\nroot@web1: Permission denied (publickey).\n" },
      ERR_DENIED, "chmod 600" },
    { { .exited = true, .code = 255, .errors = "no such identity: /k/id: No such file or directory\n"
        "root@web1: Permission denied (publickey).\n" }, ERR_DENIED, "correct IdentityFile" },
    { { .exited = true, .code = 255, .errors = "Load key \"/k/id\": Permission denied\n"
        "root@web1: Permission denied (publickey).\n" }, ERR_DENIED, "cannot be read here" },
    { { .exited = true, .code = 255, .errors = "ssh: Could not resolve hostname web1: Name or service not known" },
      ERR_UNREACHABLE, "cannot be resolved" },
    { { .exited = true, .code = 255, .errors = "ssh: connect to host web1 port 22: Connection refused\n" },
      ERR_UNREACHABLE, "refuses connections" },
    { { .exited = true, .code = 255, .errors = "ssh: connect to host web1 port 22: Connection timed out\n" },
      ERR_TIMEOUT, "does not answer" },
    { { .exited = true, .code = 255, .errors = "kex_exchange_identification: Connection closed by remote host\n"
        "Connection closed by 10.0.0.1 port 22\n" }, ERR_UNREACHABLE, "MaxStartups" },
    { { .exited = true, .code = 127, .errors = "sh: 1: exec: /usr/local/bin/deployctl: not found\n" },
      ERR_NOT_FOUND, "there is no /usr/local/bin/deployctl on web1; `deployctl bootstrap web1`" },
    { { .exited = true, .code = 1, .errors = "/usr/local/bin/deployctl: Command not found.\n" },
      ERR_NOT_FOUND, "`deployctl bootstrap web1`" },
    { { .exited = true, .code = 126, .errors = "" }, ERR_NOT_FOUND, "architecture" },
    { { .exited = true, .code = 0, .noise = "\n\nWelcome to web1\nbye\n" },
      ERR_PROTOCOL, "\"Welcome to web1\"" },
    { { .timed_out = true, .timeout_ms = 10000 }, ERR_TIMEOUT, "said nothing for 10 s" },
    { { .exited = true, .code = 255, .opened = true, .errors = "Timeout, server web1 not responding.\n" },
      ERR_UNREACHABLE, "was lost: Timeout, server web1 not responding" },
    { { .exited = false, .code = SIGKILL, .opened = true, .local = true }, ERR_UNREACHABLE, "SIGKILL" },
    { { .exited = true, .code = 0 }, ERR_UNREACHABLE, "before saying anything" },
    /* clang-format on */
};

static void each_failure_is_named(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct blame in = rows[i].in;
        struct err err = { 0 };
        in.host = "web1";
        in.login = "ssh -l deploy web1";
        in.remote_path = "/usr/local/bin/deployctl";
        in.reason = "end of file";
        if (in.noise == NULL)
            in.noise = "";
        if (in.errors == NULL)
            in.errors = "";
        blame_close(&in, &err);
        if (err.code != rows[i].code || strstr(err.text, rows[i].says) == NULL) {
            print_error("row %zu: %d \"%s\"\n", i, err.code, err.text);
            fail();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_failure_is_named) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
