/* plan_fill.c - the contract is in plan_build.h. */
#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/near.h"
#include "supervisor/plan/instance.h"
#include "supervisor/plan/options.h"
#include "supervisor/plan/plan_build.h"

static const char *row_key(size_t i, const void *context)
{
    return ((const struct opt *)context)[i].key;
}

static bool is_lenient(const struct plan_section *section)
{
    return section->kind == PLAN_KIND_PROGRAM || section->kind == PLAN_KIND_GROUP ||
           section->kind == PLAN_KIND_SUPERVISORD;
}

/* A key without a row.  supervisord ignores what it does not know, so its sections only warn. */
static void refuse_key(struct plan_build *build, const struct plan_section *section,
                       const struct opt_table *table, const struct plan_key *key)
{
    const char *kind = section->kind == PLAN_KIND_SUPERVISORD ? "supervisord" : "program";
    const char *foreign = options_supervisord_only(kind, key->key);
    const char *nearest = near_name(key->key, table->count, row_key, table->rows);
    bool service = section->kind == PLAN_KIND_SERVICE || section->kind == PLAN_KIND_PROGRAM;
    const char *what = service || section->kind == PLAN_KIND_SUPERVISORD ? foreign : NULL;

    if (is_lenient(section) && what)
        plan_build_warn(build, key->file, key->line, section->title, key->key, "%s", what);
    else if (is_lenient(section) && nearest)
        plan_build_warn(build, key->file, key->line, section->title, key->key,
                        "unknown key, ignored; did you mean \"%s\"?", nearest);
    else if (is_lenient(section))
        plan_build_warn(build, key->file, key->line, section->title, key->key,
                        "unknown key, ignored");
    else if (what)
        plan_build_error(build, key->file, key->line, section->title, key->key,
                         "%s, remove the line", what);
    else if (nearest)
        plan_build_error(build, key->file, key->line, section->title, key->key,
                         "unknown key, did you mean \"%s\"?", nearest);
    else
        plan_build_error(build, key->file, key->line, section->title, key->key,
                         "unknown key, try one that \"supervisor options\" lists");
}

/* Texts that mean something when they are empty. */
static bool may_be_empty(const struct opt *row)
{
    return row->type == OPT_NAMES || strcmp(row->key, "environment") == 0;
}

bool plan_fill_key(struct plan_build *build, const struct plan_section *section,
                   const struct opt_table *table, const struct plan_key *key, char *const *names,
                   void *target)
{
    const struct opt *row = opt_find(table, key->key);
    const char *value = key->value;
    struct err err;
    int rc = 0;

    if (!row) {
        refuse_key(build, section, table, key);
        return false;
    }
    if (!*value && !may_be_empty(row)) {
        bool told_later = strcmp(row->key, "command") == 0;
        if (is_lenient(section) && strcmp(row->key, "exitcodes") == 0) /* none is expected */
            return opt_set(table, key->key, "", &build->plan->arena, target, &err) == 0;
        if (!told_later && (!is_lenient(section) || row->type != OPT_TEXT))
            plan_build_error(build, key->file, key->line, section->title, key->key,
                             "is empty, remove the line for the default");
        return false;
    }
    /* "10%" is a percentage; only texts may hold a %% or must not hold a lone %. */
    bool expands = strstr(value, "%(") || (row->type == OPT_TEXT && strchr(value, '%'));
    if (expands && !(row->flags & (OPTIONS_INSTANCE | OPTIONS_PATTERNS)))
        rc = instance_expand(value, names, (char *const *)build->plan->environment, &build->scratch,
                             &value, &err);
    if (rc == 0 && is_lenient(section))
        value = plan_python_number(build, section, key, row, value);
    if (rc == 0)
        rc = opt_set(table, key->key, value, &build->plan->arena, target, &err);
    if (rc < 0)
        plan_build_error(build, key->file, key->line, section->title, key->key, "%s", err.text);
    return rc == 0;
}

char **plan_fill_names(struct plan_build *build, size_t file)
{
    char **names = instance_names(plan_build_here(build, file), build->source->host, NULL, NULL, -1,
                                  &build->scratch);
    build->no_memory |= !names;
    return names;
}

