/* core_plan.c - the contract is in core_plan.h. */
#include "supervisor/core/core_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/log.h"
#include "base/near.h"
#include "io/durable.h"
#include "io/jsonx.h"
#include "supervisor/core/audit.h"
#include "supervisor/core/core_cgroup.h"
#include "supervisor/core/events.h"
#include "supervisor/core/jobs.h"
#include "supervisor/core/keeper.h"
#include "supervisor/core/outputs.h"
#include "supervisor/core/release_config.h"
#include "supervisor/release/releases.h"
#include "supervisor/core/sockets.h"
#include "supervisor/host/users.h"

static const char scale_file[] = "scale.json", plan_name[] = "plan", undo_name[] = "plan.undo";
enum { SCALE_FILE_MAX = 1024 * 1024 };

static void warn_all(const struct err_list *warnings)
{
    for (size_t i = 0; i < warnings->count; i++)
        log_warn(warnings->lines[i], NULL);
}

static struct plan *make_plan(const struct plan_source *source, struct err_list *errors)
{
    struct err_list warnings;

    err_list_init(&warnings);
    struct plan *plan = core_plan_make(source, errors, &warnings);
    err_list_done(&warnings);
    return plan;
}

struct plan *core_plan_make(const struct plan_source *source, struct err_list *errors,
                            struct err_list *warnings)
{
    struct plan *plan = plan_make(source, errors, warnings);

    if (plan)
        warn_all(warnings);
    return plan;
}

/* Names that are not there give no rights, and stop nothing: a directory service may be away. */
static struct rights *make_rights(const struct plan *plan)
{
    struct err_list problems;

    err_list_init(&problems);
    struct rights *rights = rights_make(plan, &problems);
    for (size_t i = 0; i < problems.count; i++)
        log_error(problems.lines[i], NULL);
    err_list_done(&problems);
    return rights;
}

static int keep_source(struct core *core, const struct plan_source *source, const char *name,
                       struct err *err)
{
    struct buf text;
    int fd = -1;

    buf_init(&text, PLAN_SOURCE_MAX);
    int rc = plan_source_pack(source, &text)
                 ? core_memory(name, text.data, text.len, &fd, err)
                 : err_set(err, ERR_LIMIT, "the configuration is too large to keep");
    buf_done(&text);
    return rc != 0 ? rc : core_keep(core, name, fd, err);
}

