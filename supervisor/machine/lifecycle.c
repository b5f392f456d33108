/* lifecycle.c - the contract is in lifecycle.h. */
#include "supervisor/machine/lifecycle.h"

/* After KILL nothing can refuse; look again this often until the kernel has cleared it away. */
enum { KILL_AGAIN_MS = 1000 };

static const struct {
    const char *name, *detail, *supervisord;
    bool has_process, settled;
} traits[LIFECYCLE_NSTATES] = {
    /* clang-format off */
    [LIFECYCLE_STOPPED]   = { "stopped",  "stopped",   "STOPPED",  false, true  },
    [LIFECYCLE_WAITING]   = { "waiting",  "waiting",   "STARTING", false, false },
    [LIFECYCLE_PRE_START] = { "starting", "pre-start", "STARTING", false, false },
    [LIFECYCLE_STARTING]  = { "starting", "starting",  "STARTING", true,  false },
    [LIFECYCLE_RUNNING]   = { "running",  "running",   "RUNNING",  true,  false },
    [LIFECYCLE_STOPPING]  = { "stopping", "stopping",  "STOPPING", true,  false },
    [LIFECYCLE_KILLING]   = { "stopping", "killing",   "STOPPING", true,  false },
    [LIFECYCLE_CLEANING]  = { "stopping", "cleaning",  "STOPPING", false, false },
    [LIFECYCLE_POST_STOP] = { "stopping", "post-stop", "STOPPING", false, false },
    [LIFECYCLE_BACKOFF]   = { "backoff",  "backoff",   "BACKOFF",  false, false },
    [LIFECYCLE_EXITED]    = { "exited",   "exited",    "EXITED",   false, true  },
    [LIFECYCLE_FAILED]    = { "failed",   "failed",    "FATAL",    false, true  },
    /* clang-format on */
};

static const char *const event_names[LIFECYCLE_NEVENTS] = {
    [LIFECYCLE_EV_START] = "start",       [LIFECYCLE_EV_STOP] = "stop",
    [LIFECYCLE_EV_RESTART] = "restart",   [LIFECYCLE_EV_GO] = "go",
    [LIFECYCLE_EV_HOOK_OK] = "hook-ok",   [LIFECYCLE_EV_HOOK_BAD] = "hook-bad",
    [LIFECYCLE_EV_NO_SPAWN] = "no-spawn", [LIFECYCLE_EV_READY] = "ready",
    [LIFECYCLE_EV_UNREADY] = "unready",   [LIFECYCLE_EV_SICK] = "sick",
    [LIFECYCLE_EV_PROVE] = "prove",       [LIFECYCLE_EV_EXIT_OK] = "exit-ok",
    [LIFECYCLE_EV_EXIT_BAD] = "exit-bad", [LIFECYCLE_EV_EMPTY] = "empty",
    [LIFECYCLE_EV_TIMEOUT] = "timeout",   [LIFECYCLE_EV_LEAVING] = "leaving",
};

/* Everything one step works on, so that the helpers below have short parameter lists. */
struct step {
    struct lifecycle *lc;
    const struct lifecycle_policy *policy;
    struct lifecycle_now now;
};

static unsigned enter(const struct step *s, enum lifecycle_state state, int64_t delay_ms,
                      unsigned acts)
{
    s->lc->state = (uint8_t)state;
    s->lc->deadline_ms = delay_ms > 0 ? s->now.mono_ms + delay_ms : 0;
    return acts;
}

static unsigned rest_in(const struct step *s, enum lifecycle_state state)
{
    s->lc->wanted = false;
    if (state != LIFECYCLE_EXITED)
        s->lc->ready = false;
    return enter(s, state, 0, 0);
}

static int64_t start_limit(const struct lifecycle_policy *policy)
{
    return policy->oneshot ? policy->run_ms : policy->start_ms;
}

