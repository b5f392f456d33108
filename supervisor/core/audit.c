/* audit.c - the contract is in audit.h. */
#include "supervisor/core/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/jsonx.h"

enum {
    LINE_MAX_BYTES = 7900, /* receivers of syslog have 8 KiB */
    TEXT_MAX = 512,        /* of a value from outside */
    NAMES_MAX = 64,
    MODE = 0640,
    PRIORITY = 10 * 8 + 6, /* authpriv, info */
};
static const char dev_log[] = "/dev/log", syslog_word[] = "syslog";

struct audit {
    char *where;        /* owned; NULL = nowhere */
    const char *syslog; /* inside `where`, or dev_log; NULL = a file */
    int fd;
    dev_t dev;
    ino_t ino;
    bool torn;     /* the last line of the file has no end */
    uint64_t lost; /* lines, since the last that could be written */
    uint64_t number;
    char run[24]; /* tells our numbers from those of other cores */
    struct buf line;
};

/* What is told when a call ends. */
struct audited {
    struct audit *audit;
    uint64_t number;
};

struct audit *audit_new(void)
{
    struct audit *audit = calloc(1, sizeof *audit);

    if (!audit)
        return NULL;
    audit->fd = -1;
    snprintf(audit->run, sizeof audit->run, "%x-%llx", (unsigned)getpid(),
             (unsigned long long)clock_wall_us() / 1000);
    buf_init(&audit->line, LINE_MAX_BYTES);
    if (buf_reserve(&audit->line, LINE_MAX_BYTES))
        return audit;
    audit_free(audit);
    return NULL;
}

static void shut(struct audit *audit)
{
    if (audit->fd >= 0)
        close(audit->fd);
    audit->fd = -1;
}

void audit_free(struct audit *audit)
{
    if (!audit)
        return;
    shut(audit);
    free(audit->where);
    buf_done(&audit->line);
    free(audit);
}

bool audit_wanted(const struct audit *audit) { return audit->where != NULL; }

/* --- where it goes --- */

/* Never anything that a write could wait for. */
static int open_file(struct audit *audit)
{
    int flags = O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    int fd = open(audit->where, flags, MODE);
    struct stat st;
    char last;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return -EINVAL;
    }
    audit->fd = fd;
    audit->dev = st.st_dev;
    audit->ino = st.st_ino;
    audit->torn = st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) == 1 && last != '\n';
    return 0;
}

static int open_syslog(struct audit *audit)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };

    if (strlen(audit->syslog) >= sizeof to.sun_path)
        return -ENAMETOOLONG;
    memcpy(to.sun_path, audit->syslog, strlen(audit->syslog));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    audit->fd = fd;
    return 0;
}

static int open_it(struct audit *audit)
{
    return audit->syslog ? open_syslog(audit) : open_file(audit);
}

/* Rotated meanwhile: what we have open is no longer what the name says. */
static bool was_moved(const struct audit *audit)
{
    struct stat st;

    return audit->fd >= 0 && !audit->syslog &&
           (lstat(audit->where, &st) != 0 || st.st_dev != audit->dev || st.st_ino != audit->ino);
}

int audit_configure(struct audit *audit, const char *where, struct err *err)
{
    bool wanted = where && strcmp(where, "none") != 0;
    size_t len = strlen(syslog_word);

    shut(audit);
    free(audit->where);
    audit->syslog = NULL;
    audit->where = wanted ? strdup(where) : NULL;
    if (!audit->where)
        return wanted ? err_set(err, ERR_MEMORY, "no memory for the audit log, it is off") : 0;
    if (strncmp(audit->where, syslog_word, len) == 0)
        audit->syslog = audit->where[len] == ':' ? audit->where + len + 1 : dev_log;
    int rc = open_it(audit);
    if (rc == -EINVAL)
        return err_set(err, ERR_INVALID, "audit_log %s is no file; orders go on without it",
                       audit->where);
    return rc == 0 ? 0
                   : err_sys(err, -rc, "audit_log %s cannot be opened, orders go on without it",
                             audit->where);
}

/* --- lines --- */

static int send_line(const struct audit *audit, const struct buf *line)
{
    time_t now = (time_t)(clock_wall_us() / 1000000);
    char head[96], stamp[32];
    struct tm tm;

    localtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%b %e %T", &tm);
    int len =
        snprintf(head, sizeof head, "<%d>%s supervisor[%d]: ", PRIORITY, stamp, (int)getpid());
    struct iovec parts[] = { { head, (size_t)len }, { line->data, line->len - strlen("\n") } };
    const struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
    return sendmsg(audit->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int append_line(struct audit *audit, const struct buf *line)
{
    if (audit->torn && write(audit->fd, "\n", 1) != 1)
        return -errno;
    audit->torn = false;
    ssize_t done = write(audit->fd, line->data, line->len);
    if (done == (ssize_t)line->len)
        return 0;
    audit->torn = done > 0;
    return done < 0 ? -errno : -ENOSPC;
}

static int put_line(struct audit *audit, const struct buf *line)
{
    if (was_moved(audit))
        shut(audit);
    int rc = audit->fd < 0 ? open_it(audit) : 0;
    if (rc == 0)
        rc = audit->syslog ? send_line(audit, line) : append_line(audit, line);
    if (rc != 0 && audit->syslog) { /* its reader may have been started anew */
        shut(audit);
        rc = open_it(audit);
        rc = rc == 0 ? send_line(audit, line) : rc;
    }
    return rc;
}

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
    int rc = line.failed ? -ENOMEM : put_line(audit, &line);
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

    line->max = LINE_MAX_BYTES - 1;
    for (size_t i = 0; object && !fits && i <= NNAMED; i++) {
        buf_clear(line);
        fits = jsonx_put_ascii(object, line);
        if (!fits && i < NNAMED && json_object_del(object, named[i]) == 0)
            jsonx_set_bool(object, "cut", true);
    }
    line->max = LINE_MAX_BYTES;
    buf_putc(line, '\n');
    return fits && !line->failed;
}

/* Steals it. */
static void write_object(struct audit *audit, json_t *object)
{
    struct buf *line = &audit->line;

    if (!audit->where) { /* a reload has switched it off since the order that this ends */
        json_decref(object);
        return;
    }
    int rc = put_object(object, line) ? put_lost(audit) : -ENOMEM;
    json_decref(object);
    if (rc == 0)
        rc = put_line(audit, line);
    if (rc != 0 && audit->lost++ == 0)
        log_error("the audit log cannot be written, orders go on and lines are lost", "where",
                  audit->where, "error", strerror(-rc), NULL);
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
    write_object(audited->audit, line);
    free(audited);
}

void audit_call(struct audit *audit, struct rpc_call *call, const char *verb, const json_t *params,
                const char *rule, const struct err *refused)
{
    if (!audit->where)
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
    write_object(audit, line);
    struct audited *audited = refused ? NULL : malloc(sizeof *audited);
    if (!audited)
        return;
    *audited = (struct audited){ audit, audit->number };
    rpc_call_watch(call, on_end, audited);
}

void audit_untold(struct audit *audit, uint64_t count)
{
    if (!audit->where)
        return;
    json_t *line = begin_line(audit, "refused", ++audit->number);
    jsonx_set_int(line, "not_told", (json_int_t)count);
    write_object(audit, line);
}

void audit_note(struct audit *audit, const char *verb, const char *by)
{
    if (!audit->where)
        return;
    json_t *line = begin_line(audit, "order", ++audit->number);
    jsonx_set_text(line, "verb", verb);
    jsonx_set_text(line, "by", by);
    jsonx_set_bool(line, "allowed", true);
    write_object(audit, line);
}
