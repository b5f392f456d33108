/* plan_resolve.c - the contract is in plan_build.h. */
#include <stdlib.h>
#include <string.h>

#include "base/graph.h"
#include "base/near.h"
#include "supervisor/plan/plan_build.h"

enum { CYCLES_MAX = 20 };

/* `who` starts after `on`. */
struct need {
    size_t who, on;
    bool hard, ready;
    size_t stated_by; /* the service whose `key` says so */
    const char *key;
};
struct needs {
    struct need *list;
    size_t count;
};

struct by_name {
    const char *name;
    size_t index;
};

static int compare(size_t a, size_t b) { return a < b ? -1 : a > b; }

static int by_name_then_index(const void *a, const void *b)
{
    const struct by_name *x = a, *y = b;
    int order = strcmp(x->name, y->name);

    return order ? order : compare(x->index, y->index);
}

static void index_names(struct plan_build *build)
{
    struct plan *plan = build->plan;
    struct by_name *names = plan_build_scratch(build, plan->nservices, sizeof(*names));

    plan->by_name = plan_build_keep(build, plan->nservices, sizeof(*plan->by_name));
    if (!names || !plan->by_name)
        return;
    for (size_t i = 0; i < plan->nservices; i++)
        names[i] = (struct by_name){ plan->services[i].name, i };
    qsort(names, plan->nservices, sizeof(*names), by_name_then_index);
    for (size_t i = 0; i < plan->nservices; i++)
        plan->by_name[i] = names[i].index;
}

/* [service:web] and [program:web]: two of the same kind were met before. */
static void check_twins(struct plan_build *build)
{
    struct plan *plan = build->plan;

    for (size_t i = 1; i < plan->nservices; i++) {
        const struct spec_service *first = &plan->services[plan->by_name[i - 1]];
        size_t next = plan->by_name[i];
        if (strcmp(first->name, plan->services[next].name) == 0)
            plan_build_service_error(build, next, NULL, "given twice, first given at %s:%d",
                                     first->file, first->line);
    }
}

static const char *service_name(size_t i, const void *context)
{
    return ((const struct spec_service *)context)[i].name;
}
static const char *socket_name(size_t i, const void *context)
{
    return ((const struct spec_socket *)context)[i].name;
}

/* An [eventlistener:]. */
static bool is_foreign(const struct plan_build *build, const char *name)
{
    for (size_t i = 0; i < build->nsections; i++)
        if (build->sections[i].kind == PLAN_KIND_FOREIGN &&
            strcmp(build->sections[i].name, name) == 0)
            return true;
    return false;
}

static void resolve_groups(struct plan_build *build)
{
    struct plan *plan = build->plan;

    for (size_t i = 0, g = 0; i < build->nsections; i++) {
        const struct plan_section *section = &build->sections[i];
        if (section->kind != PLAN_KIND_GROUP)
            continue;
        const struct opt_names *programs = &plan->groups[g++].programs;
        const struct plan_key *key = plan_sections_key(section, "programs");
        for (size_t k = 0; key && k < programs->count; k++) {
            if (plan_find(plan, programs->names[k]) >= 0)
                continue;
            if (is_foreign(build, programs->names[k])) {
                plan_build_warn(build, key->file, key->line, section->title, key->key,
                                "\"%.64s\" is not run here and is ignored", programs->names[k]);
                continue;
            }
            const char *nearest =
                near_name(programs->names[k], plan->nservices, service_name, plan->services);
            plan_build_error(build, key->file, key->line, section->title, key->key,
                             "there is no service \"%.64s\"%s%s%s", programs->names[k],
                             nearest ? ", did you mean \"" : "", nearest ? nearest : "",
                             nearest ? "\"?" : ", try the name of a [service:]");
        }
    }
}

static size_t find_socket(const struct plan *plan, const char *name)
{
    size_t i = 0;

    while (i < plan->nsockets && strcmp(plan->sockets[i].name, name) != 0)
        i++;
    return i;
}

