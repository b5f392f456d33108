/* rollout.c - the contract is in rollout.h.
 *
 * Each event only notes what is so; then rollout_stage_advance() looks at the stage and at the
 * hosts, asks for what is due, and goes on to the next stage, until nothing more changes.
 */
#include "deployctl/plan/rollout.h"

#include <stdlib.h>

#include "deployctl/plan/rollout_name.h"
#include "deployctl/plan/rollout_stage.h"

/* One that was found on the release is not where it came from. */
static void refuse(struct rollout_host *h)
{
    h->state = h->touched ? ROLLOUT_HOST_STRAY : ROLLOUT_HOST_REFUSED;
    h->failed = true;
}

static void switched(struct rollout *r, struct rollout_host *h, enum rollout_answer answer)
{
    bool stay = r->kind == ROLLOUT_ROLLBACK;
    h->failed = answer != ROLLOUT_OK;
    if (answer == ROLLOUT_OK) {
        h->state = stay ? ROLLOUT_HOST_CONFIRMED : ROLLOUT_HOST_NEW;
        h->ready = true;
        h->ready_since_ms = r->progress_ms = r->now_ms;
        h->extend_at_ms = r->now_ms + r->limits.confirm_within_ms / 4;
    } else if (answer == ROLLOUT_GONE_BACK && !stay) {
        h->state = ROLLOUT_HOST_UNDONE;
        h->bad = true;
    } else if (answer == ROLLOUT_UNSURE && !stay) {
        h->state = ROLLOUT_HOST_NEW; /* its lease is running, if it did switch */
        h->ready = false;
        h->extend_at_ms = r->now_ms + r->limits.confirm_within_ms / 4;
    } else if (answer == ROLLOUT_BROKEN || stay) {
        h->state = ROLLOUT_HOST_STRAY;
        h->bad = answer == ROLLOUT_BROKEN;
    } else {
        h->state = ROLLOUT_HOST_REFUSED;
        h->touched = false;
    }
}

/* A lease that cannot be had any more has run out: the host went back by itself. */
static void went_back(struct rollout_host *h)
{
    h->state = ROLLOUT_HOST_UNDONE;
    h->failed = true;
    h->ready = false;
}

static void on_answer(struct rollout *r, struct rollout_host *h, const struct rollout_event *event)
{
    bool ok = event->answer == ROLLOUT_OK;
    h->pending = ROLLOUT_ACT_NONE;
    switch (event->act) {
    case ROLLOUT_ACT_LOCK:
        h->held = event->answer == ROLLOUT_HELD;
        h->locked = ok;
        if (!ok && !h->held)
            refuse(h);
        break;
    case ROLLOUT_ACT_LOOK:
        h->broken = !ok;
        if (!ok)
            h->state = ROLLOUT_HOST_REFUSED;
        break;
    case ROLLOUT_ACT_FENCE:
    case ROLLOUT_ACT_STAGE:
    case ROLLOUT_ACT_RECORD:
        h->fenced = h->fenced || (event->act == ROLLOUT_ACT_FENCE && ok);
        h->staged = h->staged || (event->act == ROLLOUT_ACT_STAGE && ok);
        h->recorded = h->recorded || (event->act == ROLLOUT_ACT_RECORD && ok);
        if (!ok)
            refuse(h);
        break;
    case ROLLOUT_ACT_SWITCH:
        switched(r, h, event->answer);
        break;
    case ROLLOUT_ACT_EXTEND:
    case ROLLOUT_ACT_HOLD:
        h->extend_at_ms = r->now_ms + r->limits.confirm_within_ms / 4;
        h->held_over = event->act == ROLLOUT_ACT_HOLD;
        if (event->answer == ROLLOUT_UNSURE)
            h->failed = true;
        else if (!ok && h->state == ROLLOUT_HOST_NEW)
            went_back(h);
        break;
    case ROLLOUT_ACT_CONFIRM:
        if (event->answer == ROLLOUT_UNSURE) {
            h->failed = true;
            break;
        }
        if (ok && h->state == ROLLOUT_HOST_NEW)
            h->state = ROLLOUT_HOST_CONFIRMED;
        else if (h->state == ROLLOUT_HOST_NEW)
            went_back(h);
        r->progress_ms = r->now_ms;
        break;
    case ROLLOUT_ACT_UNDO:
        h->state = ok ? ROLLOUT_HOST_UNDONE : ROLLOUT_HOST_STRAY;
        h->ready = false;
        h->away = h->away && !ok; /* one that was lost has answered */
        break;
    case ROLLOUT_ACT_CLEAN:
    case ROLLOUT_ACT_CLOSE:
    case ROLLOUT_ACT_NONE:
    case ROLLOUT_ACT_DECIDE:
    case ROLLOUT_ACT_UNLOCK:
    case ROLLOUT_NACTS:
        break;
    }
}