static unsigned spawn(const struct step *s)
{
    struct lifecycle *lc = s->lc;

    lc->cause = LIFECYCLE_BY_ITSELF;
    lc->reached = lc->ready = false;
    lc->ready_since_ms = 0;
    lc->started_ms = s->now.mono_ms;
    lc->starts++;
    /* A oneshot takes as long as it may; startsecs = 0 is up as soon as it is spawned. */
    int64_t limit = start_limit(s->policy);
    if (s->policy->delay_ready && limit <= 0 && !s->policy->oneshot)
        limit = 1;
    return enter(s, LIFECYCLE_STARTING, limit, LIFECYCLE_ACT_SPAWN | LIFECYCLE_ACT_CHECKS);
}

static unsigned begin(const struct step *s)
{
    s->lc->cause = LIFECYCLE_BY_ITSELF;
    if (s->policy->pre_start)
        return enter(s, LIFECYCLE_PRE_START, s->policy->hook_ms, LIFECYCLE_ACT_PRE_START);
    return spawn(s);
}

/* Every start asks first: a dependency may have gone since the last one. */
static unsigned wait_for_needs(const struct step *s)
{
    return enter(s, LIFECYCLE_WAITING, 0, LIFECYCLE_ACT_ASK);
}

/* The next try, after the delay that restart_on or else the series of backoff says. */
static unsigned retry(const struct step *s, enum lifecycle_rule rule)
{
    struct lifecycle *lc = s->lc;
    const struct lifecycle_policy *policy = s->policy;
    struct backoff_policy backoff = policy->backoff;

    if (policy->once)
        return rest_in(s, LIFECYCLE_FAILED);
    lc->failures++;
    if (policy->startretries >= 0 && (int64_t)lc->failures > policy->startretries)
        return rest_in(s, LIFECYCLE_FAILED);
    if (rule == LIFECYCLE_RULE_AFTER) {
        backoff.min_ms = backoff.max_ms = policy->rule_ms;
        backoff.linear = false;
    }
    uint32_t n = rule == LIFECYCLE_RULE_AFTER ? 1 : lc->failures;
    int64_t delay = backoff_delay(&backoff, n, s->now.random);
    return enter(s, LIFECYCLE_BACKOFF, delay > 0 ? delay : 1, 0);
}

static unsigned retry_after_failure(const struct step *s) { return retry(s, LIFECYCLE_RULE_NONE); }

/* Whether autorestart wants it again, and else where it rests. */
static bool wanted_again(const struct step *s, enum lifecycle_state *ret_rest)
{
    const struct lifecycle *lc = s->lc;
    const struct lifecycle_policy *policy = s->policy;
    bool failed_start = !lc->reached && (policy->program || !lc->expected);
    bool bad = !lc->expected && !lc->reached && !policy->program;

    *ret_rest = bad ? LIFECYCLE_FAILED : LIFECYCLE_EXITED;
    return policy->autorestart == LIFECYCLE_ALWAYS || policy->at_call ||
           (policy->autorestart == LIFECYCLE_UNEXPECTED && !lc->expected) ||
           (policy->program && failed_start);
}

/* The instance is empty and the hook is done: where does it go from here?
 *
 * supervisord's programs: an exit during startsecs is a failed start whatever its code, reaching
 * RUNNING forgets all failures, and an exit after that restarts at once or not at all. */
