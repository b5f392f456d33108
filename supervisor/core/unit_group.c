/* unit_group.c - the contract is in unit_group.h. */
#include "supervisor/core/unit_group.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/log.h"
#include "supervisor/host/cgroup_later.h"
#include "supervisor/host/cgroup_limits.h"
#include "supervisor/host/cgroup_path.h"
#include "supervisor/core/keeper.h"

enum {
    GROUP_FIRST = 1,
    GROUP_SECOND = 2,
    PIDS_MAX = 1024,
    VMSTAT_BYTES = 32 * 1024,
    HOST_OOM_FRESH_MS = 1000,
};
/* Kept in the ledger. */
enum oom_source { OOM_NOT_COUNTED, OOM_OF_GROUP, OOM_OF_HOST };

bool unit_group_name(const struct core *core, const struct unit *unit, char *ret, size_t size)
{
    return core->cgroup.fd >= 0 && unit->body.group > 0 &&
           cgroup_path_name(unit->slot->name, unit->body.group, ret, size);
}

/* Main process and twin live side by side, each in its own. */
static void choose(struct core *core, struct unit *unit)
{
    const struct slot *slot = unit->slot;
    const struct unit *other = slot->main == unit ? slot->twin : slot->main;

    if (core->cgroup.fd < 0 || core->plan->supervisor.cgroups == SPEC_CGROUPS_OFF)
        unit->body.group = 0;
    else if (unit->body.group == 0)
        unit->body.group = other && other->body.group == GROUP_FIRST ? GROUP_SECOND : GROUP_FIRST;
    else
        return;
    unit->limits_sum = 0;
    keeper_save(unit); /* before there is a process in it */
}

/* --- limits --- */

static int set_limit(const struct core *core, const char *name, const struct spec_cgroup *spec,
                     size_t i, bool fresh, bool *ret_set)
{
    char text[CGROUP_LIMIT_TEXT];

    *ret_set = cgroup_limits_text(spec, i, text);
    if (!(core->cgroup.enabled & 1u << cgroup_limits[i].controller))
        return *ret_set ? -ENOTSUP : 0;
    if (fresh && !*ret_set)
        return 0;
    int rc = cgroup_group_set(&core->cgroup, name, cgroup_limits[i].file, text);
    if (rc == -ENOENT && cgroup_limits[i].controller == CGROUP_IO) {
        cgroup_limits_bfq(spec, text);
        rc = cgroup_group_set(&core->cgroup, name, "io.bfq.weight", text);
    }
    return *ret_set ? rc : 0;
}

static const char *why_not(const struct core *core, size_t i, int rc)
{
    if (core->cgroup.fd < 0)
        return core->cgroup.why_not;
    if (rc == -ENOTSUP)
        return core->cgroup.missing[cgroup_limits[i].controller];
    if (rc == -ENOENT)
        return "the kernel has no such setting";
    return strerror(-rc);
}

/* "memory_max, cpu_max: WHY", the reason being that of the first. */
static void add_problem(char *text, size_t size, const char *key, const char *why)
{
    char before[UNIT_GROUP_WHY_MAX];
    const char *colon = strchr(text, ':');

    if (!*text) {
        snprintf(text, size, "%s: %s", key, why);
        return;
    }
    snprintf(before, sizeof before, "%s", text);
    snprintf(text, size, "%.*s, %s%s", (int)(colon - text), before, key, before + (colon - text));
}

/* What holds for the whole service was told when the plan was loaded. */
static void note_problem(const struct core *core, struct unit *unit, const char *text)
{
    char known[UNIT_GROUP_WHY_MAX];

    free(unit->limit_problem);
    unit->limit_problem = *text ? strdup(text) : NULL;
    if (*text && !unit_group_problem(core, unit_spec(unit), known, sizeof known))
        log_warn("limits are not enforced", "instance", unit->slot->name, "why", text, NULL);
}

static bool is_set(const struct unit *unit, size_t i)
{
    char text[CGROUP_LIMIT_TEXT];

    return cgroup_limits_text(&unit->slot->spec->set->cgroup, i, text);
}

static void add_failure(const struct core *core, char *text, size_t i, int rc)
{
    if (rc < 0)
        add_problem(text, UNIT_GROUP_WHY_MAX, cgroup_limits[i].key, why_not(core, i, rc));
}

