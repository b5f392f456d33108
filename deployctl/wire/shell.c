/* shell.c - the contract is in shell.h. */
#include "deployctl/wire/shell.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "deployctl/wire/blame.h"
#include "deployctl/wire/launch.h"
#include "io/stream.h"

enum { ERRORS_MAX = 16 * 1024, LAST_WORDS_MS = 1000 };

struct shell {
    struct loop *loop;
    struct children *children;
    struct shell_events events;
    void *context;
    struct arena arena;
    const char *host, *login, *mark, *user;
    bool sudo;
    struct stream *stream, *errors; /* NULL once closed */
    struct loop_timer *timer;
    struct buf said, error_text;
    pid_t pid; /* 0 once reaped */
    bool exited, opened, running, timed_out, closed_told;
    int code;
    int64_t timeout_ms;
    char reason[64];
    unsigned busy; /* inside callbacks of the owner */
    bool freed;
};

static void release(struct shell *shell)
{
    stream_free(shell->stream);
    stream_free(shell->errors);
    loop_timer_free(shell->timer);
    if (shell->pid > 0)
        children_end(shell->children, shell->pid);
    buf_done(&shell->said);
    buf_done(&shell->error_text);
    arena_done(&shell->arena);
    free(shell);
}

static void leave(struct shell *shell)
{
    if (--shell->busy == 0 && shell->freed)
        release(shell);
}

/* --- the end -------------------------------------------------------------------------------- */

/* What sudo says when it does not let us. */
static bool sudo_failed(const struct shell *shell, struct err *err)
{
    const char *says = buf_text(&shell->error_text);
    if (!shell->sudo || shell->opened)
        return false;
    if (strstr(says, "sudo: not found") != NULL ||
        strstr(says, "sudo: command not found") != NULL ||
        strstr(says, "sudo: Command not found") != NULL || (shell->exited && shell->code == 127))
        err_set(err, ERR_NOT_FOUND, "there is no sudo on %s; log in as root: `--user root`",
                shell->host);
    else if (strstr(says, "password is required") != NULL || strstr(says, "a terminal") != NULL)
        err_set(
            err, ERR_DENIED,
            "sudo on %s wants a password, and there is nobody to type it; allow %s sudo without "
            "one for this (NOPASSWD: ALL, in /etc/sudoers.d), or use `--user root`",
            shell->host, shell->user);
    else if (strstr(says, "sudo") != NULL)
        err_set(err, ERR_DENIED, "sudo on %s refuses: %.200s", shell->host, says);
    else
        return false;
    return true;
}

static void tell_close(struct shell *shell)
{
    struct err err = { 0 };
    if (shell->closed_told)
        return;
    shell->closed_told = true;
    loop_timer_disarm(shell->timer);
    struct blame blame = {
        .host = shell->host,
        .remote_path = "sh",
        .login = shell->login,
        .noise = "",
        .errors = buf_text(&shell->error_text),
        .reason = shell->reason,
        .opened = shell->opened,
        .timed_out = shell->timed_out,
        .timeout_ms = shell->timeout_ms,
        .exited = shell->exited,
        .code = shell->code,
    };
    if (shell->opened && shell->timed_out)
        err_set(&err, ERR_TIMEOUT, "%s did not get on for %lld s", shell->host,
                (long long)(shell->timeout_ms / 1000));
    else if (shell->opened)
        err_set(&err, ERR_UNREACHABLE, "the connection to %s was lost", shell->host);
    else if (!sudo_failed(shell, &err))
        blame_close(&blame, &err);
    shell->busy++;
    if (!shell->freed)
        shell->events.on_close(shell->context, &err);
    leave(shell);
}

static void maybe_close(struct shell *shell)
{
    if (shell->pid == 0 && shell->stream == NULL && shell->errors == NULL)
        tell_close(shell);
    else
        loop_timer_arm(shell->timer, LAST_WORDS_MS);
}

static void on_timer(void *context)
{
    struct shell *shell = context;
    shell->timed_out = shell->running && shell->pid != 0 && shell->stream != NULL;
    tell_close(shell);
}

static void on_child_end(void *context, const struct reaper_exit *exit)
{
    struct shell *shell = context;
    shell->pid = 0;
    shell->exited = exit->code == CLD_EXITED;
    shell->code = exit->status;
    maybe_close(shell);
}

/* --- bytes ---------------------------------------------------------------------------------- */

static void script_ended(struct shell *shell, int code)
{
    struct buf said = shell->said;
    buf_init(&shell->said, SHELL_SAID_MAX);
    shell->running = false;
    loop_timer_disarm(shell->timer);
    if (!shell->freed)
        shell->events.on_end(shell->context, code, buf_text(&said));
    buf_done(&said);
}

/* One line with its end; ours begin with the mark. */
static void take_line(struct shell *shell, const char *line, size_t len)
{
    size_t mark = strlen(shell->mark);
    if (len <= mark || memcmp(line, shell->mark, mark) != 0) {
        if (shell->said.len + len <= SHELL_SAID_MAX)
            buf_put(&shell->said, line, len);
        return;
    }
    shell->opened = true;
    if (len >= mark + 6 && memcmp(line + mark, " ready", 6) == 0 && shell->events.on_ready)
        shell->events.on_ready(shell->context);
    else if (len > mark + 5 && memcmp(line + mark, " end ", 5) == 0)
        script_ended(shell,
                     (int)strtol(line + mark + 5, NULL, 10)); /* stops at the end of the line */
}

