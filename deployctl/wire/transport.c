/* transport.c - the contract is in transport.h. */
#include "deployctl/wire/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/auto.h"
#include "deployctl/wire/blame.h"
#include "deployctl/wire/launch.h"
#include "io/stream.h"

enum {
    ERRORS_MAX = 64 * 1024,
    IN_MAX = FRAME_CONTROL_MAX + FRAME_HEADER_BYTES + FRAME_NOISE_MAX + FRAME_MAGIC_BYTES,
    LAST_WORDS_MS = 1000, /* from the end of the child to the end of its output, or back */
    SSH_EXTRA_MS = 10000, /* ssh's own timeout should fire first: it knows more */
};

struct transport {
    struct loop *loop;
    struct children *children;
    struct transport_events events;
    void *context;
    struct arena arena; /* copies of the target's texts */
    const char *host, *remote_path, *login;
    bool local;
    int64_t timeout_ms;

    struct stream *stream, *errors; /* NULL once closed */
    struct buf error_text, noise;
    struct loop_timer *timer; /* for the magic, later for the last words */
    pid_t pid;                /* 0 once reaped */
    bool exited, opened, timed_out, closed_told;
    int code; /* exit code or signal */
    char reason[64];
    struct err broken; /* the agent broke the rules; code ERR_NONE if not */
    uint64_t sent, received;
    unsigned busy; /* inside callbacks of the owner */
    bool freed;
};

static void release(struct transport *t)
{
    stream_free(t->stream); /* closes the agent's stdin: it finishes its act and leaves */
    stream_free(t->errors);
    loop_timer_free(t->timer);
    if (t->pid > 0)
        children_end(t->children, t->pid);
    buf_done(&t->error_text);
    buf_done(&t->noise);
    arena_done(&t->arena);
    free(t);
}

static void leave(struct transport *t)
{
    if (--t->busy == 0 && t->freed)
        release(t);
}

/* --- the end -------------------------------------------------------------------------------- */

static void tell_close(struct transport *t)
{
    struct err err = t->broken;
    if (t->closed_told)
        return;
    t->closed_told = true;
    loop_timer_disarm(t->timer);
    struct blame blame = {
        .host = t->host,
        .remote_path = t->remote_path,
        .login = t->login != NULL ? t->login : "ssh",
        .noise = buf_text(&t->noise),
        .errors = buf_text(&t->error_text),
        .reason = t->reason,
        .local = t->local,
        .opened = t->opened,
        .timed_out = t->timed_out,
        .timeout_ms = t->timeout_ms,
        .exited = t->exited,
        .code = t->code,
    };
    if (err.code == ERR_NONE)
        blame_close(&blame, &err);
    t->busy++;
    if (!t->freed)
        t->events.on_close(t->context, &err);
    leave(t);
}

/* The reason is best known when the output has ended and the child is gone; neither is waited for
 * for long: a background process of ssh may keep the pipe. */
static void maybe_close(struct transport *t)
{
    if (t->pid == 0 && t->stream == NULL && t->errors == NULL)
        tell_close(t);
    else
        loop_timer_arm(t->timer, LAST_WORDS_MS);
}

static void on_timer(void *context)
{
    struct transport *t = context;
    if (!t->opened && t->pid != 0 && t->stream != NULL)
        t->timed_out = true;
    tell_close(t);
}

static void on_child_end(void *context, const struct reaper_exit *exit)
{
    struct transport *t = context;
    t->pid = 0;
    t->exited = exit->code == CLD_EXITED;
    t->code = exit->status;
    maybe_close(t);
}

/* --- bytes ---------------------------------------------------------------------------------- */

static bool skip_noise(struct transport *t, struct buf *in)
{
    size_t used = frame_find_magic(buf_text(in), in->len);
    if (used > 0) {
        buf_put(&t->noise, in->data, used - FRAME_MAGIC_BYTES);
        buf_consume(in, used);
        t->opened = true;
        loop_timer_disarm(t->timer);
        if (t->events.on_open != NULL)
            t->events.on_open(t->context);
        return !t->freed;
    }
    buf_clear(&t->noise);
    buf_put(&t->noise, buf_text(in), in->len < FRAME_NOISE_MAX ? in->len : FRAME_NOISE_MAX);
    if (in->len > FRAME_NOISE_MAX + FRAME_MAGIC_BYTES) {
        snprintf(t->reason, sizeof t->reason, "noise");
        stream_free(t->stream);
        t->stream = NULL;
        tell_close(t);
    }
    return false;
}