/* Puts environment = ... over the plan's own. */
static void add_environment(struct plan_build *build, const struct plan_section *section,
                            const struct plan_key *key, char *const *names)
{
    struct arena *arena = &build->plan->arena;
    char *const *outer = (char *const *)build->plan->environment;
    char **pairs;
    struct err err;

    int rc = section->kind == PLAN_KIND_SUPERVISORD
                 ? instance_environment_shlex(key->value, names, outer, arena, &pairs, &err)
                 : instance_environment(key->value, names, outer, arena, &pairs, &err);
    if (rc < 0) {
        plan_build_error(build, key->file, key->line, section->title, key->key, "%s", err.text);
        return;
    }
    char **merged = instance_overlay(outer, pairs, arena);
    build->no_memory |= !merged;
    if (merged)
        build->plan->environment = (const char **)merged;
}

/* supervisord's levels in ours. */
static const char *level_name(const char *level)
{
    static const char *const pairs[][2] = {
        { "critical", "error" }, { "error", "error" }, { "warn", "warn" },     { "info", "info" },
        { "debug", "debug" },    { "trace", "debug" }, { "blather", "debug" },
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        if (strcasecmp(pairs[i][0], level) == 0)
            return pairs[i][1];
    return level;
}

/* What supervisord itself would take on, and what all of its programs inherit from it then. */
static bool is_default(const char *key)
{
    return strcmp(key, "user") == 0 || strcmp(key, "umask") == 0 || strcmp(key, "directory") == 0;
}

static void take_default(struct plan_build *build, const struct plan_key *key)
{
    if (is_default(key->key) && build->ninherited < PLAN_INHERITED_MAX)
        build->inherited[build->ninherited++] = *key;
}

/* The keys of [supervisord] that have a meaning here, under our names. */
static void fill_supervisord(struct plan_build *build, const struct plan_section *section)
{
    static const char *const ours[][2] = {
        { "environment", "environment" },
        { "identifier", "identifier" },
        { "loglevel", "log_level" },
        { "childlogdir", "log_dir" },
    };
    for (size_t i = 0; i < section->nkeys; i++) {
        struct plan_key key = section->keys[i];
        char **names = plan_fill_names(build, key.file);
        bool known = false;
        for (size_t k = 0; k < sizeof(ours) / sizeof(ours[0]) && !known; k++) {
            known = strcmp(ours[k][0], key.key) == 0;
            if (known)
                key.key = ours[k][1];
        }
        if (!names)
            return;
        take_default(build, &section->keys[i]);
        if (strcmp(key.key, "log_level") == 0)
            key.value = level_name(key.value);
        if (strcmp(key.key, "environment") == 0)
            add_environment(build, section, &key, names);
        else if (known)
            plan_fill_key(build, section, &options_supervisor, &key, names,
                          &build->plan->supervisor);
        else if (!is_default(key.key))
            refuse_key(build, section, &options_supervisor, &section->keys[i]);
    }
}

static bool is_word_of_audit(const char *where)
{
    return !where || strcmp(where, "none") == 0 || strcmp(where, "syslog") == 0 ||
           strncmp(where, "syslog:/", strlen("syslog:/")) == 0;
}

static void check_absolute(struct plan_build *build, const struct plan_section *section,
                           const struct plan_key *key)
{
    const struct spec_supervisor *to = &build->plan->supervisor;
    const struct {
        const char *key, *value, *other;
    } paths[] = {
        { "socket", to->socket, "@" },
        { "state_dir", to->state_dir, NULL },
        { "log", to->log, "-" },
        { "log_dir", to->log_dir, NULL },
        { "audit_log", is_word_of_audit(to->audit_log) ? NULL : to->audit_log, NULL },
    };
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (strcmp(paths[i].key, key->key) != 0 || !paths[i].value || *paths[i].value == '/')
            continue;
        if (!paths[i].other || strncmp(paths[i].value, paths[i].other, 1) != 0)
            plan_build_error(build, key->file, key->line, section->title, key->key,
                             "\"%.64s\" is relative, try an absolute path, as %%(here)s/%.64s",
                             paths[i].value, paths[i].value);
    }
}

/* A pattern that fits no file that was read is most likely a slip, but not an error: a folder
 * may be empty today. */
static void check_patterns(struct plan_build *build, const struct plan_section *section,
                           const struct plan_key *key, const struct opt_names *patterns,
                           char *const *names)
{
    for (size_t i = 0; i < patterns->count; i++) {
        const char *pattern;
        struct err err;
        bool found = false;
        if (instance_expand(patterns->names[i], names, (char *const *)build->source->environment,
                            &build->scratch, &pattern, &err) < 0) {
            plan_build_error(build, key->file, key->line, section->title, key->key, "%s", err.text);
            continue;
        }
        if (*pattern != '/')
            pattern =
                arena_printf(&build->scratch, "%s/%s", plan_build_here(build, key->file), pattern);
        for (size_t f = 0; pattern && f < build->source->nfiles && !found; f++)
            found = fnmatch(pattern, build->paths[f], FNM_PATHNAME) == 0;
        build->no_memory |= !pattern;
        /* A plain name of ours that is missing was an error when the files were read. */
        bool told = section->kind == PLAN_KIND_SUPERVISOR && !strpbrk(patterns->names[i], "*?[");
        if (!found && !told)
            plan_build_warn(build, key->file, key->line, section->title, key->key,
                            "no file matches %.200s", patterns->names[i]);
    }
}