static unsigned settle(const struct step *s)
{
    struct lifecycle *lc = s->lc;
    const struct lifecycle_policy *policy = s->policy;
    enum lifecycle_rule rule =
        lc->cause == LIFECYCLE_BY_ITSELF ? policy->rule : LIFECYCLE_RULE_NONE;
    enum lifecycle_state rest;

    if (!lc->wanted)
        return rest_in(s, LIFECYCLE_STOPPED);
    if (lc->cause == LIFECYCLE_BY_RESTART)
        return wait_for_needs(s);
    if (policy->oneshot && lc->expected && lc->cause == LIFECYCLE_BY_ITSELF) {
        lc->ready = true; /* done counts as ready for those who wait */
        return rest_in(s, LIFECYCLE_EXITED);
    }
    if (rule == LIFECYCLE_RULE_NEVER)
        return rest_in(s, lc->expected ? LIFECYCLE_EXITED : LIFECYCLE_FAILED);
    if (!wanted_again(s, &rest) && rule == LIFECYCLE_RULE_NONE)
        return rest_in(s, rest);
    /* It left because it was idle.  When somebody waits it has left without accepting, which at its
     * own pace would go round and round. */
    if (policy->at_call && policy->uncalled && lc->reached && lc->expected)
        return wait_for_needs(s);
    if (rule == LIFECYCLE_RULE_AFTER)
        return retry(s, rule);
    if (rule == LIFECYCLE_RULE_NOW && lc->reached && !policy->once)
        return wait_for_needs(s);
    if (lc->reached && !policy->once && (policy->program || !lc->free_used)) {
        lc->free_used = true;
        return wait_for_needs(s);
    }
    return retry_after_failure(s);
}

static unsigned after_clean(const struct step *s)
{
    if (s->policy->post_stop)
        return enter(s, LIFECYCLE_POST_STOP, s->policy->hook_ms, LIFECYCLE_ACT_POST_STOP);
    return settle(s);
}

/* The main process is gone: count it, then see to the rest. */
static unsigned after_exit(const struct step *s, bool expected)
{
    struct lifecycle *lc = s->lc;
    bool healthy = lc->ready_since_ms > 0 &&
                   s->now.mono_ms - lc->ready_since_ms >= s->policy->backoff_reset_ms;

    if (healthy) {
        lc->failures = 0;
        lc->free_used = false;
    } else if (lc->failures > 0 || !lc->reached) {
        lc->free_used = true; /* already in trouble: no immediate restart */
    }
    lc->expected = expected && lc->cause != LIFECYCLE_BY_FAULT;
    lc->ready = false;
    lc->ready_since_ms = 0;
    int64_t left = lc->state == LIFECYCLE_STOPPING && lc->deadline_ms > s->now.mono_ms
                       ? lc->deadline_ms - s->now.mono_ms
                       : s->policy->stop_ms;
    return enter(s, LIFECYCLE_CLEANING, left > 0 ? left : 1, LIFECYCLE_ACT_CLEAN);
}

static unsigned begin_stop(const struct step *s, enum lifecycle_cause cause)
{
    struct lifecycle *lc = s->lc;

    lc->cause = (uint8_t)cause;
    lc->ready = false;
    return enter(s, LIFECYCLE_STOPPING, s->policy->stop_ms > 0 ? s->policy->stop_ms : 1,
                 LIFECYCLE_ACT_SIGNAL);
}

/* Like a stop, but nobody has to tell it: only the deadline is ours. */
static unsigned let_leave(const struct step *s)
{
    begin_stop(s, LIFECYCLE_BY_ITSELF);
    return 0;
}

static unsigned become_running(const struct step *s)
{
    struct lifecycle *lc = s->lc;

    lc->ready = lc->reached = true;
    lc->ready_since_ms = s->now.mono_ms;
    if (s->policy->program)
        lc->failures = 0;
    return enter(s, LIFECYCLE_RUNNING, 0, 0);
}

/* As after its start: not ready in time is a failed start. */
static unsigned prove(const struct step *s)
{
    struct lifecycle *lc = s->lc;

    lc->ready = lc->reached = false;
    lc->ready_since_ms = 0;
    return enter(s, LIFECYCLE_STARTING, s->policy->start_ms > 0 ? s->policy->start_ms : 1,
                 LIFECYCLE_ACT_CHECKS);
}

/* An order while a process is on its way out only changes where settle() will go. */
static unsigned order_while_leaving(const struct step *s, enum lifecycle_event event)
{
    struct lifecycle *lc = s->lc;

    if (event == LIFECYCLE_EV_STOP)
        lc->cause = LIFECYCLE_BY_ORDER;
    else if (event == LIFECYCLE_EV_START || event == LIFECYCLE_EV_RESTART)
        lc->cause = LIFECYCLE_BY_RESTART;
    return 0;
}

