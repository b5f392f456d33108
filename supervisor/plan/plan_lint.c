/* plan_lint.c - the contract is in plan_lint.h. */
#include "supervisor/plan/plan_lint.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/unit.h"
#include "supervisor/plan/instance.h"
#include "supervisor/plan/options.h"

struct linting {
    const struct plan *plan;
    const struct plan_source *source;
    struct err_list *warnings;
    struct arena arena;
    struct target *targets; /* of all checks by address, of two instances of each service */
    size_t ntargets, room;
};

/* An address that a check asks. */
struct target {
    const struct addr *addr;
    const char *key;
    size_t service, order;
};

void plan_lint_add(const struct plan_source *source, const struct spec_service *service,
                   const char *key, struct err_list *warnings, const char *fmt, ...)
{
    const struct opt *row = key ? opt_find(&options_service, key) : NULL;
    const struct spec_place *place =
        row && service->places ? &service->places[row - options_service.rows] : NULL;
    bool given = place && place->line > 0;
    char text[512];
    va_list args;

    va_start(args, fmt);
    if (vsnprintf(text, sizeof(text), fmt, args) < 0)
        text[0] = '\0';
    va_end(args);
    err_list_add(warnings, "%s:%d: [%s:%s]%s%s%s %s",
                 given ? plan_source_path(source, place->file) : service->file,
                 given ? place->line : service->line,
                 service->kind == SPEC_PROGRAM ? "program" : "service", service->name,
                 key ? " " : "", key ? key : "", key ? ":" : "", text);
}

#define WARN(l, service, key, ...)                                                                 \
    plan_lint_add((l)->source, (service), (key), (l)->warnings, __VA_ARGS__)

/* --- one service --- */

static void look_at_needs(struct linting *l, const struct spec_service *service)
{
    for (size_t i = 0; i < service->nneeds; i++) {
        const struct spec_service *on = &l->plan->services[service->needs[i]];
        if (service->need_hard[i] && service->autostart && !on->autostart)
            WARN(l, service, "requires",
                 "waits for %s, which has autostart = false: nobody starts it until it is ordered",
                 on->name);
    }
}

/* Whether a check sees only this process, and not another one at the same address. */
static bool is_own_proof(const char *target)
{
    return target && (strcmp(target, "notify") == 0 || strncmp(target, "fd:", 3) == 0 ||
                      strncmp(target, "log:", 4) == 0);
}

static void look_at_overlap(struct linting *l, const struct spec_service *service)
{
    const char *ready = service->set->ready.target;

    if (service->set->restart_mode != SPEC_OVERLAP)
        return;
    if (!ready || strcmp(ready, "delay") == 0)
        WARN(l, service, "restart_mode",
             "overlap without ready: the old process leaves as soon as the new one was up for "
             "startsecs, whether it serves or not");
    else if (!is_own_proof(ready) && strncmp(ready, "exec:", 5) != 0 && service->nsockets == 0)
        WARN(l, service, "restart_mode",
             "overlap without sockets: two processes cannot listen at %s, try a [socket:NAME]",
             ready);
}

static void look_at_times(struct linting *l, const struct spec_service *service)
{
    const struct spec_settings *set = service->set;
    const struct {
        const char *key;
        const struct spec_check *check;
    } checks[] = { { "live_timeout", &set->live }, { "startup_timeout", &set->startup } };
    char longer[UNIT_TEXT_MAX], shorter[UNIT_TEXT_MAX];

    if (set->stopwaitsecs_ms > l->plan->supervisor.shutdown_timeout_ms)
        WARN(l, service, "stopwaitsecs",
             "%s is longer than shutdown_timeout of [supervisor], %s: a shutdown does not wait for "
             "it",
             unit_duration_text(set->stopwaitsecs_ms, longer),
             unit_duration_text(l->plan->supervisor.shutdown_timeout_ms, shorter));
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
        if (checks[i].check->target && checks[i].check->timeout_ms > checks[i].check->interval_ms)
            WARN(l, service, checks[i].key, "%s is longer than the time between two checks, %s",
                 unit_duration_text(checks[i].check->timeout_ms, longer),
                 unit_duration_text(checks[i].check->interval_ms, shorter));
}

