/* driver_acts.c - each act of the machine as a sequence of requests to one host.
 *
 * A step asks and returns; its answer calls run() again with the next step.  When a connection
 * breaks nothing is answered: the act begins again at its first step once the host is back, which
 * is right because every verb may be asked twice.
 */
#include "base/clock.h"
#include "deployctl/fleet/driver_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/unit.h"
#include "deployctl/plan/rollout_name.h"
#include "deployctl/wire/proto.h"
#include "io/jsonx.h"

/* Context of a request: which act of which host it belongs to, so that a late answer to an act
 * that was given up is recognised. */
struct errand {
    struct driver_host *host;
    enum rollout_act act;
    int64_t act_ms;
    session_answer_fn *fn;
};

static void on_errand(void *context, const json_t *answer, const struct err *err)
{
    struct errand *errand = context;
    struct driver_host *host = errand->host;
    bool live = answer && host->act == errand->act && host->act_ms == errand->act_ms;
    session_answer_fn *fn = errand->fn;
    free(errand);
    if (live && fn)
        fn(host, answer, err);
}

void driver_acts_ask(struct driver_host *host, const char *verb, json_t *params,
                     int64_t deadline_ms, session_answer_fn *fn)
{
    struct errand *errand = calloc(1, sizeof *errand);
    if (errand)
        *errand = (struct errand){ host, host->act, host->act_ms, fn };
    session_ask(host->session, verb, params, deadline_ms, errand ? on_errand : NULL, errand);
}

static json_t *with_token(struct driver_host *host, const char *key, const char *value)
{
    json_t *params = json_object();
    jsonx_set_text(params, "token", host->driver->token);
    if (key)
        jsonx_set_text(params, key, value);
    return params;
}

static void run(struct driver_host *host, const json_t *answer, const struct err *err);

/* The answer of a step: on to the next one. */
static void on_step(void *context, const json_t *answer, const struct err *err)
{
    struct driver_host *host = context;
    host->step++;
    run(host, answer, err);
}

static void ask(struct driver_host *host, const char *verb, json_t *params, int64_t deadline_ms)
{
    driver_acts_ask(host, verb, params, deadline_ms, on_step);
}

/* How a refusal counts; its text becomes the host's error. */
enum rollout_answer driver_acts_refusal(struct driver_host *host, const struct err *err)
{
    driver_blame(host, "%s", err->text);
    return err->code == ERR_STALE ? ROLLOUT_STALE : ROLLOUT_REFUSED;
}

/* The same of an act that the host's supervisor carries out: an agent that had no word from it
 * does not know whether it was done. */
static enum rollout_answer refusal_there(struct driver_host *host, const struct err *err)
{
    bool silent = err->code == ERR_TIMEOUT || err->code == ERR_UNREACHABLE;
    enum rollout_answer answer = driver_acts_refusal(host, err);
    return silent ? ROLLOUT_UNSURE : answer;
}

static int64_t took(const struct driver_host *host)
{
    return loop_now_ms(host->driver->loop) - host->act_ms;
}

static int64_t switch_deadline(const struct driver *driver)
{
    return 3 * driver->ready_timeout_ms + DRIVER_SLACK_MS + driver_drain_most_ms(driver);
}

/* --- hooks on the host ------------------------------------------------------------------------ */

static json_t *environment(const struct driver_host *host, const char *stage)
{
    json_t *env = json_object();
    jsonx_set_text(env, "DEPLOY_APP", host->driver->recipe->deploy.app);
    jsonx_set_text(env, "DEPLOY_RELEASE", host->driver->id);
    jsonx_set_text(env, "DEPLOY_PREVIOUS", host->from ? host->from : "");
    jsonx_set_text(env, "DEPLOY_HOST", host->spec->name);
    jsonx_set_text(env, "DEPLOY_STAGE", stage);
    return env;
}

