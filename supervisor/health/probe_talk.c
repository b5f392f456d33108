/* probe_talk.c - the contract is in probe_talk.h. */
#include "supervisor/health/probe_talk.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/listen.h"
#include "supervisor/health/grpc.h"
#include "supervisor/health/probe.h"

enum {
    ANSWER_MAX = 8192,
    GRPC_OUT_MAX = 4096,
    DRAIN_BYTES = 1 << 20,
    QUOTE_LEN = 24,
    TEXT_MAX = 128
};

enum phase { PHASE_IDLE, PHASE_CONNECTING, PHASE_TALKING, PHASE_DRAINING };

struct probe_talk {
    struct loop *loop;
    struct probe_talk_ask asks;
    struct grpc *grpc; /* of this attempt, NULL = another dialect */
    void (*end)(void *context, enum probe_talk_end how, const char *text);
    void *context;
    enum phase phase;
    struct addr addrs[PROBE_TALK_ADDRS];
    size_t naddrs, address; /* which of them is being tried */
    int64_t drain_ms;
    struct loop_timer *drain_timer;
    int fd;
    struct loop_watch *watch;
    struct buf answer;
    struct buf out; /* grpc: to be sent */
    size_t sent, drained;
};

/* --- the end --- */

void probe_talk_hang_up(struct probe_talk *talk)
{
    loop_timer_disarm(talk->drain_timer);
    loop_watch_free(talk->watch);
    talk->watch = NULL;
    if (talk->fd >= 0)
        close(talk->fd);
    talk->fd = -1;
    talk->phase = PHASE_IDLE;
    buf_done(&talk->answer);
    buf_done(&talk->out);
    if (talk->grpc)
        grpc_done(talk->grpc);
    free(talk->grpc);
    talk->grpc = NULL;
}

/* Nobody may touch the talk after these: its owner may free it when told. */
static void __attribute__((format(printf, 3, 4)))
hang_up_with(struct probe_talk *talk, enum probe_talk_end how, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    probe_talk_hang_up(talk);
    talk->end(talk->context, how, text);
}