static void resolve_sockets(struct plan_build *build, size_t index, bool *used)
{
    struct plan *plan = build->plan;
    struct spec_service *service = &plan->services[index];

    service->socket_index =
        plan_build_keep(build, service->set->sockets.count, sizeof(*service->socket_index));
    for (size_t i = 0; service->socket_index && i < service->set->sockets.count; i++) {
        const char *name = service->set->sockets.names[i], *nearest;
        size_t found = find_socket(plan, name);
        bool twice = false;
        for (size_t k = 0; k < service->nsockets; k++)
            twice |= service->socket_index[k] == found;
        if (twice) {
            plan_build_service_error(build, index, "sockets", "\"%.64s\" is named twice", name);
        } else if (found < plan->nsockets) {
            service->socket_index[service->nsockets++] = found;
            used[found] = true;
        } else {
            nearest = near_name(name, plan->nsockets, socket_name, plan->sockets);
            plan_build_service_error(build, index, "sockets", "there is no [socket:%.64s]%s%s%s",
                                     name, nearest ? ", did you mean \"" : "",
                                     nearest ? nearest : "",
                                     nearest ? "\"?" : ", add that section");
        }
    }
}

/* Only one descriptor can be 0. */
static void check_stdin(struct plan_build *build, size_t index)
{
    const struct spec_service *service = &build->plan->services[index];
    size_t addresses = 0;

    if (service->set->standard_input != SPEC_STDIN_SOCKET ||
        service->nsockets < service->set->sockets.count)
        return;
    for (size_t i = 0; i < service->nsockets; i++) {
        const struct spec_socket *socket = &build->plan->sockets[service->socket_index[i]];
        addresses += socket->naddrs;
        if (socket->naddrs < socket->listen.count)
            return; /* what is wrong with it was told */
    }
    if (addresses != 1)
        plan_build_service_error(build, index, "stdin",
                                 "wants one socket with one address, there are %zu; name it in "
                                 "sockets",
                                 addresses);
}

static void resolve_all_sockets(struct plan_build *build)
{
    struct plan *plan = build->plan;
    bool *used = plan_build_scratch(build, plan->nsockets, sizeof(*used));

    for (size_t i = 0; used && i < plan->nservices; i++) {
        resolve_sockets(build, i, used);
        check_stdin(build, i);
    }
    for (size_t i = 0; used && i < build->nsections; i++) {
        const struct plan_section *section = &build->sections[i];
        if (section->kind == PLAN_KIND_SOCKET && !section->again &&
            !used[find_socket(plan, section->name)])
            plan_build_warn(build, section->file, section->line, section->title, NULL,
                            "no service uses this socket");
    }
}

/* The four lists of one service, appended to `all`, which has room. */
static void collect_needs(struct plan_build *build, size_t index, struct needs *all)
{
    struct spec_service *service = &build->plan->services[index];
    const struct {
        const char *key;
        const struct opt_names *names;
        bool hard, ready, reverse;
    } lists[] = {
        { "requires", &service->set->requires, true, true, false },
        { "wants", &service->set->wants, false, true, false },
        { "after", &service->set->after, false, false, false },
        { "before", &service->set->before, false, false, true },
    };
    for (size_t l = 0; l < sizeof(lists) / sizeof(lists[0]); l++)
        for (size_t i = 0; i < lists[l].names->count; i++) {
            const char *name = lists[l].names->names[i], *nearest;
            ssize_t on = plan_find(build->plan, name);
            if (on >= 0 && (size_t)on != index) {
                bool reverse = lists[l].reverse;
                all->list[all->count++] = (struct need){ reverse ? (size_t)on : index,
                                                         reverse ? index : (size_t)on,
                                                         lists[l].hard,
                                                         lists[l].ready,
                                                         index,
                                                         lists[l].key };
            } else if (on >= 0) {
                plan_build_service_error(build, index, lists[l].key,
                                         "\"%s\" is this service itself, remove it", name);
            } else {
                nearest =
                    near_name(name, build->plan->nservices, service_name, build->plan->services);
                plan_build_service_error(build, index, lists[l].key,
                                         "there is no service \"%.64s\"%s%s%s", name,
                                         nearest ? ", did you mean \"" : "", nearest ? nearest : "",
                                         nearest ? "\"?" : ", try the name of a [service:]");
            }
        }
}