static unsigned step_at_rest(const struct step *s, enum lifecycle_event event)
{
    if (event == LIFECYCLE_EV_START || event == LIFECYCLE_EV_RESTART) {
        s->lc->ready = false;
        return wait_for_needs(s);
    }
    if (event == LIFECYCLE_EV_STOP) /* also takes "exited" and "failed" back */
        return rest_in(s, LIFECYCLE_STOPPED);
    return 0;
}

static unsigned step_waiting(const struct step *s, enum lifecycle_event event)
{
    if (event == LIFECYCLE_EV_STOP)
        return rest_in(s, LIFECYCLE_STOPPED);
    if (event == LIFECYCLE_EV_GO)
        return begin(s);
    return 0;
}

/* Its hook is killed; the cause says where it goes then. */
static unsigned leave_pre_start(const struct step *s, enum lifecycle_cause cause)
{
    s->lc->cause = (uint8_t)cause;
    return enter(s, LIFECYCLE_PRE_START, KILL_AGAIN_MS, LIFECYCLE_ACT_KILL_HOOK);
}

static unsigned after_pre_start(const struct step *s, bool ok)
{
    struct lifecycle *lc = s->lc;

    if (!lc->wanted)
        return rest_in(s, LIFECYCLE_STOPPED);
    /* Restarted, or stopped and started again meanwhile: from the beginning, since the release or
     * the settings may be others now. */
    if (lc->cause == LIFECYCLE_BY_RESTART || lc->cause == LIFECYCLE_BY_ORDER)
        return wait_for_needs(s);
    if (ok)
        return spawn(s);
    lc->expected = lc->reached = false;
    return retry_after_failure(s);
}

static unsigned step_pre_start(const struct step *s, enum lifecycle_event event)
{
    switch (event) {
    case LIFECYCLE_EV_STOP:
        return leave_pre_start(s, LIFECYCLE_BY_ORDER);
    case LIFECYCLE_EV_RESTART:
        return leave_pre_start(s, LIFECYCLE_BY_RESTART);
    case LIFECYCLE_EV_TIMEOUT:
        return leave_pre_start(s, (enum lifecycle_cause)s->lc->cause);
    case LIFECYCLE_EV_HOOK_OK:
        return after_pre_start(s, true);
    case LIFECYCLE_EV_HOOK_BAD:
    case LIFECYCLE_EV_NO_SPAWN:
        return after_pre_start(s, false);
    case LIFECYCLE_EV_START:
    case LIFECYCLE_EV_GO:
    case LIFECYCLE_EV_READY:
    case LIFECYCLE_EV_UNREADY:
    case LIFECYCLE_EV_SICK:
    case LIFECYCLE_EV_PROVE:
    case LIFECYCLE_EV_LEAVING:
    case LIFECYCLE_EV_EXIT_OK:
    case LIFECYCLE_EV_EXIT_BAD:
    case LIFECYCLE_EV_EMPTY:
    case LIFECYCLE_NEVENTS:
        break;
    }
    return 0;
}