static void fill_own(struct plan_build *build, const struct plan_section *section)
{
    struct spec_supervisor *to = &build->plan->supervisor;

    for (size_t i = 0; i < section->nkeys; i++) {
        const struct plan_key *key = &section->keys[i];
        char **names = plan_fill_names(build, key->file);
        if (!names)
            return;
        if (strcmp(key->key, "environment") == 0) {
            add_environment(build, section, key, names);
            to->environment = plan_build_text(build, key->value);
        } else if (!plan_fill_key(build, section, &options_supervisor, key, names, to)) {
            continue;
        }
        if (strcmp(key->key, "include") == 0)
            check_patterns(build, section, key, &to->include, names);
        check_absolute(build, section, key);
        to->texts[opt_find(&options_supervisor, key->key) - options_supervisor.rows] =
            plan_build_text(build, key->value);
    }
}

static void fill_include(struct plan_build *build, const struct plan_section *section)
{
    struct spec_supervisor files = { 0 };
    bool lenient = false;

    for (size_t i = 0; i < section->nkeys; i++) {
        const struct plan_key *key = &section->keys[i];
        char **names = plan_fill_names(build, key->file);
        if (names && plan_fill_key(build, section, &options_include, key, names, &files))
            lenient = true;
        if (plan_source_included(build->source, key->file))
            plan_build_warn(build, key->file, key->line, section->title, key->key,
                            "is not followed, because this file was included itself; try include "
                            "in [supervisor]");
    }
    if (!lenient && section->nkeys == 0)
        plan_build_error(build, section->file, section->line, section->title, "files",
                         "is missing, try files = conf.d/*.ini");
}

static const char **copy_environment(struct plan_build *build)
{
    const char **from = build->source->environment;
    size_t count = 0;

    while (from && from[count])
        count++;
    const char **ret = plan_build_keep(build, count + 1, sizeof(*ret));
    for (size_t i = 0; ret && i < count; i++) {
        ret[i] = arena_strdup(&build->plan->arena, from[i]);
        build->no_memory |= !ret[i];
    }
    return ret;
}

/* Of sections of supervisord that have no meaning here. */
static const char *why_ignored(const char *title)
{
    static const char *const known[][2] = {
        { "eventlistener:", "is not run: it speaks a protocol of supervisord's own; supervisor "
                            "events -f tells what happens as JSON lines" },
        { "unix_http_server", "is ignored: commands use the socket of [supervisor]" },
        { "inet_http_server", "is ignored: no network port is opened" },
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strncmp(title, known[i][0], strlen(known[i][0])) == 0)
            return known[i][1];
    return "has no meaning here and is ignored";
}

void plan_fill_supervisor(struct plan_build *build)
{
    struct plan *plan = build->plan;
    struct err err;

    plan->environment = copy_environment(build);
    plan->host = arena_strdup(&plan->arena, build->source->host ? build->source->host : "");
    plan->supervisor.texts =
        plan_build_keep(build, options_supervisor.count, sizeof(*plan->supervisor.texts));
    if (opt_defaults(&options_supervisor, &plan->arena, &plan->supervisor, &err) < 0 ||
        !plan->host || !plan->environment || !plan->supervisor.texts) {
        build->no_memory = true;
        return;
    }
    /* In this order, so that [supervisor] wins. */
    for (size_t i = 0; i < build->nsections; i++)
        if (build->sections[i].kind == PLAN_KIND_SUPERVISORD)
            fill_supervisord(build, &build->sections[i]);
    for (size_t i = 0; i < build->nsections; i++) {
        const struct plan_section *section = &build->sections[i];
        if (section->kind == PLAN_KIND_SUPERVISOR)
            fill_own(build, section);
        else if (section->kind == PLAN_KIND_INCLUDE)
            fill_include(build, section);
        else if (section->kind == PLAN_KIND_FOREIGN)
            plan_build_warn(build, section->file, section->line, section->title, NULL, "%s",
                            why_ignored(section->title));
    }
}

