/* cmd_logs.c - supervisor logs: the files themselves, read by this command. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/unit.h"
#include "base/when.h"
#include "io/jsonx.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/lines.h"
#include "supervisor/cli/logs_told.h"
#include "supervisor/core/table.h"
#include "supervisor/cli/tail.h"

enum {
    LINES_DEFAULT = 10,
    LINES_MAX = 10 * 1000 * 1000,
    LOOK_MS = 1000, /* network file systems tell inotify nothing of others */
    MANY = 16,      /* logs: from so many on, a burst of writes is waited for before a look ... */
    PAUSE_MS = 20,  /* ... so long */
    PREFIX_MAX = 176
};

/* One log: what is read of it, and its next line. */
struct source {
    struct tail tail;
    char *path; /* owned */
    char prefix[PREFIX_MAX];
    struct lines_kept kept; /* of what was there at the beginning */
    bool kept_due;          /* they are to be printed before anything else */
    int64_t time_us;        /* of the last line that has one */
    const char *line;       /* the next one; NULL = none now */
    size_t len;
    char *owned; /* `line`, when it comes from `kept` */
};

struct logs {
    struct source *sources; /* owned */
    size_t count;
    struct source **heap; /* owned; by the time of the next line */
    size_t nheap;
    struct lines_filter filter;
    bool limited; /* only the last `lines` of those that are there are wanted */
    uint64_t lines;
    bool colour, prefixed;
    bool following; /* all that was there at the beginning has been printed */
};

/* --- which files --- */

static const char *where_of(const json_t *row, bool err)
{
    const char *where = jsonx_text(row, err ? "stderr" : "stdout", "none");
    return strcmp(where, "stdout") == 0 ? jsonx_text(row, "stdout", "none") : where;
}

static void tell_elsewhere(const json_t *row, bool err)
{
    const char *where = where_of(row, err), *instance = jsonx_text(row, "instance", "?");
    const char *key = err ? "stderr_logfile" : "stdout_logfile";

    if (strcmp(where, "inherit") == 0)
        client_say("%s: its output goes where the supervisor's own does (%s = inherit)", instance,
                   key);
    else if (strcmp(where, "console") == 0)
        client_say("%s: its output goes where the supervisor's own does (%s = console)", instance,
                   key);
    else if (strncmp(where, "journald", 8) == 0)
        client_say("%s: its output goes to the journal; try: journalctl SUPERVISOR_INSTANCE=%s",
                   instance, instance);
    else if (strncmp(where, "syslog", 6) == 0)
        client_say("%s: its output goes to syslog (%s = %s)", instance, key, where);
    else
        client_say("%s: its output is not kept (%s = none), or it has never been started", instance,
                   key);
}

static bool is_listed(const struct logs *logs, const char *path)
{
    for (size_t i = 0; i < logs->count; i++)
        if (logs->sources[i].path && strcmp(logs->sources[i].path, path) == 0)
            return true;
    return false;
}

static void make_prefix(struct source *source, const json_t *row, const char *note, bool colour)
{
    static const char *const colours[] = { "\033[36m", "\033[33m", "\033[32m", "\033[35m",
                                           "\033[34m", "\033[96m", "\033[93m", "\033[92m",
                                           "\033[95m", "\033[94m" };
    const char *instance = jsonx_text(row, "instance", "?");
    unsigned hash = 5381;

    for (const char *at = instance; *at; at++)
        hash = hash * 33 + (unsigned char)*at;
    const char *paint = colours[hash % (sizeof colours / sizeof *colours)];
    snprintf(source->prefix, PREFIX_MAX, "%s%s%s |%s ", colour ? paint : "", instance, note,
             colour ? "\033[0m" : "");
}

