/* spawn.c - the contract is in spawn.h. */
#include "supervisor/core/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/signals.h"
#include "io/child.h"
#include "supervisor/core/kept.h"
#include "supervisor/core/outputs.h"
#include "supervisor/release/releases.h"
#include "supervisor/core/sockets.h"
#include "supervisor/core/spawn_box.h"
#include "supervisor/core/unit_group.h"
#include "supervisor/host/filesum.h"

enum {
    LISTEN_FIRST_FD = 3,
    PID_DIGITS = 11,
    EXTRA_VARIABLES = 17,
    SPAWN_FDS_MAX = SOCKETS_PER_SERVICE_MAX + SPEC_FD_STORE_MAX + 4,
    SPAWN_LIMITS_MAX = SPEC_NLIMITS + 1,
    FUSE_MAGIC = 0x65735546,
    CIFS_MAGIC = (int)0xff534d42,
};

/* What one start needs besides the child_spec that points into it. */
struct start {
    struct child_fd fds[SPAWN_FDS_MAX];
    struct child_limit limits[SPAWN_LIMITS_MAX];
    struct arena arena; /* of what is only needed until the process exists */
    char **envp;        /* in the arena */
    size_t nenv;
    char *path; /* malloc'ed */
    int release_fd, group_fd;
    int ready_write; /* our copy of the write end of fd:N */
    int stdin_fd;    /* our copy of stdin = open */
    struct spawn_box box;
};

static void start_init(struct start *start)
{
    memset(start, 0, sizeof *start);
    arena_init(&start->arena);
    spawn_box_init(&start->box);
    start->release_fd = start->group_fd = start->ready_write = start->stdin_fd = -1;
}

static void start_done(struct start *start)
{
    free(start->path);
    if (start->stdin_fd >= 0)
        close(start->stdin_fd);
    arena_done(&start->arena);
    spawn_box_done(&start->box);
    if (start->release_fd >= 0)
        close(start->release_fd);
    if (start->group_fd > 0)
        close(start->group_fd);
    if (start->ready_write >= 0)
        close(start->ready_write);
}

static int open_release(const struct core *core, const struct unit *unit, int *ret_fd, char *dir,
                        size_t size, struct err *err)
{
    const struct spec_service *service = unit_spec(unit);

    dir[0] = '\0';
    if (!service->release || unit->slot->removed)
        return 0;
    return releases_open(core->releases, unit->slot->service, unit->body.release, ret_fd, dir, size,
                         err);
}

/* Where log_dir cannot be written, what would go there goes where our own output goes. */
static void inherit_default_logs(const struct core *core, struct instance *made)
{
    if (!core->logs_inherited)
        return;
    if (!made->service->out.logfile && made->stdout_log && made->stdout_log[0] == '/')
        made->stdout_log = "inherit";
    if (!made->service->err.logfile && made->stderr_log && made->stderr_log[0] == '/')
        made->stderr_log = "inherit";
}

static int make(const struct core *core, const struct unit *unit, const struct users_identity *user,
                bool read_files, int *ret_release_fd, struct arena *arena, struct instance *ret,
                struct err *err)
{
    char dir[PATH_MAX];

    int rc = open_release(core, unit, ret_release_fd, dir, sizeof dir, err);
    if (rc != 0)
        return err_wrap(err, "release %s", unit->body.release);
    const struct instance_release release = { .id = unit->body.release,
                                              .dir = arena_strdup(arena, dir) };
    rc = instance_make(core->plan, unit_spec(unit), unit->slot->number, &release, user->environment,
                       read_files, arena, ret, err);
    if (rc == 0 && !ret->argv)
        rc = err_set(err, ERR_INVALID, "there is no command, neither here nor in the release");
    if (rc == 0)
        inherit_default_logs(core, ret);
    return rc;
}

static int prepare(struct core *core, struct unit *unit, const struct users_identity *user,
                   int *ret_release_fd, struct err *err)
{
    struct arena arena;

    arena_init(&arena);
    struct instance *made = arena_alloc(&arena, sizeof *made);
    int rc = made ? make(core, unit, user, true, ret_release_fd, &arena, made, err)
                  : err_set(err, ERR_MEMORY, "no memory for %s", unit->slot->name);
    if (rc != 0) {
        arena_done(&arena);
        return rc;
    }
    spawn_forget(unit);
    unit->made = made;
    unit->arena = arena;
    return 0;
}

int spawn_prepare(struct core *core, struct unit *unit, const struct users_identity *user,
                  struct err *err)
{
    AUTO_CLOSE int release_fd = -1;

