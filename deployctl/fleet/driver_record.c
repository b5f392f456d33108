/* driver_record.c - the rollout record on its way to the hosts.
 *
 * Every host has it before any host switches.  It is sent behind the request that has to be
 * answered before its turn comes (fence; or seal, and then a host takes it only when the release is
 * whole), so that most of the time its turn costs no round trip.  A record that has to say
 * something else by then, because a host was lost meanwhile, is written again.
 */
#include <stdlib.h>

#include "deployctl/fleet/driver_inside.h"
#include "io/jsonx.h"

static json_t *record_of(struct driver *driver)
{
    struct opened opened = {
        .rollout = driver->name,
        .id = driver->id,
        .digest = driver->digest,
        .app = driver->recipe->deploy.app,
        .kind = driver->kind,
        .who = driver->order.who,
        .started = driver->started,
        .message = driver->order.message,
        .epoch = driver->epoch,
        .partial = driver->order.partial,
        .limits = driver->rollout.limits,
        .hold_for_ms = driver->hold_for_ms,
        .ready_timeout_ms = driver->ready_timeout_ms,
    };
    if (driver->rollout.limits.verdict)
        opened.evidence = driver->evidence;
    opened.hosts = calloc(driver->count, sizeof *opened.hosts);
    for (size_t i = 0; opened.hosts && i < driver->count; i++) {
        const struct rollout_host *part = &driver->rollout.hosts[i];
        /* One that is away while an open rollout goes on may run the release since before. */
        bool left_out = part->away && !driver->opened.json;
        if (part->state == ROLLOUT_HOST_REFUSED && !driver->hosts[i].from && !part->canary &&
            driver->opened.json)
            continue; /* not part of the rollout that was found open */
        opened.hosts[opened.count++] = (struct opened_host){
            .name = driver->hosts[i].spec->name,
            .from = driver->hosts[i].from,
            .metrics = driver->rollout.limits.verdict ? driver->hosts[i].metrics : NULL,
            .zone = driver->hosts[i].zone,
            .group = part->group,
            .canary = part->canary,
            .absent = left_out || part->state == ROLLOUT_HOST_REFUSED,
        };
    }
    json_t *json = opened_make(&opened);
    free(opened.hosts);
    return json;
}

/* What the record says now; the same object as long as it says the same.  Borrowed. */
static json_t *record_now(struct driver *driver)
{
    json_t *fresh = record_of(driver);
    if (json_equal(fresh, driver->record)) {
        json_decref(fresh);
        return driver->record;
    }
    json_decref(driver->record);
    driver->record = fresh;
    return fresh;
}

static json_t *record_params(struct driver_host *host, json_t *record)
{
    json_t *params = json_object();
    jsonx_set_text(params, "token", host->driver->token);
    json_object_set(params, "record", record);
    host->record_asked = true;
    return params;
}

static void on_recorded(void *context, const json_t *answer, const struct err *err)
{
    struct driver_host *host = context;
    (void)answer;
    driver_answered(host, err ? driver_acts_refusal(host, err) : ROLLOUT_OK);
}

static void on_ahead(void *context, const json_t *answer, const struct err *err)
{
    struct driver_host *host = context;
    bool waited = host->act == ROLLOUT_ACT_RECORD && host->ahead == DRIVER_EARLY_ASKED;
    if (host->ahead != DRIVER_EARLY_ASKED)
        return;
    host->ahead = answer && !err ? DRIVER_EARLY_ANSWERED : DRIVER_EARLY_NONE;
    if (answer && waited)
        driver_record_act(host);
}

void driver_record_ahead(struct driver_host *host, const char *sealed)
{
    json_t *params = record_params(host, record_now(host->driver));
    if (sealed)
        jsonx_set_text(params, "sealed", sealed);
    driver_record_forget(host);
    host->ahead = DRIVER_EARLY_ASKED;
    host->ahead_record = json_incref(host->driver->record);
    session_ask(host->session, "record", params, DRIVER_QUICK_MS, on_ahead, host);
}

void driver_record_act(struct driver_host *host)
{
    json_t *record = record_now(host->driver);
    bool same = host->ahead != DRIVER_EARLY_NONE && record == host->ahead_record;
    if (same && host->ahead == DRIVER_EARLY_ASKED)
        return;
    if (same) {
        driver_answered(host, ROLLOUT_OK);
        return;
    }
    driver_record_forget(host);
    driver_acts_ask(host, "record", record_params(host, record), DRIVER_QUICK_MS, on_recorded);
}

void driver_record_forget(struct driver_host *host)
{
    json_decref(host->ahead_record);
    host->ahead_record = NULL;
    host->ahead = DRIVER_EARLY_NONE;
}
