/* agent.c - the loop of the agent: frames in, acts in order, answers out (agent.h). */
#include "deployctl/agent/agent.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "deployctl/agent/hook.h"
#include "deployctl/agent/host_verbs.h"
#include "deployctl/agent/look.h"
#include "deployctl/agent/release_verbs.h"
#include "deployctl/agent/session.h"
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
    { .name = "lock",    .run = host_verbs_lock },
    { .name = "unlock",  .run = host_verbs_unlock },
    { .name = "fence",   .run = host_verbs_fence },
    { .name = "stage",   .run = release_verbs_stage,   .fenced = true },
    { .name = "seal",    .run = release_verbs_seal,    .fenced = true },
    { .name = "unstage", .run = release_verbs_unstage, .fenced = true },
    { .name = "prune",   .run = release_verbs_prune,   .fenced = true },
    { .name = "record",  .run = host_verbs_record,     .fenced = true },
    { .name = "step",    .run = host_verbs_step,       .fenced = true },
    { .name = "mark",    .run = host_verbs_mark,       .fenced = true },
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

/* --- leaving -------------------------------------------------------------------------------- */

static void free_act(struct act *act)
{
    if (act->verb != NULL && act->verb->run == release_verbs_stage)
        release_verbs_forget(act);
    json_decref(act->request);
    free(act);
}

static void drop_queue(struct session *session)
{
    while (session->first != NULL) {
        struct act *act = session->first;
        session->first = act->next;
        free_act(act);
    }
    session->last = NULL;
    session->nqueued = 0;
}

/* No other act is begun; the present one is finished. */
static void leave(struct session *session)
{
    session->leaving = true;
    loop_timer_disarm(session->silence);
    drop_queue(session);
    if (session->present == NULL)
        loop_stop(session->loop);
}

static void on_silence(void *context)
{
    struct session *session = context;
    stream_free(session->stream);
    session->stream = NULL;
    leave(session);
}

/* --- out -------------------------------------------------------------------------------------- */

static void send_json(struct session *session, json_t *message)
{
    struct buf out;
    unsigned char header[FRAME_HEADER_BYTES] = { 0 };
    buf_init(&out, FRAME_CONTROL_MAX + FRAME_HEADER_BYTES);
    buf_put(&out, header, sizeof header);
    bool ok = jsonx_put(message, &out);
    json_decref(message);
    if (ok && session->stream != NULL) {
        frame_header(FRAME_CONTROL, out.len - FRAME_HEADER_BYTES, header);
        memcpy(out.data, header, sizeof header);
        ok = stream_write(session->stream, out.data, out.len);
    }
    buf_done(&out);
    if (ok || session->stream == NULL || session->leaving)
        return;
    /* An answer that cannot be given would leave the other side waiting for ever. */
    log_warn("the other side does not read, leaving", NULL);
    on_silence(session);
}

void session_event(struct session *session, json_t *event) { send_json(session, event); }

/* Says why, then closes. */
static void break_off(struct session *session, const struct err *err)
{
    json_t *message = json_object();
    jsonx_set_int(message, "id", 0);
    jsonx_set_bool(message, "ok", false);
    jsonx_set_text(message, "kind", err_code_name(err->code));
    jsonx_set_text(message, "message", err->text);
    send_json(session, message);
    fprintf(stderr, "deployctl agent: %s\n", err->text);
    session->exit_code = EXIT_PROTOCOL;
    session->leaving = true;
    drop_queue(session);
    if (session->stream != NULL)
        stream_finish(session->stream, LAST_WORDS_MS);
}

/* --- acts ---------------------------------------------------------------------------------------
 */

static void end_act(struct act *act, json_t *answer)
{
    struct session *session = act->session;
    jsonx_set_int(answer, "id", act->id);
    send_json(session, answer);
    if (session->present == act)
        session->present = NULL;
    else
        session->nloose--;
    free_act(act);
    if (session->leaving && session->present == NULL && session->stream == NULL)
        loop_stop(session->loop);
}

void act_ok(struct act *act, json_t *answer)
{
    if (answer == NULL)
        answer = json_object();
    jsonx_set_bool(answer, "ok", true);
    end_act(act, answer);
}

void act_fail(struct act *act, const struct err *err, json_t *extra)
{
    json_t *answer = extra != NULL ? extra : json_object();
    jsonx_set_bool(answer, "ok", false);
    jsonx_set_text(answer, "kind", err_code_name(err->code));
    jsonx_set_text(answer, "message", err->text);
    end_act(act, answer);
}

static void work_on_thread(void *context)
{
    struct act *act = context;
    act->rc = act->work(act, &act->err);
}

static void work_done(void *context)
{
    struct act *act = context;
    act->after(act, act->rc, &act->err);
}

void act_work(struct act *act, int (*work)(struct act *act, struct err *err),
              void (*after)(struct act *act, int rc, const struct err *err))
{
    act->work = work;
    act->after = after;
    if (loop_work_start(act->session->loop, work_on_thread, work_done, NULL, act) != NULL)
        return;
    act->rc = err_set(&act->err, ERR_MEMORY, "no memory for a thread");
    after(act, act->rc, &act->err);
}

