/* follow.c - the contract is in follow.h. */
#include "deployctl/fleet/follow.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/when.h"
#include "deployctl/fleet/reach.h"
#include "deployctl/fleet/session.h"
#include "deployctl/plan/weave.h"
#include "deployctl/wire/children.h"
#include "io/jsonx.h"

enum { QUICK_MS = 60000, NOTE_MAX = 640, SKEW_LEAST_US = 1000 * 1000, INSTANCE_MAX = 176 };
/* A line in the weave is "INSTANCE\tTEXT"; a note has no instance. */

enum state { WAITING, OPENING, OPEN, BROKEN, ENDED };
struct follow;
struct follow_host {
    struct follow *follow;
    const struct recipe_host *spec;
    size_t index;
    enum state state;
    struct session *session;  /* NULL unless OPENING or OPEN */
    struct loop_timer *retry; /* BROKEN */
    json_t *cursors;          /* owned */
    int64_t skew_us;          /* its clock less ours */
    char port[REACH_PORT_MAX];
    char note[NOTE_MAX]; /* told last; "" = all is well */
    bool heard;          /* it has told something since the beginning */
};
struct follow {
    struct loop *loop;
    struct children *children;
    const struct recipe *recipe;
    const struct follow_order *order;
    follow_fn *fn;
    void *context;
    struct follow_host *hosts;
    size_t count;
    struct weave weave;
    struct loop_timer *timer; /* a line that waits is free then */
    struct loop_signal *interrupt, *terminate;
    int64_t began_ms;
    bool over, interrupted;
};

static void open_more(struct follow *follow);

/* --- what is told -------------------------------------------------------------------------------
 */

static void add(struct follow_host *host, const char *instance, const char *text, size_t len,
                int64_t time_us)
{
    struct follow *follow = host->follow;
    char line[INSTANCE_MAX + WEAVE_LINE_MAX + 64];
    size_t room = sizeof line - 1, head;
    head = (size_t)snprintf(line, room, "%.*s\t", INSTANCE_MAX - 2, instance ? instance : "");
    bool cut = len > WEAVE_LINE_MAX - head;
    size_t shown = cut ? WEAVE_LINE_MAX - head : len;
    memcpy(line + head, text, shown);
    if (cut) /* so that the weave sees it, too */
        memset(line + head + shown, ' ', sizeof line - head - shown);
    bool known = time_us >= 0;
    weave_add(&follow->weave, host->index, known ? time_us - host->skew_us : -1, line,
              cut ? sizeof line : head + shown, loop_now_ms(follow->loop));
}

/* The same is told once, until something else was. */
static void note(struct follow_host *host, const char *text)
{
    size_t len = strlen(host->spec->name);
    if (strncmp(text, host->spec->name, len) == 0 && strncmp(text + len, ": ", 2) == 0)
        text += len + 2;
    if (strcmp(host->note, text) == 0)
        return;
    snprintf(host->note, sizeof host->note, "%s", text);
    add(host, NULL, host->note, strlen(host->note), clock_wall_us() + host->skew_us);
}

static int64_t time_of(const char *line, size_t len)
{
    static const char json[] = "{\"time\":\"";
    char text[CLOCK_TEXT_MAX];
    int64_t time_us;
    size_t from =
        len > sizeof json && memcmp(line, json, sizeof json - 1) == 0 ? sizeof json - 1 : 0;
    size_t width = 0;
    while (from + width < len && width + 1 < sizeof text && !strchr(" \"", line[from + width]))
        width++;
    snprintf(text, sizeof text, "%.*s", (int)width, line + from);
    return when_parse(text, &time_us) ? time_us : -1;
}

static bool show(struct follow *follow, const struct weave_line *line)
{
    const char *tab = strchr(line->text, '\t');
    size_t width = tab ? (size_t)(tab - line->text) : 0;
    char instance[INSTANCE_MAX];
    snprintf(instance, sizeof instance, "%.*s", (int)width, line->text);
    struct follow_line out = {
        .host = follow->hosts[line->host].spec->name,
        .instance = width ? instance : NULL,
        .text = tab ? tab + 1 : line->text,
        .time_us = time_of(tab ? tab + 1 : line->text, line->len - width - 1),
        .cut = line->cut,
    };
    return follow->fn(follow->context, &out);
}

/* To begin with, the lines that are there are wanted from everybody, so there is more patience. */
static bool gathering(const struct follow *follow)
{
    if (loop_now_ms(follow->loop) - follow->began_ms >= FOLLOW_FIRST_MS)
        return false;
    for (size_t i = 0; i < follow->count; i++)
        if (!follow->hosts[i].heard && follow->hosts[i].state < BROKEN)
            return true;
    return false;
}

