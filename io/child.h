/* child.h - the only fork.  libc only; the guardian uses it too.
 *
 * The child runs raw system calls only, on a stack of its own, with all signals blocked until it
 * has reset every handler.  The step it is at and the errno of the step that failed are written
 * to *report, which may lie in shared memory, instead of an error pipe.
 *
 * A sandbox is a list of system calls that the caller has worked out before (supervisor/sandbox):
 * the child makes them one after the other and knows nothing of what they are for.
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
    /* Numbers are kept in ledgers, so those that came later stand behind. */
    CHILD_STEP_JOIN,  /* the namespaces of another process */
    CHILD_STEP_FIRST, /* calls of the sandbox before the ids change, ... */
    CHILD_STEP_LAST,  /* ... and those right before the program is executed */
    CHILD_NSTEPS
};
enum { CHILD_WHAT_SHIFT = 8, CHILD_WHAT_MAX = (1 << 23) - 1 };
/* "setting the user id", ... of a report, whatever else is in the number. */
const char *child_step_name(int32_t step);

struct child_report {
    volatile int32_t step; /* enum child_step, and what << CHILD_WHAT_SHIFT of a call that failed */
    volatile int32_t error; /* errno of that step, 0 = none */
};

struct child_fd {
    int from, to; /* -1 as from = /dev/null */
};
struct child_limit {
    int resource;
    struct rlimit value;
};

/* One system call of a sandbox. */
enum child_call_flag {
    CHILD_CALL_MAY_LACK = 1 << 0, /* ENOENT, ENOTDIR and EINVAL mean that there is nothing to do */
    CHILD_CALL_KEEP = 1 << 1,     /* its result is what ... */
    CHILD_CALL_ON_KEPT = 1 << 2,  /* ... this one has as its first argument */
};
struct child_call {
    long number;
    unsigned long arguments[6];
    uint32_t what;  /* up to CHILD_WHAT_MAX; says in the report which call has failed */
    uint32_t flags; /* enum child_call_flag */
};
/* Everything that is pointed to is the caller's until child_start() has returned. */
struct child_sandbox {
    const struct child_call *first, *last; /* CHILD_STEP_FIRST and _LAST */
    size_t nfirst, nlast;
    int root_fd; /* the working directory of the first calls; -1 = ours */
    int join_fd; /* pidfd of a process whose namespaces (CLONE_NEW...) it enters; -1 = none */
    int join;    /* these */
    bool new_processes; /* CLONE_NEWPID: it is number 1 of its own */
    /* Once this one is at its program; the child waits for that. */
    const struct child_report *join_report;
    /* After the calls paths lead elsewhere: directory_fd is entered by this path, and only if that
     * is the same folder.  NULL = as ever. */
    const char *directory_path;
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
    const struct child_sandbox *sandbox; /* NULL = none; with one, memory is not shared */
    struct child_report *report;         /* required */
    uint64_t *start_time; /* child_start_time() of it is put here, mostly without a look at it:
                           * what was looked at in /proc costs the kernel twice, again when the
                           * process ends; may be NULL */
};

/* Starts the program.  Returns 0 and *ret_pid, or ERR_SYSTEM when the clone itself failed.  A step
 * that fails in the child shows in *report (with share_memory already when this returns) and
 * as exit status 127. */
int child_start(const struct child_spec *spec, pid_t *ret_pid, struct err *err);

/* Looks a command up as execvp would: as it is when it has a '/', else through the PATH of envp
 * (a default when it has none).  malloc'ed; NULL with err set (ERR_NOT_FOUND, ERR_DENIED). */
char *child_find(const char *command, char *const *envp, struct err *err);
/* The same in the folder `root` that will be its root: what is found begins with '/' and is the
 * path from there (relative names with a '/' too). */
char *child_find_inside(int root, const char *command, char *const *envp, struct err *err);

/* pidfd_open / pidfd_send_signal; -errno on failure. */
int child_pidfd(pid_t pid);
int child_pidfd_signal(int pidfd, int signum);
/* The process behind a pidfd, as this pid namespace numbers it; 0: it is gone, it is not seen from
 * here, or that is no pidfd. */
pid_t child_pidfd_pid(int pidfd);
/* What to execute to become this program again: /proc/self/exe, which is the right one also when
 * the file was replaced; where /proc is not mounted the path that we were executed with. */
const char *child_own_program(void);
/* Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat), 0 = no such. */
uint64_t child_start_time(pid_t pid);

#endif