static int add_source(struct logs *logs, const json_t *row, bool err, const char *note)
{
    const char *path = where_of(row, err);

    if (path[0] != '/') {
        if (!logs->following)
            tell_elsewhere(row, err);
        return CLIENT_OK;
    }
    if (is_listed(logs, path))
        return CLIENT_OK; /* several instances share it, or both streams do */
    struct source *source = &logs->sources[logs->count];
    *source = (struct source){ .path = strdup(path) };
    if (!source->path)
        return CLIENT_FAILED;
    make_prefix(source, row, note, logs->colour);
    tail_init(&source->tail, source->path);
    (void)lines_kept_init(&source->kept, logs->lines);
    logs->count++;
    return CLIENT_OK;
}

static bool make_room(struct logs *logs, size_t more)
{
    size_t room = logs->count + more + 1;
    struct source *sources = reallocarray(logs->sources, room, sizeof *sources);

    if (sources)
        logs->sources = sources;
    struct source **heap = reallocarray(logs->heap, room, sizeof *heap);
    if (heap)
        logs->heap = heap;
    return sources && heap;
}

/* Adds those that are not there yet. */
static int add_sources(const struct cli *cli, const json_t *rows, struct logs *logs)
{
    size_t total = json_array_size(rows), i;
    bool both = cli_flag(cli, "both"), only_err = !both && cli_flag(cli, "stderr");
    int code = make_room(logs, 2 * total) ? CLIENT_OK : CLIENT_FAILED;
    json_t *row;

    json_array_foreach((json_t *)rows, i, row)
    {
        bool apart = both && strcmp(where_of(row, true), where_of(row, false)) != 0;
        if (!only_err && code == CLIENT_OK)
            code = add_source(logs, row, false, "");
        if ((only_err || apart) && code == CLIENT_OK)
            code = add_source(logs, row, true, both ? " err" : "");
    }
    logs->prefixed |= total > 1 || logs->count > 1;
    return code != CLIENT_OK || logs->count > 0 ? code : CLIENT_FAILED;
}

/* --- lines --- */

static void tell_missed(struct source *source)
{
    if (source->tail.missed)
        client_say("%s: lines may be missing here: a file was removed, cut or damaged before it "
                   "was read",
                   source->path);
    source->tail.missed = false;
}

/* The next wanted line of the file itself. */
static int read_line(struct logs *logs, struct source *source, struct err *err)
{
    for (;;) {
        int rc = tail_next(&source->tail, &source->line, &source->len, err);
        tell_missed(source);
        if (rc <= 0) {
            source->line = NULL;
            return rc;
        }
        (void)lines_time(source->line, source->len, &source->time_us);
        if (lines_filter_wanted(&logs->filter, source->line, source->len, source->time_us))
            return 1;
    }
}

static int next_line(struct logs *logs, struct source *source, struct err *err)
{
    free(source->owned);
    source->owned = NULL;
    if (source->kept_due) {
        struct lines_one one = lines_kept_take(&source->kept);
        if (one.text) {
            source->line = source->owned = one.text;
            source->len = one.len;
            source->time_us = one.time_us;
            return 1;
        }
        source->kept_due = false;
    }
    return read_line(logs, source, err);
}

/* The last lines that are wanted are known only when all are read. */
static int keep_last(struct logs *logs, struct source *source, struct err *err)
{
    int rc;

    while ((rc = read_line(logs, source, err)) > 0)
        if (!lines_kept_add(&source->kept, source->line, source->len, source->time_us))
            return err_set(err, ERR_MEMORY, "no memory for so many lines");
    source->kept_due = rc == 0;
    return rc;
}

static int begin(struct logs *logs, struct source *source, struct err *err)
{
    bool filtered = logs->filter.has_regex || logs->filter.since_us > 0;
    int rc = 0;

    if (logs->filter.since_us > 0)
        rc = tail_from_time(&source->tail, logs->filter.since_us, err);
    else if (!filtered)
        rc = tail_from_end(&source->tail, logs->lines, err);
    return rc == 0 && filtered && logs->limited ? keep_last(logs, source, err) : rc;
}

static void print_line(const struct logs *logs, const struct source *source)
{
    if (logs->prefixed)
        fputs(source->prefix, stdout);
    fwrite(source->line, 1, source->len, stdout);
    putchar('\n');
}

/* --- in the order of time --- */

