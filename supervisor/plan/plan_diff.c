/* plan_diff.c - the contract is in plan.h. */
#include <stdlib.h>
#include <string.h>

#include "supervisor/plan/instance.h"
#include "supervisor/plan/options.h"
#include "supervisor/plan/plan.h"

struct diffing {
    const struct plan *before, *after;
    struct arena *arena;
    struct plan_diff *ret;
    bool same_environment;
    bool no_memory;
};

const char *plan_change_name(enum plan_change change)
{
    static const char *const names[] = {
        /* clang-format off */
        [PLAN_SAME]    = "same",
        [PLAN_ADDED]   = "added",
        [PLAN_REMOVED] = "removed",
        [PLAN_LIVE]    = "live",
        [PLAN_RESTART] = "restart",
        /* clang-format on */
    };
    return names[change];
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_names(const struct opt_names *a, const struct opt_names *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->names[i], b->names[i]) != 0)
            return false;
    return true;
}

static bool same_pairs(const char *const *a, const char *const *b)
{
    size_t i = 0;

    while (a[i] && b[i] && strcmp(a[i], b[i]) == 0)
        i++;
    return !a[i] && !b[i];
}

/* Names with room for `max` more. */
static bool names_init(struct diffing *d, struct opt_names *names, size_t max)
{
    *names = (struct opt_names){ .names = arena_array(d->arena, max + 1, sizeof(char *)) };
    d->no_memory |= !names->names;
    return names->names;
}

static void names_add(struct diffing *d, struct opt_names *names, const char *name)
{
    char *copy = arena_strdup(d->arena, name);

    d->no_memory |= !copy;
    if (copy)
        names->names[names->count++] = copy;
}

/* Whether an unchanged text means something else now. */
static bool same_meaning(const struct diffing *d, const struct spec_service *a,
                         const struct spec_service *b, const char *text)
{
    if (!text || !strchr(text, '%'))
        return true;
    return (!instance_mentions(text, "here") || same_text(a->here, b->here)) &&
           (!instance_mentions(text, "group_name") || same_text(a->group, b->group)) &&
           (!instance_mentions(text, "numprocs") || a->numprocs == b->numprocs) &&
           (!instance_mentions(text, "host_node_name") ||
            same_text(d->before->host, d->after->host)) &&
           (!strstr(text, "%(ENV_") || d->same_environment);
}

static bool is_log(const char *key, const struct spec_service *service)
{
    return strcmp(key, "stdout_logfile") == 0 ||
           (strcmp(key, "stderr_logfile") == 0 && !service->set->redirect_stderr);
}

static const struct spec_socket *find_socket(const struct plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->nsockets; i++)
        if (strcmp(plan->sockets[i].name, name) == 0)
            return &plan->sockets[i];
    return NULL;
}

/* What an open socket cannot change any more; the rest is applied to it as it is. */
static bool same_place(const struct spec_socket *a, const struct spec_socket *b)
{
    return same_names(&a->listen, &b->listen) && a->type == b->type &&
           a->reuse_port == b->reuse_port;
}

static bool sockets_changed(const struct diffing *d, const struct spec_service *service)
{
    for (size_t i = 0; i < service->set->sockets.count; i++) {
        const struct spec_socket *a = find_socket(d->before, service->set->sockets.names[i]);
        const struct spec_socket *b = find_socket(d->after, service->set->sockets.names[i]);
        if (!a || !b || !same_place(a, b))
            return true;
    }
    return false;
}

static bool same_row(const struct diffing *d, const struct spec_service *a,
                     const struct spec_service *b, size_t row)
{
    const char *key = options_service.rows[row].key;
    bool programs = a->kind == SPEC_PROGRAM || b->kind == SPEC_PROGRAM;

    if (strcmp(key, "numprocs") == 0)
        return a->numprocs == b->numprocs;
    if (!same_text(spec_text(a, row), spec_text(b, row)) ||
        !same_meaning(d, a, b, spec_text(a, row)))
        return false;
    /* Defaults that depend on more than the table. */
    if (!spec_text(a, row) && a->kind != b->kind && options_program_initial(key))
        return false;
    if (!spec_text(a, row) && is_log(key, a))
        return same_text(d->before->supervisor.log_dir, d->after->supervisor.log_dir);
    if (is_log(key, a) && a->out.apart != b->out.apart)
        return false;
    if (strcmp(key, "environment") == 0)
        return d->same_environment && a->kind == b->kind &&
               (!programs || same_text(a->group, b->group));
    if (strcmp(key, "sockets") == 0)
        return !sockets_changed(d, b);
    return true;
}

