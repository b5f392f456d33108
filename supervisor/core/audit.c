/* audit.c - the contract is in audit.h. */
#include "supervisor/core/audit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/jsonx.h"
#include "supervisor/core/audit_sync.h"

enum {
    TEXT_MAX = 512, /* of a value from outside */
    NAMES_MAX = 64,
};

struct audit {
    struct audit_file file;
    struct audit_sync *sync; /* owned */
    audit_tell_fn *tell;
    void *context;
    int write_error, sync_error; /* errno of the last; 0 = it was well */
    bool told;                   /* that there is one */
    uint64_t lost;               /* lines, since the last that could be written */
    uint64_t number;
    char run[24]; /* tells our numbers from those of other cores */
    struct buf line;
};

/* What is told when a call ends. */
struct audited {
    struct audit *audit;
    struct rpc_call *call;
    uint64_t number;
};

/* --- what goes wrong --- */

static const char *problem_of(const struct audit *audit)
{
    return audit->write_error  ? strerror(audit->write_error)
           : audit->sync_error ? strerror(audit->sync_error)
                               : NULL;
}

static void tell(struct audit *audit, bool good)
{
    json_t *details = json_object();

    jsonx_set_text(details, "file", audit->file.where);
    if (!good) {
        jsonx_set_text(details, "error", problem_of(audit));
        jsonx_set_bool(details, "written", audit->write_error == 0);
    }
    audit->told = audit->tell(audit->context, good ? "audit-ok" : "audit-error", details) && !good;
}

/* Each change is told once; while there are no events yet, later. */
static void judge(struct audit *audit)
{
    bool bad = audit->write_error || audit->sync_error;

    if (bad != audit->told)
        tell(audit, !bad);
}

static void on_synced(void *context, int rc)
{
    struct audit *audit = context;

    if (rc != 0 && audit->sync_error == 0)
        log_error("the audit log cannot be brought to the disk, orders go on", "where",
                  audit->file.where, "error", strerror(-rc), NULL);
    audit->sync_error = -rc;
    judge(audit);
}

static void on_leave(void *context, int fd)
{
    audit_sync_leave(((struct audit *)context)->sync, fd);
}

json_t *audit_problem(const struct audit *audit)
{
    json_t *row = problem_of(audit) ? json_object() : NULL;

    if (!row)
        return NULL;
    jsonx_set_text(row, "file", audit->file.where);
    jsonx_set_text(row, "error", problem_of(audit));
    jsonx_set_int(row, "lost_lines", (json_int_t)audit->lost);
    return row;
}

/* --- its life --- */

struct audit *audit_new(struct loop *loop, audit_tell_fn *tell_hand, void *context)
{
    struct audit *audit = calloc(1, sizeof *audit);

    if (!audit)
        return NULL;
    audit->tell = tell_hand;
    audit->context = context;
    audit->sync = audit_sync_new(loop, on_synced, audit);
    audit_file_init(&audit->file, on_leave, audit);
    snprintf(audit->run, sizeof audit->run, "%x-%llx", (unsigned)getpid(),
             (unsigned long long)clock_wall_us() / 1000);
    buf_init(&audit->line, AUDIT_LINE_MAX);
    if (audit->sync && buf_reserve(&audit->line, AUDIT_LINE_MAX))
        return audit;
    audit_free(audit);
    return NULL;
}

void audit_free(struct audit *audit)
{
    if (!audit)
        return;
    audit_file_done(&audit->file);
    audit_sync_free(audit->sync);
    buf_done(&audit->line);
    free(audit);
}

int audit_configure(struct audit *audit, const struct audit_settings *settings, struct err *err)
{
    int rc = audit_file_configure(&audit->file, settings, err);

    audit->write_error = rc == 0 ? 0 : err->sys ? err->sys : EINVAL;
    audit->sync_error = 0;
    judge(audit);
    return rc;
}

void audit_let_go(struct audit *audit) { audit_sync_let_go(audit->sync); }

bool audit_settled(const struct audit *audit) { return audit_sync_settled(audit->sync); }

/* --- lines --- */

