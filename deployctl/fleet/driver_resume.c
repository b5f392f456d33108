/* driver_resume.c - finding the open rollout on the hosts, and the orders that concern it. */
#include "deployctl/fleet/driver_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deployctl/plan/rollout_name.h"
#include "io/jsonx.h"

static bool reached(const struct driver *driver, size_t i)
{
    return driver->hosts[i].once && !driver->rollout.hosts[i].away;
}

const struct driver_host *driver_resume_holder(const struct driver *driver)
{
    for (size_t i = 0; i < driver->count; i++)
        if (driver->hosts[i].once && driver->hosts[i].glance.holder)
            return &driver->hosts[i];
    return NULL;
}

/* A record is open when every reachable host that takes part has it.  Where one of them has it not
 * it was never complete (so nothing was switched) or is closed already: it is a leftover. */
static bool is_open(const struct driver *driver, const struct opened *opened,
                    const char **ret_missing)
{
    for (size_t i = 0; i < driver->count; i++) {
        const struct opened_host *part = opened_host(opened, driver->hosts[i].spec->name);
        if (!part || part->absent || !reached(driver, i))
            continue;
        const json_t *here = driver->hosts[i].glance.rollout;
        if (here && (jsonx_text(here, "damaged", NULL) ||
                     strcmp(jsonx_text(here, "rollout", ""), opened->rollout) == 0))
            continue; /* a damaged one may be this one: then the others know what it said */
        *ret_missing = driver->hosts[i].spec->name;
        return false;
    }
    return true;
}

bool driver_resume_find(struct driver *driver, struct err *err)
{
    opened_done(&driver->opened);
    if (err)
        err->code = ERR_NONE;
    for (size_t i = 0; i < driver->count; i++) {
        struct opened opened;
        struct err own;
        const char *missing = NULL;
        const struct driver_host *host = &driver->hosts[i];
        if (!reached(driver, i) || !host->glance.rollout)
            continue;
        if (opened_parse(host->glance.rollout, &opened, &own) < 0) {
            if (!jsonx_text(host->glance.rollout, "damaged", NULL)) /* else the agent has said so */
                err_set(err, ERR_CORRUPT, "%s: %s; the record of the other hosts counts",
                        host->spec->name, own.text);
            continue;
        }
        bool newer = !driver->opened.json || opened.epoch > driver->opened.epoch;
        if (!is_open(driver, &opened, &missing)) {
            err_set(err, ERR_STALE,
                    "%s still has the record of a rollout (%s) that is not open "
                    "any more (%s does not have it); it is ignored",
                    host->spec->name, opened.id, missing);
            opened_done(&opened);
        } else if (newer) {
            opened_done(&driver->opened);
            driver->opened = opened;
        } else {
            opened_done(&opened);
        }
    }
    return driver->opened.json != NULL;
}

/* --- going on with it --------------------------------------------------------------------------
 */

static void take_over(struct driver *driver)
{
    const struct opened *opened = &driver->opened;
    struct rollout_limits *limits = &driver->rollout.limits;
    bool hold = limits->hold;
    snprintf(driver->name, sizeof driver->name, "%s", opened->rollout);
    snprintf(driver->id, sizeof driver->id, "%s", opened->id);
    snprintf(driver->digest, sizeof driver->digest, "%.64s", opened->digest);
    snprintf(driver->started, sizeof driver->started, "%.38s", opened->started);
    driver->kind = opened->kind;
    driver->hold_for_ms = opened->hold_for_ms;
    driver->ready_timeout_ms = opened->ready_timeout_ms;
    driver->order.partial = opened->partial;
    driver->order.message = opened->message;
    *limits = opened->limits;
    limits->hold = hold;
    driver->evidence = opened->evidence;
    limits->verdict = opened->evidence.metrics != NULL;
    limits->promote_open = opened->evidence.promote;
    driver->epoch = 0;
    for (size_t i = 0; i < driver->count; i++)
        if (driver->hosts[i].once && driver->hosts[i].glance.epoch > driver->epoch)
            driver->epoch = driver->hosts[i].glance.epoch;
    driver->epoch++;
    snprintf(driver->token, sizeof driver->token, "%lld:%s", (long long)driver->epoch,
             driver->name);
}