static bool hook(struct driver_host *host, const char *name, const char *command, const char *stage)
{
    struct driver *driver = host->driver;
    if (!command)
        return false;
    json_t *params = with_token(host, "name", name);
    json_object_set_new(params, "env", environment(host, stage));
    jsonx_set_text(params, "command", command);
    jsonx_set_int(params, "timeout_s", driver->recipe->hooks.timeout_ms / 1000);
    ask(host, "hook", params, driver->recipe->hooks.timeout_ms + DRIVER_QUICK_MS);
    return true;
}

/* True when the hook before went well (or there was none: answer NULL). */
static bool hook_ok(struct driver_host *host, const char *name, const json_t *answer,
                    const struct err *err)
{
    int64_t code = jsonx_int(answer, "code", 0);
    if (err) {
        driver_blame(host, "hook %s: %s", name, err->text);
        return false;
    }
    if (code == 0)
        return true;
    const char *output = jsonx_text(answer, "output", "");
    driver_blame(host, "hook %s ended with code %lld%s%.300s", name, (long long)code,
                 *output ? ": " : "", output);
    return false;
}

/* --- one function for each act: called with step 0, then with each answer ----------------------
 */

/* A host that is just switching or going back, because a deployctl has ended a moment ago, is
 * looked at again until it is through: only then is it known what it runs. */
static bool wait_until_settled(struct driver_host *host)
{
    const struct driver *driver = host->driver;
    bool view = driver->order.verb == DRIVER_STATUS || driver->order.verb == DRIVER_HISTORY ||
                driver->order.verb == DRIVER_PLAN || driver->order.verb == DRIVER_VERIFY ||
                driver->order.verb == DRIVER_DIFF || driver->order.verb == DRIVER_FREEZE ||
                driver->order.verb == DRIVER_UNFREEZE;
    if (view || !host->glance.moving || host->glance.holder ||
        took(host) > 2 * driver->ready_timeout_ms + DRIVER_QUICK_MS)
        return false;
    if (host->step == 1)
        driver_tell(host->driver, DRIVER_NEWS_HOST, host, "moving",
                    "is just changing its release; waiting until it is through");
    loop_timer_arm(host->retry, DRIVER_POLL_MS);
    return true;
}

static json_t *names(const struct opt_names *list)
{
    json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(array, json_string(list->names[i]));
    return array;
}

json_t *driver_look_params(const struct driver_host *host)
{
    json_t *params = json_object();
    json_object_set_new(params, "services", names(&host->spec->services));
    return params;
}

static void act_look(struct driver_host *host, const json_t *answer, const struct err *err)
{
    char text[DRIVER_SAY_MAX];
    if (!answer) {
        ask(host, "look", driver_look_params(host), DRIVER_QUICK_MS);
        return;
    }
    if (err) {
        driver_answered(host, driver_acts_refusal(host, err));
        return;
    }
    glance_take(&host->glance, answer);
    int64_t now_ms = clock_wall_us() / 1000;
    host->skew_ms = jsonx_int(answer, "now_ms", now_ms) - now_ms;
    if (wait_until_settled(host))
        return;
    host->once = true;
    const char *warning;
    for (size_t i = 0; (warning = glance_warning(&host->glance, i)) != NULL; i++)
        driver_tell(host->driver, DRIVER_NEWS_WARNING, host, NULL, "%s", warning);
    if (*glance_problems(&host->glance, text, sizeof text)) {
        driver_blame(host, "%s", text);
        driver_answered(host, ROLLOUT_REFUSED);
        return;
    }
    if (driver_drain_unknown(host)) {
        driver_blame(host, "its deployctl is too old to drain ([drain]); install the same version "
                           "there");
        driver_answered(host, ROLLOUT_REFUSED);
        return;
    }
    char health[80];
    glance_health(&host->glance, health, sizeof health);
    if (host->glance.current)
        driver_tell(host->driver, DRIVER_NEWS_HOST, host, "seen", "%s, %s", host->glance.current,
                    health);
    else
        driver_tell(host->driver, DRIVER_NEWS_HOST, host, "seen", "no release yet");
    driver_health(host, host->glance.ready, host->glance.instances);
    driver_answered(host, ROLLOUT_OK);
}

