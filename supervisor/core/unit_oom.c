/* unit_oom.c - the contract is in unit_oom.h. */
#include "supervisor/core/unit_oom.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "io/jsonx.h"
#include "supervisor/host/cgroup_path.h"
#include "supervisor/core/events.h"
#include "supervisor/core/keeper.h"
#include "supervisor/core/unit_group.h"

static void tell(const struct unit *unit, uint64_t kills)
{
    json_t *details = json_object();

    jsonx_set_text(details, "instance", unit->slot->name);
    jsonx_set_int(details, "kills", (json_int_t)kills);
    events_publish(unit->keeper->core->events, "oom-kill", details);
    log_warn("the kernel killed a process for want of memory", "instance", unit->slot->name, NULL);
}

/* Reading it from the start is also what makes the next change be told. */
static void look(struct unit *unit)
{
    uint64_t count = 0;

    if (!cgroup_group_count_in(unit->memory_fd, "oom_kill", &count)) {
        unit_oom_forget(unit);
        return;
    }
    uint64_t kills = count > unit->body.oom_base ? count - unit->body.oom_base : 0;
    if (kills <= unit->body.oom_kills)
        return;
    uint64_t fresh = kills - unit->body.oom_kills;
    unit->body.oom_kills = (uint32_t)kills;
    keeper_save(unit);
    tell(unit, fresh);
}

static void on_memory(void *context, unsigned events)
{
    (void)events;
    look(context);
}

void unit_oom_watch(struct core *core, struct unit *unit)
{
    char name[CGROUP_NAME_MAX];
    struct err err = { 0 };

    unit_oom_forget(unit);
    if (!unit_spec(unit)->set->cgroup.memory_max.set || !unit_group_tells_oom(unit) ||
        !unit_group_name(core, unit, name, sizeof name))
        return;
    unit->memory_fd = cgroup_group_file(&core->cgroup, name, "memory.events");
    if (unit->memory_fd < 0)
        return;
    unit->memory_watch = loop_watch_new(core->loop, unit->memory_fd, on_memory, unit, &err);
    if (unit->memory_watch)
        loop_watch_set(unit->memory_watch, LOOP_URGENT);
    look(unit);
}

void unit_oom_forget(struct unit *unit)
{
    loop_watch_free(unit->memory_watch);
    unit->memory_watch = NULL;
    if (unit->memory_fd >= 0)
        close(unit->memory_fd);
    unit->memory_fd = -1;
}
