/* core_cgroup.c - the contract is in core_cgroup.h. */
#include "supervisor/core/core_cgroup.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "io/jsonx.h"
#include "supervisor/host/cgroup_limits.h"
#include "supervisor/host/cgroup_path.h"
#include "supervisor/core/events.h"
#include "supervisor/core/unit_group.h"

static const char kept[] = "cgroup";

static void list_ours(const struct core *core, pid_t ours[CGROUP_KNOWN_PIDS])
{
    const struct ledger *ledger = &core->ledger;
    size_t n = 0;

    memset(ours, 0, CGROUP_KNOWN_PIDS * sizeof *ours);
    ours[n++] = (pid_t)ledger->header->guardian_pid;
    ours[n++] = getpid();
    for (size_t i = 0; i < ledger->used && n < CGROUP_KNOWN_PIDS; i++)
        if (ledger->records[i].kind == LEDGER_LOGGER && ledger->pids[i] > 0)
            ours[n++] = ledger->pids[i];
}

/* The store went with a guardian and a core that died together; the instances live on in theirs. */
static int find_again(const struct core *core, struct err *err)
{
    const struct ledger *ledger = &core->ledger;
    int fd = ERR_NOT_FOUND;

    for (size_t i = 0; i < ledger->used && fd < 0; i++) {
        const struct ledger_record *record = &ledger->records[i];
        bool service = record->kind == LEDGER_SERVICE || record->kind == LEDGER_TWIN;
        if (service && ledger->pids[i] > 0 && record->exited == LEDGER_LIVING)
            fd = cgroup_find(ledger->pids[i], err);
    }
    return fd;
}

static int make_or_find(const struct core *core, const pid_t *ours, struct err *err)
{
    struct err ignored = { 0 };
    int fd = find_again(core, &ignored);

    if (fd >= 0 && cgroup_move_in(fd, ours, &ignored) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return cgroup_create(ours, err);
}

/* A service manager has started us anew, in the group that ours is below.  Twice: a logger that the
 * guardian starts meanwhile is born outside before the guardian is inside, not after. */
static void come_in(struct core *core)
{
    char name[CGROUP_NAME_MAX];
    pid_t ours[CGROUP_KNOWN_PIDS];
    struct err err = { 0 };
    int rc = 0;

    if (cgroup_inside(&core->cgroup, getpid(), name, sizeof name))
        return;
    for (int round = 0; round < 2 && rc == 0; round++) {
        list_ours(core, ours);
        rc = cgroup_move_in(core->cgroup.fd, ours, &err);
    }
    if (rc != 0)
        log_warn("cannot move into our own control group", "error", err.text, NULL);
}

static void obtain(struct core *core)
{
    pid_t ours[CGROUP_KNOWN_PIDS];
    struct err err = { 0 };
    int fd = store_get(&core->store, kept);

    if (fd >= 0) {
        cgroup_use(&core->cgroup, fd);
        come_in(core);
        return;
    }
    if (core->plan->supervisor.cgroups == SPEC_CGROUPS_OFF) {
        cgroup_without(&core->cgroup, "they are switched off (cgroups = off)");
        return;
    }
    list_ours(core, ours);
    fd = make_or_find(core, ours, &err);
    if (fd < 0 || core_keep(core, kept, fd, &err) != 0) {
        cgroup_without(&core->cgroup, err.text);
        log_info("no control groups: processes are found by their parents and names", "why",
                 err.text, NULL);
        return;
    }
    cgroup_use(&core->cgroup, store_get(&core->store, kept));
}

/* Two are always welcome: they tell who was killed for want of memory, and count. */
static unsigned wanted_controllers(const struct plan *plan)
{
    unsigned bits = 1u << CGROUP_MEMORY | 1u << CGROUP_PIDS;

    for (size_t i = 0; i < plan->nservices; i++)
        bits |= cgroup_limits_need(&plan->services[i].set->cgroup);
    return bits;
}

/* Loudly: somebody relies on it. */
static void tell_problems(struct core *core)
{
    char why[UNIT_GROUP_WHY_MAX];

    for (size_t i = 0; i < core->plan->nservices; i++) {
        const struct spec_service *spec = &core->plan->services[i];
        if (!unit_group_problem(core, spec, why, sizeof why))
            continue;
        bool refused = core->plan->supervisor.cgroups == SPEC_CGROUPS_REQUIRED;
        log_error(refused ? "limits cannot be enforced here: it will not be started"
                          : "limits are NOT ENFORCED here, it runs without them",
                  "service", spec->name, "limits", why, NULL);
        json_t *details = json_object();
        jsonx_set_text(details, "service", spec->name);
        jsonx_set_text(details, "why", why);
        jsonx_set_bool(details, "refused", refused);
        events_publish(core->events, "limits-not-enforced", details);
    }
}

void core_cgroup_begin(struct core *core)
{
    if (store_get(&core->store, kept) < 0 || core->cgroup.name[0] == '\0')
        obtain(core);
    cgroup_enable(&core->cgroup, wanted_controllers(core->plan));
    tell_problems(core);
}

void core_cgroup_end(struct core *core)
{
    pid_t ours[CGROUP_KNOWN_PIDS];

    list_ours(core, ours);
    cgroup_leave(&core->cgroup, ours);
}
