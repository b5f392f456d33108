/* plan_access.c - the contract is in plan_build.h. */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "base/near.h"
#include "supervisor/plan/access.h"
#include "supervisor/plan/options.h"
#include "supervisor/plan/plan_build.h"

enum { OPEN_MODE = 0666 };

static int line_of(const struct plan_section *section, const char *key)
{
    const struct plan_key *at = plan_sections_key(section, key);

    return at ? at->line : section->line;
}

static const char *service_at(size_t i, const void *context)
{
    return ((const struct plan *)context)->services[i].name;
}
static const char *group_at(size_t i, const void *context)
{
    return ((const struct plan *)context)->services[i].group;
}

static void refuse_service(struct plan_build *build, const struct plan_section *section,
                           const char *name, bool group)
{
    const struct plan *plan = build->plan;
    const char *what = strchr(name, ':') ? strchr(name, ':') : "";
    char wanted[SPEC_NAME_MAX];

    snprintf(wanted, sizeof wanted, "%.*s", (int)(strlen(name) - (group ? 2 : 0)), name);
    const char *near = near_name(wanted, plan->nservices, group ? group_at : service_at, plan);
    int line = line_of(section, "services");
    if (!group && *what)
        plan_build_error(build, section->file, line, section->title, "services",
                         "\"%.64s\" is one instance, rights are given for whole services: try %.*s",
                         name, (int)(what - name), name);
    else
        plan_build_error(build, section->file, line, section->title, "services",
                         "there is no %s \"%.64s\"%s%s%s%s", group ? "group" : "service", wanted,
                         near ? ", did you mean \"" : "", near ? near : "",
                         near && group ? ":*" : "", near ? "\"?" : "");
}

static bool cover(const struct plan *plan, const char *name, bool group, bool *covers)
{
    size_t len = strlen(name) - (group ? 2 : 0);
    ssize_t index = group ? -1 : plan_find(plan, name);
    bool found = index >= 0;

    if (found)
        covers[index] = true;
    for (size_t i = 0; group && i < plan->nservices; i++) {
        const char *of = plan->services[i].group;
        if (strlen(of) != len || strncmp(of, name, len) != 0)
            continue;
        covers[i] = found = true;
    }
    return found;
}

static void resolve_services(struct plan_build *build, const struct plan_section *section,
                             struct spec_access *to)
{
    bool *covers = plan_build_keep(build, build->plan->nservices, sizeof *covers);

    for (size_t i = 0; covers && i < to->services.count; i++) {
        const char *name = to->services.names[i];
        size_t len = strlen(name);
        bool group = len > 2 && strcmp(name + len - 2, ":*") == 0;
        if (strcmp(name, "all") == 0)
            return; /* covers stays NULL */
        if (!cover(build->plan, name, group, covers))
            refuse_service(build, section, name, group);
    }
    to->covers = covers;
}

/* One verb of the host among rights for some services would never be given. */
static void check_wide(struct plan_build *build, const struct plan_section *section,
                       const struct spec_access *to)
{
    for (size_t i = 0; to->covers && i < to->verbs.count; i++)
        for (int v = 0; v < ACCESS_NVERBS; v++)
            if (access_verb_is_wide((enum access_verb)v) &&
                strcmp(access_verb_name((enum access_verb)v), to->verbs.names[i]) == 0)
                plan_build_error(build, section->file, line_of(section, "verbs"), section->title,
                                 "verbs",
                                 "%s is about the whole supervisor, it needs services = all",
                                 to->verbs.names[i]);
}

static void need_key(struct plan_build *build, const struct plan_section *section, const char *key,
                     const char *example)
{
    const struct plan_key *at = plan_sections_key(section, key);

    if (!at || !*at->value)
        plan_build_error(build, section->file, line_of(section, key), section->title, key,
                         "is missing, try %s = %s", key, example);
}

static void check_users(struct plan_build *build, const struct plan_section *section,
                        const struct spec_access *to)
{
    for (size_t i = 0; i < to->users.count; i++)
        if (strchr(to->users.names[i], ':'))
            plan_build_error(build, section->file, to->users_line, section->title, "users",
                             "\"%.64s\" is no user, try the part before the colon",
                             to->users.names[i]);
    if (to->users.count == 0 && to->groups.count == 0)
        plan_build_error(build, section->file, section->line, section->title, NULL,
                         "is for nobody, try users = alice or groups = deploy");
}

static void fill(struct plan_build *build, const struct plan_section *section,
                 struct spec_access *to)
{
    char **names = plan_fill_names(build, section->file);
    struct err err;