/* Reads what is of no interest; true when the server has left, or says too much. */
static bool has_left(struct probe_talk *talk)
{
    char rubbish[16384];

    ssize_t n = recv(talk->fd, rubbish, sizeof rubbish, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    talk->drained += n > 0 ? (size_t)n : 0;
    return n <= 0 || talk->drained >= DRAIN_BYTES;
}

/* Most servers have left when their answer is read. */
static void leave_with(struct probe_talk *talk, enum probe_talk_end how, const char *text)
{
    bool answered = talk->phase == PHASE_TALKING;

    talk->phase = PHASE_DRAINING;
    talk->drained = 0;
    if (answered && has_left(talk)) {
        probe_talk_hang_up(talk);
    } else {
        loop_watch_set(talk->watch, LOOP_READ);
        loop_timer_arm(talk->drain_timer, talk->drain_ms);
    }
    talk->end(talk->context, how, text);
}

static bool is_lack(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

/* strerror in the middle of a sentence. */
static void fail_sys(struct probe_talk *talk, int error)
{
    char text[TEXT_MAX];

    snprintf(text, sizeof text, "%s",
             error == EAGAIN ? "its queue of connections is full" : strerror(error));
    text[0] = (char)tolower((unsigned char)text[0]);
    hang_up_with(talk, is_lack(error) ? PROBE_TALK_LACK : PROBE_TALK_BAD, "%s", text);
}

static void drain(struct probe_talk *talk)
{
    if (has_left(talk))
        probe_talk_hang_up(talk);
}

static void on_drain_timer(void *context) { probe_talk_hang_up(context); }

/* --- talking --- */

/* What a server sent, fit to be printed. */
static const char *quote(const char *text, size_t len, char *ret, size_t size)
{
    size_t n = len < size - 1 ? len : size - 1;

    for (size_t i = 0; i < n; i++)
        ret[i] = isprint((unsigned char)text[i]) ? text[i] : '?';
    ret[n] = '\0';
    return ret;
}

static void judge_line(struct probe_talk *talk, const char *line, size_t len)
{
    char text[96];
    int code = 0;

    while (len > 0 && isspace((unsigned char)line[len - 1]))
        len--;
    int rc = probe_http_status(line, len, &code);
    if (rc < 0)
        hang_up_with(talk, PROBE_TALK_BAD, "not an HTTP answer: \"%s\"",
                     quote(line, len, text, QUOTE_LEN));
    else /* behind "HTTP/1.1 ": 503 Service Unavailable; of a good one the number is enough */
        leave_with(talk, rc == 1 ? PROBE_TALK_OK : PROBE_TALK_BAD,
                   quote(line + 9, rc == 1 ? 3 : len - 9, text, sizeof text));
}

/* "HTTP/1.1 103 Early Hints" and its lines are not the answer yet.  The length of such a part, 0
 * when it is not complete, -1 when it is none. */
static ssize_t interim_len(const char *text, size_t len)
{
    int code;

    if (probe_http_status(text, len, &code) != 0 || code >= 200)
        return -1;
    for (size_t i = 1; i < len; i++)
        if (text[i] == '\n' &&
            (text[i - 1] == '\n' || (i > 1 && text[i - 1] == '\r' && text[i - 2] == '\n')))
            return (ssize_t)i + 1;
    return 0;
}

static bool may_be_http(const char *text, size_t len)
{
    return memcmp(text, "HTTP/1.", len < 7 ? len : 7) == 0;
}

/* True when it was the end; the talk may be gone then. */
static bool judge(struct probe_talk *talk)
{
    for (;;) {
        const char *text = talk->answer.data;
        size_t len = talk->answer.len;
        const char *end = len ? memchr(text, '\n', len) : NULL;
        ssize_t interim = end ? interim_len(text, len) : 0;

        if (interim > 0) {
            buf_consume(&talk->answer, (size_t)interim);
            continue;
        }
        if (end && interim < 0) {
            judge_line(talk, text, (size_t)(end - text));
            return true;
        }
        if (!end && len > 0 && !may_be_http(text, len)) {
            judge_line(talk, text, len);
            return true;
        }
        if (len < ANSWER_MAX)
            return false;
        hang_up_with(talk, PROBE_TALK_BAD, "over %d bytes without an end of the status line",
                     ANSWER_MAX);
        return true;
    }
}

static bool send_all(struct probe_talk *talk);

/* The farewell goes out with the verdict: after it the server closes. */
static bool judge_grpc(struct probe_talk *talk, const char *data, size_t len)
{
    char text[GRPC_TEXT_MAX];
    enum grpc_verdict verdict = grpc_feed(talk->grpc, data, len, &talk->out, text);

    send_all(talk);
    if (verdict == GRPC_MORE)
        return false;
    shutdown(talk->fd, SHUT_WR);
    leave_with(talk, verdict == GRPC_OK ? PROBE_TALK_OK : PROBE_TALK_BAD, text);
    return true;
}

static bool judge_some(struct probe_talk *talk, const char *data, size_t len)
{
    if (talk->grpc)
        return judge_grpc(talk, data, len);
    buf_put(&talk->answer, data, len);
    if (!talk->answer.failed)
        return judge(talk);
    fail_sys(talk, ENOMEM);
    return true;
}

static bool read_answer(struct probe_talk *talk)
{
    char space[ANSWER_MAX];

    for (;;) {
        ssize_t n = recv(talk->fd, space, ANSWER_MAX - talk->answer.len, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n < 0) {
            fail_sys(talk, errno);
            return true;
        }
        if (n == 0) {
            bool some = talk->answer.len > 0 || (talk->grpc && talk->grpc->total > 0);
            hang_up_with(talk, PROBE_TALK_BAD, "%s",
                         some ? "closed in the middle of its answer" : "closed before answering");
            return true;
        }
        if (judge_some(talk, space, (size_t)n))
            return true;
    }
}

/* False while something is left.  A server may answer and close before it has read the request:
 * then writing fails, and reading tells. */
static bool send_all(struct probe_talk *talk)
{
    const char *text = talk->grpc ? talk->out.data : talk->asks.request;
    size_t len = talk->grpc ? talk->out.len : strlen(text);

    while (talk->sent < len) {
        ssize_t n =
            send(talk->fd, text + talk->sent, len - talk->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return false;
        talk->sent = n < 0 ? len : talk->sent + (size_t)n;
    }
    if (talk->grpc) {
        buf_consume(&talk->out, len);
        talk->sent = 0;
    }
    return true;
}

static bool ask(struct probe_talk *talk)
{
    bool all = send_all(talk);

    loop_watch_set(talk->watch, all ? LOOP_READ : LOOP_READ | LOOP_WRITE);
    return all;
}

static bool converse(struct probe_talk *talk)
{
    return (ask(talk) || talk->grpc) && read_answer(talk);
}

/* True when it was the end. */
static bool begin_grpc(struct probe_talk *talk)
{
    talk->grpc = calloc(1, sizeof *talk->grpc);
    buf_init(&talk->out, GRPC_OUT_MAX);
    if (talk->grpc)
        grpc_begin(talk->grpc, talk->asks.authority, talk->asks.service, &talk->out);
    if (talk->grpc && !talk->out.failed)
        return false;
    fail_sys(talk, ENOMEM);
    return true;
}

/* --- connecting --- */

/* A port of the ephemeral range that nobody listens on may be given to us as our own, and then we
 * talk to ourselves. */
static bool is_ourselves(int fd, const struct addr *there)
{
    struct addr here = { .len = sizeof here.at };

    return there->at.ss_family != AF_UNIX &&
           getsockname(fd, (struct sockaddr *)&here.at, &here.len) == 0 && here.len == there->len &&
           memcmp(&here.at, &there->at, here.len) == 0;
}

/* 0, -EINPROGRESS, or why not. */
static int connection(int fd)
{
    struct addr there = { .len = sizeof there.at };
    int error = 0;
    socklen_t len = sizeof error;

    if (getpeername(fd, (struct sockaddr *)&there.at, &there.len) == 0)
        return is_ourselves(fd, &there) ? -ECONNREFUSED : 0;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    return error ? -error : -EINPROGRESS;
}

static void on_watch(void *context, unsigned events);
static bool connected(struct probe_talk *talk);

/* Begins with talk->address and goes on with the next while one refuses at once.  On this host a
 * connection is there at once: it is not waited for. */
static bool dial(struct probe_talk *talk)
{
    int fd = -EDESTADDRREQ;

    for (; talk->address < talk->naddrs; talk->address++)
        if ((fd = listen_connect(&talk->addrs[talk->address])) >= 0 || is_lack(-fd))
            break;
    if (fd < 0) {
        fail_sys(talk, -fd);
        return true;
    }
    talk->fd = fd;
    talk->watch = loop_watch_new(talk->loop, fd, on_watch, talk, NULL);
    if (!talk->watch) {
        fail_sys(talk, ENOMEM);
        return true;
    }
    buf_init(&talk->answer, ANSWER_MAX);
    talk->sent = 0;
    talk->phase = PHASE_CONNECTING;
    return connected(talk);
}

static bool connected(struct probe_talk *talk)
{
    int error = -connection(talk->fd);

    if (error == EINPROGRESS) {
        loop_watch_set(talk->watch, LOOP_WRITE);
        return false;
    }
    if (error != 0 && talk->address + 1 < talk->naddrs) {
        probe_talk_hang_up(talk);
        talk->address++;
        return dial(talk);
    }
    if (error != 0) {
        fail_sys(talk, error);
        return true;
    }
    if (talk->asks.authority && begin_grpc(talk))
        return true;
    if (talk->asks.authority || talk->asks.request[0]) {
        talk->phase = PHASE_TALKING;
        ask(talk);
        return false;
    }
    shutdown(talk->fd, SHUT_WR);
    leave_with(talk, PROBE_TALK_OK, "connected");
    return true;
}

static bool step(struct probe_talk *talk)
{
    switch (talk->phase) {
    case PHASE_CONNECTING:
        return connected(talk);
    case PHASE_TALKING:
        return converse(talk);
    case PHASE_DRAINING:
        drain(talk);
        break;
    case PHASE_IDLE:
        break;
    }
    return false;
}

static void on_watch(void *context, unsigned events)
{
    (void)events;
    step(context);
}

void probe_talk_begin(struct probe_talk *talk, const struct addr *addrs, size_t count,
                      int64_t drain_ms)
{
    probe_talk_hang_up(talk);
    talk->naddrs = count < PROBE_TALK_ADDRS ? count : PROBE_TALK_ADDRS;
    memcpy(talk->addrs, addrs, talk->naddrs * sizeof *addrs);
    talk->address = 0;
    talk->drain_ms = drain_ms;
    dial(talk);
}

bool probe_talk_catch_up(struct probe_talk *talk)
{
    struct pollfd at = { .fd = talk->fd,
                         .events = talk->phase == PHASE_CONNECTING ? POLLOUT : POLLIN };

    return talk->fd >= 0 && poll(&at, 1, 0) > 0 && step(talk);
}

const char *probe_talk_missing(const struct probe_talk *talk)
{
    if (talk->phase == PHASE_CONNECTING)
        return "no connection";
    bool some = talk->answer.len > 0 || (talk->grpc && talk->grpc->total > 0);
    return some ? "only part of an answer" : "no answer";
}

struct probe_talk *probe_talk_new(struct loop *loop, const struct probe_talk_ask *asks,
                                  void (*end)(void *context, enum probe_talk_end how,
                                              const char *text),
                                  void *context)
{
    struct probe_talk *talk = calloc(1, sizeof *talk);

    if (!talk)
        return NULL;
    *talk = (struct probe_talk){
        .loop = loop, .asks = *asks, .end = end, .context = context, .fd = -1
    };
    buf_init(&talk->answer, ANSWER_MAX);
    talk->drain_timer = loop_timer_new(loop, on_drain_timer, talk);
    if (!talk->drain_timer) {
        free(talk);
        return NULL;
    }
    return talk;
}

void probe_talk_free(struct probe_talk *talk)
{
    if (!talk)
        return;
    probe_talk_hang_up(talk);
    loop_timer_free(talk->drain_timer);
    free(talk);
}
