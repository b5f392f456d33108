/* children.c - the contract is in children.h. */
#include "deployctl/wire/children.h"

#include <signal.h>
#include <stdlib.h>

enum { SWEEP_MAX = 64 };

struct child_entry {
    pid_t pid;
    children_fn *fn; /* NULL = nobody */
    void *context;
    int64_t term_at, kill_at; /* 0 = not asked for, or done */
    struct child_entry *next;
};
struct children {
    struct loop *loop;
    struct loop_signal *signal;
    struct loop_timer *timer; /* for the nearest term_at or kill_at */
    struct child_entry *first;
};

static void on_exit_of_child(void *context, const struct reaper_exit *exit)
{
    struct children *children = context;
    for (struct child_entry **at = &children->first; *at != NULL; at = &(*at)->next) {
        struct child_entry *entry = *at;
        if (entry->pid != exit->pid)
            continue;
        *at = entry->next; /* before the call, which may start and forget others */
        if (entry->fn != NULL)
            entry->fn(entry->context, exit);
        free(entry);
        return;
    }
}

static void on_sigchld(void *context, int signum)
{
    (void)signum;
    while (reaper_sweep(on_exit_of_child, context, SWEEP_MAX) == SWEEP_MAX) {
    }
}

static void due(int64_t *at, int64_t now, pid_t pid, int signum, int64_t *next)
{
    if (*at != 0 && *at <= now) {
        *at = 0;
        kill(-pid, signum);
    }
    if (*at != 0 && (*next == 0 || *at < *next))
        *next = *at;
}

static void on_time(void *context)
{
    struct children *children = context;
    int64_t now = loop_now_ms(children->loop), next = 0;
    for (struct child_entry *entry = children->first; entry != NULL; entry = entry->next) {
        due(&entry->term_at, now, entry->pid, SIGTERM, &next);
        due(&entry->kill_at, now, entry->pid, SIGKILL, &next);
    }
    if (next != 0)
        loop_timer_arm(children->timer, next - now);
}

struct children *children_new(struct loop *loop, struct err *err)
{
    struct children *children = calloc(1, sizeof *children);
    if (children != NULL) {
        children->loop = loop;
        children->timer = loop_timer_new(loop, on_time, children);
        children->signal = loop_signal_new(loop, SIGCHLD, on_sigchld, children);
    }
    if (children == NULL || children->timer == NULL || children->signal == NULL) {
        err_set(err, ERR_MEMORY, "no memory to wait for children");
        children_free(children);
        return NULL;
    }
    return children;
}

void children_free(struct children *children)
{
    if (children == NULL)
        return;
    loop_signal_free(children->signal);
    loop_timer_free(children->timer);
    while (children->first != NULL) {
        struct child_entry *entry = children->first;
        children->first = entry->next;
        if (entry->term_at != 0)
            kill(-entry->pid, SIGTERM);
        free(entry);
    }
    free(children);
}

int children_start(struct children *children, const struct child_spec *spec, children_fn *fn,
                   void *context, pid_t *ret_pid, struct err *err)
{
    struct child_entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return err_set(err, ERR_MEMORY, "no memory to start a child");
    int rc = child_start(spec, &entry->pid, err);
    if (rc < 0) {
        free(entry);
        return rc;
    }
    entry->fn = fn;
    entry->context = context;
    entry->next = children->first;
    children->first = entry;
    *ret_pid = entry->pid;
    return 0;
}

void children_forget(struct children *children, pid_t pid)
{
    for (struct child_entry *entry = children->first; entry != NULL; entry = entry->next)
        if (entry->pid == pid)
            entry->fn = NULL;
}

void children_end(struct children *children, pid_t pid)
{
    children_forget(children, pid);
    for (struct child_entry *entry = children->first; entry != NULL; entry = entry->next) {
        if (entry->pid != pid)
            continue;
        entry->term_at = loop_now_ms(children->loop) + CHILDREN_TERM_MS;
        entry->kill_at = loop_now_ms(children->loop) + CHILDREN_KILL_MS;
        on_time(children);
    }
}
