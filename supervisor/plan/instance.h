/* instance.h - one service and a number, made into what is run: words, environment, paths. */
#ifndef SUPERVISOR_PLAN_INSTANCE_H
#define SUPERVISOR_PLAN_INSTANCE_H

#include "base/addr.h"
#include "base/arena.h"
#include "base/err.h"
#include "supervisor/plan/plan.h"

struct instance_check {
    enum spec_check_kind kind;
    struct addr addr; /* HTTP, TCP, UNIX; len 0 when `host` must be looked up first */
    const char *host; /* a name to look up, or NULL */
    const char *port; /* with host */
    const char
        *path; /* HTTP: "/health"; GRPC: the service, "" = the whole server; LOG: the pattern */
    const char *authority; /* HTTP, GRPC: the host as it is asked for */
    char **argv;           /* EXEC: NULL-terminated */
    int fd;                /* FD */
};

/* What differs from one start to the next. */
struct instance_release {
    const char *id;  /* "" when the service has no release */
    const char *dir; /* absolute folder of the release, "" likewise */
};

enum { INSTANCE_WILD_MAX = 8 }; /* parts with wildcards of one of reload_files */

struct instance {
    char name[SPEC_NAME_MAX * 2]; /* "web:0" */
    const struct spec_service *service;
    int64_t number;
    char **argv;           /* words of command; a relative argv[0] with a / is inside the release */
    char **envp;           /* complete environment without what the core adds at spawn (below) */
    const char *directory; /* expanded, NULL = none; relative ones are inside the release */
    const char *process_name;
    const char *stdout_log, *stderr_log; /* "none", "inherit" or an absolute path; stderr "stdout"
                                          * when redirected */
    struct instance_check ready, startup, live;
    const struct spec_sandbox *sandbox; /* the service's, with the paths of this instance */
    char **reload_files;                /* patterns, NULL = none */
    uint32_t file_sum; /* of the pairs of environment_file, when it was read; else 0 */
    char **pre_start, **post_start, **pre_stop, **post_stop, **on_failed; /* argv, NULL = none */
};

/* Fills *ret (memory in the arena).  `user_environment`: NULL or NULL-terminated HOME=... pairs for
 * `user` (the caller looks the user up), put under the service's own.  environment_file is read
 * here when `read_files`, a missing one is an error (prefix the name with - to allow it).
 * The core adds at each spawn: SUPERVISOR_INSTANCE, LISTEN_*, NOTIFY_SOCKET, and for pinned
 * services RELEASE_ID and RELEASE_DIR (these two are already in envp here).
 * [program:]s get SUPERVISOR_ENABLED=1, SUPERVISOR_PROCESS_NAME, SUPERVISOR_GROUP_NAME. */
int instance_make(const struct plan *plan, const struct spec_service *service, int64_t number,
                  const struct instance_release *release, char *const *user_environment,
                  bool read_files, struct arena *arena, struct instance *ret, struct err *err);

/* As instance_make without reading files, to check a configuration: every key that is wrong is
 * told to `report`, not only the first.  Returns 0, or the code of the last error. */
typedef void instance_report(void *context, const char *key, const char *what);
int instance_try(const struct plan *plan, const struct spec_service *service, int64_t number,
                 const struct instance_release *release, struct arena *arena, struct instance *ret,
                 instance_report *report, void *context);

/* Pairs "name=value" for instance_expand: what all keys of a section know.  `program` and
 * `group` may be NULL, `numprocs` -1.  NULL without memory. */
char **instance_names(const char *here, const char *host, const char *program, const char *group,
                      int64_t numprocs, struct arena *arena);
/* `base` with `more` over it, NULL-terminated; either may be NULL.  NULL without memory. */
char **instance_overlay(char *const *base, char *const *more, struct arena *arena);
/* Words of environment = ..., with %(...)s filled in after the split, so that no value can add
 * another variable. */
int instance_environment(const char *text, char *const *names, char *const *envp,
                         struct arena *arena, char ***ret_pairs, struct err *err);
/* The same of a section of supervisord, which fills in first and then splits. */
int instance_environment_shlex(const char *text, char *const *names, char *const *envp,
                               struct arena *arena, char ***ret_pairs, struct err *err);

/* One check target: "http://127.0.0.1:80/health", "grpc://127.0.0.1:50051", "tcp://...",
 * "unix:/path", "exec:cmd", "notify", "fd:3", "delay". */
int instance_check_parse(const char *text, struct arena *arena, struct instance_check *ret,
                         struct err *err);

/* %(name)s, %(process_num)02d, %(ENV_X)s, %%.  Names and values: NULL-terminated pairs
 * "name=value" in `names`, looked up in order, then ENV_ in envp.  ERR_INVALID names the
 * expansion and lists the known ones. */
int instance_expand(const char *text, char *const *names, char *const *envp, struct arena *arena,
                    const char **ret, struct err *err);
/* What a logfile that is filled in means, under all the spellings that there are.  Pure. */
enum instance_log {
    INSTANCE_LOG_DEFAULT, /* a file in log_dir */
    INSTANCE_LOG_NONE,
    INSTANCE_LOG_INHERIT,
    INSTANCE_LOG_CAPTURED, /* a file, console, syslog, journald */
};
enum instance_log instance_log(const char *logfile);
/* Whether `text` asks for %(NAME). */
bool instance_mentions(const char *text, const char *name);

#endif
