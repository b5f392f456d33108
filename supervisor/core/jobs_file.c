/* jobs_file.c - STATE_DIR/jobs.json: how far each schedule has come and how its last run ended.
 *
 * One file for all, so that a hundred jobs that are due at midnight cost one fsync.  It is written
 * on a thread: a disk that hangs keeps only scheduled runs waiting.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/buf.h"
#include "base/log.h"
#include "io/durable.h"
#include "io/jsonx.h"
#include "supervisor/core/jobs_inside.h"
#include "supervisor/core/keeper.h"

static const char file_name[] = "jobs.json";
enum { FILE_MAX = 16 * 1024 * 1024, PATH_BYTES = 4096 };
static const int64_t TIME_MAX_MS = 253402300799000; /* the end of the year 9999 */

/* One writing, also while the core goes on. */
struct writing {
    struct jobs *jobs; /* not touched by the thread */
    char dir[PATH_BYTES];
    struct buf text;
    struct err err;
    uint64_t number;
};

struct jobs_file {
    struct jobs *jobs;
    struct loop_work *work; /* under way, or NULL */
    uint64_t number;        /* of the latest writing that was begun */
    bool changed;
    bool told; /* that it cannot be written */
};

/* --- what is in it --- */

static const struct {
    const char *name;
    size_t offset, size;
} members[] = {
/* clang-format off */
#define MEMBER(text, member)                                                                       \
    { text, offsetof(struct schedule, member), sizeof(((struct schedule *)0)->member) }
    MEMBER("until_ms",   until_ms),
    MEMBER("backlog_ms", backlog_ms),
    MEMBER("queued_ms",  queued_ms),
    MEMBER("due_ms",     due_ms),
    MEMBER("started_ms", started_ms),
    MEMBER("ended_ms",   ended_ms),
    MEMBER("rules",      rules),
    MEMBER("runs",       runs),
    MEMBER("failures",   failures),
    MEMBER("missed",     missed),
    MEMBER("skipped",    skipped),
    MEMBER("active",     active),
    MEMBER("running",    running),
    MEMBER("result",     result),
#undef MEMBER
    /* clang-format on */
};
enum { NMEMBERS = sizeof members / sizeof *members };

static int64_t member_get(const struct schedule *s, size_t i)
{
    const char *at = (const char *)s + members[i].offset;

    if (members[i].size == sizeof(int64_t))
        return *(const int64_t *)(const void *)at;
    if (members[i].size == sizeof(uint32_t))
        return *(const uint32_t *)(const void *)at;
    return *(const uint8_t *)at;
}

static void member_set(struct schedule *s, size_t i, int64_t value)
{
    char *at = (char *)s + members[i].offset;

    if (members[i].size == sizeof(int64_t))
        *(int64_t *)(void *)at = value;
    else if (members[i].size == sizeof(uint32_t))
        *(uint32_t *)(void *)at = (uint32_t)value;
    else
        *(uint8_t *)at = (uint8_t)value;
}

/* What we write ourselves always is. */
static bool member_fits(size_t i, int64_t value)
{
    int64_t max = members[i].size == sizeof(int64_t)    ? TIME_MAX_MS
                  : members[i].size == sizeof(uint32_t) ? UINT32_MAX
                                                        : UINT8_MAX;
    return value >= 0 && value <= max;
}

static json_t *row_of(const struct schedule *s)
{
    json_t *row = json_object();

    for (size_t i = 0; i < NMEMBERS; i++)
        jsonx_set_int(row, members[i].name, member_get(s, i));
    return row;
}

static bool fill(const struct jobs *jobs, struct buf *text)
{
    const struct keeper *keeper = jobs->core->keeper;
    json_t *root = json_object();

    for (size_t i = 0; i < keeper->nslots; i++) {
        const struct slot *slot = keeper->slots[i];
        const struct job *job = slot->job;

        if (jobs_is(slot) && job && job->kept && job->s.until_ms != 0)
            json_object_set_new(root, slot->name, row_of(job->claimed ? &job->claim : &job->s));
    }
    bool ok = jsonx_put(root, text);
    json_decref(root);
    return ok;
}