/* What could not be written before is told in front of what can be now. */
static int put_lost(struct audit *audit)
{
    char at[CLOCK_TEXT_MAX], text[160];
    struct buf line;

    if (audit->lost == 0)
        return 0;
    buf_init(&line, sizeof text);
    buf_printf(&line, "{\"at\":\"%s\",\"audit\":\"lost\",\"lines\":%llu}\n",
               clock_text(clock_wall_us(), at), (unsigned long long)audit->lost);
    int rc = line.failed ? -ENOMEM : audit_file_put(&audit->file, &line);
    buf_done(&line);
    if (rc == 0) {
        snprintf(text, sizeof text, "%llu", (unsigned long long)audit->lost);
        log_warn("the audit log can be written again", "lost_lines", text, NULL);
        audit->lost = 0;
    }
    return rc;
}

/* What a request names; the longest is left out first when a line has no room for all. */
static const char *const named[] = { "counts", "names",  "path",   "token", "release",
                                     "name",   "signal", "action", "binary" };
enum { NNAMED = sizeof named / sizeof *named };

/* With its newline; false without memory. */
static bool put_object(json_t *object, struct buf *line)
{
    bool fits = false;

    line->max = AUDIT_LINE_MAX - 1;
    for (size_t i = 0; object && !fits && i <= NNAMED; i++) {
        buf_clear(line);
        fits = jsonx_put_ascii(object, line);
        if (!fits && i < NNAMED && json_object_del(object, named[i]) == 0)
            jsonx_set_bool(object, "cut", true);
    }
    line->max = AUDIT_LINE_MAX;
    buf_putc(line, '\n');
    return fits && !line->failed;
}

/* Steals it.  `sync`: it must reach the disk. */
static void write_object(struct audit *audit, json_t *object, bool sync)
{
    struct audit_file *file = &audit->file;
    struct buf *line = &audit->line;

    if (!file->where) { /* a reload has switched it off since the order that this ends */
        json_decref(object);
        return;
    }
    int rc = put_object(object, line) ? put_lost(audit) : -ENOMEM;
    json_decref(object);
    if (rc == 0)
        rc = audit_file_put(file, line);
    if (rc != 0 && audit->lost++ == 0)
        log_error("the audit log cannot be written, orders go on and lines are lost", "where",
                  file->where, "error", strerror(-rc), NULL);
    audit->write_error = -rc;
    if (rc == 0 && sync && !file->syslog) {
        audit_sync_written(audit->sync, file->fd, file->where, file->fresh);
        file->fresh = false;
    }
    judge(audit);
}

static json_t *begin_line(const struct audit *audit, const char *what, uint64_t number)
{
    char at[CLOCK_TEXT_MAX], id[64];
    json_t *line = json_object();

    snprintf(id, sizeof id, "%s-%llu", audit->run, (unsigned long long)number);
    jsonx_set_text(line, "at", clock_text(clock_wall_us(), at));
    jsonx_set_text(line, "audit", what);
    jsonx_set_text(line, "id", id);
    return line;
}

/* --- what is told --- */

static void set_cut(json_t *line, const char *key, const char *text)
{
    char cut[TEXT_MAX];

    snprintf(cut, sizeof cut, "%.*s", (int)sizeof cut - 1, text);
    jsonx_set_text(line, key, cut);
}

static void put_names(json_t *line, const json_t *names)
{
    json_t *list, *name;
    size_t i;

    if (!json_is_array(names))
        return;
    list = json_array();
    json_array_foreach((json_t *)names, i, name)
    {
        json_t *holder = json_object(); /* jsonx_set_text also takes what is not UTF-8 */
        if (i < NAMES_MAX && json_is_string(name)) {
            set_cut(holder, "x", json_string_value(name));
            json_array_append(list, json_object_get(holder, "x"));
        }
        json_decref(holder);
        if (i == NAMES_MAX)
            break;
    }
    json_object_set_new(line, "names", list);
    if (json_array_size(names) > NAMES_MAX)
        jsonx_set_int(line, "names_more", (json_int_t)(json_array_size(names) - NAMES_MAX));
}

