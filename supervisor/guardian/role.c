/* role.c - the contract is in role.h. */
#include "supervisor/guardian/role.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/signals.h"
#include "io/child.h"

enum {
    YOUNG_MS = 1000, /* a death before this age counts as a failure */
    DELAY_MIN_MS = 10,
    DELAY_MAX_MS = 1000,
    DELAY_DOUBLINGS = 7,
    CHANNEL_BYTES = 1024 * 1024
};

void role_init(struct role *role, const char *name, size_t record)
{
    *role = (struct role){ .name = name, .record = record, .channel = -1 };
}

/* Our end stays here, the other one goes into the store as "channel" until it is handed on. */
static int open_pair(struct role *role, struct store *store, struct err *err)
{
    int pair[2], bytes = CHANNEL_BYTES;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_sys(err, errno, "making a channel");
    for (int i = 0; i < 2; i++)
        if (setsockopt(pair[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
            setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    int rc = store_put(store, "channel", pair[1], err);
    if (rc < 0)
        close(pair[0]);
    else
        role->channel = pair[0];
    return rc;
}

/* Entries keep their numbers: only the inventory is moved. */
static size_t list_fds(const struct store *store, bool (*wanted)(const char *name), int inventory,
                       struct child_fd *fds)
{
    size_t n = 0;
    fds[n++] = (struct child_fd){ inventory, STORE_INVENTORY_FD };
    for (size_t i = 0; i < store->count; i++) {
        const struct store_entry *entry = &store->entries[i];
        if (!wanted || wanted(entry->name) || strcmp(entry->name, "channel") == 0)
            fds[n++] = (struct child_fd){ entry->fd, entry->fd };
    }
    return n;
}

static int spawn(struct role *role, struct ledger *ledger, const struct store *store,
                 bool (*wanted)(const char *name), const char *program, char *const argv[],
                 struct err *err)
{
    AUTO_CLOSE int inventory = -1;
    AUTO_FREE struct child_fd *fds = reallocarray(NULL, store->count + 1, sizeof(*fds));
    if (!fds)
        return err_set(err, ERR_MEMORY, "no memory");
    int rc = store_inventory(store, wanted, &inventory, err);
    if (rc < 0)
        return rc;
    struct ledger_record *record = &ledger->records[role->record];
    ledger_rearm(ledger, role->record, record->generation + 1);
    struct child_spec spec = {
        .path = program,
        .argv = argv,
        .envp = environ,
        .fds = fds,
        .nfds = list_fds(store, wanted, inventory, fds),
        .directory_fd = -1,
        .umask = -1,
        .new_session = true, /* a terminal's Ctrl-C is for the guardian alone */
        .share_memory = true,
        .pid_slot = &ledger->pids[role->record],
        .report = &record->report,
        .start_time = &record->start_time,
    };
    rc = child_start(&spec, &role->pid, err);
    if (rc < 0)
        role->pid = 0;
    return rc;
}

int role_start(struct role *role, struct ledger *ledger, struct store *store,
               bool (*wanted)(const char *name), const char *program, char *const argv[],
               struct err *err)
{
    role->started_ms = clock_mono_ms();
    role->starts++;
    int rc = open_pair(role, store, err);
    if (rc == 0)
        rc = spawn(role, ledger, store, wanted, program, argv, err);
    store_drop(store, "channel");
    return rc < 0 ? err_wrap(err, "starting the %s", role->name) : 0;
}

void role_ended(struct role *role, int64_t now_ms)
{
    if (role->channel >= 0)
        close(role->channel);
    role->channel = -1;
    role->pid = 0;
    role->failures = now_ms - role->started_ms < YOUNG_MS ? role->failures + 1 : 0;
    unsigned doublings = role->failures < 2 ? 0 : role->failures - 2;
    int64_t delay = DELAY_MIN_MS << (doublings < DELAY_DOUBLINGS ? doublings : DELAY_DOUBLINGS);
    if (role->failures < 2)
        delay = 0;
    role->due_ms = now_ms + (delay < DELAY_MAX_MS ? delay : DELAY_MAX_MS);
}

const char *role_how(const struct role *role, const struct ledger *ledger,
                     char text[static ROLE_TEXT_MAX])
{
    const struct child_report *report = &ledger->records[role->record].report;
    if (role->how.code != CLD_EXITED)
        snprintf(text, ROLE_TEXT_MAX, "signal %s", signals_name(role->how.status));
    else if (report->error)
        snprintf(text, ROLE_TEXT_MAX, "%s: %s", child_step_name(report->step),
                 strerror(report->error));
    else
        snprintf(text, ROLE_TEXT_MAX, "exit %d", role->how.status);
    return text;
}
