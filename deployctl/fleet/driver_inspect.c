/* driver_inspect.c - orders that look at the releases of every host, and change nothing. */
#include "deployctl/fleet/driver_inside.h"

#include <string.h>

#include "io/jsonx.h"

enum { LISTED = 100 }; /* differences of one host */

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

/* The release of this host that is meant; NULL = it has none such. */
static const char *release_of(const struct driver_host *host)
{
    const struct glance *glance = &host->glance;
    const char *to = host->driver->order.to;
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
        const char *id = release_of(host);
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