static unsigned step_starting(const struct step *s, enum lifecycle_event event)
{
    struct lifecycle *lc = s->lc;

    switch (event) {
    case LIFECYCLE_EV_READY:
        return s->policy->oneshot ? 0 : become_running(s);
    case LIFECYCLE_EV_TIMEOUT:
        return s->policy->delay_ready && !s->policy->oneshot ? become_running(s)
                                                             : begin_stop(s, LIFECYCLE_BY_FAULT);
    case LIFECYCLE_EV_SICK: /* the startup check gave up */
        return begin_stop(s, LIFECYCLE_BY_FAULT);
    case LIFECYCLE_EV_LEAVING:
        return let_leave(s);
    case LIFECYCLE_EV_STOP:
        return begin_stop(s, LIFECYCLE_BY_ORDER);
    case LIFECYCLE_EV_RESTART:
        return begin_stop(s, LIFECYCLE_BY_RESTART);
    case LIFECYCLE_EV_NO_SPAWN: /* nothing was started, nothing is to be cleaned */
        lc->expected = false;
        return lc->wanted ? retry_after_failure(s) : rest_in(s, LIFECYCLE_STOPPED);
    case LIFECYCLE_EV_START:
    case LIFECYCLE_EV_GO:
    case LIFECYCLE_EV_HOOK_OK:
    case LIFECYCLE_EV_HOOK_BAD:
    case LIFECYCLE_EV_UNREADY:
    case LIFECYCLE_EV_PROVE:
    case LIFECYCLE_EV_EXIT_OK:
    case LIFECYCLE_EV_EXIT_BAD:
    case LIFECYCLE_EV_EMPTY:
    case LIFECYCLE_NEVENTS:
        break;
    }
    return 0;
}

static unsigned step_running(const struct step *s, enum lifecycle_event event)
{
    struct lifecycle *lc = s->lc;

    switch (event) {
    case LIFECYCLE_EV_STOP:
        return begin_stop(s, LIFECYCLE_BY_ORDER);
    case LIFECYCLE_EV_RESTART:
        return begin_stop(s, LIFECYCLE_BY_RESTART);
    case LIFECYCLE_EV_SICK:
        return begin_stop(s, LIFECYCLE_BY_FAULT);
    case LIFECYCLE_EV_LEAVING:
        return let_leave(s);
    case LIFECYCLE_EV_READY:
        if (!lc->ready)
            lc->ready_since_ms = s->now.mono_ms;
        lc->ready = true;
        return 0;
    case LIFECYCLE_EV_UNREADY:
        lc->ready = false;
        lc->ready_since_ms = 0;
        return 0;
    case LIFECYCLE_EV_PROVE:
        return prove(s);
    case LIFECYCLE_EV_START:
    case LIFECYCLE_EV_GO:
    case LIFECYCLE_EV_HOOK_OK:
    case LIFECYCLE_EV_HOOK_BAD:
    case LIFECYCLE_EV_NO_SPAWN:
    case LIFECYCLE_EV_EXIT_OK:
    case LIFECYCLE_EV_EXIT_BAD:
    case LIFECYCLE_EV_EMPTY:
    case LIFECYCLE_EV_TIMEOUT:
    case LIFECYCLE_NEVENTS:
        break;
    }
    return 0;
}

static unsigned step_leaving(const struct step *s, enum lifecycle_event event)
{
    struct lifecycle *lc = s->lc;
    bool post_stop = lc->state == LIFECYCLE_POST_STOP;

    if (event == LIFECYCLE_EV_EMPTY && lc->state == LIFECYCLE_CLEANING)
        return after_clean(s);
    if (post_stop && (event == LIFECYCLE_EV_HOOK_OK || event == LIFECYCLE_EV_HOOK_BAD ||
                      event == LIFECYCLE_EV_NO_SPAWN))
        return settle(s);
    /* Told to stop before it was known that there is nothing to stop. */
    if (event == LIFECYCLE_EV_NO_SPAWN && traits[lc->state].has_process)
        return after_exit(s, false);
    if (event == LIFECYCLE_EV_TIMEOUT) {
        enum lifecycle_state next =
            lc->state == LIFECYCLE_STOPPING ? LIFECYCLE_KILLING : (enum lifecycle_state)lc->state;
        return enter(s, next, KILL_AGAIN_MS,
                     post_stop ? LIFECYCLE_ACT_KILL_HOOK : LIFECYCLE_ACT_KILL);
    }
    return order_while_leaving(s, event);
}

