/* release_set.c - the contract is in release_set.h. */
#include "supervisor/release/release_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/unit.h"
#include "io/jsonx.h"

enum { RETRY_SAVE_MS = 5000, PATIENCE_MAX_MS = 3600 * 1000, STEP_MIN_MS = 1000 };

static void on_timer(void *context);
static void on_retry(void *context);

struct release_set *release_set_new(struct release_set_world *world, const char *path)
{
    struct release_set *set = calloc(1, sizeof *set);

    if (!set)
        return NULL;
    set->world = world;
    set->path = strdup(path);
    set->timer = loop_timer_new(world->loop, on_timer, set);
    set->retry = loop_timer_new(world->loop, on_retry, set);
    set->machine.step_ms = STEP_MIN_MS;
    if (set->path && set->timer && set->retry)
        return set;
    release_set_free(set);
    return NULL;
}

static void free_services(struct release_set_service *services, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(services[i].name);
    free(services);
}

void release_set_free(struct release_set *set)
{
    if (!set)
        return;
    loop_timer_free(set->timer);
    loop_timer_free(set->retry);
    free_services(set->services, set->nservices);
    free(set->machine.members);
    free(set->path);
    free(set);
}

void release_set_event(const struct release_set *set, const char *kind, json_t *details)
{
    const struct release_set_world *world = set->world;

    if (!details)
        details = json_object();
    if (!world->hands.event) {
        json_decref(details);
        return;
    }
    jsonx_set_text(details, "path", set->path);
    json_t *names = json_array();
    for (size_t i = 0; i < set->nservices; i++)
        json_array_append_new(names, json_string(set->services[i].name));
    json_object_set_new(details, "services", names);
    world->hands.event(world->hands.context, kind, details);
}

static json_t *details_of(const char *release, const char *from, const char *reason)
{
    json_t *details = json_object();

    jsonx_set_text(details, "release", release);
    jsonx_set_text(details, "from", from[0] ? from : NULL);
    if (reason[0])
        jsonx_set_text(details, "reason", reason);
    return details;
}

/* Saves what the machine has now. */
static int save(struct release_set *set, struct err *err)
{
    struct release_set_world *world = set->world;

    set->pin.release = set->machine.pin;
    memcpy(set->pin.boot_id, world->boot_id, sizeof set->pin.boot_id);
    return pin_save(&world->place, set->path, &set->pin, &set->saved, err);
}

/* What happens by itself is not stopped by a disk that cannot be written now: undoing a bad release
 * matters more.  It is written as soon as that works. */
static void save_or_retry(struct release_set *set)
{
    struct err err;

    if (save(set, &err) == 0) {
        loop_timer_disarm(set->retry);
        return;
    }
    if (set->world->place.dirfd < 0)
        return; /* as announced: in memory only */
    if (!loop_timer_armed(set->retry)) {
        json_t *details = json_object();
        jsonx_set_text(details, "error", err.text);
        release_set_event(set, "release.unsaved", details);
    }
    loop_timer_arm(set->retry, RETRY_SAVE_MS);
}

static void on_retry(void *context)
{
    struct release_set *set = context;
    struct err err;

    if (save(set, &err) < 0)
        loop_timer_arm(set->retry, RETRY_SAVE_MS);
    else
        release_set_event(set, "release.saved", NULL);
}

int release_set_commit(struct release_set *set, const struct release *before, struct err *err)
{
    if (!set->machine.commit)
        return 0;
    int rc = save(set, err);
    if (rc < 0 && set->world->place.dirfd >= 0) {
        set->machine = *before;
        save_or_retry(set); /* a newer text may have been remembered */
        return rc;
    }
    loop_timer_disarm(set->retry);
    set->machine.commit = false;
    return 0;
}

void release_set_commit_anyway(struct release_set *set)
{
    set->machine.commit = false;
    save_or_retry(set);
}

int release_set_open(const struct release_set *set, struct err *err)
{
    int fd = -1;

    for (size_t i = 0; i < set->nservices; i++) {
        bool known = false;
        for (size_t j = 0; j < i; j++)
            known = known || set->services[j].owner == set->services[i].owner;
        if (known)
            continue;
        int other = pin_open_set(set->path, set->services[i].owner, err);
        if (fd >= 0)
            close(fd);
        if (other < 0)
            return other;
        fd = other;
    }
    return fd >= 0 ? fd : err_set(err, ERR_STATE, "%s has no services", set->path);
}

bool release_set_has(const struct release_set *set, const char *id, struct err *err)
{
    AUTO_CLOSE int set_fd = release_set_open(set, err);

    if (set_fd < 0)
        return false;
    AUTO_CLOSE int fd = pin_open_release(set_fd, set->path, id, err);
    return fd >= 0;
}