    return prepare(core, unit, user, &release_fd, err);
}

void spawn_forget(struct unit *unit)
{
    unit->made = NULL;
    arena_done(&unit->arena);
}

const struct instance *spawn_look(const struct core *core, const struct unit *unit,
                                  struct arena *arena)
{
    AUTO_CLOSE int release_fd = -1;
    struct err err = { 0 };

    if (unit->made)
        return unit->made;
    struct instance *made = arena_alloc(arena, sizeof *made);
    if (!made || make(core, unit, unit->slot->user, false, &release_fd, arena, made, &err) != 0)
        return NULL;
    return made;
}

int spawn_files(const struct core *core, const struct unit *unit, uint32_t *ret_variables,
                uint32_t *ret_own, const char **ret_cut, struct err *err)
{
    const struct spec_service *spec = unit_spec(unit);
    AUTO_CLOSE int release_fd = -1;
    struct instance made = { 0 };
    struct arena arena;
    int rc = 0;

    *ret_variables = *ret_own = 0;
    *ret_cut = NULL;
    if (!spec->environment_file && !spec->set->reload_files)
        return 0;
    arena_init(&arena);
    rc = make(core, unit, unit->slot->user, true, &release_fd, &arena, &made, err);
    if (rc == 0) {
        *ret_variables = made.file_sum;
        *ret_own = made.reload_files ? filesum(made.reload_files, ret_cut) : 0;
    }
    arena_done(&arena);
    return rc;
}

static int add_variable(struct start *start, const char *text, struct err *err)
{
    if (!text)
        return err_set(err, ERR_MEMORY, "no memory for the environment");
    start->envp[start->nenv++] = (char *)text;
    return 0;
}

/* Of the release that it runs, as it was when unit->made was made; "" = none. */
static const char *release_dir_of(const struct unit *unit)
{
    static const char name[] = "RELEASE_DIR=";

    for (size_t i = 0; unit->made->service->release && unit->made->envp[i]; i++)
        if (strncmp(unit->made->envp[i], name, strlen(name)) == 0)
            return unit->made->envp[i] + strlen(name);
    return "";
}

static bool has_root(const struct unit *unit) { return unit->made->service->set->sandbox.root; }

/* What was meant for us, by an outer service manager, is not for our services: theirs comes from
 * us, and the first of two equal names would win. */
