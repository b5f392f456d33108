/* hook.c - the contract is in hook.h. */
#include "deployctl/agent/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/auto.h"
#include "io/durable.h"
#include "io/jsonx.h"

enum { ENV_MAX = 256, TIMEOUT_MAX_S = 24 * 3600, SIGNAL_CODE = 128, NAME_SIZE = 64 };

struct hook {
    struct talk *talk;
    hook_fn *fn;
    void *context;
    char name[NAME_SIZE];
    int64_t timeout_ms;
    struct stream *output;
    struct buf text;
    struct loop_timer *timer;
    pid_t pid; /* 0 once it has ended */
    bool timed_out;
    int code;
};

static void finish(struct hook *hook)
{
    struct err err;
    struct hook_end end = { .output = buf_text(&hook->text), .code = hook->code };
    if (hook->timed_out) {
        err_set(&err, ERR_TIMEOUT, "the hook %s did not end in %lld s and was killed", hook->name,
                (long long)(hook->timeout_ms / 1000));
        end.err = &err;
    }
    stream_free(hook->output);
    loop_timer_free(hook->timer);
    hook->fn(hook->context, &end);
    buf_done(&hook->text);
    free(hook);
}

/* The last part of the output is the telling one. */
static void on_output(void *context, struct buf *in)
{
    struct hook *hook = context;
    size_t sum = hook->text.len + in->len;
    if (sum > HOOK_OUTPUT_MAX)
        buf_consume(&hook->text, sum - HOOK_OUTPUT_MAX);
    buf_put(&hook->text, in->data, in->len);
    buf_consume(in, in->len);
}

static void on_output_end(void *context, const char *reason)
{
    struct hook *hook = context;
    (void)reason;
    stream_free(hook->output);
    hook->output = NULL;
    if (hook->pid == 0)
        finish(hook);
}

static void on_end(void *context, const struct reaper_exit *exit)
{
    struct hook *hook = context;
    hook->code = exit->code == CLD_EXITED ? exit->status : SIGNAL_CODE + exit->status;
    kill(-hook->pid, SIGKILL); /* nothing of a hook goes on behind its back in its own group */
    hook->pid = 0;
    if (hook->output == NULL)
        finish(hook);
    else /* something may hold the pipe: what is in it is read, no more is waited for */
        loop_timer_arm(hook->timer, HOOK_DRAIN_MS);
}

static void on_time(void *context)
{
    struct hook *hook = context;
    if (hook->pid == 0) {
        finish(hook);
        return;
    }
    kill(-hook->pid, hook->timed_out ? SIGKILL : SIGTERM);
    hook->timed_out = true;
    loop_timer_arm(hook->timer, HOOK_KILL_MS);
}

