/* plan_check.c - every instance is made once, and what only shows between them is found. */
#include <stdlib.h>
#include <string.h>

#include "supervisor/plan/instance.h"
#include "supervisor/plan/options.h"
#include "supervisor/plan/plan_build.h"

enum {
    ENOUGH = 2, /* instances that show whether a fixed file name is shared */
    MOST_PORT = 65535,
};

/* One stream of one instance that goes to a file. */
struct log_use {
    const char *path;
    size_t service;
    int64_t number;
    size_t order;
    bool errors; /* stderr */
    bool given;  /* not by default */
};
struct checking {
    struct plan_build *build;
    size_t service;
    int64_t number;
    bool failed;
    struct log_use *uses;
    size_t nuses, room;
};

static void report(void *context, const char *key, const char *what)
{
    struct checking *c = context;
    const struct spec_service *service = &c->build->plan->services[c->service];

    c->failed = true;
    if (service->numprocs > 1)
        plan_build_service_error(c->build, c->service, key, "%s (for %s:%lld)", what, service->name,
                                 (long long)c->number);
    else
        plan_build_service_error(c->build, c->service, key, "%s", what);
}

/* Whether instances can differ in more than their number. */
static bool is_numbered(const struct spec_service *service)
{
    for (size_t i = 0; i < service->ntexts; i++)
        if (options_service.rows[service->texts[i].row].flags & OPTIONS_INSTANCE &&
            (instance_mentions(service->texts[i].text, "process_num") ||
             instance_mentions(service->texts[i].text, "port")))
            return true;
    return false;
}

static void note_use(struct checking *c, const char *path, bool errors)
{
    if (!path || *path != '/')
        return;
    if (c->nuses == c->room) {
        size_t room = c->room ? c->room * 2 : 64;
        struct log_use *uses = plan_build_scratch(c->build, room, sizeof(*uses));
        if (!uses)
            return;
        if (c->nuses)
            memcpy(uses, c->uses, c->nuses * sizeof(*uses));
        c->uses = uses;
        c->room = room;
    }
    const char *copy = arena_strdup(&c->build->scratch, path);
    c->build->no_memory |= !copy;
    if (copy) {
        const struct spec_service *service = &c->build->plan->services[c->service];
        c->uses[c->nuses] = (struct log_use){
            .path = copy,
            .service = c->service,
            .number = c->number,
            .order = c->nuses,
            .errors = errors,
            .given = errors ? service->err.logfile : service->out.logfile,
        };
        c->nuses++;
    }
}

/* To connect to a socket of ours works while nobody serves it: such a check always passes. */
static void check_vain(struct checking *c, const char *key, const struct instance_check *check)
{
    const struct plan *plan = c->build->plan;
    const struct spec_service *service = &plan->services[c->service];

    if ((check->kind != SPEC_CHECK_TCP && check->kind != SPEC_CHECK_UNIX) || check->addr.len == 0)
        return;
    for (size_t i = 0; i < service->nsockets; i++) {
        const struct spec_socket *socket = &plan->sockets[service->socket_index[i]];

        for (size_t k = 0; k < socket->naddrs; k++)
            if (socket->addrs[k].len == check->addr.len &&
                memcmp(&socket->addrs[k].at, &check->addr.at, check->addr.len) == 0)
                plan_build_service_warn(
                    c->build, c->service, key,
                    "always passes, since connections wait in [socket:%s] while "
                    "nobody serves; try http://, notify or fd:N",
                    socket->name);
    }
}

static void check_service(struct checking *c)
{
    const struct spec_service *service = &c->build->plan->services[c->service];
    int64_t count = service->numprocs;
    struct instance_release release = { .id = "000000-00000000" };

    if (count > ENOUGH && !is_numbered(service))
        count = ENOUGH;
    if (count == 0) /* scaled to none; it must be right all the same */
        count = 1;
    c->failed = false;
    for (int64_t i = 0; i < count && !c->failed && service->command; i++) {
        struct arena arena;
        struct instance instance;
        arena_init(&arena);
        c->number = service->set->numprocs_start + i;
        release.dir = service->release
                          ? arena_printf(&arena, "%s/releases/%s", service->release, release.id)
                          : "";
        if (release.dir && instance_try(c->build->plan, service, c->number, &release, &arena,
                                        &instance, report, c) == 0) {
            note_use(c, instance.stdout_log, false);
            note_use(c, instance.stderr_log, true);
            if (i == 0) {
                check_vain(c, "ready", &instance.ready);
                check_vain(c, "startup", &instance.startup);
                check_vain(c, "live", &instance.live);
            }
        }
        c->build->no_memory |= arena.failed;
        arena_done(&arena);
    }
}

static int by_path(const void *a, const void *b)
{
    const struct log_use *x = a, *y = b;
    int order = strcmp(x->path, y->path);

    if (order == 0) /* who got it by default was there first */
        order = x->given - y->given;
    return order ? order : x->order < y->order ? -1 : 1;
}

static const char *key_of(const struct log_use *use)
{
    return use->errors ? "stderr_logfile" : "stdout_logfile";
}

static void set_apart(struct plan *plan, const struct log_use *use)
{
    struct spec_service *service = &plan->services[use->service];
    struct spec_output *output = use->errors ? &service->err : &service->out;

    output->apart = true;
}

/* Uses of one path by more than one stream.  Programs of supervisord often do that; they get
 * files of their own, because two writers of one file would spoil each other's lines. */
