/* inventory.c - the contract is in inventory.h. */
#include "deployctl/cli/inventory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "deployctl/wire/children.h"
#include "io/jsonx.h"
#include "io/stream.h"

/* --- JSON ------------------------------------------------------------------------------------- */

enum { NUMBER_MAX = 32 };

static int say_value(struct inventory *inventory, const char *key, const json_t *value,
                     struct err *err)
{
    char number[NUMBER_MAX];
    if (json_is_string(value))
        return inventory_say(inventory, key, json_string_value(value), err);
    if (json_is_null(value))
        return 0;
    if (!json_is_integer(value))
        return err_set(err, ERR_INVALID, "%.64s: try a text or a whole number", key);
    snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    return inventory_say(inventory, key, number, err);
}

static int say_labels(struct inventory *inventory, const json_t *labels, struct err *err)
{
    const char *key;
    json_t *value;
    int rc = 0;
    if (!json_is_object(labels))
        return say_value(inventory, "labels", labels, err);
    json_object_foreach((json_t *)labels, key, value) if (rc == 0) rc =
        say_value(inventory, key, value, err);
    return rc;
}

static int read_host(struct inventory *inventory, const json_t *host, size_t place, struct err *err)
{
    const char *name =
        json_is_string(host) ? json_string_value(host) : jsonx_text(host, "name", NULL);
    const char *key;
    json_t *value;
    if (!name)
        return err_set(err, ERR_INVALID, "try a name, or an object with a \"name\"");
    int rc = inventory_add(inventory, name, place, err);
    json_object_foreach((json_t *)host, key, value)
    {
        if (rc == 0 && strcmp(key, "labels") == 0)
            rc = say_labels(inventory, value, err);
        else if (rc == 0 && strcmp(key, "name") != 0)
            rc = say_value(inventory, key, value, err);
    }
    return rc;
}

static int read_json(struct inventory *inventory, const char *text, size_t len, struct err *err)
{
    json_t *root = jsonx_parse(text, len, err);
    const json_t *hosts = json_is_object(root) ? json_object_get(root, "hosts") : root;
    int rc = root ? 0 : (int)err->code;
    inventory->place_is = "host";
    if (rc == 0 && !json_is_array(hosts))
        rc = err_set(err, ERR_INVALID, "try a list of hosts, or {\"hosts\": [...]}");
    for (size_t i = 0; rc == 0 && i < json_array_size(hosts); i++)
        if (read_host(inventory, json_array_get(hosts, i), i + 1, err) < 0)
            rc = err_wrap(err, "host %zu", i + 1);
    json_decref(root);
    return rc;
}

int inventory_read(struct inventory *inventory, const char *text, size_t len, struct err *err)
{
    size_t at = 0;
    while (at < len && strchr(" \t\r\n", text[at]) && text[at])
        at++;
    if (at < len && (text[at] == '[' || text[at] == '{'))
        return read_json(inventory, text, len, err);
    return inventory_lines(inventory, text, len, err);
}

/* --- the command ------------------------------------------------------------------------------ */

struct asking {
    struct loop *loop;
    struct stream *output;
    struct buf text;
    struct reaper_exit exit;
    bool ended, closed, full, late;
};

static void stop_when_done(struct asking *asking)
{
    if (asking->ended && asking->closed)
        loop_stop(asking->loop);
}

static void on_output(void *context, struct buf *in)
{
    struct asking *asking = context;
    buf_put(&asking->text, in->data, in->len);
    buf_consume(in, in->len);
    asking->full = asking->text.failed;
    if (asking->full)
        loop_stop(asking->loop);
}

static void on_output_end(void *context, const char *reason)
{
    struct asking *asking = context;
    (void)reason;
    asking->closed = true;
    stop_when_done(asking);
}

static void on_end(void *context, const struct reaper_exit *exit)
{
    struct asking *asking = context;
    asking->exit = *exit;
    asking->ended = true;
    stop_when_done(asking);
}

static void on_time(void *context)
{
    struct asking *asking = context;
    asking->late = true;
    loop_stop(asking->loop);
}

static int start(struct asking *asking, struct children *children, const char *file,
                 const char *command, pid_t *ret_pid, struct err *err)
{
    static const struct stream_events events = { on_output, NULL, on_output_end };
    const char *slash = strrchr(file, '/');
    AUTO_FREE char *folder = slash ? strndup(file, (size_t)(slash - file) + 1) : strdup(".");
    AUTO_CLOSE int dirfd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int fds[2];
    if (dirfd < 0 || pipe2(fds, O_CLOEXEC) < 0)
        return err_sys(err, errno, "starting it");
    AUTO_CLOSE int write_end = fds[1];
    asking->output =
        stream_new(asking->loop, fds[0], -1, INVENTORY_BYTES_MAX, 0, &events, asking, err);
    if (!asking->output)
        return (int)err->code;
    struct child_report report = { 0 };
    const struct child_fd child_fds[] = { { -1, 0 }, { write_end, 1 }, { STDERR_FILENO, 2 } };
    char *const argv[] = { (char *)"sh", (char *)"-c", (char *)command, NULL };
    struct child_spec spec = {
        .path = "/bin/sh",
        .argv = argv,
        .envp = environ,
        .fds = child_fds,
        .nfds = sizeof child_fds / sizeof child_fds[0],
        .directory_fd = dirfd,
        .umask = -1,
        .new_session = true,
        .share_memory = true,
        .report = &report,
    };
    return children_start(children, &spec, on_end, asking, ret_pid, err);
}

static int judge(const struct asking *asking, struct err *err)
{
    if (asking->full)
        return err_set(err, ERR_LIMIT, "it printed more than %d bytes", INVENTORY_BYTES_MAX);
    if (asking->late)
        return err_set(err, ERR_TIMEOUT, "it did not end within %d s", INVENTORY_MS / 1000);
    if (asking->exit.code == CLD_EXITED && asking->exit.status == 0)
        return 0;
    return err_set(err, ERR_SYSTEM, "it ended with %s %d",
                   asking->exit.code == CLD_EXITED ? "code" : "signal", asking->exit.status);
}

int inventory_ask(void *file, const char *command, struct inventory *ret, struct err *err)
{
    struct asking asking = { .loop = loop_new(err) };
    pid_t pid = 0;
    if (!asking.loop)
        return (int)err->code;
    buf_init(&asking.text, INVENTORY_BYTES_MAX);
    struct children *children = children_new(asking.loop, err);
    struct loop_timer *timer = loop_timer_new(asking.loop, on_time, &asking);
    int rc = children && timer ? start(&asking, children, file, command, &pid, err)
                               : err_set(err, ERR_MEMORY, "no memory to run it");
    if (rc == 0) {
        loop_timer_arm(timer, INVENTORY_MS);
        loop_run(asking.loop, NULL, NULL);
        kill(-pid, SIGKILL); /* whatever it left in its group */
        rc = judge(&asking, err);
    }
    if (rc == 0)
        rc = inventory_read(ret, buf_text(&asking.text), asking.text.len, err);
    stream_free(asking.output);
    loop_timer_free(timer);
    children_free(children);
    buf_done(&asking.text);
    loop_free(asking.loop);
    return rc < 0 ? err_wrap(err, "`%.100s`", command) : 0;
}