static bool all_ended(const struct follow *follow)
{
    for (size_t i = 0; i < follow->count; i++)
        if (follow->hosts[i].state != ENDED)
            return false;
    return true;
}

static void turn(void *context)
{
    struct follow *follow = context;
    int64_t now = loop_now_ms(follow->loop);
    struct weave_line *line;
    if (gathering(follow) && !follow->over) {
        loop_timer_arm(follow->timer, follow->began_ms + FOLLOW_FIRST_MS - now);
        return;
    }
    bool ends = follow->over || (!follow->order->follow && all_ended(follow));
    while ((line = weave_take(&follow->weave, ends ? now + WEAVE_WAIT_MS : now)) != NULL) {
        follow->over = !show(follow, line) || follow->over;
        free(line);
    }
    if (ends || follow->over) {
        loop_stop(follow->loop);
        return;
    }
    int64_t due = weave_due(&follow->weave, now);
    if (due >= 0)
        loop_timer_arm(follow->timer, due);
}

static void on_timer(void *context) { (void)context; /* turn() follows each callback */ }

/* --- one host -----------------------------------------------------------------------------------
 */

static void lost(struct follow_host *host, const char *why)
{
    struct follow *follow = host->follow;
    char text[NOTE_MAX];
    session_free(host->session);
    host->session = NULL;
    host->state = follow->order->follow ? BROKEN : ENDED;
    if (follow->order->follow)
        snprintf(text, sizeof text, "%.500s; trying again each %d s", why, FOLLOW_RETRY_MS / 1000);
    else
        snprintf(text, sizeof text, "%.500s", why);
    note(host, text);
    weave_expect(&follow->weave, host->index, false);
    if (host->state == BROKEN)
        loop_timer_arm(host->retry, FOLLOW_RETRY_MS);
    open_more(follow);
}

static void on_close(void *context, const struct err *err) { lost(context, err->text); }

static void take_log(struct follow_host *host, const json_t *event)
{
    const char *instance = jsonx_text(event, "instance", "?"),
               *text = jsonx_text(event, "text", "");
    const char *elsewhere = jsonx_text(event, "elsewhere", NULL);
    char said[NOTE_MAX];
    if (elsewhere)
        snprintf(said, sizeof said, "the output of %.100s is in no file (%.100s)", instance,
                 elsewhere);
    else if (jsonx_bool(event, "missed", false))
        snprintf(said, sizeof said, "lines of %.100s may be missing here: its log was rotated",
                 instance);
    if (elsewhere || jsonx_bool(event, "missed", false))
        note(host, said);
    jsonx_set_text(host->cursors, instance, jsonx_text(event, "cursor", NULL));
    while (*text) {
        size_t len = strcspn(text, "\n");
        add(host, instance, text, len, time_of(text, len));
        text += len + (text[len] == '\n');
    }
    host->note[0] = '\0';
}

static void on_event(void *context, const char *name, const json_t *event)
{
    struct follow_host *host = context;
    host->heard = true;
    if (strcmp(name, "log") == 0) {
        take_log(host, event);
    } else if (strcmp(name, "log-trouble") == 0) {
        note(host, jsonx_text(event, "message", "?"));
    } else if (strcmp(name, "log-end") == 0) {
        const char *message = jsonx_text(event, "message", NULL);
        host->state = ENDED;
        if (message)
            note(host, message);
        weave_expect(&host->follow->weave, host->index, false);
    }
}

static void on_logs(void *context, const json_t *answer, const struct err *err)
{
    struct follow_host *host = context;
    char text[NOTE_MAX];
    if (!answer || !err || host->follow->over)
        return;
    snprintf(text, sizeof text, "%.400s%s", err->text,
             err->code == ERR_PROTOCOL ? "; install this version of deployctl there" : "");
    lost(host, text);
}

static void on_look(void *context, const json_t *answer, const struct err *err)
{
    struct follow_host *host = context;
    int64_t now_us = clock_wall_us();
    if (!answer || err)
        return;
    int64_t skew = jsonx_int(answer, "now_ms", now_us / 1000) * 1000 - now_us;
    host->skew_us = skew > SKEW_LEAST_US || skew < -SKEW_LEAST_US ? skew : 0;
}