static enum rollout_host_state state_of(const struct driver *driver, size_t i)
{
    const struct glance *glance = &driver->hosts[i].glance;
    if (!reached(driver, i)) /* it may be on either side */
        return driver->rollout.kind == ROLLOUT_ABORT ? ROLLOUT_HOST_STRAY : ROLLOUT_HOST_LOST;
    if (!glance->current || strcmp(glance->current, driver->id) != 0)
        return ROLLOUT_HOST_OLD;
    return glance->confirmed ? ROLLOUT_HOST_CONFIRMED : ROLLOUT_HOST_NEW;
}

/* The zones as they were recorded, of hosts whose `zone` is set already.  A record of before has
 * none: then those of deploy.ini stay. */
static void place_zones(struct driver *driver)
{
    bool recorded = false;
    for (size_t i = 0; i < driver->opened.count; i++)
        recorded = recorded || driver->opened.hosts[i].zone;
    for (size_t i = 0; recorded && i < driver->count; i++) {
        const char *zone = driver->hosts[i].zone ? driver->hosts[i].zone : "";
        size_t first = 0;
        while (first < i &&
               (driver->rollout.hosts[first].zone != first ||
                strcmp(driver->hosts[first].zone ? driver->hosts[first].zone : "", zone) != 0))
            first++;
        driver->rollout.hosts[i].zone = first;
    }
}

static void place_hosts(struct driver *driver)
{
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        struct rollout_host *part = &driver->rollout.hosts[i];
        const struct opened_host *then = opened_host(&driver->opened, host->spec->name);
        part->group = then ? then->group : 0;
        if (then && then->zone)
            host->zone = arena_strdup(&driver->arena, then->zone);
        if (!then || then->absent) {
            part->state = ROLLOUT_HOST_REFUSED; /* it has no part in this rollout */
            continue;
        }
        host->from = then->from ? arena_strdup(&driver->arena, then->from) : NULL;
        host->metrics = then->metrics ? then->metrics : driver->opened.evidence.metrics;
        part->was_healthy = host->glance.healthy && host->glance.instances > 0 && then->from;
        part->overlap = host->glance.overlap && !driver_drain_on(driver);
        rollout_found(&driver->rollout, i, then->canary, state_of(driver, i));
        part->recorded = host->glance.rollout != NULL;
        bool same = then->from && strcmp(then->from, driver->id) == 0;
        part->skip = same && part->state == ROLLOUT_HOST_CONFIRMED;
        if (part->skip)
            part->touched = false;
    }
    place_zones(driver);
}

static void warn_differences(struct driver *driver)
{
    const struct opened *opened = &driver->opened;
    for (size_t k = 0; k < opened->count; k++) {
        size_t i = 0;
        while (i < driver->count && strcmp(driver->hosts[i].spec->name, opened->hosts[k].name) != 0)
            i++;
        if (i == driver->count)
            driver_tell(driver, DRIVER_NEWS_WARNING, NULL, NULL,
                        "%s takes part in the open rollout, but is not among the hosts of %s; it "
                        "is left as it is",
                        opened->hosts[k].name, driver->recipe->file);
    }
    if (driver->rollout.limits.bake_ms != driver->recipe->canary.bake_ms ||
        driver->rollout.limits.confirm_within_ms != driver->recipe->rollout.confirm_within_ms)
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL,
                    "the rollout goes on with the values it was begun with, some of which differ "
                    "from %s",
                    driver->recipe->file);
}

static bool canary_is_gone(const struct driver *driver)
{
    for (size_t i = 0; i < driver->count; i++) {
        const struct rollout_host *part = &driver->rollout.hosts[i];
        if (part->canary && part->state == ROLLOUT_HOST_OLD)
            return true;
    }
    return false;
}

