/* core_leave.c - the contract is in core_leave.h. */
#include "supervisor/core/core_leave.h"

#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "io/pidns.h"

/* The signal that orders the same of the guardian, 0 = none does. */
static uint32_t signal_for(const char *action)
{
    return strcmp(action, "reboot") == 0     ? SIGTERM
           : strcmp(action, "poweroff") == 0 ? SIGUSR2
           : strcmp(action, "halt") == 0     ? SIGUSR1
                                             : 0;
}

int core_leave_accept(struct core *core, const char *action, struct err *err)
{
    struct ledger_header *header = core->ledger.header;
    bool is_host = header->guardian_pid == 1 && pidns_is_initial();
    uint32_t signum = signal_for(action);

    if (signum == 0 && strcmp(action, "exit") != 0)
        return err_set(err, ERR_INVALID, "\"%.32s\" is not what can come after a shutdown", action);
    if (is_host && signum == 0)
        return err_set(err, ERR_STATE,
                       "this supervisor is the init of its host, which cannot be without one: say "
                       "--poweroff, --reboot or --halt");
    if (!is_host && signum != 0)
        return err_set(err, ERR_STATE, "this supervisor is not the init of a host: it cannot %s it",
                       action);
    if (signum != 0)
        header->shutdown_signal = signum;
    return 0;
}
