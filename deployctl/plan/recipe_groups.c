/* recipe_groups.c - the contract is in recipe_groups.h. */
#include "deployctl/plan/recipe_groups.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/graph.h"
#include "base/near.h"

enum { TEXT_MAX = 512, SECTION_MAX = 128, NOWHERE = RECIPE_GROUPS_MAX };

struct placing {
    struct recipe *recipe;
    recipe_groups_wrong_fn *wrong;
    void *context;
};

static void wrong(struct placing *p, size_t group, const char *key, const char *what)
{
    char section[SECTION_MAX];
    snprintf(section, sizeof section, RECIPE_GROUPS_PREFIX "%.100s", p->recipe->groups[group].name);
    p->wrong(p->context, section, key, what);
}

static const char *group_name(size_t i, const void *context)
{
    return ((const struct recipe *)context)->groups[i].name;
}

static size_t find_group(const struct recipe *recipe, const char *name)
{
    size_t i = 0;
    while (i < recipe->ngroups && strcmp(recipe->groups[i].name, name) != 0)
        i++;
    return i;
}

bool recipe_group_name_ok(const char *name)
{
    bool ok = *name && *name != '-' && strlen(name) <= RECIPE_GROUP_NAME_MAX;
    for (const char *at = name; *at; at++)
        ok = ok && (isalnum((unsigned char)*at) || strchr("_.-", *at));
    return ok;
}

/* --- the order -------------------------------------------------------------------------------- */

static size_t edges_of(struct placing *p, size_t group, struct graph_edge *edges, size_t room)
{
    const struct recipe *recipe = p->recipe;
    const struct opt_names *after = &recipe->groups[group].after;
    char text[TEXT_MAX];
    size_t n = 0;
    for (size_t i = 0; i < after->count; i++) {
        size_t other = find_group(recipe, after->names[i]);
        if (other < recipe->ngroups && n < room) {
            edges[n++] = (struct graph_edge){ .before = other, .after = group };
            continue;
        }
        const char *near = near_name(after->names[i], recipe->ngroups, group_name, recipe);
        snprintf(text, sizeof text, "there is no group \"%.100s\"%s%.100s%s", after->names[i],
                 near ? ", did you mean " : "", near ? near : "", near ? "?" : "");
        wrong(p, group, "after", text);
    }
    return n;
}

static void tell_cycle(struct placing *p, const size_t *cycle, size_t len)
{
    char text[TEXT_MAX];
    size_t at = (size_t)snprintf(text, sizeof text, "a circle: ");
    for (size_t i = len + 1; i-- > 0 && at < sizeof text;)
        at += (size_t)snprintf(text + at, sizeof text - at, "%.60s%s",
                               p->recipe->groups[cycle[i % len]].name, i > 0 ? " after " : "");
    wrong(p, cycle[0], "after", text);
}

static void sort(struct placing *p)
{
    struct recipe *recipe = p->recipe;
    struct graph_edge edges[RECIPE_GROUPS_MAX * RECIPE_GROUPS_MAX];
    size_t order[RECIPE_GROUPS_MAX], cycle[RECIPE_GROUPS_MAX], nedges = 0, len = 0;
    struct recipe_group written[RECIPE_GROUPS_MAX];
    memcpy(written, recipe->groups, sizeof written);
    for (size_t i = 0; i < recipe->ngroups; i++)
        nedges += edges_of(p, i, edges + nedges, RECIPE_GROUPS_MAX);
    if (graph_order(recipe->ngroups, edges, nedges, NULL, &recipe->arena, order, cycle, &len)) {
        for (size_t i = 0; i < recipe->ngroups; i++)
            recipe->groups[i] = written[order[i]];
    } else if (len > 0) {
        tell_cycle(p, cycle, len);
    }
}

/* --- who is in which -------------------------------------------------------------------------- */

static void take_host(struct placing *p, struct recipe_host *host, size_t group)
{
    char text[TEXT_MAX];
    if (host->group == NOWHERE) {
        host->group = group;
        return;
    }
    snprintf(text, sizeof text, "host %.253s is in group %.60s already; every host is in one",
             host->name, p->recipe->groups[host->group].name);
    wrong(p, group, "hosts", text);
}

static void take_hosts(struct placing *p, size_t group)
{
    struct recipe *recipe = p->recipe;
    const struct recipe_group *g = &recipe->groups[group];
    bool any = false;
    if (!g->hosts) {
        wrong(p, group, "hosts", "missing; name its hosts, or a label of theirs (role=web)");
        return;
    }
    for (size_t i = 0; i < recipe->count; i++)
        if (recipe_host_matches(&recipe->hosts[i], g->hosts)) {
            any = true;
            take_host(p, &recipe->hosts[i], group);
        }
    if (!any && recipe->count > 0)
        wrong(p, group, "hosts", "none of these is in [fleet] hosts");
}

static void must_be_placed(struct placing *p, struct recipe_host *host)
{
    char text[TEXT_MAX];
    if (host->group != NOWHERE)
        return;
    host->group = 0;
    snprintf(text, sizeof text,
             "host %.253s is in no group; where there are groups, every host is in one",
             host->name);
    p->wrong(p->context, "fleet", "hosts", text);
}

void recipe_groups_place(struct recipe *recipe, recipe_groups_wrong_fn *wrong_fn, void *context)
{
    struct placing p = { recipe, wrong_fn, context };
    for (size_t i = 0; i < recipe->ngroups; i++)
        if (!recipe_group_name_ok(recipe->groups[i].name))
            wrong(&p, i, NULL, "a group's name is at most 60 letters, digits and _ . -");
    sort(&p);
    for (size_t i = 0; i < recipe->count; i++)
        recipe->hosts[i].group = recipe->ngroups > 0 ? NOWHERE : 0;
    for (size_t i = 0; i < recipe->ngroups; i++)
        take_hosts(&p, i);
    for (size_t i = 0; i < recipe->count; i++) {
        struct recipe_host *host = &recipe->hosts[i];
        if (recipe->ngroups > 0)
            must_be_placed(&p, host);
        host->services = recipe->deploy.services;
        host->group_name = recipe->ngroups > 0 ? recipe->groups[host->group].name : NULL;
        if (recipe->ngroups > 0 && recipe->groups[host->group].services.count > 0)
            host->services = recipe->groups[host->group].services;
    }
}
