/* releases_order.c - the orders of releases.h: checked, fenced, committed, then carried out. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "io/jsonx.h"
#include "supervisor/release/release_set.h"
#include "supervisor/release/releases.h"

/* An order on its way: what it is about, how the machine was before, who is to be told. */
struct request {
    const struct releases_order *order;
    struct release_set *set;
    const char *token, *who;
    struct release before;
    releases_done_fn *done;
    void *context;
};

static void refuse(const struct request *request, const struct err *err)
{
    request->done(request->context, NULL, err);
}

static int find(struct releases *releases, const struct releases_order *order, bool need_id,
                struct request *ret, struct err *err)
{
    ret->order = order;
    ret->token = order->token ? order->token : "";
    ret->who = order->who ? order->who : "";
    if ((need_id && !order->id) || (order->id && !release_id_valid(order->id)))
        return err_set(err, ERR_INVALID, "\"%.64s\" is not a release (like 000123-9f3ac1d2)",
                       order->id ? order->id : "");
    if (ret->token[0] && release_token_epoch(ret->token) < 0)
        return err_set(err, ERR_INVALID, "token \"%.64s\" is not EPOCH:ROLLOUT", ret->token);
    if (order->confirm_within_ms < 0 || order->ready_timeout_ms < 0)
        return err_set(err, ERR_INVALID, "a time must not be negative");
    ret->set = order->path ? releases_find(releases, order->path) : NULL;
    if (!ret->set)
        return err_set(err, ERR_NOT_FOUND, "no service here has release = %.400s",
                       order->path ? order->path : "");
    ret->before = ret->set->machine;
    return 0;
}

static bool has_begun(const struct request *request)
{
    return request->set->machine.pass != request->before.pass;
}

static void take_back(const struct request *request) { request->set->machine = request->before; }

/* `rc` is the machine's word: refused, so already, or an answer will follow. */
static void finish(struct request *request, int rc, struct err *err)
{
    struct release_set *set = request->set;

    if (rc >= 0) {
        int saved = release_set_commit(set, &request->before, err);
        rc = saved < 0 ? saved : rc;
    }
    if (rc < 0) {
        refuse(request, err);
        return;
    }
    if (rc > 0 && !release_set_wait(set, request->done, request->context)) {
        err_set(err, ERR_MEMORY, "accepted, but there is no memory to wait for the end: ask again");
        refuse(request, err);
        rc = -1;
    }
    release_set_drive(set);
    if (rc == 0)
        release_set_tell(set, request->done, request->context);
}

static void tell(const struct request *request, const char *kind, const char *release,
                 const char *from)
{
    const struct release_pin *pin = &request->set->machine.pin;
    json_t *details = json_object();

    jsonx_set_text(details, "release", release);
    jsonx_set_text(details, "from", from[0] ? from : NULL);
    jsonx_set_text(details, "who", request->who[0] ? request->who : NULL);
    jsonx_set_text(details, "token", request->token[0] ? request->token : NULL);
    if (pin->phase == RELEASE_SWITCHING && pin->lease_ms > 0)
        jsonx_set_real(details, "confirm_within_s", (double)pin->lease_ms / 1000);
    release_set_event(request->set, kind, details);
}

/* All that can be wrong with the folder is found before anything is changed. */
static int check_folder(const struct release_set *set, const char *id, struct err *err)
{
    AUTO_CLOSE int set_fd = release_set_open(set, err);

    if (set_fd < 0)
        return set_fd;
    AUTO_CLOSE int fd = pin_open_release(set_fd, set->path, id, err);
    return fd < 0 ? fd : pin_check_links(set_fd, set->path, err);
}