/* What a plan was made with is several times its size, and lies between what stays. */
static void give_memory_back(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

/* --- scales that survive a restart of the whole supervisor --- */

static void read_scales(const struct plan *plan, struct plan_source *source)
{
    char path[4096];
    struct buf text;
    struct err err = { 0 };
    const char *service;
    json_t *count;

    snprintf(path, sizeof path, "%s/%s", plan->supervisor.state_dir, scale_file);
    buf_init(&text, SCALE_FILE_MAX);
    json_t *root = buf_read_file(&text, AT_FDCWD, path) == 0
                       ? jsonx_parse(buf_text(&text), text.len, &err)
                       : NULL;
    if (!root && text.len > 0)
        log_error("the file with the scales is damaged and ignored", "path", path, "error",
                  err.text, NULL);
    buf_done(&text);
    json_object_foreach(root, service, count)
    {
        if (json_is_integer(count) && plan_find(plan, service) >= 0)
            plan_source_scale(source, service, json_integer_value(count));
    }
    json_decref(root);
}

static int write_scales(const struct core *core, struct err *err)
{
    const char *dir = core->plan->supervisor.state_dir;
    json_t *root = json_object();
    struct buf text;

    if (core->state_in_memory) {
        json_decref(root);
        return 0;
    }
    for (size_t i = 0; i < core->source->nscales; i++)
        jsonx_set_int(root, core->source->scales[i].service, core->source->scales[i].count);
    buf_init(&text, SCALE_FILE_MAX);
    jsonx_put(root, &text);
    json_decref(root);
    AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? err_sys(err, errno, "opening %s", dir)
                    : durable_write(fd, scale_file, buf_text(&text), text.len, 0600, err);
    buf_done(&text);
    return rc;
}

/* --- loading --- */

static int unpack_kept(int fd, struct plan_source *source, struct err_list *errors)
{
    struct buf text;
    struct err err = { 0 };
    char path[64];

    /* Through /proc, so that the offset of the kept descriptor does not matter. */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    buf_init(&text, PLAN_SOURCE_MAX);
    int rc = buf_read_file(&text, AT_FDCWD, path);
    if (rc == 0)
        rc = plan_source_unpack(buf_text(&text), text.len, source, &err);
    else
        err_sys(&err, -rc, "reading the plan as loaded");
    buf_done(&text);
    if (rc != 0)
        err_list_add(errors, "%s", err.text);
    return rc;
}

static int load_kept(struct core *core, int fd, struct err_list *errors)
{
    int rc = unpack_kept(fd, core->source, errors);

    if (rc != 0)
        return rc;
    core->plan = make_plan(core->source, errors);
    return core->plan ? 0 : ERR_INVALID;
}

static int load_disk(struct core *core, struct err_list *errors)
{
    struct err err = { 0 };

    if (plan_source_read(core->config, environ, core->source, errors) != 0)
        return ERR_INVALID;
    core->plan = make_plan(core->source, errors);
    if (!core->plan)
        return ERR_INVALID;
    read_scales(core->plan, core->source);
    if (core->source->nscales > 0) {
        plan_free(core->plan);
        core->plan = make_plan(core->source, errors);
        if (!core->plan)
            return ERR_INVALID;
    }
    if (keep_source(core, core->source, plan_name, &err) != 0) {
        err_list_add(errors, "keeping the plan: %s", err.text);
        return (int)err.code;
    }
    return 0;
}

int core_plan_load(struct core *core, struct err_list *errors)
{
    int kept = store_get(&core->store, plan_name);

    core->source = calloc(1, sizeof *core->source);
    if (!core->source) {
        err_list_add(errors, "no memory for the configuration");
        return ERR_MEMORY;
    }
    int rc = kept >= 0 ? load_kept(core, kept, errors) : load_disk(core, errors);
    if (rc == 0 && !(core->rights = make_rights(core->plan))) {
        err_list_add(errors, "no memory for the rights");
        rc = ERR_MEMORY;
    }
    give_memory_back();
    return rc;
}

/* A bad moment: no descriptor, no memory, a full or failing disk.  It says nothing about the next.
 */
static bool may_pass(int error)
{
    static const int passing[] = { EMFILE, ENFILE, ENOMEM, EINTR, EAGAIN, EIO, ENOSPC, EDQUOT };

    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++)
        if (error == passing[i])
            return true;
    return false;
}

/* For good: whoever writes there meanwhile waits, which is better than going elsewhere for all the
 * time until the next reload. */
static bool unwritable_dir(const char *dir, mode_t mode)
{
    struct err err = { 0 };

    if (durable_make_dirs(dir, mode, &err) != 0)
        return err.code != ERR_MEMORY && !may_pass(err.sys);
    return access(dir, W_OK | X_OK) != 0 && !may_pass(errno);
}

/* The file is opened anew with each reload, so that it may be moved away.  O_NONBLOCK: neither a
 * FIFO under this name nor a terminal that was stopped may hold us up. */
static int open_log(struct core *core, const struct spec_supervisor *settings, struct err *err)
{
    int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    bool usual = strcmp(settings->identifier, "supervisor") == 0;
    int fd = STDERR_FILENO;

    snprintf(core->log_name, sizeof core->log_name, "%.60s%score",
             usual ? "" : settings->identifier, usual ? "" : "/");
    if (strcmp(settings->log, "-") != 0 && settings->log[0] != '\0')
        fd = open(settings->log, flags, 0640);
    if (fd < 0)
        return err_sys(err, errno, "log %s cannot be opened", settings->log);
    log_open(fd, (enum log_level)settings->log_level, core->log_name);
    if (core->log_fd > STDERR_FILENO)
        close(core->log_fd);
    core->log_fd = fd;
    return 0;
}

