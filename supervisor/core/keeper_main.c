/* keeper_main.c - main processes that MAINPID= has named.
 *
 * The guardian writes the exits of its own children down, whichever process of an instance they
 * are: from the moment when the record has the new pid.  A main process that has another parent is
 * watched here through a pidfd, which is also how one is noticed that ended just then.
 */
#include "supervisor/core/keeper_notify.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/log.h"
#include "io/child.h"
#include "io/jsonx.h"
#include "io/reaper.h"
#include "supervisor/core/events.h"
#include "supervisor/host/procfs.h"

enum { LOOK_AGAIN_MS = 100, LOOKS_MAX = 20 }; /* at a zombie whose parent has not reaped it yet */

struct unit_main {
    int pidfd;
    pid_t pid;
    struct loop_watch *watch;
    struct loop_timer *again;
    int looks;
};

static struct ledger_record *record_of(const struct unit *unit)
{
    return &unit->keeper->core->ledger.records[unit->record];
}

/* It has ended and the guardian has not said how: it is, or was, somebody else's child. */
static void look_at_end(struct unit *unit)
{
    struct keeper *keeper = unit->keeper;
    struct unit_main *main = unit->main;
    struct reaper_exit how = { .pid = main->pid };

    if (keeper->core->ledger.pids[unit->record] != main->pid ||
        record_of(unit)->exited != LEDGER_LIVING)
        return; /* its end is known */
    struct procfs_stat stat;
    procfs_stat(main->pid, &stat);
    bool told = reaper_told(main->pid, main->pidfd, &how);
    bool zombie = child_pidfd_signal(main->pidfd, 0) == 0;
    bool guardians = stat.parent == (pid_t)keeper->core->ledger.header->guardian_pid;
    /* As a zombie of the guardian its exit comes from there, with its times. */
    if (zombie && (guardians || !told) && main->looks++ < LOOKS_MAX) {
        loop_timer_arm(main->again, LOOK_AGAIN_MS);
        return;
    }
    if (record_of(unit)->exited != LEDGER_LIVING)
        return;
    ledger_record_exit(&keeper->core->ledger, unit->record, &how, told);
    keeper_exits(keeper);
}

static void on_look_again(void *context) { look_at_end(context); }

static void on_pidfd(void *context, unsigned events)
{
    struct unit *unit = context;

    (void)events;
    loop_watch_set(unit->main->watch, 0);
    look_at_end(unit);
}

static bool watch(struct keeper *keeper, struct unit *unit, pid_t pid, int pidfd)
{
    struct unit_main *main = calloc(1, sizeof *main);
    struct err err = { 0 };

    if (!main) {
        close(pidfd);
        return false;
    }
    keeper_main_free(unit);
    *main = (struct unit_main){ .pidfd = pidfd, .pid = pid };
    unit->main = main;
    main->again = loop_timer_new(keeper->core->loop, on_look_again, unit);
    main->watch =
        main->again ? loop_watch_new(keeper->core->loop, pidfd, on_pidfd, unit, &err) : NULL;
    if (!main->watch) {
        keeper_main_free(unit);
        return false;
    }
    loop_watch_set(main->watch, LOOP_READ);
    return true;
}

static void publish(struct keeper *keeper, struct unit *unit, pid_t before, pid_t pid)
{
    json_t *details = json_object();

    jsonx_set_text(details, "instance", unit->slot->name);
    jsonx_set_text(details, "says", "MAINPID");
    jsonx_set_int(details, "from", before);
    jsonx_set_int(details, "pid", pid);
    events_publish(keeper->core->events, "notify", details);
}

/* In an order in which a core or a guardian that dies in between leaves something that the next one
 * can tell: without a start time a pid is known by the name in its environment. */
static void enter(struct keeper *keeper, struct unit *unit, pid_t pid)
{
    struct ledger_record *record = record_of(unit);
    struct ledger *ledger = &keeper->core->ledger;
    pid_t before = ledger->pids[unit->record];

    if (unit->said.first_pid == 0)
        unit->said.first_pid = before;
    unit->body.main_pid = pid;
    keeper_save(unit);
    record->start_time = 0;
    __atomic_store_n(&ledger->pids[unit->record], pid, __ATOMIC_SEQ_CST);
    record->start_time = child_start_time(pid);
    /* The one before may have ended, and been written down, since it told us. */
    if (record->exited != LEDGER_LIVING && record->exit_pid == before)
        record->exited = LEDGER_LIVING;
    publish(keeper, unit, before, pid);
}

/* Takes over the pidfd of `pid`, which may be negative. */
static void take(struct keeper *keeper, struct unit *unit, pid_t pid, int given)
{
    AUTO_CLOSE int pidfd = given;
    bool is_main;

    /* Asked after it was opened, so the answer is about the process behind it. */
    if (pidfd < 0 || keeper_unit_of(keeper, pid, &is_main) != unit || child_start_time(pid) == 0 ||
        child_pidfd_pid(pidfd) != pid) {
        log_warn("MAINPID names a process that is not of this instance", "instance",
                 unit->slot->name, NULL);
        return;
    }
    if (!watch(keeper, unit, pid, take_fd(&pidfd))) {
        log_error("cannot watch the process that MAINPID names", "instance", unit->slot->name,
                  NULL);
        return;
    }
    enter(keeper, unit, pid);
}

void keeper_main_take(struct keeper *keeper, struct unit *unit, pid_t pid)
{
    if (pid != keeper->core->ledger.pids[unit->record])
        take(keeper, unit, pid, child_pidfd(pid));
}

void keeper_main_take_pidfd(struct keeper *keeper, struct unit *unit, int pidfd)
{
    pid_t pid = pidfd >= 0 ? child_pidfd_pid(pidfd) : 0;

    if (pid <= 0)
        log_warn("MAINPIDFD comes without the pidfd of a living process", "instance",
                 unit->slot->name, NULL);
    else if (pid != keeper->core->ledger.pids[unit->record])
        take(keeper, unit, pid, fcntl(pidfd, F_DUPFD_CLOEXEC, 0));
}

void keeper_main_resume(struct keeper *keeper, struct unit *unit)
{
    pid_t pid = keeper->core->ledger.pids[unit->record];
    const struct ledger_record *record = record_of(unit);
    struct reaper_exit how = { .pid = pid };

    if (unit->said.first_pid == 0 || pid <= 0 || record->exited != LEDGER_LIVING)
        return;
    AUTO_CLOSE int pidfd = child_pidfd(pid);
    bool other = pidfd >= 0 && record->start_time && child_start_time(pid) != record->start_time;
    if (pidfd == -ESRCH || other)
        ledger_record_exit(&keeper->core->ledger, unit->record, &how, false);
    else if (pidfd < 0 || !watch(keeper, unit, pid, take_fd(&pidfd)))
        log_error("cannot watch the process that MAINPID named", "instance", unit->slot->name,
                  NULL);
}

void keeper_main_free(struct unit *unit)
{
    struct unit_main *main = unit->main;

    if (!main)
        return;
    loop_watch_free(main->watch);
    loop_timer_free(main->again);
    close(main->pidfd);
    free(main);
    unit->main = NULL;
}

int keeper_main_pidfd(const struct unit *unit)
{
    return unit->main && unit->main->pid == unit->keeper->core->ledger.pids[unit->record]
               ? unit->main->pidfd
               : -1;
}
