/* rollout_stage.c - the contract is in rollout_stage.h. */
#include "deployctl/plan/rollout_stage.h"

#include <string.h>

#include "deployctl/plan/rollout_batch.h"

bool rollout_stage_forward(const struct rollout *r)
{
    return r->stage >= ROLLOUT_CANARY && r->stage <= ROLLOUT_BATCHES;
}

void rollout_stage_ask(struct rollout *r, size_t host, enum rollout_act act)
{
    if (r->norders < r->cap)
        r->orders[r->norders++] = (struct rollout_order){ host, act };
    if (host < r->count && act != ROLLOUT_ACT_UNLOCK) {
        r->hosts[host].pending = act;
        rollout_stage_note(r, host);
    }
}

static bool waiting(const struct rollout *r)
{
    return r->facts[ROLLOUT_FACT_PENDING] > 0 || r->deciding;
}

/* Hosts that are not there for us: not reachable, or broken before we came. */
static size_t away(const struct rollout *r) { return r->facts[ROLLOUT_FACT_AWAY]; }

/* More hosts failed than may: which was the first, and whether a gate judged any. */
static bool too_many_failed(const struct rollout *r, size_t *ret_first, bool *ret_bad)
{
    size_t n = 0;
    if (r->facts[ROLLOUT_FACT_FAILED] <= r->limits.failed)
        return false;
    for (size_t i = 0; i < r->count; i++) {
        if (!r->hosts[i].failed)
            continue;
        if (n++ == 0 || (r->hosts[i].bad && !*ret_bad))
            *ret_first = i;
        *ret_bad = *ret_bad || r->hosts[i].bad;
    }
    return true;
}

bool rollout_stage_touched(const struct rollout *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->hosts[i].touched)
            return true;
    return false;
}

static size_t broadcast(struct rollout *r, enum rollout_act act)
{
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        if (rollout_batch_takes_part(&r->hosts[i])) {
            rollout_stage_ask(r, i, act);
            n++;
        }
    return n;
}

bool rollout_stage_over(struct rollout *r, enum rollout_outcome outcome)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->hosts[i].locked && !r->hosts[i].away)
            rollout_stage_ask(r, i, ROLLOUT_ACT_UNLOCK);
        r->hosts[i].locked = false;
        r->hosts[i].pending = ROLLOUT_ACT_NONE;
    }
    r->outcome = outcome;
    r->deciding = false;
    r->stage = ROLLOUT_OVER;
    return true;
}

/* Nothing was switched: what was staged goes, whatever a host is doing at the moment. */
static bool clean(struct rollout *r, enum rollout_outcome outcome)
{
    r->outcome = outcome;
    r->stage = ROLLOUT_CLEANING;
    for (size_t i = 0; i < r->count; i++) {
        struct rollout_host *h = &r->hosts[i];
        h->pending = ROLLOUT_ACT_NONE;
        if (h->fenced && !h->away)
            rollout_stage_ask(r, i, ROLLOUT_ACT_CLEAN);
    }
    return true;
}

static bool unwind(struct rollout *r, enum rollout_outcome outcome, size_t culprit)
{
    r->outcome = outcome;
    r->culprit = culprit;
    r->stage = ROLLOUT_UNWINDING;
    return true;
}

static bool leave_open(struct rollout *r, enum rollout_outcome outcome)
{
    r->outcome = outcome;
    r->stage = ROLLOUT_PAUSING;
    return true;
}

static bool fail(struct rollout *r, enum rollout_outcome outcome, size_t culprit)
{
    r->culprit = culprit;
    if (r->limits.pause_on_failure)
        return leave_open(r, ROLLOUT_PAUSED);
    return unwind(r, outcome, culprit);
}

/* --- the phases in which every host does the same -------------------------------------------- */

