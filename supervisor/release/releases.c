/* releases.c - the contract is in releases.h. */
#include "supervisor/release/releases.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "io/jsonx.h"
#include "supervisor/release/release_set.h"

/* Where a service of the plan is found. */
struct releases_row {
    struct release_set *set; /* NULL = it has no release */
    size_t slot;
};

struct releases {
    struct release_set_world world;
    struct release_set **sets; /* owned, by path */
    size_t nsets;
    struct releases_row *rows; /* per service of the plan */
    size_t nrows;
    bool configured;
};

struct releases *releases_new(struct loop *loop, const struct releases_hands *hands,
                              const char *boot_id, struct err *err)
{
    struct releases *releases = calloc(1, sizeof *releases);

    if (!releases) {
        err_set(err, ERR_MEMORY, "no memory for releases");
        return NULL;
    }
    releases->world.loop = loop;
    releases->world.hands = *hands;
    releases->world.place = (struct pin_place){
        .dirfd = -1,
        .remember = hands->remember,
        .recall = hands->recall,
        .context = hands->context,
    };
    snprintf(releases->world.boot_id, sizeof releases->world.boot_id, "%s", boot_id);
    return releases;
}

static void drop_sets(struct release_set **sets, size_t count, const struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        release_set_give_up(sets[i], err);
        release_set_free(sets[i]);
    }
    free(sets);
}

void releases_free(struct releases *releases)
{
    struct err err;

    if (!releases)
        return;
    releases->world.begun = false;
    err_set(&err, ERR_UNREACHABLE, "the supervisor is leaving; ask again");
    drop_sets(releases->sets, releases->nsets, &err);
    pin_place_close(&releases->world.place);
    free(releases->rows);
    free(releases);
}

static size_t path_length(const char *path)
{
    size_t len = strlen(path);

    while (len > 1 && path[len - 1] == '/')
        len--;
    return len;
}

/* `path` may have slashes at its end. */
static struct release_set *find_set(struct release_set *const *sets, size_t count, const char *path)
{
    size_t low = 0, len = path_length(path);

