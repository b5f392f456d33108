/* jobs.c - the contract is in jobs.h. */
#include "supervisor/core/jobs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervisor/core/jobs_inside.h"
#include "supervisor/core/keeper.h"
#include "supervisor/plan/options.h"

enum {
    CLOCK_SET_MS = 500,       /* two clocks that part by more: somebody has set one */
    WORTH_KEEPING_MS = 60000, /* an interval; shorter ones simply begin again */
    RETRY_MS = 1000,
    ROUNDS_MAX = 1000, /* of one turn */
};

bool jobs_is(const struct slot *slot)
{
    return !slot->removed && slot->spec->set->type == SPEC_TYPE_SCHEDULED;
}

struct schedule_now jobs_now(void)
{
    return (struct schedule_now){ clock_wall_us() / 1000, clock_boot_ms() };
}

const struct schedule *jobs_schedule(const struct slot *slot)
{
    static const struct schedule none;

    return slot->job ? &slot->job->s : &none;
}

/* False without memory: its times do not count, then. */
static bool make_job(struct slot *slot)
{
    if (!slot->job)
        slot->job = calloc(1, sizeof *slot->job);
    if (!slot->job) {
        log_error("no memory for a schedule", "instance", slot->name, NULL);
        return false;
    }
    slot->job->slot = slot;
    return true;
}

bool jobs_adopt(struct slot *slot, const struct schedule *schedule)
{
    if (!make_job(slot))
        return false;
    slot->job->s = *schedule;
    return true;
}

/* --- the timer --- */

static void look_at_all(struct jobs *jobs)
{
    const struct keeper *keeper = jobs->core->keeper;

    for (size_t i = 0; i < keeper->nslots; i++)
        if (keeper->slots[i]->job && keeper->slots[i]->job->node.place != 0)
            heap_set(&jobs->heap, &keeper->slots[i]->job->node, 0);
}

static void on_timer(void *context, unsigned events)
{
    struct jobs *jobs = context;
    uint64_t count;

    (void)events;
    /* The end of this turn looks what is due; after ECANCELED (the clock was set) at all. */
    if (read(jobs->timer_fd, &count, sizeof count) < 0 && errno == ECANCELED)
        look_at_all(jobs);
    jobs->armed_ms = SCHEDULE_NEVER;
}

/* For want of a timer we look again soon. */
static void on_retry(void *context) { ((struct jobs *)context)->armed_ms = SCHEDULE_NEVER; }

static bool open_timer(struct jobs *jobs)
{
    struct err err = { 0 };

    if (jobs->timer_fd >= 0)
        return true;
    int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd >= 0)
        jobs->timer_watch = loop_watch_new(jobs->core->loop, fd, on_timer, jobs, &err);
    if (!jobs->timer_watch) {
        log_error("no timer for scheduled services, trying again", "error",
                  fd < 0 ? strerror(errno) : err.text, NULL);
        if (fd >= 0)
            close(fd);
        return false;
    }
    jobs->timer_fd = fd;
    loop_watch_set(jobs->timer_watch, LOOP_READ);
    return true;
}

static void arm(struct jobs *jobs, int64_t at_ms)
{
    /* All zeros disarm it; what is due already was long ago. */
    int64_t ms = at_ms == SCHEDULE_NEVER ? 0 : at_ms > 0 ? at_ms : 1;
    const struct itimerspec spec = { .it_value = { ms / 1000, ms % 1000 * 1000000 } };

    if (at_ms == jobs->armed_ms)
        return;
    if (open_timer(jobs) &&
        timerfd_settime(jobs->timer_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &spec, NULL) ==
            0) {
        jobs->armed_ms = at_ms;
        return;
    }
    bool set = jobs->timer_fd >= 0 && errno == ECANCELED; /* the clock, just now */
    if (set)
        look_at_all(jobs);
    loop_timer_arm(jobs->retry, set ? 0 : RETRY_MS);
}

/* --- runs --- */

static void begin_run(struct jobs *jobs, struct job *job, int64_t due_ms, const char *who)
{
    struct unit *unit = job->slot->main;

    schedule_begin(&job->s, due_ms, jobs_now());
    jobs_tell_started(jobs, job, who);
    /* Keeps the start and whose time it is in one stroke. */
    keeper_order(jobs->core->keeper, unit, LIFECYCLE_EV_START, who);
    if (job->kept)
        jobs_file_changed(jobs->file);
}