static bool end_looking(struct rollout *r)
{
    bool strict = r->kind == ROLLOUT_RELEASE || r->kind == ROLLOUT_RESUME ||
                  r->kind == ROLLOUT_PROMOTE || r->kind == ROLLOUT_CATCH_UP;
    size_t gone = away(r);
    if (strict && gone > r->limits.unreachable) {
        bool broken = rollout_counts(r, ROLLOUT_HOST_REFUSED) > 0;
        return rollout_stage_over(r, broken ? ROLLOUT_FAILED : ROLLOUT_UNREACHABLE);
    }
    size_t there = 0;
    for (size_t i = 0; i < r->count; i++)
        there += !r->hosts[i].away;
    if (there == 0)
        return rollout_stage_over(r, ROLLOUT_UNREACHABLE);
    r->stage = ROLLOUT_DECIDING;
    r->deciding = true;
    rollout_stage_ask(r, ROLLOUT_NOBODY, ROLLOUT_ACT_DECIDE);
    return true;
}

static bool end_deciding(struct rollout *r)
{
    if (r->kind == ROLLOUT_RELEASE)
        rollout_batch_canary(r);
    r->stage = ROLLOUT_LOCKING;
    r->lock_end_ms = r->now_ms + ROLLOUT_HELD_MAX_MS;
    broadcast(r, ROLLOUT_ACT_LOCK);
    return true;
}

static size_t first_by_name(const struct rollout *r)
{
    size_t first = ROLLOUT_NOBODY;
    for (size_t i = 0; i < r->count; i++)
        if (rollout_batch_takes_part(&r->hosts[i]) &&
            (first == ROLLOUT_NOBODY || strcmp(r->hosts[i].name, r->hosts[first].name) < 0))
            first = i;
    return first;
}

/* Before anything was switched by this run.  What another one left open stays open: closing its
 * record would leave hosts of both releases, and nobody who knows. */
static bool give_up(struct rollout *r, enum rollout_outcome outcome)
{
    if (r->kind == ROLLOUT_RESUME || r->kind == ROLLOUT_PROMOTE)
        return rollout_stage_over(r, outcome);
    return clean(r, outcome);
}

/* How it ends when more hosts are missing than may; RUNNING = they are enough. */
static enum rollout_outcome shortage(const struct rollout *r, size_t *ret_first)
{
    bool bad = false;
    bool forgiving =
        r->kind == ROLLOUT_ROLLBACK || r->kind == ROLLOUT_ABORT || r->kind == ROLLOUT_PARK;
    if (away(r) == r->count || (!forgiving && away(r) > r->limits.unreachable))
        return ROLLOUT_UNREACHABLE;
    bool whole = !forgiving || r->stage == ROLLOUT_STAGING; /* what was sent for has to be there */
    return whole && too_many_failed(r, ret_first, &bad) ? ROLLOUT_FAILED : ROLLOUT_RUNNING;
}

static bool too_few(struct rollout *r)
{
    size_t first = ROLLOUT_NOBODY;
    enum rollout_outcome outcome = shortage(r, &first);
    if (outcome == ROLLOUT_FAILED)
        r->culprit = first;
    return outcome != ROLLOUT_RUNNING && give_up(r, outcome);
}

bool rollout_stage_hopeless(const struct rollout *r)
{
    size_t first;
    return shortage(r, &first) != ROLLOUT_RUNNING;
}

static bool end_locking(struct rollout *r)
{
    size_t first = first_by_name(r);
    size_t held = ROLLOUT_NOBODY;
    for (size_t i = r->count; i-- > 0;)
        if (rollout_batch_takes_part(&r->hosts[i]) && r->hosts[i].held)
            held = i;
    if (too_few(r))
        return true;
    if (held == ROLLOUT_NOBODY) {
        r->stage = ROLLOUT_FENCING;
        broadcast(r, ROLLOUT_ACT_FENCE);
        return true;
    }
    if (r->hosts[first].held || r->now_ms >= r->lock_end_ms) {
        r->culprit = r->hosts[first].held ? first : held;
        return rollout_stage_over(r, ROLLOUT_LOCKED);
    }
    if (r->lock_retry_ms < 0)
        r->lock_retry_ms = r->now_ms + ROLLOUT_HELD_RETRY_MS;
    if (r->now_ms < r->lock_retry_ms)
        return false;
    r->lock_retry_ms = -1;
    for (size_t i = 0; i < r->count; i++)
        if (rollout_batch_takes_part(&r->hosts[i]) && r->hosts[i].held)
            rollout_stage_ask(r, i, ROLLOUT_ACT_LOCK);
    return false;
}

