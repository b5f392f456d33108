/* sim.c - the contract is in sim.h. */
#include "deployctl/plan/sim.h"

#include <stdlib.h>

#include "deployctl/plan/rollout_batch.h"
#include "deployctl/plan/rollout_name.h"

static void wrong(struct sim *sim, size_t host, const char *what)
{
    if (sim->wrong)
        return;
    sim->wrong = what;
    sim->wrong_host = host;
}

static void tell(struct sim *sim, struct sim_news news)
{
    if (sim->tell)
        sim->tell(sim->context, sim, &news);
}

/* --- whose turn is next: a heap of all hosts, -1 last ------------------------------------------
 */

static bool earlier(const struct sim *sim, size_t a, size_t b)
{
    int64_t x = sim->hosts[a].next_ms, y = sim->hosts[b].next_ms;
    if (x == y)
        return a < b;
    return x >= 0 && (y < 0 || x < y);
}

static void put(struct sim *sim, size_t place, size_t host)
{
    sim->heap[place] = host;
    sim->hosts[host].place = place;
}

static void sift(struct sim *sim, size_t host)
{
    size_t at = sim->hosts[host].place;
    for (; at > 0 && earlier(sim, host, sim->heap[(at - 1) / 2]); at = (at - 1) / 2)
        put(sim, at, sim->heap[(at - 1) / 2]);
    for (size_t child; (child = 2 * at + 1) < sim->count; at = child) {
        if (child + 1 < sim->count && earlier(sim, sim->heap[child + 1], sim->heap[child]))
            child++;
        if (!earlier(sim, sim->heap[child], host))
            break;
        put(sim, at, sim->heap[child]);
    }
    put(sim, at, host);
}

static void schedule(struct sim *sim, size_t index)
{
    struct sim_host *host = &sim->hosts[index];
    int64_t times[] = { host->act ? host->due_ms : -1, host->gate_ms, host->die_ms,
                        host->new && !host->confirmed ? host->lease_end_ms : -1 };
    host->next_ms = -1;
    for (size_t k = 0; k < sizeof times / sizeof times[0]; k++)
        if (times[k] >= 0 && (host->next_ms < 0 || times[k] < host->next_ms))
            host->next_ms = times[k];
    sift(sim, index);
}

/* --- what a host does --------------------------------------------------------------------------
 */

static struct sim_fault *fault_for(struct sim *sim, size_t host, enum rollout_act act)
{
    if (!sim->hosts[host].faulty)
        return NULL;
    for (size_t i = 0; i < sim->nfaults; i++) {
        struct sim_fault *fault = &sim->faults[i];
        if (fault->kind && !fault->used && fault->host == host && fault->act == act) {
            fault->used = true;
            return fault;
        }
    }
    return NULL;
}

static bool comes_back(const struct sim *sim, size_t host)
{
    for (size_t i = 0; i < sim->nfaults; i++)
        if (sim->faults[i].host == host && sim->faults[i].returns)
            return true;
    return false;
}

static void effect(struct sim *sim, struct sim_host *host, enum rollout_act act)
{
    const struct rollout_limits *limits = &sim->rollout.limits;
    switch (act) {
    case ROLLOUT_ACT_RECORD:
        host->recorded = true;
        break;
    case ROLLOUT_ACT_SWITCH:
        host->new = true;
        host->confirmed = sim->rollout.kind == ROLLOUT_ROLLBACK;
        host->lease_end_ms = host->due_ms + limits->confirm_within_ms; /* from its answer on */
        break;
    case ROLLOUT_ACT_EXTEND:
        host->lease_end_ms = sim->now_ms + limits->confirm_within_ms;
        break;
    case ROLLOUT_ACT_HOLD:
        host->lease_end_ms = sim->now_ms + SIM_HOLD_MS;
        break;
    case ROLLOUT_ACT_CONFIRM:
        host->confirmed = host->new;
        break;
    case ROLLOUT_ACT_UNDO:
        host->new = host->confirmed = false;
        break;
    case ROLLOUT_ACT_CLEAN:
    case ROLLOUT_ACT_CLOSE:
        host->recorded = false;
        break;
    case ROLLOUT_ACT_NONE:
    case ROLLOUT_ACT_LOOK:
    case ROLLOUT_ACT_DECIDE:
    case ROLLOUT_ACT_LOCK:
    case ROLLOUT_ACT_UNLOCK:
    case ROLLOUT_ACT_FENCE:
    case ROLLOUT_ACT_STAGE:
    case ROLLOUT_NACTS:
        break;
    }
}

