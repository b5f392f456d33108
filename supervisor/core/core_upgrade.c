/* core_upgrade.c - the contract is in core_upgrade.h. */
#include "supervisor/core/core_upgrade.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/log.h"
#include "io/child.h"
#include "io/jsonx.h"
#include "supervisor/core/control_access.h"
#include "supervisor/core/core_self_test.h"
#include "supervisor/core/events.h"
#include "supervisor/core/keeper.h"

enum { SELF_TEST_MS = 20000, LEAVE_MS = 50, SEND_MS = 5000, WORDS_MAX_BYTES = 2048 };

struct upgrade {
    struct core *core;
    void (*leave)(void *context);
    void *context;
    struct loop_timer *timer;
    struct rpc_call *call; /* NULL = no upgrade under way */
    ssize_t record;        /* of the self-test, -1 = none */
    int words;             /* memfd: what it printed */
    bool leaving;
    char binary[PATH_MAX];
};

static void on_timer(void *context)
{
    struct upgrade *upgrade = context;

    if (upgrade->leaving) {
        upgrade->leave(upgrade->context);
        return;
    }
    if (upgrade->record >= 0) { /* its exit follows */
        pid_t pid = upgrade->core->ledger.pids[upgrade->record];
        if (pid > 1)
            kill(pid, SIGKILL);
    }
}

struct upgrade *upgrade_new(struct core *core, void (*leave)(void *context), void *context)
{
    struct upgrade *upgrade = calloc(1, sizeof *upgrade);

    if (!upgrade)
        return NULL;
    *upgrade = (struct upgrade){
        .core = core, .leave = leave, .context = context, .record = -1, .words = -1
    };
    upgrade->timer = loop_timer_new(core->loop, on_timer, upgrade);
    if (!upgrade->timer) {
        free(upgrade);
        return NULL;
    }
    return upgrade;
}

static void end_test(struct upgrade *upgrade)
{
    if (upgrade->words >= 0)
        close(upgrade->words);
    upgrade->words = -1;
    if (upgrade->record >= 0)
        ledger_release(&upgrade->core->ledger, (size_t)upgrade->record);
    upgrade->record = upgrade->core->keeper->spared = -1;
}

void upgrade_free(struct upgrade *upgrade)
{
    const struct err err = { .code = ERR_UNREACHABLE, .text = "the supervisor is leaving" };

    if (!upgrade)
        return;
    if (upgrade->call)
        rpc_fail(upgrade->call, &err, NULL);
    end_test(upgrade);
    loop_timer_free(upgrade->timer);
    free(upgrade);
}

static void refuse(struct upgrade *upgrade, const struct err *err)
{
    struct rpc_call *call = upgrade->call;

    upgrade->call = NULL;
    end_test(upgrade);
    log_error("upgrade refused", "binary", upgrade->binary, "error", err->text, NULL);
    rpc_fail(call, err, NULL);
}

/* What has a format of its own, which the other binary must know. */
static const char *const formats[] = {
    "ledger", "plan", "streams", "recorder", "history", "feeds"
};
enum { NFORMATS = sizeof formats / sizeof *formats, NWORDS = 4 };

static bool for_test(const char *name)
{
    for (size_t i = 0; i < NFORMATS; i++)
        if (strcmp(name, formats[i]) == 0)
            return true;
    return false;
}

/* Under the numbers that they have; how many there are. */
static size_t add_formats(const struct core *core, struct child_fd fds[NFORMATS])
{
    size_t count = 0;

    for (size_t i = 0; i < NFORMATS; i++) {
        int fd = store_get(&core->store, formats[i]);
        if (fd >= 0)
            fds[count++] = (struct child_fd){ fd, fd };
    }
    return count;
}

static int start_test(struct upgrade *upgrade, struct err *err)
{
    struct core *core = upgrade->core;
    char *const argv[] = { upgrade->binary, (char *)"self-test", NULL };
    AUTO_CLOSE int inventory = -1;

    upgrade->words = memfd_create("self-test", MFD_CLOEXEC);
    if (upgrade->words < 0)
        return err_sys(err, errno, "making room for its words");
    int rc = store_inventory(&core->store, for_test, &inventory, err);
    if (rc != 0)
        return rc;
    upgrade->record = ledger_claim(&core->ledger, LEDGER_HOOK, "self-test", 1, err);
    if (upgrade->record < 0)
        return (int)upgrade->record;
    core->keeper->spared = upgrade->record;
    struct child_fd fds[NWORDS + NFORMATS] = {
        { -1, 0 }, { upgrade->words, 1 }, { upgrade->words, 2 }, { inventory, STORE_INVENTORY_FD }
    };
    const struct child_spec spec = {
        .path = upgrade->binary,
        .argv = argv,
        .envp = environ,
        .fds = fds,
        .nfds = NWORDS + add_formats(core, fds + NWORDS),
        .directory_fd = -1,
        .umask = -1,
        .new_session = true,
        .sibling = true,
        .pid_slot = &core->ledger.pids[upgrade->record],
        .report = &core->ledger.records[upgrade->record].report,
    };
    pid_t pid;
    rc = child_start(&spec, &pid, err);
    if (rc == 0)
        loop_timer_arm(upgrade->timer, SELF_TEST_MS);
    return rc;
}

