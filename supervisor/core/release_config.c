/* release_config.c - the contract is in release_config.h. */
#include "supervisor/core/release_config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/log.h"
#include "io/durable.h"
#include "supervisor/core/core_plan.h"
#include "supervisor/core/keeper.h"
#include "supervisor/plan/release_keys.h"
#include "supervisor/release/releases.h"

/* The releases that one service may have to do with. */
enum { IDS_MAX = 16 };
struct ids {
    char list[IDS_MAX][RELEASE_ID_MAX];
    size_t count;
};

static void add_id(struct ids *ids, const char *id)
{
    if (!release_id_valid(id) || ids->count == IDS_MAX)
        return;
    for (size_t i = 0; i < ids->count; i++)
        if (strcmp(ids->list[i], id) == 0)
            return;
    snprintf(ids->list[ids->count++], RELEASE_ID_MAX, "%s", id);
}

static void add_of_unit(struct ids *ids, const struct unit *unit)
{
    if (!unit)
        return;
    add_id(ids, unit->body.release);
    add_id(ids, unit->body.next_release);
}

/* What is pinned, what may be gone back to, and what runs. */
static void ids_of(const struct core *core, size_t service, struct ids *ids)
{
    struct slot *const *slots;
    size_t count = keeper_slots_of(core->keeper, service, &slots);
    const char *known[RELEASES_IDS];
    size_t nknown = releases_ids(core->releases, service, known);

    for (size_t i = 0; i < nknown; i++)
        add_id(ids, known[i]);
    for (size_t i = 0; i < count; i++) {
        add_of_unit(ids, slots[i]->main);
        add_of_unit(ids, slots[i]->twin);
        add_id(ids, slots[i]->replace_release);
    }
}

/* --- one file --- */

static const char *name_in(const struct spec_service *spec)
{
    return spec->release_config + (*spec->release_config == '-');
}

/* Opened beneath the release, through no link: who owns the folder does not choose what we read. */
static int read_beneath(int release_fd, const char *name, struct buf *text)
{
    char path[64];
    AUTO_CLOSE int fd = durable_open_beneath(release_fd, name, O_RDONLY | O_NONBLOCK, 0);

    if (fd < 0)
        return fd;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return buf_read_file(text, AT_FDCWD, path);
}

/* Fills the text of the entry, or problem. */
static void read_text(const struct core *core, size_t service, const struct spec_service *spec,
                      struct plan_release *entry, struct buf *text, struct err *problem)
{
    AUTO_CLOSE int fd = -1;
    char dir[PATH_MAX];

    if (releases_open(core->releases, service, entry->id, &fd, dir, sizeof dir, problem) != 0)
        return;
    int rc = read_beneath(fd, name_in(spec), text);
    if (rc == 0) {
        entry->text = buf_text(text);
        entry->len = text->len;
    } else if (rc == -EFBIG) {
        err_set(problem, ERR_LIMIT, "%s is larger than %d bytes", entry->path,
                RELEASE_KEYS_FILE_MAX);
    } else if (rc != -ENOENT || *spec->release_config != '-') {
        err_set(problem, ERR_SYSTEM,
                "%s cannot be read: %s (release_config of [service:%s], %s:%d; with a leading - it "
                "may be missing)",
                entry->path, strerrordesc_np(-rc), spec->name, spec->file, spec->line);
    }
}

static const struct plan_release *find_known(const struct plan_source *source,
                                             const struct plan_release *like)
{
    for (size_t i = 0; i < source->nreleases; i++) {
        const struct plan_release *known = &source->releases[i];
        if (strcmp(known->service, like->service) == 0 && strcmp(known->id, like->id) == 0 &&
            strcmp(known->path, like->path) == 0)
            return known;
    }
    return NULL;
}

/* What is known of it, else what the file says.  `service`: of the plan in force. */
static bool add_entry(const struct core *core, struct plan_source *source, size_t service,
                      const struct spec_service *spec, const char *id, bool pinned)
{
    char path[PATH_MAX];
    struct err problem = { .code = ERR_NONE };
    struct plan_release entry = {
        .service = spec->name, .id = id, .path = path, .problem = problem.text, .pinned = pinned
    };
    struct buf text;

    snprintf(path, sizeof path, "%s/releases/%s/%s", spec->release, id, name_in(spec));
    const struct plan_release *known = find_known(core->source, &entry);
    buf_init(&text, RELEASE_KEYS_FILE_MAX);
    if (known && known->problem[0] == '\0') {
        entry.text = known->text;
        entry.len = known->len;
    } else {
        read_text(core, service, spec, &entry, &text, &problem);
    }
    bool added = plan_source_release(source, &entry);
    buf_done(&text);
    return added;
}

