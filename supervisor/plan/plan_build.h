/* plan_build.h - what the steps of plan_make share.  Not for other folders.
 *
 *     plan_sections  files -> sections with their keys, repeated ones merged or refused
 *     plan_fill      sections -> typed structs, by the option tables
 *     plan_resolve   names -> indexes, start order, cycles
 *     plan_sandbox   what goes with a sandbox and what does not
 *     plan_release   service files of releases, over the sections of the host
 *     plan_check     every instance made once, so that bad expansions are errors of the load
 */
#ifndef SUPERVISOR_PLAN_PLAN_BUILD_H
#define SUPERVISOR_PLAN_PLAN_BUILD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/opt.h"
#include "supervisor/plan/plan.h"

enum plan_kind {
    PLAN_KIND_DEFAULT, /* supervisord's: behind all of its sections */
    PLAN_KIND_SUPERVISOR,
    PLAN_KIND_SERVICE,
    PLAN_KIND_PROGRAM,
    PLAN_KIND_EVENTS,  /* becomes a service, see plan_events_become_services */
    PLAN_KIND_FASTCGI, /* becomes a program and its socket, see plan_fastcgi_split */
    PLAN_KIND_SOCKET,
    PLAN_KIND_GROUP,
    PLAN_KIND_ACCESS,
    PLAN_KIND_INCLUDE,
    PLAN_KIND_SUPERVISORD, /* a few of its keys have a meaning */
    PLAN_KIND_FOREIGN,     /* supervisord's, without a meaning here */
    PLAN_KIND_UNKNOWN,
    PLAN_NKINDS
};

struct plan_key {
    const char *key, *value;
    size_t file; /* index in the source; nfiles is the configuration as a whole, behind that are
                  * the service files of releases */
    int line;
};
struct plan_section {
    enum plan_kind kind;
    const char *title; /* "service:web" */
    const char *name;  /* "web"; "" when the kind takes none */
    size_t file;
    int line;
    struct plan_key *keys; /* each key once, in the order given */
    size_t nkeys;
    bool again;                         /* the name is taken; only checked for further errors */
    bool helper;                        /* was an [events:NAME], */
    const struct plan_key *about;       /* of these services; NULL = of all */
    const struct plan_release *release; /* what it says is over it, or NULL, ... */
    struct opt_names release_keys;      /* ... and about which keys that is */
};

/* An error or warning with its place, so that people get them in the order of their files. */
struct plan_note {
    size_t file;
    int line;
    size_t number; /* order in which they were found */
    const char *text;
};
struct plan_notes {
    struct plan_note *notes; /* in the scratch arena */
    size_t count, room, lost;
};

/* Where the keys of one service were given, by row of options_service; 0 = default. */
struct plan_lines {
    const struct plan_section *section;
    const struct plan_section *own; /* the host's, without a release over it */
    struct spec_place *places;
};

enum { PLAN_INHERITED_MAX = 3 };
struct plan_build {
    const struct plan_source *source;
    struct plan *plan;
    struct arena scratch; /* what the plan keeps lies in its own arena instead */
    const char **paths;   /* of the source's files, in the plan's arena */
    struct plan_notes errors, warnings;
    struct plan_section *sections;
    size_t nsections;
    const struct plan_section *defaults; /* [DEFAULT], or NULL */
    struct plan_lines *lines;            /* by index of plan->services; moves with them */
    struct plan_membership {
        const char *program;
        size_t group; /* index of plan->groups */
    } * members;      /* sorted by program */
    size_t nmembers;
    struct plan_key inherited[PLAN_INHERITED_MAX]; /* of [supervisord], for programs without */
    size_t ninherited;
    bool keep_places; /* in the plan, for those who explain it */
    bool no_memory;
};

/* "FILE:LINE: [title] key: what"; key NULL leaves it out, title NULL both. */
void plan_build_error(struct plan_build *build, size_t file, int line, const char *title,
                      const char *key, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
void plan_build_warn(struct plan_build *build, size_t file, int line, const char *title,
                     const char *key, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* At a key of service `index`, or where its section begins when the key was not given. */
void plan_build_service_error(struct plan_build *build, size_t index, const char *key,
                              const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void plan_build_service_warn(struct plan_build *build, size_t index, const char *key,
                             const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Sorts by place and adds to the list. */
void plan_build_deliver(struct plan_build *build, struct plan_notes *notes, struct err_list *list);
/* Memory of the build (scratch) and of the plan; NULL marks the build as failed. */
void *plan_build_scratch(struct plan_build *build, size_t count, size_t size);
void *plan_build_keep(struct plan_build *build, size_t count, size_t size);
/* A text as the plan keeps it: equal ones once.  NULL without memory. */
const char *plan_build_text(struct plan_build *build, const char *text);
/* Path of a file of the source. */
const char *plan_build_path(const struct plan_build *build, size_t file);
/* Its folder, in the plan's arena. */
const char *plan_build_here(struct plan_build *build, size_t file);

void plan_sections_collect(struct plan_build *build);
const struct plan_key *plan_sections_key(const struct plan_section *section, const char *key);
/* Takes over what base/ini found, "FILE:LINE: what", with its place. */
void plan_sections_adopt_errors(struct plan_build *build, size_t file, const struct err_list *list);
/* Each [fcgi-program:NAME] becomes a program and a socket that is its standard input. */
void plan_fastcgi_split(struct plan_build *build);
void plan_events_become_services(struct plan_build *build);
/* Of the sections of one kind, how many. */
size_t plan_sections_count(const struct plan_build *build, enum plan_kind kind);

void plan_fill_supervisor(struct plan_build *build); /* and the plan's environment */
void plan_sockets_fill(struct plan_build *build);
void plan_fill_groups(struct plan_build *build);
void plan_access_fill(struct plan_build *build);   /* needs the services in their order */
void plan_fill_services(struct plan_build *build); /* needs groups and environment */
/* One key: expands its value where its row wants that now, and stores it.  False after an error
 * or when the section has no such key. */
bool plan_fill_key(struct plan_build *build, const struct plan_section *section,
                   const struct opt_table *table, const struct plan_key *key, char *const *names,
                   void *target);
/* `value` of a section of supervisord as our types spell it: what Python reads as a number, brought
 * into our range with a warning; other texts are returned as they are. */
const char *plan_python_number(struct plan_build *build, const struct plan_section *section,
                               const struct plan_key *key, const struct opt *row,
                               const char *value);
/* What %(...)s in a key of `file` knows outside services; NULL without memory. */
char **plan_fill_names(struct plan_build *build, size_t file);
void plan_fill_check_name(struct plan_build *build, const struct plan_section *section);
void plan_service_fill(struct plan_build *build, const struct plan_section *section,
                       struct spec_service *service, struct plan_lines *lines);

void plan_resolve_names(struct plan_build *build); /* by_name, groups, sockets, needs, order */

/* What the keys of the sandbox mean together; puts `root` into its plain form. */
void plan_sandbox_settle(struct plan_build *build, const struct plan_lines *lines,
                         struct spec_filling *filling);

/* A section of a service with the release that is pinned for it; or it alone. */
const struct plan_section *plan_release_pinned(struct plan_build *build,
                                               const struct plan_section *own);
/* The same with one of the source's releases. */
const struct plan_section *plan_release_over(struct plan_build *build,
                                             const struct plan_section *own, size_t index);
void plan_release_variants(struct plan_build *build); /* needs all that services refer to */

void plan_check_all(struct plan_build *build);

#endif