static int by_pair(const void *a, const void *b)
{
    const struct need *x = a, *y = b;

    return x->who != y->who ? compare(x->who, y->who) : compare(x->on, y->on);
}

static void merge_needs(struct needs *all)
{
    size_t kept = 0;

    if (all->count)
        qsort(all->list, all->count, sizeof(*all->list), by_pair);
    for (size_t i = 0; i < all->count; i++) {
        struct need *last = kept ? &all->list[kept - 1] : NULL, *next = &all->list[i];
        if (last && last->who == next->who && last->on == next->on) {
            last->hard |= next->hard;
            last->ready |= next->ready;
        } else {
            all->list[kept++] = *next;
        }
    }
    all->count = kept;
}

static const struct need *find_need(const struct needs *all, size_t who, size_t on)
{
    struct need wanted = { .who = who, .on = on };
    return bsearch(&wanted, all->list, all->count, sizeof(*all->list), by_pair);
}

/* `cycle` is in start order; people read it as "a needs b needs a", from the first name on. */
static void report_cycle(struct plan_build *build, const struct needs *all, const size_t *cycle,
                         size_t len)
{
    const struct spec_service *services = build->plan->services;
    size_t first = 0;
    const char *text = "";

    for (size_t i = 1; i < len; i++)
        if (strcmp(services[cycle[i]].name, services[cycle[first]].name) < 0)
            first = i;
    for (size_t i = 0; i <= len && text; i++)
        text = arena_printf(&build->scratch, "%s%s%s", text, i ? " -> " : "",
                            services[cycle[(first + len * 2 - i) % len]].name);
    const struct need *need = find_need(all, cycle[first], cycle[(first + len - 1) % len]);
    build->no_memory |= !text;
    if (text && need)
        plan_build_service_error(build, need->stated_by, need->key,
                                 "a cycle: %s, remove one of them", text);
}

/* Removes one edge of the cycle, so that the next one can be found. */
static size_t break_cycle(struct graph_edge *edges, size_t count, const size_t *cycle, size_t len)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++)
        if (edges[i].before != cycle[len - 1] || edges[i].after != cycle[0])
            edges[kept++] = edges[i];
    return kept;
}

struct ranked {
    int64_t group, own;
    const char *group_name, *name;
    size_t index;
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    int groups = strcmp(x->group_name, y->group_name);
    if (groups)
        return groups;
    if (x->own != y->own)
        return x->own < y->own ? -1 : 1;
    int order = strcmp(x->name, y->name);
    return order ? order : compare(x->index, y->index);
}

static int64_t group_priority(const struct plan *plan, const struct spec_service *service)
{
    for (size_t i = 0; i < plan->ngroups; i++)
        if (service->group == plan->groups[i].name)
            return plan->groups[i].priority;
    return service->priority;
}

static int *rank_services(struct plan_build *build)
{
    struct plan *plan = build->plan;
    struct ranked *ranked = plan_build_scratch(build, plan->nservices, sizeof(*ranked));
    int *rank = plan_build_scratch(build, plan->nservices, sizeof(*rank));

    if (!ranked || !rank)
        return NULL;
    for (size_t i = 0; i < plan->nservices; i++)
        ranked[i] =
            (struct ranked){ group_priority(plan, &plan->services[i]), plan->services[i].priority,
                             plan->services[i].group, plan->services[i].name, i };
    qsort(ranked, plan->nservices, sizeof(*ranked), by_rank);
    for (size_t i = 0; i < plan->nservices; i++)
        rank[ranked[i].index] = (int)i;
    return rank;
}