/* The links are for people: what goes wrong with them is told, and mended at the next start. */
static void write_links(struct release_set *set)
{
    struct err err;

    if (!set->machine.pin.id[0] && set->machine.pin.last.result == RELEASE_RESULT_NONE &&
        set->machine.pin.phase == RELEASE_NONE)
        return; /* nothing of it was ever ours */
    AUTO_CLOSE int fd = release_set_open(set, &err);
    int rc = fd < 0 ? fd : pin_write_links(fd, &set->machine.pin, &err);
    if (rc < 0) {
        json_t *details = json_object();
        jsonx_set_text(details, "error", err.text);
        release_set_event(set, "release.links_failed", details);
    }
}

static struct release_set_service *service_of(const struct release_set *set, size_t member)
{
    size_t i = 0;

    while (i + 1 < set->nservices && set->services[i + 1].first <= member)
        i++;
    return &set->services[i];
}

void release_set_member_name(const struct release_set *set, size_t member, char *name, size_t size)
{
    const struct release_set_service *service = service_of(set, member);

    snprintf(name, size, "%s:%lld", service->name,
             (long long)service->number + (long long)(member - service->first));
}

/* Services stop in the reverse of the order in which they start, one after another. */
static void stop_next(struct release_set *set)
{
    const struct releases_hands *hands = &set->world->hands;

    if (set->stopping == 0)
        release_stopped(&set->machine);
    else
        hands->stop_all(hands->context, set->services[set->stopping - 1].service);
}

/* One did not stop in time: the rest is not kept waiting for it. */
static void stop_rest(struct release_set *set)
{
    const struct releases_hands *hands = &set->world->hands;

    while (set->stopping > 1)
        hands->stop_all(hands->context, set->services[--set->stopping - 1].service);
    set->stopping = 0;
}

static void replace(struct release_set *set, const struct release_act *act)
{
    const struct releases_hands *hands = &set->world->hands;
    const struct release_set_service *service = service_of(set, act->member);
    char name[128], id[RELEASE_ID_MAX];
    json_t *details = json_object();

    release_set_member_name(set, act->member, name, sizeof name);
    snprintf(id, sizeof id, "%s", act->id); /* the machine may change under the hand */
    jsonx_set_text(details, "instance", name);
    jsonx_set_text(details, "release", id);
    release_set_event(set, "release.replace", details);
    hands->replace(hands->context, service->service, act->member - service->first, id);
}

static void bake(const struct release_set *set, bool on)
{
    const struct releases_hands *hands = &set->world->hands;

    for (size_t i = 0; i < set->nservices; i++)
        hands->probe_faster(hands->context, set->services[i].service, on);
}

void release_set_tell(const struct release_set *set, releases_done_fn *done, void *context)
{
    const struct release_pin *pin = &set->machine.pin;
    struct release_last last = pin->last; /* `done` may give the next order */
    char pinned[RELEASE_ID_MAX];
    struct releases_answer answer = {
        .result = last.result,
        .path = set->path,
        .id = last.id,
        .from = last.from,
        .pinned = pinned,
        .reason = last.reason,
        .warning = set->world->place.dirfd < 0 ? set->world->place.why.text : "",
        .confirmed = pin->phase == RELEASE_STEADY,
        .deadline_ms = -1,
    };

    memcpy(pinned, pin->id, sizeof pinned);
    if (pin->phase == RELEASE_UNCONFIRMED) {
        int64_t left_ms = pin->deadline_ms - clock_boot_ms();
        answer.deadline_ms = left_ms > 0 ? left_ms : 0;
    }
    done(context, &answer, NULL);
}

bool release_set_wait(struct release_set *set, releases_done_fn *done, void *context)
{
    struct release_set_asker *asker = calloc(1, sizeof *asker), **end = &set->askers;

    if (!asker)
        return false;
    asker->done = done;
    asker->context = context;
    while (*end)
        end = &(*end)->next;
    *end = asker;
    return true;
}

static void answer(struct release_set *set)
{
    const struct release_last *last = &set->machine.pin.last;
    char kind[64];

    snprintf(kind, sizeof kind, "release.%s", release_result_name(last->result));
    release_set_event(set, kind, details_of(last->id, last->from, last->reason));
    /* Only those who wait now: `done` may put in the next one. */
    struct release_set_asker *asker = set->askers;
    set->askers = NULL;
    while (asker) {
        struct release_set_asker *next = asker->next;
        release_set_tell(set, asker->done, asker->context);
        free(asker);
        asker = next;
    }
}

