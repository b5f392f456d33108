/* plan_service.c - one [service:] or [program:] made into a spec_service. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/unit.h"
#include "supervisor/plan/instance.h"
#include "supervisor/plan/options.h"
#include "supervisor/plan/plan_build.h"
#include "supervisor/plan/release_keys.h"

/* A section while it is filled. */
struct filling {
    struct plan_build *build;
    const struct plan_section *section;
    struct spec_filling *filling; /* in front of both: what the option table fills */
    struct spec_service *service; /* of filling */
    struct spec_settings *set;    /* likewise */
    const char **texts;           /* as given, by row of the option table */
    struct plan_lines *lines;
};

static size_t row_of(const char *key)
{
    const struct opt *row = opt_find(&options_service, key);
    return row ? (size_t)(row - options_service.rows) : options_service.count;
}

static bool given(const struct filling *f, const char *key)
{
    size_t row = row_of(key);
    return row < options_service.count && f->texts[row];
}

static void complain(const struct filling *f, const char *key, const char *what, const char *value)
{
    size_t row = row_of(key);
    struct spec_place place = { f->section->file, f->section->line };

    if (row < options_service.count && f->lines->places[row].line)
        place = f->lines->places[row];
    if (value)
        plan_build_error(f->build, place.file, place.line, f->section->title, key, "\"%.64s\" %s",
                         value, what);
    else
        plan_build_error(f->build, place.file, place.line, f->section->title, key, "%s", what);
}

static int by_program(const void *key, const void *member)
{
    return strcmp(key, ((const struct plan_membership *)member)->program);
}

static const char *group_of(const struct filling *f)
{
    const struct plan_build *build = f->build;
    const struct plan_membership *member = NULL;

    if (build->nmembers)
        member = bsearch(f->section->name, build->members, build->nmembers, sizeof(*build->members),
                         by_program);
    return member ? build->plan->groups[member->group].name : f->section->name;
}

static bool fill_defaults(const struct filling *f)
{
    struct arena *arena = &f->build->plan->arena;
    struct err err;

    if (opt_defaults(&options_service, arena, f->filling, &err) < 0)
        return false;
    for (size_t i = 0; f->section->kind == PLAN_KIND_PROGRAM && i < options_service.count; i++) {
        const char *key = options_service.rows[i].key, *initial = options_program_initial(key);
        if (initial && opt_set(&options_service, key, initial, arena, f->filling, &err) < 0)
            return false;
    }
    return true;
}

static void fill_one(const struct filling *f, const struct plan_key *key, char *const *names)
{
    if (!plan_fill_key(f->build, f->section, &options_service, key, names, f->filling))
        return;
    size_t row = row_of(key->key);
    f->texts[row] = plan_build_text(f->build, key->value);
    f->lines->places[row] = (struct spec_place){ key->file, key->line };
}

static char **names_of(const struct filling *f, size_t file, int64_t numprocs)
{
    const struct spec_service *service = f->service;
    const char *here = file == f->section->file ? service->here : plan_build_here(f->build, file);
    char **names = instance_names(here, f->build->source->host, service->name, service->group,
                                  numprocs, &f->build->scratch);
    f->build->no_memory |= !names;
    return names;
}

/* What [supervisord] says for all programs. */
static void fill_inherited(const struct filling *f)
{
    for (size_t i = 0; i < f->build->ninherited; i++) {
        const struct plan_key *key = &f->build->inherited[i];
        char **names = names_of(f, key->file, f->service->numprocs);
        if (names && !plan_sections_key(f->section, key->key))
            fill_one(f, key, names);
    }
}

static const char *const syslog_keys[][2] = { { "stdout_syslog", "stdout_logfile" },
                                              { "stderr_syslog", "stderr_logfile" } };
enum { NSYSLOG_KEYS = 2 };

static bool is_syslog(const struct filling *f, const struct plan_key *key)
{
    bool ret = false;

    for (int i = 0; i < NSYSLOG_KEYS; i++)
        ret |= strcmp(key->key, syslog_keys[i][0]) == 0;
    return ret && f->section->kind == PLAN_KIND_PROGRAM;
}

/* supervisord's stdout_syslog = true: syslog beside the file there, instead of it here. */
static void fill_syslog(const struct filling *f, char *const *names)
{
    for (int i = 0; f->section->kind == PLAN_KIND_PROGRAM && i < NSYSLOG_KEYS; i++) {
        const char *logfile = syslog_keys[i][1];
        const struct plan_key *key = plan_sections_key(f->section, syslog_keys[i][0]);
        const struct plan_key *file = plan_sections_key(f->section, logfile);
        bool on = false;
        struct err err;
        if (!key)
            continue;
        if (unit_boolean(key->value, &on, &err) < 0)
            plan_build_error(f->build, key->file, key->line, f->section->title, key->key, "%s",
                             err.text);
        if (!on)
            continue;
        if (file && strchr(file->value, '/'))
            plan_build_warn(f->build, file->file, file->line, f->section->title, logfile,
                            "%.200s is not written, the output goes to syslog", file->value);
        struct plan_key syslog = { logfile, "syslog", key->file, key->line };
        fill_one(f, &syslog, names);
    }
}

