/* driver_reserve.c - no byte of a content is sent before every host has room for all of it.
 *
 * Each host is asked to stage at once, and takes the room; then so many send as [fleet] parallel
 * allows.  When too many hosts have said no by then, nobody is sent anything.
 */
#include "deployctl/fleet/driver_inside.h"

void driver_reserve_told(void *context)
{
    struct driver_host *host = context;
    host->reserved = true; /* looked at at the end of this turn */
}

static bool all_have_answered(const struct driver *driver)
{
    for (size_t i = 0; i < driver->count; i++)
        if (driver->hosts[i].act == ROLLOUT_ACT_STAGE && !driver->hosts[i].reserved)
            return false;
    return true;
}

/* What they have room for is not sent: the rollout ends here, and they let go of it. */
static void spare(struct driver *driver)
{
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        if (host->act != ROLLOUT_ACT_STAGE || !host->upload || !upload_held(host->upload))
            continue;
        upload_free(host->upload);
        host->upload = NULL;
        driver_answered(host, ROLLOUT_OK);
    }
}

static void let_go(struct driver *driver)
{
    size_t sending = 0;
    for (size_t i = 0; i < driver->count; i++)
        sending += driver->hosts[i].upload && !upload_held(driver->hosts[i].upload);
    for (size_t i = 0; i < driver->count; i++) {
        struct upload *upload = driver->hosts[i].upload;
        if (!upload || !upload_held(upload))
            continue;
        if (sending >= (size_t)driver->recipe->fleet.parallel)
            return;
        upload_go(upload);
        sending++;
    }
}

void driver_reserve_check(struct driver *driver)
{
    if (driver->rollout.stage != ROLLOUT_STAGING)
        return;
    driver->all_reserved = driver->all_reserved || all_have_answered(driver);
    if (!driver->all_reserved)
        return;
    if (rollout_hopeless(&driver->rollout))
        spare(driver);
    else
        let_go(driver);
}