void release_set_give_up(struct release_set *set, const struct err *err)
{
    struct release_set_asker *asker = set->askers;

    set->askers = NULL;
    while (asker) {
        struct release_set_asker *next = asker->next;
        asker->done(asker->context, NULL, err);
        free(asker);
        asker = next;
    }
}

static void arm(struct release_set *set, int64_t at_ms)
{
    int64_t delay_ms = at_ms - clock_boot_ms();

    if (at_ms == 0)
        loop_timer_disarm(set->timer);
    else
        loop_timer_arm(set->timer, delay_ms > 0 ? delay_ms : 0);
}

static void perform(struct release_set *set, const struct release_act *act)
{
    switch (act->kind) {
    case RELEASE_ACT_COMMIT:
        save_or_retry(set);
        return;
    case RELEASE_ACT_LINKS:
        write_links(set);
        return;
    case RELEASE_ACT_ARM:
        arm(set, act->at_ms);
        return;
    case RELEASE_ACT_REPLACE:
        replace(set, act);
        return;
    case RELEASE_ACT_STOP_ALL:
        set->stopping = set->nservices;
        stop_next(set);
        return;
    case RELEASE_ACT_BAKE:
        bake(set, act->on);
        return;
    case RELEASE_ACT_ANSWER:
        answer(set);
        return;
    case RELEASE_ACT_NONE:
    case RELEASE_NACTS:
        return;
    }
}

void release_set_drive(struct release_set *set)
{
    struct release_act act;

    if (set->performing || !set->world->begun)
        return;
    set->performing = true;
    while (release_next(&set->machine, clock_boot_ms(), &act))
        perform(set, &act);
    set->performing = false;
}

/* A fact was noted: if it turned the set around, say so before the acts that follow. */
static void after_fact(struct release_set *set, enum release_phase before)
{
    const struct release_pin *pin = &set->machine.pin;

    if (pin->phase == RELEASE_REVERTING && before != RELEASE_REVERTING)
        release_set_event(set, "release.reverting", details_of(pin->undone, pin->id, pin->reason));
    release_set_drive(set);
}

static void tell_not_ready(struct release_set *set, size_t member, const char *reason)
{
    char name[128];
    json_t *details = json_object();

    release_set_member_name(set, member, name, sizeof name);
    jsonx_set_text(details, "instance", name);
    jsonx_set_text(details, "release", set->machine.pin.id);
    jsonx_set_text(details, "reason", reason);
    release_set_event(set, "release.not_ready", details);
}

void release_set_ready(struct release_set *set, size_t slot, size_t instance, const char *id)
{
    if (instance >= set->services[slot].instances)
        return;
    release_ready(&set->machine, set->services[slot].first + instance, id);
    release_set_drive(set);
}

void release_set_down(struct release_set *set, size_t slot, size_t instance, const char *id,
                      const char *reason)
{
    const struct release_set_service *service = &set->services[slot];
    enum release_phase before = set->machine.pin.phase;
    size_t at = service->first + instance;
    char text[RELEASE_REASON_MAX], name[128];

    if (instance >= service->instances)
        return;
    bool gave_up = set->machine.members[at].gave_up;
    release_set_member_name(set, at, name, sizeof name);
    snprintf(text, sizeof text, "%s: %s", name, reason);
    release_down(&set->machine, at, id, text);
    if (set->machine.members[at].gave_up && !gave_up && set->machine.pin.phase == before)
        tell_not_ready(set, at, reason);
    after_fact(set, before);
}

void release_set_stopped(struct release_set *set, size_t slot)
{
    if (set->stopping == 0 || slot != set->stopping - 1)
        return;
    set->stopping--;
    stop_next(set);
    release_set_drive(set);
}

static const char *check_of(const struct release_set *set, size_t member)
{
    const struct releases_hands *hands = &set->world->hands;
    const struct release_set_service *service = service_of(set, member);

    return hands->check ? hands->check(hands->context, service->service, member - service->first)
                        : "";
}

static void timeout_reason(const struct release_set *set, char *text, size_t size)
{
    const struct release_pin *pin = &set->machine.pin;
    char name[128] = "it", time[UNIT_TEXT_MAX];
    const char *check = "";
    size_t at = release_waiting_for(&set->machine);

    if (at < set->machine.nmembers) {
        release_set_member_name(set, at, name, sizeof name);
        check = check_of(set, at);
    }
    if (pin->phase == RELEASE_UNCONFIRMED)
        snprintf(text, size, "not confirmed within %s", unit_duration_text(pin->lease_ms, time));
    else
        snprintf(text, size, "%s was not ready within %s%s%s%s", name,
                 unit_duration_text(pin->ready_ms, time), *check ? " (" : "", check,
                 *check ? ")" : "");
}