static bool begin_recording(struct rollout *r)
{
    r->stage = ROLLOUT_RECORDING;
    r->absent = r->count - broadcast(r, ROLLOUT_ACT_RECORD);
    return true;
}

static bool begin_staging(struct rollout *r)
{
    r->stage = ROLLOUT_STAGING;
    broadcast(r, ROLLOUT_ACT_STAGE);
    return true;
}

static bool end_fencing(struct rollout *r)
{
    if (too_few(r))
        return true;
    enum rollout_stage next = rollout_behind_fence(r);
    if (next == ROLLOUT_STAGING)
        return begin_staging(r);
    if (next == ROLLOUT_RECORDING)
        return begin_recording(r);
    if (next == ROLLOUT_UNWINDING)
        return unwind(r, ROLLOUT_ABORTED, ROLLOUT_NOBODY);
    return leave_open(r, ROLLOUT_PAUSED);
}

static bool canary_is_through(const struct rollout *r)
{
    bool any = false, all = true, others = false;
    for (size_t i = 0; i < r->count; i++) {
        const struct rollout_host *h = &r->hosts[i];
        bool confirmed = h->state == ROLLOUT_HOST_CONFIRMED && !h->skip;
        if (h->canary)
            any = true, all = all && confirmed;
        else
            others = others || confirmed;
    }
    return !any || all || others;
}

static bool end_recording(struct rollout *r)
{
    if (too_few(r))
        return true;
    size_t present = 0;
    for (size_t i = 0; i < r->count; i++)
        present += rollout_batch_takes_part(&r->hosts[i]);
    if (r->count - present != r->absent) /* the record names who is absent: write it again */
        return begin_recording(r);
    r->progress_ms = r->now_ms;
    for (size_t i = 0; i < r->count; i++)
        if (r->hosts[i].canary)
            r->group = r->canary_group = r->hosts[i].group;
    if (r->kind == ROLLOUT_PROMOTE)
        r->stage = ROLLOUT_PROMOTING;
    else
        r->stage = canary_is_through(r) ? ROLLOUT_BATCHES : ROLLOUT_CANARY;
    return true;
}

/* --- forward ---------------------------------------------------------------------------------- */

static bool is_out(const struct rollout *r, const struct rollout_host *h)
{
    if (!h->was_healthy || h->skip || (r->kind == ROLLOUT_ROLLBACK && h->overlap))
        return false;
    return h->state == ROLLOUT_HOST_SWITCHING || (h->state == ROLLOUT_HOST_NEW && !h->ready) ||
           (h->state == ROLLOUT_HOST_UNDOING && !h->away);
}

size_t rollout_stage_out(const struct rollout *r) { return r->facts[ROLLOUT_FACT_OUT]; }

static bool is_leased(const struct rollout_host *h)
{
    return h->state == ROLLOUT_HOST_NEW && !h->away;
}

static unsigned facts_of(const struct rollout *r, const struct rollout_host *h)
{
    return (unsigned)(h->pending != ROLLOUT_ACT_NONE) << ROLLOUT_FACT_PENDING |
           (unsigned)(h->away || h->broken) << ROLLOUT_FACT_AWAY |
           (unsigned)h->failed << ROLLOUT_FACT_FAILED | (unsigned)h->bad << ROLLOUT_FACT_BAD |
           (unsigned)(h->bad && h->canary) << ROLLOUT_FACT_BAD_CANARY |
           (unsigned)(h->state == ROLLOUT_HOST_UNDOING) << ROLLOUT_FACT_UNDOING |
           (unsigned)is_out(r, h) << ROLLOUT_FACT_OUT |
           (unsigned)is_leased(h) << ROLLOUT_FACT_LEASED;
}

void rollout_stage_note(struct rollout *r, size_t host)
{
    struct rollout_host *h = &r->hosts[host];
    unsigned now = facts_of(r, h);
    for (unsigned k = 0; now != h->facts && k < ROLLOUT_NFACTS; k++)
        r->facts[k] += (size_t)(now >> k & 1) - (size_t)(h->facts >> k & 1);
    h->facts = now;
    if (!(now >> ROLLOUT_FACT_LEASED & 1))
        return;
    if (host < r->first_leased)
        r->first_leased = host;
    if (r->lease_ms < 0 || h->extend_at_ms < r->lease_ms)
        r->lease_ms = h->extend_at_ms;
}