static void parse_frames(struct transport *t, struct buf *in)
{
    size_t done = 0;
    while (!t->freed && t->broken.code == ERR_NONE) {
        struct frame frame;
        size_t used = 0;
        int rc = frame_parse(buf_text(in) + done, in->len - done, &frame, &used, &t->broken);
        if (rc == 0)
            break;
        if (rc < 0) {
            err_wrap(&t->broken, "the agent on %s", t->host);
            break;
        }
        done += used;
        t->events.on_frame(t->context, &frame);
    }
    buf_consume(in, done);
    if (t->broken.code != ERR_NONE && !t->freed) {
        stream_free(t->stream);
        t->stream = NULL;
        tell_close(t);
    }
}

static void on_data(void *context, struct buf *in)
{
    struct transport *t = context;
    size_t before = in->len;
    t->busy++;
    if (t->opened || skip_noise(t, in))
        parse_frames(t, in);
    if (t->stream != NULL)
        t->received += before - in->len;
    leave(t);
}

static void on_drain(void *context)
{
    struct transport *t = context;
    t->busy++;
    if (t->events.on_drain != NULL)
        t->events.on_drain(t->context);
    leave(t);
}

static void on_stream_close(void *context, const char *reason)
{
    struct transport *t = context;
    snprintf(t->reason, sizeof t->reason, "%s", reason);
    stream_free(t->stream);
    t->stream = NULL;
    maybe_close(t);
}

static void on_errors(void *context, struct buf *in)
{
    struct transport *t = context;
    if (t->error_text.len + in->len > ERRORS_MAX) /* the last words matter */
        buf_consume(&t->error_text, t->error_text.len + in->len - ERRORS_MAX);
    buf_put(&t->error_text, in->data, in->len);
    buf_consume(in, in->len);
}

static void on_errors_close(void *context, const char *reason)
{
    struct transport *t = context;
    (void)reason;
    stream_free(t->errors);
    t->errors = NULL;
    if (t->pid == 0)
        maybe_close(t);
}

/* --- starting ------------------------------------------------------------------------------- */

