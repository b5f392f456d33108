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
#include "io/durable.h"
#include "io/jsonx.h"
#include "supervisor/core/audit.h"
#include "supervisor/core/core_cgroup.h"
#include "supervisor/core/events.h"
#include "supervisor/core/keeper.h"
#include "supervisor/core/outputs.h"
#include "supervisor/release/releases.h"
#include "supervisor/core/sockets.h"
#include "supervisor/host/users.h"

static const char scale_file[] = "scale.json", undo_name[] = "plan.undo";
enum { SCALE_FILE_MAX = 1024 * 1024 };

static void warn_all(const struct err_list *warnings)
{
    for (size_t i = 0; i < warnings->count; i++)
        log_warn(warnings->lines[i], NULL);
}

static struct plan *make(const struct plan_source *source, struct err_list *errors)
{
    struct err_list warnings;

    err_list_init(&warnings);
    struct plan *plan = plan_make(source, errors, &warnings);
    if (plan)
        warn_all(&warnings);
    err_list_done(&warnings);
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
    core->plan = make(core->source, errors);
    return core->plan ? 0 : ERR_INVALID;
}

static int load_disk(struct core *core, struct err_list *errors)
{
    struct err err = { 0 };

    if (plan_source_read(core->config, environ, core->source, errors) != 0)
        return ERR_INVALID;
    core->plan = make(core->source, errors);
    if (!core->plan)
        return ERR_INVALID;
    read_scales(core->plan, core->source);
    if (core->source->nscales > 0) {
        plan_free(core->plan);
        core->plan = make(core->source, errors);
        if (!core->plan)
            return ERR_INVALID;
    }
    if (keep_source(core, core->source, "plan", &err) != 0) {
        err_list_add(errors, "keeping the plan: %s", err.text);
        return (int)err.code;
    }
    return 0;
}