static unsigned step_backoff(const struct step *s, enum lifecycle_event event)
{
    if (event == LIFECYCLE_EV_STOP)
        return rest_in(s, LIFECYCLE_STOPPED);
    if (event == LIFECYCLE_EV_TIMEOUT || event == LIFECYCLE_EV_START ||
        event == LIFECYCLE_EV_RESTART)
        return wait_for_needs(s);
    return 0;
}

/* An order sets what is wanted and forgives what was; START of one that is well changes nothing. */
static void take_order(struct lifecycle *lc, enum lifecycle_event event)
{
    bool start = event == LIFECYCLE_EV_START || event == LIFECYCLE_EV_RESTART;

    if (start || event == LIFECYCLE_EV_STOP)
        lc->wanted = start;
    if (start && lc->state != LIFECYCLE_RUNNING && lc->state != LIFECYCLE_STARTING) {
        lc->failures = lc->starts = 0;
        lc->free_used = false;
    }
}

unsigned lifecycle_step(struct lifecycle *lc, enum lifecycle_event event,
                        const struct lifecycle_policy *policy, struct lifecycle_now now)
{
    const struct step s = { lc, policy, now };
    enum lifecycle_state state = (enum lifecycle_state)lc->state;

    if (state >= LIFECYCLE_NSTATES)
        return 0;
    take_order(lc, event);
    if ((event == LIFECYCLE_EV_EXIT_OK || event == LIFECYCLE_EV_EXIT_BAD) &&
        traits[state].has_process)
        return after_exit(&s, event == LIFECYCLE_EV_EXIT_OK);
    switch (state) {
    case LIFECYCLE_STOPPED:
    case LIFECYCLE_EXITED:
    case LIFECYCLE_FAILED:
        return step_at_rest(&s, event);
    case LIFECYCLE_WAITING:
        return step_waiting(&s, event);
    case LIFECYCLE_PRE_START:
        return step_pre_start(&s, event);
    case LIFECYCLE_STARTING:
        return step_starting(&s, event);
    case LIFECYCLE_RUNNING:
        return step_running(&s, event);
    case LIFECYCLE_STOPPING:
    case LIFECYCLE_KILLING:
    case LIFECYCLE_CLEANING:
    case LIFECYCLE_POST_STOP:
        return step_leaving(&s, event);
    case LIFECYCLE_BACKOFF:
        return step_backoff(&s, event);
    case LIFECYCLE_NSTATES:
        break;
    }
    return 0;
}

unsigned lifecycle_resume(const struct lifecycle *lc, bool has_process)
{
    switch ((enum lifecycle_state)lc->state) {
    case LIFECYCLE_WAITING:
        return LIFECYCLE_ACT_ASK;
    case LIFECYCLE_PRE_START:
        return LIFECYCLE_ACT_PRE_START;
    case LIFECYCLE_STARTING:
        return has_process ? LIFECYCLE_ACT_CHECKS : LIFECYCLE_ACT_SPAWN | LIFECYCLE_ACT_CHECKS;
    case LIFECYCLE_RUNNING:
        return LIFECYCLE_ACT_CHECKS;
    case LIFECYCLE_STOPPING: /* one that leaves by itself was never told to */
        return lc->cause == LIFECYCLE_BY_ITSELF ? 0 : LIFECYCLE_ACT_SIGNAL;
    case LIFECYCLE_KILLING:
        return LIFECYCLE_ACT_KILL;
    case LIFECYCLE_CLEANING:
        return LIFECYCLE_ACT_CLEAN;
    case LIFECYCLE_POST_STOP:
        return LIFECYCLE_ACT_POST_STOP;
    case LIFECYCLE_STOPPED:
    case LIFECYCLE_BACKOFF:
    case LIFECYCLE_EXITED:
    case LIFECYCLE_FAILED:
    case LIFECYCLE_NSTATES:
        break;
    }
    return 0;
}

bool lifecycle_extend(struct lifecycle *lc, const struct lifecycle_policy *policy, int64_t until_ms)
{
    bool starting = lc->state == LIFECYCLE_STARTING && (policy->oneshot || !policy->delay_ready);

    if ((!starting && lc->state != LIFECYCLE_STOPPING) || lc->deadline_ms == 0 ||
        until_ms <= lc->deadline_ms)
        return false;
    lc->deadline_ms = until_ms;
    return true;
}

