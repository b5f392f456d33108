/* driver_events.c - what agents tell unasked: the health of their host, and requests that somebody
 * left there for us.
 */
#include "deployctl/fleet/driver_inside.h"

#include <stdio.h>
#include <string.h>

#include "base/unit.h"
#include "io/jsonx.h"

/* What keeps a host from being ready: its supervisor, or the first instance that is not. */
static void say_waiting(struct driver_host *host, const json_t *event)
{
    const json_t *instances = json_object_get(event, "instances"), *instance;
    char text[200] = "is not healthy", most[UNIT_TEXT_MAX];
    const char *error = jsonx_text(event, "error", NULL);
    size_t i;
    json_array_foreach((json_t *)instances, i, instance)
    {
        if (jsonx_bool(instance, "ready", false))
            continue;
        snprintf(text, sizeof text, "%.60s is %.40s, not ready", jsonx_text(instance, "id", "?"),
                 jsonx_text(instance, "state", "?"));
        break;
    }
    unit_duration_text(host->driver->rollout.limits.progress_deadline_ms, most);
    driver_tell(host->driver, DRIVER_NEWS_HOST, host, "waiting",
                "%.300s; waiting for it, at most %s (progress_deadline)", error ? error : text,
                most);
}

static void tell_health(struct driver_host *host, const json_t *event)
{
    const json_t *instances = json_object_get(event, "instances"), *instance;
    size_t ready = 0, i;
    json_array_foreach((json_t *)instances, i, instance) ready +=
        jsonx_bool(instance, "ready", false);
    driver_health(host, ready, json_array_size(instances));
}

static void on_health(struct driver_host *host, const json_t *event)
{
    const struct rollout_host *part = &host->driver->rollout.hosts[host->index];
    const json_t *gate = json_object_get(event, "gate");
    struct rollout_event fact = { .kind = ROLLOUT_EV_HEALTH, .host = host->index };
    fact.ready = jsonx_bool(event, "ready", false) && jsonx_bool(event, "healthy", true);
    host->probes = (uint64_t)jsonx_int(event, "probes", 0);
    tell_health(host, event);
    if (json_is_object(gate) && !part->bad) {
        driver_blame(host, "%s",
                     jsonx_text(gate, "text", jsonx_text(gate, "kind", "a gate fired")));
        fact.kind = ROLLOUT_EV_GATE;
    } else if (part->state == ROLLOUT_HOST_NEW && part->ready && !fact.ready) {
        say_waiting(host, event);
    }
    driver_fact(host->driver, &fact);
}

void driver_acts_event(struct driver_host *host, const char *name, const json_t *event)
{
    struct driver *driver = host->driver;
    if (strcmp(name, "health") == 0) {
        on_health(host, event);
    } else if (strcmp(name, "request") == 0) {
        const char *what = jsonx_text(event, "what", "");
        bool abort = strcmp(what, "abort") == 0;
        if (!abort && strcmp(what, "pause") != 0)
            return;
        if (!driver->request_told) /* every host tells it */
            driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL, "%s asks to %s",
                        jsonx_text(event, "who", "somebody"), what);
        driver->request_told = true;
        driver_fact(driver,
                    &(struct rollout_event){ .kind = abort ? ROLLOUT_EV_ABORT : ROLLOUT_EV_PAUSE });
    }
}