static void switch_to(struct request *request, const char *id, bool stay, int64_t lease_ms)
{
    struct release_set *set = request->set;
    int64_t ready_ms = request->order->ready_timeout_ms;
    struct release_order order = {
        .id = id,
        .token = request->token,
        .lease_ms = set->damaged ? 0 : lease_ms,
        .ready_ms = ready_ms > 0 ? ready_ms : release_set_patience_ms(set),
        .stay = stay || set->damaged,
    };
    struct err err;
    char from[RELEASE_ID_MAX];

    if (set->problem.code != ERR_NONE && !set->damaged) {
        refuse(request, &set->problem);
        return;
    }
    memcpy(from, set->machine.pin.id, sizeof from);
    int rc = release_switch(&set->machine, &order, clock_boot_ms(), &err);
    if (!has_begun(request)) {
        finish(request, rc, &err);
        return;
    }
    int fine = check_folder(set, id, &err);
    if (fine < 0) {
        take_back(request);
        finish(request, fine, &err);
        return;
    }
    if (set->damaged) /* what ran before is not known, so there is nothing to go back to */
        set->machine.pin.undoable = false;
    rc = release_set_commit(set, &request->before, &err);
    if (rc < 0) {
        refuse(request, &err);
        return;
    }
    if (set->damaged)
        set->problem = (struct err){ .code = ERR_NONE };
    set->damaged = false;
    tell(request, "release.switch", id, from);
    finish(request, 1, &err);
}

void releases_switch(struct releases *releases, const struct releases_order *order,
                     releases_done_fn *done, void *context)
{
    struct request request = { .done = done, .context = context };
    struct err err;

    if (find(releases, order, true, &request, &err) < 0)
        refuse(&request, &err);
    else
        switch_to(&request, order->id, order->stay, order->confirm_within_ms);
}

void releases_confirm(struct releases *releases, const struct releases_order *order,
                      releases_done_fn *done, void *context)
{
    struct request request = { .done = done, .context = context };
    struct err err;

    if (find(releases, order, true, &request, &err) < 0) {
        refuse(&request, &err);
        return;
    }
    struct release_set *set = request.set;
    int rc = release_confirm(&set->machine, order->id, request.token, &err);
    if (rc >= 0)
        rc = release_set_commit(set, &request.before, &err);
    if (rc >= 0 && request.before.pin.phase == RELEASE_UNCONFIRMED)
        tell(&request, "release.confirmed", order->id, set->machine.pin.from);
    finish(&request, rc, &err);
}

void releases_extend(struct releases *releases, const struct releases_order *order,
                     releases_done_fn *done, void *context)
{
    struct request request = { .done = done, .context = context };
    struct err err;
    int rc = find(releases, order, true, &request, &err);

    if (rc == 0 && order->confirm_within_ms == 0)
        rc = err_set(&err, ERR_INVALID, "confirm_within must be longer than 0");
    if (rc < 0) {
        refuse(&request, &err);
        return;
    }
    rc = release_extend(&request.set->machine, order->id, request.token, order->confirm_within_ms,
                        clock_boot_ms(), &err);
    finish(&request, rc, &err);
}

static void revert(struct request *request, const char *id, const char *what)
{
    struct release_set *set = request->set;
    char reason[RELEASE_REASON_MAX];
    struct err err;

    snprintf(reason, sizeof reason, "%s%s%s", what, request->who[0] ? " by " : "", request->who);
    int rc = release_revert(&set->machine, id, request->token, reason, &err);
    const char *to = set->machine.pin.id;
    if (rc > 0 && has_begun(request)) {
        if (to[0] && !release_set_has(set, to, &err)) {
            rc = err_wrap(&err, "going back from %s", request->before.pin.id);
            take_back(request);
        } else {
            release_set_commit_anyway(set); /* undoing matters more than the disk */
            tell(request, "release.reverting", set->machine.pin.undone, to);
        }
    }
    finish(request, rc, &err);
}

void releases_revert(struct releases *releases, const struct releases_order *order,
                     releases_done_fn *done, void *context)
{
    struct request request = { .done = done, .context = context };
    struct err err;

    if (find(releases, order, true, &request, &err) < 0)
        refuse(&request, &err);
    else
        revert(&request, order->id, "undone by order");
}