static void act_lock(struct driver_host *host, const json_t *answer, const struct err *err)
{
    (void)answer;
    (void)err;
    driver_lock_act(host);
}

static json_t *fence_params(struct driver *driver)
{
    json_t *params = json_object();
    jsonx_set_int(params, "epoch", driver->epoch);
    jsonx_set_text(params, "rollout", driver->name);
    return params;
}

static void on_uploaded(void *context, const struct upload_result *result, const struct err *err);

static void on_sealing(void *context)
{
    struct driver_host *host = context;
    driver_record_ahead(host, host->driver->id);
}

static void start_upload(struct driver_host *host)
{
    struct driver *driver = host->driver;
    const struct recipe_deploy *deploy = &driver->recipe->deploy;
    struct err err;
    json_t *stage = json_object();
    json_object_set_new(stage, "shared_dirs", names(&deploy->shared_dirs));
    json_object_set_new(stage, "shared_files", names(&deploy->shared_files));
    jsonx_set_text(stage, "durability", deploy->durability == RECIPE_FSYNC ? "fsync" : "syncfs");
    jsonx_set_text(stage, "owner", deploy->owner);
    jsonx_set_text(stage, "links", deploy->links == RECIPE_LINKS_ANY ? "any" : "inside");
    jsonx_set_text(stage, "modes", deploy->modes == RECIPE_MODES_KEEP ? "keep" : "normal");
    json_object_set_new(stage, "about", driver_about(driver));
    driver_freeze_put(driver, stage);
    struct upload_order order = { .session = host->session,
                                  .source = driver->source,
                                  .turns = driver->turns,
                                  .id = driver->id,
                                  .token = driver->token,
                                  .stage = stage,
                                  .on_reserved = driver_reserve_told,
                                  .behind_seal =
                                      driver->recipe->hooks.after_install ? NULL : on_sealing };
    upload_free(host->upload);
    host->uploaded = host->reserved = false;
    host->upload = upload_start(driver->loop, &order, on_uploaded, host, &err);
    if (!host->upload)
        on_uploaded(host, NULL, &err);
}

/* What comes next anyway goes out behind the fence; without it the host refuses that, too. */
static void send_behind_fence(struct driver_host *host)
{
    const struct driver *driver = host->driver;
    enum rollout_stage next = rollout_behind_fence(&driver->rollout);
    bool all = driver->count <= (size_t)driver->recipe->fleet.parallel;
    if (next == ROLLOUT_RECORDING)
        driver_record_ahead(host, NULL);
    else if (next == ROLLOUT_STAGING && all && driver->source &&
             !driver->recipe->hooks.before_install)
        start_upload(host);
}

static void act_fence(struct driver_host *host, const json_t *answer, const struct err *err)
{
    (void)answer;
    if (host->step == 0) {
        ask(host, "fence", fence_params(host->driver), DRIVER_QUICK_MS);
        send_behind_fence(host);
    } else if (err) {
        driver_answered(host, driver_acts_refusal(host, err));
    } else {
        host->fence_wanted = true;
        driver_answered(host, ROLLOUT_OK);
    }
}

static void told_upload(struct driver_host *host);

/* A host that has the release already, in a rollout that needs no source. */
static bool has_release(const struct driver_host *host)
{
    const char *digest = glance_digest_of(&host->glance, host->driver->id);
    return digest && strcmp(digest, host->driver->digest) == 0;
}

