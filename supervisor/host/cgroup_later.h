/* cgroup_later.h - settings of a control group whose write may take its time.
 *
 * A lower memory limit is reclaimed within the write, as long as that takes, where the kernel does
 * not heed O_NONBLOCK there: so it is written by a thread, and whoever asked goes on.
 */
#ifndef SUPERVISOR_HOST_CGROUP_LATER_H
#define SUPERVISOR_HOST_CGROUP_LATER_H

#include <stdbool.h>
#include <stddef.h>

#include "io/loop.h"
#include "supervisor/host/cgroup_limits.h"

enum { CGROUP_LATER_MAX = 4 };

struct cgroup_later;
struct cgroup_later_write {
    size_t limit; /* in cgroup_limits */
    int rc;       /* 0 or -errno */
};
/* Called once, on the loop, unless it was forgotten. */
typedef void cgroup_later_fn(void *context, const struct cgroup_later_write *writes, size_t count);

struct cgroup_later *cgroup_later_new(cgroup_later_fn *done, void *context); /* NULL: no memory */
/* Takes over fd, also when it fails (there are too many). */
bool cgroup_later_add(struct cgroup_later *later, int fd, size_t limit, const char *text);
size_t cgroup_later_count(const struct cgroup_later *later);
/* Writes them in this order; frees itself in the end.  False: no thread, nothing was written, and
 * it is the caller's to free. */
bool cgroup_later_start(struct cgroup_later *later, struct loop *loop);
/* What is under way is written all the same; done is not called. */
void cgroup_later_forget(struct cgroup_later *later);
void cgroup_later_free(struct cgroup_later *later); /* one that was not started; NULL is fine */

#endif