static void on_timer(void *context)
{
    struct release_set *set = context;
    enum release_phase before = set->machine.pin.phase;
    size_t at = release_waiting_for(&set->machine);
    bool gave_up = at < set->machine.nmembers && set->machine.members[at].gave_up;
    char reason[RELEASE_REASON_MAX];

    timeout_reason(set, reason, sizeof reason);
    release_time(&set->machine, clock_boot_ms(), reason);
    if (before == RELEASE_REVERTING && at < set->machine.nmembers &&
        set->machine.members[at].gave_up && !gave_up)
        tell_not_ready(set, at, "not ready in time");
    if (set->machine.stopped)
        stop_rest(set);
    after_fact(set, before);
}

/* A set without a whole pin starts nothing: running some release by guess is worse than waiting for
 * a person to name one. */
static void load_failed(struct release_set *set, const struct err *err)
{
    json_t *details = json_object();

    set->damaged = true;
    err_set(&set->problem, err->code, "%s; `supervisor switch %s RELEASE` names what it shall run",
            err->text, set->nservices ? set->services[0].name : "NAME");
    jsonx_set_text(details, "error", set->problem.text);
    release_set_event(set, "release.pin_damaged", details);
}

static enum release_start start_of(const struct release_set *set, enum releases_start start)
{
    if (strcmp(set->pin.boot_id, set->world->boot_id) != 0)
        return RELEASE_REBOOTED;
    return start == RELEASES_START_ADOPTING ? RELEASE_CORE_RESTARTED : RELEASE_FRESH;
}

void release_set_load(struct release_set *set, enum releases_start start)
{
    struct err err, damage;
    enum release_start how = RELEASE_FRESH;
    int rc = pin_load(&set->world->place, set->path, &set->pin, &damage, &err);

    if (rc == 0) {
        set->machine.pin = set->pin.release;
        how = start_of(set, start);
    } else if (rc != ERR_NOT_FOUND) {
        load_failed(set, &err);
    }
    if (rc == 0 && damage.code != ERR_NONE) {
        json_t *details = json_object();
        jsonx_set_text(details, "error", damage.text);
        jsonx_set_text(details, "used", "another whole copy");
        release_set_event(set, "release.pin_damaged", details);
        set->machine.commit = true; /* both copies become whole again */
    }
    enum release_phase before = set->machine.pin.phase;
    release_begin(&set->machine, how, clock_boot_ms());
    const struct release_last *last = &set->machine.pin.last;
    if (set->machine.pin.phase != before && last->result == RELEASE_RESULT_REVERTED)
        release_set_event(set, "release.reverted", details_of(last->id, last->from, last->reason));
    if (set->machine.commit) /* before the first start, not when the loop turns */
        release_set_commit_anyway(set);
}

/* Members keep what is known of them: by name of the service and number of the instance. */
static void carry_over(const struct release_set *set, const struct release_set_service *service,
                       struct release_member *members)
{
    for (size_t i = 0; i < set->nservices; i++) {
        const struct release_set_service *old = &set->services[i];
        size_t count = old->instances < service->instances ? old->instances : service->instances;
        if (strcmp(old->name, service->name) == 0)
            memcpy(&members[service->first], &set->machine.members[old->first],
                   count * sizeof *members);
    }
}

void release_set_take(struct release_set *set, struct release_set_service *services, size_t count,
                      struct release_member *members)
{
    size_t nmembers = 0;
    int64_t step_ms = STEP_MIN_MS;

    for (size_t i = 0; i < count; i++) {
        services[i].first = nmembers;
        nmembers += services[i].instances;
        if (services[i].timeout_ms > step_ms)
            step_ms = services[i].timeout_ms;
        carry_over(set, &services[i], members);
    }
    free(set->machine.members);
    free_services(set->services, set->nservices);
    set->machine.members = members;
    set->machine.nmembers = nmembers;
    set->machine.step_ms = step_ms;
    set->machine.stop_asked = set->machine.stopped; /* ask again: the services may be others */
    set->services = services;
    set->nservices = count;
}

int64_t release_set_patience_ms(const struct release_set *set)
{
    int64_t sum_ms = 0;

    for (size_t i = 0; i < set->nservices && sum_ms < PATIENCE_MAX_MS; i++)
        sum_ms += set->services[i].timeout_ms * (int64_t)set->services[i].instances;
    if (sum_ms > PATIENCE_MAX_MS)
        sum_ms = PATIENCE_MAX_MS;
    return sum_ms < STEP_MIN_MS ? STEP_MIN_MS : sum_ms;
}