/* What the fault makes of an act; false when the act does not happen. */
static bool spoil(struct sim_host *host, const struct sim_fault *fault)
{
    switch (fault ? fault->kind : SIM_FAULT_NONE) {
    case SIM_FAULT_NONE:
        return true;
    case SIM_FAULT_REFUSE:
        host->answer = ROLLOUT_REFUSED;
        return false;
    case SIM_FAULT_GONE_BACK:
        host->answer = ROLLOUT_GONE_BACK;
        return false;
    case SIM_FAULT_BROKEN:
        host->answer = ROLLOUT_BROKEN;
        return true;
    case SIM_FAULT_LOST_BEFORE:
        host->answer_lost = true;
        return false;
    case SIM_FAULT_LOST_AFTER:
        host->answer_lost = true;
        return true;
    case SIM_FAULT_SLOW:
        host->due_ms += fault->delay_ms > 0 ? fault->delay_ms : SIM_SLOW_MS;
        return true;
    case SIM_FAULT_HELD:
        host->answer = ROLLOUT_HELD;
        return false;
    case SIM_FAULT_UNSURE:
        host->answer = ROLLOUT_UNSURE;
        return false;
    case SIM_FAULT_UNSURE_DONE:
        host->answer = ROLLOUT_UNSURE;
        return true;
    case SIM_FAULT_GATE:
        host->gate_ms = host->due_ms + fault->delay_ms;
        return true;
    case SIM_FAULT_DIES:
        host->die_ms = host->due_ms + fault->delay_ms;
        return true;
    case SIM_NFAULTS:
        break;
    }
    return true;
}

/* --- what is promised ---------------------------------------------------------------------------
 */

/* Nothing is switched before every host holds the bytes and the record.  It is enough to look
 * before the first switch of a run: what is given up later is given up by its host. */
static void check_prepared(struct sim *sim)
{
    enum rollout_kind kind = sim->rollout.kind;
    bool bytes =
        kind == ROLLOUT_RELEASE || kind == ROLLOUT_CATCH_UP || sim->rollout.limits.stage_first;
    for (size_t i = 0; i < sim->count; i++) {
        const struct rollout_host *host = &sim->rollout.hosts[i];
        if (host->away || host->state == ROLLOUT_HOST_REFUSED || host->state == ROLLOUT_HOST_STRAY)
            continue;
        if (!host->locked || !host->fenced || !host->recorded || (bytes && !host->staged))
            wrong(sim, i, "a host was switched before this one was ready for it");
    }
}

/* The group before must be through when the next one begins: nobody of it is to be switched or
 * waits to be confirmed; on the way back, nobody who can be reached runs the release. */
static bool is_through(const struct sim *sim, size_t index, bool back)
{
    const struct rollout_host *part = &sim->rollout.hosts[index];
    const struct sim_host *host = &sim->hosts[index];
    bool moving = host->act == ROLLOUT_ACT_SWITCH || host->act == ROLLOUT_ACT_UNDO;
    if (part->skip || host->lost || part->away || part->state == ROLLOUT_HOST_REFUSED)
        return true;
    if (back)
        return part->undo_tried ? host->act != ROLLOUT_ACT_UNDO : !host->new && !moving;
    return part->state != ROLLOUT_HOST_OLD && part->state != ROLLOUT_HOST_SWITCHING &&
           part->state != ROLLOUT_HOST_NEW;
}

static void check_order(struct sim *sim, size_t index, enum rollout_act act)
{
    const struct rollout *r = &sim->rollout;
    bool back = act == ROLLOUT_ACT_UNDO;
    size_t group = r->hosts[index].group, *now = back ? &sim->undoing : &sim->switching;
    if (*now == group)
        return;
    if (*now != ROLLOUT_NOBODY && rollout_batch_before_undo(r, group, *now) == back)
        wrong(sim, index, "a group began when one after it was at it already");
    *now = group;
    for (size_t i = 0; i < sim->count; i++) {
        size_t other = r->hosts[i].group;
        if (other != group && rollout_batch_before_undo(r, other, group) == back &&
            !is_through(sim, i, back))
            wrong(sim, index,
                  back ? "a group went back while one after it was not back"
                       : "a group switched before one before it was through");
    }
}