static void on_data(void *context, struct buf *in)
{
    struct shell *shell = context;
    size_t done = 0;
    shell->busy++;
    while (!shell->freed && done < in->len) {
        const char *from = in->data + done, *end = memchr(from, '\n', in->len - done);
        if (end == NULL && in->len - done < SHELL_SAID_MAX / 2)
            break;
        size_t len = end != NULL ? (size_t)(end - from) + 1 : in->len - done;
        take_line(shell, from, len);
        done += len;
    }
    buf_consume(in, done);
    leave(shell);
}

static void on_drain(void *context)
{
    struct shell *shell = context;
    shell->busy++;
    if (shell->running)
        loop_timer_arm(shell->timer, shell->timeout_ms);
    shell->events.on_drain(shell->context);
    leave(shell);
}

static void on_stream_close(void *context, const char *reason)
{
    struct shell *shell = context;
    snprintf(shell->reason, sizeof shell->reason, "%s", reason);
    stream_free(shell->stream);
    shell->stream = NULL;
    maybe_close(shell);
}

static void on_errors(void *context, struct buf *in)
{
    struct shell *shell = context;
    if (shell->error_text.len + in->len > ERRORS_MAX) /* the last words matter */
        buf_consume(&shell->error_text, shell->error_text.len + in->len - ERRORS_MAX);
    buf_put(&shell->error_text, in->data, in->len);
    buf_consume(in, in->len);
}

static void on_errors_close(void *context, const char *reason)
{
    struct shell *shell = context;
    (void)reason;
    stream_free(shell->errors);
    shell->errors = NULL;
    if (shell->pid == 0)
        maybe_close(shell);
}

/* --- starting ------------------------------------------------------------------------------- */

static int open_streams(struct shell *shell, struct launched *ends, struct err *err)
{
    static const struct stream_events main_events = { on_data, on_drain, on_stream_close };
    static const struct stream_events error_events = { on_errors, NULL, on_errors_close };
    shell->stream = stream_new(shell->loop, take_fd(&ends->out), take_fd(&ends->in), SHELL_SAID_MAX,
                               SHELL_QUEUE_MAX, &main_events, shell, err);
    if (shell->stream == NULL)
        return err->code;
    shell->errors = stream_new(shell->loop, take_fd(&ends->errors), -1, ERRORS_MAX, 0,
                               &error_events, shell, err);
    return shell->errors == NULL ? err->code : 0;
}

static int start(struct shell *shell, const struct transport_target *target, struct err *err)
{
    struct launched ends = { .in = -1, .out = -1, .errors = -1 };
    const char *command = shell->sudo ? "exec sudo -n sh -s" : "exec sh -s";
    char **argv = launch_ssh_words(&shell->arena, target, command, &shell->login, err);
    if (argv == NULL || shell->arena.failed)
        return shell->arena.failed ? err_set(err, ERR_MEMORY, "no memory for %s", target->host)
                                   : err->code;
    AUTO_FREE char *program = launch_find_ssh(err);
    if (program == NULL)
        return err->code;
    int rc = launch(shell->children, program, argv, on_child_end, shell, &ends, err);
    shell->pid = ends.pid;
    if (rc == 0)
        rc = open_streams(shell, &ends, err);
    auto_close_(&ends.in);
    auto_close_(&ends.out);
    auto_close_(&ends.errors);
    return rc;
}

struct shell *shell_open(struct loop *loop, const struct transport_target *target, bool sudo,
                         const char *mark, const struct shell_events *events, void *context,
                         struct err *err)
{
    struct shell *shell = calloc(1, sizeof *shell);
    if (shell == NULL) {
        err_set(err, ERR_MEMORY, "no memory for %s", target->host);
        return NULL;
    }
    shell->loop = loop;
    shell->children = target->children;
    shell->events = *events;
    shell->context = context;
    shell->sudo = sudo;
    arena_init(&shell->arena);
    buf_init(&shell->said, SHELL_SAID_MAX);
    buf_init(&shell->error_text, ERRORS_MAX + 1);
    shell->host = arena_strdup(&shell->arena, target->host);
    shell->mark = arena_strdup(&shell->arena, mark);
    shell->user = arena_strdup(&shell->arena, target->user != NULL ? target->user : "that user");
    shell->timer = loop_timer_new(loop, on_timer, shell);
    int rc = shell->timer == NULL || shell->arena.failed
                 ? err_set(err, ERR_MEMORY, "no memory for %s", target->host)
                 : start(shell, target, err);
    if (rc < 0) {
        release(shell);
        return NULL;
    }
    return shell;
}

bool shell_run(struct shell *shell, const char *script, int64_t timeout_ms)
{
    shell->running = true;
    shell->timeout_ms = timeout_ms;
    loop_timer_arm(shell->timer, timeout_ms);
    buf_clear(&shell->said);
    return shell_write(shell, script, strlen(script));
}

bool shell_write(struct shell *shell, const void *data, size_t len)
{
    return shell->stream != NULL && stream_write(shell->stream, data, len);
}

size_t shell_queued(const struct shell *shell)
{
    return shell->stream != NULL ? stream_queued(shell->stream) : 0;
}

void shell_free(struct shell *shell)
{
    if (shell == NULL)
        return;
    shell->freed = true;
    if (shell->busy == 0)
        release(shell);
}