void rollout_stage_survey(struct rollout *r)
{
    r->first_leased = r->count;
    r->lease_ms = -1;
    r->next_old = 0;
    r->swept = false;
    for (size_t i = 0; i < r->count; i++)
        rollout_stage_note(r, i);
}

static bool in_batch(const struct rollout *r, const struct rollout_host *h)
{
    return r->stage == ROLLOUT_BATCHES ? h->batch == r->batch && r->batch > 0 : h->canary;
}

/* Of the batch, those that wait for their switch, as far as capacity allows.  Once all were looked
 * at only hosts that need capacity are left, in order: then the first that has to wait ends it. */
static void switch_some(struct rollout *r)
{
    bool rollback = r->kind == ROLLOUT_ROLLBACK;
    size_t out = rollout_stage_out(r), first = r->count;
    for (size_t i = r->next_old; i < r->count; i++) {
        struct rollout_host *h = &r->hosts[i];
        bool counts = h->was_healthy && !(rollback && h->overlap);
        size_t most = rollback ? rollout_batch_undo_unavailable(r, h->group)
                               : rollout_batch_unavailable(r, h->group);
        if (!in_batch(r, h) || h->state != ROLLOUT_HOST_OLD || !rollout_batch_takes_part(h))
            continue;
        if (h->pending || (counts && out >= most)) {
            first = i < first ? i : first;
            if (r->swept && !h->pending)
                break;
            continue;
        }
        out += counts;
        h->state = ROLLOUT_HOST_SWITCHING;
        h->touched = true;
        h->maybe_confirmed = h->maybe_confirmed || rollback; /* there is no lease */
        h->ready = false;
        rollout_stage_ask(r, i, ROLLOUT_ACT_SWITCH);
    }
    r->next_old = first;
    r->swept = true;
}

static void extend_leases(struct rollout *r)
{
    if (r->lease_ms < 0 || r->now_ms < r->lease_ms)
        return;
    r->lease_ms = -1; /* noted again for each host that is not asked */
    for (size_t i = 0; i < r->count; i++) {
        const struct rollout_host *h = &r->hosts[i];
        if (h->state != ROLLOUT_HOST_NEW || h->away || h->pending)
            continue;
        if (r->now_ms >= h->extend_at_ms)
            rollout_stage_ask(r, i, ROLLOUT_ACT_EXTEND);
        else
            rollout_stage_note(r, i);
    }
}

static void undo(struct rollout *r, size_t host)
{
    struct rollout_host *h = &r->hosts[host];
    h->paced = h->ready && !h->overlap && !h->away;
    h->maybe_confirmed = h->maybe_confirmed || h->state == ROLLOUT_HOST_CONFIRMED;
    h->state = ROLLOUT_HOST_UNDOING;
    h->undo_tried = true;
    rollout_stage_ask(r, host, ROLLOUT_ACT_UNDO);
}

static bool may_undo(const struct rollout_host *h)
{
    return !h->skip && !h->pending &&
           (h->state == ROLLOUT_HOST_NEW || h->state == ROLLOUT_HOST_CONFIRMED);
}

/* Within the failure budget the hosts that a gate judged go back alone. */
static void undo_bad(struct rollout *r)
{
    for (size_t i = 0; r->facts[ROLLOUT_FACT_BAD] > 0 && i < r->count; i++) {
        struct rollout_host *h = &r->hosts[i];
        bool broken = h->state == ROLLOUT_HOST_STRAY && !h->undo_tried && !h->pending;
        if (h->bad && !h->away && (may_undo(h) || broken))
            undo(r, i);
    }
}