static void on_lost(struct rollout *r, struct rollout_host *h)
{
    bool undoing = h->pending == ROLLOUT_ACT_UNDO;
    h->pending = ROLLOUT_ACT_NONE;
    h->away = true;
    h->locked = h->held = false;
    switch (h->state) {
    case ROLLOUT_HOST_OLD:
    case ROLLOUT_HOST_NEW: /* its lease brings it back, unless a confirm arrived */
        h->state = ROLLOUT_HOST_LOST;
        if (h->maybe_confirmed)
            h->state = ROLLOUT_HOST_STRAY;
        break;
    case ROLLOUT_HOST_SWITCHING: /* as above; a rollback has no lease */
        h->state = r->kind == ROLLOUT_ROLLBACK ? ROLLOUT_HOST_STRAY : ROLLOUT_HOST_LOST;
        break;
    case ROLLOUT_HOST_UNDOING:
        if (undoing)
            h->state = h->maybe_confirmed ? ROLLOUT_HOST_STRAY : ROLLOUT_HOST_LOST;
        break;
    case ROLLOUT_HOST_CONFIRMED:
    case ROLLOUT_HOST_UNDONE:
    case ROLLOUT_HOST_REFUSED:
    case ROLLOUT_HOST_LOST:
    case ROLLOUT_HOST_STRAY:
    case ROLLOUT_NHOSTSTATES:
        break;
    }
}

static void on_health(struct rollout *r, struct rollout_host *h, const struct rollout_event *event)
{
    bool runs = h->state == ROLLOUT_HOST_NEW || h->state == ROLLOUT_HOST_CONFIRMED;
    if (!runs || h->skip)
        return;
    if (event->kind == ROLLOUT_EV_BACK) {
        went_back(h);
    } else if (event->kind == ROLLOUT_EV_GATE) {
        if (r->kind != ROLLOUT_ROLLBACK)
            h->bad = h->failed = true;
        h->ready = false;
    } else if (event->ready != h->ready) {
        h->ready = event->ready;
        h->ready_since_ms = r->now_ms;
    }
}

/* The counts are of all canary hosts together, so are the consequences. */
static void on_verdict(struct rollout *r, enum verdict_kind verdict)
{
    if (r->stage != ROLLOUT_BAKING || !r->limits.verdict)
        return;
    r->verdict = verdict;
    for (size_t i = 0; verdict == VERDICT_BAD && i < r->count; i++) {
        struct rollout_host *h = &r->hosts[i];
        bool runs = h->state == ROLLOUT_HOST_NEW || h->state == ROLLOUT_HOST_CONFIRMED;
        if (h->canary && runs && !h->skip)
            h->bad = h->failed = true;
    }
}

static void fenced_off(struct rollout *r, size_t host)
{
    r->culprit = host;
    rollout_stage_over(r, ROLLOUT_LOCKED);
}

static void take(struct rollout *r, const struct rollout_event *event)
{
    struct rollout_host *h = event->host < r->count ? &r->hosts[event->host] : NULL;
    switch (event->kind) {
    case ROLLOUT_EV_START:
        for (size_t i = 0; i < r->count; i++)
            rollout_stage_ask(r, i, ROLLOUT_ACT_LOOK);
        break;
    case ROLLOUT_EV_ANSWER:
        if (event->act == ROLLOUT_ACT_DECIDE && r->deciding) {
            r->deciding = false;
            if (event->answer != ROLLOUT_OK)
                rollout_stage_over(r, event->outcome);
        } else if (h && h->pending == event->act && h->pending != ROLLOUT_ACT_NONE) {
            if (event->answer == ROLLOUT_STALE)
                fenced_off(r, event->host);
            else
                on_answer(r, h, event);
        }
        break;
    case ROLLOUT_EV_HEALTH:
    case ROLLOUT_EV_GATE:
    case ROLLOUT_EV_BACK:
        if (h)
            on_health(r, h, event);
        break;
    case ROLLOUT_EV_VERDICT:
        on_verdict(r, event->verdict);
        break;
    case ROLLOUT_EV_LOST:
        if (h)
            on_lost(r, h);
        break;
    case ROLLOUT_EV_STALE:
        if (h)
            fenced_off(r, event->host);
        break;
    case ROLLOUT_EV_TIME:
        break;
    case ROLLOUT_EV_INTERRUPT:
        r->interrupted = true;
        break;
    case ROLLOUT_EV_PAUSE:
        r->pause_asked = true;
        break;
    case ROLLOUT_EV_ABORT:
        r->abort_asked = true;
        break;
    }
}

void rollout_step(struct rollout *rollout, const struct rollout_event *event, int64_t now_ms)
{
    rollout->norders = 0;
    rollout->now_ms = now_ms;
    if (rollout->stage == ROLLOUT_OVER)
        return;
    enum rollout_stage stage = rollout->stage;
    take(rollout, event);
    if (event->host < rollout->count)
        rollout_stage_note(rollout, event->host);
    if (event->kind == ROLLOUT_EV_VERDICT || event->act == ROLLOUT_ACT_DECIDE)
        rollout_stage_survey(rollout); /* more than one host may have changed */
    while (rollout->stage != ROLLOUT_OVER && rollout_stage_advance(rollout)) {
        if (rollout->stage != stage)
            rollout_stage_survey(rollout);
        stage = rollout->stage;
    }
}