/* May this act be begun?  The epoch is read anew each time: another one may have come. */
static int check_fence(const struct act *act, struct err *err)
{
    const struct session *session = act->session;
    char token[SESSION_TOKEN_MAX];
    struct record_epoch here;
    session_token(session, token);
    const char *said = jsonx_text(act->request, "token", "");
    if (!lock_held(&session->lock) || session->fence.epoch == 0)
        return err_set(err, ERR_STATE, "`%s` needs `lock` and `fence` first", act->verb->name);
    if (strcmp(said, token) != 0)
        return err_set(err, ERR_STALE, "the token is %s, not \"%.100s\"", token, said);
    int rc = record_epoch_read(session->host.meta, &here, err);
    if (rc == 0 && here.epoch > session->fence.epoch)
        rc = err_set(err, ERR_STALE, "epoch %lld is over: epoch %lld of rollout %s came since",
                     (long long)session->fence.epoch, (long long)here.epoch, here.rollout);
    return rc;
}

static void run_act(struct act *act)
{
    struct err err;
    if (act->verb->fenced && check_fence(act, &err) < 0)
        act_fail(act, &err, NULL);
    else
        act->verb->run(act);
}

/* At the end of each turn: the next act, when none is under way. */
static void begin_acts(void *context)
{
    struct session *session = context;
    while (session->present == NULL && session->first != NULL && !session->first->waits) {
        struct act *act = session->first;
        session->first = act->next;
        if (session->first == NULL)
            session->last = NULL;
        session->nqueued--;
        session->present = act;
        run_act(act);
    }
}

static int queue_act(struct session *session, struct act *act, struct err *err)
{
    if (session->nqueued + session->nloose >= SESSION_QUEUE_MAX)
        return err_set(err, ERR_LIMIT, "more than %d requests at once", SESSION_QUEUE_MAX);
    if (act->verb->at_once) {
        session->nloose++;
        run_act(act);
        return 0;
    }
    if (act->verb->run == release_verbs_stage)
        release_verbs_expect(act);
    if (session->last != NULL)
        session->last->next = act;
    else
        session->first = act;
    session->last = act;
    session->nqueued++;
    return 0;
}

/* --- in --------------------------------------------------------------------------------------- */

static int greet(struct session *session, const json_t *message, struct err *err)
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
    session->greeted = true;
    return 0;
}

