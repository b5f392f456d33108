/* cmd_logs.c - supervisor logs: the files themselves, read by this command. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/unit.h"
#include "io/jsonx.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/tail.h"

enum {
    LINES_DEFAULT = 10,
    LOOK_MS = 1000, /* network file systems tell inotify nothing of others */
    PREFIX_MAX = 160
};

struct logs {
    struct tail *tails; /* owned */
    char (*prefixes)[PREFIX_MAX];
    size_t count;
};

/* The file of one instance, NULL when its output goes elsewhere. */
static const char *path_of(const json_t *row, bool err)
{
    const char *path = jsonx_text(row, err ? "stderr" : "stdout", "none");

    if (strcmp(path, "stdout") == 0) /* redirect_stderr */
        path = jsonx_text(row, "stdout", "none");
    return path[0] == '/' ? path : NULL;
}

static void tell_elsewhere(const json_t *row, bool err)
{
    const char *where = jsonx_text(row, err ? "stderr" : "stdout", "none");
    const char *key = err ? "stderr_logfile" : "stdout_logfile";

    if (strcmp(where, "inherit") == 0)
        client_say("%s: its output goes where the supervisor's own does (%s = inherit)",
                   jsonx_text(row, "instance", "?"), key);
    else
        client_say("%s: its output is not kept (%s = none), or it has never been started",
                   jsonx_text(row, "instance", "?"), key);
}

static bool is_listed(const struct logs *logs, const char *path)
{
    for (size_t i = 0; i < logs->count; i++)
        if (strcmp(logs->tails[i].path, path) == 0)
            return true;
    return false;
}

static int open_all(const struct cli *cli, const json_t *rows, uint64_t lines, struct logs *logs)
{
    size_t total = json_array_size(rows), i;
    bool err_stream = cli_flag(cli, "stderr");
    json_t *row;

    logs->tails = calloc(total + 1, sizeof *logs->tails);
    logs->prefixes = calloc(total + 1, sizeof *logs->prefixes);
    if (!logs->tails || !logs->prefixes)
        return CLIENT_FAILED;
    json_array_foreach((json_t *)rows, i, row)
    {
        const char *path = path_of(row, err_stream);
        char *prefix = logs->prefixes[logs->count];
        struct err err = { 0 };

        if (!path) {
            tell_elsewhere(row, err_stream);
            continue;
        }
        if (is_listed(logs, path))
            continue; /* several instances share it */
        snprintf(prefix, PREFIX_MAX, "%s | ", jsonx_text(row, "instance", "?"));
        struct tail *tail = &logs->tails[logs->count++];
        if (tail_open(tail, path, total > 1 ? prefix : NULL, lines, &err) != 0)
            return client_tell(&err);
        if (tail->fd < 0 && !cli_flag(cli, "follow"))
            client_say("%s: no output yet (%s)", jsonx_text(row, "instance", "?"), path);
    }
    return logs->count > 0 ? CLIENT_OK : CLIENT_FAILED;
}

static int print_all(struct logs *logs)
{
    struct err err = { 0 };

    for (size_t i = 0; i < logs->count; i++)
        if (tail_print(&logs->tails[i], stdout, &err) != 0)
            return client_tell(&err);
    return client_print("");
}

/* The folders are watched: a rotated file is renamed, a new one appears. */
static void watch_folders(const struct logs *logs, int inotify)
{
    const uint32_t mask = IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE;

    for (size_t i = 0; inotify >= 0 && i < logs->count; i++) {
        const char *path = logs->tails[i].path, *slash = strrchr(path, '/');
        char *folder = strndup(path, slash > path ? (size_t)(slash - path) : 1);
        if (folder)
            (void)inotify_add_watch(inotify, folder, mask);
        free(folder);
    }
}

static int follow_all(struct logs *logs)
{
    AUTO_CLOSE int inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    int code = CLIENT_OK;

    while (code == CLIENT_OK) {
        struct pollfd fds[] = { { .fd = inotify, .events = POLLIN },
                                { .fd = STDOUT_FILENO, .events = 0 } };
        char events[4096];

        watch_folders(logs, inotify); /* again each time: a folder may be made later */
        code = print_all(logs);
        if (code != CLIENT_OK)
            break;
        if (poll(fds, 2, LOOK_MS) < 0 && errno != EINTR)
            return CLIENT_FAILED;
        if (fds[1].revents & (POLLERR | POLLHUP))
            return CLIENT_OK; /* whoever read us is gone */
        while (inotify >= 0 && read(inotify, events, sizeof events) > 0)
            continue;
    }
    return code;
}

static int run_logs(const struct cli *cli, const json_t *rows, uint64_t lines)
{
    struct logs logs = { .count = 0 };
    int code = open_all(cli, rows, lines, &logs);

    if (code == CLIENT_OK)
        code = cli_flag(cli, "follow") ? follow_all(&logs) : print_all(&logs);
    for (size_t i = 0; i < logs.count; i++) {
        if (code == CLIENT_OK && logs.tails[i].prefix)
            tail_flush(&logs.tails[i], stdout);
        tail_done(&logs.tails[i]);
    }
    free(logs.tails);
    free(logs.prefixes);
    return code == CLIENT_OK ? client_print("") : code;
}

int cmd_logs(struct cli *cli)
{
    const char *text = cli_value(cli, "lines");
    int64_t lines = LINES_DEFAULT;
    struct err err = { 0 };
    json_t *answer;

    if (text && (unit_integer(text, 10, &lines, &err) != 0 || lines < 0)) {
        client_say("-n wants a number of lines, not \"%s\"", text);
        return CLIENT_USAGE;
    }
    int code = client_call(cli, "logs", json_pack("{s:o}", "names", client_names(cli)),
                           CLIENT_READ_MS, &answer);
    if (code != CLIENT_OK)
        return code;
    code = run_logs(cli, json_object_get(answer, "logs"), (uint64_t)lines);
    json_decref(answer);
    return code;
}