void plan_fill_check_name(struct plan_build *build, const struct plan_section *section)
{
    const char *at = section->name;

    while (isalnum((unsigned char)*at) || (*at && strchr("._-+@", *at)))
        at++;
    if (*at || (!isalnum((unsigned char)*section->name) && *section->name != '_'))
        plan_build_error(
            build, section->file, section->line, section->title, NULL,
            "the name may only have letters, digits and . _ - + @ in it, and begins with "
            "a letter, digit or _");
    else if (strlen(section->name) >= SPEC_NAME_MAX)
        plan_build_error(build, section->file, section->line, section->title, NULL,
                         "the name is longer than %d letters", SPEC_NAME_MAX - 1);
    else if (strcmp(section->name, "all") == 0)
        plan_build_error(build, section->file, section->line, section->title, NULL,
                         "\"all\" stands for all services, try another name");
}

static int by_program(const void *a, const void *b)
{
    const struct plan_membership *x = a, *y = b;
    int order = strcmp(x->program, y->program);

    return order ? order : x->group < y->group ? -1 : x->group > y->group;
}

/* Who belongs where; of two groups the later one wins. */
static void collect_members(struct plan_build *build)
{
    struct plan *plan = build->plan;
    size_t total = 0, kept = 0;

    for (size_t i = 0; i < plan->ngroups; i++)
        total += plan->groups[i].programs.count;
    struct plan_membership *members = plan_build_scratch(build, total, sizeof(*members));
    if (!members)
        return;
    for (size_t i = 0, n = 0; i < plan->ngroups; i++)
        for (size_t k = 0; k < plan->groups[i].programs.count; k++)
            members[n++] = (struct plan_membership){ plan->groups[i].programs.names[k], i };
    qsort(members, total, sizeof(*members), by_program);
    for (size_t i = 0; i < total; i++)
        if (kept && strcmp(members[kept - 1].program, members[i].program) == 0)
            members[kept - 1] = members[i];
        else
            members[kept++] = members[i];
    build->members = members;
    build->nmembers = kept;
}

void plan_fill_groups(struct plan_build *build)
{
    struct plan *plan = build->plan;
    struct err err;

    plan->groups =
        plan_build_keep(build, plan_sections_count(build, PLAN_KIND_GROUP), sizeof(*plan->groups));
    for (size_t i = 0; plan->groups && i < build->nsections; i++) {
        const struct plan_section *section = &build->sections[i];
        if (section->kind != PLAN_KIND_GROUP)
            continue;
        struct spec_group *group = &plan->groups[plan->ngroups++];
        char **names = plan_fill_names(build, section->file);
        group->name = plan_build_text(build, section->name);
        plan_fill_check_name(build, section);
        if (!names || opt_defaults(&options_group, &plan->arena, group, &err) < 0) {
            build->no_memory = true;
            return;
        }
        for (size_t k = 0; k < section->nkeys; k++)
            plan_fill_key(build, section, &options_group, &section->keys[k], names, group);
        if (!plan_sections_key(section, "programs"))
            plan_build_error(build, section->file, section->line, section->title, "programs",
                             "is missing, try programs = web worker");
    }
    collect_members(build);
}

void plan_fill_services(struct plan_build *build)
{
    struct plan *plan = build->plan;
    size_t count = plan_sections_count(build, PLAN_KIND_SERVICE) +
                   plan_sections_count(build, PLAN_KIND_PROGRAM);

    /* Until they are put into their order. */
    plan->services = plan_build_scratch(build, count, sizeof(*plan->services));
    build->lines = plan_build_scratch(build, count, sizeof(*build->lines));
    for (size_t i = 0; i < build->nsections && !build->no_memory; i++) {
        const struct plan_section *section = &build->sections[i];
        struct spec_service again = { 0 }; /* only looked at for further errors */
        struct plan_lines lines = { 0 };
        if (section->kind != PLAN_KIND_SERVICE && section->kind != PLAN_KIND_PROGRAM)
            continue;
        plan_fill_check_name(build, section);
        if (section->again) {
            plan_service_fill(build, section, &again, &lines);
            continue;
        }
        if (plan->nservices == PLAN_SERVICES_MAX) {
            plan_build_error(build, section->file, section->line, section->title, NULL,
                             "more than %d services", PLAN_SERVICES_MAX);
            return;
        }
        plan_service_fill(build, plan_release_pinned(build, section),
                          &plan->services[plan->nservices], &build->lines[plan->nservices]);
        build->lines[plan->nservices].own = section;
        plan->nconfigured += plan->services[plan->nservices].release_config != NULL;
        plan->nservices++;
    }
}
