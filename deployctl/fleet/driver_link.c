/* driver_link.c - connections of the driver: opened, lost and had again, closed while not needed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "deployctl/fleet/driver_inside.h"
#include "deployctl/fleet/reach.h"
#include "io/jsonx.h"

static void begin_waiting_hosts(struct driver *driver);

static double chance(void)
{
    uint32_t random = UINT32_MAX / 2;
    return getrandom(&random, sizeof random, GRND_NONBLOCK) < 0 ? 0.5 : random / (double)UINT32_MAX;
}

/* An sshd turned it away before its login, as it does when there are too many: not lost yet. */
static bool comes_again(struct driver_host *host, const struct err *err)
{
    struct driver *driver = host->driver;
    if (!host->knocking)
        return false;
    host->knocking = false;
    if (err->sys != EAGAIN || driver->rollout.stage == ROLLOUT_OVER) {
        window_done(&driver->window, false);
        return false;
    }
    int64_t wait =
        window_refused(&driver->window, &host->guest, loop_now_ms(driver->loop), chance());
    if (wait < 0)
        return false;
    snprintf(host->error, sizeof host->error, "%s", driver_without_name(host, err->text));
    host->link = DRIVER_LINK_BROKEN;
    loop_timer_arm(host->retry, wait);
    return true;
}

static void give_up(struct driver_host *host)
{
    host->link = DRIVER_LINK_GONE;
    host->act = ROLLOUT_ACT_NONE;
    upload_free(host->upload);
    host->upload = NULL;
    driver_fact(host->driver,
                &(struct rollout_event){ .kind = ROLLOUT_EV_LOST, .host = host->index });
}

/* While the rollout may still need the host, a lost connection is tried again for a while; a lost
 * answer is asked for again, never guessed. */
static bool worth_another_try(struct driver_host *host)
{
    int64_t now = loop_now_ms(host->driver->loop);
    if (!host->lock_wanted || host->driver->rollout.stage == ROLLOUT_OVER)
        return false;
    if (host->rejoin_end_ms == 0)
        host->rejoin_end_ms = now + DRIVER_REJOIN_MS;
    return now < host->rejoin_end_ms;
}

static void lost(struct driver_host *host, const struct err *err)
{
    session_free(host->session);
    host->session = NULL;
    upload_free(host->upload);
    host->upload = NULL;
    host->reserved = false;
    host->uploaded = host->looked_early = host->unlocked = false;
    driver_lock_forget(host);
    driver_record_forget(host);
    if (comes_again(host, err)) {
        begin_waiting_hosts(host->driver);
        return;
    }
    bool again = worth_another_try(host);
    bool first = host->link != DRIVER_LINK_BROKEN && host->link != DRIVER_LINK_OPENING;
    if (again && first)
        driver_tell(host->driver, DRIVER_NEWS_HOST, host, "lost", "%s; connecting again",
                    driver_without_name(host, err->text));
    if (again) {
        snprintf(host->error, sizeof host->error, "%s", driver_without_name(host, err->text));
        host->link = DRIVER_LINK_BROKEN;
        loop_timer_arm(host->retry, DRIVER_REJOIN_EVERY_MS);
    } else {
        driver_blame(host, "%s", err->text);
        host->lacks_agent = err->code == ERR_NOT_FOUND && host->spec->address != NULL &&
                            strstr(err->text, host->driver->recipe->fleet.remote_path) != NULL;
        give_up(host);
    }
    begin_waiting_hosts(host->driver);
}

static void on_close(void *context, const struct err *err) { lost(context, err); }

static void joined(struct driver_host *host)
{
    host->link = DRIVER_LINK_OPEN;
    host->rejoin_end_ms = 0;
    host->error[0] = '\0';
    if (!host->parked)
        driver_tell(host->driver, DRIVER_NEWS_HOST, host, "again", "connected again");
    host->parked = false;
    driver_acts_again(host);
}

static void join_failed(struct driver_host *host, const struct err *err)
{
    struct err own = *err;
    host->link = DRIVER_LINK_OPENING; /* still the same trouble */
    lost(host, &own);
}

/* While we were away or asleep somebody else took over: nothing of this rollout is ours any more.
 */
static void fenced_off(struct driver_host *host, const char *why)
{
    driver_blame(host, "%s", why);
    driver_fact(host->driver,
                &(struct rollout_event){ .kind = ROLLOUT_EV_STALE, .host = host->index });
}

static void on_joined(void *context, const json_t *answer, const struct err *err)
{
    struct driver_host *host = context;
    if (!answer)
        return;
    if (host->lock_err.code)
        join_failed(host, &host->lock_err); /* what comes after it only fails because of it */
    else if (err && err->code == ERR_STALE)
        fenced_off(host, driver_without_name(host, err->text));
    else if (err)
        join_failed(host, err);
    else
        joined(host);
}