static void go_on(struct driver *driver)
{
    struct rollout *rollout = &driver->rollout;
    take_over(driver);
    if (strcmp(driver->kind, "rollback") == 0 &&
        (rollout->kind == ROLLOUT_RESUME || rollout->kind == ROLLOUT_PROMOTE))
        rollout->kind = ROLLOUT_ROLLBACK;
    place_hosts(driver);
    warn_differences(driver);
    if (rollout->kind == ROLLOUT_PROMOTE && canary_is_gone(driver)) {
        driver_tell(driver, DRIVER_NEWS_ERROR, NULL, NULL,
                    "the canary has gone back to its old release (its lease ran out, or it was "
                    "told to); `deployctl resume` switches it again, `deployctl abort` ends the "
                    "rollout");
        driver_stop(driver, ROLLOUT_PAUSED);
        return;
    }
    driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL, "going on with the %s of %s by %s",
                strcmp(driver->kind, "rollback") == 0 ? "rollback" : "rollout", driver->id,
                driver->opened.who);
    driver_go(driver);
}

/* --- a live holder -----------------------------------------------------------------------------
 */

static void on_request(void *context, const json_t *answer, const struct err *err)
{
    (void)context;
    (void)answer;
    (void)err;
}

/* Leaves the request on every host; the holder sees it within a second. */
static void request(struct driver *driver, const char *what)
{
    const struct driver_host *holder = driver_resume_holder(driver);
    for (size_t i = 0; i < driver->count; i++) {
        if (driver->hosts[i].link != DRIVER_LINK_OPEN)
            continue;
        json_t *params = json_object();
        jsonx_set_text(params, "what", what);
        jsonx_set_text(params, "who", driver->order.who);
        session_ask(driver->hosts[i].session, "request", params, DRIVER_QUICK_MS, on_request, NULL);
    }
    const json_t *who = holder ? holder->glance.holder : NULL;
    driver_tell(
        driver, DRIVER_NEWS_NOTE, NULL, NULL,
        "%s, at work on %s (step %s), is asked to %s; waiting until it has finished what it "
        "is doing",
        jsonx_text(who, "who", "the holder"), holder ? holder->spec->name : "it",
        jsonx_text(who, "step", "?"), what);
    driver->requested = true;
    loop_timer_arm(driver->poll, DRIVER_POLL_MS);
}

static void polled(struct driver *driver)
{
    bool abort = driver->order.verb == DRIVER_ABORT;
    if (driver_resume_holder(driver)) {
        loop_timer_arm(driver->poll, DRIVER_POLL_MS);
        return;
    }
    if (!driver_resume_find(driver, NULL)) {
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL, "the rollout is closed");
        driver_stop(driver, ROLLOUT_NOTHING);
    } else if (abort) { /* the holder has left it open: undo it from here */
        go_on(driver);
    } else {
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL,
                    "the rollout of %s is paused; `deployctl resume`, `promote` or `abort` next",
                    driver->opened.id);
        driver_stop(driver, ROLLOUT_NOTHING);
    }
}

static void on_polled(void *context, const json_t *answer, const struct err *err)
{
    struct driver_host *host = context;
    if (!answer)
        return;
    if (!err)
        glance_take(&host->glance, answer);
    if (--host->driver->polls == 0 && !host->driver->decided)
        polled(host->driver);
}

void driver_resume_poll(struct driver *driver)
{
    driver->polls = 0;
    if (driver->decided)
        return;
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        if (host->link != DRIVER_LINK_OPEN)
            continue;
        driver->polls++;
        session_ask(host->session, "look", driver_look_params(host), DRIVER_QUICK_MS, on_polled,
                    host);
    }
}

/* --- no rollout is open ------------------------------------------------------------------------
 */

/* The fleet's release: the good one that most hosts run, the newer one where that is even. */
static bool find_fleets(struct driver *driver)
{
    size_t most = 0;
    for (size_t i = 0; i < driver->count; i++) {
        const struct glance *glance = &driver->hosts[i].glance;
        size_t n = 0;
        /* One that was left out failed where it is, and is to be put right there. */
        bool settled = glance->confirmed || glance->left_out;
        if (!reached(driver, i) || !glance->current || !glance->digest || !settled)
            continue;
        for (size_t k = 0; k < driver->count; k++) {
            const char *other = driver->hosts[k].glance.current;
            n += reached(driver, k) && other && strcmp(other, glance->current) == 0;
        }
        if (n > most || (n == most && strcmp(glance->current, driver->id) > 0)) {
            most = n;
            snprintf(driver->id, sizeof driver->id, "%s", glance->current);
            snprintf(driver->digest, sizeof driver->digest, "%.64s", glance->digest);
        }
    }
    return most > 0;
}

