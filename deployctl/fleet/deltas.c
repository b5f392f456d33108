/* deltas.c - the contract is in deltas.h; how a program is made is in program.c. */
#include "deployctl/fleet/deltas.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "deployctl/fleet/pack.h"
#include "deployctl/fleet/program.h"
#include "deployctl/plan/chunker.h"
#include "deployctl/wire/sums.h"
#include "io/jsonx.h"

enum state { STATE_NONE, STATE_WORKING, STATE_DONE, STATE_FAILED };

/* Our own content, cut coarsely. */
struct own {
    struct own *next;
    size_t entry;
    enum state state;
    struct delta_list chunks;
};
struct delta {
    struct delta *next;
    struct own *own;
    char *sums; /* as hosts tell them */
    struct delta_list old, old_fine;
    enum state planned, made;
    struct program_plan plan;
    char *answer; /* of the first host that was asked; NULL = none yet */
    struct pack_item item;
    uint64_t fresh;
};
struct waiter {
    struct waiter *next;
    void (*fn)(void *context);
    void *context;
};
struct deltas {
    atomic_int references; /* ours, and one for each job */
    struct loop *loop;
    struct source *source;
    struct pack *pack;
    struct own *owns;
    struct delta *all;
    size_t count, sums;
    struct waiter *waiters;
    struct job *jobs;
};
/* Work on a thread: cutting our content, or making a program. */
struct job {
    struct job *next, **link;
    struct deltas *deltas;
    struct loop_work *work;
    struct own *own;
    struct delta *delta;
    int fd;
    const char *name;
    struct err err;
};

static void drop(struct deltas *deltas)
{
    if (atomic_fetch_sub(&deltas->references, 1) != 1)
        return;
    while (deltas->all) {
        struct delta *delta = deltas->all;
        deltas->all = delta->next;
        delta_list_done(&delta->old);
        delta_list_done(&delta->old_fine);
        program_plan_done(&delta->plan);
        pack_item_done(&delta->item);
        free(delta->answer);
        free(delta->sums);
        free(delta);
    }
    while (deltas->owns) {
        struct own *own = deltas->owns;
        deltas->owns = own->next;
        delta_list_done(&own->chunks);
        free(own);
    }
    pack_free(deltas->pack);
    free(deltas);
}

struct deltas *deltas_new(struct loop *loop, struct source *source, struct err *err)
{
    struct deltas *deltas = calloc(1, sizeof *deltas);
    if (!deltas) {
        err_set(err, ERR_MEMORY, "no memory");
        return NULL;
    }
    atomic_init(&deltas->references, 1);
    deltas->loop = loop;
    deltas->source = source;
    deltas->pack = pack_new(err);
    if (!deltas->pack) {
        drop(deltas);
        return NULL;
    }
    return deltas;
}

/* --- work on threads -------------------------------------------------------------------------- */

static void unlink_job(struct job *job)
{
    *job->link = job->next;
    if (job->next)
        job->next->link = job->link;
}

static void job_release(void *context)
{
    struct job *job = context;
    auto_close_(&job->fd);
    drop(job->deltas);
    free(job);
}

static bool start(struct deltas *deltas, struct own *own, struct delta *delta, void (*work)(void *),
                  void (*done)(void *))
{
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return false;
    job->deltas = deltas;
    job->own = own;
    job->delta = delta;
    job->name = source_manifest(deltas->source)->entries[own->entry].path;
    job->fd = source_open_entry(deltas->source, own->entry, &job->err);
    atomic_fetch_add(&deltas->references, 1);
    job->work = job->fd < 0 ? NULL : loop_work_start(deltas->loop, work, done, job_release, job);
    if (!job->work) {
        job_release(job);
        return false;
    }
    job->next = deltas->jobs;
    job->link = &deltas->jobs;
    if (job->next)
        job->next->link = &job->next;
    deltas->jobs = job;
    return true;
}

/* Takes the waiters out first: each may ask again at once. */
static void wake(struct deltas *deltas)
{
    struct waiter *due = deltas->waiters;
    deltas->waiters = NULL;
    while (due) {
        struct waiter *waiter = due;
        due = waiter->next;
        waiter->fn(waiter->context);
        free(waiter);
    }
}

static enum deltas_state wait_for(struct deltas *deltas, void (*fn)(void *context), void *context)
{
    for (const struct waiter *w = deltas->waiters; w; w = w->next)
        if (w->context == context)
            return DELTAS_WAIT;
    struct waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter)
        return DELTAS_USELESS;
    *waiter = (struct waiter){ deltas->waiters, fn, context };
    deltas->waiters = waiter;
    return DELTAS_WAIT;
}

void deltas_forget(struct deltas *deltas, void *context)
{
    for (struct waiter **at = &deltas->waiters; *at;) {
        struct waiter *waiter = *at;
        if (waiter->context != context) {
            at = &waiter->next;
            continue;
        }
        *at = waiter->next;
        free(waiter);
    }
}

void deltas_free(struct deltas *deltas)
{
    if (!deltas)
        return;
    while (deltas->jobs) {
        struct job *job = deltas->jobs;
        unlink_job(job);
        loop_work_cancel(job->work);
    }
    while (deltas->waiters)
        deltas_forget(deltas, deltas->waiters->context);
    drop(deltas);
}

static uint64_t size_of(const struct job *job)
{
    return source_manifest(job->deltas->source)->entries[job->own->entry].size;
}