/* Orders and budgets while going forward; true when the stage was left. */
static bool judge(struct rollout *r)
{
    size_t first = ROLLOUT_NOBODY;
    bool bad = false;
    if (r->abort_asked)
        return unwind(r, ROLLOUT_ABORTED, ROLLOUT_NOBODY);
    if (r->interrupted || r->pause_asked)
        return leave_open(r, ROLLOUT_PAUSED);
    if (r->kind == ROLLOUT_ROLLBACK)
        return false;
    bool canary = r->facts[ROLLOUT_FACT_BAD_CANARY] > 0 && r->stage < ROLLOUT_BATCHES;
    for (size_t i = 0; canary && i < r->count; i++)
        if (r->hosts[i].canary && r->hosts[i].bad)
            return fail(r, ROLLOUT_BAD, i);
    if (too_many_failed(r, &first, &bad))
        return fail(r, bad ? ROLLOUT_BAD : ROLLOUT_FAILED, first);
    if (away(r) > r->limits.unreachable)
        return fail(r, ROLLOUT_UNREACHABLE, ROLLOUT_NOBODY);
    /* A bake takes its time; only a canary that is not ready at its end is a standstill. */
    int64_t since = r->stage == ROLLOUT_BAKING ? r->bake_end_ms : r->progress_ms;
    if (r->limits.progress_deadline_ms > 0 && r->now_ms - since >= r->limits.progress_deadline_ms) {
        r->stalled = true;
        return fail(r, ROLLOUT_FAILED, ROLLOUT_NOBODY);
    }
    return false;
}

static bool do_canary(struct rollout *r)
{
    size_t new = 0;
    switch_some(r);
    for (size_t i = 0; i < r->count; i++) {
        const struct rollout_host *h = &r->hosts[i];
        if (!h->canary || h->away)
            continue;
        if (h->state == ROLLOUT_HOST_OLD || h->state == ROLLOUT_HOST_SWITCHING)
            return false;
        new += h->state == ROLLOUT_HOST_NEW || h->state == ROLLOUT_HOST_CONFIRMED;
    }
    if (new == 0) /* nobody is left who could tell whether the release is good */
        return fail(r, ROLLOUT_FAILED, ROLLOUT_NOBODY);
    r->stage = ROLLOUT_BAKING;
    r->bake_end_ms = r->now_ms + r->limits.bake_ms;
    return true;
}

static bool do_baking(struct rollout *r)
{
    bool any = false;
    extend_leases(r);
    if (r->now_ms < r->bake_end_ms)
        return false;
    for (size_t i = 0; i < r->count; i++) {
        const struct rollout_host *h = &r->hosts[i];
        if (h->canary && h->state == ROLLOUT_HOST_NEW && !h->away && !h->ready)
            return false;
        any = any || (h->canary && !h->away && h->state >= ROLLOUT_HOST_NEW &&
                      h->state <= ROLLOUT_HOST_CONFIRMED);
    }
    if (!any)
        return fail(r, ROLLOUT_FAILED, ROLLOUT_NOBODY);
    r->inconclusive = r->limits.verdict && r->verdict != VERDICT_GOOD;
    if (r->inconclusive && !r->limits.promote_open)
        return leave_open(r, ROLLOUT_PAUSED);
    if (r->limits.hold)
        return leave_open(r, ROLLOUT_HELD_OPEN);
    r->stage = ROLLOUT_PROMOTING;
    r->progress_ms = r->now_ms;
    return true;
}

static void confirm(struct rollout *r, size_t host)
{
    r->hosts[host].maybe_confirmed = true;
    rollout_stage_ask(r, host, ROLLOUT_ACT_CONFIRM);
}

static bool do_promoting(struct rollout *r)
{
    bool settled = true;
    extend_leases(r);
    for (size_t i = 0; i < r->count; i++) {
        struct rollout_host *h = &r->hosts[i];
        if (h->state != ROLLOUT_HOST_NEW || h->away)
            continue;
        settled = false;
        if (!h->pending)
            confirm(r, i);
    }
    if (settled)
        r->stage = ROLLOUT_BATCHES;
    return settled;
}

static bool close_with(struct rollout *r, enum rollout_outcome outcome)
{
    r->outcome = outcome;
    r->stage = ROLLOUT_CLOSING;
    for (size_t i = 0; i < r->count; i++)
        if (!r->hosts[i].away && r->hosts[i].fenced)
            rollout_stage_ask(r, i, ROLLOUT_ACT_CLOSE);
    return true;
}