static void act_stage(struct driver_host *host, const json_t *answer, const struct err *err)
{
    const struct recipe_hooks *hooks = &host->driver->recipe->hooks;
    switch (host->step) {
    case 0:
        if (hook(host, "before_install", hooks->before_install, "stage"))
            return;
        host->step = 1;
        __attribute__((fallthrough));
    case 1:
        if (!hook_ok(host, "before_install", answer, err))
            break;
        if (host->uploaded)
            told_upload(host);
        else if (host->driver->source && !host->upload)
            start_upload(host);
        else if (host->upload)
            return; /* it was begun behind the fence */
        else if (has_release(host))
            driver_answered(host, ROLLOUT_OK);
        else
            driver_blame(host, "does not have release %s, and SOURCE is not that release",
                         host->driver->id),
                driver_answered(host, ROLLOUT_REFUSED);
        return;
    default:
        if (!hook_ok(host, "after_install", answer, err))
            break;
        driver_answered(host, ROLLOUT_OK);
        return;
    }
    driver_answered(host, ROLLOUT_REFUSED);
}

static void told_upload(struct driver_host *host)
{
    const struct upload_result *result = &host->upload_result;
    char bytes[UNIT_TEXT_MAX], time[UNIT_TEXT_MAX];
    host->uploaded = false;
    if (host->upload_err.code != ERR_NONE) {
        driver_answered(host, driver_acts_refusal(host, &host->upload_err));
        return;
    }
    host->bytes_sent = result->bytes;
    unit_size_text((int64_t)result->bytes, bytes);
    unit_duration_text(took(host), time);
    driver_bytes(host, result->bytes, result->bytes);
    if (result->had)
        driver_tell(host->driver, DRIVER_NEWS_HOST, host, "staged", "has %s already",
                    host->driver->id);
    else
        driver_tell(host->driver, DRIVER_NEWS_HOST, host, "staged", "%llu file%s, %s in %s",
                    (unsigned long long)result->contents, result->contents == 1 ? "" : "s", bytes,
                    time);
    host->step = 2;
    if (!hook(host, "after_install", host->driver->recipe->hooks.after_install, "stage"))
        driver_answered(host, ROLLOUT_OK);
}

/* It may be before its turn. */
static void on_uploaded(void *context, const struct upload_result *result, const struct err *err)
{
    struct driver_host *host = context;
    host->uploaded = true;
    host->reserved = true; /* or it has no need to */
    host->upload_result = result ? *result : (struct upload_result){ 0 };
    host->upload_err = err ? *err : (struct err){ 0 };
    upload_free(host->upload);
    host->upload = NULL;
    if (host->act == ROLLOUT_ACT_STAGE)
        told_upload(host);
}

static void act_record(struct driver_host *host, const json_t *answer, const struct err *err)
{
    (void)answer;
    (void)err;
    driver_record_act(host);
}

static void watch(struct driver_host *host)
{
    json_t *params = with_token(host, NULL, NULL);
    jsonx_set_int(params, "interval_ms", DRIVER_WATCH_MS);
    host->watching = true;
    session_ask(host->session, "watch", params, DRIVER_QUICK_MS, NULL, NULL);
}

static void ask_switch(struct driver_host *host, const char *id, bool stay)
{
    struct driver *driver = host->driver;
    json_t *params = with_token(host, "id", id);
    bool lease = !stay;
    jsonx_set_int(params, "confirm_within_s",
                  lease ? (driver->rollout.limits.confirm_within_ms + 999) / 1000 : 0);
    jsonx_set_int(params, "ready_timeout_s", (driver->ready_timeout_ms + 999) / 1000);
    jsonx_set_text(params, "on_fail", stay ? "stay" : "revert");
    jsonx_set_bool(params, "undo", strcmp(id, driver->id) != 0);
    driver_freeze_put(driver, params);
    driver_drain_put(host, params, environment(host, "drain"));
    ask(host, "switch", params, switch_deadline(driver));
}

static enum rollout_answer switch_result(struct driver_host *host, const json_t *answer)
{
    const char *result = jsonx_text(answer, "result", "failed");
    const char *reason = jsonx_text(answer, "reason", NULL);
    char time[UNIT_TEXT_MAX];
    unit_duration_text(took(host), time);
    if (strcmp(result, "switched") == 0) {
        driver_tell(host->driver, DRIVER_NEWS_HOST, host, "switched", "runs %s, ready after %s",
                    jsonx_text(answer, "id", host->driver->id), time);
        return ROLLOUT_OK;
    }
    if (strcmp(result, "reverted") == 0) {
        driver_blame(host, "%s; went back to %s by itself",
                     reason ? reason : "the new release did not become ready",
                     host->from ? host->from : "no release");
        return ROLLOUT_GONE_BACK;
    }
    driver_blame(host, "%s", reason ? reason : "the switch failed and could not be undone");
    return ROLLOUT_BROKEN;
}