static void tell(struct err_list *problems, const struct err *err)
{
    log_error(err->text, NULL);
    if (problems)
        err_list_add(problems, "%s", err->text);
}

void core_plan_settings(struct core *core, struct err_list *problems)
{
    const struct spec_supervisor *settings = &core->plan->supervisor;
    struct err err = { 0 };

    if (open_log(core, settings, &err) != 0)
        tell(problems, &err);
    log_set_level((enum log_level)settings->log_level);
    const struct audit_settings audit = { settings->audit_log, settings->audit_log_maxbytes,
                                          settings->audit_log_backups };
    if (audit_configure(core->audit, &audit, &err) != 0)
        tell(problems, &err);
    core->logs_inherited = unwritable_dir(settings->log_dir, 0755);
    core->state_in_memory = unwritable_dir(settings->state_dir, 0700);
    if (core->logs_inherited)
        log_warn("log_dir cannot be written: output is inherited", "path", settings->log_dir, NULL);
    if (core->state_in_memory)
        log_warn("state_dir cannot be written: pins are kept in memory only", "path",
                 settings->state_dir, NULL);
}

int core_plan_control(const struct core *core, struct listen_options *ret, struct err *err)
{
    const struct spec_supervisor *settings = &core->plan->supervisor;

    ret->mode = (mode_t)settings->socket_mode;
    ret->set_owner = settings->control_group != NULL;
    ret->uid = geteuid();
    int rc = settings->control_group ? users_group(settings->control_group, &ret->gid, err) : 0;
    return rc != 0 ? err_wrap(err, "control_group") : 0;
}

/* --- reload --- */

/* The next start looks for them where state_dir is now. */
static void move_scales(const struct core *core, const struct plan *before,
                        struct err_list *problems)
{
    struct err err = { 0 };

    if (core->source->nscales == 0 ||
        strcmp(before->supervisor.state_dir, core->plan->supervisor.state_dir) == 0)
        return;
    if (write_scales(core, &err) != 0)
        err_list_add(problems, "scales are not kept for the next start: %s", err.text);
}

/* control_group and socket_mode for the socket that exists; without a group it is ours again. */
static void control_again(const struct core *core, struct err_list *problems)
{
    struct listen_options options = { .gid = getegid() };
    struct err err = { 0 };
    struct addr addr;
    int rc = core_plan_control(core, &options, &err);

    options.set_owner = true;
    if (rc == 0)
        rc = addr_parse(core->socket, &addr, &err);
    if (rc == 0)
        rc = listen_rights(&addr, &options, &err);
    if (rc != 0)
        err_list_add(problems, "%s", err.text);
}

int core_plan_releases(struct core *core, enum releases_start start, struct err_list *problems,
                       struct err *err)
{
    const struct plan *plan = core->plan;
    struct releases_service *services = calloc(plan->nservices + 1, sizeof *services);

    if (!services)
        return err_set(err, ERR_MEMORY, "no memory for the release sets");
    for (size_t i = 0; i < plan->nservices; i++) {
        services[i].instances = (size_t)plan->services[i].numprocs;
        services[i].owner = core->keeper->users[i].set ? core->keeper->users[i].uid : geteuid();
    }
    int rc = releases_configure(core->releases, plan, services, start, problems, err);
    free(services);
    return rc;
}

static void configure(struct core *core, struct keeper_next *next, struct plan *before,
                      struct err_list *problems)
{
    struct err err = { 0 };

    core_plan_settings(core, problems);
    move_scales(core, before, problems);
    control_again(core, problems);
    core_cgroup_begin(core);
    sockets_configure(core, core->plan, problems);
    keeper_configure(core->keeper, next, before, problems);
    jobs_configure(core->jobs);
    if (core_plan_releases(core, RELEASES_RELOAD, problems, &err) != 0) {
        err_list_add(problems, "%s", err.text);
        log_error("applying the new plan", "error", err.text, NULL);
    }
}

