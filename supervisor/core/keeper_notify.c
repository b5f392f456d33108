/* keeper_notify.c - what services say of themselves (sd_notify), and who said it. */
#include "supervisor/core/keeper.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "supervisor/core/remark.h"

static struct unit *unit_of_pid(struct keeper *keeper, pid_t pid)
{
    for (int depth = 0; pid > 1 && depth < 16; depth++) {
        ssize_t index = ledger_find_pid(&keeper->core->ledger, pid);
        char path[64], line[512];

        if (index >= 0)
            return keeper->by_record[index];
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        FILE *file = fopen(path, "re");
        if (!file)
            return NULL;
        const char *end = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
        int parent = 0;
        if (!end || sscanf(end, ") %*c %d", &parent) != 1)
            parent = 0;
        fclose(file);
        pid = parent;
    }
    return NULL;
}

void keeper_notified(struct keeper *keeper, const struct notify_message *message)
{
    struct unit *unit = unit_of_pid(keeper, message->sender);

    if (!unit) {
        log_debug("notification from a stranger", NULL);
        return;
    }
    if (message->status[0])
        remark_set(&unit->status, UNIT_STATUS_MAX, "%s", message->status);
    if (message->ready && lifecycle_has_process((enum lifecycle_state)unit->body.lc.state))
        keeper_told_ready(unit, UNIT_TOLD_NOTIFY);
}