static bool counts_as_out(const struct sim *sim, size_t index, enum rollout_act act)
{
    const struct rollout_host *part = &sim->rollout.hosts[index];
    return act == ROLLOUT_ACT_SWITCH && part->was_healthy &&
           !(sim->rollout.kind == ROLLOUT_ROLLBACK && part->overlap);
}

static void check_out(struct sim *sim)
{
    const struct rollout *r = &sim->rollout;
    size_t group = sim->switching == ROLLOUT_NOBODY ? 0 : sim->switching;
    size_t most = r->kind == ROLLOUT_ROLLBACK ? rollout_batch_undo_unavailable(r, group)
                                              : rollout_batch_unavailable(r, group);
    if (sim->under_way > sim->most_out)
        sim->most_out = sim->under_way;
    if (sim->under_way > most)
        wrong(sim, 0, "more healthy hosts were switching at the same time than max_unavailable");
}

/* --- acts and answers ---------------------------------------------------------------------------
 */

static void end_act(struct sim *sim, size_t index)
{
    struct sim_host *host = &sim->hosts[index];
    sim->under_way -= counts_as_out(sim, index, host->act);
    host->act = ROLLOUT_ACT_NONE;
}

static void begin_act(struct sim *sim, size_t index, enum rollout_act act)
{
    struct sim_host *host = &sim->hosts[index];
    bool moves = act == ROLLOUT_ACT_SWITCH || act == ROLLOUT_ACT_UNDO;
    if (act == ROLLOUT_ACT_CLEAN) /* gives up whatever was under way */
        end_act(sim, index);
    if (host->act != ROLLOUT_ACT_NONE)
        wrong(sim, index, "a host was asked for something while it was busy");
    if (act == ROLLOUT_ACT_SWITCH && sim->most_out == 0)
        check_prepared(sim);
    if (act == ROLLOUT_ACT_SWITCH ||
        (act == ROLLOUT_ACT_UNDO && sim->rollout.stage == ROLLOUT_UNWINDING))
        check_order(sim, index, act);
    tell(sim, (struct sim_news){ .kind = SIM_NEWS_ASKED, .host = index, .act = act });
    host->act = act;
    host->due_ms = sim->now_ms + 10 + (int64_t)(index % 16) + (moves ? sim->switch_ms : 0);
    host->answer = ROLLOUT_OK;
    if (host->lost && act == ROLLOUT_ACT_UNDO && comes_back(sim, index))
        host->lost = false;
    host->answer_lost = host->lost;
    sim->under_way += counts_as_out(sim, index, act);
    check_out(sim);
    if (spoil(host, fault_for(sim, index, act)) && !host->lost)
        effect(sim, host, act);
    schedule(sim, index);
}

/* A record is written to all hosts at once, and names those it is written to; when an open rollout
 * goes on, also those that are away by now. */
static void name_recorded(struct sim *sim)
{
    const struct rollout *rollout = &sim->rollout;
    if (rollout->norders == 0 || rollout->orders[0].act != ROLLOUT_ACT_RECORD)
        return;
    for (size_t i = 0; i < sim->count; i++)
        sim->hosts[i].named = sim->hosts[i].named && sim->taken_over &&
                              rollout->hosts[i].state != ROLLOUT_HOST_REFUSED;
    for (size_t i = 0; i < rollout->norders; i++)
        sim->hosts[rollout->orders[i].host].named = true;
}

static void send(struct sim *sim, const struct rollout_event *event)
{
    struct rollout *rollout = &sim->rollout;
    rollout_step(rollout, event, sim->now_ms);
    sim->steps++;
    if (rollout->norders >= rollout->cap)
        wrong(sim, 0, "more orders than there is room for");
    const char *group = rollout_name_group(rollout);
    if (rollout->stage != sim->told || (group && group != sim->told_group)) {
        sim->told = rollout->stage;
        sim->told_group = group;
        tell(sim, (struct sim_news){ .kind = SIM_NEWS_STAGE });
    }
    name_recorded(sim);
    for (size_t i = 0; i < rollout->norders; i++) {
        struct rollout_order order = rollout->orders[i];
        if (order.act == ROLLOUT_ACT_DECIDE)
            sim->decide = true;
        else if (order.act != ROLLOUT_ACT_UNLOCK)
            begin_act(sim, order.host, order.act);
    }
}

