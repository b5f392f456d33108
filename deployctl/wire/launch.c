/* launch.c - the contract is in launch.h. */
#include "deployctl/wire/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/auto.h"

enum { SSH_WORDS_MAX = 64 };

/* Flags whose values the target may have. */
static size_t put_optional(struct arena *arena, const struct transport_target *target, char **argv,
                           size_t n, const char **ret_login)
{
    const struct {
        const char *flag, *value;
    } optional[] = { { "-F", target->ssh_config }, { "-l", target->user }, { "-p", target->port } };
    const char *login = "ssh";
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++) {
        if (optional[i].value == NULL || optional[i].value[0] == '\0')
            continue;
        login = arena_printf(arena, "%s %s %s", login, optional[i].flag, optional[i].value);
        argv[n++] = arena_strdup(arena, optional[i].flag);
        argv[n++] = arena_strdup(arena, optional[i].value);
    }
    *ret_login = login;
    return n;
}

char **launch_ssh_words(struct arena *arena, const struct transport_target *target,
                        const char *command, const char **ret_login, struct err *err)
{
    char **argv = arena_array(arena, SSH_WORDS_MAX, sizeof *argv);
    size_t n = 0;
    if (argv == NULL)
        return NULL;
    const char *fixed[] = { "ssh", "-T",
                            "-o",  "BatchMode=yes",
                            "-o",  "ServerAliveInterval=5",
                            "-o",  "ServerAliveCountMax=3",
                            "-o" };
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        argv[n++] = arena_strdup(arena, fixed[i]);
    argv[n++] = arena_printf(arena, "ConnectTimeout=%lld",
                             (long long)((target->connect_timeout_ms + 999) / 1000));
    n = put_optional(arena, target, argv, n, ret_login);
    for (const char *const *o = target->ssh_options; o != NULL && *o != NULL; o++) {
        if (n + 5 > SSH_WORDS_MAX) {
            err_set(err, ERR_LIMIT, "too many ssh_options");
            return NULL;
        }
        argv[n++] = arena_strdup(arena, "-o");
        argv[n++] = arena_strdup(arena, *o);
    }
    argv[n++] = arena_strdup(arena, "--");
    argv[n++] = arena_strdup(arena, target->address);
    *ret_login = arena_printf(arena, "%s %s", *ret_login, target->address);
    argv[n++] = arena_strdup(arena, command);
    return argv;
}

static int start_child(struct children *children, const char *program, char **argv,
                       const struct child_fd fds[static 3], children_fn *fn, void *context,
                       pid_t *ret_pid, struct err *err)
{
    struct child_report report = { 0 };
    struct child_spec spec = {
        .path = program,
        .argv = argv,
        .envp = environ,
        .fds = fds,
        .nfds = 3,
        .directory_fd = -1,
        .umask = -1,
        .new_session = true, /* a Ctrl-C is for deployctl, which tells the agents itself */
        .share_memory = true,
        .report = &report,
    };
    int rc = children_start(children, &spec, fn, context, ret_pid, err);
    if (rc == 0 && report.error != 0)
        rc = err_sys(err, report.error, "starting %s: %s", program,
                     child_step_name((enum child_step)report.step));
    return rc;
}

static void close_pair(int pair[2])
{
    auto_close_(&pair[0]);
    auto_close_(&pair[1]);
}

int launch(struct children *children, const char *program, char **argv, children_fn *fn,
           void *context, struct launched *ret, struct err *err)
{
    int in[2] = { -1, -1 }, out[2] = { -1, -1 }, errors[2] = { -1, -1 };
    int rc = 0;
    *ret = (struct launched){ .in = -1, .out = -1, .errors = -1 };
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(errors, O_CLOEXEC) < 0)
        rc = err_sys(err, errno, "making pipes for %s", program);
    if (rc == 0) {
        const struct child_fd fds[] = { { in[0], 0 }, { out[1], 1 }, { errors[1], 2 } };
        rc = start_child(children, program, argv, fds, fn, context, &ret->pid, err);
    }
    if (rc == 0) {
        ret->in = take_fd(&in[1]);
        ret->out = take_fd(&out[0]);
        ret->errors = take_fd(&errors[0]);
    }
    close_pair(in);
    close_pair(out);
    close_pair(errors);
    return rc;
}

char *launch_find_ssh(struct err *err)
{
    char *program = child_find("ssh", environ, err);
    if (program == NULL)
        err_wrap(err, "install an ssh client (openssh-client)");
    return program;
}
