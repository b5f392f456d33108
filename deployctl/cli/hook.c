/* hook.c - the contract is in hook.h. */
#include "deployctl/cli/hook.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unit.h"
#include "deployctl/wire/children.h"

struct wait {
    struct loop *loop;
    struct reaper_exit exit;
    bool ended;
};

static void on_end(void *context, const struct reaper_exit *exit)
{
    struct wait *wait = context;
    wait->exit = *exit;
    wait->ended = true;
    loop_stop(wait->loop);
}

static void on_timeout(void *context)
{
    struct wait *wait = context;
    loop_stop(wait->loop);
}

static int start(const char *command, struct children *children, struct wait *wait, pid_t *ret_pid,
                 struct err *err)
{
    struct child_report report = { 0 };
    const struct child_fd fds[] = { { -1, 0 }, { STDERR_FILENO, 1 }, { STDERR_FILENO, 2 } };
    char *const argv[] = { "sh", "-c", (char *)command, NULL };
    struct child_spec spec = {
        .path = "/bin/sh",
        .argv = argv,
        .envp = environ,
        .fds = fds,
        .nfds = sizeof fds / sizeof fds[0],
        .directory_fd = -1,
        .umask = -1,
        .new_session = true,
        .share_memory = true,
        .report = &report,
    };
    return children_start(children, &spec, on_end, wait, ret_pid, err);
}

static bool wait_for(const struct app *app, const char *command, struct wait *wait, struct err *err)
{
    struct children *children = children_new(wait->loop, err);
    struct loop_timer *timer = loop_timer_new(wait->loop, on_timeout, wait);
    pid_t pid = 0;
    bool ok = children && timer && start(command, children, wait, &pid, err) == 0;
    if (ok) {
        loop_timer_arm(timer, app->recipe.hooks.timeout_ms);
        loop_run(wait->loop, NULL, NULL);
        if (!wait->ended)
            kill(-pid, SIGKILL);
    }
    loop_timer_free(timer);
    children_free(children);
    return ok;
}

bool hook_run(const struct app *app, const char *name, const char *command,
              const struct driver *driver)
{
    struct err err = { 0 };
    struct wait wait = { 0 };
    char time[UNIT_TEXT_MAX];
    if (!command)
        return true;
    setenv("DEPLOY_APP", app->recipe.deploy.app, 1);
    setenv("DEPLOY_STAGE", name, 1);
    setenv("DEPLOY_RELEASE", driver ? driver_release_id(driver) : "", 1);
    wait.loop = loop_new(&err);
    bool ok = wait.loop && wait_for(app, command, &wait, &err);
    if (wait.loop)
        loop_free(wait.loop);
    if (!ok)
        app_fail(app, "hook %s: %s", name, err.text);
    else if (!wait.ended)
        app_fail(app, "hook %s: did not end within %s", name,
                 unit_duration_text(app->recipe.hooks.timeout_ms, time));
    else if (wait.exit.code != CLD_EXITED || wait.exit.status != 0)
        app_fail(app, "hook %s: `%s` ended with %s %d", name, command,
                 wait.exit.code == CLD_EXITED ? "code" : "signal", wait.exit.status);
    else
        return true;
    return false;
}

void hook_end(const struct app *app, const struct driver *driver)
{
    const struct recipe_hooks *hooks = &app->recipe.hooks;
    const struct rollout *rollout = driver_rollout(driver);
    bool release = rollout->kind == ROLLOUT_RELEASE || rollout->kind == ROLLOUT_RESUME ||
                   rollout->kind == ROLLOUT_PROMOTE;
    if (rollout->outcome == ROLLOUT_DONE && release)
        hook_run(app, "after_release", hooks->after_release, driver);
    else if (rollout->outcome != ROLLOUT_DONE && rollout_counts(rollout, ROLLOUT_HOST_UNDONE) > 0)
        hook_run(app, "on_rollback", hooks->on_rollback, driver);
}
