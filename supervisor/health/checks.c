/* checks.c - the contract is in checks.h. */
#include "supervisor/health/checks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "supervisor/health/probe.h"

enum which { WHICH_STARTUP, WHICH_READY, WHICH_LIVE, WHICH_COUNT };
static const char *const which_names[WHICH_COUNT] = { "startup", "ready", "live" };

struct check {
    struct checks *owner;
    enum which which;
    struct arena arena; /* owns what the next two point at */
    struct instance_check target;
    struct spec_check timing;
    struct probe *probe;
    int64_t failures, successes; /* in a row */
    int excuses;                 /* time-outs in a row that were not counted */
};

struct checks {
    struct loop *loop;
    struct checks_hands hands;
    struct check all[WHICH_COUNT];
    uint32_t number;
    bool started, ready, faster, freed;
    bool ready_waiting; /* the service said so before its startup check had passed */
    unsigned busy;      /* depth of callbacks; freed only at 0 */
};

static int exec_start(void *context, char *const *argv, size_t *ret_token, struct err *err)
{
    struct checks *checks = ((struct check *)context)->owner;

    return checks->hands.exec_start(checks->hands.context, argv, ret_token, err);
}

static void exec_kill(void *context, size_t token, bool gone)
{
    struct checks *checks = ((struct check *)context)->owner;

    checks->hands.exec_kill(checks->hands.context, token, gone);
}

static void tell(struct checks *checks, enum checks_verdict verdict, const char *reason)
{
    if (!checks->freed)
        checks->hands.verdict(checks->hands.context, verdict, reason);
}

static void on_result(void *context, const struct probe_result *result);

static int begin(struct checks *checks, enum which which, struct err *err)
{
    struct check *check = &checks->all[which];
    const struct probe_hands hands = {
        .context = check, .done = on_result, .exec_start = exec_start, .exec_kill = exec_kill
    };

    if (check->probe || !probe_is_asked(check->target.kind))
        return 0;
    bool eager = which == WHICH_STARTUP || (which == WHICH_READY && !checks->ready);
    check->failures = check->successes = 0;
    check->probe = probe_new(checks->loop, &check->target, &check->timing, &hands,
                             checks->number * WHICH_COUNT + which, eager, err);
    if (!check->probe)
        return err_wrap(err, "%s check", which_names[which]);
    probe_set_faster(check->probe, checks->faster);
    return 0;
}

static int begin_gated(struct checks *checks, struct err *err)
{
    int rc = begin(checks, WHICH_READY, err);

    return rc != 0 ? rc : begin(checks, WHICH_LIVE, err);
}

static void on_startup(struct checks *checks, bool passed, bool failed, const char *reason)
{
    struct err err = { 0 };

    if (failed)
        tell(checks, CHECKS_SICK, reason);
    if (!passed || checks->started)
        return;
    checks->started = true;
    probe_free(checks->all[WHICH_STARTUP].probe);
    checks->all[WHICH_STARTUP].probe = NULL;
    tell(checks, CHECKS_STARTED, reason);
    if (begin_gated(checks, &err) != 0)
        tell(checks, CHECKS_SICK, err.text);
    else if (checks->ready_waiting)
        checks_told_ready(checks);
}

static void on_ready(struct checks *checks, bool passed, bool failed, const char *reason)
{
    if (passed && !checks->ready) {
        checks->ready = true;
        probe_set_eager(checks->all[WHICH_READY].probe, false);
        tell(checks, CHECKS_READY, reason);
    } else if (failed && checks->ready) {
        checks->ready = false;
        tell(checks, CHECKS_UNREADY, reason);
    }
}

static void on_live(struct checks *checks, const struct check *check, bool failed,
                    const char *reason)
{
    if (check->successes == 1)
        tell(checks, CHECKS_ALIVE, reason);
    else if (failed)
        tell(checks, CHECKS_SICK, reason);
}

/* True: the host, not the service, was too slow, so the attempt has no meaning.  What is unknown is
 * said, and counted. */