static void put_counts(json_t *line, json_t *counts)
{
    json_t *copy = json_object_size(counts) > 0 ? json_object() : NULL, *count;
    size_t left = NAMES_MAX;
    const char *name;

    json_object_foreach(counts, name, count)
    {
        if (left == 0 || strlen(name) >= TEXT_MAX)
            continue;
        json_object_set(copy, name, json_is_integer(count) ? count : json_null());
        left--;
    }
    if (copy && json_object_size(counts) > json_object_size(copy))
        jsonx_set_int(line, "counts_more",
                      (json_int_t)(json_object_size(counts) - json_object_size(copy)));
    if (copy)
        json_object_set_new(line, "counts", copy);
}

static void put_params(json_t *line, const json_t *params)
{
    const json_t *count = json_object_get(params, "count");

    put_counts(line, json_object_get(params, "counts"));
    put_names(line, json_object_get(params, "names"));
    for (size_t i = 0; i < NNAMED; i++) { /* "id" is ours */
        bool release = strcmp(named[i], "release") == 0;
        const char *text = jsonx_text(params, release ? "id" : named[i], NULL);
        if (text)
            set_cut(line, named[i], text);
    }
    if (json_is_integer(count))
        jsonx_set_int(line, "count", json_integer_value(count));
    if (jsonx_bool(params, "plan", false))
        jsonx_set_bool(line, "plan", true);
    if (jsonx_bool(params, "undo", false))
        jsonx_set_bool(line, "undo", true);
}

static void put_peer(json_t *line, const struct rpc_peer *peer)
{
    char path[64], exe[TEXT_MAX];

    jsonx_set_int(line, "uid", (json_int_t)peer->uid);
    jsonx_set_int(line, "gid", (json_int_t)peer->gid);
    jsonx_set_int(line, "pid", peer->pid);
    jsonx_set_text(line, "command", peer->command);
    snprintf(path, sizeof path, "/proc/%d/exe", (int)peer->pid);
    ssize_t len = peer->pid > 0 ? readlink(path, exe, sizeof exe - 1) : -1;
    if (len > 0) {
        exe[len] = '\0';
        jsonx_set_text(line, "exe", exe);
    }
}

static void on_end(void *context, const json_t *result, const struct err *err, bool heard)
{
    struct audited *audited = context;
    json_t *line = begin_line(audited->audit, "result", audited->number);
    const char *outcome = jsonx_text(result, "result", NULL);

    if (err) {
        jsonx_set_bool(line, "ok", false);
        jsonx_set_text(line, "error", err_code_name(err->code));
        set_cut(line, "why", err->text);
    } else if (!result && !heard) { /* who asked has left, what was begun goes on */
        json_object_set_new(line, "ok", json_null());
    } else {
        jsonx_set_bool(line, "ok", jsonx_bool(result, "ok", true));
    }
    if (outcome)
        set_cut(line, "result", outcome);
    if (!heard)
        jsonx_set_bool(line, "left", true);
    write_object(audited->audit, line, true);
    if (heard)
        audit_sync_hold(audited->audit->sync, audited->call);
    free(audited);
}

void audit_call(struct audit *audit, struct rpc_call *call, const char *verb, const json_t *params,
                const char *rule, const struct err *refused)
{
    if (!audit->file.where)
        return;
    json_t *line = begin_line(audit, "order", ++audit->number);
    put_peer(line, rpc_call_peer(call));
    jsonx_set_text(line, "verb", verb);
    put_params(line, params);
    jsonx_set_bool(line, "allowed", !refused);
    if (refused)
        set_cut(line, "why", refused->text);
    else
        jsonx_set_text(line, "rule", rule);
    write_object(audit, line, !refused);
    struct audited *audited = refused ? NULL : malloc(sizeof *audited);
    if (!audited)
        return;
    *audited = (struct audited){ audit, call, audit->number };
    rpc_call_watch(call, on_end, audited);
}

void audit_untold(struct audit *audit, uint64_t count)
{
    if (!audit->file.where)
        return;
    json_t *line = begin_line(audit, "refused", ++audit->number);
    jsonx_set_int(line, "not_told", (json_int_t)count);
    write_object(audit, line, false);
}

void audit_note(struct audit *audit, const char *verb, const char *by)
{
    if (!audit->file.where)
        return;
    json_t *line = begin_line(audit, "order", ++audit->number);
    jsonx_set_text(line, "verb", verb);
    jsonx_set_text(line, "by", by);
    jsonx_set_bool(line, "allowed", true);
    write_object(audit, line, true);
}
