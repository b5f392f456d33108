/* orders.c - the contract is in orders.h. */
#include "supervisor/guardian/orders.h"

#include <errno.h>
#include <sys/signalfd.h>

enum orders_kind orders_of(int signum)
{
    static const int shutdown[] = { SIGTERM, SIGINT, SIGQUIT, SIGPWR, SIGUSR1, SIGUSR2 };
    for (size_t i = 0; i < sizeof(shutdown) / sizeof(*shutdown); i++)
        if (signum == shutdown[i])
            return ORDERS_SHUTDOWN;
    if (signum >= SIGRTMIN + 3 && signum <= SIGRTMIN + 5)
        return ORDERS_SHUTDOWN;
    if (signum == SIGHUP)
        return ORDERS_RELOAD;
    return signum == SIGCHLD ? ORDERS_CHILD : ORDERS_NONE;
}

void orders_record(struct ledger_header *header, enum orders_kind kind, int signum)
{
    if (kind == ORDERS_RELOAD)
        atomic_fetch_add(&header->reload_orders, 1);
    if (kind != ORDERS_SHUTDOWN)
        return;
    atomic_store(&header->shutdown_signal, (uint32_t)signum);
    atomic_fetch_add(&header->shutdown_orders, 1);
}

void orders_forget(struct ledger_header *header)
{
    atomic_store(&header->shutdown_orders, 0);
    atomic_store(&header->reload_orders, 0);
    header->shutdown_seen = header->reload_seen = 0;
    atomic_store(&header->finished, 0);
}

bool orders_shutting_down(const struct ledger_header *header)
{
    return atomic_load(&header->shutdown_orders) > 0;
}

int orders_listen(sigset_t *ret_before)
{
    static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };
    sigset_t all;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
        sigdelset(&all, faults[i]);
    if (sigprocmask(SIG_SETMASK, &all, ret_before) < 0)
        return -errno;
    /* An ignored SIGCHLD, inherited from whoever started us, would make the kernel reap. */
    signal(SIGCHLD, SIG_DFL);
    int fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}
