/* cgroup_later.c - the contract is in cgroup_later.h. */
#include "supervisor/host/cgroup_later.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct cgroup_later {
    cgroup_later_fn *done;
    void *context;
    struct loop_work *work;
    size_t count;
    int fds[CGROUP_LATER_MAX]; /* owned */
    char texts[CGROUP_LATER_MAX][CGROUP_LIMIT_TEXT];
    struct cgroup_later_write writes[CGROUP_LATER_MAX];
};

struct cgroup_later *cgroup_later_new(cgroup_later_fn *done, void *context)
{
    struct cgroup_later *later = calloc(1, sizeof *later);

    if (later)
        *later = (struct cgroup_later){ .done = done, .context = context };
    return later;
}

void cgroup_later_free(struct cgroup_later *later)
{
    if (!later)
        return;
    for (size_t i = 0; i < later->count; i++)
        close(later->fds[i]);
    free(later);
}

bool cgroup_later_add(struct cgroup_later *later, int fd, size_t limit, const char *text)
{
    if (later->count == CGROUP_LATER_MAX) {
        close(fd);
        return false;
    }
    later->fds[later->count] = fd;
    later->writes[later->count].limit = limit;
    snprintf(later->texts[later->count++], CGROUP_LIMIT_TEXT, "%s", text);
    return true;
}

size_t cgroup_later_count(const struct cgroup_later *later) { return later->count; }

static void work(void *context)
{
    struct cgroup_later *later = context;

    for (size_t i = 0; i < later->count; i++)
        if (write(later->fds[i], later->texts[i], strlen(later->texts[i])) < 0)
            later->writes[i].rc = -errno;
}

static void done(void *context)
{
    struct cgroup_later *later = context;

    later->done(later->context, later->writes, later->count);
}

static void release(void *context) { cgroup_later_free(context); }

bool cgroup_later_start(struct cgroup_later *later, struct loop *loop)
{
    later->work = loop_work_start(loop, work, done, release, later);
    return later->work != NULL;
}

void cgroup_later_forget(struct cgroup_later *later) { loop_work_cancel(later->work); }