static bool is_before(const struct source *a, const struct source *b)
{
    return a->time_us != b->time_us ? a->time_us < b->time_us : a < b;
}

static void sink_down(struct logs *logs, size_t at)
{
    for (;;) {
        size_t least = at, child = 2 * at + 1;
        for (size_t i = child; i < child + 2 && i < logs->nheap; i++)
            if (is_before(logs->heap[i], logs->heap[least]))
                least = i;
        if (least == at)
            return;
        struct source *one = logs->heap[at];
        logs->heap[at] = logs->heap[least];
        logs->heap[least] = one;
        at = least;
    }
}

/* Prints every line that is there now. */
static int print_all(struct logs *logs)
{
    struct err err = { 0 };

    logs->nheap = 0;
    for (size_t i = 0; i < logs->count; i++) {
        int rc = next_line(logs, &logs->sources[i], &err);
        if (rc < 0)
            return client_tell(&err);
        if (rc > 0)
            logs->heap[logs->nheap++] = &logs->sources[i];
    }
    for (size_t i = logs->nheap / 2; i-- > 0;)
        sink_down(logs, i);
    while (logs->nheap > 0 && !ferror(stdout)) {
        struct source *source = logs->heap[0];
        print_line(logs, source);
        int rc = next_line(logs, source, &err);
        if (rc < 0)
            return client_tell(&err);
        if (rc == 0)
            logs->heap[0] = logs->heap[--logs->nheap];
        sink_down(logs, 0);
    }
    return CLIENT_OK;
}

/* The lines without an end yet: of one log as they come, of several only at the end. */
static void print_rests(struct logs *logs, bool last)
{
    bool as_it_comes = !logs->prefixed && !logs->filter.has_regex && logs->filter.since_us == 0;

    for (size_t i = 0; i < logs->count && (last || as_it_comes); i++) {
        struct source *source = &logs->sources[i];
        if (!tail_rest(&source->tail, &source->line, &source->len))
            continue;
        if (as_it_comes)
            fwrite(source->line, 1, source->len, stdout);
        else if (lines_filter_wanted(&logs->filter, source->line, source->len, source->time_us))
            print_line(logs, source);
    }
}

/* --- following --- */

/* The folders are watched: a rotated file is renamed, a new one appears. */
static void watch_folders(const struct logs *logs, int inotify)
{
    const uint32_t mask = IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE;
    const char *before = "";

    for (size_t i = 0; inotify >= 0 && i < logs->count; i++) {
        const char *path = logs->sources[i].path, *slash = strrchr(path, '/');
        size_t len = slash > path ? (size_t)(slash - path) : 1;
        if (strncmp(before, path, len + 1) == 0)
            continue; /* mostly all are in one folder */
        before = path;
        AUTO_FREE char *folder = strndup(path, len);
        if (folder)
            (void)inotify_add_watch(inotify, folder, mask);
    }
}

/* Takes what is known of files that changed; true when one has appeared. */
static bool take_events(int inotify)
{
    _Alignas(struct inotify_event) char events[4096];
    bool appeared = false;
    ssize_t len;

    while (inotify >= 0 && (len = read(inotify, events, sizeof events)) > 0)
        for (const char *at = events; at < events + len;) {
            const struct inotify_event *event = (const void *)at;
            appeared |= event->mask & (IN_CREATE | IN_Q_OVERFLOW);
            at += sizeof *event + event->len;
        }
    return appeared;
}

/* A new file may be the log of a new instance (scale, reload), which is then read from its
 * beginning.  Whether the supervisor answers or not, what is followed already goes on. */
static int look_for_more(const struct cli *cli, struct logs *logs)
{
    json_t *answer;

    if (client_try(cli, "logs", json_pack("{s:o}", "names", client_names(cli)), CLIENT_READ_MS,
                   &answer) != 0)
        return CLIENT_OK;
    int code = add_sources(cli, json_object_get(answer, "logs"), logs);
    json_decref(answer);
    return code;
}

