/* sandbox.h - the keys of a sandbox, made into the system calls that a child then only has to make.
 *
 * Everything is worked out and allocated here, before the process exists: the child may not
 * allocate, look anything up or take a lock.  The order is: namespaces, mounts, the root, what
 * capabilities are bounded to; then io/child changes the ids; then the capabilities that it keeps,
 * no_new_privs, and the filter of system calls last.
 */
#ifndef SUPERVISOR_SANDBOX_SANDBOX_H
#define SUPERVISOR_SANDBOX_SANDBOX_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "io/child.h"
#include "supervisor/plan/spec.h"
#include "supervisor/sandbox/ability.h"

/* What one start needs besides the keys. */
struct sandbox_start {
    const struct spec_sandbox *spec;
    const struct ability *ability;
    const struct sock_fprog *filter; /* NULL = none */
    bool set_ids;                    /* its user is not ours */
    int root_fd;                     /* of spec->root, opened; else -1 */
    const char *notify;              /* socket to bring into the root, NULL = none */
    /* The process of the instance that this one is to run beside, in its namespaces; -1 = it gets
     * namespaces of its own. */
    int beside_fd;
    const struct child_report *beside_report;
};
struct sandbox {
    struct child_sandbox child; /* directory_path is left to the caller */
    const char **subjects;      /* by number of the call: what it is about, or NULL */
    size_t ncalls;
};
/* Everything in the arena; descriptors stay the caller's.  Paths are looked at here: one that is
 * not there is an error that names its key. */
int sandbox_make(const struct sandbox_start *start, struct arena *arena, struct sandbox *ret,
                 struct err *err);
/* CLONE_NEW... that its processes are together in. */
int sandbox_shared_namespaces(const struct spec_sandbox *spec, const struct ability *ability);

enum { SANDBOX_TEXT_MAX = 200 };
/* The step of a child's report: "read_only: remounting /usr read-only", "setting the user id".
 * `sandbox` is the one it was started with; without it paths are not named. */
const char *sandbox_step_text(int32_t step, const struct sandbox *sandbox,
                              char text[static SANDBOX_TEXT_MAX]);
/* The keys in one line: "no_new_privs, seccomp default, private_tmp"; "" when there are none. */
void sandbox_summary(const struct spec_sandbox *spec, struct buf *out);

#endif
