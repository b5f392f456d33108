/* spawn_box.c - the contract is in spawn_box.h. */
#include "supervisor/core/spawn_box.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"

void spawn_box_init(struct spawn_box *box)
{
    *box = (struct spawn_box){ .root_fd = -1, .beside_fd = -1 };
    arena_init(&box->arena);
}

void spawn_box_done(struct spawn_box *box)
{
    if (box->root_fd >= 0)
        close(box->root_fd);
    if (box->beside_fd >= 0)
        close(box->beside_fd);
    arena_done(&box->arena);
    spawn_box_init(box);
}

void spawn_box_forget(struct unit *unit)
{
    if (!unit->box)
        return;
    spawn_box_done(unit->box);
    free(unit->box);
    unit->box = NULL;
}

void spawn_box_keep(struct unit *unit, struct spawn_box *box)
{
    spawn_box_forget(unit);
    if (!box->used)
        return;
    struct spawn_box *kept = malloc(sizeof *kept);
    if (!kept) /* a failure is told without the path then */
        return;
    *kept = *box;
    spawn_box_init(box);
    spawn_box_done(&(struct spawn_box){ .root_fd = kept->root_fd, .beside_fd = kept->beside_fd });
    kept->root_fd = kept->beside_fd = -1;
    unit->box = kept;
}

/* Not before somebody asks: it tries calls that a filter around us may answer with a signal. */
static const struct ability *ability_of(struct core *core)
{
    if (!core->ability_known)
        ability_look(&core->ability);
    core->ability_known = true;
    return &core->ability;
}

int spawn_box_check(struct core *core, const struct spec_service *service, struct err *err)
{
    const char *key = "sandbox";

    if (!spec_sandbox_any(&service->set->sandbox))
        return 0;
    int rc = ability_check(ability_of(core), &service->set->sandbox, &key, err);
    return rc == 0 ? 0 : err_wrap(err, "%s", key);
}

/* --- the root --- */

static int open_root(const struct spec_sandbox *spec, int release_fd, struct spawn_box *box,
                     struct err *err)
{
    struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };

    if (!spec->root)
        return 0;
    if (*spec->root == '/')
        box->root_fd = open(spec->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    else if (release_fd >= 0)
        box->root_fd = (int)syscall(SYS_openat2, release_fd, spec->root, &how, sizeof how);
    else
        errno = ENOENT;
    return box->root_fd >= 0 ? 0 : err_sys(err, errno, "root: %s", spec->root);
}

/* --- the notify socket, which some walls are in front of --- */

static bool is_below(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    return strncmp(path, folder, len) == 0 && path[len] == '/';
}

static bool is_covered(const struct spec_sandbox *spec, const char *path)
{
    if (spec->private_tmp.on && (is_below(path, "/tmp") || is_below(path, "/var/tmp")))
        return true;
    for (size_t i = 0; i < spec->hidden.count; i++)
        if (is_below(path, spec->hidden.list[i] + (*spec->hidden.list[i] == '-')))
            return true;
    return false;
}

static bool is_in_root(int root_fd, const char *path)
{
    struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
    AUTO_CLOSE int fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof how);

    return fd >= 0;
}

static bool is_reachable(const struct core *core, const struct spec_sandbox *spec,
                         const struct spawn_box *box)
{
    const char *name = core->notify_name;

    if (!name)
        return false;
    if (name[0] != '/')
        return !(spec->namespaces & 1u << SPEC_NAMESPACE_NET);
    if (spec->root) /* mounted on an empty file of that name */
        return box->sandbox.child.join == 0 && !ability_only_chroot(&core->ability, spec) &&
               is_in_root(box->root_fd, name);
    return !is_covered(spec, name);
}

static int check_reachable(const struct core *core, const struct unit *unit, struct err *err)
{
    const struct spec_settings *set = unit_spec(unit)->set;
    bool waits = unit->made && unit->made->ready.kind == SPEC_CHECK_NOTIFY;
    const char *name = core->notify_name ? core->notify_name : "none";

    if (!waits && set->watchdog_ms == 0)
        return 0;
    return err_set(err, ERR_DENIED, "%s: the notify socket %s is not reached from its sandbox%s",
                   waits ? "ready = notify" : "watchdog", name,
                   set->sandbox.root ? ", unless its root has an empty file of that path" : "");
}

/* --- the whole --- */

static int open_beside(const struct core *core, const struct unit *unit, struct spawn_box *box,
                       struct err *err)
{
    box->beside_fd = child_pidfd(core->ledger.pids[unit->record]);
    return box->beside_fd >= 0
               ? 0
               : err_sys(err, -box->beside_fd, "joining the sandbox of %s", unit->slot->name);
}

static int make(struct core *core, const struct unit *unit, bool set_ids, struct spawn_box *box,
                struct err *err)
{
    const struct spec_sandbox *spec = unit->made->sandbox;
    struct sandbox_start start = {
        .spec = spec,
        .ability = &core->ability,
        .set_ids = set_ids,
        .root_fd = box->root_fd,
        .beside_fd = box->beside_fd,
        .beside_report = box->beside_fd >= 0 ? &core->ledger.records[unit->record].report : NULL,
    };
    int rc = 0;

    box->deaf = !is_reachable(core, spec, box);
    if (spec->root && !box->deaf && core->notify_name[0] == '/')
        start.notify = core->notify_name;
    if (spec->seccomp.profile != SPEC_SECCOMP_NONE)
        rc = filter_get(&core->filters, &spec->seccomp, &start.filter, err);
    return rc == 0 ? sandbox_make(&start, &box->arena, &box->sandbox, err)
                   : err_wrap(err, "seccomp");
}

int spawn_box_make(struct core *core, const struct unit *unit, const struct users_identity *user,
                   int release_fd, const char *release_dir, bool beside, struct spawn_box *box,
                   struct err *err)
{
    const struct spec_sandbox *spec = unit->made->sandbox;

    if (!spec_sandbox_any(spec))
        return 0;
    box->used = true;
    int rc = spawn_box_check(core, unit_spec(unit), err);
    if (rc == 0)
        rc = open_root(spec, release_fd, box, err);
    if (rc == 0 && beside)
        rc = open_beside(core, unit, box, err);
    if (rc == 0)
        rc = make(core, unit, user->set, box, err);
    if (rc == 0 && box->deaf && !beside)
        rc = check_reachable(core, unit, err);
    if (rc != 0)
        return rc;
    box->moves = spec_sandbox_mounts(spec);
    if (box->moves && release_dir[0] && !spec->root) {
        box->sandbox.child.directory_path = arena_strdup(&box->arena, release_dir);
        if (!box->sandbox.child.directory_path)
            return err_set(err, ERR_MEMORY, "no memory for the sandbox of %s", unit->slot->name);
    }
    return 0;
}