static void forget_later(struct unit *unit)
{
    if (unit->limits_later)
        cgroup_later_forget(unit->limits_later);
    unit->limits_later = NULL;
    unit->limits_again = false;
}

static void on_written(void *context, const struct cgroup_later_write *writes, size_t count)
{
    struct unit *unit = context;
    struct core *core = unit->keeper->core;
    char problem[UNIT_GROUP_WHY_MAX];

    unit->limits_later = NULL;
    snprintf(problem, sizeof problem, "%s", unit->limit_problem ? unit->limit_problem : "");
    for (size_t i = 0; i < count; i++)
        if (is_set(unit, writes[i].limit))
            add_failure(core, problem, writes[i].limit, writes[i].rc);
    note_problem(core, unit, problem);
    if (!unit->limits_again)
        return;
    unit->limits_again = false;
    unit->limits_sum = 0;
    unit_group_limit(core, unit);
}

/* Of what lives in it memory may have to be taken back: that is not waited for. */
static bool put_off(const struct core *core, const struct unit *unit, struct cgroup_later *later,
                    const char *name, size_t i)
{
    char text[CGROUP_LIMIT_TEXT];

    if (!later || cgroup_limits[i].controller != CGROUP_MEMORY ||
        !(core->cgroup.enabled & 1u << CGROUP_MEMORY))
        return false;
    int fd = cgroup_group_setting(&core->cgroup, name, cgroup_limits[i].file);
    cgroup_limits_text(&unit->slot->spec->set->cgroup, i, text);
    return fd >= 0 && cgroup_later_add(later, fd, i, text);
}

static void start_later(const struct core *core, struct unit *unit, struct cgroup_later *later)
{
    if (!later)
        return;
    if (cgroup_later_count(later) > 0 && cgroup_later_start(later, core->loop)) {
        unit->limits_later = later;
        return;
    }
    if (cgroup_later_count(later) > 0)
        unit->limits_sum = 0; /* the next reload tries it again */
    cgroup_later_free(later);
}

/* `live`: to what runs; else before anything does, and what is refused is known at the end. */
static void apply_limits(struct core *core, struct unit *unit, const char *name, bool fresh,
                         bool live)
{
    const struct spec_cgroup *spec = &unit->slot->spec->set->cgroup;
    uint32_t sum = cgroup_limits_sum(spec, core->cgroup.enabled);
    char problem[UNIT_GROUP_WHY_MAX] = "";
    bool set;

    if (!fresh && unit->limits_sum == sum)
        return;
    if (unit->limits_later && live) {
        unit->limits_again = true;
        return;
    }
    struct cgroup_later *later = live ? cgroup_later_new(on_written, unit) : NULL;
    for (size_t i = 0; i < cgroup_nlimits; i++)
        if (!put_off(core, unit, later, name, i))
            add_failure(core, problem, i, set_limit(core, name, spec, i, fresh, &set));
    unit->limits_sum = sum;
    note_problem(core, unit, problem);
    start_later(core, unit, later);
}

void unit_group_limit(struct core *core, struct unit *unit)
{
    char name[CGROUP_NAME_MAX], problem[UNIT_GROUP_WHY_MAX];

    if (unit_group_name(core, unit, name, sizeof name)) {
        apply_limits(core, unit, name, false, true);
        return;
    }
    unit_group_problem(core, unit->slot->spec, problem, sizeof problem);
    note_problem(core, unit, problem);
}

bool unit_group_problem(const struct core *core, const struct spec_service *spec, char *ret,
                        size_t size)
{
    char text[CGROUP_LIMIT_TEXT];

    ret[0] = '\0';
    for (size_t i = 0; i < cgroup_nlimits; i++) {
        bool here =
            core->cgroup.fd >= 0 && core->cgroup.enabled & 1u << cgroup_limits[i].controller;
        if (cgroup_limits_text(&spec->set->cgroup, i, text) && !here)
            add_problem(ret, size, cgroup_limits[i].key, why_not(core, i, -ENOTSUP));
    }
    return ret[0] != '\0';
}

/* --- being born into it --- */

