/* haproxy.c - the contract is in haproxy.h. */
#include "deployctl/agent/haproxy.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/buf.h"
#include "io/listen.h"
#include "io/stream.h"

enum { IN_MAX = 16 * 1024, DIGITS_MAX = 15, TOLD_MAX = 120 };

struct haproxy {
    struct stream *stream;
    struct loop_timer *timer;
    struct buf answer;
    haproxy_fn *fn;
    void *context;
};

/* --- what is asked and answered --------------------------------------------------------------- */

void haproxy_set_state(const char *backend, const char *server, const char *state,
                       char command[static HAPROXY_COMMAND_MAX])
{
    snprintf(command, HAPROXY_COMMAND_MAX, "set server %s/%s state %s\n", backend, server, state);
}

void haproxy_show(const char *backend, char command[static HAPROXY_COMMAND_MAX])
{
    enum { SERVERS = 4, ALL = -1 };
    snprintf(command, HAPROXY_COMMAND_MAX, "show stat %s %d %d\n", backend, SERVERS, ALL);
}

static const char *without_blanks(const char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    return text;
}

int haproxy_check(const char *answer, struct err *err)
{
    const char *what = without_blanks(answer);
    if (*what == '\0')
        return 0;
    int len = (int)strcspn(what, "\r\n");
    return err_set(err, ERR_STATE, "HAProxy says: %.*s", len < TOLD_MAX ? len : TOLD_MAX, what);
}

/* The field with this number (from 0) of a line of CSV without quotes; false: there are fewer. */
static bool field(const char *line, size_t number, const char **ret, size_t *ret_len)
{
    for (; number > 0; number--) {
        line += strcspn(line, ",\n");
        if (*line != ',')
            return false;
        line++;
    }
    *ret = line;
    *ret_len = strcspn(line, ",\r\n");
    return true;
}

static bool is_field(const char *line, size_t number, const char *wanted)
{
    const char *text;
    size_t len;
    return field(line, number, &text, &len) && len == strlen(wanted) &&
           memcmp(text, wanted, len) == 0;
}

/* Where the column stands in the first line, "# pxname,svname,qcur,qmax,scur,..."; -1: nowhere. */
static int column(const char *line, const char *name)
{
    const char *text;
    size_t len;
    for (int i = 0; field(line, (size_t)i, &text, &len); i++)
        if (len == strlen(name) && memcmp(text, name, len) == 0)
            return i;
    return -1;
}

static int64_t number(const char *text, size_t len)
{
    int64_t value = 0;
    if (len == 0 || len > DIGITS_MAX)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)text[i]))
            return -1;
        value = 10 * value + (text[i] - '0');
    }
    return value;
}

int64_t haproxy_sessions(const char *answer, const char *backend, const char *server,
                         struct err *err)
{
    const char *line = without_blanks(answer), *text;
    size_t len;
    int current = strncmp(line, "# pxname,svname,", 16) == 0 ? column(line, "scur") : -1;
    if (current < 0)
        return haproxy_check(answer, err) < 0
                   ? (int)err->code
                   : err_set(err, ERR_PROTOCOL, "HAProxy told no sessions of its servers");
    while ((line = strchr(line, '\n')) != NULL) {
        line++;
        if (!is_field(line, 0, backend) || !is_field(line, 1, server))
            continue;
        int64_t sessions = field(line, (size_t)current, &text, &len) ? number(text, len) : -1;
        return sessions >= 0 ? sessions
                             : err_set(err, ERR_PROTOCOL, "HAProxy told no number of sessions");
    }
    return err_set(err, ERR_NOT_FOUND, "HAProxy has no server %s/%s", backend, server);
}

/* --- asking ----------------------------------------------------------------------------------- */

static void finish(struct haproxy *haproxy, const char *answer, const struct err *err)
{
    stream_free(haproxy->stream);
    haproxy->stream = NULL;
    loop_timer_disarm(haproxy->timer);
    haproxy->fn(haproxy->context, answer, err);
}

static void on_data(void *context, struct buf *in)
{
    struct haproxy *haproxy = context;
    struct err err;
    buf_put(&haproxy->answer, in->data, in->len);
    buf_consume(in, in->len);
    if (!haproxy->answer.failed)
        return;
    err_set(&err, ERR_LIMIT, "HAProxy's answer is larger than %d bytes", HAPROXY_ANSWER_MAX);
    finish(haproxy, NULL, &err);
}

/* Without a prompt it closes after its answer. */
static void on_close(void *context, const char *reason)
{
    struct haproxy *haproxy = context;
    struct err err;
    if (strcmp(reason, "end of file") == 0 && haproxy->answer.len > 0) {
        finish(haproxy, buf_text(&haproxy->answer), NULL);
        return;
    }
    err_set(&err, ERR_UNREACHABLE, "no answer from HAProxy (%s)", reason);
    finish(haproxy, NULL, &err);
}

static void on_time(void *context)
{
    struct err err;
    err_set(&err, ERR_TIMEOUT, "no answer from HAProxy within %d s", HAPROXY_TIMEOUT_MS / 1000);
    finish(context, NULL, &err);
}

static int start(struct haproxy *haproxy, struct loop *loop, const char *socket,
                 const char *command, struct err *err)
{
    static const struct stream_events events = { on_data, NULL, on_close };
    struct addr addr;
    haproxy->timer = loop_timer_new(loop, on_time, haproxy);
    if (haproxy->timer == NULL)
        return err_set(err, ERR_MEMORY, "no memory to ask HAProxy");
    if (addr_parse(socket, &addr, err) < 0)
        return err->code;
    int fd = listen_connect(&addr);
    if (fd < 0)
        return err_sys(err, -fd, "connecting to HAProxy");
    haproxy->stream = stream_new(loop, fd, fd, IN_MAX, HAPROXY_COMMAND_MAX, &events, haproxy, err);
    if (haproxy->stream == NULL)
        return err->code;
    stream_write(haproxy->stream, command, strlen(command));
    return 0;
}

struct haproxy *haproxy_ask(struct loop *loop, const char *socket, const char *command,
                            haproxy_fn *fn, void *context, struct err *err)
{
    struct haproxy *haproxy = calloc(1, sizeof *haproxy);
    if (haproxy == NULL) {
        err_set(err, ERR_MEMORY, "no memory to ask HAProxy");
        return NULL;
    }
    haproxy->fn = fn;
    haproxy->context = context;
    buf_init(&haproxy->answer, HAPROXY_ANSWER_MAX);
    if (start(haproxy, loop, socket, command, err) < 0) {
        haproxy_free(haproxy);
        return NULL;
    }
    loop_timer_arm(haproxy->timer, HAPROXY_TIMEOUT_MS);
    return haproxy;
}

void haproxy_free(struct haproxy *haproxy)
{
    if (haproxy == NULL)
        return;
    stream_free(haproxy->stream);
    loop_timer_free(haproxy->timer);
    buf_done(&haproxy->answer);
    free(haproxy);
}
