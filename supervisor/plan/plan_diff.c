/* plan_diff.c - the contract is in plan.h. */
#include <stdlib.h>
#include <string.h>

#include "supervisor/plan/options.h"
#include "supervisor/plan/plan.h"
#include "supervisor/plan/plan_value.h"

enum { SHOWN_MAX = 4096 };

struct diffing {
    const struct plan *before, *after;
    struct arena *arena;
    struct plan_diff *ret;
    bool tunes;
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

static bool keys_init(struct diffing *d, struct plan_diff_keys *keys, size_t max)
{
    *keys = (struct plan_diff_keys){ .list = arena_array(d->arena, max + 1, sizeof(*keys->list)) };
    d->no_memory |= !keys->list;
    return keys->list;
}

static const char *keep(struct diffing *d, const struct buf *text)
{
    const char *copy = arena_strdup(d->arena, buf_text(text));

    d->no_memory |= !copy;
    return copy;
}

/* The usual case, at a glance: the same words, which say all there is to say. */
static bool same_words(const struct spec_service *a, const struct spec_service *b, size_t row)
{
    const char *text = spec_text(a, row);

    return a->kind == b->kind && !(options_service.rows[row].flags & OPTIONS_DERIVED) &&
           same_text(text, spec_text(b, row)) && (!text || !strchr(text, '%'));
}

static bool same_row(struct diffing *d, const struct spec_service *a, const struct spec_service *b,
                     size_t row)
{
    uint64_t before, after;

    if (same_words(a, b, row))
        return true;
    d->no_memory |= !plan_value_sum(d->before, a, row, &before);
    d->no_memory |= !plan_value_sum(d->after, b, row, &after);
    return before == after;
}

static enum plan_change takes(struct diffing *d, const struct spec_service *a,
                              const struct spec_service *b, size_t row)
{
    uint64_t before, after;

    d->no_memory |= !plan_value_fixed(d->before, a, row, d->tunes, &before);
    d->no_memory |= !plan_value_fixed(d->after, b, row, d->tunes, &after);
    return before == after ? PLAN_LIVE : PLAN_RESTART;
}

static void add_key(struct diffing *d, const struct spec_service *a, const struct spec_service *b,
                    size_t row, struct plan_diff_keys *keys)
{
    struct plan_diff_key *key = &keys->list[keys->count++];
    struct buf text;

    *key = (struct plan_diff_key){ .key = options_service.rows[row].key };
    key->takes = takes(d, a, b, row);
    buf_init(&text, SHOWN_MAX);
    if (strcmp(key->key, "environment") == 0) {
        plan_value_variables(d->before, a, d->after, b, &text);
        key->variables = keep(d, &text);
    } else {
        plan_value(d->before, a, row, &text);
        key->before = keep(d, &text);
        buf_clear(&text);
        plan_value(d->after, b, row, &text);
        key->after = keep(d, &text);
    }
    buf_done(&text);
}

static void compare_services(struct diffing *d, const struct spec_service *a,
                             const struct spec_service *b, struct plan_diff_row *row)
{
    row->change = PLAN_SAME;
    if (!keys_init(d, &row->keys, options_service.count))
        return;
    for (size_t i = 0; i < options_service.count; i++) {
        if (same_row(d, a, b, i))
            continue;
        add_key(d, a, b, i, &row->keys);
        if (row->change != PLAN_RESTART)
            row->change = row->keys.list[row->keys.count - 1].takes;
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
        keys_init(d, &row->keys, 0);
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

static const struct spec_access *find_access(const struct plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->naccess; i++)
        if (strcmp(plan->access[i].name, name) == 0)
            return &plan->access[i];
    return NULL;
}

static bool same_access(const struct spec_access *a, const struct spec_access *b)
{
    return same_names(&a->users, &b->users) && same_names(&a->groups, &b->groups) &&
           same_names(&a->verbs, &b->verbs) && same_names(&a->services, &b->services);
}

static void compare_access(struct diffing *d)
{
    const struct plan *before = d->before, *after = d->after;

    if (!names_init(d, &d->ret->access, before->naccess + after->naccess))
        return;
    for (size_t i = 0; i < before->naccess; i++) {
        const struct spec_access *other = find_access(after, before->access[i].name);
        if (!other || !same_access(&before->access[i], other))
            names_add(d, &d->ret->access, before->access[i].name);
    }
    for (size_t i = 0; i < after->naccess; i++)
        if (!find_access(before, after->access[i].name))
            names_add(d, &d->ret->access, after->access[i].name);
}

static void compare_key(struct diffing *d, size_t index)
{
    const struct opt *row = &options_supervisor.rows[index];
    struct plan_diff_key *key = &d->ret->supervisor.list[d->ret->supervisor.count];
    bool environment = strcmp(row->key, "environment") == 0;
    struct buf a, b;

    buf_init(&a, SHOWN_MAX);
    buf_init(&b, SHOWN_MAX);
    if (environment) {
        plan_value_variables(d->before, NULL, d->after, NULL, &b);
    } else {
        plan_value_plain(row, (const char *)&d->before->supervisor + row->offset, &a);
        plan_value_plain(row, (const char *)&d->after->supervisor + row->offset, &b);
    }
    if (strcmp(buf_text(&a), buf_text(&b)) != 0) {
        *key =
            (struct plan_diff_key){ .key = row->key,
                                    .takes = row->flags & OPTIONS_LIVE ? PLAN_LIVE : PLAN_RESTART,
                                    .before = environment ? NULL : keep(d, &a),
                                    .after = environment ? NULL : keep(d, &b),
                                    .variables = environment ? keep(d, &b) : NULL };
        d->ret->supervisor.count++;
    }
    buf_done(&a);
    buf_done(&b);
}

static void compare_supervisor(struct diffing *d)
{
    if (!keys_init(d, &d->ret->supervisor, options_supervisor.count))
        return;
    for (size_t i = 0; i < options_supervisor.count; i++)
        compare_key(d, i);
}

int plan_diff(const struct plan *before, const struct plan *after, bool tunes, struct arena *arena,
              struct plan_diff *ret)
{
    struct diffing d = {
        .before = before, .after = after, .arena = arena, .ret = ret, .tunes = tunes
    };

    *ret = (struct plan_diff){ 0 };
    compare_supervisor(&d);
    compare_sockets(&d);
    compare_access(&d);
    compare_all(&d);
    return d.no_memory ? ERR_MEMORY : 0;
}
