/* outputs.c - the contract is in outputs.h. */
#include "supervisor/core/outputs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"

enum { PIPE_BYTES = 64 * 1024 };

static void settings_of(const struct instance *instance, bool is_err, struct streams_settings *ret)
{
    const struct spec_service *spec = instance->service;
    const struct spec_output *output = is_err ? &spec->err : &spec->out;

    memset(ret, 0, sizeof *ret);
    snprintf(ret->instance, sizeof ret->instance, "%s", instance->name);
    snprintf(ret->output, sizeof ret->output, "%s", is_err ? "stderr" : "stdout");
    snprintf(ret->path, sizeof ret->path, "%s",
             is_err ? instance->stderr_log : instance->stdout_log);
    ret->maxbytes = output->maxbytes;
    ret->backups = (int32_t)output->backups;
    ret->format = spec->set->log_format;
    ret->overflow = spec->set->log_overflow;
    ret->compress = spec->set->logfile_compress;
    ret->uid = ret->gid = (uint32_t)-1;
}

static void pipe_name(char *name, size_t size, size_t index, char end)
{
    snprintf(name, size, "log.%zu.%c", index, end);
}

/* Both ends go to the store; the logger gets its end from there.  The read end is non-blocking (an
 * open file of its own), the write end blocks as programs expect. */
static int make_pipe(struct core *core, size_t index, struct err *err)
{
    char name[STORE_NAME_MAX];
    AUTO_CLOSE int reader = -1;
    AUTO_CLOSE int writer = -1;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_sys(err, errno, "making an output pipe");
    reader = ends[0];
    writer = ends[1];
    (void)fcntl(reader, F_SETPIPE_SZ, PIPE_BYTES);
    if (fcntl(reader, F_SETFL, O_NONBLOCK) != 0)
        return err_sys(err, errno, "making an output pipe non-blocking");
    pipe_name(name, sizeof name, index, 'w');
    if (core_keep(core, name, take_fd(&writer), err) != 0)
        return err_wrap(err, "keeping an output pipe");
    pipe_name(name, sizeof name, index, 'r');
    if (core_keep(core, name, take_fd(&reader), err) != 0)
        return err_wrap(err, "keeping an output pipe");
    return 0;
}

/* Pushes settings that differ from what the logger has. */
static void refresh(struct core *core, size_t slot, const struct streams_settings *settings)
{
    streams_set(core->streams, slot, settings);
    core_wake_logger(core);
}

static int open_captured(struct core *core, const struct instance *instance, bool is_err,
                         int *ret_fd, struct err *err)
{
    struct streams_settings settings;
    char name[STORE_NAME_MAX];

    settings_of(instance, is_err, &settings);
    ssize_t slot = streams_find(core->streams, settings.instance, settings.output);
    if (slot < 0) {
        slot = streams_claim(core->streams, &settings);
        if (slot < 0)
            return err_set(err, ERR_LIMIT, "no room for another output stream");
        core_wake_logger(core);
    } else {
        refresh(core, (size_t)slot, &settings);
    }
    pipe_name(name, sizeof name, (size_t)slot, 'w');
    if (store_get(&core->store, name) < 0) {
        int rc = make_pipe(core, (size_t)slot, err);
        if (rc != 0)
            return rc;
        core_wake_logger(core);
    }
    *ret_fd = store_get(&core->store, name);
    return 0;
}

static int open_one(struct core *core, const struct instance *instance, bool is_err, int *ret_fd,
                    struct err *err)
{
    const char *path = is_err ? instance->stderr_log : instance->stdout_log;

    if (strcmp(path, "none") == 0) {
        *ret_fd = -1;
        return 0;
    }
    if (strcmp(path, "inherit") == 0) {
        *ret_fd = is_err ? STDERR_FILENO : STDOUT_FILENO;
        return 0;
    }
    return open_captured(core, instance, is_err, ret_fd, err);
}

int outputs_open(struct core *core, const struct instance *instance, int *ret_out, int *ret_err,
                 struct err *err)
{
    int rc = open_one(core, instance, false, ret_out, err);