int core_plan_load(struct core *core, struct err_list *errors)
{
    int kept = store_get(&core->store, "plan");

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

/* The file is opened anew with each reload, so that it may be moved away. */
static void open_log(struct core *core, const struct spec_supervisor *settings)
{
    bool usual = strcmp(settings->identifier, "supervisor") == 0;
    int fd = STDERR_FILENO;

    snprintf(core->log_name, sizeof core->log_name, "%.60s%score",
             usual ? "" : settings->identifier, usual ? "" : "/");
    if (strcmp(settings->log, "-") != 0 && settings->log[0] != '\0')
        fd = open(settings->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0) {
        log_error("cannot open the log", "path", settings->log, "error", strerror(errno), NULL);
        return;
    }
    log_open(fd, (enum log_level)settings->log_level, core->log_name);
    if (core->log_fd > STDERR_FILENO)
        close(core->log_fd);
    core->log_fd = fd;
}

void core_plan_settings(struct core *core)
{
    const struct spec_supervisor *settings = &core->plan->supervisor;

    open_log(core, settings);
    log_set_level((enum log_level)settings->log_level);
    audit_configure(core->audit, settings->audit_log);
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

static json_t *names_json(const struct opt_names *names)
{
    json_t *list = json_array();

    for (size_t i = 0; i < names->count; i++)
        json_array_append_new(list, json_string(names->names[i]));
    return list;
}

/* Names alone, and with what was and will be. */
static void set_keys(json_t *object, const char *names, const char *values,
                     const struct plan_diff_keys *keys)
{
    json_t *short_list = json_array(), *list = json_array();

    for (size_t i = 0; i < keys->count; i++) {
        const struct plan_diff_key *key = &keys->list[i];
        json_t *line = json_object();

        json_array_append_new(short_list, json_string(key->key));
        jsonx_set_text(line, "key", key->key);
        jsonx_set_text(line, "takes", plan_change_name(key->takes));
        if (key->variables) {
            jsonx_set_text(line, "variables", key->variables);
        } else {
            jsonx_set_text(line, "old", key->before[0] ? key->before : NULL);
            jsonx_set_text(line, "new", key->after[0] ? key->after : NULL);
        }
        json_array_append_new(list, line);
    }
    json_object_set_new(object, names, short_list);
    json_object_set_new(object, values, list);
}

static json_t *diff_json(const struct plan_diff *diff, bool applied)
{
    json_t *result = json_object(), *rows = json_array();

    for (size_t i = 0; i < diff->count; i++) {
        const struct plan_diff_row *row = &diff->rows[i];
        json_t *line = json_object();

        jsonx_set_text(line, "service", row->service);
        jsonx_set_text(line, "change", plan_change_name(row->change));
        set_keys(line, "keys", "changes", &row->keys);
        json_array_append_new(rows, line);
    }
    json_object_set_new(result, "services", rows);
    set_keys(result, "supervisor_keys", "supervisor_changes", &diff->supervisor);
    json_object_set_new(result, "sockets", names_json(&diff->sockets));
    json_object_set_new(result, "access", names_json(&diff->access));
    jsonx_set_bool(result, "applied", applied);
    return result;
}

static json_t *lines_json(const struct err_list *list)
{
    json_t *lines = json_array();

    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(lines, json_string(list->lines[i]));
    return lines;
}

static json_t *errors_json(const struct err_list *errors)
{
    json_t *data = json_object();

    json_object_set_new(data, "errors", lines_json(errors));
    jsonx_set_int(data, "total", (json_int_t)errors->total);
    return data;
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

/* Commits: the new texts are in the store before anything is done, so a crash in the middle carries
 * on towards the new plan.  From here on nothing is refused. */
static int apply(struct core *core, struct plan_source *source, struct plan *plan,
                 struct err_list *problems, struct err *err)
{
    struct plan *before = core->plan;
    struct keeper_next *next = keeper_prepare(core->keeper, plan, err);

    if (!next)
        return err_wrap(err, "nothing was changed");
    struct rights *rights = make_rights(plan);
    core->ledger.header->applying = 1;
    if (!rights || keep_source(core, source, "plan", err) != 0) {
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
    core_plan_settings(core);
    control_again(core, problems);
    core_cgroup_begin(core);
    sockets_configure(core, plan, problems);
    struct err later = { 0 };
    keeper_configure(core->keeper, next, before, problems);
    if (core_plan_releases(core, RELEASES_RELOAD, problems, &later) != 0) {
        err_list_add(problems, "%s", later.text);
        log_error("applying the new plan", "error", later.text, NULL);
    }
    core->ledger.header->applying = 0;
    keeper_outdated(core->keeper);
    keeper_autostart(core->keeper);
    give_memory_back();
    keeper_ask_waiting(core->keeper); /* what they wait for may be there, or needed no more */
    return 0;
}

/* From the disk; or, to undo, the texts of before the last reload.  Scales stay what they are. */
static struct plan_source *read_again(struct core *core, bool undo, struct err_list *errors)
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
        return source;
    plan_source_free(source);
    free(source);
    return NULL;
}

/* Does all of it; returns the answer (new reference) or NULL with err and maybe *ret_data. */
static json_t *reload(struct core *core, bool only_plan, bool undo, json_t **ret_data,
                      struct err *err)
{
    struct err_list errors, problems;
    struct arena arena;
    struct plan_diff diff = { 0 };
    json_t *result = NULL;

    err_list_init(&errors);
    err_list_init(&problems);
    arena_init(&arena);
    struct plan_source *source = read_again(core, undo, &errors);
    struct plan *plan = source ? make(source, &errors) : NULL;
    if (plan) /* all names of [access:NAME] must be there when somebody is there to mend it */
        rights_free(rights_make(plan, &errors));
    if (errors.total > 0 || !plan) {
        *ret_data = errors_json(&errors);
        err_set(err, ERR_INVALID, "%zu error%s in the configuration, nothing was changed",
                errors.total, errors.total == 1 ? "" : "s");
    } else if (plan->nservices == 0 && core->plan->nservices > 0) {
        /* A file cut short or an empty folder must not stop everything. */
        err_set(err, ERR_INVALID,
                "there is no service at all in %s, nothing was changed; to stop everything use "
                "\"supervisor stop all\"",
                core->config);
    } else if (plan_diff(core->plan, plan, core->tunes, &arena, &diff) != 0) {
        err_set(err, ERR_MEMORY, "no memory to compare the plans");
    } else if (only_plan) {
        result = diff_json(&diff, false);
    } else if (keep_source(core, core->source, undo_name, err) == 0 &&
               apply(core, source, plan, &problems, err) == 0) {
        source = NULL;
        plan = NULL;
        result = diff_json(&diff, true);
        json_object_set_new(result, "problems", lines_json(&problems));
    }
    plan_free(plan);
    if (source)
        plan_source_free(source);
    free(source);
    err_list_done(&errors);
    err_list_done(&problems);
    arena_done(&arena);
    return result;
}

void core_plan_reload(struct core *core, struct rpc_call *call, json_t *params)
{
    struct err err = { 0 };
    json_t *data = NULL;
    bool only_plan = jsonx_bool(params, "plan", false), undo = jsonx_bool(params, "undo", false);
    json_t *result = NULL;

    if (undo && store_get(&core->store, undo_name) < 0)
        err_set(&err, ERR_NOT_FOUND, "there is no reload to undo");
    else
        result = reload(core, only_plan, undo, &data, &err);

    if (!result) {
        rpc_fail(call, &err, data);
        return;
    }
    if (!only_plan)
        events_publish(core->events, "reload", json_deep_copy(result));
    rpc_reply(call, result);
}

void core_plan_reload_signal(struct core *core)
{
    struct err err = { 0 };
    json_t *data = NULL, *line;
    json_t *result = reload(core, false, false, &data, &err);
    size_t i;

    if (result) {
        events_publish(core->events, "reload", result);
        return;
    }
    log_error("reload refused", "error", err.text, NULL);
    json_array_foreach(json_object_get(data, "errors"), i, line)
        log_error(json_string_value(line), NULL);
    events_publish(core->events, "reload-refused", data);
}

/* --- scale --- */

static struct plan_source *copy_source(const struct plan_source *from, struct err *err)
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

static int scale_to(struct core *core, const char *name, int64_t count, struct err *err)
{
    struct err_list errors;
    struct plan_source *source = copy_source(core->source, err);

    if (!source)
        return (int)err->code;
    err_list_init(&errors);
    int rc = plan_source_scale(source, name, count)
                 ? 0
                 : err_set(err, ERR_MEMORY, "no memory for the scale");
    struct plan *plan = rc == 0 ? make(source, &errors) : NULL;
    if (rc == 0 && !plan)
        rc = err_set(err, ERR_INVALID, "%s", errors.count ? errors.lines[0] : "it does not fit");
    if (rc == 0)
        rc = apply(core, source, plan, &errors, err);
    if (rc != 0) {
        plan_free(plan);
        plan_source_free(source);
        free(source);
    }
    err_list_done(&errors);
    return rc != 0 ? rc : write_scales(core, err);
}

void core_plan_scale(struct core *core, struct rpc_call *call, json_t *params)
{
    struct err err = { 0 };
    const char *name;
    int64_t count;

    int rc = jsonx_need_text(params, "name", &name, &err);
    if (rc == 0)
        rc = jsonx_need_int(params, "count", &count, &err);
    if (rc == 0 && (count < 0 || count > SPEC_NUMPROCS_MAX))
        rc = err_set(&err, ERR_INVALID, "the number of instances must be 0 to %d",
                     SPEC_NUMPROCS_MAX);
    if (rc == 0 && plan_find(core->plan, name) < 0)
        rc = err_set(&err, ERR_NOT_FOUND, "no service is called \"%s\"", name);
    if (rc == 0)
        rc = scale_to(core, name, count, &err);
    if (rc != 0) {
        rpc_fail(call, &err, NULL);
        return;
    }
    events_publish(core->events, "scale",
                   json_pack("{s:s,s:I}", "service", name, "count", (json_int_t)count));
    rpc_reply(call, json_pack("{s:s,s:I}", "name", name, "count", (json_int_t)count));
}