/* Hosts that went away while going forward are within the budget by now; they are named.  In a
 * rollback one that is not on the release, whatever kept it from it, needs attention. */
static enum rollout_outcome forward_outcome(const struct rollout *r)
{
    bool rollback = r->kind == ROLLOUT_ROLLBACK;
    size_t stray = 0, gone = 0;
    for (size_t i = 0; i < r->count; i++) {
        const struct rollout_host *h = &r->hosts[i];
        bool refused = h->state == ROLLOUT_HOST_REFUSED && h->failed;
        stray +=
            (h->state == ROLLOUT_HOST_STRAY && (rollback || !h->away)) || (refused && rollback);
        gone += (h->away || h->broken) && h->state != ROLLOUT_HOST_CONFIRMED;
    }
    bool incomplete = stray > 0 || (rollback && gone > r->limits.unreachable);
    return incomplete ? ROLLOUT_INCOMPLETE : ROLLOUT_DONE;
}

static bool next_batch(struct rollout *r)
{
    if (rollout_batch_fill(r) == 0)
        return close_with(r, forward_outcome(r));
    r->batch++;
    r->progress_ms = r->now_ms;
    rollout_stage_survey(r);
    return true;
}

void rollout_stage_foresee(struct rollout *r)
{
    if (r->kind == ROLLOUT_RELEASE)
        rollout_batch_canary(r);
    for (size_t i = 0; i < r->count; i++)
        if (r->hosts[i].canary)
            r->hosts[i].batch = SIZE_MAX; /* not behind when the batches begin */
    while (rollout_batch_fill(r) > 0)
        r->batch++;
    for (size_t i = 0; i < r->count; i++)
        if (r->hosts[i].canary)
            r->hosts[i].batch = 0;
}

static bool do_batches(struct rollout *r)
{
    size_t left = 0;
    if (r->kind != ROLLOUT_ROLLBACK)
        undo_bad(r);
    switch_some(r);
    extend_leases(r);
    while (r->first_leased < r->count && !is_leased(&r->hosts[r->first_leased]))
        r->first_leased++;
    size_t leased = r->facts[ROLLOUT_FACT_LEASED];
    for (size_t i = r->first_leased; leased > 0 && i < r->count; i++) {
        struct rollout_host *h = &r->hosts[i];
        leased -= is_leased(h);
        if (!is_leased(h) || !in_batch(r, h))
            continue;
        left++;
        if (!h->pending && h->ready && r->now_ms - h->ready_since_ms >= r->limits.healthy_for_ms)
            confirm(r, i);
    }
    bool settled = left == 0 && r->next_old == r->count && r->facts[ROLLOUT_FACT_PENDING] == 0 &&
                   r->facts[ROLLOUT_FACT_UNDOING] == 0;
    return settled && next_batch(r);
}

/* --- backward --------------------------------------------------------------------------------- */

/* One that was away already when an open rollout was taken over may have been confirmed by whoever
 * began it: nobody can say that it is back. */
static void name_strays(struct rollout *r)
{
    for (size_t i = 0; i < r->count; i++) {
        struct rollout_host *h = &r->hosts[i];
        if (h->state == ROLLOUT_HOST_LOST && h->away && h->maybe_confirmed)
            h->state = ROLLOUT_HOST_STRAY;
    }
}

/* Not where it came from, as far as anybody knows, and there is still something to do about it. */
static bool to_undo(const struct rollout_host *h)
{
    bool astray = !h->undo_tried && !h->pending &&
                  (h->state == ROLLOUT_HOST_LOST || h->state == ROLLOUT_HOST_STRAY);
    bool switched = h->state == ROLLOUT_HOST_NEW || h->state == ROLLOUT_HOST_CONFIRMED;
    return h->touched && !h->skip && (switched || astray);
}

/* The group whose turn it is on the way back: the last one that is not wholly back. */
static size_t undo_turn(const struct rollout *r)
{
    size_t turn = ROLLOUT_NOBODY;
    for (size_t i = 0; i < r->count; i++) {
        const struct rollout_host *h = &r->hosts[i];
        bool left = h->touched && !h->skip && (h->pending || to_undo(h));
        if (left && (turn == ROLLOUT_NOBODY || rollout_batch_before_undo(r, h->group, turn)))
            turn = h->group;
    }
    return turn;
}