/* --- writing --- */

static void work(void *context)
{
    struct writing *w = context;

    AUTO_CLOSE int dir = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        err_sys(&w->err, errno, "opening %s", w->dir);
    else
        durable_write(dir, file_name, buf_text(&w->text), w->text.len, 0600, &w->err);
}

static void release(void *context)
{
    struct writing *w = context;

    buf_done(&w->text);
    free(w);
}

static void tell_failure(struct jobs_file *file, const struct err *err)
{
    if (err->code != 0 && !file->told)
        log_error("what was run cannot be kept; after a power cut it may run again", "error",
                  err->text, NULL);
    file->told = err->code != 0;
}

static void done(void *context)
{
    struct writing *w = context;
    struct jobs_file *file = w->jobs->file;

    file->work = NULL;
    tell_failure(file, &w->err);
    jobs_written(w->jobs, w->number);
}

static struct writing *writing_new(struct jobs_file *file)
{
    const struct core *core = file->jobs->core;
    struct writing *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    w->jobs = file->jobs;
    w->number = file->number;
    snprintf(w->dir, sizeof w->dir, "%s", core->plan->supervisor.state_dir);
    buf_init(&w->text, FILE_MAX);
    if (fill(file->jobs, &w->text))
        return w;
    release(w);
    return NULL;
}

uint64_t jobs_file_changed(struct jobs_file *file)
{
    file->changed = true;
    return file->number + 1;
}

void jobs_file_turn(struct jobs_file *file)
{
    const struct err no_memory = { .code = ERR_MEMORY, .text = "no memory" };

    if (!file->changed || file->work)
        return;
    file->changed = false;
    file->number++;
    struct writing *w = file->jobs->core->state_in_memory ? NULL : writing_new(file);
    if (w)
        file->work = loop_work_start(file->jobs->core->loop, work, done, release, w);
    if (file->work)
        return;
    /* Kept by nobody: what waits for it begins all the same. */
    if (!file->jobs->core->state_in_memory)
        tell_failure(file, &no_memory);
    jobs_written(file->jobs, file->number);
}

bool jobs_file_settled(const struct jobs_file *file) { return !file->changed && !file->work; }

struct jobs_file *jobs_file_new(struct jobs *jobs)
{
    struct jobs_file *file = calloc(1, sizeof *file);

    if (file)
        file->jobs = jobs;
    return file;
}

void jobs_file_free(struct jobs_file *file)
{
    if (file && file->work)
        loop_work_cancel(file->work);
    free(file);
}

/* --- reading --- */

json_t *jobs_file_read(const struct core *core)
{
    char path[PATH_BYTES];
    struct buf text;
    struct err err = { 0 };

    snprintf(path, sizeof path, "%s/%s", core->plan->supervisor.state_dir, file_name);
    buf_init(&text, FILE_MAX);
    json_t *root = buf_read_file(&text, AT_FDCWD, path) == 0
                       ? jsonx_parse(buf_text(&text), text.len, &err)
                       : NULL;
    if (!root && text.len > 0)
        log_error("the file with the runs of scheduled services is damaged and ignored", "path",
                  path, "error", err.text, NULL);
    buf_done(&text);
    return root;
}

bool jobs_file_get(const json_t *left, const char *name, struct schedule *ret)
{
    const json_t *row = json_object_get(left, name);

    if (jsonx_int(row, "until_ms", 0) <= 0)
        return false;
    struct schedule s = { 0 };
    bool fits = true;
    for (size_t i = 0; i < NMEMBERS; i++) {
        int64_t value = jsonx_int(row, members[i].name, 0);
        fits &= member_fits(i, value);
        member_set(&s, i, value);
    }
    if (!fits || s.result >= SCHEDULE_NRESULTS) {
        log_error("what is kept of its runs is damaged and ignored", "instance", name, NULL);
        return false;
    }
    *ret = s;
    return true;
}