/* Writes the start order; false after reporting every cycle. */
static bool find_order(struct plan_build *build, const struct needs *all, size_t *order)
{
    size_t count = build->plan->nservices, nedges = all->count, len, found = 0;
    size_t *cycle = plan_build_scratch(build, count, sizeof(*cycle));
    struct graph_edge *edges = plan_build_scratch(build, nedges, sizeof(*edges));
    int *rank = rank_services(build);

    if (!cycle || !edges || !rank)
        return false;
    for (size_t i = 0; i < nedges; i++)
        edges[i] = (struct graph_edge){ .before = all->list[i].on, .after = all->list[i].who };
    while (!graph_order(count, edges, nedges, rank, &build->scratch, order, cycle, &len)) {
        if (build->scratch.failed || len == 0) {
            build->no_memory = true;
            return false;
        }
        report_cycle(build, all, cycle, len);
        if (++found == CYCLES_MAX)
            return false;
        nedges = break_cycle(edges, nedges, cycle, len);
    }
    return found == 0;
}

/* Moves services and what belongs to them into start order. */
static bool reorder(struct plan_build *build, const size_t *order, struct needs *all)
{
    struct plan *plan = build->plan;
    size_t count = plan->nservices;
    struct spec_service *services = plan_build_keep(build, count, sizeof(*services));
    struct plan_lines *lines = plan_build_scratch(build, count, sizeof(*lines));
    size_t *place = plan_build_scratch(build, count, sizeof(*place));

    if (!services || !lines || !place)
        return false;
    for (size_t i = 0; i < count; i++) {
        services[i] = plan->services[order[i]];
        lines[i] = build->lines[order[i]];
        place[order[i]] = i;
    }
    for (size_t i = 0; i < count; i++)
        plan->by_name[i] = place[plan->by_name[i]];
    for (size_t i = 0; i < all->count; i++) {
        all->list[i].who = place[all->list[i].who];
        all->list[i].on = place[all->list[i].on];
    }
    plan->services = services;
    build->lines = lines;
    return true;
}

static void hand_out_needs(struct plan_build *build, struct needs *all)
{
    size_t count = all->count;
    size_t *on = plan_build_keep(build, count, sizeof(*on));
    bool *hard = plan_build_keep(build, count, sizeof(*hard));
    bool *ready = plan_build_keep(build, count, sizeof(*ready));

    if (!on || !hard || !ready)
        return;
    if (count)
        qsort(all->list, count, sizeof(*all->list), by_pair);
    for (size_t i = 0; i < count; i++) {
        struct spec_service *who = &build->plan->services[all->list[i].who];
        on[i] = all->list[i].on;
        hard[i] = all->list[i].hard;
        ready[i] = all->list[i].ready;
        if (who->nneeds++ == 0) {
            who->needs = &on[i];
            who->need_hard = &hard[i];
            who->need_ready = &ready[i];
        }
    }
}

void plan_resolve_names(struct plan_build *build)
{
    struct plan *plan = build->plan;
    struct needs all = { 0 };
    size_t room = 0;

    index_names(build);
    if (build->no_memory)
        return;
    check_twins(build);
    resolve_groups(build);
    resolve_all_sockets(build);
    for (size_t i = 0; i < plan->nservices; i++)
    room += plan->services[i].set->requires.count + plan->services[i].set->wants.count +
            plan->services[i].set->after.count + plan->services[i].set->before.count;
    all.list = plan_build_scratch(build, room, sizeof(*all.list));
    size_t *order = plan_build_scratch(build, plan->nservices, sizeof(*order));
    if (!all.list || !order)
        return;
    for (size_t i = 0; i < plan->nservices; i++)
        collect_needs(build, i, &all);
    merge_needs(&all);
    if (find_order(build, &all, order) && reorder(build, order, &all))
        hand_out_needs(build, &all);
}
