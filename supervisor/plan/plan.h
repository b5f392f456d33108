/* plan.h - the files as read, and the immutable plan made from them.
 *
 * source: exact texts, environment and host name, so that a new core can make the same plan again
 * from memory without looking at the disk.  plan: typed, checked, names resolved, order known.
 */
#ifndef SUPERVISOR_PLAN_PLAN_H
#define SUPERVISOR_PLAN_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "supervisor/plan/spec.h"

/* The supervisor itself as the command of a service; it is told where its socket is. */
#define PLAN_SELF "/proc/self/exe"

enum {
    PLAN_FILES_MAX = 4096,
    PLAN_SERVICES_MAX = 10000,
    PLAN_INSTANCES_MAX = 20000,
    PLAN_ACCESS_MAX = 64,
    PLAN_RELEASES_MAX = 65536,
    PLAN_SOURCE_MAX = 64 * 1024 * 1024
};

struct plan_file {
    const char *path; /* absolute */
    const char *text;
    size_t len;
};
struct plan_scale { /* `supervisor scale`: overrides numprocs */
    const char *service;
    int64_t count;
};
/* What the service file of a release (release_config) says to one service. */
struct plan_release {
    const char *service, *id;
    const char *path; /* absolute, for messages */
    const char *text; /* NULL: it has none, and may; or there is a problem */
    size_t len;
    const char *problem; /* why it cannot be used: the service does not start with it; "" = none */
    bool pinned;         /* it is the one that counts */
};
struct plan_source {
    struct arena arena; /* owns everything below */
    const char *config; /* the file or folder it was read from, absolute */
    struct plan_file *files;
    size_t nfiles;
    const char **environment; /* the supervisor's own, NULL-terminated */
    const char *host;
    struct plan_scale *scales;
    size_t nscales;
    struct plan_release *releases; /* for each service at most one that is pinned */
    size_t nreleases;
};

/* Reads `config` (a file, or a folder of *.ini and *.conf) and what it includes.  Every file that
 * cannot be read is an error in the list.  Returns 0 or ERR_INVALID; *ret must be freed in both
 * cases. */
int plan_source_read(const char *config, char *const *environment, struct plan_source *ret,
                     struct err_list *errors);
/* Whether a file was not named on the command line nor found in the folder named there, but came by
 * an include. */
bool plan_source_included(const struct plan_source *source, size_t index);
void plan_source_free(struct plan_source *source);
/* Sets or replaces one scale; false without memory. */
bool plan_source_scale(struct plan_source *source, const char *service, int64_t count);
/* To bytes and back, for the sealed memfd ("plan as loaded"). */
/* Adds a copy.  False without memory, or when there are PLAN_RELEASES_MAX. */
bool plan_source_release(struct plan_source *source, const struct plan_release *release);
/* Of files, and what counts on behind them: the configuration as a whole, then releases. */
const char *plan_source_path(const struct plan_source *source, size_t file);
bool plan_source_pack(const struct plan_source *source, struct buf *out);
int plan_source_unpack(const char *bytes, size_t len, struct plan_source *ret, struct err *err);

struct plan {
    struct arena arena; /* owns everything below */
    struct spec_supervisor supervisor;
    const char *
        *environment; /* of the supervisor, with [supervisor] environment; NULL-terminated */
    const char *host;
    struct spec_service *services; /* in start order: needs before needers, then priority, name */
    size_t nservices;
    size_t *by_name; /* indexes of services, sorted by name */
    struct spec_socket *sockets;
    size_t nsockets;
    struct spec_group *groups;
    size_t ngroups;
    struct spec_access *access;
    size_t naccess;
    size_t nconfigured; /* services with a release_config */
};

/* Makes the plan.  All errors of all files go to `errors` ("FILE:LINE: [section] key: what"),
 * things without meaning here to `warnings`.  NULL when there was any error.  Scales are
 * already applied to numprocs.  Users, groups and files on disk are not looked at here. */
struct plan *plan_make(const struct plan_source *source, struct err_list *errors,
                       struct err_list *warnings);
/* As plan_make, and every service knows where each of its keys was given. */
struct plan *plan_make_with_places(const struct plan_source *source, struct err_list *errors,
                                   struct err_list *warnings);
void plan_free(struct plan *plan);
/* Index of a service by name, or -1.  O(log n). */
ssize_t plan_find(const struct plan *plan, const char *service);
/* Release set: the services whose `release` is this folder; count, and the first `max` indexes. */
size_t plan_release_set(const struct plan *plan, const char *release, size_t *ret, size_t max);

/* What a reload would do, service by service.  Values are compared as what they mean: see
 * plan_value.h. */
enum plan_change { PLAN_SAME, PLAN_ADDED, PLAN_REMOVED, PLAN_LIVE, PLAN_RESTART };
struct plan_diff_key {
    const char *key;
    enum plan_change takes; /* PLAN_LIVE or PLAN_RESTART; of [supervisor]: its own restart */
    /* In one spelling, "" = not set.  Both NULL: variables, whose values may be secrets. */
    const char *before, *after;
    const char *variables; /* "CHANGED -OLD +NEW", or NULL */
};
struct plan_diff_keys {
    struct plan_diff_key *list; /* in table order */
    size_t count;
};
struct plan_diff_row {
    const char *service;
    enum plan_change change; /* LIVE: all changed keys apply without a restart */
    struct plan_diff_keys keys;
};
struct plan_diff {
    struct plan_diff_row *rows; /* every service of either plan, by name */
    size_t count;
    struct plan_diff_keys supervisor; /* of [supervisor] */
    struct opt_names sockets;         /* names of sockets added, removed or changed */
    struct opt_names access;          /* likewise of [access:NAME] */
};
/* `tunes`: this supervisor may change the limits and priorities of what runs. */
int plan_diff(const struct plan *before, const struct plan *after, bool tunes, struct arena *arena,
              struct plan_diff *ret);
/* Of all that a process is started with, so that a new core sees which processes run with other
 * settings than the plan's: differs exactly when plan_diff() would say PLAN_RESTART.  Another
 * version of the program may digest differently; what it made differs from nothing.  0 only without
 * memory. */
uint64_t plan_digest(const struct plan *plan, const struct spec_service *service, bool tunes);
bool plan_digest_differs(uint64_t runs_with, uint64_t planned);
const char *plan_change_name(enum plan_change change); /* "same", "added", "restart", ... */

#endif