/* numprocs first, because the others may ask for it. */
static void fill_keys(const struct filling *f)
{
    const struct plan_key *numprocs = plan_sections_key(f->section, "numprocs");
    const struct plan_source *source = f->build->source;
    char **names = names_of(f, f->section->file, -1);

    if (names && numprocs)
        fill_one(f, numprocs, names);
    for (size_t i = 0; i < source->nscales; i++)
        if (strcmp(source->scales[i].service, f->service->name) == 0)
            f->service->numprocs = source->scales[i].count;
    if (f->service->numprocs < 0 || f->service->numprocs > SPEC_NUMPROCS_MAX)
        complain(f, "numprocs", "the scale that was set is out of range, try 0 to 1000", NULL);
    names = names_of(f, f->section->file, f->service->numprocs);
    for (size_t i = 0; i < f->section->nkeys && names; i++) {
        const struct plan_key *key = &f->section->keys[i];
        if (key == numprocs || is_syslog(f, key))
            continue;
        char **here =
            key->file == f->section->file ? names : names_of(f, key->file, f->service->numprocs);
        if (here)
            fill_one(f, key, here);
    }
    if (names)
        fill_syslog(f, names);
}

/* "/srv//web/./" -> "/srv/web", so that equal folders are equal texts. */
static const char *normal_path(const char *path, struct arena *arena)
{
    char *ret = arena_strdup(arena, path), *out = ret;

    for (const char *at = path; ret && *at;) {
        at += strspn(at, "/");
        size_t len = strcspn(at, "/");
        if (len && !(len == 1 && *at == '.')) {
            *out++ = '/';
            memmove(out, at, len);
            out += len;
        }
        at += len;
    }
    if (ret)
        *out = '\0';
    return ret;
}

static bool has_dotdot(const char *path)
{
    while (*path) {
        size_t len = strcspn(path, "/");
        if (len == 2 && path[0] == '.' && path[1] == '.')
            return true;
        path += len + strspn(path + len, "/");
    }
    return false;
}

static void check_release(const struct filling *f)
{
    struct spec_service *service = f->service;

    if (!service->release)
        return;
    if (*service->release != '/')
        complain(f, "release", "is relative, try an absolute path as /srv/web", service->release);
    else if (has_dotdot(service->release))
        complain(f, "release", "has .. in it, try the path without", service->release);
    service->release = normal_path(service->release, &f->build->plan->arena);
    f->build->no_memory |= !service->release;
    if (service->release && !*service->release)
        complain(f, "release", "is the root folder, try /srv/web", "/");
}

static void check_stopping(const struct filling *f)
{
    f->set->killasgroup_given = given(f, "killasgroup");
    if (!f->set->killasgroup_given)
        f->set->killasgroup = f->set->stopasgroup;
    if (f->set->stopasgroup && !f->set->killasgroup)
        complain(f, "killasgroup",
                 "is false while stopasgroup is true, so KILL would reach fewer than the stop "
                 "signal; try killasgroup = true",
                 NULL);
}

/* supervisord takes its own working directory, which says little about where a file ends up. */
static void warn_relative(const struct filling *f, const char *key, const char *path)
{
    static const char *const words[] = { "auto",    "none",   "off",     "inherit",
                                         "console", "syslog", "journald" };
    const struct spec_place *place = &f->lines->places[row_of(key)];

    if (!path || *path == '/' || *path == '%' || f->service->kind == SPEC_SERVICE)
        return;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasecmp(path, words[i]) == 0)
            return;
    if (strncmp(path, "syslog:/", 8) == 0 || strncmp(path, "journald:/", 10) == 0)
        return;
    plan_build_warn(f->build, place->file, place->line, f->section->title, key,
                    "\"%.64s\" is relative and taken from %.200s", path, f->service->here);
}

static void check_output(const struct filling *f)
{
    struct spec_service *service = f->service;

    warn_relative(f, "stdout_logfile", service->out.logfile);
    warn_relative(f, "stderr_logfile", service->err.logfile);
    if (!given(f, "stderr_logfile"))
        return;
    if (!given(f, "redirect_stderr"))
        f->set->redirect_stderr = false;
    else if (f->set->redirect_stderr && service->kind == SPEC_SERVICE)
        complain(f, "stderr_logfile",
                 "has no effect while redirect_stderr is true, try redirect_stderr = false", NULL);
}

/* There is a release, and what it says is known. */
static bool has_text(const struct filling *f)
{
    return f->section->release && f->section->release->problem[0] == '\0';
}