static void lose(struct sim *sim, size_t index)
{
    struct sim_host *host = &sim->hosts[index];
    tell(sim, (struct sim_news){ .kind = SIM_NEWS_LOST, .host = index, .act = host->act });
    end_act(sim, index);
    host->lost = true;
    host->gate_ms = host->die_ms = -1;
    schedule(sim, index);
    send(sim, &(struct rollout_event){ .kind = ROLLOUT_EV_LOST, .host = index });
}

static void answer(struct sim *sim, size_t index)
{
    struct sim_host *host = &sim->hosts[index];
    enum rollout_act act = host->act;
    if (host->answer_lost) {
        lose(sim, index);
        return;
    }
    end_act(sim, index);
    tell(sim, (struct sim_news){
                  .kind = SIM_NEWS_ANSWERED, .host = index, .act = act, .answer = host->answer });
    send(sim, &(struct rollout_event){
                  .kind = ROLLOUT_EV_ANSWER, .host = index, .act = act, .answer = host->answer });
}

static void one_host(struct sim *sim, size_t index)
{
    struct sim_host *host = &sim->hosts[index];
    if (host->new && !host->confirmed && host->lease_end_ms <= sim->now_ms) {
        host->new = false;
        if (!host->lost) {
            tell(sim, (struct sim_news){ .kind = SIM_NEWS_BACK, .host = index });
            send(sim, &(struct rollout_event){ .kind = ROLLOUT_EV_BACK, .host = index });
        }
    }
    if (host->act && host->due_ms <= sim->now_ms)
        answer(sim, index);
    if (host->gate_ms >= 0 && host->gate_ms <= sim->now_ms) {
        host->gate_ms = -1;
        tell(sim, (struct sim_news){ .kind = SIM_NEWS_GATE, .host = index });
        send(sim, &(struct rollout_event){ .kind = ROLLOUT_EV_GATE, .host = index });
    }
    if (host->die_ms >= 0 && host->die_ms <= sim->now_ms)
        lose(sim, index);
    schedule(sim, index);
}

/* --- a run ---------------------------------------------------------------------------------------
 */

/* What the next one finds on a host, as driver_resume.c reads it from the record. */
static void find(struct sim *sim, size_t index)
{
    const struct sim_host *host = &sim->hosts[index];
    struct rollout_host *part = &sim->rollout.hosts[index];
    enum rollout_host_state state = !host->new        ? ROLLOUT_HOST_OLD
                                    : host->confirmed ? ROLLOUT_HOST_CONFIRMED
                                                      : ROLLOUT_HOST_NEW;
    if (part->away)
        state = sim->rollout.kind == ROLLOUT_ABORT ? ROLLOUT_HOST_STRAY : ROLLOUT_HOST_LOST;
    if (!host->named)
        part->state = ROLLOUT_HOST_REFUSED;
    else
        rollout_found(&sim->rollout, index, part->canary, state);
}

static void decide(struct sim *sim)
{
    sim->decide = false;
    for (size_t i = 0; sim->taken_over && i < sim->count; i++)
        find(sim, i);
    send(sim, &(struct rollout_event){
                  .kind = ROLLOUT_EV_ANSWER, .host = ROLLOUT_NOBODY, .act = ROLLOUT_ACT_DECIDE });
}

static void one_step(struct sim *sim)
{
    int64_t timer = rollout_next_ms(&sim->rollout), due = sim->hosts[sim->heap[0]].next_ms;
    if (timer >= 0 && (due < 0 || timer < due))
        due = timer;
    if (due < 0) {
        wrong(sim, 0, "the rollout waits for something that never comes");
        return;
    }
    if (due > sim->now_ms)
        sim->now_ms = due;
    for (size_t at; sim->rollout.stage != ROLLOUT_OVER; one_host(sim, at)) {
        at = sim->heap[0];
        if (sim->hosts[at].next_ms < 0 || sim->hosts[at].next_ms > sim->now_ms)
            break;
    }
    if (sim->rollout.stage == ROLLOUT_BAKING && !sim->counted) {
        sim->counted = true;
        send(sim, &(struct rollout_event){ .kind = ROLLOUT_EV_VERDICT, .verdict = sim->verdict });
    }
    timer = rollout_next_ms(&sim->rollout);
    if (timer >= 0 && timer <= sim->now_ms)
        send(sim, &(struct rollout_event){ .kind = ROLLOUT_EV_TIME });
}