static bool is_excused(struct check *check, const struct probe_result *result, char *reason,
                       size_t size)
{
    struct checks *checks = check->owner;
    size_t len = strlen(reason);
    const char *where = "";

    if (!result->timed_out)
        check->excuses = 0;
    if (!result->timed_out || !checks->hands.pressure)
        return false;
    switch (checks->hands.pressure(checks->hands.context, &where)) {
    case PRESSURE_UNKNOWN:
        snprintf(reason + len, size - len, " (CPU pressure unknown)");
        return false;
    case PRESSURE_FINE:
        check->excuses = 0;
        return false;
    case PRESSURE_STARVED:
        break;
    }
    if (check->excuses == CHECKS_EXCUSES_MAX) {
        snprintf(reason + len, size - len, " (counted: CPU is short %s all the time)", where);
        return false;
    }
    snprintf(reason + len, size - len, " (not counted: CPU is short %s)", where);
    if (check->excuses++ == 0)
        checks->hands.excused(checks->hands.context, reason);
    return true;
}

static void judge(struct check *check, const struct probe_result *result)
{
    struct checks *checks = check->owner;
    char reason[256];

    snprintf(reason, sizeof reason, "%s check: %s", which_names[check->which], result->text);
    if (is_excused(check, result, reason, sizeof reason)) {
        checks->hands.counted(checks->hands.context, false, reason);
        return;
    }
    check->successes = result->ok ? check->successes + 1 : 0;
    check->failures = result->ok ? 0 : check->failures + 1;
    checks->hands.counted(checks->hands.context, result->ok, reason);
    bool passed = result->ok && check->successes >= check->timing.successes;
    bool failed = !result->ok && check->failures >= check->timing.threshold;
    switch (check->which) {
    case WHICH_STARTUP:
        on_startup(check->owner, passed, failed, reason);
        break;
    case WHICH_READY:
        on_ready(check->owner, passed, failed, reason);
        break;
    case WHICH_LIVE:
        on_live(check->owner, check, failed, reason);
        break;
    case WHICH_COUNT:
        break;
    }
}

static void forget(struct checks *checks)
{
    for (int i = 0; i < WHICH_COUNT; i++)
        arena_done(&checks->all[i].arena);
    free(checks);
}

static void leave(struct checks *checks)
{
    if (--checks->busy == 0 && checks->freed)
        forget(checks);
}

static void on_result(void *context, const struct probe_result *result)
{
    struct check *check = context;
    struct checks *checks = check->owner;

    checks->busy++;
    judge(check, result);
    leave(checks);
}

/* --- what is asked --- */

static bool copy_text(struct arena *arena, const char **text)
{
    *text = *text ? arena_strdup(arena, *text) : NULL;
    return *text;
}

static bool copy_words(struct arena *arena, char ***words)
{
    size_t count = 0;

    while ((*words)[count])
        count++;
    char **copy = arena_array(arena, count + 1, sizeof *copy);
    for (size_t i = 0; copy && i < count; i++) {
        copy[i] = arena_strdup(arena, (*words)[i]);
        if (!copy[i])
            return false;
    }
    *words = copy;
    return copy;
}

/* So that neither the instance nor its plan has to stay. */
static int copy_target(struct check *check, const struct instance_check *target,
                       const struct spec_check *timing, struct err *err)
{
    bool made = true;

    arena_init(&check->arena);
    check->target = *target;
    check->timing = *timing;
    const char **texts[] = { &check->target.host, &check->target.port, &check->target.path,
                             &check->target.authority, &check->timing.target };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        made &= !*texts[i] || copy_text(&check->arena, texts[i]);
    if (target->argv)
        made &= copy_words(&check->arena, &check->target.argv);
    return made ? 0 : err_set(err, ERR_MEMORY, "no memory for checks");
}

static const struct instance_check *target_of(const struct instance *instance, enum which which)
{
    const struct instance_check *const targets[] = { &instance->startup, &instance->ready,
                                                     &instance->live };
    return targets[which];
}