/* True while there is still to wait for the source. */
static bool waits_for_source(struct driver *driver)
{
    bool needed = false;
    for (size_t i = 0; i < driver->count; i++)
        needed = needed ||
                 (reached(driver, i) && !glance_digest_of(&driver->hosts[i].glance, driver->id));
    if (needed && driver->source && !driver->source_done)
        return true;
    bool same = driver->source && driver->source_done && !driver->source_failed &&
                strcmp(source_digest(driver->source), driver->digest) == 0;
    if (!same) { /* also one that is still being read: nobody needs it, and it would be sent */
        source_free(driver->source);
        driver->source = NULL;
    }
    return false;
}

static void describe(struct driver *driver, size_t *ret_behind)
{
    driver->epoch = 0;
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        struct rollout_host *part = &driver->rollout.hosts[i];
        const struct glance *glance = &host->glance;
        if (!reached(driver, i))
            continue;
        if (glance->epoch > driver->epoch)
            driver->epoch = glance->epoch;
        host->from = glance->current ? arena_strdup(&driver->arena, glance->current) : NULL;
        part->was_healthy = glance->current && glance->healthy && glance->instances > 0;
        part->overlap = glance->overlap && !driver_drain_on(driver);
        part->skip =
            glance->current && strcmp(glance->current, driver->id) == 0 && !glance->left_out;
        if (part->skip)
            part->state = ROLLOUT_HOST_CONFIRMED;
        else
            ++*ret_behind;
    }
    driver->epoch++;
    snprintf(driver->token, sizeof driver->token, "%lld:%s", (long long)driver->epoch,
             driver->name);
}

static void catch_up(struct driver *driver)
{
    size_t behind = 0;
    if (!find_fleets(driver)) {
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL,
                    "no rollout is open and no host runs a release; `deployctl release` begins");
        driver_stop(driver, ROLLOUT_NOTHING);
        return;
    }
    if (waits_for_source(driver))
        return;
    driver->rollout.kind = ROLLOUT_CATCH_UP;
    driver->kind = "catch-up";
    describe(driver, &behind);
    if (behind == 0) {
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL,
                    "no rollout is open and every host runs %s; nothing to do", driver->id);
        driver_stop(driver, ROLLOUT_NOTHING);
        return;
    }
    driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL,
                "no rollout is open; bringing %zu host%s to %s, which the fleet runs", behind,
                behind == 1 ? "" : "s", driver->id);
    driver_go(driver);
}

static void nothing_open(struct driver *driver)
{
    if (driver->order.verb == DRIVER_RESUME) {
        catch_up(driver);
        return;
    }
    bool promote = driver->order.verb == DRIVER_PROMOTE;
    driver_tell(driver, promote ? DRIVER_NEWS_ERROR : DRIVER_NEWS_NOTE, NULL, NULL,
                "no rollout is open%s",
                promote ? "; `deployctl release` begins one" : "; nothing to do");
    driver_stop(driver, promote ? ROLLOUT_CONFIG : ROLLOUT_NOTHING);
}

void driver_resume_decide(struct driver *driver)
{
    struct err err = { 0 };
    enum driver_verb verb = driver->order.verb;
    bool open = driver_resume_find(driver, &err);
    if (err.code != ERR_NONE)
        driver_tell(driver, DRIVER_NEWS_WARNING, NULL, NULL, "%s", err.text);
    const struct driver_host *holder = driver_resume_holder(driver);
    if (holder && (verb == DRIVER_PAUSE || verb == DRIVER_ABORT)) {
        request(driver, verb == DRIVER_ABORT ? "abort" : "pause");
    } else if (holder && open) {
        driver_tell(driver, DRIVER_NEWS_ERROR, NULL, NULL,
                    "%s is at work on this rollout right now (since %s, seen on %s); wait for it, "
                    "or stop it with `deployctl pause` or `deployctl abort`",
                    jsonx_text(holder->glance.holder, "who", "somebody"),
                    jsonx_text(holder->glance.holder, "since", "?"), holder->spec->name);
        driver_stop(driver, ROLLOUT_LOCKED);
    } else if (open) {
        go_on(driver);
    } else {
        nothing_open(driver);
    }
}