static void look_at_habits(struct linting *l, const struct spec_service *service)
{
    const struct spec_settings *set = service->set;

    if (set->stopsignal == SIGKILL)
        WARN(l, service, "stopsignal", "KILL leaves it no time to finish, try TERM");
    if (set->type != SPEC_TYPE_SERVICE && set->live.target)
        WARN(l, service, "live",
             "a oneshot is done when it ends, so this restarts what takes long");
    if (set->type == SPEC_TYPE_ONESHOT && set->restart_mode == SPEC_OVERLAP)
        WARN(l, service, "restart_mode", "overlap makes a oneshot run twice at the same time");
}

static bool is_given(const struct spec_service *service, const char *key)
{
    const struct opt *row = opt_find(&options_service, key);

    return row && spec_text(service, (size_t)(row - options_service.rows));
}

/* Keys that only mean something to what runs by the clock. */
static void look_at_schedule(struct linting *l, const struct spec_service *service)
{
    static const char *const keys[] = { "schedule",           "every",    "schedule_jitter",
                                        "concurrency_policy", "catch_up", "starting_deadline" };
    const struct spec_settings *set = service->set;
    char jitter[UNIT_TEXT_MAX], every[UNIT_TEXT_MAX];

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (set->type != SPEC_TYPE_SCHEDULED && is_given(service, keys[i]))
            WARN(l, service, keys[i], "has no effect without type = scheduled");
    if (set->type == SPEC_TYPE_SERVICE && set->run_timeout_ms > 0)
        WARN(l, service, "run_timeout", "has no effect with type = service, which runs on");
    if (is_given(service, "schedule_timezone") && set->schedule.count == 0)
        WARN(l, service, "schedule_timezone", "has no effect without schedule");
    if (set->every_ms > 0 && set->schedule_jitter_ms >= set->every_ms)
        WARN(l, service, "schedule_jitter", "%s is no less than the time between two runs, %s",
             unit_duration_text(set->schedule_jitter_ms, jitter),
             unit_duration_text(set->every_ms, every));
}

/* --- addresses --- */

static void note_target(struct linting *l, size_t service, const char *key,
                        const struct instance_check *check)
{
    if (check->addr.len == 0)
        return;
    if (l->ntargets == l->room) {
        size_t room = l->room ? l->room * 2 : 64;
        struct target *targets = arena_array(&l->arena, room, sizeof(*targets));
        if (!targets)
            return;
        if (l->ntargets)
            memcpy(targets, l->targets, l->ntargets * sizeof(*targets));
        l->targets = targets;
        l->room = room;
    }
    struct addr *copy = arena_alloc(&l->arena, sizeof(*copy));
    if (!copy)
        return;
    *copy = check->addr;
    l->targets[l->ntargets] = (struct target){ copy, key, service, l->ntargets };
    l->ntargets++;
}

static void collect_targets(struct linting *l, size_t index)
{
    enum { ENOUGH = 2 }; /* instances that show whether an address is shared */
    const struct spec_service *service = &l->plan->services[index];
    const struct instance_release none = { .id = "", .dir = "" };

    for (int64_t i = 0; i < ENOUGH && i < service->numprocs; i++) {
        struct instance made;
        struct arena arena;
        struct err err;
        arena_init(&arena);
        if (instance_make(l->plan, service, service->set->numprocs_start + i, &none, NULL, false,
                          &arena, &made, &err) == 0) {
            note_target(l, index, "ready", &made.ready);
            note_target(l, index, "live", &made.live);
            note_target(l, index, "startup", &made.startup);
        }
        arena_done(&arena);
    }
}

static int compare_addrs(const struct addr *a, const struct addr *b)
{
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return memcmp(&a->at, &b->at, a->len);
}

static int by_address(const void *a, const void *b)
{
    const struct target *x = a, *y = b;
    int order = compare_addrs(x->addr, y->addr);

    return order ? order : x->order < y->order ? -1 : 1;
}

static bool share_socket(const struct spec_service *a, const struct spec_service *b)
{
    for (size_t i = 0; i < a->nsockets; i++)
        for (size_t k = 0; k < b->nsockets; k++)
            if (a->socket_index[i] == b->socket_index[k])
                return true;
    return false;
}

/* Checks that ask one address, the first of each service; only one of them can be what listens. */
static void look_at_shared(struct linting *l, const struct target *targets, size_t count)
{
    const struct spec_service *first = &l->plan->services[targets[0].service];
    size_t told = targets[0].service, own = 0;
    char text[ADDR_TEXT_MAX];

    addr_text(targets[0].addr, text);
    for (size_t i = 0; i < count; i++)
        own +=
            targets[i].service == targets[0].service && strcmp(targets[i].key, targets[0].key) == 0;
    if (own > 1 && first->nsockets == 0)
        WARN(l, first, targets[0].key,
             "all instances are asked at %s, try %%(process_num)d in the port", text);
    for (size_t i = 1; i < count; i++) {
        const struct spec_service *other = &l->plan->services[targets[i].service];
        if (targets[i].service == told || targets[i].service == targets[0].service ||
            share_socket(first, other))
            continue;
        told = targets[i].service;
        WARN(l, other, targets[i].key, "%s is also asked of %s (%s:%d); only one can listen there",
             text, first->name, first->file, first->line);
    }
}