    if (rc != 0)
        return err_wrap(err, "standard output");
    if (strcmp(instance->stderr_log, "stdout") == 0) {
        *ret_err = *ret_out;
        return 0;
    }
    rc = open_one(core, instance, true, ret_err, err);
    return rc != 0 ? err_wrap(err, "standard error") : 0;
}

/* The logger drains the pipe before it frees the slot; the pipe must stay in the store until then,
 * so that a logger that is killed in between can go on. */
static void close_slot(struct core *core, size_t slot)
{
    streams_order_close(core->streams, slot);
    core_wake_logger(core);
}

static bool is_free_pipe(const struct core *core, const char *name)
{
    size_t slot;
    char end;

    return sscanf(name, "log.%zu.%c", &slot, &end) == 2 &&
           streams_state(core->streams, slot) == STREAMS_FREE;
}

void outputs_release(struct core *core)
{
    for (size_t i = core->store.count; i > 0; i--) {
        char name[STORE_NAME_MAX];

        snprintf(name, sizeof name, "%s", core->store.entries[i - 1].name);
        if (is_free_pipe(core, name))
            core_drop(core, name);
    }
}

static const char *const output_names[] = { "stdout", "stderr" };

void outputs_close(struct core *core, const char *instance)
{
    for (size_t i = 0; i < 2; i++) {
        ssize_t slot = streams_find(core->streams, instance, output_names[i]);
        if (slot >= 0)
            close_slot(core, (size_t)slot);
    }
}

struct sweep {
    struct core *core;
    bool (*wanted)(const void *context, const char *instance);
    const void *context;
};

static void sweep_one(void *context, size_t slot, const struct streams_settings *settings)
{
    struct sweep *sweep = context;

    if (!sweep->wanted(sweep->context, settings->instance))
        close_slot(sweep->core, slot);
}

void outputs_sweep(struct core *core, bool (*wanted)(const void *context, const char *instance),
                   const void *context)
{
    struct sweep sweep = { core, wanted, context };

    streams_each(core->streams, sweep_one, &sweep);
}

void outputs_update(struct core *core, const struct instance *instance)
{
    struct streams_settings settings;

    for (size_t i = 0; i < 2; i++) {
        ssize_t slot = streams_find(core->streams, instance->name, output_names[i]);
        if (slot < 0)
            continue;
        settings_of(instance, i == 1, &settings);
        if (settings.path[0] == '/')
            refresh(core, (size_t)slot, &settings);
    }
}

void outputs_ask(struct core *core, const char *instance)
{
    for (size_t i = 0; i < 2; i++) {
        ssize_t slot = streams_find(core->streams, instance, output_names[i]);
        if (slot >= 0)
            streams_order_drain(core->streams, (size_t)slot);
    }
    core_wake_logger(core);
}

bool outputs_settled(struct core *core, const char *instance)
{
    for (size_t i = 0; i < 2; i++) {
        ssize_t slot = streams_find(core->streams, instance, output_names[i]);
        if (slot >= 0 && !streams_drained(core->streams, (size_t)slot, 0))
            return false;
    }
    return true;
}

/* Offset of the beginning of the last `lines` lines of text. */
static size_t tail_begin(const char *text, size_t len, size_t lines)
{
    size_t at = len > 0 && text[len - 1] == '\n' ? len - 1 : len;

    while (at > 0) {
        if (text[at - 1] == '\n' && --lines == 0)
            break;
        at--;
    }
    return at;
}

char *outputs_tail(const char *path, size_t lines, size_t max)
{
    AUTO_CLOSE int fd =
        path && path[0] == '/' ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || lines == 0)
        return strdup("");
    size_t want = (uint64_t)st.st_size < max ? (size_t)st.st_size : max;
    char *text = malloc(want + 1);
    if (!text)
        return NULL;
    ssize_t got = pread(fd, text, want, st.st_size - (off_t)want);
    size_t len = got > 0 ? (size_t)got : 0;
    size_t begin = tail_begin(text, len, lines);
    memmove(text, text + begin, len - begin);
    text[len - begin] = '\0';
    return text;
}
