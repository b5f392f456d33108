/* driver_inspect.c - orders that look at the releases of every host, and change nothing. */
#include "deployctl/fleet/driver_inside.h"

#include <stdio.h>
#include <string.h>

#include "io/jsonx.h"

enum { LISTED = 100, PIECE_BYTES = 128 * 1024 };

static void on_found(void *context, const json_t *answer, const struct err *err)
{
    struct driver_host *host = context;
    struct driver *driver = host->driver;
    if (!driver->deciding)
        return;        /* the driver is freed */
    if (answer && err) /* of a connection that broke, its end tells */
        driver_blame(host, "%s%s", err->text,
                     err->code == ERR_PROTOCOL ? "; install this version of deployctl there" : "");
    else if (answer)
        host->found = json_deep_copy(answer);
    if (--driver->polls == 0)
        driver_stop(driver, ROLLOUT_NOTHING);
}

/* The release of this host that is meant, by default what it runs; NULL = it has none such. */
static const char *release_of(const struct driver_host *host, const char *to)
{
    const struct glance *glance = &host->glance;
    const json_t *releases = json_object_get(glance->answer, "releases"), *release;
    size_t i;
    if (!to)
        return glance->current;
    json_array_foreach((json_t *)releases, i, release)
    {
        const char *id = jsonx_text(release, "id", "");
        if (driver_named_so(id, to) || strcmp(jsonx_text(release, "digest", ""), to) == 0)
            return id;
    }
    return NULL;
}

void driver_inspect_verify(struct driver *driver)
{
    driver->polls = 1; /* until all are asked */
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        const char *id = release_of(host, driver->order.to);
        if (host->link != DRIVER_LINK_OPEN || !id)
            continue;
        json_t *params = json_object();
        jsonx_set_text(params, "id", id);
        jsonx_set_int(params, "limit", LISTED);
        driver->polls++;
        session_ask(host->session, "verify", params, DRIVER_VERIFY_MS, on_found, host);
    }
    if (--driver->polls == 0)
        driver_stop(driver, ROLLOUT_NOTHING);
}

/* --- diff ------------------------------------------------------------------------------------- */

static const json_t *about_of(const struct driver_host *host, const char *id)
{
    const json_t *releases = json_object_get(host->glance.answer, "releases"), *release;
    size_t i;
    json_array_foreach((json_t *)releases, i, release)
    {
        if (strcmp(jsonx_text(release, "id", ""), id) == 0)
            return json_object_get(release, "about");
    }
    return NULL;
}

static void on_diff(void *context, const json_t *answer, const struct err *err)
{
    struct driver_host *host = context;
    struct driver *driver = host->driver;
    if (!driver->deciding)
        return;
    host->manifest_wanted = false;
    if (answer && !err) {
        const char *to = jsonx_text(answer, "to", NULL);
        const json_t *from = about_of(host, jsonx_text(answer, "from", ""));
        host->found = json_deep_copy(answer);
        json_object_del(host->found, "n");
        json_object_del(host->found, "ok");
        if (from)
            json_object_set(host->found, "about_from", (json_t *)from);
        if (to && about_of(host, to))
            json_object_set(host->found, "about_to", (json_t *)about_of(host, to));
        else if (!to)
            json_object_set_new(host->found, "about_to",
                                json_pack("{s:o}", "hooks", driver_hooks(driver->recipe)));
        driver_stop(driver, ROLLOUT_NOTHING);
        return;
    }
    char text[DRIVER_SAY_MAX];
    snprintf(text, sizeof text, "%.100s: %.400s%s", host->spec->name,
             answer ? err->text : "the connection was lost",
             answer && err->code == ERR_PROTOCOL ? "; install this version of deployctl there"
                                                 : "");
    driver_decide_fault(driver, ROLLOUT_UNREACHABLE, text);
}

void driver_inspect_room(struct driver_host *host)
{
    const struct buf *packed = host->manifest_wanted ? source_packed(host->driver->source) : NULL;
    while (packed && session_has_room(host->session)) {
        size_t left = packed->len - host->manifest_at;
        size_t len = left > PIECE_BYTES ? PIECE_BYTES : left;
        if (!session_send(host->session, FRAME_MANIFEST, packed->data + host->manifest_at, len))
            return;
        host->manifest_at += len;
        host->manifest_wanted = len > 0; /* an empty one was the last */
        if (len == 0)
            return;
    }
}

static void ask_diff(struct driver_host *host, const char *from, const char *to)
{
    json_t *params = json_object();
    jsonx_set_text(params, "from", from);
    if (to)
        jsonx_set_text(params, "to", to);
    jsonx_set_int(params, "limit", host->driver->order.listed);
    session_ask(host->session, "diff", params, DRIVER_PRUNE_MS, on_diff, host);
    host->manifest_wanted = !to;
    driver_inspect_room(host);
}

/* The first host that has what is to be compared does it. */
void driver_inspect_diff(struct driver *driver)
{
    const struct driver_order *order = &driver->order;
    const char *from = order->from ? order->from : driver_decide_fleets(driver);
    char text[DRIVER_SAY_MAX];
    if (!order->to && !driver->source_done)
        return;
    if (!order->to && driver->source_failed) {
        driver_decide_fault(driver, ROLLOUT_CONFIG, driver->source_err.text);
        return;
    }
    bool any = false;
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        const char *first = host->once && from ? release_of(host, from) : NULL;
        const char *second = host->once && order->to ? release_of(host, order->to) : NULL;
        any = any || host->once;
        if (host->link != DRIVER_LINK_OPEN || !first || (order->to && !second))
            continue;
        ask_diff(host, first, second);
        return;
    }
    if (!any)
        snprintf(text, sizeof text, "no host could be asked");
    else if (!from)
        snprintf(text, sizeof text, "no host runs a release yet; name one");
    else
        snprintf(text, sizeof text,
                 "no host has %.64s%s%.64s; `deployctl status` and `history` show what there is",
                 from, order->to ? " and " : "", order->to ? order->to : "");
    driver_decide_fault(driver, any ? ROLLOUT_CONFIG : ROLLOUT_UNREACHABLE, text);
}