static int check_word(const char *what, const char *word, struct err *err)
{
    if (word == NULL || word[0] != '/' ||
        word[strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-")] !=
            '\0')
        return err_set(err, ERR_INVALID,
                       "%s \"%s\" must be absolute and have only the characters "
                       "A-Z a-z 0-9 _ . / -",
                       what, word != NULL ? word : "");
    return 0;
}

static char **local_words(struct transport *t, const struct transport_target *target)
{
    char **argv = arena_array(&t->arena, 6, sizeof *argv);
    if (argv == NULL)
        return NULL;
    bool socket = target->local_socket != NULL && target->local_socket[0] != '\0';
    argv[0] = arena_strdup(&t->arena, "deployctl");
    argv[1] = arena_strdup(&t->arena, "agent");
    argv[2] = arena_strdup(&t->arena, target->path);
    argv[3] = socket ? arena_strdup(&t->arena, "--socket") : NULL;
    argv[4] = socket ? arena_strdup(&t->arena, target->local_socket) : NULL;
    return argv;
}

static int open_streams(struct transport *t, struct launched *p, struct err *err)
{
    static const struct stream_events main_events = { on_data, on_drain, on_stream_close };
    static const struct stream_events error_events = { on_errors, NULL, on_errors_close };
    t->stream = stream_new(t->loop, take_fd(&p->out), take_fd(&p->in), IN_MAX, TRANSPORT_QUEUE_MAX,
                           &main_events, t, err);
    if (t->stream == NULL)
        return err->code;
    t->errors = stream_new(t->loop, take_fd(&p->errors), -1, ERRORS_MAX, 0, &error_events, t, err);
    return t->errors == NULL ? err->code : 0;
}

static char **words_of(struct transport *t, const struct transport_target *target, struct err *err)
{
    if (t->local)
        return local_words(t, target);
    const char *command =
        arena_printf(&t->arena, "exec %s agent %s", target->remote_path, target->path);
    return command != NULL ? launch_ssh_words(&t->arena, target, command, &t->login, err) : NULL;
}

static int start(struct transport *t, const struct transport_target *target, struct err *err)
{
    struct launched ends = { .in = -1, .out = -1, .errors = -1 };
    AUTO_FREE char *program = NULL;
    char **argv = words_of(t, target, err);
    if (t->arena.failed)
        return err_set(err, ERR_MEMORY, "no memory to connect to %s", t->host);
    if (argv == NULL)
        return err->code;
    program = t->local ? strdup(child_own_program()) : launch_find_ssh(err);
    if (program == NULL)
        return t->local ? err_set(err, ERR_MEMORY, "no memory to connect to %s", t->host)
                        : err->code;
    int rc = launch(t->children, program, argv, on_child_end, t, &ends, err);
    t->pid = ends.pid;
    if (rc == 0)
        rc = open_streams(t, &ends, err);
    auto_close_(&ends.in);
    auto_close_(&ends.out);
    auto_close_(&ends.errors);
    return rc;
}

static int check_target(const struct transport_target *target, struct err *err)
{
    int rc = 0;
    if (target->children == NULL)
        return err_set(err, ERR_INVALID, "transport_open needs `children`");
    if (target->local)
        return 0;
    rc = check_word("path", target->path, err);
    if (rc == 0)
        rc = check_word("remote_path", target->remote_path, err);
    if (rc == 0 &&
        (target->address == NULL || target->address[0] == '\0' || target->address[0] == '-'))
        rc = err_set(err, ERR_INVALID, "\"%s\" cannot be the address of a host",
                     target->address != NULL ? target->address : "");
    return rc;
}

struct transport *transport_open(struct loop *loop, const struct transport_target *target,
                                 const struct transport_events *events, void *context,
                                 struct err *err)
{
    if (check_target(target, err) < 0)
        return NULL;
    struct transport *t = calloc(1, sizeof *t);
    if (t == NULL) {
        err_set(err, ERR_MEMORY, "no memory to connect to %s", target->host);
        return NULL;
    }
    t->loop = loop;
    t->children = target->children;
    t->events = *events;
    t->context = context;
    t->local = target->local;
    t->timeout_ms = target->connect_timeout_ms;
    arena_init(&t->arena);
    buf_init(&t->error_text, ERRORS_MAX + 1);
    buf_init(&t->noise, FRAME_NOISE_MAX + 2 * FRAME_MAGIC_BYTES);
    t->host = arena_strdup(&t->arena, target->host);
    t->remote_path =
        arena_strdup(&t->arena, target->remote_path != NULL ? target->remote_path : "");
    t->timer = loop_timer_new(loop, on_timer, t);
    int rc = t->timer == NULL || t->arena.failed
                 ? err_set(err, ERR_MEMORY, "no memory to connect to %s", target->host)
                 : start(t, target, err);
    if (rc < 0) {
        release(t);
        return NULL;
    }
    loop_timer_arm(t->timer, t->timeout_ms + (t->local ? 0 : SSH_EXTRA_MS));
    return t;
}

bool transport_send(struct transport *t, enum frame_type type, const void *payload, size_t len)
{
    unsigned char header[FRAME_HEADER_BYTES];
    if (t->stream == NULL || stream_queued(t->stream) + len + sizeof header > TRANSPORT_QUEUE_MAX)
        return false;
    frame_header(type, len, header);
    if (!stream_write(t->stream, header, sizeof header))
        return false;
    t->sent += sizeof header + len;
    return len == 0 || stream_write(t->stream, payload, len);
}

size_t transport_queued(const struct transport *t)
{
    return t->stream != NULL ? stream_queued(t->stream) : 0;
}

uint64_t transport_sent_bytes(const struct transport *t) { return t->sent; }
uint64_t transport_received_bytes(const struct transport *t) { return t->received; }

void transport_free(struct transport *t)
{
    if (t == NULL)
        return;
    t->freed = true;
    if (t->busy == 0)
        release(t);
}
