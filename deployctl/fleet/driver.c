/* driver.c - the contract is in driver.h.
 *
 * Facts are queued and drained at the end of each loop turn; nothing is decided inside a callback,
 * so any callback may end in the release of what called it.
 */
#include "deployctl/fleet/driver.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/unit.h"
#include "deployctl/fleet/driver_inside.h"
#include "deployctl/plan/limits.h"
#include "deployctl/plan/rollout_name.h"
#include "io/jsonx.h"

/* --- news ------------------------------------------------------------------------------------- */

/* A tick that is due earlier stays so. */
static void tick_within(struct driver *driver, int64_t delay_ms)
{
    int64_t due = loop_now_ms(driver->loop) + delay_ms;
    if (!driver->progress || (driver->tick_ms > 0 && driver->tick_ms <= due))
        return;
    driver->tick_ms = due;
    loop_timer_arm(driver->progress, delay_ms);
}

static void tell(struct driver *driver, struct driver_news *news)
{
    news->at_ms = driver_elapsed_ms(driver);
    driver->news(driver->context, news);
    tick_within(driver, DRIVER_FRAME_MS);
}

void driver_health(struct driver_host *host, size_t ready, size_t instances)
{
    struct driver_news news = {
        .kind = DRIVER_NEWS_HEALTH, .host = host->spec->name, .done = ready, .total = instances
    };
    if (ready == host->ready_told && instances == host->instances_told)
        return;
    host->ready_told = ready;
    host->instances_told = instances;
    tell(host->driver, &news);
}

/* What hosts say goes to a terminal, and must not act on it. */
static void defuse(char *text)
{
    for (; *text; text++)
        if (((unsigned char)*text < ' ' && *text != '\n' && *text != '\t') || *text == 0x7f)
            *text = '?';
}

void driver_tell(struct driver *driver, enum driver_news_kind kind, const struct driver_host *host,
                 const char *word, const char *fmt, ...)
{
    char text[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    defuse(text);
    struct driver_news news = {
        .kind = kind, .host = host ? host->spec->name : NULL, .word = word, .text = text
    };
    tell(driver, &news);
}

/* Errors of a session begin with the host's name, which is shown anyway. */
const char *driver_without_name(const struct driver_host *host, const char *text)
{
    size_t len = strlen(host->spec->name);
    if (strncmp(text, host->spec->name, len) != 0)
        return text;
    const char *rest = text + len + (text[len] == ':');
    return *rest == ' ' ? rest + 1 : text;
}

void driver_blame(struct driver_host *host, const char *fmt, ...)
{
    char text[DRIVER_SAY_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    defuse(text);
    snprintf(host->error, sizeof host->error, "%s", driver_without_name(host, text));
    struct driver_news news = {
        .kind = DRIVER_NEWS_HOST, .host = host->spec->name, .word = "problem", .text = host->error
    };
    tell(host->driver, &news);
}

/* --- facts ------------------------------------------------------------------------------------ */

void driver_fact(struct driver *driver, const struct rollout_event *event)
{
    if (driver->nqueue == driver->queue_cap) {
        size_t cap = driver->queue_cap ? driver->queue_cap * 2 : 64;
        void *more = realloc(driver->queue, cap * sizeof *driver->queue);
        if (!more)
            return; /* the act's deadline will end the session, which frees memory */
        driver->queue = more;
        driver->queue_cap = cap;
    }
    driver->queue[driver->nqueue++] = *event;
    loop_timer_arm(driver->timer, 0);
}

void driver_answered(struct driver_host *host, enum rollout_answer answer)
{
    struct driver *driver = host->driver;
    enum rollout_act act = host->act;
    host->act = ROLLOUT_ACT_NONE;
    driver_fact(driver,
                &(struct rollout_event){
                    .kind = ROLLOUT_EV_ANSWER, .host = host->index, .act = act, .answer = answer });
}

static void decided(struct driver *driver, enum rollout_answer answer, enum rollout_outcome outcome)
{
    if (driver->decided)
        return;
    driver->decided = true;
    driver->deciding = false;
    driver_fact(driver, &(struct rollout_event){ .kind = ROLLOUT_EV_ANSWER,
                                                 .host = ROLLOUT_NOBODY,
                                                 .act = ROLLOUT_ACT_DECIDE,
                                                 .answer = answer,
                                                 .outcome = outcome });
}

void driver_go(struct driver *driver) { decided(driver, ROLLOUT_OK, ROLLOUT_RUNNING); }

void driver_stop(struct driver *driver, enum rollout_outcome outcome)
{
    driver->refused = true;
    decided(driver, ROLLOUT_STOP, outcome);
}

/* --- turns ------------------------------------------------------------------------------------ */

/* What the lock's holder shows to others who look. */
static void show_step(struct driver *driver, const char *step)
{
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        if (host->link != DRIVER_LINK_OPEN || !host->fence_wanted)
            continue;
        json_t *params = json_object();
        jsonx_set_text(params, "step", step);
        jsonx_set_text(params, "token", driver->token);
        session_ask(host->session, "step", params, DRIVER_SLACK_MS + 3 * driver->ready_timeout_ms,
                    NULL, NULL);
    }
}

/* The words that go into the journal, the memory of bad digests and the last line. */
static void keep_reason(struct driver *driver)
{
    const struct rollout *rollout = &driver->rollout;
    if (driver->reason[0])
        return;
    if (rollout->culprit < driver->count)
        snprintf(driver->reason, sizeof driver->reason, "%s: %.560s",
                 driver->hosts[rollout->culprit].spec->name, driver->hosts[rollout->culprit].error);
    else if (rollout->stalled)
        snprintf(driver->reason, sizeof driver->reason,
                 "no host became healthy within progress_deadline");
}

static void after_step(struct driver *driver)
{
    enum rollout_stage stage = driver->rollout.stage;
    const char *group = rollout_name_group(&driver->rollout);
    char text[ROLLOUT_NAME_DOING], where[ROLLOUT_NAME_DOING];
    if (stage == driver->told_stage && (!group || group == driver->told_group))
        return;
    if (stage != driver->told_stage) {
        driver->told_stage = stage;
        driver->stage_ms = loop_now_ms(driver->loop);
        keep_reason(driver);
        driver_verdict_stage(driver);
    }
    driver->told_group = group;
    const char *doing = rollout_name_doing(&driver->rollout, text);
    if (doing)
        driver_tell(driver, DRIVER_NEWS_STAGE, NULL, rollout_name_stage(stage), "%s", doing);
    if (doing && stage > ROLLOUT_FENCING && stage != ROLLOUT_OVER) {
        snprintf(where, sizeof where, "%s%s%.60s", rollout_name_stage(stage),
                 group ? " of group " : "", group ? group : "");
        show_step(driver, where);
    }
}

static void perform(struct driver *driver, const struct rollout_order *orders, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (orders[i].act == ROLLOUT_ACT_DECIDE) {
            driver->deciding = true;
            driver_decide(driver);
        } else {
            driver_acts_begin(&driver->hosts[orders[i].host], orders[i].act);
        }
    }
}