static bool uses_socket(const struct spec_service *service, size_t socket)
{
    for (size_t i = 0; i < service->nsockets; i++)
        if (service->socket_index[i] == socket)
            return true;
    return false;
}

/* A check that a socket of somebody else answers: connections to it queue, whoever lives. */
static void look_at_foreign_sockets(struct linting *l, const struct target *target)
{
    const struct spec_service *service = &l->plan->services[target->service];
    char text[ADDR_TEXT_MAX];

    for (size_t i = 0; i < l->plan->nsockets; i++)
        for (size_t k = 0; k < l->plan->sockets[i].naddrs; k++)
            if (!uses_socket(service, i) &&
                compare_addrs(&l->plan->sockets[i].addrs[k], target->addr) == 0)
                WARN(l, service, target->key, "%s is [socket:%s], which it does not use",
                     addr_text(target->addr, text), l->plan->sockets[i].name);
}

static void look_at_targets(struct linting *l)
{
    if (l->ntargets)
        qsort(l->targets, l->ntargets, sizeof(*l->targets), by_address);
    for (size_t i = 0, next; i < l->ntargets; i = next) {
        for (next = i + 1;
             next < l->ntargets && compare_addrs(l->targets[i].addr, l->targets[next].addr) == 0;)
            next++;
        if (next - i > 1)
            look_at_shared(l, &l->targets[i], next - i);
    }
    for (size_t i = 0; i < l->ntargets; i++)
        look_at_foreign_sockets(l, &l->targets[i]);
}

static int port_of(const struct addr *addr, bool *ret_any)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&addr->at;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&addr->at;

    *ret_any = false;
    if (addr->at.ss_family == AF_INET) {
        *ret_any = in->sin_addr.s_addr == htonl(INADDR_ANY);
        return ntohs(in->sin_port);
    }
    if (addr->at.ss_family == AF_INET6) {
        *ret_any = IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
        return ntohs(in6->sin6_port);
    }
    return 0;
}

/* 0.0.0.0:80 and 127.0.0.1:80: the second cannot be opened. */
static bool cannot_both(const struct addr *a, const struct addr *b)
{
    bool any_a, any_b;
    int port_a = port_of(a, &any_a), port_b = port_of(b, &any_b);

    return a->at.ss_family == b->at.ss_family && port_a && port_a == port_b && any_a != any_b;
}

static void compare_sockets(struct linting *l, const struct spec_socket *a,
                            const struct spec_socket *b)
{
    char one[ADDR_TEXT_MAX], other[ADDR_TEXT_MAX];

    for (size_t i = 0; i < a->naddrs; i++)
        for (size_t k = 0; k < b->naddrs; k++)
            if (cannot_both(&a->addrs[i], &b->addrs[k]) && !(a->reuse_port && b->reuse_port))
                err_list_add(l->warnings,
                             "%s:%d: [socket:%s] listen: %s cannot be opened beside %s of "
                             "[socket:%s] (%s:%d)",
                             b->file, b->line, b->name, addr_text(&b->addrs[k], other),
                             addr_text(&a->addrs[i], one), a->name, a->file, a->line);
}

void plan_lint(const struct plan *plan, const struct plan_source *source, struct err_list *warnings)
{
    struct linting l = { .plan = plan, .source = source, .warnings = warnings };

    arena_init(&l.arena);
    for (size_t i = 0; i < plan->nservices; i++) {
        look_at_needs(&l, &plan->services[i]);
        look_at_overlap(&l, &plan->services[i]);
        look_at_times(&l, &plan->services[i]);
        look_at_habits(&l, &plan->services[i]);
        look_at_schedule(&l, &plan->services[i]);
        collect_targets(&l, i);
    }
    look_at_targets(&l);
    for (size_t i = 0; i < plan->nsockets; i++)
        for (size_t k = i + 1; k < plan->nsockets; k++)
            compare_sockets(&l, &plan->sockets[i], &plan->sockets[k]);
    arena_done(&l.arena);
}
