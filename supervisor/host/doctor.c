/* doctor.c - judging: the contract is in doctor.h. */
#include "supervisor/host/doctor.h"

#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/jsonx.h"
#include "supervisor/host/cgroup_limits.h"

enum {
    DESCRIPTORS_PER_INSTANCE = 5, /* both ends of two pipes, and one in use while it is watched */
    DESCRIPTORS_OF_OURS = 128,
    TEXT_MAX = 400,
};

/* --- what the plan relies on --- */

static bool is_somebody_else(const char *user, uid_t uid)
{
    char text[16];

    snprintf(text, sizeof text, "%u", (unsigned)uid);
    return user && strcmp(user, text) != 0 && !(uid == 0 && strcmp(user, "root") == 0);
}

static void add_sandbox(const struct spec_service *service, struct doctor_needs *ret)
{
    const struct spec_sandbox *spec = &service->set->sandbox;

    if (!ret->mounts && spec_sandbox_mounts(spec))
        ret->mounts = service->name;
    if (!ret->namespaces && spec->namespaces != 0)
        ret->namespaces = service->name;
    if (!ret->capabilities && (spec->capabilities.given || spec->private_devices))
        ret->capabilities = service->name;
    if (!ret->filter && spec->seccomp.profile != SPEC_SECCOMP_NONE)
        ret->filter = service->name;
}

static void add_needs(const struct spec_service *service, uid_t uid, struct doctor_needs *ret)
{
    unsigned bits = cgroup_limits_need(&service->set->cgroup);

    for (int i = 0; i < CGROUP_NCONTROLLERS; i++)
        if (bits & ~ret->controllers & 1u << i)
            ret->limited[i] = service->name;
    ret->controllers |= bits;
    if (!ret->other_user && is_somebody_else(service->user, uid))
        ret->other_user = service->name;
    if (!ret->release && service->release)
        ret->release = service->name;
    if (!ret->default_log && !service->out.logfile)
        ret->default_log = service->name;
    add_sandbox(service, ret);
    ret->descriptors += (uint64_t)service->numprocs * DESCRIPTORS_PER_INSTANCE;
}

void doctor_needs(const struct plan *plan, uid_t uid, struct doctor_needs *ret)
{
    *ret = (struct doctor_needs){ .descriptors = DESCRIPTORS_OF_OURS };
    if (!plan)
        return;
    ret->plan = true;
    ret->cgroups_required = plan->supervisor.cgroups == SPEC_CGROUPS_REQUIRED;
    ret->state_dir = plan->supervisor.state_dir;
    ret->log_dir = plan->supervisor.log_dir;
    for (size_t i = 0; i < plan->nservices; i++)
        add_needs(&plan->services[i], uid, ret);
}

/* --- rows --- */

struct judging {
    const struct doctor_facts *facts;
    const struct doctor_needs *needs;
    json_t *rows;
};

struct guarantee {
    const char *id, *what; /* what holds, or would */
    bool holds;
    bool needed;
    const char *needed_by; /* a service, may be NULL */
    const char *why;       /* it does not hold: what follows from that, and why */
    const char *remedy;
};

static void add(const struct judging *j, struct guarantee row)
{
    json_t *line = json_object();

    jsonx_set_text(line, "id", row.id);
    jsonx_set_text(line, "what", row.what);
    jsonx_set_bool(line, "holds", row.holds);
    jsonx_set_bool(line, "needed", row.needed);
    if (row.needed)
        jsonx_set_text(line, "needed_by", row.needed_by);
    if (!row.holds) {
        jsonx_set_text(line, "why", row.why);
        jsonx_set_text(line, "remedy", row.remedy);
    }
    json_array_append_new(j->rows, line);
}

