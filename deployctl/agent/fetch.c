/* fetch.c - the contract is in fetch.h. */
#include "deployctl/agent/fetch.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/listen.h"
#include "io/stream.h"

enum { REQUEST_MAX = 1024, DIGITS_MAX = 15 };

struct fetch {
    struct stream *stream;
    struct loop_timer *timer;
    struct buf answer;
    fetch_fn *fn;
    void *context;
};

/* --- the answer ------------------------------------------------------------------------------- */

/* The value of a header in "\r\nName: value\r\n" lines, or NULL. */
static const char *header(const char *head, size_t len, const char *name)
{
    size_t size = strlen(name);
    for (const char *at = head, *end = head + len; at < end;) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        if (!line)
            return NULL;
        at = line + 1;
        if ((size_t)(end - at) > size && strncasecmp(at, name, size) == 0 && at[size] == ':') {
            for (at += size + 1; at < end && (*at == ' ' || *at == '\t'); at++)
                ;
            return at;
        }
    }
    return NULL;
}

static int check_status(const char *text, size_t len, struct err *err)
{
    bool http = len >= 12 && strncmp(text, "HTTP/1.", 7) == 0 && text[8] == ' ';
    if (!http)
        return err_set(err, ERR_PROTOCOL, "what answers there is no HTTP server");
    if (strncmp(text + 9, "200", 3) != 0)
        return err_set(err, ERR_PROTOCOL, "the answer is %.3s, not 200", text + 9);
    return 0;
}

/* -1: not told; -2: not understood. */
static long long content_length(const char *head, size_t len)
{
    const char *text = header(head, len, "Content-Length"), *end = head + len;
    long long length = 0;
    if (!text)
        return -1;
    const char *at = text;
    for (; at < end && isdigit((unsigned char)*at) && at - text < DIGITS_MAX; at++)
        length = 10 * length + (*at - '0');
    return at == text || (at < end && isdigit((unsigned char)*at)) ? -2 : length;
}

int fetch_parse(const char *text, size_t len, bool ended, const char **ret_body, size_t *ret_len,
                struct err *err)
{
    const char *body = memmem(text, len, "\r\n\r\n", 4);
    if (!body && !ended && len < FETCH_HEADERS_MAX)
        return 0;
    int rc = check_status(text, len, err);
    if (rc < 0)
        return rc;
    if (!body)
        return err_set(err, ERR_PROTOCOL, "the answer has no end of its headers");
    size_t head = (size_t)(body - text) + 2;
    body += 4;
    size_t have = len - (size_t)(body - text);
    long long length = content_length(text, head);
    if (length == -2 || header(text, head, "Transfer-Encoding"))
        return err_set(err, ERR_PROTOCOL, "the answer is not one to a request of HTTP/1.0");
    if (length >= 0 && (unsigned long long)length > have && ended)
        return err_set(err, ERR_PROTOCOL, "the page is cut off");
    if (length >= 0 ? (unsigned long long)length > have : !ended)
        return 0;
    *ret_body = body;
    *ret_len = length >= 0 ? (size_t)length : have;
    return 1;
}

/* --- asking ----------------------------------------------------------------------------------- */

static void finish(struct fetch *fetch, const char *body, size_t len, const struct err *err)
{
    stream_free(fetch->stream);
    fetch->stream = NULL;
    loop_timer_disarm(fetch->timer);
    fetch->fn(fetch->context, body, len, err);
}

static void look(struct fetch *fetch, bool ended)
{
    const char *body = NULL;
    size_t len = 0;
    struct err err;
    int rc = fetch_parse(buf_text(&fetch->answer), fetch->answer.len, ended, &body, &len, &err);
    if (rc != 0)
        finish(fetch, body, len, rc < 0 ? &err : NULL);
}

static void on_data(void *context, struct buf *in)
{
    struct fetch *fetch = context;
    struct err err;
    buf_put(&fetch->answer, in->data, in->len);
    buf_consume(in, in->len);
    if (!fetch->answer.failed) {
        look(fetch, false);
        return;
    }
    err_set(&err, ERR_LIMIT, "the page is larger than %zu bytes", fetch->answer.max);
    finish(fetch, NULL, 0, &err);
}

static void on_close(void *context, const char *reason)
{
    struct fetch *fetch = context;
    struct err err;
    if (strcmp(reason, "end of file") == 0 && fetch->answer.len > 0) {
        look(fetch, true);
        return;
    }
    err_set(&err, ERR_UNREACHABLE, "no answer (%s)", reason);
    finish(fetch, NULL, 0, &err);
}

static void on_timer(void *context)
{
    struct err err;
    err_set(&err, ERR_TIMEOUT, "no whole answer within %d s", FETCH_TIMEOUT_MS / 1000);
    finish(context, NULL, 0, &err);
}

static int open_stream(struct fetch *fetch, struct loop *loop, const struct evidence_url *url,
                       struct err *err)
{
    static const struct stream_events events = { on_data, NULL, on_close };
    char request[REQUEST_MAX];
    int fd = listen_connect(&url->addr), fault = 0;
    socklen_t size = sizeof fault;
    if (fd < 0)
        return err_sys(err, -fd, "connecting to %s", url->host);
    /* On this machine a refusal is known at once. */
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &fault, &size) == 0 && fault != 0) {
        close(fd);
        return err_set(err, ERR_UNREACHABLE, "%s", strerror(fault));
    }
    fetch->stream = stream_new(loop, fd, fd, FETCH_HEADERS_MAX, REQUEST_MAX, &events, fetch, err);
    if (!fetch->stream)
        return err->code;
    int len = snprintf(request, sizeof request,
                       "GET %s HTTP/1.0\r\nHost: %s\r\nAccept: text/plain;version=0.0.4\r\n"
                       "User-Agent: deployctl/" VERSION "\r\nConnection: close\r\n\r\n",
                       url->path, url->host);
    stream_write(fetch->stream, request, (size_t)len);
    return 0;
}

struct fetch *fetch_start(struct loop *loop, const struct evidence_url *url, size_t max,
                          fetch_fn *fn, void *context, struct err *err)
{
    struct fetch *fetch = calloc(1, sizeof *fetch);
    if (!fetch) {
        err_set(err, ERR_MEMORY, "no memory to fetch a page");
        return NULL;
    }
    fetch->fn = fn;
    fetch->context = context;
    buf_init(&fetch->answer, max + FETCH_HEADERS_MAX);
    fetch->timer = loop_timer_new(loop, on_timer, fetch);
    int rc = fetch->timer ? open_stream(fetch, loop, url, err)
                          : err_set(err, ERR_MEMORY, "no memory to fetch a page");
    if (rc < 0) {
        fetch_free(fetch);
        return NULL;
    }
    loop_timer_arm(fetch->timer, FETCH_TIMEOUT_MS);
    return fetch;
}

void fetch_free(struct fetch *fetch)
{
    if (!fetch)
        return;
    stream_free(fetch->stream);
    loop_timer_free(fetch->timer);
    buf_done(&fetch->answer);
    free(fetch);
}