static void revert(struct driver_host *host, const char *reason)
{
    json_t *params = with_token(host, "id", host->driver->id);
    jsonx_set_text(params, "reason", reason);
    driver_drain_put(host, params, environment(host, "drain"));
    ask(host, "revert", params, switch_deadline(host->driver));
}

/* before_switch, switch, validate, [revert], after_switch. */
static void act_switch(struct driver_host *host, const json_t *answer, const struct err *err)
{
    const struct recipe_hooks *hooks = &host->driver->recipe->hooks;
    bool stay = host->driver->rollout.kind == ROLLOUT_ROLLBACK;
    enum rollout_answer result;
    switch (host->step) {
    case 0:
        driver_tell(host->driver, DRIVER_NEWS_HOST, host, "switching", "to %s", host->driver->id);
        if (hook(host, "before_switch", hooks->before_switch, "switch"))
            return;
        host->step = 1;
        __attribute__((fallthrough));
    case 1:
        if (!hook_ok(host, "before_switch", answer, err))
            driver_answered(host, ROLLOUT_REFUSED);
        else
            ask_switch(host, host->driver->id, stay);
        return;
    case 2:
        driver_drain_told(host, answer);
        result = err ? refusal_there(host, err) : switch_result(host, answer);
        if (result == ROLLOUT_UNSURE)
            watch(host);
        if (result != ROLLOUT_OK) {
            driver_answered(host, result);
            return;
        }
        watch(host);
        if (hook(host, "validate", hooks->validate, "validate"))
            return;
        host->step = 3;
        answer = NULL;
        __attribute__((fallthrough));
    case 3:
        if (!hook_ok(host, "validate", answer, err)) {
            if (stay)
                driver_answered(host, ROLLOUT_BROKEN);
            else
                revert(host, host->error);
            return;
        }
        host->step = 5;
        if (hook(host, "after_switch", hooks->after_switch, "switch"))
            return;
        driver_answered(host, ROLLOUT_OK);
        return;
    case 4: /* reverted after validate */
        driver_drain_told(host, answer);
        driver_answered(host, err ? ROLLOUT_BROKEN : ROLLOUT_GONE_BACK);
        return;
    default:
        if (!hook_ok(host, "after_switch", answer, err))
            driver_tell(host->driver, DRIVER_NEWS_WARNING, host, NULL,
                        "after_switch failed; the release stays");
        driver_answered(host, ROLLOUT_OK);
        return;
    }
}

static void act_extend(struct driver_host *host, const json_t *answer, const struct err *err)
{
    struct driver *driver = host->driver;
    bool hold = host->act == ROLLOUT_ACT_HOLD;
    int64_t ms = hold ? driver->hold_for_ms : driver->rollout.limits.confirm_within_ms;
    (void)answer;
    if (host->step == 0) {
        json_t *params = with_token(host, "id", driver->id);
        jsonx_set_int(params, "confirm_within_s", (ms + 999) / 1000);
        ask(host, "extend", params, DRIVER_QUICK_MS);
        return;
    }
    driver_answered(host, err ? refusal_there(host, err) : ROLLOUT_OK);
}

static void act_confirm(struct driver_host *host, const json_t *answer, const struct err *err)
{
    (void)answer;
    if (host->step == 0) {
        ask(host, "confirm", with_token(host, "id", host->driver->id), DRIVER_QUICK_MS);
        return;
    }
    if (!err)
        driver_tell(host->driver, DRIVER_NEWS_HOST, host, "confirmed", "stays on %s",
                    host->driver->id);
    driver_answered(host, err ? refusal_there(host, err) : ROLLOUT_OK);
}

