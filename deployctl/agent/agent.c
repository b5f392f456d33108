/* agent.c - the loop of the agent: frames in, acts in order, answers out (agent.h). */
#include "deployctl/agent/agent.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "deployctl/agent/drain.h"
#include "deployctl/agent/freeze.h"
#include "deployctl/agent/hook.h"
#include "deployctl/agent/host_verbs.h"
#include "deployctl/agent/inspect.h"
#include "deployctl/agent/logs.h"
#include "deployctl/agent/look.h"
#include "deployctl/agent/release_verbs.h"
#include "deployctl/agent/sample.h"
#include "deployctl/agent/talk.h"
#include "deployctl/agent/switch.h"
#include "deployctl/agent/watch.h"
#include "deployctl/wire/frame.h"
#include "deployctl/wire/proto.h"
#include "io/jsonx.h"

enum {
    IN_MAX = FRAME_CONTROL_MAX + FRAME_HEADER_BYTES + 1,
    OUT_MAX = 32 * 1024 * 1024,
    LAST_WORDS_MS = 2000,
    OUR_UMASK = 022,
};
enum { EXIT_DONE = 0, EXIT_PROTOCOL = 1, EXIT_USAGE = 2, EXIT_MEMORY = 3 };

static const struct verb verbs[] = {
    /* clang-format off */
    { .name = "ping",    .run = host_verbs_ping,       .at_once = true },
    { .name = "look",    .run = look_verb,             .at_once = true },
    { .name = "request", .run = host_verbs_request,    .at_once = true },
    { .name = "history", .run = host_verbs_history,    .at_once = true },
    { .name = "sample",  .run = sample_verb,           .at_once = true },
    { .name = "freeze",  .run = freeze_verb,           .at_once = true },
    { .name = "logs",    .run = logs_verb,             .at_once = true },
    { .name = "verify",  .run = inspect_verify_verb },
    { .name = "diff",    .run = inspect_diff_verb },
    { .name = "lock",    .run = host_verbs_lock },
    { .name = "unlock",  .run = host_verbs_unlock },
    { .name = "fence",   .run = host_verbs_fence },
    { .name = "stage",   .run = release_verbs_stage,   .fenced = true },
    { .name = "chunks",  .run = release_verbs_chunks,  .fenced = true },
    { .name = "seal",    .run = release_verbs_seal,    .fenced = true },
    { .name = "unstage", .run = release_verbs_unstage, .fenced = true },
    { .name = "prune",   .run = release_verbs_prune,   .fenced = true },
    { .name = "record",  .run = host_verbs_record,     .fenced = true },
    { .name = "step",    .run = host_verbs_step,       .fenced = true },
    { .name = "mark",    .run = host_verbs_mark,       .fenced = true },
    { .name = "verdict", .run = host_verbs_verdict,    .fenced = true },
    { .name = "close",   .run = host_verbs_close,      .fenced = true },
    { .name = "hook",    .run = hook_verb,             .fenced = true },
    { .name = "switch",  .run = switch_verb,           .fenced = true },
    { .name = "confirm", .run = switch_confirm_verb,   .fenced = true },
    { .name = "extend",  .run = switch_extend_verb,    .fenced = true },
    { .name = "revert",  .run = switch_revert_verb,    .fenced = true },
    { .name = "watch",   .run = watch_verb,            .fenced = true },
    /* clang-format on */
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static void on_silence(void *context)
{
    struct talk *talk = context;
    stream_free(talk->stream);
    talk->stream = NULL;
    talk_leave(talk);
}

/* Says why, then closes. */
static void break_off(struct talk *talk, const struct err *err)
{
    json_t *message = json_object();
    jsonx_set_int(message, "n", 0);
    jsonx_set_bool(message, "ok", false);
    jsonx_set_text(message, "kind", err_code_name(err->code));
    jsonx_set_text(message, "message", err->text);
    talk_send(talk, message);
    fprintf(stderr, "deployctl agent: %s\n", err->text);
    talk->exit_code = EXIT_PROTOCOL;
    talk->leaving = true;
    act_drop_queue(talk);
    if (talk->stream != NULL)
        stream_finish(talk->stream, LAST_WORDS_MS);
}

/* --- in --------------------------------------------------------------------------------------- */

static int greet(struct talk *talk, const json_t *message, struct err *err)
{
    const json_t *hello = json_object_get(message, "hello");
    if (!json_is_object(hello))
        return err_set(err, ERR_PROTOCOL, "the conversation has to begin with hello");
    int64_t lowest = jsonx_int(hello, "lowest", 0), highest = jsonx_int(hello, "highest", 0);
    if (highest < PROTO_LOWEST || lowest > PROTO_HIGHEST)
        return err_set(err, ERR_PROTOCOL,
                       "deployctl %s here speaks protocol %d to %d, the other side %lld to %lld; "
                       "install the same version on both",
                       VERSION, PROTO_LOWEST, PROTO_HIGHEST, (long long)lowest, (long long)highest);
    talk->greeted = true;
    return 0;
}

static int on_request(struct talk *talk, json_t *message, struct err *err)
{
    const char *name;
    int64_t number;
    if (!talk->greeted)
        return greet(talk, message, err);
    if (jsonx_need_int(message, "n", &number, err) < 0 ||
        jsonx_need_text(message, "do", &name, err) < 0)
        return err_wrap(err, "a request needs \"n\", its number, and \"do\"");
    struct act *act = calloc(1, sizeof *act);
    if (act == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a request");
    act->talk = talk;
    act->number = number;
    act->request = json_incref(message);
    act->verb = find_verb(name);
    int rc = act->verb == NULL ? err_set(err, ERR_PROTOCOL, "unknown request \"%.40s\"", name)
                               : act_queue(act, err);
    if (rc < 0) {
        talk->nloose++;
        act_fail(act, err, NULL);
    }
    return 0;
}

static int on_frame(struct talk *talk, const struct frame *frame, struct err *err)
{
    struct act *stage;
    json_t *message;
    switch (frame->type) {
    case FRAME_CONTROL:
        message = jsonx_parse(frame->payload, frame->len, err);
        if (message == NULL)
            return err_wrap(err, "a control frame");
        int rc = on_request(talk, message, err);
        json_decref(message);
        return rc;
    case FRAME_MANIFEST:
        stage = act_waiting_stage(talk);
        if (stage == NULL)
            return err_set(err, ERR_PROTOCOL, "a manifest that belongs to no stage");
        release_verbs_manifest(stage, frame->payload, frame->len);
        return 0;
    case FRAME_DATA:
        /* Without a staging (it failed and was told so) contents on their way are dropped. */
        if (talk->stage != NULL && !talk->stage_busy)
            stage_receive(talk->stage, frame->payload, frame->len);
        return 0;
    }
    return 0;
}

static void on_data(void *context, struct buf *in)
{
    struct talk *talk = context;
    size_t done = 0;
    struct err err;
    int rc = 0;
    loop_timer_arm(talk->silence, PROTO_SILENCE_MS);
    while (rc == 0 && !talk->leaving) {
        struct frame frame;
        size_t used = 0;
        rc = frame_parse(buf_text(in) + done, in->len - done, &frame, &used, &err);
        if (rc == 0)
            break;
        if (rc > 0) {
            done += used;
            rc = on_frame(talk, &frame, &err);
            act_begin_next(talk);
        }
    }
    if (talk->stream != NULL)
        buf_consume(in, talk->leaving ? in->len : done);
    if (rc < 0)
        break_off(talk, &err);
}

static void on_close(void *context, const char *reason)
{
    struct talk *talk = context;
    (void)reason;
    stream_free(talk->stream);
    talk->stream = NULL;
    talk_leave(talk);
}

static void on_turn(void *context) { act_begin_next(context); }

/* --- the whole
 * ------------------------------------------------------------------------------------ */

static void say_hello(struct talk *talk)
{
    char host[256] = "?";
    const char *user = getenv("USER");
    json_t *hello = json_object(), *inner = json_object();
    gethostname(host, sizeof host - 1);
    jsonx_set_int(inner, "lowest", PROTO_LOWEST);
    jsonx_set_int(inner, "highest", PROTO_HIGHEST);
    jsonx_set_text(inner, "version", VERSION);
    jsonx_set_text(inner, "host", host);
    jsonx_set_int(inner, "pid", getpid());
    jsonx_set_text(inner, "user", user != NULL ? user : geteuid() == 0 ? "root" : "?");
    json_object_set_new(hello, "hello", inner);
    if (talk->stream != NULL && stream_write(talk->stream, FRAME_MAGIC, FRAME_MAGIC_BYTES))
        talk_send(talk, hello);
    else
        json_decref(hello);
}

static void on_term(void *context, int signum)
{
    (void)signum;
    on_silence(context); /* as if the connection were gone */
}

static int open_session(struct talk *talk, const char *socket, struct err *err)
{
    static const struct stream_events events = { on_data, NULL, on_close };
    talk->children = children_new(talk->loop, err);
    talk->super = super_new(talk->loop, socket, err);
    talk->silence = loop_timer_new(talk->loop, on_silence, talk);
    if (talk->children == NULL || talk->super == NULL || talk->silence == NULL)
        return err_set(err, ERR_MEMORY, "no memory");
    talk->stream =
        stream_new(talk->loop, STDIN_FILENO, STDOUT_FILENO, IN_MAX, OUT_MAX, &events, talk, err);
    return talk->stream == NULL ? err->code : 0;
}

static void close_session(struct talk *talk)
{
    talk->leaving = true;
    stream_free(talk->stream);
    talk->stream = NULL;
    talk_unlock(talk);
    super_free(talk->super); /* ends what waits for it */
    drain_free(talk->drain);
    sample_stop(talk);
    logs_stop(talk);
    act_drop_queue(talk);
    loop_timer_free(talk->silence);
    children_free(talk->children);
    host_done(&talk->host);
    json_decref(talk->services);
    json_decref(talk->configs);
    json_decref(talk->base);
}

int agent_run(const char *path, const char *socket)
{
    struct err err;
    char clean[PATH_MAX];
    struct talk talk = { .path = clean, .lock = { -1 } };
    talk.host = (struct host){ .root = -1, .releases = -1, .meta = -1, .manifests = -1 };
    journal_init(&talk.journal);
    snprintf(clean, sizeof clean, "%s", path);
    for (size_t len = strlen(clean); len > 1 && clean[len - 1] == '/'; len--)
        clean[len - 1] = '\0';
    if (isatty(STDIN_FILENO) || isatty(STDOUT_FILENO)) {
        fprintf(stderr, "deployctl agent: this is the other end of a connection, started by "
                        "deployctl itself; it is not for people\n");
        return EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    umask(OUR_UMASK);
    talk.loop = loop_new(&err);
    struct loop_signal *term = NULL;
    if (talk.loop == NULL || open_session(&talk, socket, &err) < 0) {
        fprintf(stderr, "deployctl agent: %s\n", err.text);
        talk.exit_code = EXIT_MEMORY;
    } else {
        term = loop_signal_new(talk.loop, SIGTERM, on_term, &talk);
        loop_timer_arm(talk.silence, PROTO_SILENCE_MS);
        say_hello(&talk);
        loop_run(talk.loop, on_turn, &talk);
    }
    if (talk.loop != NULL) {
        loop_signal_free(term);
        close_session(&talk);
        loop_free(talk.loop);
    }
    return talk.exit_code;
}