/* Its start waits until its time is written down as used. */
static void claim(struct jobs *jobs, struct job *job, const struct schedule *next, int64_t due_ms)
{
    job->claimed = true;
    job->before = job->s;
    job->claim = *next;
    schedule_begin(&job->claim, due_ms, jobs_now());
    job->writing = jobs_file_changed(jobs->file);
    job->next_claimed = jobs->claims;
    jobs->claims = job;
}

static void drop_claim(struct jobs *jobs, struct job *job)
{
    for (struct job **at = &jobs->claims; *at; at = &(*at)->next_claimed) {
        if (*at != job)
            continue;
        *at = job->next_claimed;
        break;
    }
    job->claimed = false;
}

/* Nothing has come between, like an order to stop or to run; else it is thought over. */
static void begin_claimed(struct jobs *jobs, struct job *job)
{
    struct schedule *s = &job->s;
    int64_t due_ms = job->claim.due_ms;
    bool holds = memcmp(s, &job->before, sizeof *s) == 0;

    drop_claim(jobs, job);
    heap_set(&jobs->heap, &job->node, 0);
    if (!holds || jobs->core->keeper->stopping_all) {
        jobs_file_changed(jobs->file);
        return;
    }
    uint32_t runs = s->runs;
    *s = job->claim;
    s->runs = runs; /* counted as it begins */
    begin_run(jobs, job, due_ms, NULL);
}

void jobs_written(struct jobs *jobs, uint64_t writing)
{
    for (struct job *job = jobs->claims, *next; job; job = next) {
        next = job->next_claimed;
        if (job->writing <= writing)
            begin_claimed(jobs, job);
    }
}

static void stop_for_next(struct jobs *jobs, struct job *job)
{
    keeper_order(jobs->core->keeper, job->slot->main, LIFECYCLE_EV_STOP,
                 "its next time has come (concurrency_policy = replace)");
}

static void look(struct jobs *jobs, struct job *job)
{
    struct unit *unit = job->slot->main;
    struct schedule next = job->s;
    struct schedule_verdict verdict;

    heap_set(&jobs->heap, &job->node, SCHEDULE_NEVER);
    if (job->claimed || job->problem.code != 0 || !next.active || jobs->core->keeper->stopping_all)
        return;
    schedule_look(&next, &job->policy, jobs_now(), &verdict);
    jobs_tell_verdict(jobs, job, &verdict);
    bool start = verdict.act == SCHEDULE_START;
    if (start && job->kept && !jobs->core->state_in_memory) {
        claim(jobs, job, &next, verdict.due_ms);
        return;
    }
    bool news = memcmp(&next, &job->s, sizeof next) != 0;
    job->s = next;
    heap_set(&jobs->heap, &job->node, start ? 0 : verdict.next_ms);
    if (start) {
        begin_run(jobs, job, verdict.due_ms, NULL);
        return;
    }
    if (news)
        keeper_save(unit);
    if (job->kept && (verdict.missed || verdict.skipped))
        jobs_file_changed(jobs->file);
    if (verdict.act == SCHEDULE_REPLACE_RUN)
        stop_for_next(jobs, job);
}

/* --- what happens --- */

void jobs_changed(struct jobs *jobs, struct slot *slot)
{
    const struct lifecycle *lc = &slot->main->body.lc;
    struct job *job = slot->job;
    enum lifecycle_state state = (enum lifecycle_state)lc->state;
    enum schedule_result result = SCHEDULE_FAILURE;

    if (!job || !job->s.running || !lifecycle_settled(state))
        return;
    if (state == LIFECYCLE_STOPPED)
        result = SCHEDULE_STOPPED;
    else if (state == LIFECYCLE_EXITED && lc->expected)
        result = SCHEDULE_SUCCESS;
    schedule_end(&job->s, result, jobs_now());
    keeper_save(slot->main);
    jobs_tell_finished(jobs, slot);
    if (!jobs_is(slot))
        return;
    heap_set(&jobs->heap, &job->node, 0); /* one may have waited for this */
    if (job->kept)
        jobs_file_changed(jobs->file);
}

/* The wall clock and that of the boot go side by side, unless one is set.  Where a timer does not
 * tell of it, whatever wakes us does. */