int core_plan_apply(struct core *core, struct plan_source *source, struct plan *plan,
                    enum core_plan_restarts restarts, struct err_list *problems, struct err *err)
{
    struct plan *before = core->plan;
    struct keeper_next *next = keeper_prepare(core->keeper, plan, err);

    if (!next)
        return err_wrap(err, "nothing was changed");
    if (restarts == CORE_PLAN_LEAVE)
        keeper_leave_outdated(next);
    struct rights *rights = make_rights(plan);
    core->ledger.header->applying = 1;
    if (!rights || keep_source(core, source, plan_name, err) != 0) {
        core->ledger.header->applying = 0;
        if (!rights)
            err_set(err, ERR_MEMORY, "no memory for the rights");
        rights_free(rights);
        keeper_discard(next);
        return err_wrap(err, "keeping the new plan");
    }
    plan_source_free(core->source);
    free(core->source);
    core->source = source;
    core->plan = plan;
    rights_free(core->rights);
    core->rights = rights;
    configure(core, next, before, problems);
    core->ledger.header->applying = 0;
    if (restarts == CORE_PLAN_RESTART)
        keeper_leave_nobody(core->keeper);
    keeper_outdated(core->keeper);
    keeper_autostart(core->keeper);
    give_memory_back();
    keeper_ask_waiting(core->keeper); /* what they wait for may be there, or needed no more */
    return 0;
}

/* From the disk; or, to undo, the texts of before the last reload.  Scales stay what they are. */
struct plan_source *core_plan_read(const struct core *core, bool undo, struct err_list *errors)
{
    struct plan_source *source = calloc(1, sizeof *source);

    if (!source) {
        err_list_add(errors, "no memory for the configuration");
        return NULL;
    }
    int rc = undo ? unpack_kept(store_get(&core->store, undo_name), source, errors)
                  : plan_source_read(core->config, (char *const *)core->source->environment, source,
                                     errors);
    for (size_t i = 0; rc == 0 && i < core->source->nscales; i++)
        if (!plan_source_scale(source, core->source->scales[i].service,
                               core->source->scales[i].count))
            rc = ERR_MEMORY;
    if (rc == 0)
        release_config_fill(core, source, errors);
    if (rc == 0 && errors->total == 0)
        return source;
    plan_source_free(source);
    free(source);
    return NULL;
}

bool core_plan_can_undo(const struct core *core) { return store_get(&core->store, undo_name) >= 0; }

int core_plan_keep_for_undo(struct core *core, struct err *err)
{
    return keep_source(core, core->source, undo_name, err);
}

/* --- scale --- */

struct plan_source *core_plan_copy_source(const struct plan_source *from, struct err *err)
{
    struct plan_source *to = calloc(1, sizeof *to);
    struct buf text;

    buf_init(&text, PLAN_SOURCE_MAX);
    int rc = to && plan_source_pack(from, &text)
                 ? plan_source_unpack(buf_text(&text), text.len, to, err)
                 : err_set(err, ERR_MEMORY, "no memory to copy the plan");
    buf_done(&text);
    if (rc == 0)
        return to;
    free(to);
    return NULL;
}

static int set_scales(struct plan_source *source, json_t *counts, struct err *err)
{
    const char *name;
    json_t *count;

    json_object_foreach(counts, name, count)
    {
        if (!plan_source_scale(source, name, json_integer_value(count)))
            return err_set(err, ERR_MEMORY, "no memory for the scale");
    }
    return 0;
}