static int choose_binary(struct upgrade *upgrade, const char *asked, struct err *err)
{
    ssize_t len;

    if (asked && asked[0] != '/')
        return err_set(err, ERR_INVALID, "the path of the binary must be absolute");
    if (asked) {
        snprintf(upgrade->binary, sizeof upgrade->binary, "%s", asked);
        return 0;
    }
    len = readlink("/proc/self/exe", upgrade->binary, sizeof upgrade->binary - 1);
    if (len < 0)
        return err_sys(err, errno, "finding our own path");
    upgrade->binary[len] = '\0';
    /* A package manager has replaced the file: the kernel marks the old one, we want the new. */
    char *mark = strstr(upgrade->binary, " (deleted)");
    if (mark && mark[strlen(" (deleted)")] == '\0')
        *mark = '\0';
    return 0;
}

/* It is run as us: who may name any file would be root. */
static int may_choose(const struct rpc_call *call, const char *asked, struct err *err)
{
    if (!asked || control_access_peer(rpc_call_conn(call)).absolute)
        return 0;
    return err_set(
        err, ERR_DENIED,
        "permission denied: only root and the supervisor's own user may name the binary; "
        "without a name the supervisor's own file is started anew");
}

void upgrade_run(struct upgrade *upgrade, struct rpc_call *call, json_t *params)
{
    const char *asked = jsonx_text(params, "binary", NULL);
    struct err err = { 0 };

    int rc = may_choose(call, asked, &err);
    if (rc == 0 && (upgrade->call || upgrade->leaving))
        rc = err_set(&err, ERR_STATE, "an upgrade is under way already");
    if (rc != 0) {
        rpc_fail(call, &err, NULL);
        return;
    }
    upgrade->call = call;
    rc = choose_binary(upgrade, asked, &err);
    if (rc == 0 && access(upgrade->binary, X_OK) != 0)
        rc = err_sys(&err, errno, "%s", upgrade->binary);
    if (rc == 0)
        rc = start_test(upgrade, &err);
    if (rc != 0)
        refuse(upgrade, &err);
}

static void commit(struct upgrade *upgrade)
{
    struct rpc_call *call = upgrade->call;
    struct err err = { 0 };

    end_test(upgrade);
    if (store_send(upgrade->core->channel, STORE_UPGRADE, upgrade->binary, -1, SEND_MS, &err) !=
        0) {
        refuse(upgrade, &err);
        return;
    }
    upgrade->call = NULL;
    upgrade->leaving = true;
    events_publish(upgrade->core->events, "upgrade", json_pack("{s:s}", "binary", upgrade->binary));
    rpc_reply(call, json_pack("{s:s}", "binary", upgrade->binary));
    loop_timer_arm(upgrade->timer, LEAVE_MS); /* the answer goes out first */
}

void upgrade_hand_over(struct upgrade *upgrade, struct rpc_call *call)
{
    struct err err = { 0 };
    int rc = 0;

    if (upgrade->call || upgrade->leaving)
        rc = err_set(&err, ERR_STATE, "an upgrade is under way already");
    else if (!getenv("NOTIFY_SOCKET"))
        rc = err_set(&err, ERR_STATE,
                     "no service manager above us could keep what services need (NOTIFY_SOCKET); "
                     "for another binary use \"supervisor upgrade\"");
    if (rc == 0)
        rc = store_send(upgrade->core->channel, STORE_HAND_OVER, "shutdown", -1, SEND_MS, &err);
    if (rc != 0) {
        rpc_fail(call, &err, NULL);
        return;
    }
    upgrade->leaving = true;
    events_publish(upgrade->core->events, "hand-over", NULL);
    rpc_reply(call, NULL);
    loop_timer_arm(upgrade->timer, LEAVE_MS);
}

/* Warnings about the configuration may come first. */
static bool says_ok(int words)
{
    static const char ok[] = CORE_SELF_TEST_OK "\n";
    char end[sizeof ok] = "";
    off_t size = lseek(words, 0, SEEK_END), len = (off_t)strlen(ok);

    return size >= len && pread(words, end, (size_t)len, size - len) == len && strcmp(end, ok) == 0;
}

void upgrade_check(struct upgrade *upgrade)
{
    char words[WORDS_MAX_BYTES];
    struct err err = { 0 };

    if (upgrade->record < 0)
        return;
    const struct ledger_record *record = &upgrade->core->ledger.records[upgrade->record];
    if (record->exited == LEDGER_LIVING)
        return;
    loop_timer_disarm(upgrade->timer);
    ssize_t len = pread(upgrade->words, words, sizeof words - 1, 0);
    words[len > 0 ? len : 0] = '\0';
    words[strcspn(words, "\n")] = '\0';
    bool exited = record->exited == LEDGER_EXITED && record->exit_code == CLD_EXITED;
    bool passed = exited && record->exit_status == 0;
    if (passed && says_ok(upgrade->words)) {
        commit(upgrade);
        return;
    }
    err_set(&err, ERR_STATE, "the self-test of %s failed, nothing was changed: %s", upgrade->binary,
            passed                 ? "it is not a supervisor"
            : words[0]             ? words
            : record->report.error ? strerror(record->report.error)
            : exited               ? "it said nothing"
                                   : "it was killed");
    refuse(upgrade, &err);
}