static int check_required(const struct core *core, const struct unit *unit, struct err *err)
{
    if (!unit->limit_problem || core->plan->supervisor.cgroups != SPEC_CGROUPS_REQUIRED)
        return 0;
    return err_set(err, ERR_STATE, "limits that are required cannot be enforced: %s",
                   unit->limit_problem);
}

static int without(struct core *core, struct unit *unit, struct err *err)
{
    unit_group_limit(core, unit);
    return check_required(core, unit, err);
}

int unit_group_enter(struct core *core, struct unit *unit, bool *ret_join, struct err *err)
{
    char name[CGROUP_NAME_MAX];
    bool made;

    *ret_join = false;
    choose(core, unit);
    if (!unit_group_name(core, unit, name, sizeof name))
        return without(core, unit, err);
    if (!unit->group_clean)
        cgroup_group_remove(&core->cgroup, name);
    int fd = cgroup_group_open(&core->cgroup, name, &made);
    if (fd < 0) {
        log_warn("cannot make a control group", "instance", unit->slot->name, "error",
                 strerror(-fd), NULL);
        unit->body.group = 0;
        keeper_save(unit);
        return without(core, unit, err);
    }
    unit->group_clean |= made;
    *ret_join = !unit->group_clean;
    forget_later(unit); /* of the process before */
    apply_limits(core, unit, name, made, false);
    int rc = check_required(core, unit, err);
    if (rc != 0) {
        close(fd);
        return rc;
    }
    return fd;
}

static struct unit *unit_in(const struct slot *slot, const char *name)
{
    char own[CGROUP_NAME_MAX];
    struct unit *units[] = { slot->main, slot->twin };

    for (size_t i = 0; i < 2; i++)
        if (units[i] && units[i]->body.group > 0 &&
            cgroup_path_name(slot->name, units[i]->body.group, own, sizeof own) &&
            strcmp(own, name) == 0)
            return units[i];
    return NULL;
}

struct unit *unit_group_holder(struct keeper *keeper, pid_t pid)
{
    char name[CGROUP_NAME_MAX];

    if (!cgroup_inside(&keeper->core->cgroup, pid, name, sizeof name))
        return NULL;
    for (size_t i = 0; i < keeper->nslots; i++) {
        struct unit *unit = unit_in(keeper->slots[i], name);
        if (unit)
            return unit;
    }
    return NULL;
}

void unit_group_adopt(struct core *core, struct unit *unit, pid_t pid)
{
    char name[CGROUP_NAME_MAX], own[CGROUP_NAME_MAX];

    if (!cgroup_inside(&core->cgroup, pid, name, sizeof name))
        return;
    for (unsigned number = GROUP_FIRST; number <= GROUP_SECOND; number++)
        if (cgroup_path_name(unit->slot->name, number, own, sizeof own) && strcmp(own, name) == 0)
            unit->body.group = (uint8_t)number;
}

/* --- killed for want of memory? --- */

static bool read_vmstat(uint64_t *ret)
{
    static const char key[] = "\noom_kill ";
    AUTO_CLOSE int fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
    AUTO_FREE char *text = malloc(VMSTAT_BYTES);
    ssize_t n = fd < 0 || !text ? -1 : read(fd, text, VMSTAT_BYTES - 1);

    if (n <= 0)
        return false;
    text[n] = '\0';
    const char *at = strstr(text, key);
    if (at)
        *ret = strtoull(at + sizeof key - 1, NULL, 10);
    return at;
}

/* An older number only makes "unknown" likelier, so it is read once a second at most. */
static bool host_kills(struct core *core, bool now, uint64_t *ret)
{
    int64_t at = loop_now_ms(core->loop);

    if (now || core->host_oom_ms == 0 || at - core->host_oom_ms > HOST_OOM_FRESH_MS) {
        if (!read_vmstat(&core->host_oom_kills))
            return false;
        core->host_oom_ms = at;
    }
    *ret = core->host_oom_kills;
    return true;
}

static bool group_kills(const struct core *core, const struct unit *unit, uint64_t *ret)
{
    char name[CGROUP_NAME_MAX];

    return core->cgroup.enabled & 1u << CGROUP_MEMORY &&
           unit_group_name(core, unit, name, sizeof name) &&
           cgroup_group_count(&core->cgroup, name, "memory.events", "oom_kill", ret);
}

