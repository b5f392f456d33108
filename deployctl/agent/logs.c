/* logs.c - the contract is in logs.h, the verb's meaning in deployctl/wire/proto.h. */
#include "deployctl/agent/logs.h"

#include <stdlib.h>
#include <string.h>

#include "io/jsonx.h"

enum {
    CALL_MS = 5000,
    EVERY_MS = 500,
    AGAIN_MS = 20,            /* there was so much that more may be there already */
    MUCH = 30 * 1024,         /* of one instance: about what the supervisor tells at once */
    QUEUE_MOST = 1024 * 1024, /* more on its way: the other side is asked for patience */
    LINES_MAX = 10000,
};

struct logs {
    struct talk *talk;
    struct loop_timer *timer;
    json_t *names, *cursors; /* owned */
    char *trouble;           /* owned; told last, NULL = none */
    int64_t lines;
    bool follow, on_err, asking;
    unsigned left_out; /* told once */
};

static void ask(struct logs *logs);

static void on_time(void *context)
{
    struct logs *logs = context;
    if (logs->talk->stream != NULL && stream_queued(logs->talk->stream) > QUEUE_MOST)
        loop_timer_arm(logs->timer, EVERY_MS);
    else
        ask(logs);
}

static void tell(struct logs *logs, const char *event, const char *key, const char *text)
{
    json_t *message = json_object();
    jsonx_set_text(message, "event", event);
    jsonx_set_text(message, key, text);
    talk_send(logs->talk, message);
}

/* The same trouble is told once, and again only after something else. */
static void tell_trouble(struct logs *logs, const char *text)
{
    if (logs->trouble != NULL && strcmp(logs->trouble, text) == 0)
        return;
    free(logs->trouble);
    logs->trouble = strdup(text);
    tell(logs, "log-trouble", "message", text);
}

static void tell_row(struct logs *logs, const json_t *row)
{
    const char *instance = jsonx_text(row, "instance", "?"), *text = jsonx_text(row, "text", "");
    const char *cursor = jsonx_text(row, "cursor", NULL), *path = jsonx_text(row, "path", NULL);
    bool first = json_object_get(logs->cursors, instance) == NULL;
    bool elsewhere = first && (path == NULL || path[0] != '/');
    bool missed = jsonx_bool(row, "missed", false);
    if (cursor != NULL)
        jsonx_set_text(logs->cursors, instance, cursor);
    if (*text == '\0' && !elsewhere && !missed)
        return;
    json_t *message = json_object();
    jsonx_set_text(message, "event", "log");
    jsonx_set_text(message, "instance", instance);
    jsonx_set_text(message, "text", text);
    jsonx_set_text(message, "cursor", cursor);
    jsonx_set_bool(message, "missed", missed);
    if (elsewhere)
        jsonx_set_text(message, "elsewhere", path != NULL ? path : "none");
    talk_send(logs->talk, message);
}

static void on_tail(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct logs *logs = context;
    json_t *row;
    size_t i, most = 0;
    (void)data;
    logs->asking = false;
    if (logs->talk->leaving || logs->talk->stream == NULL)
        return;
    if (result == NULL)
        tell_trouble(logs, err->text);
    json_array_foreach(json_object_get(result, "logs"), i, row)
    {
        size_t len = strlen(jsonx_text(row, "text", ""));
        most = len > most ? len : most;
        tell_row(logs, row);
    }
    if (jsonx_int(result, "left_out", 0) > 0 && logs->left_out++ == 0)
        tell_trouble(logs, "more instances than are told at once; name some of the services");
    if (logs->talk->stream == NULL)
        return;
    if (logs->follow)
        loop_timer_arm(logs->timer, most >= MUCH ? AGAIN_MS : EVERY_MS);
    else
        tell(logs, "log-end", "message", result == NULL ? err->text : NULL);
}

static void ask(struct logs *logs)
{
    json_t *params = json_object();
    json_object_set(params, "names", logs->names);
    json_object_set_new(params, "cursors", json_deep_copy(logs->cursors));
    jsonx_set_int(params, "lines", logs->lines);
    jsonx_set_bool(params, "stderr", logs->on_err);
    logs->asking = true;
    super_call(logs->talk->super, "logs.tail", params, CALL_MS, 0, on_tail, logs);
}

void logs_stop(struct talk *talk)
{
    struct logs *logs = talk->logs;
    if (logs == NULL)
        return;
    talk->logs = NULL;
    loop_timer_free(logs->timer);
    json_decref(logs->names);
    json_decref(logs->cursors);
    free(logs->trouble);
    free(logs);
}

static struct logs *make(struct act *act, json_t *names)
{
    struct talk *talk = act->talk;
    const json_t *cursors = json_object_get(act->request, "cursors");
    int64_t lines = jsonx_int(act->request, "lines", 10);
    struct logs *logs = calloc(1, sizeof *logs);
    if (logs == NULL)
        return NULL;
    logs->talk = talk;
    logs->timer = loop_timer_new(talk->loop, on_time, logs);
    logs->names = json_incref(names);
    logs->cursors = json_is_object(cursors) ? json_deep_copy(cursors) : json_object();
    logs->lines = lines < 0 ? 0 : lines > LINES_MAX ? LINES_MAX : lines;
    logs->follow = jsonx_bool(act->request, "follow", false);
    logs->on_err = jsonx_bool(act->request, "stderr", false);
    talk->logs = logs;
    if (logs->timer == NULL || logs->cursors == NULL) {
        logs_stop(talk);
        return NULL;
    }
    return logs;
}

void logs_verb(struct act *act)
{
    struct talk *talk = act->talk;
    struct err err = { 0 };
    struct logs *logs = NULL;
    json_t *names = json_object_get(act->request, "names");
    if (talk->logs != NULL)
        err_set(&err, ERR_STATE, "logs are followed by this connection already");
    else if (!json_is_array(names) || json_array_size(names) == 0)
        err_set(&err, ERR_PROTOCOL, "\"names\" must be the names of services");
    else if ((logs = make(act, names)) == NULL)
        err_set(&err, ERR_MEMORY, "no memory for logs");
    if (logs == NULL) {
        act_fail(act, &err, NULL);
        return;
    }
    act_ok(act, NULL);
    ask(logs);
}