static bool do_unwinding(struct rollout *r)
{
    size_t paced = 0, turn = undo_turn(r);
    if (turn == ROLLOUT_NOBODY) {
        name_strays(r);
        bool incomplete = rollout_counts(r, ROLLOUT_HOST_STRAY) > 0;
        return close_with(r, incomplete ? ROLLOUT_INCOMPLETE : r->outcome);
    }
    r->group = turn;
    for (size_t i = 0; i < r->count; i++)
        paced += r->hosts[i].state == ROLLOUT_HOST_UNDOING && r->hosts[i].paced;
    for (size_t i = 0; i < r->count; i++) {
        struct rollout_host *h = &r->hosts[i];
        bool slow = h->ready && !h->overlap && !h->away;
        if (h->group != turn || h->pending || !to_undo(h) ||
            (slow && paced >= rollout_batch_undo_unavailable(r, turn)))
            continue;
        paced += slow;
        undo(r, i);
    }
    return false;
}

static bool do_pausing(struct rollout *r)
{
    bool settled = true;
    if (r->abort_asked)
        return unwind(r, ROLLOUT_ABORTED, ROLLOUT_NOBODY);
    for (size_t i = 0; i < r->count; i++) {
        struct rollout_host *h = &r->hosts[i];
        if (h->pending)
            settled = false;
        if (h->away || h->pending || h->state != ROLLOUT_HOST_NEW)
            continue;
        if (r->interrupted || h->bad)
            undo(r, i);
        else if (!h->held_over)
            rollout_stage_ask(r, i, ROLLOUT_ACT_HOLD);
        settled = settled && !h->pending;
    }
    if (!settled)
        return false;
    return rollout_stage_over(r, r->outcome);
}

/* --- events ----------------------------------------------------------------------------------- */

/* Before the first switch an order to stop ends everything at once. */
static bool stop_early(struct rollout *r)
{
    if (!r->interrupted && !r->pause_asked && !r->abort_asked)
        return false;
    if (rollout_stage_touched(r)) /* an open rollout that was to go on: it stays open */
        return r->stage < ROLLOUT_FENCING ? rollout_stage_over(r, ROLLOUT_PAUSED) : false;
    enum rollout_outcome outcome = r->abort_asked ? ROLLOUT_ABORTED : ROLLOUT_INTERRUPTED;
    return r->stage < ROLLOUT_LOCKING ? rollout_stage_over(r, outcome) : clean(r, outcome);
}

bool rollout_stage_advance(struct rollout *r)
{
    if (r->stage < ROLLOUT_CANARY && stop_early(r))
        return true;
    if (r->stage < ROLLOUT_CANARY && waiting(r))
        return false;
    if (rollout_stage_forward(r) && judge(r))
        return true;
    switch (r->stage) {
    case ROLLOUT_LOOKING:
        return end_looking(r);
    case ROLLOUT_DECIDING:
        return end_deciding(r);
    case ROLLOUT_LOCKING:
        return end_locking(r);
    case ROLLOUT_FENCING:
        return end_fencing(r);
    case ROLLOUT_STAGING:
        return too_few(r) || begin_recording(r);
    case ROLLOUT_RECORDING:
        return end_recording(r);
    case ROLLOUT_CANARY:
        extend_leases(r);
        return do_canary(r);
    case ROLLOUT_BAKING:
        return do_baking(r);
    case ROLLOUT_PROMOTING:
        return do_promoting(r);
    case ROLLOUT_BATCHES:
        return do_batches(r);
    case ROLLOUT_UNWINDING:
        return do_unwinding(r);
    case ROLLOUT_PAUSING:
        return do_pausing(r);
    case ROLLOUT_CLEANING:
    case ROLLOUT_CLOSING:
        return waiting(r) ? false : rollout_stage_over(r, r->outcome);
    case ROLLOUT_OVER:
    case ROLLOUT_NSTAGES:
        break;
    }
    return false;
}
