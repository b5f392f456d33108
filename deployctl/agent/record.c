/* record.c - the contract is in record.h. */
#include "deployctl/agent/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "io/durable.h"
#include "io/jsonx.h"

#define ROLLOUT_NAME "rollout"
#define EPOCH_NAME   "epoch"
#define REQUEST_NAME "request"
enum { FILE_MODE = 0644, SMALL_MAX = 4096, LOOK_MS = 1000 };

static int write_json(int meta, const char *name, const json_t *value, struct err *err)
{
    struct buf text;
    buf_init(&text, RECORD_BYTES_MAX);
    int rc = 0;
    if (!jsonx_put(value, &text))
        rc = err_set(err, ERR_LIMIT, ".deploy/%s would be larger than %d bytes", name,
                     RECORD_BYTES_MAX);
    buf_putc(&text, '\n');
    if (rc == 0)
        rc = durable_write(meta, name, buf_text(&text), text.len, FILE_MODE, err);
    buf_done(&text);
    return rc < 0 ? err_wrap(err, "writing .deploy/%s", name) : 0;
}

/* NULL and err->code ERR_NOT_FOUND when the file is not there. */
static json_t *read_json(int meta, const char *name, struct err *err)
{
    AUTO_CLOSE int fd =
        meta < 0 ? -ENOENT : durable_open_beneath(meta, name, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0) {
        err_set(err, fd == -ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM, ".deploy/%s: %s", name,
                strerror(-fd));
        return NULL;
    }
    struct buf text;
    buf_init(&text, RECORD_BYTES_MAX);
    int rc = buf_read_fd(&text, fd);
    json_t *value = NULL;
    if (rc < 0)
        err_sys(err, -rc, "reading .deploy/%s", name);
    else if ((value = jsonx_parse(buf_text(&text), text.len, err)) == NULL)
        err_wrap(err, ".deploy/%s is damaged", name);
    buf_done(&text);
    return value;
}

int record_write(int meta, const json_t *record, struct err *err)
{
    return write_json(meta, ROLLOUT_NAME, record, err);
}

json_t *record_read(int meta)
{
    struct err err = { 0 };
    json_t *record = read_json(meta, ROLLOUT_NAME, &err);
    if (jsonx_text(record, "rollout", NULL) != NULL ||
        (record == NULL && err.code == ERR_NOT_FOUND))
        return record;
    if (record != NULL)
        err_set(&err, ERR_CORRUPT, ".deploy/%s is damaged: it names no rollout", ROLLOUT_NAME);
    json_decref(record);
    record = json_object();
    jsonx_set_text(record, "damaged", err.text);
    return record;
}

int record_remove(int meta, struct err *err) { return durable_unlink(meta, ROLLOUT_NAME, err); }

int record_epoch_read(int meta, struct record_epoch *ret, struct err *err)
{
    struct err own;
    struct record_epoch found = { 0 };
    json_t *value = read_json(meta, EPOCH_NAME, &own);
    bool whole = value == NULL ? own.code == ERR_NOT_FOUND : jsonx_int(value, "epoch", -1) >= 0;
    if (value != NULL && !whole) {
        err_set(&own, ERR_CORRUPT, ".deploy/%s is damaged: it has no number \"epoch\"", EPOCH_NAME);
        json_decref(value);
    }
    if (!whole)
        return err_set(
            err, ERR_CORRUPT,
            "%s; write {\"epoch\": N, \"rollout\": \"\"} with an N at least as high as on "
            "the other hosts",
            own.text);
    found.epoch = jsonx_int(value, "epoch", 0);
    snprintf(found.rollout, sizeof found.rollout, "%s", jsonx_text(value, "rollout", ""));
    json_decref(value);
    *ret = found;
    return 0;
}

int record_epoch_write(int meta, const struct record_epoch *epoch, struct err *err)
{
    json_t *value = json_object();
    jsonx_set_int(value, "epoch", epoch->epoch);
    jsonx_set_text(value, "rollout", epoch->rollout);
    int rc = write_json(meta, EPOCH_NAME, value, err);
    json_decref(value);
    return rc;
}

int record_request_write(int meta, const json_t *request, struct err *err)
{
    return write_json(meta, REQUEST_NAME, request, err);
}

json_t *record_request_read(int meta)
{
    struct err err;
    return read_json(meta, REQUEST_NAME, &err);
}

int record_request_remove(int meta, struct err *err)
{
    return durable_unlink(meta, REQUEST_NAME, err);
}

/* --- noticing a request ----------------------------------------------------------------------- */

struct record_watch {
    int fd; /* -1: the host has no inotify instance to spare, so it looks now and then */
    struct loop_watch *watch;
    struct loop_timer *timer;
    void (*fn)(void *context);
    void *context;
};

static void on_inotify(void *context, unsigned events)
{
    struct record_watch *watch = context;
    char text[SMALL_MAX] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool ours = false;
    (void)events;
    for (ssize_t n; (n = read(watch->fd, text, sizeof text)) > 0;)
        for (char *at = text; at < text + n;) {
            const struct inotify_event *event = (const struct inotify_event *)at;
            ours |= (event->mask & IN_Q_OVERFLOW) != 0 ||
                    (event->len > 0 && strcmp(event->name, REQUEST_NAME) == 0);
            at += sizeof *event + event->len;
        }
    if (ours)
        watch->fn(watch->context);
}

static void on_time(void *context)
{
    struct record_watch *watch = context;
    loop_timer_arm(watch->timer, LOOK_MS);
    watch->fn(watch->context);
}

/* Programs that watch many files use up what one user may have: no reason to refuse a release. */
static int look_now_and_then(struct record_watch *watch, struct loop *loop, struct err *err)
{
    watch->timer = loop_timer_new(loop, on_time, watch);
    if (watch->timer == NULL)
        return err_set(err, ERR_MEMORY, "no memory to watch for requests");
    loop_timer_arm(watch->timer, LOOK_MS);
    return 0;
}

static int watch_folder(struct record_watch *watch, int meta, struct loop *loop, struct err *err)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d/.", meta);
    watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch->fd < 0 ||
        inotify_add_watch(watch->fd, path, IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE) < 0)
        return look_now_and_then(watch, loop, err);
    watch->watch = loop_watch_new(loop, watch->fd, on_inotify, watch, err);
    if (watch->watch == NULL)
        return err->code;
    loop_watch_set(watch->watch, LOOP_READ);
    return 0;
}

struct record_watch *record_watch_new(struct loop *loop, int meta, void (*fn)(void *context),
                                      void *context, struct err *err)
{
    struct record_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        err_set(err, ERR_MEMORY, "no memory to watch for requests");
        return NULL;
    }
    *watch = (struct record_watch){ .fd = -1, .fn = fn, .context = context };
    if (watch_folder(watch, meta, loop, err) == 0)
        return watch;
    record_watch_free(watch);
    return NULL;
}

void record_watch_free(struct record_watch *watch)
{
    if (watch == NULL)
        return;
    loop_watch_free(watch->watch);
    loop_timer_free(watch->timer);
    auto_close_(&watch->fd);
    free(watch);
}