static void judge_containment(const struct judging *j)
{
    const struct doctor_facts *f = j->facts;
    char why[TEXT_MAX];

    snprintf(why, sizeof why,
             "processes are found by group, session, parents and environment, and one that changes "
             "all of these escapes; no control groups: %s",
             f->cgroups_why ? f->cgroups_why : "");
    add(j, (struct guarantee){ .id = "containment",
                               .what = "no process of an instance escapes its stop",
                               .holds = !f->cgroups_why,
                               .needed = j->needs->cgroups_required,
                               .why = why,
                               .remedy = "a writable cgroup2: Delegate=yes in a unit, a container "
                                         "with its own cgroup namespace mounted read-write" });
    add(j, (struct guarantee){ .id = "born-in-group",
                               .what = "a process is in its control group before it runs",
                               .holds = f->born_in_group,
                               .why = "clone3 is not known or filtered: a process moves itself "
                                      "there before it runs anything else, which takes longer",
                               .remedy = "Linux 5.7, and a seccomp filter that lets clone3 pass" });
    add(j, (struct guarantee){ .id = "orphans",
                               .what = "what daemonises comes back to us",
                               .holds = f->subreaper,
                               .needed = true,
                               .why = "this kernel has no subreapers",
                               .remedy = "Linux 3.4, or run it as PID 1" });
    add(j, (struct guarantee){
               .id = "other-users",
               .what = "left-over processes of other users are recognised without control groups",
               .holds = f->environment,
               .needed = f->cgroups_why && j->needs->other_user,
               .needed_by = j->needs->other_user,
               .why = "their environment may not be read",
               .remedy = "run as root with CAP_SYS_PTRACE, or give it control groups" });
}

static void judge_limits(const struct judging *j)
{
    for (int i = 0; i < CGROUP_NCONTROLLERS; i++) {
        const char *name = cgroup_controller_name((enum cgroup_controller)i);
        const char *why =
            j->facts->cgroups_why ? j->facts->cgroups_why : j->facts->controllers_why[i];
        char id[32], what[64];

        snprintf(id, sizeof id, "limits-%s", name);
        snprintf(what, sizeof what, "%s limits are enforced", name);
        add(j, (struct guarantee){
                   .id = id,
                   .what = what,
                   .holds = !j->facts->cgroups_why && j->facts->controllers & 1u << i,
                   .needed = j->needs->controllers & 1u << i,
                   .needed_by = j->needs->limited[i],
                   .why = why ? why : "the controller is not there",
                   .remedy = "hand the controller on to the group we are started in: a unit with "
                             "Delegate=yes, a container with writable cgroups, a host booted with "
                             "cgroup2 alone" });
    }
}

static void judge_knowing(const struct judging *j)
{
    const struct doctor_facts *f = j->facts;
    bool group_oom = !f->cgroups_why && f->controllers & 1u << CGROUP_MEMORY;

    add(j,
        (struct guarantee){ .id = "oom",
                            .what = "an OOM kill is told from any other KILL",
                            .holds = group_oom,
                            .why = f->host_oom ? "only the host counts them: \"none\" is certain, "
                                                 "otherwise it is called unknown"
                                               : "nobody counts them: it is called unknown",
                            .remedy = "control groups with the memory controller" });
    add(j, (struct guarantee){ .id = "pidfds",
                               .what = "a signal reaches the process that was meant",
                               .holds = f->pidfds,
                               .why = "pidfd_open is not known or filtered: a number may have "
                                      "become another process",
                               .remedy = "Linux 5.3, and a seccomp filter that lets it pass" });
    add(j, (struct guarantee){ .id = "exits-of-strangers",
                               .what = "exit codes are known even after the guardian was killed",
                               .holds = f->pidfd_info || f->guardian_pid == 1,
                               .why = "those of processes that it left behind may stay unknown",
                               .remedy = "Linux 6.15 (PIDFD_GET_INFO), or run it as PID 1" });
    add(j,
        (struct guarantee){ .id = "children-listed",
                            .what = "left-over processes are found without looking at all of /proc",
                            .holds = f->children,
                            .why = "this kernel does not list children (CONFIG_PROC_CHILDREN)",
                            .remedy = "a kernel with CONFIG_PROC_CHILDREN; Debian's has it" });
    add(j, (struct guarantee){ .id = "stacks",
                               .what = "evidence of what hangs has kernel stacks",
                               .holds = f->stacks,
                               .why = "/proc/PID/stack may not be read; the rest is noted",
                               .remedy = "run as root with CAP_SYS_ADMIN" });
    add(j, (struct guarantee){ .id = "pressure",
                               .what = "a starved host is told from a sick service",
                               .holds = f->pressure,
                               .why = "there is no /proc/pressure",
                               .remedy = "boot with psi=1" });
}