static void check_shared(struct plan_build *build, const struct log_use *uses, size_t count)
{
    struct plan *plan = build->plan;
    bool lenient = true;

    for (size_t i = 0; i < count; i++)
        lenient &= plan->services[uses[i].service].kind == SPEC_PROGRAM;
    for (size_t i = 0; i < count; i++) {
        if (lenient)
            set_apart(plan, &uses[i]);
        if (lenient && (i == 0 || uses[i].service != uses[i - 1].service))
            plan_build_service_warn(build, uses[i].service, key_of(&uses[i]),
                                    "%s is shared, each instance writes its own file with -%s-N "
                                    "in the name",
                                    uses[i].path, plan->services[uses[i].service].name);
    }
    for (size_t i = 1; i < count && !lenient; i++) {
        const struct spec_service *first = &plan->services[uses[0].service];
        if (uses[i].service != uses[0].service &&
            strcmp(plan->services[uses[i].service].name, first->name) == 0)
            continue; /* given twice, which was told */
        plan_build_service_error(
            build, uses[i].service, key_of(&uses[i]),
            "%s is also written by %s:%lld (%s:%d), try %%(program_name)s and %%(process_num)d "
            "in the name",
            uses[i].path, first->name, (long long)uses[0].number, first->file, first->line);
        while (i + 1 < count && uses[i + 1].service == uses[i].service)
            i++;
    }
}

static bool count_instances(struct plan_build *build)
{
    int64_t total = 0;

    for (size_t i = 0; i < build->plan->nservices; i++) {
        total += build->plan->services[i].numprocs;
        if (total > PLAN_INSTANCES_MAX) {
            plan_build_service_error(build, i, "numprocs", "more than %d instances in all",
                                     PLAN_INSTANCES_MAX);
            return false;
        }
    }
    return true;
}

/* The ports of a service: from port_base + numprocs_start on, one for each instance. */
static int64_t first_port(const struct spec_service *service)
{
    return service->set->port_base + service->set->numprocs_start;
}

static void check_ports(struct plan_build *build, size_t index)
{
    const struct plan *plan = build->plan;
    const struct spec_service *service = &plan->services[index];
    int64_t first = first_port(service), end = first + service->numprocs;

    if (service->set->port_base == 0)
        return;
    if (end - 1 > MOST_PORT)
        plan_build_service_error(build, index, "port_base",
                                 "the last instance would have port %lld, try a lower one",
                                 (long long)(end - 1));
    for (size_t i = 0; i < index; i++) {
        const struct spec_service *other = &plan->services[i];
        int64_t shared = first > first_port(other) ? first : first_port(other);

        if (other->set->port_base == 0 || shared >= end ||
            shared >= first_port(other) + other->numprocs)
            continue;
        plan_build_service_error(build, index, "port_base",
                                 "port %lld is also that of %s:%lld (%s:%d)", (long long)shared,
                                 other->name, (long long)(shared - other->set->port_base),
                                 other->file, other->line);
        return;
    }
}

/* Who is to start when it is called must be callable. */
static void check_start_on(struct plan_build *build, size_t index)
{
    const struct spec_service *service = &build->plan->services[index];

    if (service->set->start_on != SPEC_START_SOCKET)
        return;
    if (service->set->sockets.count == 0)
        plan_build_service_error(build, index, "start_on",
                                 "socket wants something to wait for, try sockets = NAME");
    else if (service->set->type != SPEC_TYPE_SERVICE)
        plan_build_service_error(build, index, "start_on", "socket wants type = service");
}

/* Nobody can wait for what comes and goes by the clock. */
static void check_not_needed(struct plan_build *build, size_t index)
{
    const struct plan *plan = build->plan;
    const struct spec_service *service = &plan->services[index];

    for (size_t i = 0; i < service->nneeds; i++) {
        const struct spec_service *on = &plan->services[service->needs[i]];
        if (service->need_ready[i] && on->set->type == SPEC_TYPE_SCHEDULED)
            plan_build_service_error(build, index, service->need_hard[i] ? "requires" : "wants",
                                     "%s is scheduled (%s:%d) and runs at its own times, try "
                                     "type = oneshot there",
                                     on->name, on->file, on->line);
    }
}

static void check_schedule(struct plan_build *build, size_t index)
{
    const struct spec_settings *set = build->plan->services[index].set;

    check_not_needed(build, index);
    if (set->type != SPEC_TYPE_SCHEDULED)
        return;
    if (set->schedule.count > 0 && set->every_ms > 0)
        plan_build_service_error(build, index, "every",
                                 "cannot stand beside schedule, take one of them out");
    if (set->on_exit == SPEC_EXIT_SHUTDOWN)
        plan_build_service_error(build, index, "on_exit",
                                 "shutdown would end all with the first run, try type = oneshot");
}

void plan_check_all(struct plan_build *build)
{
    struct checking c = { .build = build };

    if (!count_instances(build))
        return;
    for (size_t i = 0; i < build->plan->nservices && !build->no_memory; i++) {
        c.service = i;
        check_service(&c);
        check_start_on(build, i);
        check_schedule(build, i);
        check_ports(build, i);
    }
    if (c.nuses)
        qsort(c.uses, c.nuses, sizeof(*c.uses), by_path);
    for (size_t i = 0, next; i < c.nuses; i = next) {
        for (next = i + 1; next < c.nuses && strcmp(c.uses[i].path, c.uses[next].path) == 0;)
            next++;
        if (next - i > 1)
            check_shared(build, &c.uses[i], next - i);
    }
}