static void step(struct driver *driver, const struct rollout_event *event)
{
    struct rollout *rollout = &driver->rollout;
    rollout_step(rollout, event, loop_now_ms(driver->loop));
    size_t count = rollout->norders;
    struct rollout_order *orders = calloc(count + 1, sizeof *orders);
    if (orders && count)
        memcpy(orders, rollout->orders, count * sizeof *orders);
    after_step(driver); /* the stage is told before what happens in it */
    if (orders)
        perform(driver, orders, count);
    free(orders);
    if (event->kind == ROLLOUT_EV_ANSWER)
        driver_link_park(driver);
}

/* Ends the loop once every host has let go, so that the next command finds them free. */
static void leave(struct driver *driver)
{
    int64_t now = loop_now_ms(driver->loop);
    if (driver->unlock_end_ms == 0)
        driver->unlock_end_ms = now + DRIVER_UNLOCK_MS;
    driver_lock_release_early(driver);
    if (driver->unlocking == 0 || now >= driver->unlock_end_ms)
        loop_stop(driver->loop);
    else
        loop_timer_arm(driver->timer, driver->unlock_end_ms - now);
}

static void turn(void *context)
{
    struct driver *driver = context;
    while (driver->nqueue > 0) {
        struct rollout_event event = driver->queue[0];
        memmove(driver->queue, driver->queue + 1, --driver->nqueue * sizeof *driver->queue);
        step(driver, &event);
    }
    driver_reserve_check(driver);
    if (driver->left) {
        loop_stop(driver->loop);
    } else if (driver->rollout.stage == ROLLOUT_OVER) {
        leave(driver);
    } else {
        int64_t next = rollout_next_ms(&driver->rollout);
        int64_t delay = next - loop_now_ms(driver->loop);
        if (next >= 0)
            loop_timer_arm(driver->timer, delay > 0 ? delay : 0);
    }
}

