/* talk.c - the contract is in talk.h. */
#include "deployctl/agent/talk.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "deployctl/agent/watch.h"
#include "deployctl/wire/frame.h"
#include "io/jsonx.h"

void talk_leave(struct talk *talk)
{
    talk->leaving = true;
    loop_timer_disarm(talk->silence);
    act_drop_queue(talk);
    if (talk->present == NULL)
        loop_stop(talk->loop);
}

void talk_send(struct talk *talk, json_t *message)
{
    struct buf out;
    unsigned char header[FRAME_HEADER_BYTES] = { 0 };
    buf_init(&out, FRAME_CONTROL_MAX + FRAME_HEADER_BYTES);
    buf_put(&out, header, sizeof header);
    bool ok = jsonx_put(message, &out);
    json_decref(message);
    if (ok && talk->stream != NULL) {
        frame_header(FRAME_CONTROL, out.len - FRAME_HEADER_BYTES, header);
        memcpy(out.data, header, sizeof header);
        ok = stream_write(talk->stream, out.data, out.len);
    }
    buf_done(&out);
    if (ok || talk->stream == NULL || talk->leaving)
        return;
    /* An answer that cannot be given would leave the other side waiting for ever. */
    log_warn("the other side does not read, leaving", NULL);
    stream_free(talk->stream);
    talk->stream = NULL;
    talk_leave(talk);
}

int talk_host(struct talk *talk, struct err *err)
{
    if (talk->host_open)
        return 0;
    int rc = host_open(&talk->host, talk->path, err);
    talk->host_open = rc == 0;
    return rc;
}

void talk_token(const struct talk *talk, char token[static TALK_TOKEN_MAX])
{
    snprintf(token, TALK_TOKEN_MAX, "%lld:%s", (long long)talk->fence.epoch, talk->fence.rollout);
}

int talk_note(struct talk *talk, const char *name, json_t *members, bool must, struct err *err)
{
    char token[TALK_TOKEN_MAX];
    json_t *line = json_object();
    talk_token(talk, token);
    jsonx_set_text(line, "act", name);
    jsonx_set_text(line, "token", token);
    if (talk->holder != NULL)
        jsonx_set_text(line, "who", jsonx_text(talk->holder, "who", NULL));
    if (members != NULL)
        json_object_update(line, members);
    json_decref(members);
    int rc = journal_append(&talk->journal, line, err);
    json_decref(line);
    if (rc < 0 && !must) {
        fprintf(stderr, "deployctl agent: %s\n", err->text);
        rc = 0;
    }
    return rc;
}

bool talk_has_services(const struct talk *talk) { return json_array_size(talk->services) > 0; }

int talk_check_release(struct talk *talk, const char *id, struct err *err)
{
    struct host_releases list;
    int rc = host_list(&talk->host, &list, err);
    if (rc < 0)
        return rc;
    const struct host_release *release = host_list_find(&list, id);
    if (release == NULL || !release->complete)
        rc = err_set(err, ERR_NOT_FOUND, "release %s is not here%s", id,
                     release != NULL ? ", or damaged" : "");
    host_list_done(&list);
    return rc;
}

void talk_unlock(struct talk *talk)
{
    watch_stop(talk);
    stage_free(talk->stage);
    talk->stage = NULL;
    record_watch_free(talk->requests);
    talk->requests = NULL;
    json_decref(talk->holder);
    talk->holder = NULL;
    talk->fence = (struct record_epoch){ 0 };
    journal_done(&talk->journal);
    lock_release(&talk->lock);
}