static bool is_ours(const char *variable)
{
    static const char *const names[] = {
        "NOTIFY_SOCKET=", "LISTEN_FDS=", "LISTEN_FDNAMES=",      "LISTEN_PID=",    "WATCHDOG_USEC=",
        "WATCHDOG_PID=",  "FDSTORE=",    "SUPERVISOR_INSTANCE=", "SUPERVISOR_RUN="
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

/* A root inside the release: from there it is all that there is. */
static char *as_seen(const struct unit *unit, char *variable)
{
    static const char inside[] = "RELEASE_DIR=/";

    return has_root(unit) && strncmp(variable, inside, strlen(inside) - 1) == 0 ? (char *)inside
                                                                                : variable;
}

static int copy_environment(const struct core *core, struct unit *unit, struct start *start,
                            uint32_t generation, struct err *err)
{
    size_t count = 0;

    while (unit->made->envp && unit->made->envp[count])
        count++;
    start->envp = arena_array(&start->arena, count + EXTRA_VARIABLES + 1, sizeof *start->envp);
    if (!start->envp)
        return err_set(err, ERR_MEMORY, "no memory for the environment");
    for (size_t i = 0; i < count; i++)
        if (!is_ours(unit->made->envp[i]))
            start->envp[start->nenv++] = as_seen(unit, unit->made->envp[i]);
    if (add_variable(start,
                     arena_printf(&start->arena, "SUPERVISOR_RUN=%016llx",
                                  (unsigned long long)core->ledger.header->run),
                     err) != 0)
        return err->code;
    return add_variable(
        start,
        arena_printf(&start->arena, "SUPERVISOR_INSTANCE=%s.%u", unit->slot->name, generation),
        err);
}

/* A hung network file system must not be able to hold the core in vfork. */
static bool is_local_file(const char *path)
{
    struct statfs fs;

    if (statfs(path, &fs) != 0)
        return false;
    return fs.f_type != NFS_SUPER_MAGIC && fs.f_type != FUSE_MAGIC && fs.f_type != CIFS_MAGIC &&
           fs.f_type != SMB_SUPER_MAGIC && fs.f_type != V9FS_MAGIC;
}

static int find_program(struct unit *unit, struct start *start, const char *command,
                        struct err *err)
{
    const char *dir = release_dir_of(unit);

    if (has_root(unit)) {
        start->path = child_find_inside(start->box.root_fd, command, unit->made->envp, err);
        return start->path ? 0 : (int)(err ? err->code : ERR_NOT_FOUND);
    }
    if (dir[0] && command[0] != '/' && strchr(command, '/')) {
        const char *inside = arena_printf(&start->arena, "%s/%s", dir, command);
        if (!inside)
            return err_set(err, ERR_MEMORY, "no memory for the path of the command");
        command = inside;
    }
    start->path = child_find(command, unit->made->envp, err);
    return start->path ? 0 : (int)(err ? err->code : ERR_NOT_FOUND);
}

static void fill_limits(const struct core *core, const struct spec_service *service,
                        struct start *start, struct child_spec *spec)
{
    const struct ledger_header *header = core->ledger.header;
    size_t n = 0;

    start->limits[n++] = (struct child_limit){
        RLIMIT_NOFILE, { .rlim_cur = header->nofile_soft, .rlim_max = header->nofile_hard }
    };
    for (int i = 0; i < SPEC_NLIMITS; i++) {
        rlim_t value = service->set->limits[i].value;
        if (!service->set->limits[i].set)
            continue;
        struct child_limit limit = { spec_limit_resource((enum spec_limit_name)i),
                                     { .rlim_cur = value, .rlim_max = value } };
        if (i == SPEC_LIMIT_NOFILE)
            start->limits[0] = limit;
        else
            start->limits[n++] = limit;
    }
    spec->limits = start->limits;
    spec->nlimits = n;
}

static void fill_common(struct core *core, struct unit *unit, const struct users_identity *user,
                        struct start *start, struct child_spec *spec)
{
    const struct spec_service *service = unit->made->service;
    const struct spawn_box *box = &start->box;

    *spec = (struct child_spec){
        .path = start->path,
        .directory_fd = has_root(unit) ? -1 : start->release_fd,
        .directory = unit->made->directory,
        .set_ids = user->set,
        .uid = user->uid,
        .gid = user->gid,
        .groups = user->groups,
        .ngroups = user->ngroups,
        .umask = (int)service->set->umask,
        .nice = (int)service->set->nice,
        .set_oom_score = service->set->set_oom_score,
        .oom_score_adj = (int)service->set->oom_score_adj,
        .new_session = true,
        .sibling = true,
        .share_memory = !user->set && !box->used && is_local_file(start->path),
        .sandbox = box->used ? &box->sandbox.child : NULL,
    };
    fill_limits(core, service, start, spec);
}

static int open_ready_pipe(struct core *core, struct unit *unit, struct start *start,
                           struct err *err)
{
    char name[STORE_NAME_MAX];
    int ends[2];

    snprintf(name, sizeof name, "ready.%s.%u", unit->slot->name, unit->record);
    core_drop(core, name);
    unit->ready_fd = -1;
    if (unit->made->ready.kind != SPEC_CHECK_FD)
        return 0;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_sys(err, errno, "making the readiness pipe");
    start->ready_write = ends[1];
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    int rc = core_keep(core, name, ends[0], err);
    if (rc != 0)
        return rc;
    unit->ready_fd = store_get(&core->store, name);
    return 0;
}

/* A variable NAME= whose value the child writes: its own pid. */
static char *add_pid_variable(struct start *start, const char *name, struct err *err)
{
    size_t len = strlen(name);
    char *text = arena_alloc(&start->arena, len + PID_DIGITS + 1);

    if (text)
        memcpy(text, name, len + 1);
    return add_variable(start, text, err) == 0 ? text + len : NULL;
}

/* Listening sockets first, behind them what the instance left with us. */
static int fill_listen(struct core *core, struct unit *unit, struct start *start,
                       struct child_spec *spec, size_t *nfds, struct err *err)
{
    const struct spec_service *service = unit->made->service;
    bool passed = service->nsockets > 0 && service->set->standard_input != SPEC_STDIN_SOCKET;
    int fds[SOCKETS_PER_SERVICE_MAX + SPEC_FD_STORE_MAX];
    size_t count = 0;
    struct buf names;

    buf_init(&names, 64 * 1024);
    int rc = passed ? sockets_of(core, service, unit->slot->name, fds, &count, &names, err) : 0;
    if (rc == 0)
        count += kept_of(core, unit->slot->name, fds + count, SPEC_FD_STORE_MAX, &names);
    for (size_t i = 0; rc == 0 && i < count; i++)
        start->fds[(*nfds)++] = (struct child_fd){ fds[i], LISTEN_FIRST_FD + (int)i };
    if (rc == 0 && count > 0)
        rc = add_variable(start, arena_printf(&start->arena, "LISTEN_FDS=%zu", count), err);
    if (rc == 0 && count > 0)
        rc = add_variable(start, arena_printf(&start->arena, "LISTEN_FDNAMES=%s", buf_text(&names)),
                          err);
    buf_done(&names);
    if (rc != 0 || count == 0)
        return rc;
    spec->listen_pid = add_pid_variable(start, "LISTEN_PID=", err);
    return spec->listen_pid ? 0 : ERR_MEMORY;
}

static int fill_notify(struct core *core, struct unit *unit, struct start *start,
                       struct child_spec *spec, struct err *err)
{
    const struct spec_service *service = unit->made->service;

    if (!core->notify_name || start->box.deaf || service->set->notify_access == SPEC_NOTIFY_NONE)
        return 0;
    int rc = add_variable(start, arena_printf(&start->arena, "NOTIFY_SOCKET=%s", core->notify_name),
                          err);
    if (rc == 0 && service->set->fd_store_max > 0)
        rc = add_variable(
            start,
            arena_printf(&start->arena, "FDSTORE=%lld", (long long)service->set->fd_store_max),
            err);
    if (rc != 0 || service->set->watchdog_ms == 0)
        return rc;
    spec->watchdog_pid = add_pid_variable(start, "WATCHDOG_PID=", err);
    if (!spec->watchdog_pid)
        return ERR_MEMORY;
    return add_variable(start,
                        arena_printf(&start->arena, "WATCHDOG_USEC=%lld",
                                     (long long)service->set->watchdog_ms * 1000),
                        err);
}

/* No other process of the instance writes to its output. */
static bool is_alone(const struct core *core, const struct unit *unit)
{
    return !unit->slot->twin && core->ledger.pids[unit->record] == 0;
}

/* Descriptor 0, for [fcgi-program:] and others that take their socket from there. */
static int socket_as_stdin(struct core *core, const struct unit *unit, int *ret_fd, struct err *err)
{
    int fds[SOCKETS_PER_SERVICE_MAX];
    size_t count = 0;

    int rc = sockets_of(core, unit->made->service, unit->slot->name, fds, &count, NULL, err);
    if (rc == 0 && count != 1)
        return err_set(err, ERR_STATE, "stdin = socket wants one socket, there are %zu", count);
    if (rc == 0) { /* such programs wait in accept(), whatever others did with it */
        *ret_fd = fds[0];
        (void)fcntl(fds[0], F_SETFL, fcntl(fds[0], F_GETFL) & ~O_NONBLOCK);
    }
    return rc;
}

/* The read end of a pipe whose other end stays in the store: it never ends, also while there is no
 * core.  One pipe does for all, because nothing is ever written to it; each process gets an open
 * file of its own, so that none can make it non-blocking for the others. */
static int open_stdin(struct core *core, int *ret_fd, struct err *err)
{
    static const char name[] = "stdin", end_name[] = "stdin.end";
    char path[64];
    int ends[2];

    if (store_get(&core->store, name) < 0 || store_get(&core->store, end_name) < 0) {
        core_drop(core, name);
        core_drop(core, end_name);
        if (pipe2(ends, O_CLOEXEC) != 0)
            return err_sys(err, errno, "making the pipe for stdin");
        int rc = core_keep(core, end_name, ends[1], err);
        if (rc == 0)
            rc = core_keep(core, name, ends[0], err);
        else
            close(ends[0]);
        if (rc != 0)
            return rc;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", store_get(&core->store, name));
    *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
    return 0;
}

static int fill_stdin(struct core *core, struct unit *unit, struct start *start, int *ret_fd,
                      struct err *err)
{
    const struct spec_service *service = unit->made->service;
    int rc = 0;

    *ret_fd = -1; /* /dev/null */
    if (service->set->standard_input == SPEC_STDIN_SOCKET)
        return socket_as_stdin(core, unit, ret_fd, err);
    if (service->set->standard_input != SPEC_STDIN_OPEN)
        return 0;
    rc = open_stdin(core, &start->stdin_fd, err);
    if (rc == 0) /* without /proc the shared one does */
        *ret_fd = start->stdin_fd >= 0 ? start->stdin_fd : store_get(&core->store, "stdin");
    return rc;
}

static int fill_main(struct core *core, struct unit *unit, struct start *start,
                     struct child_spec *spec, struct err *err)
{
    int in = -1, out = -1, errors = -1;
    size_t nfds = 0;

    int rc = outputs_open(core, unit->made, is_alone(core, unit), &out, &errors, err);
    if (rc == 0 && unit->made->ready.kind == SPEC_CHECK_LOG)
        rc = outputs_watch(core, unit->made, core->ledger.records[unit->record].generation,
                           (uint32_t)unit->record, err);
    if (rc == 0)
        rc = fill_stdin(core, unit, start, &in, err);
    if (rc == 0)
        rc = open_ready_pipe(core, unit, start, err);
    if (rc != 0)
        return rc;
    start->fds[nfds++] = (struct child_fd){ in, STDIN_FILENO };
    start->fds[nfds++] = (struct child_fd){ out, STDOUT_FILENO };
    start->fds[nfds++] = (struct child_fd){ errors, STDERR_FILENO };
    rc = fill_listen(core, unit, start, spec, &nfds, err);
    if (rc == 0 && start->ready_write >= 0)
        start->fds[nfds++] = (struct child_fd){ start->ready_write, unit->made->ready.fd };
    if (rc == 0)
        rc = fill_notify(core, unit, start, spec, err);
    if (rc == 0 && strcmp(unit->made->argv[0], PLAN_SELF) == 0)
        rc = add_variable(start, arena_printf(&start->arena, "SUPERVISOR_SOCKET=%s", core->socket),
                          err);
    spec->fds = start->fds;
    spec->nfds = nfds;
    return rc;
}

static int launch(struct core *core, struct unit *unit, size_t index, struct child_spec *spec,
                  struct start *start, struct err *err)
{
    struct ledger_record *record = &core->ledger.records[index];
    pid_t pid;

    start->group_fd = unit_group_enter(core, unit, &spec->cgroup_join, err);
    if (start->group_fd < 0)
        return start->group_fd;
    if (index == unit->record)
        unit_group_count_oom(core, unit);
    spec->cgroup_fd = start->group_fd;
    start->envp[start->nenv] = NULL;
    spec->envp = start->envp;
    spec->pid_slot = &core->ledger.pids[index];
    spec->report = &record->report;
    spec->start_time = &record->start_time;
    return child_start(spec, &pid, err);
}

/* Main process and twin carry the same name: one number for both would make the processes of one
 * look like leftovers of the other. */
static uint32_t next_generation(const struct core *core, const struct unit *unit)
{
    const struct slot *slot = unit->slot;
    const struct unit *other = slot->main == unit ? slot->twin : slot->main;
    uint32_t last = core->ledger.records[unit->record].generation;

    if (other && core->ledger.records[other->record].generation > last)
        last = core->ledger.records[other->record].generation;
    return last + 1;
}

int spawn_unit(struct core *core, struct unit *unit, const struct users_identity *user,
               struct err *err)
{
    struct ledger_record *record = &core->ledger.records[unit->record];
    struct child_spec spec;
    struct start start;

    start_init(&start);
    ledger_rearm(&core->ledger, unit->record, next_generation(core, unit));
    int rc = prepare(core, unit, user, &start.release_fd, err);
    if (rc == 0) {
        unit->body.env_sum = unit->made->file_sum;
        unit->body.files_sum =
            unit->made->reload_files ? filesum(unit->made->reload_files, NULL) : 0;
        rc = spawn_box_make(core, unit, user, start.release_fd, release_dir_of(unit), false,
                            &start.box, err);
    }
    if (rc == 0)
        rc = copy_environment(core, unit, &start, record->generation, err);
    if (rc == 0)
        rc = find_program(unit, &start, unit->made->argv[0], err);
    if (rc == 0) {
        fill_common(core, unit, user, &start, &spec);
        spec.argv = unit->made->argv;
        rc = fill_main(core, unit, &start, &spec, err);
    }
    if (rc == 0)
        rc = launch(core, unit, unit->record, &spec, &start, err);
    spawn_box_keep(unit, &start.box);
    start_done(&start);
    return rc;
}

static int helper_outputs(struct core *core, struct unit *unit, enum ledger_kind kind,
                          struct start *start, struct child_spec *spec, struct err *err)
{
    int out = -1, errors = -1;

    if (kind == LEDGER_HOOK) {
        int rc = outputs_open(core, unit->made, is_alone(core, unit), &out, &errors, err);
        if (rc != 0)
            return rc;
    }
    start->fds[0] = (struct child_fd){ -1, STDIN_FILENO };
    start->fds[1] = (struct child_fd){ out, STDOUT_FILENO };
    start->fds[2] = (struct child_fd){ errors, STDERR_FILENO };
    spec->fds = start->fds;
    spec->nfds = 3;
    return 0;
}

const char *spawn_hook_name(enum spawn_hook hook)
{
    static const char *const names[] = {
        [SPAWN_NO_HOOK] = "check",       [SPAWN_PRE_START] = "pre_start",
        [SPAWN_POST_STOP] = "post_stop", [SPAWN_POST_START] = "post_start",
        [SPAWN_PRE_STOP] = "pre_stop",   [SPAWN_ON_FAILED] = "on_failed",
    };
    return names[hook];
}

/* What a hook may want to know, to tell somebody. */
static int add_hook_variables(struct unit *unit, enum spawn_hook hook, struct start *start,
                              struct err *err)
{
    const struct unit_exit *last = &unit->body.last;
    struct arena *arena = &start->arena;

    int rc =
        add_variable(start, arena_printf(arena, "SUPERVISOR_HOOK=%s", spawn_hook_name(hook)), err);
    if (rc == 0)
        rc = add_variable(
            start, arena_printf(arena, "SUPERVISOR_SERVICE=%s", unit->slot->spec->name), err);
    if (rc == 0 && unit->reason[0])
        rc = add_variable(start, arena_printf(arena, "SUPERVISOR_REASON=%s", unit->reason), err);
    if (rc != 0 || last->at_wall_us == 0 || !last->known)
        return rc;
    return add_variable(
        start,
        last->signal ? arena_printf(arena, "SUPERVISOR_EXIT_SIGNAL=%s", signals_name(last->signal))
                     : arena_printf(arena, "SUPERVISOR_EXIT_CODE=%d", last->code),
        err);
}

static void note_hook(struct core *core, const struct unit *unit, enum spawn_hook hook,
                      size_t index)
{
    struct spawn_hook_body body = {
        .hook = (int32_t)hook,
        .unit = (uint32_t)unit->record,
        .deadline_ms = loop_now_ms(core->loop) + unit_spec(unit)->set->hook_timeout_ms,
    };
    ledger_body_put(&core->ledger, index, &body, sizeof body);
}

/* These are run while the main process is, and see what it sees. */
static bool is_beside(const struct core *core, const struct unit *unit, enum spawn_hook hook)
{
    return (hook == SPAWN_NO_HOOK || hook == SPAWN_POST_START || hook == SPAWN_PRE_STOP) &&
           ledger_living(&core->ledger, unit->record);
}

int spawn_helper(struct core *core, struct unit *unit, const struct users_identity *user,
                 enum spawn_hook hook, char *const *argv, size_t *ret_record, struct err *err)
{
    enum ledger_kind kind = hook == SPAWN_NO_HOOK ? LEDGER_PROBE : LEDGER_HOOK;
    uint32_t generation = core->ledger.records[unit->record].generation;
    struct child_spec spec;
    struct start start;

    start_init(&start);
    ssize_t index = ledger_claim(&core->ledger, kind, unit->slot->name, generation, err);
    if (index < 0)
        return (int)index;
    int rc = copy_environment(core, unit, &start, generation, err);
    if (rc == 0 && hook != SPAWN_NO_HOOK) {
        note_hook(core, unit, hook, (size_t)index);
        rc = add_hook_variables(unit, hook, &start, err);
    }
    char dir[PATH_MAX];
    if (rc == 0)
        rc = open_release(core, unit, &start.release_fd, dir, sizeof dir, err);
    if (rc == 0)
        rc = spawn_box_make(core, unit, user, start.release_fd, dir, is_beside(core, unit, hook),
                            &start.box, err);
    if (rc == 0)
        rc = find_program(unit, &start, argv[0], err);
    if (rc == 0) {
        fill_common(core, unit, user, &start, &spec);
        spec.argv = argv;
        rc = helper_outputs(core, unit, kind, &start, &spec, err);
    }
    if (rc == 0)
        rc = launch(core, unit, (size_t)index, &spec, &start, err);
    if (hook == SPAWN_PRE_START || hook == SPAWN_POST_STOP)
        spawn_box_keep(unit, &start.box);
    start_done(&start);
    if (rc != 0)
        ledger_release(&core->ledger, (size_t)index);
    else
        *ret_record = (size_t)index;
    return rc;
}
