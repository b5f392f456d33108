/* driver_lock.c - the locks of hosts.
 *
 * Where nobody is to be asked whether to go on, a release and a rollback ask for the lock together
 * with the first look: that is a round trip less.  The answer is kept until it is the lock's turn;
 * a rollout that never comes so far lets go again.
 */
#include <stdio.h>

#include "deployctl/fleet/driver_inside.h"
#include "io/jsonx.h"

static json_t *lock_params(const struct driver *driver)
{
    json_t *params = json_object();
    jsonx_set_text(params, "who", driver->order.who);
    jsonx_set_text(params, "rollout", driver->name);
    jsonx_set_bool(params, "steal", false);
    return params;
}

static void held(struct driver_host *host, const json_t *holder)
{
    snprintf(host->error, sizeof host->error, "is being worked on by %s (since %s, step %s)",
             jsonx_text(holder, "who", "somebody"), jsonx_text(holder, "since", "?"),
             jsonx_text(holder, "step", "?"));
    driver_answered(host, ROLLOUT_HELD);
}

static void on_lock(void *context, const json_t *answer, const struct err *err)
{
    struct driver_host *host = context;
    if (err && err->code == ERR_EXISTS) {
        held(host, json_object_get(answer, "holder"));
        return;
    }
    if (err) {
        driver_answered(host, driver_acts_refusal(host, err));
        return;
    }
    host->lock_wanted = true;
    if (jsonx_int(answer, "epoch", host->glance.epoch) != host->glance.epoch) {
        driver_blame(host, "another rollout ran here since this one looked; run the command again");
        driver_answered(host, ROLLOUT_STALE);
        return;
    }
    host->error[0] = '\0';
    driver_answered(host, ROLLOUT_OK);
}

/* Goes on with the answer that came before its turn. */
static void take_early(struct driver_host *host)
{
    json_t *answer = host->early_answer;
    host->early = DRIVER_EARLY_NONE;
    host->early_answer = NULL;
    on_lock(host, answer, host->early_err.code != ERR_NONE ? &host->early_err : NULL);
    json_decref(answer);
}

static void on_early(void *context, const json_t *answer, const struct err *err)
{
    struct driver_host *host = context;
    if (host->early != DRIVER_EARLY_ASKED)
        return;
    if (!answer) { /* the connection is gone, and the lock with it */
        host->early = DRIVER_EARLY_NONE;
        return;
    }
    host->early = DRIVER_EARLY_ANSWERED;
    host->early_answer = json_incref((json_t *)answer);
    host->early_err = err ? *err : (struct err){ 0 };
    if (host->act == ROLLOUT_ACT_LOCK)
        take_early(host);
}

void driver_lock_early(struct driver_host *host)
{
    struct driver *driver = host->driver;
    bool changes = driver->order.verb == DRIVER_RELEASE || driver->order.verb == DRIVER_ROLLBACK;
    if (!changes || driver_decide_asks(driver) || host->early != DRIVER_EARLY_NONE)
        return;
    host->early = DRIVER_EARLY_ASKED;
    session_ask(host->session, "lock", lock_params(driver), DRIVER_QUICK_MS, on_early, host);
}

void driver_lock_act(struct driver_host *host)
{
    if (host->early == DRIVER_EARLY_ANSWERED)
        take_early(host);
    else if (host->early == DRIVER_EARLY_NONE)
        driver_acts_ask(host, "lock", lock_params(host->driver), DRIVER_QUICK_MS, on_lock);
}

void driver_lock_forget(struct driver_host *host)
{
    json_decref(host->early_answer);
    host->early_answer = NULL;
    host->early = DRIVER_EARLY_NONE;
}

/* --- letting go -------------------------------------------------------------------------------
 */

static void on_unlocked(void *context, const json_t *answer, const struct err *err)
{
    struct driver *driver = context;
    (void)answer;
    (void)err;
    if (--driver->unlocking == 0)
        loop_timer_arm(driver->timer, 0);
}

void driver_lock_release(struct driver_host *host)
{
    host->lock_wanted = host->fence_wanted = false;
    if (host->link != DRIVER_LINK_OPEN || host->unlocked)
        return;
    host->unlocked = true;
    host->driver->unlocking++;
    session_ask(host->session, "unlock", NULL, DRIVER_QUICK_MS, on_unlocked, host->driver);
}

void driver_lock_release_early(struct driver *driver)
{
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        if (host->early == DRIVER_EARLY_NONE)
            continue;
        driver_lock_forget(host);
        driver_lock_release(host);
    }
}