static void check_release_config(const struct filling *f)
{
    struct spec_service *service = f->service;
    const struct plan_release *release = f->section->release;
    struct err err;

    if (!service->release_config)
        return;
    if (service->kind == SPEC_PROGRAM)
        complain(f, "release_config", "works in [service:NAME] only", NULL);
    else if (!service->release)
        complain(f, "release_config", "wants release = /srv/NAME, too", NULL);
    if (release_keys_name(service->release_config, &err) < 0)
        complain(f, "release_config", err.text, NULL);
    if (!release)
        return;
    service->release_id = plan_build_text(f->build, release->id);
    service->release_file = plan_build_text(f->build, release->path);
    service->release_problem = plan_build_text(f->build, release->problem);
    service->release_keys = f->section->release_keys;
}

static void check_rest(const struct filling *f)
{
    struct spec_service *service = f->service;
    const struct plan_key *command = plan_sections_key(f->section, "command");

    if (!command && service->release_config && !has_text(f)) /* a release brings it */
        service->command = NULL;
    else if (!command)
        complain(f, "command", "is missing, try command = /usr/bin/PROGRAM ARG", NULL);
    else if (!*command->value)
        plan_build_error(f->build, command->file, command->line, f->section->title, "command",
                         "is empty, try command = /usr/bin/PROGRAM ARG");
    if (service->kind == SPEC_PROGRAM && service->numprocs > 1 &&
        !instance_mentions(service->process_name, "process_num"))
        complain(f, "process_name",
                 "has no %(process_num)d while numprocs is more than 1, try process_name = "
                 "%(program_name)s_%(process_num)02d",
                 NULL);
    if (f->set->backoff_max_ms < f->set->backoff_min_ms)
        complain(f, given(f, "backoff_max") ? "backoff_max" : "backoff_min",
                 given(f, "backoff_max") ? "is less than backoff_min, try a longer one"
                                         : "is more than backoff_max, try a longer backoff_max",
                 NULL);
    f->set->backoff_linear = service->kind == SPEC_PROGRAM && !given(f, "backoff_factor");
    f->set->set_oom_score = given(f, "oom_score_adj");
    if (f->set->type == SPEC_TYPE_SCHEDULED && !plan_sections_key(f->section, "schedule") &&
        !plan_sections_key(f->section, "every"))
        complain(f, "type", "wants to know when, try schedule = 0 3 * * * or every = 1h",
                 "scheduled");
    if (f->set->type == SPEC_TYPE_SCHEDULED && !given(f, "startretries"))
        f->set->startretries = 0; /* its next time comes anyway */
    f->set->startup.successes = 1;
    f->set->live.successes = 1;
}

/* The settings and texts that others have too are shared with them. */
static void keep_shared(const struct filling *f)
{
    struct arena *arena = &f->build->plan->arena;
    struct spec_service *service = f->service;
    struct spec_text *texts = plan_build_scratch(f->build, options_service.count, sizeof(*texts));

    for (size_t row = 0; texts && row < options_service.count; row++)
        if (f->texts[row])
            texts[service->ntexts++] = (struct spec_text){ f->texts[row], row };
    service->texts = texts ? arena_share(arena, texts, service->ntexts * sizeof(*texts)) : NULL;
    service->set = arena_share(arena, f->set, sizeof(*f->set));
    f->build->no_memory |= !service->texts || !service->set;
}

void plan_service_fill(struct plan_build *build, const struct plan_section *section,
                       struct spec_service *ret, struct plan_lines *lines)
{
    struct spec_filling *filling = plan_build_scratch(build, 1, sizeof(*filling));
    struct filling f = { .build = build, .section = section, .filling = filling, .lines = lines };

    f.texts = plan_build_scratch(build, options_service.count, sizeof(*f.texts));
    lines->section = section;
    lines->places = build->keep_places
                        ? plan_build_keep(build, options_service.count, sizeof(*lines->places))
                        : plan_build_scratch(build, options_service.count, sizeof(*lines->places));
    if (build->no_memory)
        return;
    f.service = &filling->service;
    f.set = &filling->set;
    f.service->set = f.set;
    f.service->name = plan_build_text(build, section->name);
    f.service->group = plan_build_text(build, group_of(&f));
    f.service->kind = section->kind == PLAN_KIND_PROGRAM ? SPEC_PROGRAM : SPEC_SERVICE;
    f.service->file = plan_build_path(build, section->file);
    f.service->line = section->line;
    f.service->places = build->keep_places ? lines->places : NULL;
    f.service->here = plan_build_here(build, section->file);
    if (build->no_memory || !fill_defaults(&f)) {
        build->no_memory = true;
        return;
    }
    fill_keys(&f);
    if (f.service->kind == SPEC_PROGRAM)
        fill_inherited(&f);
    check_release(&f);
    check_release_config(&f);
    check_stopping(&f);
    check_output(&f);
    check_rest(&f);
    plan_sandbox_settle(build, lines, filling);
    keep_shared(&f);
    *ret = *f.service;
}
