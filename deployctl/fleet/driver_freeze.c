/* driver_freeze.c - hosts on which nothing new is released for a while (agent/freeze.h). */
#include "deployctl/fleet/driver_inside.h"

#include <stdio.h>
#include <string.h>

#include "io/jsonx.h"

enum { NAMES_MAX = 200, NAMES_SHOWN = 3 };

void driver_freeze_put(const struct driver *driver, json_t *params)
{
    if (driver->order.verb != DRIVER_RELEASE)
        jsonx_set_bool(params, "new", false);
    else if (driver->order.despite_freeze)
        jsonx_set_bool(params, "despite_freeze", true);
}

/* --- in the way of a release --------------------------------------------------------------------
 */

/* "web1, web2 and 3 more"; how many. */
static size_t frozen_hosts(const struct driver *driver, char names[static NAMES_MAX])
{
    size_t count = 0, len = 0;
    names[0] = '\0';
    for (size_t i = 0; i < driver->count; i++) {
        const struct driver_host *host = &driver->hosts[i];
        if (!driver_decide_reached(driver, i) || !glance_frozen(&host->glance))
            continue;
        if (count++ < NAMES_SHOWN)
            len += (size_t)snprintf(names + len, NAMES_MAX - len, "%s%.60s", count > 1 ? ", " : "",
                                    host->spec->name);
    }
    if (count > NAMES_SHOWN)
        snprintf(names + len, NAMES_MAX - len, " and %zu more", count - NAMES_SHOWN);
    return count;
}

static const json_t *first_freeze(const struct driver *driver, bool over)
{
    for (size_t i = 0; i < driver->count; i++) {
        const struct glance *glance = &driver->hosts[i].glance;
        if (driver_decide_reached(driver, i) && glance->freeze && glance_frozen(glance) != over)
            return glance->freeze;
    }
    return NULL;
}

bool driver_freeze_stands(struct driver *driver)
{
    char names[NAMES_MAX];
    const json_t *over = first_freeze(driver, true);
    const char *until = jsonx_text(over, "until", "?");
    if (over)
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL,
                    "the freeze by %s (%s) ran out on %.19s and is ignored; `deployctl unfreeze` "
                    "removes it",
                    jsonx_text(over, "who", "?"), jsonx_text(over, "reason", "?"), until);
    size_t count = frozen_hosts(driver, names);
    if (count == 0)
        return false;
    const json_t *freeze = first_freeze(driver, false);
    until = jsonx_text(freeze, "until", NULL);
    driver_tell(driver, driver->order.despite_freeze ? DRIVER_NEWS_WARNING : DRIVER_NEWS_ERROR,
                NULL, NULL, "releases are frozen on %s by %s since %.19s%s%.19s: %s%s",
                count == driver->count ? "every host" : names, jsonx_text(freeze, "who", "?"),
                jsonx_text(freeze, "since", "?"), until ? " until " : "", until ? until : "",
                jsonx_text(freeze, "reason", "?"),
                driver->order.despite_freeze
                    ? "; released despite that, as asked"
                    : "; wait, lift it with `deployctl unfreeze`, or release with "
                      "--despite-freeze (rollback, abort and pause work as ever)");
    if (driver->order.despite_freeze)
        return false;
    driver_stop(driver, ROLLOUT_PAUSED);
    return true;
}

/* --- freeze, unfreeze ---------------------------------------------------------------------------
 */

static void on_answer(void *context, const json_t *answer, const struct err *err)
{
    struct driver_host *host = context;
    struct driver *driver = host->driver;
    if (!driver->deciding)
        return; /* the driver is freed */
    if (answer && err)
        driver_blame(host, "%s%s", err->text,
                     err->code == ERR_PROTOCOL ? "; install this version of deployctl there" : "");
    else if (answer)
        host->found = json_deep_copy(answer);
    if (--driver->polls == 0)
        driver_stop(driver, ROLLOUT_NOTHING);
}

void driver_freeze_order(struct driver *driver)
{
    const struct driver_order *order = &driver->order;
    driver_resume_find(driver, NULL);
    driver->polls = 1; /* until all are asked */
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        json_t *params = json_object(), *freeze = json_null();
        if (host->link != DRIVER_LINK_OPEN) {
            json_decref(params);
            continue;
        }
        if (order->verb == DRIVER_FREEZE) {
            freeze = json_object();
            jsonx_set_text(freeze, "reason", order->freeze_reason);
            jsonx_set_text(freeze, "who", order->who);
            jsonx_set_text(freeze, "until", order->freeze_until);
        }
        json_object_set_new(params, "freeze", freeze);
        driver->polls++;
        session_ask(host->session, "freeze", params, DRIVER_QUICK_MS, on_answer, host);
    }
    if (--driver->polls == 0)
        driver_stop(driver, ROLLOUT_NOTHING);
}