void sim_run(struct sim *sim)
{
    size_t most = SIM_STEPS + SIM_STEPS_PER_HOST * sim->count, turn = 0;
    for (size_t i = 0; i < sim->nfaults; i++)
        sim->hosts[sim->faults[i].host].faulty = true;
    sim->runs++;
    sim->steps = 0;
    sim->told = ROLLOUT_NSTAGES;
    sim->switching = sim->undoing = ROLLOUT_NOBODY;
    send(sim, &(struct rollout_event){ .kind = ROLLOUT_EV_START });
    for (; sim->rollout.stage != ROLLOUT_OVER && !sim->wrong; turn++) {
        if (sim->steps > most)
            wrong(sim, 0, "the rollout does not come to an end");
        if (sim->die_at > 0 && turn == sim->die_at) {
            sim->died = true;
            return;
        }
        if (sim->order != ROLLOUT_EV_START && turn == sim->order_at)
            send(sim, &(struct rollout_event){ .kind = sim->order });
        if (sim->rollout.stage == ROLLOUT_OVER)
            break;
        if (sim->decide)
            decide(sim);
        else
            one_step(sim);
    }
}

void sim_settle(struct sim *sim)
{
    for (size_t i = 0; i < sim->count; i++)
        if (!sim->hosts[i].confirmed)
            sim->hosts[i].new = false;
}

/* --- taking over ---------------------------------------------------------------------------------
 */

static void wait_for(struct sim *sim, size_t index)
{
    struct sim_host *host = &sim->hosts[index];
    if (host->new && !host->confirmed && host->lease_end_ms <= sim->now_ms)
        host->new = false;
    host->act = ROLLOUT_ACT_NONE; /* an agent finishes what it does, then it leaves */
    host->gate_ms = host->die_ms = -1;
    host->lost = host->lost && !comes_back(sim, index);
    schedule(sim, index);
}

static bool is_open(const struct sim *sim)
{
    for (size_t i = 0; i < sim->count; i++)
        if (sim->hosts[i].recorded)
            return true;
    return false;
}

bool sim_takeover(struct sim *sim, enum rollout_kind kind, int64_t gap_ms)
{
    struct rollout *old = &sim->rollout, next;
    if (!is_open(sim) || rollout_init(&next, kind, sim->count, sim->names, &old->limits, NULL) < 0)
        return false;
    for (size_t i = 0; i < sim->count; i++) {
        next.hosts[i].canary = old->hosts[i].canary;
        next.hosts[i].was_healthy = old->hosts[i].was_healthy;
        next.hosts[i].overlap = old->hosts[i].overlap;
        next.hosts[i].group = old->hosts[i].group;
        next.hosts[i].zone = old->hosts[i].zone;
    }
    rollout_done(old);
    *old = next;
    sim->now_ms += gap_ms;
    for (size_t i = 0; i < sim->count; i++)
        wait_for(sim, i);
    sim->under_way = sim->most_out = 0;
    sim->decide = sim->counted = sim->died = false;
    sim->die_at = 0;
    sim->order = ROLLOUT_EV_START;
    sim->taken_over = true;
    return true;
}

/* --- life
 * ----------------------------------------------------------------------------------------- */

int sim_init(struct sim *sim, enum rollout_kind kind, size_t count, const char *const *names,
             const struct rollout_limits *limits, struct err *err)
{
    *sim = (struct sim){ .count = count,
                         .names = names,
                         .switch_ms = SIM_SWITCH_MS,
                         .order = ROLLOUT_EV_START,
                         .told = ROLLOUT_NSTAGES,
                         .switching = ROLLOUT_NOBODY,
                         .undoing = ROLLOUT_NOBODY };
    int rc = rollout_init(&sim->rollout, kind, count, names, limits, err);
    if (rc < 0)
        return rc;
    sim->hosts = calloc(count, sizeof *sim->hosts);
    sim->heap = calloc(count, sizeof *sim->heap);
    if (!sim->hosts || !sim->heap) {
        sim_done(sim);
        return err_set(err, ERR_MEMORY, "no memory for %zu hosts", count);
    }
    for (size_t i = 0; i < count; i++) {
        sim->hosts[i].gate_ms = sim->hosts[i].die_ms = sim->hosts[i].next_ms = -1;
        sim->rollout.hosts[i].was_healthy = true;
        put(sim, i, i);
    }
    return 0;
}