static void notice_clock(struct jobs *jobs)
{
    const struct schedule_now now = jobs_now();
    int64_t ahead = now.wall_ms - now.boot_ms, moved = ahead - jobs->ahead_ms;

    if (moved > CLOCK_SET_MS || moved < -CLOCK_SET_MS) {
        jobs->ahead_ms = ahead;
        jobs->armed_ms = SCHEDULE_NEVER;
        look_at_all(jobs);
    }
}

void jobs_turn(struct jobs *jobs)
{
    struct heap_node *first = heap_first(&jobs->heap);

    if (first && !jobs->loading) {
        notice_clock(jobs);
        for (int i = 0; i < ROUNDS_MAX; i++) {
            first = heap_first(&jobs->heap);
            if (first->key > clock_wall_us() / 1000)
                break;
            look(jobs, (struct job *)first);
        }
        arm(jobs, heap_first(&jobs->heap)->key);
    }
    jobs_file_turn(jobs->file);
}

bool jobs_settle(struct jobs *jobs)
{
    jobs_file_turn(jobs->file);
    return jobs_file_settled(jobs->file);
}

/* --- settings --- */

/* FNV-1a: spreads, protects nothing. */
static uint32_t hash_of(uint32_t hash, const char *text)
{
    for (; text && *text; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    return (hash ^ 0xffu) * 16777619u;
}

static uint32_t rules_of(const struct spec_service *spec)
{
    const struct spec_settings *set = spec->set;
    const struct opt *keys[] = { opt_find(&options_service, "schedule"),
                                 opt_find(&options_service, "every"),
                                 opt_find(&options_service, "schedule_timezone") };
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (i < 2 || set->schedule.count > 0)
            hash = hash_of(hash, spec_text(spec, (size_t)(keys[i] - options_service.rows)));
    return hash | 1; /* none is 0 */
}

static int64_t shift_of(const struct jobs *jobs, const struct slot *slot)
{
    uint32_t hash = hash_of(hash_of(2166136261u, jobs->core->plan->host), slot->name);

    hash ^= hash >> 15; /* the last bytes of a name are the ones that differ */
    hash *= 2246822519u;
    return (int64_t)((uint64_t)hash * (uint64_t)slot->spec->set->schedule_jitter_ms >> 32);
}

static int64_t offset_hand(const void *context, int64_t utc_s, int64_t *ret_until_s)
{
    return zone_offset(context, utc_s, ret_until_s);
}

/* Each zone is read once for a plan; NULL with the reason when it cannot be. */
static const struct zone *zone_of(struct jobs *jobs, const char *name, struct err *err)
{
    for (size_t i = 0; i < jobs->nzones; i++)
        if (strcmp(jobs->zones[i].name, name) == 0)
            return jobs->zones[i].zone;
    struct jobs_zone *grown = reallocarray(jobs->zones, jobs->nzones + 1, sizeof(struct jobs_zone));
    if (!grown) {
        err_set(err, ERR_MEMORY, "no memory for a time zone");
        return NULL;
    }
    jobs->zones = grown;
    struct zone *zone = zone_open(name, err);
    if (zone)
        jobs->zones[jobs->nzones++] = (struct jobs_zone){ name, zone };
    return zone;
}

static void set_policy(struct jobs *jobs, struct job *job)
{
    const struct spec_settings *set = job->slot->spec->set;
    const struct zone *zone = NULL;

    job->problem = (struct err){ 0 };
    if (set->schedule.count > 0)
        zone = zone_of(jobs, set->schedule_timezone, &job->problem);
    if (job->problem.code != 0)
        log_error("its times are not known", "instance", job->slot->name, "error",
                  job->problem.text, NULL);
    job->policy = (struct schedule_policy){
        .lines = set->schedule.lines,
        .nlines = set->schedule.count,
        .zone = { offset_hand, zone },
        .every_ms = set->every_ms,
        .shift_ms = shift_of(jobs, job->slot),
        .deadline_ms = set->starting_deadline_ms,
        .catch_up = (enum schedule_catch_up)set->catch_up,
        .overlap = (enum schedule_overlap)set->concurrency_policy,
        .rules = rules_of(job->slot->spec),
    };
    job->kept = set->every_ms == 0 || set->every_ms >= WORTH_KEEPING_MS;
}

/* Its times do not come any more; the end of a run under way is still told. */
static void forget_times(struct jobs *jobs, struct job *job)
{
    drop_claim(jobs, job);
    heap_remove(&jobs->heap, &job->node);
    schedule_suspend(&job->s);
}

/* It runs by the clock no more: autostart decides, as for a new one. */
static void end_schedule(struct jobs *jobs, struct slot *slot)
{
    struct unit *unit = slot->main;
    struct job *job = slot->job;

    if (!job)
        return;
    bool was_active = job->s.active;
    forget_times(jobs, job);
    if (!slot->removed) {
        if (job->s.running) {
            schedule_end(&job->s, SCHEDULE_STOPPED, jobs_now());
            jobs_tell_finished(jobs, slot);
        }
        unit->body.pristine |= was_active && !unit->body.lc.wanted;
        slot->job = NULL;
        free(job);
    }
    keeper_save(unit);
}

bool jobs_may_begin(const struct slot *slot)
{
    const struct unit *unit = slot->main;
    enum lifecycle_state state = keeper_state(slot);
    bool ordered =
        !unit->body.lc.wanted && (state == LIFECYCLE_STOPPED || !lifecycle_settled(state));

    return !unit->body.pristine && jobs_schedule(slot)->until_ms == 0 && !ordered;
}

/* It was something else until now: what runs is ended, what was not stopped by order counts.  What
 * is to be left alone (reload --no-restart) is taken for the first run. */
static void begin_schedule(struct jobs *jobs, struct slot *slot)
{
    const struct keeper *keeper = jobs->core->keeper;
    struct unit *unit = slot->main;
    bool left = unit->body.left != 0 && unit->body.left == keeper->digests[slot->service] &&
                keeper_pid(keeper, unit) > 0;

    if (!jobs_may_begin(slot))
        return;
    schedule_activate(&slot->job->s, &slot->job->policy, jobs_now());
    if (unit->body.lc.wanted && left)
        schedule_begin(&slot->job->s, 0, jobs_now());
    keeper_save(unit);
    if (unit->body.lc.wanted && !left)
        keeper_order(jobs->core->keeper, unit, LIFECYCLE_EV_STOP, "it is scheduled from now on");
}

/* `room`: in the heap, for a new one. */
static void configure_slot(struct jobs *jobs, struct slot *slot, bool room)
{
    if (!jobs_is(slot)) {
        end_schedule(jobs, slot);
        return;
    }
    if (!make_job(slot))
        return;
    bool knew = slot->job->problem.code == 0;
    set_policy(jobs, slot->job);
    if (!knew) /* what passed meanwhile does not count */
        slot->job->s.rules = 0;
    if (slot->job->s.active && slot->job->problem.code == 0)
        schedule_follow(&slot->job->s, &slot->job->policy, jobs_now());
    begin_schedule(jobs, slot);
    if (room || slot->job->node.place != 0)
        heap_set(&jobs->heap, &slot->job->node, 0);
    else
        err_set(&slot->job->problem, ERR_MEMORY, "no memory for its schedule, try a reload");
}

void jobs_configure(struct jobs *jobs)
{
    const struct keeper *keeper = jobs->core->keeper;
    struct jobs_zone *before = jobs->zones;
    size_t nbefore = jobs->nzones, count = 0;

    for (size_t i = 0; i < keeper->nslots; i++)
        count += jobs_is(keeper->slots[i]);
    jobs->zones = NULL;
    jobs->nzones = 0;
    bool room = count == 0 || heap_reserve(&jobs->heap, count + jobs->heap.count);
    for (size_t i = 0; i < keeper->nslots; i++)
        configure_slot(jobs, keeper->slots[i], room);
    for (size_t i = 0; i < nbefore; i++)
        zone_free(before[i].zone);
    free(before);
    if (count > 0 && !jobs->loading)
        jobs_file_changed(jobs->file);
}

/* --- orders --- */

/* Look at it at the end of this turn. */
static void look_soon(struct jobs *jobs, struct job *job)
{
    if (job->node.place != 0)
        heap_set(&jobs->heap, &job->node, 0);
    jobs_file_changed(jobs->file); /* an interval has begun, or a time may be missed from now on */
}

void jobs_activate(struct jobs *jobs, struct slot *slot)
{
    struct job *job = slot->job;

    slot->main->body.pristine = false;
    if (job && jobs_file_get(jobs->left, slot->name, &job->s)) {
        if (schedule_restore(&job->s, &job->policy, jobs_now()))
            jobs_tell_finished(jobs, slot);
    } else if (job) {
        schedule_activate(&job->s, &job->policy, jobs_now());
        job->s.fresh = jobs->loading ? SCHEDULE_FRESH_START : SCHEDULE_FRESH_NOT; /* @reboot */
    }
    keeper_save(slot->main);
    if (job)
        look_soon(jobs, job);
}

void jobs_start(struct jobs *jobs, struct slot *slot, bool run, const char *who)
{
    struct unit *unit = slot->main;
    struct job *job = slot->job;

    unit->body.pristine = false;
    if (job && !job->s.active) {
        schedule_activate(&job->s, &job->policy, jobs_now());
        look_soon(jobs, job);
    }
    keeper_save(unit);
    if (job && run && !job->s.running)
        begin_run(jobs, job, 0, who);
    else if (run) /* at once, if it waits or is on its way out */
        keeper_order(jobs->core->keeper, unit, LIFECYCLE_EV_START, who);
}

void jobs_suspend(struct jobs *jobs, struct slot *slot)
{
    slot->main->body.pristine = false;
    if (slot->job)
        schedule_suspend(&slot->job->s);
    keeper_save(slot->main);
    jobs_file_changed(jobs->file);
}

/* --- its life --- */

/* What the core before us did not come to, killed between an end and what follows from it, or
 * between a decision and the order. */
static void take_up(struct jobs *jobs, struct slot *slot)
{
    struct job *job = slot->job;
    bool never = job->s.until_ms == 0 && !slot->main->body.pristine;

    /* Found again without a ledger, or there was no memory to keep it in. */
    if (never && (slot->main->body.lc.wanted || slot->spec->autostart)) {
        schedule_activate(&job->s, &job->policy, jobs_now());
        if (slot->main->body.lc.wanted)
            schedule_begin(&job->s, 0, jobs_now());
        keeper_save(slot->main);
    }
    if (job->s.fresh == SCHEDULE_FRESH_NOT)
        schedule_take_over(&job->s, &job->policy, jobs_now());
    jobs_changed(jobs, slot);
    if (job->s.running && job->s.queued_ms && job->policy.overlap == SCHEDULE_REPLACE)
        stop_for_next(jobs, job);
}

void jobs_begin(struct jobs *jobs)
{
    const struct keeper *keeper = jobs->core->keeper;

    json_decref(jobs->left);
    jobs->left = NULL;
    jobs->loading = false;
    for (size_t i = 0; i < keeper->nslots; i++)
        if (keeper->slots[i]->job)
            take_up(jobs, keeper->slots[i]);
}

void jobs_removed(struct jobs *jobs, struct slot *slot)
{
    if (!slot->job)
        return;
    forget_times(jobs, slot->job);
    free(slot->job);
    slot->job = NULL;
}

struct jobs *jobs_new(struct core *core, struct err *err)
{
    struct jobs *jobs = calloc(1, sizeof *jobs);
    const struct schedule_now now = jobs_now();

    if (!jobs) {
        err_set(err, ERR_MEMORY, "no memory for scheduled services");
        return NULL;
    }
    jobs->core = core;
    jobs->timer_fd = -1;
    jobs->loading = true;
    jobs->armed_ms = SCHEDULE_NEVER;
    jobs->ahead_ms = now.wall_ms - now.boot_ms;
    jobs->file = jobs_file_new(jobs);
    jobs->retry = loop_timer_new(core->loop, on_retry, jobs);
    jobs->left = jobs_file_read(core);
    if (jobs->file && jobs->retry)
        return jobs;
    err_set(err, ERR_MEMORY, "no memory for scheduled services");
    jobs_free(jobs);
    return NULL;
}

void jobs_free(struct jobs *jobs)
{
    if (!jobs)
        return;
    loop_watch_free(jobs->timer_watch);
    loop_timer_free(jobs->retry);
    if (jobs->timer_fd >= 0)
        close(jobs->timer_fd);
    jobs_file_free(jobs->file);
    heap_done(&jobs->heap);
    for (size_t i = 0; i < jobs->nzones; i++)
        zone_free(jobs->zones[i].zone);
    free(jobs->zones);
    json_decref(jobs->left);
    free(jobs);
}