static void on_timer(void *context)
{
    struct driver *driver = context;
    driver_fact(driver, &(struct rollout_event){ .kind = ROLLOUT_EV_TIME });
    loop_timer_disarm(driver->timer);
}

void driver_bytes(struct driver_host *host, uint64_t done, uint64_t total)
{
    struct driver_news news = {
        .kind = DRIVER_NEWS_BYTES, .host = host->spec->name, .done = done, .total = total
    };
    if (total > 0)
        tell(host->driver, &news);
}

/* True while anything is on its way. */
static bool tell_bytes(struct driver *driver)
{
    bool any = false;
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        uint64_t done, total;
        if (!host->upload)
            continue;
        upload_progress(host->upload, &done, &total);
        driver_bytes(host, done, total);
        any = true;
    }
    return any;
}

static bool tell_bake(struct driver *driver)
{
    const struct rollout *rollout = &driver->rollout;
    struct driver_news bake = { .kind = DRIVER_NEWS_BAKE,
                                .total = (uint64_t)rollout->limits.bake_ms };
    if (rollout->stage != ROLLOUT_BAKING)
        return false;
    int64_t left = rollout->bake_end_ms - loop_now_ms(driver->loop);
    bake.done = left > 0 ? bake.total - (uint64_t)left : bake.total;
    tell(driver, &bake);
    return true;
}

static void on_progress(void *context)
{
    struct driver *driver = context;
    bool busy = tell_bytes(driver);
    busy = tell_bake(driver) || busy;
    struct driver_news tick = { .kind = DRIVER_NEWS_TICK };
    tell(driver, &tick);
    driver->tick_ms = 0; /* those were no news that want another one */
    tick_within(driver, busy ? DRIVER_PROGRESS_MS : DRIVER_CLOCK_MS);
}

/* The terminal has another size. */
static void on_resized(void *context, int signum)
{
    (void)signum;
    tick_within(context, 0);
}

static void on_poll(void *context) { driver_resume_poll(context); }

/* --- orders of the operator ------------------------------------------------------------------- */

static void on_signal(void *context, int signum)
{
    struct driver *driver = context;
    (void)signum;
    if (++driver->signals >= 2) {
        driver_tell(driver, DRIVER_NEWS_WARNING, NULL, NULL,
                    "leaving at once; hosts that are not confirmed go back by themselves when "
                    "their lease runs out");
        driver->left = true;
        return;
    }
    enum rollout_stage stage = driver->rollout.stage;
    if (stage == ROLLOUT_UNWINDING || stage == ROLLOUT_CLOSING || stage == ROLLOUT_CLEANING)
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL,
                    "this is finished first; press again to leave at once");
    else
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL,
                    "stopping: nothing new is started; press again to leave at once");
    driver_fact(driver, &(struct rollout_event){ .kind = ROLLOUT_EV_INTERRUPT });
}