    to->name = plan_build_text(build, section->name);
    to->title = plan_build_text(build, section->title);
    to->file = plan_build_path(build, section->file);
    to->line = section->line;
    to->users_line = line_of(section, "users");
    to->groups_line = line_of(section, "groups");
    plan_fill_check_name(build, section);
    if (!names)
        return;
    for (size_t i = 0; i < section->nkeys; i++)
        plan_fill_key(build, section, &options_access, &section->keys[i], names, to);
    check_users(build, section, to);
    need_key(build, section, "verbs", "read start restart");
    need_key(build, section, "services", "all");
    if (access_parse(&to->verbs, &to->verb_bits, &err) != 0)
        plan_build_error(build, section->file, line_of(section, "verbs"), section->title, "verbs",
                         "%s", err.text);
    if (to->verb_bits)
        to->verb_bits |= 1u << ACCESS_STATUS;
    resolve_services(build, section, to);
    check_wide(build, section, to);
}

/* Patterns as `supervisor events --of` takes them. */
static bool is_about(const char *patterns, const char *service)
{
    char pattern[2 * SPEC_NAME_MAX];

    for (const char *at = patterns; *at;) {
        at += strspn(at, " ,");
        size_t len = strcspn(at, " ,");
        /* The service of "web:0"; what is about an instance is about it. */
        snprintf(pattern, sizeof pattern, "%.*s", (int)strcspn(at, " ,:"), at);
        if (len > 0 && fnmatch(pattern, service, 0) == 0)
            return true;
        at += len;
    }
    return false;
}

static const bool *covered_by(struct plan_build *build, const struct plan_key *about)
{
    const struct plan *plan = build->plan;
    bool *covers = about ? plan_build_keep(build, plan->nservices, sizeof *covers) : NULL;

    for (size_t i = 0; covers && i < plan->nservices; i++)
        covers[i] = is_about(about->value, plan->services[i].name);
    return covers;
}

/* The user of an events helper may read what the helper is there to read: whatever it runs beside
 * could look into the helper anyway. */
static void add_helper(struct plan_build *build, const struct plan_section *section)
{
    struct plan *plan = build->plan;
    ssize_t index = plan_find(plan, section->name);
    const char *user = index >= 0 ? plan->services[index].user : NULL;
    struct spec_access *to = &plan->access[plan->naccess];
    struct err err;

    if (!user || section->again)
        return;
    to->name = to->title = plan_build_text(build, section->title);
    to->file = plan_build_path(build, section->file);
    to->line = section->line;
    to->users_line = line_of(section, "user");
    to->helper = true;
    to->verb_bits = 1u << ACCESS_EVENTS | 1u << ACCESS_STATUS;
    to->covers = covered_by(build, section->about);
    if (opt_set(&options_access, "users", user, &plan->arena, to, &err) != 0 ||
        opt_set(&options_access, "verbs", "events", &plan->arena, to, &err) != 0 ||
        (section->about &&
         opt_set(&options_access, "services", section->about->value, &plan->arena, to, &err) != 0))
        build->no_memory |= err.code == ERR_MEMORY;
    plan->naccess++;
}

static void open_socket(struct plan_build *build)
{
    struct spec_supervisor *to = &build->plan->supervisor;
    const struct opt *row = opt_find(&options_supervisor, "socket_mode");

    if (build->plan->naccess > 0 && !to->texts[row - options_supervisor.rows])
        to->socket_mode = OPEN_MODE;
}

void plan_access_fill(struct plan_build *build)
{
    struct plan *plan = build->plan;
    size_t count = plan_sections_count(build, PLAN_KIND_ACCESS), helpers = 0;

    for (size_t i = 0; i < build->nsections; i++)
        helpers += build->sections[i].helper;
    plan->access = plan_build_keep(build, count + helpers, sizeof *plan->access);
    for (size_t i = 0; plan->access && i < build->nsections && !build->no_memory; i++) {
        const struct plan_section *section = &build->sections[i];
        struct spec_access again = { 0 }; /* only looked at for further errors */
        if (section->kind != PLAN_KIND_ACCESS)
            continue;
        if (!section->again && plan->naccess == PLAN_ACCESS_MAX) {
            plan_build_error(build, section->file, section->line, section->title, NULL,
                             "more than %d sections of this kind", PLAN_ACCESS_MAX);
            return;
        }
        fill(build, section, section->again ? &again : &plan->access[plan->naccess++]);
    }
    for (size_t i = 0; plan->access && i < build->nsections && !build->no_memory; i++)
        if (build->sections[i].helper)
            add_helper(build, &build->sections[i]);
    open_socket(build);
}