static void judge_places(const struct judging *j)
{
    const struct doctor_facts *f = j->facts;
    const struct doctor_needs *n = j->needs;
    char runtime[TEXT_MAX], state[TEXT_MAX], logs[TEXT_MAX];

    snprintf(runtime, sizeof runtime, "%.200s %s", f->runtime ? f->runtime : "no folder",
             !f->runtime_writable ? "cannot be written: what is known dies when guardian and core "
                                    "are killed together"
                                  : "is on a disk, which every change of state is then written to");
    add(j, (struct guarantee){ .id = "runtime",
                               .what = "what runs is known even after all of us were killed",
                               .holds = f->runtime_writable && f->runtime_memory,
                               .why = runtime,
                               .remedy = "a control socket in a writable folder on tmpfs, as /run "
                                         "(-s, or socket in [supervisor])" });
    snprintf(state, sizeof state, "%.200s cannot be written: a reboot forgets pins and scales",
             n->state_dir ? n->state_dir : "state_dir");
    add(j, (struct guarantee){ .id = "state",
                               .what = "pins and scales survive a reboot",
                               .holds = f->state_writable,
                               .needed = n->release != NULL,
                               .needed_by = n->release,
                               .why = state,
                               .remedy = "make the folder writable for us, or set state_dir" });
    snprintf(logs, sizeof logs, "%.200s cannot be written: output goes where our own goes",
             n->log_dir ? n->log_dir : "log_dir");
    add(j, (struct guarantee){ .id = "logs",
                               .what = "output is captured and rotated",
                               .holds = f->logs_writable,
                               .needed = n->default_log != NULL,
                               .needed_by = n->default_log,
                               .why = logs,
                               .remedy = "make the folder writable for us, or set log_dir" });
}

/* Only of a supervisor that runs and has an audit_log in trouble. */
static void judge_audit(const struct judging *j)
{
    const struct doctor_facts *f = j->facts;
    char why[TEXT_MAX];

    if (!f->audit_error)
        return;
    snprintf(why, sizeof why, "%.200s; %llu lines are lost so far, orders go on", f->audit_error,
             (unsigned long long)f->audit_lost);
    add(j,
        (struct guarantee){ .id = "audit",
                            .what = "each order is on the disk before it is answered",
                            .needed = true,
                            .needed_by = "audit_log",
                            .why = why,
                            .remedy = "make the file of audit_log writable; the next order tries "
                                      "it again" });
}