/* --- all of them --- */

static bool is_pinned(const struct core *core, size_t service, const char *id)
{
    char pinned[RELEASE_ID_MAX];

    return releases_pinned(core->releases, service, pinned) && strcmp(pinned, id) == 0;
}

/* For the services of `plan`; sets that are only in it come when their pins are known. */
static bool fill(const struct core *core, struct plan_source *source, const struct plan *plan)
{
    bool fine = true;

    source->nreleases = 0;
    for (size_t i = 0; i < plan->nservices && fine; i++) {
        const struct spec_service *spec = &plan->services[i];
        ssize_t index = spec->release_config ? plan_find(core->plan, spec->name) : -1;
        const char *folder = index >= 0 ? core->plan->services[index].release : NULL;
        struct ids ids = { .count = 0 };

        if (!folder || !spec->release || strcmp(folder, spec->release) != 0)
            continue;
        ids_of(core, (size_t)index, &ids);
        for (size_t k = 0; k < ids.count && fine; k++)
            fine = add_entry(core, source, (size_t)index, spec, ids.list[k],
                             is_pinned(core, (size_t)index, ids.list[k]));
    }
    return fine;
}

void release_config_fill(const struct core *core, struct plan_source *source,
                         struct err_list *errors)
{
    struct err_list ignored; /* whoever loads it is told */

    err_list_init(&ignored);
    source->nreleases = 0;
    struct plan *plan = plan_make(source, &ignored, &ignored);
    err_list_done(&ignored);
    if (!plan || plan->nconfigured == 0) {
        plan_free(plan);
        return;
    }
    if (!fill(core, source, plan))
        err_list_add(errors, "no memory for the service files of releases");
    plan_free(plan);
    /* What was so before must not keep anybody from mending it. */
    for (size_t i = 0; i < source->nreleases; i++) {
        const struct plan_release *entry = &source->releases[i];
        const struct plan_release *known = find_known(core->source, entry);
        if (entry->pinned && entry->problem[0] && !(known && known->problem[0]))
            err_list_add(errors, "%s", entry->problem);
    }
}

static void source_free(struct plan_source *source)
{
    if (source)
        plan_source_free(source);
    free(source);
}

static struct plan *make_quietly(const struct plan_source *source, struct err_list *errors)
{
    struct err_list warnings;

    err_list_init(&warnings); /* told when the files were loaded */
    struct plan *plan = plan_make(source, errors, &warnings);
    err_list_done(&warnings);
    return plan;
}

/* Those that do not go with this host's files are kept as a problem of theirs. */
static void set_apart(struct plan_source *source)
{
    for (size_t i = 0; i < source->nreleases; i++) {
        struct plan_release only = source->releases[i];
        struct plan_source one = *source;
        struct err_list errors;

        if (!only.text)
            continue;
        only.pinned = true;
        one.releases = &only;
        one.nreleases = 1;
        err_list_init(&errors);
        struct plan *plan = make_quietly(&one, &errors);
        if (!plan) {
            const char *why = errors.count ? errors.lines[0] : "out of memory";
            char *copy = arena_strdup(&source->arena, why);
            source->releases[i].problem = copy ? copy : "out of memory";
            source->releases[i].text = NULL;
        }
        plan_free(plan);
        err_list_done(&errors);
    }
}

static struct plan *make_fitting(struct plan_source *source, struct err_list *errors)
{
    struct plan *plan = make_quietly(source, errors);

    if (plan)
        return plan;
    set_apart(source);
    err_list_done(errors);
    err_list_init(errors);
    return make_quietly(source, errors);
}

static int put_in_force(struct core *core, struct plan_source *source, struct plan *plan,
                        struct err *err)
{
    struct err_list problems;

    err_list_init(&problems);
    int rc = core_plan_apply(core, source, plan, CORE_PLAN_AS_BEFORE, &problems, err);
    for (size_t i = 0; i < problems.count; i++)
        log_error(problems.lines[i], NULL);
    err_list_done(&problems);
    return rc;
}

/* --- following the pins --- */

static bool is_followed(const struct core *core)
{
    char id[RELEASE_ID_MAX];

    for (size_t i = 0; i < core->plan->nservices; i++) {
        const struct spec_service *spec = &core->plan->services[i];
        if (!spec->release_config)
            continue;
        if (!releases_pinned(core->releases, i, id))
            id[0] = '\0';
        if (strcmp(id, spec->release_id ? spec->release_id : "") != 0)
            return false;
    }
    return true;
}