bool unit_group_tells_oom(const struct unit *unit) { return unit->body.oom_source == OOM_OF_GROUP; }

void unit_group_count_oom(struct core *core, struct unit *unit)
{
    if (group_kills(core, unit, &unit->body.oom_base))
        unit->body.oom_source = OOM_OF_GROUP;
    else if (host_kills(core, false, &unit->body.oom_base))
        unit->body.oom_source = OOM_OF_HOST;
    else
        unit->body.oom_source = OOM_NOT_COUNTED;
}

/* The group tells of its own; of the host's count only "there was none at all" says anything. */
enum unit_oom unit_group_oom(struct core *core, const struct unit *unit, bool signalled, int status)
{
    uint64_t count = 0;

    if (unit->body.oom_source == OOM_OF_GROUP && group_kills(core, unit, &count))
        return count > unit->body.oom_base ? UNIT_OOM_YES : UNIT_OOM_NO;
    if (!signalled || status != SIGKILL || unit->body.lc.state == LIFECYCLE_KILLING)
        return UNIT_OOM_NO;
    if (unit->body.oom_source != OOM_OF_HOST || !host_kills(core, true, &count))
        return UNIT_OOM_UNKNOWN;
    return count > unit->body.oom_base ? UNIT_OOM_UNKNOWN : UNIT_OOM_NO;
}

/* --- emptying it --- */

void unit_group_kill(struct core *core, struct unit *unit)
{
    char name[CGROUP_NAME_MAX];

    if (!unit_group_name(core, unit, name, sizeof name))
        return;
    unit->group_clean = false;
    int rc = cgroup_group_kill(&core->cgroup, name);
    if (rc < 0 && rc != -ENOENT)
        log_warn("cannot kill a control group", "instance", unit->slot->name, "error",
                 strerror(-rc), NULL);
}

size_t unit_group_signal(struct core *core, const struct unit *unit, int signum, pid_t spared)
{
    char name[CGROUP_NAME_MAX];
    pid_t pids[PIDS_MAX];

    if (!unit_group_name(core, unit, name, sizeof name))
        return 0;
    size_t all = cgroup_group_pids(&core->cgroup, name, pids, PIDS_MAX), count = 0;
    for (size_t i = 0; i < all && i < PIDS_MAX; i++) {
        if (pids[i] == spared)
            continue;
        count++;
        if (signum > 0)
            cgroup_group_signal(&core->cgroup, name, pids[i], signum);
    }
    return count;
}

void unit_group_forget(struct unit *unit)
{
    loop_watch_free(unit->events_watch);
    unit->events_watch = NULL;
    if (unit->events_fd >= 0)
        close(unit->events_fd);
    unit->events_fd = -1;
}

void unit_group_free(struct core *core, struct unit *unit)
{
    char name[CGROUP_NAME_MAX];

    unit_group_forget(unit);
    forget_later(unit);
    free(unit->limit_problem);
    unit->limit_problem = NULL;
    if (unit_group_name(core, unit, name, sizeof name))
        cgroup_group_remove(&core->cgroup, name);
}

bool unit_group_populated(struct core *core, struct unit *unit,
                          void (*changed)(void *context, unsigned events))
{
    char name[CGROUP_NAME_MAX];
    struct err err = { 0 };

    if (unit->events_fd < 0 && unit_group_name(core, unit, name, sizeof name))
        unit->events_fd = cgroup_group_file(&core->cgroup, name, "cgroup.events");
    int rc = unit->events_fd < 0 ? unit->events_fd : cgroup_group_populated(unit->events_fd);
    if (rc == 0 || rc == -ENOENT) {
        unit_group_forget(unit);
        return false;
    }
    if (rc < 0) { /* no descriptors: the deadline of the unit comes round and asks again */
        log_warn("cannot look into a control group", "instance", unit->slot->name, "error",
                 strerror(-rc), NULL);
        unit_group_forget(unit);
        return true;
    }
    if (!unit->events_watch) {
        unit->events_watch = loop_watch_new(core->loop, unit->events_fd, changed, unit, &err);
        if (unit->events_watch)
            loop_watch_set(unit->events_watch, LOOP_URGENT);
    }
    return true;
}