static bool is_confirmed(const struct driver_host *host)
{
    return host->driver->rollout.hosts[host->index].maybe_confirmed;
}

static void undone(struct driver_host *host, const char *what)
{
    char time[UNIT_TEXT_MAX];
    unit_duration_text(took(host), time);
    driver_tell(host->driver, DRIVER_NEWS_HOST, host, "back", "%s %s again after %s", what,
                host->from ? host->from : "no release", time);
    host->step = 3;
    if (!hook(host, "on_failure", host->driver->recipe->hooks.on_failure, "unwind"))
        driver_answered(host, ROLLOUT_OK);
}

/* revert; where that is not possible any more (confirmed), switch to where it came from. */
static void act_undo(struct driver_host *host, const json_t *answer, const struct err *err)
{
    switch (host->step) {
    case 0:
        driver_tell(host->driver, DRIVER_NEWS_HOST, host, "going back", "to %s",
                    host->from ? host->from : "no release");
        if (!is_confirmed(host) || !host->from) {
            revert(host, host->driver->reason[0] ? host->driver->reason : "the rollout is undone");
            return;
        }
        host->step = 1;
        ask_switch(host, host->from, true);
        return;
    case 1: /* answer of revert */
        driver_drain_told(host, answer);
        if (!err && strcmp(jsonx_text(answer, "id", ""), host->driver->id) != 0) {
            undone(host, "runs");
        } else if (host->from) {
            ask_switch(host, host->from, true);
        } else {
            if (err)
                driver_acts_refusal(host, err);
            driver_answered(host, ROLLOUT_REFUSED);
        }
        return;
    case 2: /* answer of switch */
        driver_drain_told(host, answer);
        if (err)
            driver_answered(host, driver_acts_refusal(host, err));
        else if (switch_result(host, answer) == ROLLOUT_OK)
            undone(host, "runs");
        else
            driver_answered(host, ROLLOUT_REFUSED);
        return;
    default:
        hook_ok(host, "on_failure", answer, err);
        driver_answered(host, ROLLOUT_OK);
        return;
    }
}

static const char *closing_word(const struct driver *driver)
{
    switch (driver->rollout.outcome) {
    case ROLLOUT_DONE:
        return driver->order.partial ? "partial" : "done";
    case ROLLOUT_ABORTED:
        return "aborted";
    case ROLLOUT_INCOMPLETE:
        return "incomplete";
    case ROLLOUT_BAD:
    case ROLLOUT_FAILED:
    case ROLLOUT_UNREACHABLE:
        return "rolled-back";
    case ROLLOUT_RUNNING:
    case ROLLOUT_NOTHING:
    case ROLLOUT_LOCKED:
    case ROLLOUT_PAUSED:
    case ROLLOUT_HELD_OPEN:
    case ROLLOUT_INTERRUPTED:
    case ROLLOUT_CONFIG:
    case ROLLOUT_NOUTCOMES:
        break;
    }
    return "cancelled";
}

static void close_record(struct driver_host *host)
{
    json_t *params = with_token(host, "outcome", closing_word(host->driver));
    jsonx_set_text(params, "release", host->driver->id);
    ask(host, "close", params, DRIVER_QUICK_MS);
}

/* unstage, close the record if one may be there. */
static void act_clean(struct driver_host *host, const json_t *answer, const struct err *err)
{
    (void)answer;
    (void)err; /* what cannot be cleaned up is cleaned by the next agent that stages */
    upload_free(host->upload);
    host->upload = NULL;
    bool recorded = host->record_asked || host->driver->rollout.hosts[host->index].recorded;
    if (host->step == 0)
        ask(host, "unstage", with_token(host, "id", host->driver->id), DRIVER_QUICK_MS);
    else if (host->step == 1 && recorded)
        close_record(host);
    else
        driver_answered(host, ROLLOUT_OK);
}

