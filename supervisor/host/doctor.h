/* doctor.h - which guarantees hold here, which do not, why, and what to do about it.
 *
 * Looking (doctor_look.c) only gathers facts about this process and its surroundings and changes
 * nothing; judging is pure.  The running core looks at itself; without one the command looks as
 * if it were started here.
 */
#ifndef SUPERVISOR_HOST_DOCTOR_H
#define SUPERVISOR_HOST_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "supervisor/host/cgroup.h"
#include "supervisor/plan/plan.h"
#include "supervisor/sandbox/ability.h"

struct doctor_facts {
    bool running;            /* of a core that runs, not of a command */
    pid_t guardian_pid;      /* 0 = none runs */
    const char *cgroups_why; /* why there are no control groups; NULL = there are */
    unsigned controllers;    /* bits of those that instances have or would have */
    const char *controllers_why[CGROUP_NCONTROLLERS]; /* of the others, may be NULL */
    bool born_in_group;                               /* clone3 is known */
    bool pidfds, pidfd_info;
    bool subreaper, children;
    bool pressure, host_oom;
    bool stacks;      /* kernel stacks of others can be read */
    bool environment; /* environments of processes of other users can be read */
    bool change_users;
    bool no_new_privs, filtered;           /* we run under these ourselves */
    struct ability ability;                /* which sandboxes we can make */
    const char *runtime;                   /* where the socket and the ledger are; NULL = nowhere */
    bool runtime_writable, runtime_memory; /* memory: on tmpfs */
    bool state_writable, logs_writable;
    const char *audit_error; /* why orders are not written down as they should; NULL = they are */
    uint64_t audit_lost;     /* lines */
    uint64_t descriptors;    /* the hard limit */
    bool clock_right;        /* the wall clock is not in the past */
};

/* What a plan relies on. */
struct doctor_needs {
    bool plan; /* there is one */
    bool cgroups_required;
    unsigned controllers;
    const char *limited[CGROUP_NCONTROLLERS]; /* the first service that needs it */
    const char *other_user;                   /* the first service that runs as somebody else */
    const char *release;                      /* the first that runs releases */
    const char *default_log;                  /* the first that writes to log_dir */
    /* The first with a sandbox that wants mounts, namespaces, fewer capabilities, a filter. */
    const char *mounts, *namespaces, *capabilities, *filter;
    const char *state_dir, *log_dir;
    uint64_t descriptors;
};
/* `uid`: who we are. */
void doctor_needs(const struct plan *plan, uid_t uid, struct doctor_needs *ret);

/* One row per guarantee: {id, what, holds, needed, needed_by, why, remedy}. */
json_t *doctor_judge(const struct doctor_facts *facts, const struct doctor_needs *needs);
/* Nothing that is needed is missing. */
bool doctor_all_well(const json_t *rows);

/* Texts of `why` live as long as `cgroup` and `needs`.  `socket`: path of the control socket. */
void doctor_look(struct doctor_facts *ret, const struct cgroup *cgroup,
                 const struct doctor_needs *needs, const char *socket);

#endif