void release_config_follow(struct core *core)
{
    struct err_list errors;
    struct err err = { 0 };

    if (core->plan->nconfigured == 0 || is_followed(core))
        return;
    struct plan_source *source = core_plan_copy_source(core->source, &err);
    if (!source) {
        log_error("no memory to follow a release", "error", err.text, NULL);
        return;
    }
    err_list_init(&errors);
    struct plan *plan = fill(core, source, core->plan) ? make_fitting(source, &errors) : NULL;
    if (!plan)
        err_set(&err, ERR_INVALID, "%s", errors.count ? errors.lines[0] : "out of memory");
    if (!plan || put_in_force(core, source, plan, &err) != 0) {
        log_error("the settings of a release cannot be applied", "error", err.text, NULL);
        plan_free(plan);
        source_free(source);
    }
    err_list_done(&errors);
}

/* --- before a switch --- */

static bool is_of_set(const struct spec_service *spec, const char *path)
{
    return spec->release_config && spec->release && strcmp(spec->release, path) == 0;
}

/* A source with release `id` added for the services of this set; NULL with err, which has no code
 * when none of them wants to know. */
static struct plan_source *source_with(struct core *core, const char *path, const char *id,
                                       struct err *err)
{
    size_t count = 0;
    bool fine = true;

    *err = (struct err){ .code = ERR_NONE };
    for (size_t i = 0; i < core->plan->nservices; i++)
        count += is_of_set(&core->plan->services[i], path);
    if (count == 0 || !release_id_valid(id))
        return NULL;
    struct plan_source *source = core_plan_copy_source(core->source, err);
    if (!source)
        return NULL;
    fine = fill(core, source, core->plan);
    for (size_t i = 0; i < core->plan->nservices && fine; i++) {
        const struct spec_service *spec = &core->plan->services[i];
        struct ids ids = { .count = 0 };
        ids_of(core, i, &ids);
        size_t before = ids.count;
        add_id(&ids, id);
        if (is_of_set(spec, path) && ids.count > before)
            fine = add_entry(core, source, i, spec, id, false);
    }
    if (fine)
        return source;
    err_set(err, ERR_MEMORY, "no memory for the service file of %s", id);
    source_free(source);
    return NULL;
}

/* As if it were pinned: all that is checked of a configuration. */
static void try_pinned(const struct core *core, struct plan_source *source, const char *path,
                       const char *id, struct err_list *errors)
{
    struct plan_source trial = *source;
    size_t count = 0;

    trial.releases = calloc(source->nreleases + 1, sizeof *trial.releases);
    if (!trial.releases) {
        err_list_add(errors, "no memory to try the service file of %s", id);
        return;
    }
    for (size_t i = 0; i < source->nreleases; i++) {
        struct plan_release entry = source->releases[i];
        ssize_t index = plan_find(core->plan, entry.service);
        bool own = index >= 0 && is_of_set(&core->plan->services[index], path);
        entry.pinned = own ? strcmp(entry.id, id) == 0 : entry.pinned;
        if (own && entry.pinned && entry.problem[0])
            err_list_add(errors, "%s", entry.problem);
        if (entry.pinned)
            trial.releases[count++] = entry;
    }
    trial.nreleases = count;
    if (errors->total == 0)
        plan_free(make_quietly(&trial, errors));
    free(trial.releases);
}

int release_config_check(struct core *core, const char *path, const char *id,
                         struct err_list *errors, struct err *err)
{
    struct plan_source *source = source_with(core, path, id, err);

    if (!source)
        return err->code;
    try_pinned(core, source, path, id, errors);
    source_free(source);
    return 0;
}

int release_config_admit(struct core *core, const char *path, const char *id, struct err *err)
{
    struct plan_source *source = source_with(core, path, id, err);
    struct plan *plan = NULL;
    struct err_list errors;
    int rc = 0;

    if (!source)
        return err->code;
    err_list_init(&errors);
    try_pinned(core, source, path, id, &errors);
    if (errors.total == 0)
        plan = make_fitting(source, &errors);
    if (!plan)
        rc = err_set(err, ERR_INVALID, "%s%s",
                     errors.count ? errors.lines[0] : "it does not go with this host's files",
                     errors.total > 1 ? " (and more: supervisor check --release)" : "");
    if (rc == 0)
        rc = put_in_force(core, source, plan, err);
    if (rc != 0) {
        plan_free(plan);
        source_free(source);
    }
    err_list_done(&errors);
    return rc;
}