static void on_ready(void *context, const json_t *hello)
{
    struct follow_host *host = context;
    const struct follow_order *order = host->follow->order;
    json_t *look = json_object(), *logs = json_object();
    (void)hello;
    if (host->note[0])
        note(host, "connected again");
    host->note[0] = '\0';
    host->state = OPEN;
    weave_expect(&host->follow->weave, host->index, true);
    json_object_set_new(look, "services", json_deep_copy(order->names));
    session_ask(host->session, "look", look, QUICK_MS, on_look, host);
    json_object_set_new(logs, "names", json_deep_copy(order->names));
    json_object_set_new(logs, "cursors", json_deep_copy(host->cursors));
    jsonx_set_int(logs, "lines", order->lines);
    jsonx_set_bool(logs, "follow", order->follow);
    jsonx_set_bool(logs, "stderr", order->on_err);
    session_ask(host->session, "logs", logs, QUICK_MS, on_logs, host);
    open_more(host->follow);
}

static void open_host(struct follow_host *host)
{
    static const struct session_events events = { on_ready, on_event, NULL, on_close };
    struct follow *follow = host->follow;
    struct err err;
    struct transport_target target =
        reach_target(follow->recipe, host->spec, follow->children, host->port);
    host->state = OPENING;
    host->session = session_open(follow->loop, &target, &events, host, &err);
    if (!host->session)
        lost(host, err.text);
}

static void on_retry(void *context)
{
    struct follow_host *host = context;
    host->state = WAITING;
    open_more(host->follow);
}

/* No more than `parallel` hosts are being connected to at the same time. */
static void open_more(struct follow *follow)
{
    size_t opening = 0;
    for (size_t i = 0; i < follow->count; i++)
        opening += follow->hosts[i].state == OPENING;
    for (size_t i = 0; i < follow->count; i++) {
        if (follow->hosts[i].state != WAITING || opening >= (size_t)follow->recipe->fleet.parallel)
            continue;
        opening++;
        open_host(&follow->hosts[i]);
    }
}

/* --- all of them --------------------------------------------------------------------------------
 */

static void on_signal(void *context, int signum)
{
    struct follow *follow = context;
    (void)signum;
    follow->over = follow->interrupted = true;
}

static int prepare(struct follow *follow, struct err *err)
{
    follow->loop = loop_new(err);
    if (!follow->loop)
        return err->code;
    follow->children = children_new(follow->loop, err);
    if (!follow->children)
        return err->code;
    follow->began_ms = loop_now_ms(follow->loop);
    follow->timer = loop_timer_new(follow->loop, on_timer, follow);
    follow->interrupt = loop_signal_new(follow->loop, SIGINT, on_signal, follow);
    follow->terminate = loop_signal_new(follow->loop, SIGTERM, on_signal, follow);
    follow->hosts = calloc(follow->recipe->count + 1, sizeof *follow->hosts);
    bool ok = follow->timer && follow->interrupt && follow->terminate && follow->hosts &&
              weave_init(&follow->weave, follow->recipe->count);
    follow->count = ok ? follow->recipe->count : 0;
    for (size_t i = 0; i < follow->count; i++) {
        struct follow_host *host = &follow->hosts[i];
        *host = (struct follow_host){ .follow = follow,
                                      .spec = &follow->recipe->hosts[i],
                                      .index = i,
                                      .retry = loop_timer_new(follow->loop, on_retry, host),
                                      .cursors = json_object() };
        ok = ok && host->retry && host->cursors;
    }
    return ok ? 0 : err_set(err, ERR_MEMORY, "no memory for %zu hosts", follow->recipe->count);
}

static void done(struct follow *follow)
{
    follow->over = true; /* sessions that end now change nothing more */
    for (size_t i = 0; i < follow->count; i++) {
        session_free(follow->hosts[i].session);
        loop_timer_free(follow->hosts[i].retry);
        json_decref(follow->hosts[i].cursors);
    }
    weave_done(&follow->weave);
    free(follow->hosts);
    loop_timer_free(follow->timer);
    loop_signal_free(follow->interrupt);
    loop_signal_free(follow->terminate);
    children_free(follow->children);
    if (follow->loop)
        loop_free(follow->loop);
}

int follow_run(const struct recipe *recipe, const struct follow_order *order, follow_fn *fn,
               void *context, struct follow_result *ret, struct err *err)
{
    struct follow follow = { .recipe = recipe, .order = order, .fn = fn, .context = context };
    *ret = (struct follow_result){ 0 };
    int rc = prepare(&follow, err);
    if (rc == 0) {
        open_more(&follow);
        loop_run(follow.loop, turn, &follow);
    }
    ret->interrupted = follow.interrupted;
    for (size_t i = 0; i < follow.count; i++)
        ret->silent += !follow.hosts[i].heard || follow.hosts[i].note[0];
    done(&follow);
    return rc;
}