static int64_t retimed_start(const struct lifecycle *lc, const struct lifecycle_policy *before,
                             const struct lifecycle_policy *after, int64_t now_ms)
{
    int64_t was = start_limit(before), limit = start_limit(after);

    if (limit <= 0) /* none, or up as soon as it is spawned */
        return after->delay_ready && !after->oneshot ? now_ms : 0;
    if (lc->deadline_ms == 0 || was <= 0)
        return lc->started_ms + limit;
    return lc->deadline_ms + limit - was;
}

static int64_t retimed_wait(const struct lifecycle *lc, const struct lifecycle_policy *before,
                            const struct lifecycle_policy *after, int64_t now_ms)
{
    bool by_rule = after->rule == LIFECYCLE_RULE_AFTER;
    int64_t was = by_rule ? before->rule_ms : before->backoff.max_ms;
    int64_t most = by_rule ? after->rule_ms : after->backoff.max_ms;

    return most < was && lc->deadline_ms > now_ms + most ? now_ms + most : lc->deadline_ms;
}

static int64_t retimed(const struct lifecycle *lc, const struct lifecycle_policy *before,
                       const struct lifecycle_policy *after, int64_t now_ms)
{
    switch ((enum lifecycle_state)lc->state) {
    case LIFECYCLE_STARTING:
        return retimed_start(lc, before, after, now_ms);
    case LIFECYCLE_PRE_START:
    case LIFECYCLE_POST_STOP:
        return lc->deadline_ms + after->hook_ms - before->hook_ms;
    case LIFECYCLE_STOPPING:
    case LIFECYCLE_CLEANING:
        return lc->deadline_ms + after->stop_ms - before->stop_ms;
    case LIFECYCLE_BACKOFF:
        return retimed_wait(lc, before, after, now_ms);
    case LIFECYCLE_STOPPED:
    case LIFECYCLE_WAITING:
    case LIFECYCLE_RUNNING:
    case LIFECYCLE_KILLING:
    case LIFECYCLE_EXITED:
    case LIFECYCLE_FAILED:
    case LIFECYCLE_NSTATES:
        break;
    }
    return lc->deadline_ms;
}

bool lifecycle_retime(struct lifecycle *lc, const struct lifecycle_policy *before,
                      const struct lifecycle_policy *after, int64_t now_ms)
{
    int64_t deadline = retimed(lc, before, after, now_ms);
    bool had_none = lc->deadline_ms == 0 && lc->state != LIFECYCLE_STARTING;

    if (had_none || deadline == lc->deadline_ms)
        return false;
    lc->deadline_ms = deadline != 0 && deadline < now_ms ? now_ms : deadline;
    return true;
}

void lifecycle_forgive(struct lifecycle *lc)
{
    lc->failures = 0;
    lc->free_used = false;
}

bool lifecycle_has_process(enum lifecycle_state state)
{
    return state < LIFECYCLE_NSTATES && traits[state].has_process;
}

bool lifecycle_settled(enum lifecycle_state state)
{
    return state < LIFECYCLE_NSTATES && traits[state].settled;
}

const char *lifecycle_state_name(enum lifecycle_state state)
{
    return state < LIFECYCLE_NSTATES ? traits[state].name : "unknown";
}

const char *lifecycle_supervisord_name(enum lifecycle_state state)
{
    return state < LIFECYCLE_NSTATES ? traits[state].supervisord : "UNKNOWN";
}

const char *lifecycle_detail_name(enum lifecycle_state state)
{
    return state < LIFECYCLE_NSTATES ? traits[state].detail : "unknown";
}

const char *lifecycle_event_name(enum lifecycle_event event)
{
    return event < LIFECYCLE_NEVENTS ? event_names[event] : "unknown";
}