void sim_done(struct sim *sim)
{
    rollout_done(&sim->rollout);
    free(sim->hosts);
    free(sim->heap);
    sim->hosts = NULL;
    sim->heap = NULL;
    sim->count = 0;
}

/* --- the end
 * --------------------------------------------------------------------------------------- */

size_t sim_new(const struct sim *sim)
{
    size_t n = 0;
    for (size_t i = 0; i < sim->count; i++)
        n += sim->hosts[i].new;
    return n;
}

/* Every host that is not on the side the others ended on is named, or within the budgets. */
static const char *wrong_strays(const struct sim *sim, size_t budget)
{
    const struct rollout *rollout = &sim->rollout;
    size_t confirmed = rollout_counts(rollout, ROLLOUT_HOST_CONFIRMED);
    size_t strays = rollout_counts(rollout, ROLLOUT_HOST_STRAY);
    for (size_t i = 0; i < sim->count && rollout->kind == ROLLOUT_ROLLBACK; i++)
        strays += rollout->hosts[i].state == ROLLOUT_HOST_REFUSED ||
                  rollout->hosts[i].state == ROLLOUT_HOST_LOST; /* named as what they are */
    if (strays == 0)
        return "it ended incomplete, but no host is named";
    for (size_t i = 0; i < sim->count; i++) {
        const struct rollout_host *part = &rollout->hosts[i];
        bool named = part->state == ROLLOUT_HOST_STRAY || (part->away && part->maybe_confirmed);
        if (!named && sim->hosts[i].new != (part->state == ROLLOUT_HOST_CONFIRMED))
            return "it ended incomplete, and a host that is not named is not what it is called";
    }
    return confirmed > 0 && sim->count - confirmed - strays > budget
               ? "it ended incomplete, with hosts on both sides that are not named"
               : NULL;
}

const char *sim_wrong(const struct sim *sim)
{
    const struct rollout_limits *limits = &sim->rollout.limits;
    size_t new = sim_new(sim);
    if (sim->wrong)
        return sim->wrong;
    switch (sim->rollout.outcome) {
    case ROLLOUT_DONE: /* each run has its own budgets */
        return sim->count - new > sim->runs *(limits->failed + limits->unreachable)
                   ? "it ended done with more hosts left out than the budgets allow"
                   : NULL;
    case ROLLOUT_UNREACHABLE:
    case ROLLOUT_LOCKED:
    case ROLLOUT_INTERRUPTED:
    case ROLLOUT_FAILED: /* an open rollout stays so when it cannot go on */
        if (sim->taken_over && is_open(sim))
            return NULL;
        __attribute__((fallthrough));
    case ROLLOUT_BAD:
    case ROLLOUT_ABORTED:
        return new > 0 ? "it ended undone, but a host runs the release" : NULL;
    case ROLLOUT_PAUSED:
    case ROLLOUT_HELD_OPEN:
        return NULL;
    case ROLLOUT_INCOMPLETE:
        return wrong_strays(sim, sim->runs * (limits->failed + limits->unreachable));
    case ROLLOUT_RUNNING:
    case ROLLOUT_NOTHING:
    case ROLLOUT_CONFIG:
    case ROLLOUT_NOUTCOMES:
        break;
    }
    return "it ended nowhere";
}

const char *sim_abandoned(const struct sim *sim)
{
    const struct rollout_limits *limits = &sim->rollout.limits;
    size_t confirmed = 0;
    for (size_t i = 0; i < sim->count; i++)
        confirmed += sim->hosts[i].new && sim->hosts[i].confirmed;
    if (sim->wrong || confirmed == 0)
        return sim->wrong;
    return sim->count - confirmed > sim->runs * (limits->failed + limits->unreachable) &&
                   rollout_counts(&sim->rollout, ROLLOUT_HOST_STRAY) == 0
               ? "it was left closed with hosts on both sides"
               : NULL;
}
