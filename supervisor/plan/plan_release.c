/* plan_release.c - what a release's own service file says, put over the host's section.
 *
 * The plan's services are made with the release that is pinned; others that may run (before and
 * after a switch, and what it may go back to) are variants beside them, with all that a release
 * cannot change shared.
 */
#include <string.h>

#include "base/ini.h"
#include "base/near.h"
#include "supervisor/plan/options.h"
#include "supervisor/plan/plan_build.h"
#include "supervisor/plan/release_keys.h"

/* The section of one service in the file of one release. */
struct over {
    struct plan_build *build;
    const struct plan_section *own; /* the host's */
    const struct plan_release *release;
    size_t file;
    struct ini ini;
    size_t first, count; /* its entries */
    bool found;
};

static bool is_section(const char *title, const char *name)
{
    static const char prefix[] = "service:";

    if (strncmp(title, prefix, strlen(prefix)) != 0)
        return false;
    title += strlen(prefix);
    return strcmp(title + strspn(title, " \t"), name) == 0;
}

static void take_section(struct over *over, size_t header)
{
    const struct ini_entry *entry = &over->ini.entries[header];

    if (over->found) {
        plan_build_error(over->build, over->file, entry->line, entry->section, NULL,
                         "given twice, first given at %s:%d", over->release->path,
                         over->ini.entries[over->first - 1].line);
        return;
    }
    over->found = true;
    over->first = header + 1;
    while (over->first + over->count < over->ini.count &&
           over->ini.entries[over->first + over->count].key)
        over->count++;
}

static void find_section(struct over *over)
{
    const char *name = over->own->name;

    for (size_t i = 0; i < over->ini.count; i++) {
        const struct ini_entry *entry = &over->ini.entries[i];
        if (entry->key)
            continue;
        if (is_section(entry->section, name))
            take_section(over, i);
        else if (strncmp(entry->section, "service:", strlen("service:")) != 0)
            plan_build_error(over->build, over->file, entry->line, entry->section, NULL,
                             "a release has [service:NAME] sections only, remove it");
    }
    if (!over->found && over->release->text)
        plan_build_error(over->build, over->file, 0, NULL, NULL,
                         "there is no [service:%s], add it (%s:%d wants it; without keys if there "
                         "is nothing to say)",
                         name, plan_build_path(over->build, over->own->file), over->own->line);
}

static bool may_be_set(const struct over *over, const struct ini_entry *entry)
{
    const char *why = release_keys_refusal(entry->key);
    struct err err;

    if (why) {
        plan_build_error(over->build, over->file, entry->line, entry->section, entry->key,
                         "a release cannot set it: %s; remove the line, or move it to %s:%d", why,
                         plan_build_path(over->build, over->own->file), over->own->line);
        return false;
    }
    if (release_keys_value(entry->key, entry->value, &err) < 0) {
        plan_build_error(over->build, over->file, entry->line, entry->section, entry->key, "%s",
                         err.text);
        return false;
    }
    return true;
}

/* Variables add up; of two with one name the later one counts, which is the release's. */
static const char *value_over(const struct over *over, const struct plan_key *before,
                              const struct ini_entry *entry)
{
    if (strcmp(entry->key, "environment") != 0 || !*before->value)
        return entry->value;
    const char *both = arena_printf(&over->build->scratch, "%s,%s", before->value, entry->value);
    over->build->no_memory |= !both;
    return both ? both : entry->value;
}

static void merge_key(const struct over *over, struct plan_section *ret,
                      const struct ini_entry *entry)
{
    struct plan_key key = { entry->key, entry->value, over->file, entry->line };
    size_t at = 0;

    while (at < ret->nkeys && strcmp(ret->keys[at].key, entry->key) != 0)
        at++;
    if (at < ret->nkeys && ret->keys[at].file == over->file) {
        plan_build_error(over->build, over->file, entry->line, entry->section, entry->key,
                         "given twice, first given at %s:%d", over->release->path,
                         ret->keys[at].line);
        return;
    }
    if (at < ret->nkeys)
        key.value = value_over(over, &ret->keys[at], entry);
    ret->keys[at] = key;
    ret->nkeys += at == ret->nkeys;
    char *name = arena_strdup(&over->build->plan->arena, entry->key);
    over->build->no_memory |= !name;
    if (name)
        ret->release_keys.names[ret->release_keys.count++] = name;
}

const struct plan_section *plan_release_over(struct plan_build *build,
                                             const struct plan_section *own, size_t index)
{
    struct over over = { .build = build,
                         .own = own,
                         .release = &build->source->releases[index],
                         .file = build->source->nfiles + 1 + index };
    struct plan_section *ret = plan_build_scratch(build, 1, sizeof(*ret));
    struct err_list list;

    if (!ret)
        return own;
    *ret = *own;
    ret->release = over.release;
    if (!over.release->text)
        return ret;
    err_list_init(&list);
    ini_parse_text(over.release->path, over.release->text, over.release->len, &build->scratch,
                   &over.ini, &list);
    plan_sections_adopt_errors(build, over.file, &list);
    err_list_done(&list);
    find_section(&over);
    ret->keys = plan_build_scratch(build, own->nkeys + over.count, sizeof(*ret->keys));
    ret->release_keys.names = plan_build_keep(build, over.count + 1, sizeof(char *));
    if (!ret->keys || !ret->release_keys.names)
        return own;
    if (own->nkeys)
        memcpy(ret->keys, own->keys, own->nkeys * sizeof(*ret->keys));
    for (size_t i = 0; i < over.count; i++)
        if (may_be_set(&over, &over.ini.entries[over.first + i]))
            merge_key(&over, ret, &over.ini.entries[over.first + i]);
    return ret;
}

const struct plan_section *plan_release_pinned(struct plan_build *build,
                                               const struct plan_section *own)
{
    for (size_t i = 0; i < build->source->nreleases; i++)
        if (build->source->releases[i].pinned &&
            strcmp(build->source->releases[i].service, own->name) == 0 &&
            plan_sections_key(own, "release_config"))
            return plan_release_over(build, own, i);
    return own;
}

/* What a release cannot change is that of the service. */
static void share(const struct spec_service *service, struct spec_service *variant)
{
    variant->needs = service->needs;
    variant->nneeds = service->nneeds;
    variant->need_hard = service->need_hard;
    variant->need_ready = service->need_ready;
    variant->socket_index = service->socket_index;
    variant->nsockets = service->nsockets;
    variant->out = service->out;
    variant->err = service->err;
}

static bool is_variant_of(const struct plan_release *release, const struct spec_service *service)
{
    return !release->pinned && service->release_config &&
           strcmp(release->service, service->name) == 0;
}

static void make_variants(struct plan_build *build, size_t index)
{
    struct spec_service *service = &build->plan->services[index];
    const struct plan_source *source = build->source;
    size_t count = 0;

    for (size_t i = 0; i < source->nreleases; i++)
        count += is_variant_of(&source->releases[i], service);
    if (count == 0)
        return;
    struct spec_service *variants = plan_build_keep(build, count, sizeof(*variants));
    for (size_t i = 0; i < source->nreleases && !build->no_memory; i++) {
        struct plan_lines lines = { 0 };
        if (!is_variant_of(&source->releases[i], service))
            continue;
        struct spec_service *variant = &variants[service->nvariants++];
        plan_service_fill(build, plan_release_over(build, build->lines[index].own, i), variant,
                          &lines);
        share(service, variant);
    }
    service->variants = variants;
}

void plan_release_variants(struct plan_build *build)
{
    for (size_t i = 0; build->source->nreleases && i < build->plan->nservices; i++)
        make_variants(build, i);
}