/* An agent that hangs on the other side may still hold the lock; the next try may have it. */
static void on_locked_again(void *context, const json_t *answer, const struct err *err)
{
    struct driver_host *host = context;
    const json_t *holder = json_object_get(answer, "holder");
    const char *who = jsonx_text(holder, "who", "somebody");
    const char *since = jsonx_text(holder, "since", "?"), *step = jsonx_text(holder, "step", "?");
    long long mine = host->driver->epoch, epoch = jsonx_int(answer, "epoch", 0);
    bool held = err && err->code == ERR_EXISTS;
    if (held && host->fence_wanted && epoch > mine) {
        err_set(&host->lock_err, ERR_STALE,
                "epoch %lld is over: %s came since with epoch %lld, and is at work (since %s, "
                "step %s)",
                mine, who, epoch, since, step);
        fenced_off(host, host->lock_err.text);
    } else if (held) {
        err_set(&host->lock_err, ERR_EXISTS,
                "an agent that does not answer any more still holds the lock (since %s, step %s)",
                since, step);
    } else if (answer && err) {
        host->lock_err = *err;
    }
    if (answer && !host->fence_wanted)
        on_joined(context, answer, err);
}

/* look, lock and fence again; lock and fence are answered in order, so the last answer tells. */
static void join(struct driver_host *host)
{
    struct driver *driver = host->driver;
    session_ask(host->session, "look", driver_look_params(host), DRIVER_QUICK_MS, NULL, NULL);
    json_t *lock = json_object();
    jsonx_set_text(lock, "who", driver->order.who);
    jsonx_set_text(lock, "rollout", driver->name);
    host->lock_err = (struct err){ 0 };
    session_ask(host->session, "lock", lock, DRIVER_QUICK_MS, on_locked_again, host);
    if (!host->fence_wanted)
        return;
    json_t *fence = json_object();
    jsonx_set_int(fence, "epoch", driver->epoch);
    jsonx_set_text(fence, "rollout", driver->name);
    session_ask(host->session, "fence", fence, DRIVER_QUICK_MS, on_joined, host);
}

static void on_ready(void *context, const json_t *hello)
{
    struct driver_host *host = context;
    (void)hello;
    window_done(&host->driver->window, true);
    host->knocking = false;
    host->guest = (struct window_guest){ 0 };
    if (host->error[0] != '\0' && !host->once)
        host->error[0] = '\0';
    if (host->lock_wanted) {
        host->link = DRIVER_LINK_JOINING;
        join(host);
    } else {
        host->link = DRIVER_LINK_OPEN;
        if (!host->looked_early)
            driver_acts_again(host);
    }
    begin_waiting_hosts(host->driver);
}

static void on_event(void *context, const char *name, const json_t *event)
{
    driver_acts_event(context, name, event);
}

static void on_drain(void *context)
{
    struct driver_host *host = context;
    if (host->upload)
        upload_room(host->upload);
    else
        driver_inspect_room(host);
}

static void open_session(struct driver_host *host)
{
    static const struct session_events events = { on_ready, on_event, on_drain, on_close };
    struct driver *driver = host->driver;
    struct err err;
    struct transport_target target =
        reach_target(driver->recipe, host->spec, driver->children, host->port);
    host->link = DRIVER_LINK_OPENING;
    host->knocking = true;
    window_begin(&driver->window);
    host->session = session_open(driver->loop, &target, &events, host, &err);
    if (!host->session)
        lost(host, &err);
    else if (!host->lock_wanted)
        driver_acts_early(host);
}

void driver_connect(struct driver_host *host)
{
    if (host->session)
        return;
    if (window_free(&host->driver->window)) /* else begin_waiting_hosts() comes back to it */
        open_session(host);
}

static void begin_waiting_hosts(struct driver *driver)
{
    for (size_t i = 0; i < driver->count && window_free(&driver->window); i++) {
        struct driver_host *host = &driver->hosts[i];
        bool waits = host->link == DRIVER_LINK_NONE ||
                     (host->link == DRIVER_LINK_GONE && host->act == ROLLOUT_ACT_UNDO);
        if (waits && host->act != ROLLOUT_ACT_NONE && !host->session)
            driver_connect(host);
    }
}

void driver_link_retry(void *context)
{
    struct driver_host *host = context;
    if (host->link == DRIVER_LINK_BROKEN && window_free(&host->driver->window))
        open_session(host);
    else if (host->link == DRIVER_LINK_BROKEN)
        loop_timer_arm(host->retry, WINDOW_FIRST_MS / 2 + (int64_t)(WINDOW_FIRST_MS * chance()));
    else if (host->link == DRIVER_LINK_OPEN)
        driver_acts_look_again(host);
}

/* --- parking ---------------------------------------------------------------------------------- */

/* Nothing is asked of it now, and its health decides nothing. */
static bool may_park(const struct driver_host *host)
{
    enum rollout_host_state state = host->driver->rollout.hosts[host->index].state;
    return host->link == DRIVER_LINK_OPEN && host->act == ROLLOUT_ACT_NONE &&
           (state == ROLLOUT_HOST_OLD || state == ROLLOUT_HOST_CONFIRMED);
}

static void park(struct driver_host *host)
{
    session_free(host->session);
    host->session = NULL;
    host->link = DRIVER_LINK_NONE;
    host->parked = true;
    host->watching = host->looked_early = false;
    driver_record_forget(host);
}

void driver_link_park(struct driver *driver)
{
    enum rollout_stage stage = driver->rollout.stage;
    size_t most = (size_t)driver->recipe->fleet.parallel, open = 0;
    if (driver->count <= most || stage < ROLLOUT_CANARY || stage > ROLLOUT_CLOSING)
        return;
    for (size_t i = 0; i < driver->count; i++)
        open += driver->hosts[i].session != NULL;
    for (size_t i = driver->count; i-- > 0 && open > most;) {
        if (!may_park(&driver->hosts[i]))
            continue;
        park(&driver->hosts[i]);
        open--;
    }
}