static void compare_services(struct diffing *d, const struct spec_service *a,
                             const struct spec_service *b, struct plan_diff_row *row)
{
    row->change = PLAN_SAME;
    if (!names_init(d, &row->keys, options_service.count))
        return;
    for (size_t i = 0; i < options_service.count; i++) {
        if (same_row(d, a, b, i))
            continue;
        names_add(d, &row->keys, options_service.rows[i].key);
        if (!(options_service.rows[i].flags & OPTIONS_LIVE))
            row->change = PLAN_RESTART;
        else if (row->change == PLAN_SAME)
            row->change = PLAN_LIVE;
    }
}

static void add_row(struct diffing *d, const char *name, const struct spec_service *a,
                    const struct spec_service *b)
{
    struct plan_diff_row *row = &d->ret->rows[d->ret->count++];

    *row = (struct plan_diff_row){ .service = arena_strdup(d->arena, name) };
    d->no_memory |= !row->service;
    if (a && b) {
        compare_services(d, a, b, row);
    } else {
        row->change = a ? PLAN_REMOVED : PLAN_ADDED;
        names_init(d, &row->keys, 0);
    }
}

/* Both plans by name, side by side. */
static void compare_all(struct diffing *d)
{
    const struct plan *before = d->before, *after = d->after;
    size_t i = 0, k = 0;

    d->ret->rows =
        arena_array(d->arena, before->nservices + after->nservices + 1, sizeof(*d->ret->rows));
    d->no_memory |= !d->ret->rows;
    while (!d->no_memory) {
        const struct spec_service *a =
            i < before->nservices ? &before->services[before->by_name[i]] : NULL;
        const struct spec_service *b =
            k < after->nservices ? &after->services[after->by_name[k]] : NULL;
        if (!a && !b)
            break;
        int order = !a ? 1 : !b ? -1 : strcmp(a->name, b->name);
        add_row(d, order <= 0 ? a->name : b->name, order <= 0 ? a : NULL, order >= 0 ? b : NULL);
        i += order <= 0;
        k += order >= 0;
    }
}

static bool same_socket(const struct spec_socket *a, const struct spec_socket *b)
{
    return same_place(a, b) && a->backlog == b->backlog && a->mode == b->mode &&
           same_text(a->owner, b->owner);
}

static void compare_sockets(struct diffing *d)
{
    const struct plan *before = d->before, *after = d->after;

    if (!names_init(d, &d->ret->sockets, before->nsockets + after->nsockets))
        return;
    for (size_t i = 0; i < before->nsockets; i++) {
        const struct spec_socket *other = find_socket(after, before->sockets[i].name);
        if (!other || !same_socket(&before->sockets[i], other))
            names_add(d, &d->ret->sockets, before->sockets[i].name);
    }
    for (size_t i = 0; i < after->nsockets; i++)
        if (!find_socket(before, after->sockets[i].name))
            names_add(d, &d->ret->sockets, after->sockets[i].name);
}

static void compare_supervisor(struct diffing *d)
{
    const struct spec_supervisor *a = &d->before->supervisor, *b = &d->after->supervisor;

    if (!names_init(d, &d->ret->supervisor_keys, options_supervisor.count))
        return;
    for (size_t i = 0; i < options_supervisor.count; i++) {
        const char *key = options_supervisor.rows[i].key;
        bool same = same_text(a->texts[i], b->texts[i]);
        if (strcmp(key, "environment") == 0)
            same = d->same_environment;
        if (!same)
            names_add(d, &d->ret->supervisor_keys, key);
    }
}

int plan_diff(const struct plan *before, const struct plan *after, struct arena *arena,
              struct plan_diff *ret)
{
    struct diffing d = { .before = before, .after = after, .arena = arena, .ret = ret };

    *ret = (struct plan_diff){ 0 };
    d.same_environment = same_pairs(before->environment, after->environment);
    compare_supervisor(&d);
    compare_sockets(&d);
    compare_all(&d);
    return d.no_memory ? ERR_MEMORY : 0;
}