static bool is_name(const char *key)
{
    return key[0] != '\0' &&
           key[strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")] ==
               '\0';
}

/* Our environment with the request's on top. */
static char **environment(const json_t *extra, struct arena *arena, struct err *err)
{
    size_t n = 0, have = 0;
    const char *key;
    json_t *value;
    while (environ[have] != NULL)
        have++;
    char **out = arena_array(arena, have + ENV_MAX + 1, sizeof *out);
    if (out == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the environment");
        return NULL;
    }
    json_object_foreach((json_t *)extra, key, value)
    {
        if (!is_name(key) || !json_is_string(value) || n >= ENV_MAX) {
            err_set(err, ERR_PROTOCOL, "the environment of a hook: \"%s\" is not a good name", key);
            return NULL;
        }
        out[n++] = arena_printf(arena, "%s=%s", key, json_string_value(value));
    }
    for (size_t i = 0; i < have; i++) {
        size_t len = strcspn(environ[i], "=");
        AUTO_FREE char *name = strndup(environ[i], len);
        if (name != NULL && json_object_get(extra, name) == NULL)
            out[n++] = environ[i];
    }
    return out;
}

/* In the release that the hook is about when it is here, else in the app's folder. */
static int working_folder(const struct talk *talk, const json_t *env)
{
    const char *id = jsonx_text(env, "DEPLOY_RELEASE", "");
    int fd = manifest_id_parse(id, NULL) && talk->host.releases >= 0
                 ? durable_open_beneath(talk->host.releases, id, O_RDONLY | O_DIRECTORY, 0)
                 : -1;
    return fd >= 0 ? fd : fcntl(talk->host.root, F_DUPFD_CLOEXEC, 3);
}

static int spawn(struct hook *hook, const char *command, const json_t *env, struct err *err)
{
    struct talk *talk = hook->talk;
    int pipe_fds[2] = { -1, -1 };
    struct arena arena;
    arena_init(&arena);
    char **envp = environment(env, &arena, err);
    AUTO_CLOSE int folder = working_folder(talk, env);
    int rc = envp == NULL ? (int)err->code : 0;
    if (rc == 0 && pipe2(pipe_fds, O_CLOEXEC) < 0)
        rc = err_sys(err, errno, "making a pipe");
    if (rc < 0) {
        arena_done(&arena);
        return rc;
    }
    static const struct stream_events events = { on_output, NULL, on_output_end };
    hook->output = stream_new(talk->loop, pipe_fds[0], -1, HOOK_OUTPUT_MAX, 0, &events, hook, err);
    struct child_report report = { 0 };
    struct child_fd fds[] = { { -1, 0 }, { pipe_fds[1], 1 }, { pipe_fds[1], 2 } };
    char *argv[] = { (char *)"sh", (char *)"-c", (char *)command, NULL };
    struct child_spec spec = {
        .path = "/bin/sh",
        .argv = argv,
        .envp = envp,
        .fds = fds,
        .nfds = 3,
        .directory_fd = folder,
        .umask = -1,
        .new_session = true,
        .share_memory = true,
        .report = &report,
    };
    rc = hook->output == NULL
             ? (int)err->code
             : children_start(talk->children, &spec, on_end, hook, &hook->pid, err);
    if (rc == 0 && report.error != 0) {
        children_forget(talk->children, hook->pid);
        rc = err_sys(err, report.error, "starting a hook: %s",
                     child_step_name((enum child_step)report.step));
    }
    close(pipe_fds[1]);
    arena_done(&arena);
    return rc;
}

int hook_start(struct talk *talk, const struct hook_order *order, hook_fn *fn, void *context,
               struct err *err)
{
    struct hook *hook = calloc(1, sizeof *hook);
    if (hook == NULL)
        return err_set(err, ERR_MEMORY, "no memory for the hook %s", order->name);
    *hook = (struct hook){ .talk = talk, .fn = fn, .context = context };
    hook->timeout_ms = order->timeout_ms;
    snprintf(hook->name, sizeof hook->name, "%s", order->name);
    buf_init(&hook->text, HOOK_OUTPUT_MAX + 1);
    hook->timer = loop_timer_new(talk->loop, on_time, hook);
    int rc = hook->timer == NULL
                 ? err_set(err, ERR_MEMORY, "no memory for the hook %s", order->name)
                 : spawn(hook, order->command, order->env, err);
    if (rc == 0) {
        loop_timer_arm(hook->timer, order->timeout_ms);
        return 0;
    }
    stream_free(hook->output);
    loop_timer_free(hook->timer);
    free(hook);
    return rc;
}

/* --- the verb --------------------------------------------------------------------------------- */

static void on_hook(void *context, const struct hook_end *end)
{
    struct act *act = context;
    json_t *answer = json_object(), *line = json_object();
    struct err err;
    jsonx_set_text(answer, "output", end->output);
    jsonx_set_int(answer, "code", end->code);
    jsonx_set_text(line, "name", jsonx_text(act->request, "name", "hook"));
    jsonx_set_int(line, "code", end->code);
    talk_note(act->talk, "hook", line, false, &err);
    if (end->err == NULL)
        act_ok(act, answer);
    else
        act_fail(act, end->err, answer);
}

void hook_verb(struct act *act)
{
    struct err err;
    struct hook_order order = { .env = json_object_get(act->request, "env") };
    int64_t timeout_s;
    if (jsonx_need_text(act->request, "name", &order.name, &err) < 0 ||
        jsonx_need_text(act->request, "command", &order.command, &err) < 0 ||
        jsonx_need_int(act->request, "timeout_s", &timeout_s, &err) < 0) {
        act_fail(act, &err, NULL);
        return;
    }
    if (timeout_s <= 0 || timeout_s > TIMEOUT_MAX_S)
        timeout_s = TIMEOUT_MAX_S;
    order.timeout_ms = timeout_s * 1000;
    if (hook_start(act->talk, &order, on_hook, act, &err) < 0)
        act_fail(act, &err, NULL);
}
