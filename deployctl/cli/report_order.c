/* report_order.c - the contract is in report_order.h. */
#include "deployctl/cli/report_order.h"

#include <stdio.h>
#include <string.h>

#include "base/unit.h"
#include "io/jsonx.h"

static size_t hosts_in(const struct rollout *rollout, size_t group)
{
    size_t n = 0;
    for (size_t i = 0; i < rollout->count; i++)
        n += rollout->hosts[i].group == group;
    return n;
}

static int widest(const struct rollout_limits *limits)
{
    size_t width = 0;
    for (size_t i = 0; i < limits->ngroups; i++) {
        size_t len = strlen(limits->groups[i].name);
        width = len > width ? len : width;
    }
    return (int)width;
}

/* Of the hosts of one group; they all have the same. */
static void print_services(const struct recipe *recipe, size_t group)
{
    for (size_t i = 0; i < recipe->count; i++) {
        const struct recipe_host *host = &recipe->hosts[i];
        if (host->group != group)
            continue;
        for (size_t k = 0; k < host->services.count; k++)
            printf("%s%s", k == 0 ? "; " : ", ", host->services.names[k]);
        return;
    }
}

static void print_groups(const struct recipe *recipe, const struct rollout *rollout)
{
    const struct rollout_limits *limits = &rollout->limits;
    for (size_t i = 0; i < limits->ngroups; i++) {
        const struct rollout_group *group = &limits->groups[i];
        size_t hosts = hosts_in(rollout, i);
        if (hosts == 0)
            continue;
        printf("          %-*s  %zu host%s in batches of %zu, at most %zu out at the same time",
               widest(limits), group->name, hosts, hosts == 1 ? "" : "s", group->batch,
               group->unavailable);
        print_services(recipe, i);
        printf("\n");
    }
    printf("          back, if it comes to that, in the reverse order\n");
}

void report_order(const struct recipe *recipe, const struct rollout *rollout)
{
    const struct rollout_limits *limits = &rollout->limits;
    const char *zone = limits->by_zone ? recipe->rollout.zone_label : NULL;
    char bake[UNIT_TEXT_MAX];
    unit_duration_text(limits->bake_ms, bake);
    printf("Order     %zu canary host%s watched for %s, then ", limits->canary,
           limits->canary == 1 ? "" : "s", bake);
    if (limits->ngroups > 0)
        printf("one group after the other");
    else
        printf("batches of %zu", limits->batch);
    if (zone)
        printf("%s one zone after the other (label %s)", limits->ngroups ? ", in each" : ",", zone);
    printf("\n");
    if (limits->ngroups > 0)
        print_groups(recipe, rollout);
}

json_t *report_order_json(const struct rollout *rollout)
{
    const struct rollout_limits *limits = &rollout->limits;
    json_t *groups = json_array();
    for (size_t i = 0; i < limits->ngroups; i++) {
        json_t *group = json_object();
        jsonx_set_text(group, "group", limits->groups[i].name);
        jsonx_set_int(group, "hosts", (int64_t)hosts_in(rollout, i));
        jsonx_set_int(group, "batch", (int64_t)limits->groups[i].batch);
        jsonx_set_int(group, "max_unavailable", (int64_t)limits->groups[i].unavailable);
        json_array_append_new(groups, group);
    }
    return groups;
}

/* A host as the record names it; NULL = it is not in deploy.ini. */
static const struct glance *glance_of(const struct driver *driver, const char *name)
{
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        if (strcmp(view.spec->name, name) == 0)
            return view.glance;
    }
    return NULL;
}

void report_order_open(const struct driver *driver)
{
    const struct opened *opened = driver_opened(driver);
    for (size_t g = 0; opened && g < opened->limits.ngroups; g++) {
        size_t hosts = 0, on = 0;
        for (size_t i = 0; i < opened->count; i++) {
            if (opened->hosts[i].group != g)
                continue;
            const struct glance *glance = glance_of(driver, opened->hosts[i].name);
            hosts++;
            on += glance && glance->current && strcmp(glance->current, opened->id) == 0;
        }
        printf("Group %s: %zu of %zu on it.\n", opened->limits.groups[g].name, on, hosts);
    }
}

const char *report_order_part(const struct rollout_host *host, char text[static 32])
{
    if (host->canary)
        return "canary";
    if (host->batch == 0)
        return "-";
    snprintf(text, 32, "batch %zu", host->batch);
    return text;
}