    for (size_t high = count; low < high;) {
        size_t middle = low + (high - low) / 2;
        int order = strncmp(sets[middle]->path, path, len);
        if (order == 0)
            order = sets[middle]->path[len] ? 1 : 0;
        if (order == 0)
            return sets[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* The services of one set, while a new configuration is made. */
struct draft {
    char *path;
    struct release_set *set; /* an old one, or new */
    bool fresh;
    struct release_set_service *services;
    size_t count;
    struct release_member *members;
};
struct drafts {
    struct draft *items;
    size_t count;
    size_t *index; /* services with a release, by path then index */
    size_t nindex;
};

static int by_path(const void *a, const void *b, void *context)
{
    const struct plan *plan = context;
    size_t left = *(const size_t *)a, right = *(const size_t *)b;
    const char *x = plan->services[left].release, *y = plan->services[right].release;
    size_t xlen = path_length(x), ylen = path_length(y);
    int order = strncmp(x, y, xlen < ylen ? xlen : ylen);

    if (order == 0)
        order = xlen < ylen ? -1 : xlen > ylen;
    return order ? order : left < right ? -1 : left > right;
}

static bool same_path(const char *path, const char *other)
{
    size_t len = path_length(other);

    return strlen(path) == len && strncmp(path, other, len) == 0;
}

static void drafts_done(struct drafts *drafts)
{
    for (size_t i = 0; i < drafts->count; i++) {
        struct draft *draft = &drafts->items[i];
        for (size_t j = 0; j < draft->count; j++)
            free(draft->services[j].name);
        free(draft->services);
        free(draft->members);
        free(draft->path);
        if (draft->fresh)
            release_set_free(draft->set);
    }
    free(drafts->items);
    free(drafts->index);
}

/* Of the release that takes longest, of those that may run. */
static int64_t longest(const struct spec_service *spec)
{
    int64_t most = spec->set->ready_timeout_ms + spec->set->stopwaitsecs_ms;

    for (size_t i = 0; i < spec->nvariants; i++) {
        const struct spec_settings *set = spec->variants[i].set;
        if (set->ready_timeout_ms + set->stopwaitsecs_ms > most)
            most = set->ready_timeout_ms + set->stopwaitsecs_ms;
    }
    return most;
}

static bool add_service(struct draft *draft, const struct spec_service *spec, size_t at,
                        const struct releases_service *service)
{
    size_t room = sizeof *draft->services * (draft->count + 1);
    struct release_set_service *grown = realloc(draft->services, room);

    if (!grown)
        return false;
    draft->services = grown;
    grown[draft->count] = (struct release_set_service){
        .name = strdup(spec->name),
        .service = at,
        .instances = service->instances,
        .number = spec->set->numprocs_start,
        .timeout_ms = longest(spec),
        .owner = service->owner,
        .refused = geteuid() == 0 && !spec->user,
    };
    return grown[draft->count++].name != NULL;
}

static bool add_draft(struct drafts *drafts, struct releases *releases, const char *path)
{
    struct draft *draft = &drafts->items[drafts->count++];

    *draft = (struct draft){ .path = strndup(path, path_length(path)) };
    if (!draft->path)
        return false;
    draft->set = find_set(releases->sets, releases->nsets, draft->path);
    if (!draft->set) {
        draft->set = release_set_new(&releases->world, draft->path);
        draft->fresh = true;
    }
    return draft->set != NULL;
}

static bool add_members(struct draft *draft)
{
    size_t count = 1;

    for (size_t i = 0; i < draft->count; i++)
        count += draft->services[i].instances;
    draft->members = calloc(count, sizeof *draft->members);
    return draft->members != NULL;
}

static bool draft_all(struct releases *releases, const struct plan *plan,
                      const struct releases_service *services, struct drafts *ret)
{
    ret->index = calloc(plan->nservices + 1, sizeof *ret->index);
    ret->items = calloc(plan->nservices + 1, sizeof *ret->items);
    if (!ret->index || !ret->items)
        return false;
    for (size_t i = 0; i < plan->nservices; i++)
        if (plan->services[i].release && plan->services[i].release[0])
            ret->index[ret->nindex++] = i;
    qsort_r(ret->index, ret->nindex, sizeof *ret->index, by_path, (void *)(uintptr_t)plan);
    for (size_t i = 0; i < ret->nindex; i++) {
        size_t at = ret->index[i];
        const struct spec_service *spec = &plan->services[at];
        bool next = ret->count == 0 || !same_path(ret->items[ret->count - 1].path, spec->release);
        if (next && !add_draft(ret, releases, spec->release))
            return false;
        if (!add_service(&ret->items[ret->count - 1], spec, at, &services[at]))
            return false;
    }
    for (size_t i = 0; i < ret->count; i++)
        if (!add_members(&ret->items[i]))
            return false;
    return true;
}

/* The reason why a set cannot be switched: one of its services must not run as it is written. */
static void judge(struct release_set *set, struct err_list *errors)
{
    if (!set->damaged)
        set->problem = (struct err){ .code = ERR_NONE };
    else if (errors)
        err_list_add(errors, "[service:%s] release: %s", set->services[0].name, set->problem.text);
    for (size_t i = 0; i < set->nservices; i++) {
        if (!set->services[i].refused)
            continue;
        if (set->problem.code == ERR_NONE)
            err_set(&set->problem, ERR_DENIED,
                    "service %s would run what is in %s as root: say so with \"user = root\", or "
                    "better name another user",
                    set->services[i].name, set->path);
        if (errors)
            err_list_add(errors,
                         "[service:%s] user: a service with a release needs an explicit user when "
                         "the supervisor is root; try \"user = www-data\" (or \"user = root\")",
                         set->services[i].name);
    }
}

/* Its pin may have come to light: a host mounts the disk with state_dir after the core's start. */
static bool knows_nothing(const struct release_set *set)
{
    return set->machine.pin.phase == RELEASE_NONE && set->pin.sequence == 0 && !set->damaged;
}

/* Takes over the sets of the drafts; from here on nothing can fail. */
static void adopt(struct drafts *drafts, struct release_set **sets, struct releases_row *rows,
                  enum releases_start start)
{
    for (size_t i = 0; i < drafts->count; i++) {
        struct draft *draft = &drafts->items[i];

        for (size_t j = 0; j < draft->count; j++)
            rows[draft->services[j].service] = (struct releases_row){ draft->set, j };
        release_set_take(draft->set, draft->services, draft->count, draft->members);
        draft->services = NULL;
        draft->members = NULL;
        draft->count = 0;
        if (draft->fresh || knows_nothing(draft->set))
            release_set_load(draft->set, start);
        draft->fresh = false;
        sets[i] = draft->set;
    }
}

static struct release_set **gone(struct releases *releases, struct release_set *const *sets,
                                 size_t count, size_t *ret_count)
{
    struct release_set **old = releases->sets;
    size_t kept = 0;

    for (size_t i = 0; i < releases->nsets; i++)
        if (!find_set(sets, count, old[i]->path))
            old[kept++] = old[i];
    *ret_count = kept;
    return old;
}

/* Opened anew each time, for it may have become writable; what is pinned is there at once. */
static void open_place(struct releases *releases, const char *state_dir)
{
    struct release_set_world *world = &releases->world;
    const char *before = world->place.state_dir;
    bool moved = before && strcmp(before, state_dir) != 0, was_open = world->place.dirfd >= 0;

    pin_place_open(&world->place, state_dir);
    if (releases->configured && world->place.dirfd >= 0 && (moved || !was_open))
        for (size_t i = 0; i < releases->nsets; i++)
            if (releases->sets[i]->pin.sequence > 0)
                releases->sets[i]->machine.commit = true;
}

int releases_configure(struct releases *releases, const struct plan *plan,
                       const struct releases_service *services, enum releases_start start,
                       struct err_list *errors, struct err *err)
{
    struct drafts drafts = { .count = 0 };
    struct releases_row *rows = calloc(plan->nservices + 1, sizeof *rows);
    bool fine = rows && draft_all(releases, plan, services, &drafts);
    struct release_set **sets = calloc(drafts.count + 1, sizeof *sets);
    struct err removed;
    size_t ngone;

    if (!fine || !sets) {
        drafts_done(&drafts);
        free(sets);
        free(rows);
        return err_set(err, ERR_MEMORY, "no memory for the release sets");
    }
    open_place(releases, plan->supervisor.state_dir);
    adopt(&drafts, sets, rows, start);
    struct release_set **old = gone(releases, sets, drafts.count, &ngone);
    releases->sets = sets;
    releases->nsets = drafts.count;
    free(releases->rows);
    releases->rows = rows;
    releases->nrows = plan->nservices;
    releases->configured = true;
    drafts_done(&drafts);
    for (size_t i = 0; i < releases->nsets; i++)
        judge(releases->sets[i], errors);
    err_set(&removed, ERR_STATE, "its services were removed by a reload");
    drop_sets(old, ngone, &removed);
    for (size_t i = 0; i < releases->nsets; i++) {
        releases->sets[i]->machine.baking = false; /* new services are told too */
        release_set_drive(releases->sets[i]);
    }
    return 0;
}

struct release_set *releases_find(const struct releases *releases, const char *path)
{
    return find_set(releases->sets, releases->nsets, path);
}

void releases_begin(struct releases *releases)
{
    releases->world.begun = true;
    for (size_t i = 0; i < releases->nsets; i++)
        release_set_drive(releases->sets[i]);
}

static const struct releases_row *row(const struct releases *releases, size_t service)
{
    static const struct releases_row none;

    return service < releases->nrows ? &releases->rows[service] : &none;
}

const char *releases_path(const struct releases *releases, size_t service)
{
    const struct release_set *set = row(releases, service)->set;

    return set ? set->path : NULL;
}

const char *releases_problem(const struct releases *releases, size_t service)
{
    const struct releases_row *at = row(releases, service);

    if (!at->set || (!at->set->damaged && !at->set->services[at->slot].refused))
        return NULL;
    return at->set->problem.text;
}

bool releases_pinned(const struct releases *releases, size_t service,
                     char id[static RELEASE_ID_MAX])
{
    const struct releases_row *at = row(releases, service);

    if (!at->set || !at->set->machine.pin.id[0] || releases_problem(releases, service))
        return false;
    memcpy(id, at->set->machine.pin.id, RELEASE_ID_MAX);
    return true;
}

size_t releases_ids(const struct releases *releases, size_t service,
                    const char *ret[static RELEASES_IDS])
{
    const struct release_set *set = row(releases, service)->set;
    const struct release_pin *pin = set ? &set->machine.pin : NULL;
    const char *const ids[] = { pin ? pin->id : "", pin ? pin->from : "", pin ? pin->undone : "" };
    size_t count = 0;

    for (size_t i = 0; i < RELEASES_IDS; i++)
        if (ids[i][0])
            ret[count++] = ids[i];
    return count;
}

int releases_open(struct releases *releases, size_t service, const char *id, int *ret_fd,
                  char *ret_dir, size_t size, struct err *err)
{
    const struct releases_row *at = row(releases, service);

    if (!at->set)
        return err_set(err, ERR_NOT_FOUND, "this service has no release");
    AUTO_CLOSE int set_fd = pin_open_set(at->set->path, at->set->services[at->slot].owner, err);
    if (set_fd < 0)
        return set_fd;
    AUTO_CLOSE int fd = pin_open_release(set_fd, at->set->path, id, err);
    if (fd < 0)
        return fd;
    int len = snprintf(ret_dir, size, "%s/releases/%s", at->set->path, id);
    if (len < 0 || (size_t)len >= size)
        return err_set(err, ERR_LIMIT, "the path of release %s is too long", id);
    *ret_fd = take_fd(&fd);
    return 0;
}

void releases_ready(struct releases *releases, size_t service, size_t instance, const char *id)
{
    const struct releases_row *at = row(releases, service);

    if (at->set)
        release_set_ready(at->set, at->slot, instance, id);
}

void releases_down(struct releases *releases, size_t service, size_t instance, const char *id,
                   const char *reason)
{
    const struct releases_row *at = row(releases, service);

    if (at->set)
        release_set_down(at->set, at->slot, instance, id, reason);
}

void releases_stopped(struct releases *releases, size_t service)
{
    const struct releases_row *at = row(releases, service);

    if (at->set)
        release_set_stopped(at->set, at->slot);
}