/* The newest good one that is still there. */
static const char *rollback_target(const struct release_set *set, struct err *err)
{
    const char *id;

    for (size_t n = 0; (id = release_rollback_target(&set->machine, n)); n++)
        if (release_set_has(set, id, err))
            return id;
    err_set(err, ERR_NOT_FOUND, "there is no other good release of %s on this host%s%s", set->path,
            set->machine.pin.id[0] ? " than " : "", set->machine.pin.id);
    return NULL;
}

/* Whether it is an undo of what is under way; then *ret_id is what is undone. */
static bool rolls_back_by_undo(const struct release_pin *pin, const struct releases_order *order,
                               const char **ret_id)
{
    bool open = pin->phase == RELEASE_SWITCHING || pin->phase == RELEASE_UNCONFIRMED;
    bool undo = open && pin->undoable && pin->from[0];

    if (undo && (!order->id || strcmp(order->id, pin->from) == 0))
        *ret_id = pin->id;
    else if (pin->phase == RELEASE_REVERTING && (!order->id || strcmp(order->id, pin->id) == 0))
        *ret_id = pin->undone;
    else
        return false;
    return true;
}

bool releases_rollback_id(struct releases *releases, const struct releases_order *order,
                          char id[static RELEASE_ID_MAX])
{
    const struct release_set *set = order->path ? releases_find(releases, order->path) : NULL;
    const char *target = NULL;
    struct err err;

    if (!set || rolls_back_by_undo(&set->machine.pin, order, &target))
        return false;
    target = order->id ? order->id : rollback_target(set, &err);
    if (target)
        snprintf(id, RELEASE_ID_MAX, "%s", target);
    return target;
}

void releases_rollback(struct releases *releases, const struct releases_order *order,
                       releases_done_fn *done, void *context)
{
    struct request request = { .done = done, .context = context };
    struct err err;

    if (find(releases, order, false, &request, &err) < 0) {
        refuse(&request, &err);
        return;
    }
    const char *undone;
    char id[RELEASE_ID_MAX];

    if (rolls_back_by_undo(&request.set->machine.pin, order, &undone)) {
        snprintf(id, sizeof id, "%s", undone);
        revert(&request, id, "rolled back");
        return;
    }
    const char *target = order->id ? order->id : rollback_target(request.set, &err);
    if (!target) {
        refuse(&request, &err);
        return;
    }
    snprintf(id, sizeof id, "%s", target);
    switch_to(&request, id, true, 0);
}

int releases_state(struct releases *releases, const char *path, json_t **ret, struct err *err)
{
    struct release_set *set = releases_find(releases, path);

    if (!set)
        return err_set(err, ERR_NOT_FOUND, "no service here has release = %.400s", path);
    const struct release_pin *pin = &set->machine.pin;
    json_t *state = json_object(), *good = json_array();
    jsonx_set_text(state, "pinned", pin->id[0] ? pin->id : NULL);
    jsonx_set_text(state, "from", pin->undoable && pin->from[0] ? pin->from : NULL);
    for (size_t i = 0; i < pin->ngood; i++)
        json_array_append_new(good, json_string(pin->good[i]));
    json_object_set_new(state, "good", good);
    jsonx_set_bool(state, "confirmed", pin->phase == RELEASE_STEADY);
    if (pin->phase == RELEASE_UNCONFIRMED)
        jsonx_set_real(state, "deadline_s", (double)(pin->deadline_ms - clock_boot_ms()) / 1000);
    else
        json_object_set_new(state, "deadline_s", json_null());
    jsonx_set_text(state, "token", pin->token[0] ? pin->token : NULL);
    jsonx_set_int(state, "epoch", pin->epoch);
    jsonx_set_text(state, "phase", release_phase_name(pin->phase));
    jsonx_set_text(state, "reason", pin->reason[0] ? pin->reason : NULL);
    jsonx_set_text(state, "problem", set->problem.code ? set->problem.text : NULL);
    jsonx_set_bool(state, "damaged", set->damaged); /* the problem: a switch ends it */
    *ret = state;
    return 0;
}