static int follow_all(const struct cli *cli, struct logs *logs)
{
    AUTO_CLOSE int inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    int code = CLIENT_OK;

    logs->following = true;
    while (code == CLIENT_OK) {
        struct pollfd fds[] = { { .fd = inotify, .events = POLLIN },
                                { .fd = STDOUT_FILENO, .events = 0 } };

        watch_folders(logs, inotify); /* again each time: a folder may be made later */
        code = print_all(logs);
        print_rests(logs, false);
        if (code == CLIENT_OK)
            code = client_print("");
        if (code != CLIENT_OK)
            break;
        if (poll(fds, 2, LOOK_MS) < 0 && errno != EINTR)
            return CLIENT_FAILED;
        if (fds[1].revents & (POLLERR | POLLHUP))
            return CLIENT_OK; /* whoever read us is gone */
        if (logs->count > MANY)
            client_pause(PAUSE_MS);
        if (take_events(inotify))
            code = look_for_more(cli, logs);
    }
    return code;
}

/* Each log is an open file, and there may be thousands. */
static void raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int run_logs(const struct cli *cli, const json_t *rows, struct logs *logs)
{
    struct err err = { 0 };
    bool follow = cli_flag(cli, "follow");
    int code = add_sources(cli, rows, logs);

    for (size_t i = 0; code == CLIENT_OK && i < logs->count; i++) {
        struct source *source = &logs->sources[i];
        if (begin(logs, source, &err) != 0)
            code = client_tell(&err);
        else if (source->tail.file.fd < 0 && !source->kept_due && !follow)
            client_say("no output yet (%s)", source->path);
    }
    if (code == CLIENT_OK)
        code = follow ? follow_all(cli, logs) : print_all(logs);
    if (code == CLIENT_OK)
        print_rests(logs, true);
    return code == CLIENT_OK ? client_print("") : code;
}

static void free_logs(struct logs *logs)
{
    for (size_t i = 0; i < logs->count; i++) {
        struct source *source = &logs->sources[i];
        tail_done(&source->tail);
        lines_kept_done(&source->kept);
        free(source->owned);
        free(source->path);
    }
    free(logs->sources);
    free(logs->heap);
    lines_filter_done(&logs->filter);
}

static int parse_options(const struct cli *cli, struct logs *logs)
{
    const char *lines = cli_value(cli, "lines"), *since = cli_value(cli, "since");
    const char *grep = cli_value(cli, "grep");
    int64_t number = LINES_DEFAULT, since_us = 0;
    struct err err = { 0 };

    if (lines && (unit_integer(lines, 10, &number, &err) != 0 || number < 0)) {
        client_say("-n wants a number of lines, not \"%s\"", lines);
        return CLIENT_USAGE;
    }
    if (since && !when_since(since, clock_wall_us(), &since_us)) {
        client_say("--since wants a time such as 10m, 14:05 or 2026-11-24 14:05:30, not \"%s\"",
                   since);
        return CLIENT_USAGE;
    }
    logs->lines = number > LINES_MAX ? LINES_MAX : (uint64_t)number;
    logs->limited = lines || (!since && !grep);
    logs->colour = table_colour(STDOUT_FILENO);
    if (lines_filter_init(&logs->filter, since_us, grep, &err) == 0)
        return CLIENT_OK;
    client_say("%s", err.text);
    return CLIENT_USAGE;
}

int cmd_logs(struct cli *cli)
{
    struct logs logs = { .count = 0 };
    json_t *answer;

    int code = parse_options(cli, &logs);
    if (code != CLIENT_OK)
        return code;
    raise_limit();
    code = client_call(cli, "logs", json_pack("{s:o}", "names", client_names(cli)), CLIENT_READ_MS,
                       &answer);
    if (code == CLIENT_OK) {
        const json_t *rows = json_object_get(answer, "logs");
        code = logs_told_needed(rows) ? logs_told(cli, logs.limited ? logs.lines : LINES_DEFAULT)
                                      : run_logs(cli, rows, &logs);
        json_decref(answer);
    }
    free_logs(&logs);
    return code;
}
