/* plan.c - the contract is in plan.h. */
#include "supervisor/plan/plan.h"

#include <stdlib.h>
#include <string.h>

#include "supervisor/plan/plan_build.h"

static void check_scales(struct plan_build *build)
{
    for (size_t i = 0; i < build->source->nscales; i++)
        if (plan_find(build->plan, build->source->scales[i].service) < 0)
            plan_build_warn(build, build->source->nfiles, 0, NULL, NULL,
                            "the scale of \"%.64s\" is kept, but there is no such service",
                            build->source->scales[i].service);
}

const char *plan_source_path(const struct plan_source *source, size_t file)
{
    if (file < source->nfiles)
        return source->files[file].path;
    return file == source->nfiles ? source->config
                                  : source->releases[file - source->nfiles - 1].path;
}

static void copy_paths(struct plan_build *build)
{
    size_t count = build->source->nfiles + 1 + build->source->nreleases;

    build->paths = plan_build_keep(build, count, sizeof(*build->paths));
    for (size_t i = 0; build->paths && i < count; i++) {
        build->paths[i] = arena_strdup(&build->plan->arena, plan_source_path(build->source, i));
        build->no_memory |= !build->paths[i];
    }
}

static void run_steps(struct plan_build *build)
{
    copy_paths(build);
    if (!build->no_memory)
        plan_sections_collect(build);
    if (!build->no_memory)
        plan_fill_supervisor(build);
    if (!build->no_memory)
        plan_fastcgi_split(build);
    if (!build->no_memory)
        plan_events_become_services(build);
    if (!build->no_memory)
        plan_sockets_fill(build);
    if (!build->no_memory)
        plan_fill_groups(build);
    if (!build->no_memory)
        plan_fill_services(build);
    if (!build->no_memory)
        plan_resolve_names(build);
    if (!build->no_memory)
        plan_access_fill(build);
    if (!build->no_memory)
        plan_check_all(build);
    if (!build->no_memory)
        plan_release_variants(build);
    if (build->no_memory)
        return;
    check_scales(build);
    if (build->plan->nservices == 0 && build->errors.count == 0)
        plan_build_warn(build, build->source->nfiles, 0, NULL, NULL,
                        "there is no [service:NAME] or [program:NAME] in it");
}

static struct plan *make(const struct plan_source *source, bool keep_places,
                         struct err_list *errors, struct err_list *warnings)
{
    struct plan_build build = { .source = source,
                                .plan = calloc(1, sizeof(struct plan)),
                                .keep_places = keep_places };
    size_t before = errors->total;

    if (!build.plan) {
        err_list_add(errors, "%s: out of memory", source->config);
        return NULL;
    }
    arena_init(&build.plan->arena);
    arena_init(&build.scratch);
    run_steps(&build);
    plan_build_deliver(&build, &build.errors, errors);
    plan_build_deliver(&build, &build.warnings, warnings);
    if (build.no_memory || build.plan->arena.failed || build.scratch.failed)
        err_list_add(errors, "%s: out of memory", source->config);
    arena_done(&build.scratch);
    arena_settle(&build.plan->arena);
    if (errors->total == before)
        return build.plan;
    plan_free(build.plan);
    return NULL;
}

struct plan *plan_make(const struct plan_source *source, struct err_list *errors,
                       struct err_list *warnings)
{
    return make(source, false, errors, warnings);
}

struct plan *plan_make_with_places(const struct plan_source *source, struct err_list *errors,
                                   struct err_list *warnings)
{
    return make(source, true, errors, warnings);
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    arena_done(&plan->arena);
    free(plan);
}

ssize_t plan_find(const struct plan *plan, const char *service)
{
    size_t low = 0, high = plan->nservices;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(plan->services[plan->by_name[middle]].name, service);
        if (order == 0)
            return (ssize_t)plan->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

size_t plan_release_set(const struct plan *plan, const char *release, size_t *ret, size_t max)
{
    size_t count = 0;

    for (size_t i = 0; i < plan->nservices; i++) {
        if (!plan->services[i].release || strcmp(plan->services[i].release, release) != 0)
            continue;
        if (count < max)
            ret[count] = i;
        count++;
    }
    return count;
}