static void mark(struct driver_host *host, bool good)
{
    json_t *params = with_token(host, "digest", host->driver->digest);
    jsonx_set_text(params, "verdict", good ? "good" : "bad");
    jsonx_set_text(params, "reason", good ? "healthy" : host->driver->reason);
    ask(host, "mark", params, DRIVER_QUICK_MS);
}

static void prune(struct driver_host *host)
{
    json_t *params = with_token(host, NULL, NULL);
    jsonx_set_int(params, "keep", host->driver->recipe->deploy.keep_releases);
    jsonx_set_bool(params, "dry", false);
    ask(host, "prune", params, DRIVER_PRUNE_MS);
}

/* mark, close, prune, unlock: all at once, each is done whatever came of the one before. */
static void act_close(struct driver_host *host, const json_t *answer, const struct err *err)
{
    struct driver *driver = host->driver;
    enum rollout_outcome outcome = driver->rollout.outcome;
    bool done = outcome == ROLLOUT_DONE, good = done && driver->rollout.kind != ROLLOUT_ROLLBACK;
    bool marks = good || outcome == ROLLOUT_BAD;
    (void)answer;
    if (err)
        driver_tell(driver, DRIVER_NEWS_WARNING, host, NULL, "closing the rollout: %s", err->text);
    if (host->step == 0) {
        if (marks)
            mark(host, good);
        close_record(host);
        if (done)
            prune(host);
        host->unlocked = true;
        ask(host, "unlock", NULL, DRIVER_QUICK_MS);
    } else if (host->step == 2 + marks + done) {
        driver_answered(host, ROLLOUT_OK);
    }
}

static void run(struct driver_host *host, const json_t *answer, const struct err *err)
{
    static void (*const acts[ROLLOUT_NACTS])(struct driver_host *, const json_t *,
                                             const struct err *) = {
        /* clang-format off */
        [ROLLOUT_ACT_LOOK]    = act_look,    [ROLLOUT_ACT_LOCK]   = act_lock,
        [ROLLOUT_ACT_FENCE]   = act_fence,   [ROLLOUT_ACT_STAGE]  = act_stage,
        [ROLLOUT_ACT_RECORD]  = act_record,  [ROLLOUT_ACT_SWITCH] = act_switch,
        [ROLLOUT_ACT_EXTEND]  = act_extend,  [ROLLOUT_ACT_HOLD]   = act_extend,
        [ROLLOUT_ACT_CONFIRM] = act_confirm, [ROLLOUT_ACT_UNDO]   = act_undo,
        [ROLLOUT_ACT_CLEAN]   = act_clean,   [ROLLOUT_ACT_CLOSE]  = act_close,
        /* clang-format on */
    };
    if (acts[host->act])
        acts[host->act](host, answer, err);
}

void driver_acts_early(struct driver_host *host)
{
    if (host->act != ROLLOUT_ACT_LOOK)
        return;
    host->looked_early = true;
    driver_lock_early(host); /* first: what is seen then is seen under the lock */
    run(host, NULL, NULL);
}

void driver_acts_look_again(struct driver_host *host)
{
    if (host->act == ROLLOUT_ACT_LOOK)
        run(host, NULL, NULL);
}

void driver_acts_again(struct driver_host *host)
{
    host->step = 0;
    host->sampling = false; /* what was asked on the connection before is not answered */
    upload_free(host->upload);
    host->upload = NULL;
    host->uploaded = false;
    if (host->watching)
        watch(host);
    if (host->act != ROLLOUT_ACT_NONE)
        run(host, NULL, NULL);
}

void driver_acts_begin(struct driver_host *host, enum rollout_act act)
{
    struct driver *driver = host->driver;
    if (act == ROLLOUT_ACT_UNLOCK) {
        driver_lock_release(host);
        return;
    }
    host->act = act;
    host->step = 0;
    host->act_ms = loop_now_ms(driver->loop);
    if (host->link == DRIVER_LINK_OPEN)
        run(host, NULL, NULL);
    else if (host->link == DRIVER_LINK_NONE || host->link == DRIVER_LINK_GONE)
        driver_connect(host);
}