static int scale_to(struct core *core, json_t *counts, struct err *err)
{
    struct err_list errors;
    struct plan_source *source = core_plan_copy_source(core->source, err);

    if (!source)
        return (int)err->code;
    err_list_init(&errors);
    int rc = set_scales(source, counts, err);
    struct plan *plan = rc == 0 ? make_plan(source, &errors) : NULL;
    if (rc == 0 && !plan)
        rc = err_set(err, ERR_INVALID, "%s", errors.count ? errors.lines[0] : "it does not fit");
    if (rc == 0)
        rc = core_plan_apply(core, source, plan, CORE_PLAN_AS_BEFORE, &errors, err);
    if (rc != 0) {
        plan_free(plan);
        plan_source_free(source);
        free(source);
    }
    err_list_done(&errors);
    return rc;
}

/* As they were asked for, in a new object; NULL with err. */
static json_t *counts_of(json_t *params, struct err *err)
{
    json_t *counts = json_object_get(params, "counts");
    const char *name;
    int64_t count;

    if (json_object_size(counts) > 0)
        return json_incref(counts);
    if (jsonx_need_text(params, "name", &name, err) != 0 ||
        jsonx_need_int(params, "count", &count, err) != 0)
        return NULL;
    counts = json_object();
    if (jsonx_set_int(counts, name, count) == 0)
        return counts;
    json_decref(counts);
    err_set(err, ERR_MEMORY, "no memory for the scale");
    return NULL;
}

static const char *service_at(size_t index, const void *context)
{
    return ((const struct plan *)context)->services[index].name;
}

static int check_count(const struct plan *plan, const char *name, const json_t *count,
                       struct err *err)
{
    const char *near = near_name(name, plan->nservices, service_at, plan);

    if (plan_find(plan, name) < 0 && near)
        return err_set(err, ERR_NOT_FOUND, "no service is called \"%.64s\" (did you mean \"%s\"?)",
                       name, near);
    if (plan_find(plan, name) < 0)
        return err_set(err, ERR_NOT_FOUND,
                       "no service is called \"%.64s\" (see 'supervisor status')", name);
    if (json_is_integer(count) && json_integer_value(count) >= 0 &&
        json_integer_value(count) <= SPEC_NUMPROCS_MAX)
        return 0;
    return err_set(err, ERR_INVALID, "%s: the number of instances must be 0 to %d", name,
                   SPEC_NUMPROCS_MAX);
}

/* All of them before anything is changed. */
static int check_counts(const struct plan *plan, json_t *counts, struct err *err)
{
    const char *name;
    json_t *count;
    int rc = 0;

    json_object_foreach(counts, name, count)
    {
        rc = check_count(plan, name, count, err);
        if (rc != 0)
            break;
    }
    if (rc != 0 && json_object_size(counts) > 1)
        err_wrap(err, "nothing was changed");
    return rc;
}

static void tell_scales(struct core *core, json_t *counts)
{
    const char *name;
    json_t *count;

    json_object_foreach(counts, name, count) events_publish(
        core->events, "scale", json_pack("{s:s,s:O}", "service", name, "count", count));
}

/* The scale holds; what a full disk takes away is that the next start knows it. */
static json_t *scale_answer(struct core *core, json_t *counts)
{
    json_t *answer = json_pack("{s:O}", "counts", counts), *count;
    struct err err = { 0 };
    const char *name;

    json_object_foreach(counts, name, count)
    {
        if (json_object_size(counts) > 1)
            break;
        jsonx_set_text(answer, "name", name);
        json_object_set(answer, "count", count);
    }
    if (write_scales(core, &err) != 0) {
        log_error("the scale is not kept for the next start", "error", err.text, NULL);
        jsonx_set_text(answer, "problem", err.text);
    }
    return answer;
}

void core_plan_scale(struct core *core, struct rpc_call *call, json_t *params)
{
    struct err err = { 0 };
    json_t *counts = counts_of(params, &err);
    int rc = counts ? check_counts(core->plan, counts, &err) : (int)err.code;

    if (rc == 0)
        rc = scale_to(core, counts, &err);
    if (rc == 0) {
        tell_scales(core, counts);
        rpc_reply(call, scale_answer(core, counts));
    } else {
        rpc_fail(call, &err, NULL);
    }
    json_decref(counts);
}