static void cut_work(void *context)
{
    struct job *job = context;
    struct digest *digest = digest_new(&job->err);
    if (digest)
        sums_of(job->fd, 0, size_of(job), chunker_coarse(size_of(job)), DELTAS_SUMS_MAX, digest,
                &job->own->chunks, &job->err);
    digest_free(digest);
    digest_thread_end();
}

static void cut_done(void *context)
{
    struct job *job = context;
    struct deltas *deltas = job->deltas;
    unlink_job(job);
    job->own->state = job->err.code == ERR_NONE ? STATE_DONE : STATE_FAILED;
    wake(deltas);
}

static void make_work(void *context)
{
    struct job *job = context;
    struct delta *delta = job->delta;
    const struct program_order order = { .fd = job->fd,
                                         .name = job->name,
                                         .fresh = &job->own->chunks,
                                         .old = &delta->old,
                                         .old_fine = &delta->old_fine,
                                         .plan = &delta->plan };
    program_make(&order, job->deltas->pack, &delta->item, &delta->fresh, &job->err);
    digest_thread_end();
}

static void make_done(void *context)
{
    struct job *job = context;
    struct deltas *deltas = job->deltas;
    unlink_job(job);
    job->delta->made = job->err.code == ERR_NONE ? STATE_DONE : STATE_FAILED;
    wake(deltas);
}

/* --- deltas ----------------------------------------------------------------------------------- */

static struct own *find_own(struct deltas *deltas, size_t entry)
{
    for (struct own *own = deltas->owns; own; own = own->next)
        if (own->entry == entry)
            return own;
    struct own *own = calloc(1, sizeof *own);
    if (!own)
        return NULL;
    own->entry = entry;
    own->next = deltas->owns;
    deltas->owns = own;
    return own;
}

struct delta *deltas_find(struct deltas *deltas, size_t entry, const char *sums)
{
    struct own *own = find_own(deltas, entry);
    for (struct delta *delta = deltas->all; delta; delta = delta->next)
        if (delta->own == own && strcmp(delta->sums, sums) == 0)
            return delta;
    struct delta *delta = own && deltas->count < DELTAS_MAX && deltas->sums < DELTAS_ALL_SUMS_MAX
                              ? calloc(1, sizeof *delta)
                              : NULL;
    if (!delta)
        return NULL;
    delta->own = own;
    delta->sums = strdup(sums);
    if (!delta->sums || delta_list_parse(sums, DELTAS_SUMS_MAX, &delta->old, NULL) < 0 ||
        delta->old.count == 0) {
        delta_list_done(&delta->old);
        free(delta->sums);
        free(delta);
        return NULL;
    }
    delta->next = deltas->all;
    deltas->all = delta;
    deltas->count++;
    deltas->sums += delta->old.count;
    return delta;
}

enum deltas_state deltas_plan(struct deltas *deltas, struct delta *delta, void (*fn)(void *context),
                              void *context)
{
    struct own *own = delta->own;
    if (own->state == STATE_NONE)
        own->state = start(deltas, own, NULL, cut_work, cut_done) ? STATE_WORKING : STATE_FAILED;
    if (own->state == STATE_WORKING)
        return wait_for(deltas, fn, context);
    if (delta->planned == STATE_NONE)
        delta->planned =
            own->state == STATE_DONE && program_plan(&own->chunks, &delta->old, &delta->plan) == 0
                ? STATE_DONE
                : STATE_FAILED;
    return delta->planned == STATE_DONE ? DELTAS_READY : DELTAS_USELESS;
}

json_t *deltas_question(const struct delta *delta)
{
    const struct program_plan *plan = &delta->plan;
    if (plan->nruns == 0)
        return NULL;
    json_t *question = json_object(), *runs = json_array();
    for (size_t i = 0; i < 2 * plan->nruns; i++)
        json_array_append_new(runs, json_integer((json_int_t)plan->runs[i]));
    jsonx_set_int(question, "entry", (int64_t)delta->own->entry);
    jsonx_set_int(question, "average", (int64_t)plan->average);
    json_object_set_new(question, "runs", runs);
    return question;
}

bool deltas_answer(struct deltas *deltas, struct delta *delta, const char *sums)
{
    if (delta->answer)
        return strcmp(delta->answer, sums) == 0;
    if (delta_list_parse(sums, DELTAS_SUMS_MAX, &delta->old_fine, NULL) < 0) {
        delta_list_done(&delta->old_fine);
        return false;
    }
    deltas->sums += delta->old_fine.count;
    delta->answer = strdup(sums);
    return delta->answer != NULL;
}

enum deltas_state deltas_make(struct deltas *deltas, struct delta *delta, void (*fn)(void *context),
                              void *context)
{
    if (delta->made == STATE_NONE)
        delta->made =
            start(deltas, delta->own, delta, make_work, make_done) ? STATE_WORKING : STATE_FAILED;
    if (delta->made == STATE_WORKING)
        return fn ? wait_for(deltas, fn, context) : DELTAS_WAIT;
    return delta->made == STATE_DONE ? DELTAS_READY : DELTAS_USELESS;
}

int deltas_piece(const struct deltas *deltas, const struct delta *delta, uint64_t offset,
                 void *data, size_t max, size_t *ret_len, bool *ret_last, struct err *err)
{
    int rc = pack_read(deltas->pack, &delta->item, offset, data, max, ret_len, err);
    if (rc == 0)
        *ret_last = offset + *ret_len >= delta->item.len;
    return rc;
}

uint64_t deltas_packed_bytes(const struct delta *delta) { return delta->item.len; }
uint64_t deltas_fresh_bytes(const struct delta *delta) { return delta->fresh; }