static void sooner(int64_t *at, int64_t candidate)
{
    if (*at < 0 || candidate < *at)
        *at = candidate;
}

int64_t rollout_next_ms(const struct rollout *r)
{
    int64_t at = r->stage == ROLLOUT_LOCKING ? r->lock_retry_ms : -1;
    if (!rollout_stage_forward(r))
        return at;
    if (r->stage == ROLLOUT_BAKING)
        sooner(&at, r->bake_end_ms > r->now_ms ? r->bake_end_ms : r->now_ms + 1000);
    else if (r->limits.progress_deadline_ms > 0 && r->kind != ROLLOUT_ROLLBACK)
        sooner(&at, r->progress_ms + r->limits.progress_deadline_ms);
    size_t left = r->facts[ROLLOUT_FACT_LEASED];
    for (size_t i = r->first_leased; left > 0 && i < r->count; i++) {
        const struct rollout_host *h = &r->hosts[i];
        if (h->state != ROLLOUT_HOST_NEW || h->away)
            continue;
        left--;
        if (h->pending)
            continue;
        sooner(&at, h->extend_at_ms);
        if (r->stage == ROLLOUT_BATCHES && h->ready && r->batch > 0 && h->batch == r->batch)
            sooner(&at, h->ready_since_ms + r->limits.healthy_for_ms);
    }
    return at;
}

/* --- the rest --------------------------------------------------------------------------------- */

int rollout_init(struct rollout *rollout, enum rollout_kind kind, size_t count,
                 const char *const *names, const struct rollout_limits *limits, struct err *err)
{
    *rollout = (struct rollout){ .kind = kind,
                                 .count = count,
                                 .limits = *limits,
                                 .culprit = ROLLOUT_NOBODY,
                                 .group = ROLLOUT_NOBODY,
                                 .lock_retry_ms = -1,
                                 .lease_ms = -1,
                                 .first_leased = count,
                                 .cap = 3 * count + 8 };
    if (count == 0)
        return err_set(err, ERR_INVALID, "no hosts");
    if (kind == ROLLOUT_ROLLBACK)
        rollout->limits.last_first = true;
    rollout->hosts = calloc(count, sizeof *rollout->hosts);
    rollout->orders = calloc(rollout->cap, sizeof *rollout->orders);
    if (!rollout->hosts || !rollout->orders) {
        rollout_done(rollout);
        return err_set(err, ERR_MEMORY, "no memory for %zu hosts", count);
    }
    for (size_t i = 0; i < count; i++)
        rollout->hosts[i].name = names[i];
    return 0;
}

void rollout_done(struct rollout *rollout)
{
    free(rollout->hosts);
    free(rollout->orders);
    rollout->hosts = NULL;
    rollout->orders = NULL;
    rollout->count = rollout->norders = rollout->cap = 0;
}

void rollout_found(struct rollout *rollout, size_t host, bool canary, enum rollout_host_state state)
{
    struct rollout_host *h = &rollout->hosts[host];
    bool runs = state == ROLLOUT_HOST_NEW || state == ROLLOUT_HOST_CONFIRMED;
    h->canary = canary;
    h->state = state;
    h->touched = runs;
    h->ready = runs;
    h->ready_since_ms = h->extend_at_ms = rollout->now_ms;
    h->maybe_confirmed = state == ROLLOUT_HOST_CONFIRMED || state == ROLLOUT_HOST_LOST;
}

enum rollout_stage rollout_behind_fence(const struct rollout *rollout)
{
    switch (rollout->kind) {
    case ROLLOUT_RELEASE:
    case ROLLOUT_CATCH_UP:
        return ROLLOUT_STAGING;
    case ROLLOUT_ROLLBACK:
        return rollout->limits.stage_first ? ROLLOUT_STAGING : ROLLOUT_RECORDING;
    case ROLLOUT_RESUME:
    case ROLLOUT_PROMOTE:
        return ROLLOUT_RECORDING;
    case ROLLOUT_ABORT:
        return ROLLOUT_UNWINDING;
    case ROLLOUT_PARK:
        break;
    }
    return ROLLOUT_PAUSING;
}

size_t rollout_counts(const struct rollout *rollout, enum rollout_host_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < rollout->count; i++)
        n += rollout->hosts[i].state == state;
    return n;
}

void rollout_foresee(struct rollout *rollout) { rollout_stage_foresee(rollout); }

size_t rollout_out(const struct rollout *rollout) { return rollout_stage_out(rollout); }

int rollout_exit_code(const struct rollout *rollout)
{
    if (rollout->outcome == ROLLOUT_ABORTED && rollout->kind == ROLLOUT_ABORT)
        return 0;
    if (rollout->outcome == ROLLOUT_PAUSED && rollout->kind == ROLLOUT_PARK)
        return 0;
    if (rollout->outcome == ROLLOUT_FAILED && !rollout_stage_touched(rollout))
        return 4;
    return rollout_name_code(rollout->outcome);
}

bool rollout_hopeless(const struct rollout *r)
{
    return r->stage < ROLLOUT_CANARY && rollout_stage_hopeless(r);
}