void driver_answer(struct driver *driver, bool yes)
{
    if (!driver->question_open)
        return;
    driver->question_open = false;
    loop_watch_free(driver->input);
    driver->input = NULL;
    if (yes) {
        driver_go(driver);
    } else {
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL, "nothing was changed");
        driver_stop(driver, ROLLOUT_INTERRUPTED);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

static enum rollout_kind kind_of(enum driver_verb verb)
{
    switch (verb) {
    case DRIVER_RELEASE:
    case DRIVER_PLAN:
        return ROLLOUT_RELEASE;
    case DRIVER_ROLLBACK:
        return ROLLOUT_ROLLBACK;
    case DRIVER_PROMOTE:
        return ROLLOUT_PROMOTE;
    case DRIVER_RESUME:
        return ROLLOUT_RESUME;
    case DRIVER_ABORT:
        return ROLLOUT_ABORT;
    case DRIVER_PAUSE:
    case DRIVER_STATUS:
    case DRIVER_HISTORY:
    case DRIVER_VERIFY:
    case DRIVER_DIFF:
    case DRIVER_FREEZE:
    case DRIVER_UNFREEZE:
        break;
    }
    return ROLLOUT_PARK; /* looks at all hosts, also when some are away */
}

static struct limits_asked asked_of(const struct driver_order *order)
{
    return (struct limits_asked){ .canary_hosts = order->canary_hosts,
                                  .canary = order->canary,
                                  .batch = order->batch,
                                  .bake_ms = order->bake_ms,
                                  .hold = order->hold,
                                  .now = order->now };
}

static int make_rollout(struct driver *driver, struct err *err)
{
    struct rollout_limits limits;
    const char **names = arena_array(&driver->arena, driver->count, sizeof *names);
    if (!names)
        return err_set(err, ERR_MEMORY, "no memory for %zu hosts", driver->count);
    for (size_t i = 0; i < driver->count; i++)
        names[i] = driver->recipe->hosts[i].name;
    struct limits_asked asked = asked_of(&driver->order);
    limits_make(driver->recipe, &asked, &limits);
    int rc = rollout_init(&driver->rollout, kind_of(driver->order.verb), driver->count, names,
                          &limits, err);
    if (rc == 0)
        limits_describe(driver->recipe, &asked, &driver->rollout);
    return rc;
}

static const char *zone_of(struct driver *driver, const struct recipe_host *spec)
{
    const char *label = driver->recipe->rollout.zone_label;
    size_t len = 0;
    const char *value = label ? recipe_label(spec, label, &len) : "";
    return len > 0 ? arena_printf(&driver->arena, "%.*s", (int)len, value) : NULL;
}

static int make_hosts(struct driver *driver, struct err *err)
{
    driver->hosts = calloc(driver->count, sizeof *driver->hosts);
    if (!driver->hosts)
        return err_set(err, ERR_MEMORY, "no memory for %zu hosts", driver->count);
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        host->driver = driver;
        host->spec = &driver->recipe->hosts[i];
        host->index = i;
        host->metrics = host->spec->metrics;
        host->zone = zone_of(driver, host->spec);
        host->retry = loop_timer_new(driver->loop, driver_link_retry, host);
        if (!host->retry)
            return err_set(err, ERR_MEMORY, "no memory for %zu hosts", driver->count);
    }
    return 0;
}

static void make_name(struct driver *driver)
{
    unsigned char random[6] = { 0 };
    if (getrandom(random, sizeof random, GRND_NONBLOCK) < 0)
        snprintf((char *)random, sizeof random, "%d", (int)getpid());
    snprintf(driver->name, sizeof driver->name, "r%02x%02x%02x%02x%02x%02x", random[0], random[1],
             random[2], random[3], random[4], random[5]);
    char text[CLOCK_TEXT_MAX];
    clock_text(clock_wall_us(), text);
    snprintf(driver->started, sizeof driver->started, "%.19s%s", text, text + 26);
}

static int prepare(struct driver *driver, struct err *err)
{
    driver->loop = loop_new(err);
    if (!driver->loop)
        return err->code;
    driver->children = children_new(driver->loop, err);
    if (!driver->children)
        return err->code;
    driver->began_ms = driver->stage_ms = loop_now_ms(driver->loop);
    driver->timer = loop_timer_new(driver->loop, on_timer, driver);
    driver->progress = loop_timer_new(driver->loop, on_progress, driver);
    driver->poll = loop_timer_new(driver->loop, on_poll, driver);
    driver->rounds = loop_timer_new(driver->loop, driver_verdict_round, driver);
    driver->interrupt = loop_signal_new(driver->loop, SIGINT, on_signal, driver);
    driver->terminate = loop_signal_new(driver->loop, SIGTERM, on_signal, driver);
    driver->resized = loop_signal_new(driver->loop, SIGWINCH, on_resized, driver);
    if (!driver->timer || !driver->progress || !driver->poll || !driver->rounds ||
        !driver->interrupt || !driver->terminate || !driver->resized)
        return err_set(err, ERR_MEMORY, "no memory");
    int rc = make_hosts(driver, err);
    return rc == 0 ? make_rollout(driver, err) : rc;
}

struct driver *driver_new(const struct recipe *recipe, const struct driver_order *order,
                          driver_news_fn *news, void *context, struct err *err)
{
    struct driver *driver = calloc(1, sizeof *driver);
    if (!driver) {
        err_set(err, ERR_MEMORY, "no memory");
        return NULL;
    }
    arena_init(&driver->arena);
    driver->recipe = recipe;
    driver->order = *order;
    driver->news = news;
    driver->context = context;
    driver->count = recipe->count;
    window_init(&driver->window, (size_t)recipe->fleet.parallel);
    driver->told_stage = ROLLOUT_NSTAGES;
    driver->kind = order->verb == DRIVER_ROLLBACK ? "rollback" : "release";
    driver->hold_for_ms = recipe->canary.hold_for_ms;
    driver->ready_timeout_ms = recipe->rollout.ready_timeout_ms;
    driver->evidence = recipe->evidence;
    make_name(driver);
    if (prepare(driver, err) < 0) {
        driver_free(driver);
        return NULL;
    }
    return driver;
}

