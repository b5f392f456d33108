/* child.h - the only fork.  libc only; the guardian uses it too.
 *
 * The child runs raw system calls only, on a stack of its own, with all signals blocked until it
 * has reset every handler.  The step it is at and the errno of the step that failed are written
 * to *report, which may lie in shared memory, instead of an error pipe.
 */
#ifndef IO_CHILD_H
#define IO_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/err.h"

enum child_step {
    CHILD_STEP_NONE, /* not begun */
    CHILD_STEP_CGROUP,
    CHILD_STEP_SESSION,
    CHILD_STEP_FDS,
    CHILD_STEP_LIMITS,
    CHILD_STEP_PRIORITY, /* nice, oom_score_adj */
    CHILD_STEP_GROUPS,
    CHILD_STEP_GID,
    CHILD_STEP_UID,
    CHILD_STEP_DIRECTORY,
    CHILD_STEP_EXEC, /* the last one: failed here, or running the program */
    CHILD_NSTEPS
};
const char *child_step_name(enum child_step step); /* "setting the user id", ... */

struct child_report {
    volatile int32_t step;  /* enum child_step */
    volatile int32_t error; /* errno of that step, 0 = none */
};

struct child_fd {
    int from, to; /* -1 as from = /dev/null */
};
struct child_limit {
    int resource;
    struct rlimit value;
};

struct child_spec {
    const char *path; /* absolute or relative to the directory; no PATH lookup here */
    char *const *argv, *const *envp;
    const struct child_fd *fds; /* all other descriptors must be close-on-exec */
    size_t nfds;
    int directory_fd;      /* fchdir to it; -1 = not */
    const char *directory; /* then chdir to it (relative to directory_fd); NULL = not */
    bool set_ids;          /* groups, gid, uid below */
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t ngroups;
    int umask; /* -1 = inherit */
    int nice;  /* added; 0 = inherit */
    bool set_oom_score;
    int oom_score_adj;
    const struct child_limit *limits;
    size_t nlimits;
    bool new_session; /* setsid; else new_group, else neither */
    bool new_group;
    bool foreground;    /* with new_group: the foreground group of the terminal at descriptor 0 */
    bool sibling;       /* CLONE_PARENT: the child belongs to our parent */
    bool share_memory;  /* CLONE_VM|CLONE_VFORK: same ids, root and a local file only */
    int cgroup_fd;      /* folder of the control group it is born in; 0 = ours.  Fork semantics,
                         * share_memory does not matter then. */
    bool cgroup_join;   /* not born, but moved there before it runs anything */
    int death_signal;   /* PR_SET_PDEATHSIG; 0 = none (meaningless for a sibling) */
    int32_t *pid_slot;  /* the kernel stores the pid here before the child runs; may be NULL */
    char *listen_pid;   /* 10 writable bytes inside envp that receive the decimal pid,
                         * left-aligned and NUL-terminated (11th byte is there); NULL = none */
    char *watchdog_pid; /* likewise */
    struct child_report *report; /* required */
};

/* Starts the program.  Returns 0 and *ret_pid, or ERR_SYSTEM when the clone itself failed.  A step
 * that fails in the child shows in *report (with share_memory already when this returns) and
 * as exit status 127. */
int child_start(const struct child_spec *spec, pid_t *ret_pid, struct err *err);

/* Looks a command up as execvp would: as it is when it has a '/', else through the PATH of envp
 * (a default when it has none).  malloc'ed; NULL with err set (ERR_NOT_FOUND, ERR_DENIED). */
char *child_find(const char *command, char *const *envp, struct err *err);

/* pidfd_open / pidfd_send_signal; -errno on failure. */
int child_pidfd(pid_t pid);
int child_pidfd_signal(int pidfd, int signum);
/* Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat), 0 = no such. */
uint64_t child_start_time(pid_t pid);

#endif