static const struct spec_check *timing_of(const struct instance *instance, enum which which)
{
    const struct spec_settings *set = instance->service->set;
    const struct spec_check *const timings[] = { &set->startup, &set->ready, &set->live };

    return timings[which];
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_target(const struct instance_check *a, const struct instance_check *b)
{
    size_t i = 0;

    if (a->kind != b->kind || a->fd != b->fd || !same_text(a->host, b->host) ||
        !same_text(a->port, b->port) || !same_text(a->path, b->path) ||
        !same_text(a->authority, b->authority) || a->addr.len != b->addr.len ||
        memcmp(&a->addr.at, &b->addr.at, a->addr.len) != 0 || !a->argv != !b->argv)
        return false;
    while (a->argv && a->argv[i] && same_text(a->argv[i], b->argv[i]))
        i++;
    return !a->argv || (!a->argv[i] && !b->argv[i]);
}

struct checks *checks_new(struct loop *loop, const struct instance *instance,
                          const struct checks_hands *hands, uint32_t number, bool started,
                          bool ready, struct err *err)
{
    struct checks *checks = calloc(1, sizeof *checks);
    int rc = 0;

    if (!checks) {
        err_set(err, ERR_MEMORY, "no memory for checks");
        return NULL;
    }
    checks->loop = loop;
    checks->hands = *hands;
    checks->number = number;
    checks->started = started || !probe_is_asked(instance->startup.kind);
    checks->ready = ready;
    for (int i = 0; i < WHICH_COUNT; i++) {
        struct check *check = &checks->all[i];
        check->owner = checks;
        check->which = (enum which)i;
        if (rc == 0)
            rc = copy_target(check, target_of(instance, check->which),
                             timing_of(instance, check->which), err);
    }
    if (rc == 0)
        rc = checks->started ? begin_gated(checks, err) : begin(checks, WHICH_STARTUP, err);
    if (rc != 0) {
        checks_free(checks);
        return NULL;
    }
    return checks;
}

/* The same question at other times, or another one. */
static void take_over(struct check *check, struct check *fresh)
{
    const char *label = check->timing.target;
    bool other_rhythm = check->timing.interval_ms != fresh->timing.interval_ms;

    if (same_target(&check->target, &fresh->target)) {
        check->timing = fresh->timing;
        check->timing.target = label; /* the text may differ where the meaning does not */
        arena_done(&fresh->arena);
        if (check->probe && other_rhythm)
            probe_retime(check->probe);
        return;
    }
    probe_free(check->probe);
    arena_done(&check->arena);
    check->probe = NULL;
    check->arena = fresh->arena;
    check->target = fresh->target;
    check->timing = fresh->timing;
    check->failures = check->successes = 0;
    check->excuses = 0;
}

int checks_follow(struct checks *checks, const struct instance *instance, struct err *err)
{
    struct check fresh[WHICH_COUNT];
    int rc = 0, made = 0;

    while (made < WHICH_COUNT && rc == 0) {
        rc = copy_target(&fresh[made], target_of(instance, (enum which)made),
                         timing_of(instance, (enum which)made), err);
        made++;
    }
    for (int i = 0; i < made; i++) {
        if (rc != 0)
            arena_done(&fresh[i].arena);
        else
            take_over(&checks->all[i], &fresh[i]);
    }
    if (rc != 0)
        return rc;
    if (!probe_is_asked(instance->startup.kind))
        checks->started = true;
    return checks->started ? begin_gated(checks, err) : begin(checks, WHICH_STARTUP, err);
}

void checks_free(struct checks *checks)
{
    if (!checks || checks->freed)
        return;
    checks->freed = true;
    for (int i = 0; i < WHICH_COUNT; i++) {
        probe_free(checks->all[i].probe);
        checks->all[i].probe = NULL;
    }
    if (checks->busy == 0)
        forget(checks);
}

void checks_told_ready(struct checks *checks)
{
    if (!checks->started) {
        checks->ready_waiting = true;
        return;
    }
    if (checks->ready)
        return;
    checks->ready = true;
    checks->busy++;
    tell(checks, CHECKS_READY, "it said so itself");
    leave(checks);
}

void checks_exec_ended(struct checks *checks, size_t token, const char *unstarted, bool signalled,
                       int status)
{
    checks->busy++;
    for (int i = 0; i < WHICH_COUNT && !checks->freed; i++)
        if (checks->all[i].probe)
            probe_exec_ended(checks->all[i].probe, token, unstarted, signalled, status);
    leave(checks);
}

void checks_set_faster(struct checks *checks, bool faster)
{
    checks->faster = faster;
    for (int i = 0; i < WHICH_COUNT; i++)
        if (checks->all[i].probe)
            probe_set_faster(checks->all[i].probe, faster);
}