static void free_hosts(struct driver *driver)
{
    for (size_t i = 0; driver->hosts && i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        upload_free(host->upload);
        session_free(host->session);
        loop_timer_free(host->retry);
        glance_done(&host->glance);
        json_decref(host->history);
        json_decref(host->found);
        driver_lock_forget(host);
        driver_record_forget(host);
    }
    free(driver->hosts);
}

/* The outcome is settled and what is left takes milliseconds: a second Ctrl-C that comes now must
 * not kill us and take the exit code with it. */
static void hold_signals(void)
{
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigprocmask(SIG_BLOCK, &held, NULL);
}

void driver_free(struct driver *driver)
{
    if (!driver)
        return;
    hold_signals();
    driver->judging = driver->deciding = false; /* sessions that end now change nothing more */
    free_hosts(driver);
    source_free(driver->source);
    turns_free(driver->turns);
    sign_key_free(driver->sign_key);
    loop_timer_free(driver->timer);
    loop_timer_free(driver->progress);
    loop_timer_free(driver->poll);
    loop_timer_free(driver->rounds);
    loop_signal_free(driver->interrupt);
    loop_signal_free(driver->terminate);
    loop_signal_free(driver->resized);
    loop_watch_free(driver->input);
    children_free(driver->children);
    if (driver->loop)
        loop_free(driver->loop);
    opened_done(&driver->opened);
    json_decref(driver->record);
    rollout_done(&driver->rollout);
    arena_done(&driver->arena);
    free(driver->queue);
    free(driver);
}

static void on_source(void *context, const struct err *err)
{
    struct driver *driver = context;
    driver->source_done = true;
    driver->source_failed = err != NULL;
    if (err)
        driver->source_err = *err;
    if (driver->deciding && !driver->decided)
        driver_decide(driver);
}

static int start_source(struct driver *driver, struct err *err)
{
    const struct recipe_deploy *deploy = &driver->recipe->deploy;
    struct source_options options = { .path = driver->order.source,
                                      .exclude = &deploy->exclude,
                                      .any_links = deploy->links == RECIPE_LINKS_ANY,
                                      .keep_modes = deploy->modes == RECIPE_MODES_KEEP };
    if (!driver->order.source)
        return 0;
    int64_t rate = driver->recipe->rollout.rate_limit;
    if (rate > 0)
        driver->turns = turns_new(driver->loop, rate, UPLOAD_PIECE_BYTES, err);
    if (rate > 0 && !driver->turns)
        return err->code;
    driver->source = source_open(driver->loop, &options, on_source, driver, err);
    return driver->source ? 0 : err->code;
}

/* A key that cannot sign is known before anything is done. */
static int load_key(struct driver *driver, struct err *err)
{
    char text[SIGN_TEXT_MAX];
    if (!driver->order.signing_key)
        return 0;
    driver->sign_key = sign_key_load(driver->order.signing_key, err);
    return driver->sign_key ? sign_make(driver->sign_key, driver->recipe->deploy.app, "", text, err)
                            : err->code;
}

int driver_run(struct driver *driver)
{
    struct err err;
    bool needs = driver->order.verb == DRIVER_RELEASE || driver->order.verb == DRIVER_PLAN ||
                 (driver->order.verb == DRIVER_DIFF && !driver->order.to);
    if (needs && load_key(driver, &err) < 0) {
        driver_tell(driver, DRIVER_NEWS_ERROR, NULL, NULL, "signing_key: %s", err.text);
        return rollout_name_code(ROLLOUT_CONFIG);
    }
    if (start_source(driver, &err) < 0) {
        if (needs) {
            driver_tell(driver, DRIVER_NEWS_ERROR, NULL, NULL, "%s", err.text);
            return rollout_name_code(ROLLOUT_CONFIG);
        }
        driver->source_err = err; /* told only if it turns out to be needed */
        driver->source_done = driver->source_failed = true;
    }
    driver_fact(driver, &(struct rollout_event){ .kind = ROLLOUT_EV_START });
    tick_within(driver, DRIVER_PROGRESS_MS);
    loop_run(driver->loop, turn, driver);
    if (driver->left && driver->rollout.stage != ROLLOUT_OVER)
        return driver->rollout.stage < ROLLOUT_CANARY ? rollout_name_code(ROLLOUT_INTERRUPTED)
                                                      : rollout_name_code(ROLLOUT_PAUSED);
    return rollout_exit_code(&driver->rollout);
}