static void judge_rights(const struct judging *j)
{
    const struct doctor_facts *f = j->facts;
    const struct doctor_needs *n = j->needs;
    char why[TEXT_MAX];

    add(j, (struct guarantee){ .id = "users",
                               .what = "services can run as other users",
                               .holds = f->change_users,
                               .needed = n->other_user != NULL,
                               .needed_by = n->other_user,
                               .why = "we have neither root's rights nor CAP_SETUID",
                               .remedy = "start the supervisor as root" });
    add(j, (struct guarantee){ .id = "setuid-programs",
                               .what = "services may use setuid programs, as sudo",
                               .holds = !f->no_new_privs,
                               .why = "we were started with no_new_privs, which nobody below us "
                                      "can take back",
                               .remedy = "start the supervisor without it" });
    add(j, (struct guarantee){ .id = "unfiltered",
                               .what = "no filter of system calls lies over us",
                               .holds = !f->filtered,
                               .why = "a seccomp filter does: calls may fail that work elsewhere",
                               .remedy = "none is needed as long as nothing else is missing" });
    snprintf(why, sizeof why, "the limit is %llu, the plan needs about %llu",
             (unsigned long long)f->descriptors, (unsigned long long)n->descriptors);
    add(j, (struct guarantee){ .id = "descriptors",
                               .what = "there are enough descriptors for the plan",
                               .holds = f->descriptors >= n->descriptors,
                               .needed = true,
                               .why = why,
                               .remedy = "raise the hard limit (LimitNOFILE=, ulimit -Hn)" });
    add(j, (struct guarantee){ .id = "clock",
                               .what = "the time in logs and events is right",
                               .holds = f->clock_right,
                               .why = "the clock is in the past; delays and deadlines are right "
                                      "all the same",
                               .remedy = "set the clock" });
}

static void judge_sandboxes(const struct judging *j)
{
    const struct ability *can = &j->facts->ability;
    const struct doctor_needs *n = j->needs;
    char mounts[TEXT_MAX];

    snprintf(mounts, sizeof mounts,
             "we may not make mounts (%s): private_tmp, private_devices, read_only, hidden_paths "
             "are refused%s",
             strerror(can->mounts),
             ability_has(can, CAP_SYS_CHROOT) ? "; root is entered by chroot alone" : ", root too");
    add(j, (struct guarantee){ .id = "sandbox-mounts",
                               .what = "services can have their own /tmp, /dev, root, and "
                                       "read-only paths",
                               .holds = can->mounts == 0,
                               .needed = n->mounts != NULL,
                               .needed_by = n->mounts,
                               .why = mounts,
                               .remedy = "start the supervisor as root; in a container with "
                                         "--cap-add SYS_ADMIN and a profile that allows mount" });
    add(j, (struct guarantee){ .id = "sandbox-namespaces",
                               .what = "services can have their own network, ipc, processes",
                               .holds = ability_has(can, CAP_SYS_ADMIN),
                               .needed = n->namespaces != NULL,
                               .needed_by = n->namespaces,
                               .why = "we have no CAP_SYS_ADMIN: namespaces are refused",
                               .remedy = "start the supervisor as root; in a container with "
                                         "--cap-add SYS_ADMIN" });
    add(j, (struct guarantee){ .id = "sandbox-capabilities",
                               .what = "capabilities can be taken away from services",
                               .holds = ability_has(can, CAP_SETPCAP),
                               .needed = n->capabilities != NULL,
                               .needed_by = n->capabilities,
                               .why = "we have no CAP_SETPCAP: capabilities and private_devices "
                                      "are refused; no_new_privs works",
                               .remedy = "start the supervisor as root" });
    add(j, (struct guarantee){ .id = "sandbox-filters",
                               .what = "system calls of services can be filtered",
                               .holds = can->no_filters == NULL,
                               .needed = n->filter != NULL,
                               .needed_by = n->filter,
                               .why = can->no_filters,
                               .remedy = "a program built with libseccomp, on a kernel with "
                                         "CONFIG_SECCOMP_FILTER" });
}

json_t *doctor_judge(const struct doctor_facts *facts, const struct doctor_needs *needs)
{
    const struct judging j = { facts, needs, json_array() };

    judge_containment(&j);
    judge_limits(&j);
    judge_knowing(&j);
    judge_audit(&j);
    judge_places(&j);
    judge_rights(&j);
    judge_sandboxes(&j);
    return j.rows;
}

bool doctor_all_well(const json_t *rows)
{
    json_t *row;
    size_t i;

    json_array_foreach((json_t *)rows, i, row) if (jsonx_bool(row, "needed", false) &&
                                                   !jsonx_bool(row, "holds", true)) return false;
    return true;
}