static int on_request(struct session *session, json_t *message, struct err *err)
{
    const char *name;
    int64_t id;
    if (!session->greeted)
        return greet(session, message, err);
    if (jsonx_need_int(message, "id", &id, err) < 0 ||
        jsonx_need_text(message, "do", &name, err) < 0)
        return err->code;
    struct act *act = calloc(1, sizeof *act);
    if (act == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a request");
    act->session = session;
    act->id = id;
    act->request = json_incref(message);
    act->verb = find_verb(name);
    int rc = act->verb == NULL ? err_set(err, ERR_PROTOCOL, "unknown request \"%.40s\"", name)
                               : queue_act(session, act, err);
    if (rc < 0) {
        session->nloose++;
        act_fail(act, err, NULL);
    }
    return 0;
}

/* The stage that still waits for its manifest; a later one cannot be, frames come in order. */
static struct act *waiting_stage(struct session *session)
{
    for (struct act *act = session->first; act != NULL; act = act->next)
        if (act->waits)
            return act;
    return NULL;
}

static int on_frame(struct session *session, const struct frame *frame, struct err *err)
{
    struct act *stage;
    json_t *message;
    switch (frame->type) {
    case FRAME_CONTROL:
        message = jsonx_parse(frame->payload, frame->len, err);
        if (message == NULL)
            return err_wrap(err, "a control frame");
        int rc = on_request(session, message, err);
        json_decref(message);
        return rc;
    case FRAME_MANIFEST:
        stage = waiting_stage(session);
        if (stage == NULL)
            return err_set(err, ERR_PROTOCOL, "a manifest that belongs to no stage");
        release_verbs_manifest(stage, frame->payload, frame->len);
        return 0;
    case FRAME_DATA:
        /* Without a staging (it failed and was told so) contents on their way are dropped. */
        if (session->stage != NULL && !session->stage_busy)
            stage_receive(session->stage, frame->payload, frame->len);
        return 0;
    }
    return 0;
}

static void on_data(void *context, struct buf *in)
{
    struct session *session = context;
    size_t done = 0;
    struct err err;
    int rc = 0;
    loop_timer_arm(session->silence, PROTO_SILENCE_MS);
    while (rc == 0 && !session->leaving) {
        struct frame frame;
        size_t used = 0;
        rc = frame_parse(buf_text(in) + done, in->len - done, &frame, &used, &err);
        if (rc == 0)
            break;
        if (rc > 0) {
            done += used;
            rc = on_frame(session, &frame, &err);
            begin_acts(session);
        }
    }
    if (session->stream != NULL)
        buf_consume(in, session->leaving ? in->len : done);
    if (rc < 0)
        break_off(session, &err);
}

static void on_close(void *context, const char *reason)
{
    struct session *session = context;
    (void)reason;
    stream_free(session->stream);
    session->stream = NULL;
    leave(session);
}

/* --- what verbs need ----------------------------------------------------------------------------
 */

int session_host(struct session *session, struct err *err)
{
    if (session->host_open)
        return 0;
    int rc = host_open(&session->host, session->path, err);
    session->host_open = rc == 0;
    return rc;
}

void session_token(const struct session *session, char token[static SESSION_TOKEN_MAX])
{
    snprintf(token, SESSION_TOKEN_MAX, "%lld:%s", (long long)session->fence.epoch,
             session->fence.rollout);
}

int session_note(struct session *session, const char *name, json_t *members, bool must,
                 struct err *err)
{
    char token[SESSION_TOKEN_MAX];
    json_t *line = json_object();
    session_token(session, token);
    jsonx_set_text(line, "act", name);
    jsonx_set_text(line, "token", token);
    if (session->holder != NULL)
        jsonx_set_text(line, "who", jsonx_text(session->holder, "who", NULL));
    if (members != NULL)
        json_object_update(line, members);
    json_decref(members);
    int rc = journal_append(&session->journal, line, err);
    json_decref(line);
    if (rc < 0 && !must) {
        fprintf(stderr, "deployctl agent: %s\n", err->text);
        rc = 0;
    }
    return rc;
}

bool session_has_services(const struct session *session)
{
    return json_array_size(session->services) > 0;
}

int session_check_release(struct session *session, const char *id, struct err *err)
{
    struct host_releases list;
    int rc = host_list(&session->host, &list, err);
    if (rc < 0)
        return rc;
    const struct host_release *release = host_list_find(&list, id);
    if (release == NULL || !release->complete)
        rc = err_set(err, ERR_NOT_FOUND, "release %s is not here%s", id,
                     release != NULL ? ", or damaged" : "");
    host_list_done(&list);
    return rc;
}

void session_unlock(struct session *session)
{
    watch_stop(session);
    stage_free(session->stage);
    session->stage = NULL;
    record_watch_free(session->requests);
    session->requests = NULL;
    json_decref(session->holder);
    session->holder = NULL;
    session->fence = (struct record_epoch){ 0 };
    journal_done(&session->journal);
    lock_release(&session->lock);
}

/* --- the whole
 * ------------------------------------------------------------------------------------ */

static void say_hello(struct session *session)
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
    if (session->stream != NULL && stream_write(session->stream, FRAME_MAGIC, FRAME_MAGIC_BYTES))
        send_json(session, hello);
    else
        json_decref(hello);
}

static void on_term(void *context, int signum)
{
    (void)signum;
    on_silence(context); /* as if the connection were gone */
}

static int open_session(struct session *session, const char *socket, struct err *err)
{
    static const struct stream_events events = { on_data, NULL, on_close };
    session->children = children_new(session->loop, err);
    session->super = super_new(session->loop, socket, err);
    session->silence = loop_timer_new(session->loop, on_silence, session);
    if (session->children == NULL || session->super == NULL || session->silence == NULL)
        return err_set(err, ERR_MEMORY, "no memory");
    session->stream = stream_new(session->loop, STDIN_FILENO, STDOUT_FILENO, IN_MAX, OUT_MAX,
                                 &events, session, err);
    return session->stream == NULL ? err->code : 0;
}

static void close_session(struct session *session)
{
    session->leaving = true;
    stream_free(session->stream);
    session->stream = NULL;
    session_unlock(session);
    super_free(session->super);
    drop_queue(session);
    loop_timer_free(session->silence);
    children_free(session->children);
    host_done(&session->host);
    json_decref(session->services);
    json_decref(session->base);
}

int agent_run(const char *path, const char *socket)
{
    struct err err;
    struct session session = { .path = path, .lock = { -1 } };
    session.host = (struct host){ .root = -1, .releases = -1, .meta = -1, .manifests = -1 };
    journal_init(&session.journal);
    if (isatty(STDIN_FILENO) || isatty(STDOUT_FILENO)) {
        fprintf(stderr, "deployctl agent: this is the other end of a connection, started by "
                        "deployctl itself; it is not for people\n");
        return EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    umask(OUR_UMASK);
    session.loop = loop_new(&err);
    struct loop_signal *term = NULL;
    if (session.loop == NULL || open_session(&session, socket, &err) < 0) {
        fprintf(stderr, "deployctl agent: %s\n", err.text);
        session.exit_code = EXIT_MEMORY;
    } else {
        term = loop_signal_new(session.loop, SIGTERM, on_term, &session);
        loop_timer_arm(session.silence, PROTO_SILENCE_MS);
        say_hello(&session);
        loop_run(session.loop, begin_acts, &session);
    }
    if (session.loop != NULL) {
        loop_signal_free(term);
        close_session(&session);
        loop_free(session.loop);
    }
    return session.exit_code;
}
