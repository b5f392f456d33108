/* notify.h - the sd_notify socket: datagrams of KEY=VALUE lines, senders known by credentials.
 *
 * One socket for all services, kept in the store, so that a READY=1 sent while no core lives is
 * read by the next one.  Specification: sd_notify(3), systemd.
 */
#ifndef SUPERVISOR_HEALTH_NOTIFY_H
#define SUPERVISOR_HEALTH_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "io/loop.h"

enum {
    NOTIFY_DATAGRAM_MAX = 4096,
    NOTIFY_STATUS_MAX = 128,
    NOTIFY_FD_NAME_MAX = 256,
    NOTIFY_ERROR_MAX = 96,
};

/* Whose messages count. */
enum notify_access {
    NOTIFY_ACCESS_UNSAID,
    NOTIFY_ACCESS_NONE,
    NOTIFY_ACCESS_MAIN,
    NOTIFY_ACCESS_ALL,
};

struct notify_message {
    pid_t sender; /* by SCM_CREDENTIALS; 0 = none came: the message is dropped before this */
    uid_t uid;
    bool ready, stopping, reloading, watchdog, watchdog_trigger, restart_reset;
    bool main_pidfd; /* MAINPIDFD=1: the one descriptor is of the main process */
    bool fd_store, fd_remove, fd_unpolled; /* FDSTORE=1, FDSTOREREMOVE=1, FDPOLL=0 */
    bool has_status;                       /* it may be empty */
    enum notify_access access;             /* NOTIFYACCESS= */
    int64_t main_pid;                      /* 0 = not said, as in the next three */
    int64_t extend_timeout_us;
    int64_t monotonic_us; /* of RELOADING=1 */
    int64_t error;        /* ERRNO= */
    int64_t exit_status;  /* EXIT_STATUS=; -1 = not said */
    int64_t watchdog_us;  /* WATCHDOG_USEC=; -1 = not said, 0 = off */
    char status[NOTIFY_STATUS_MAX];
    /* BUSERROR= and VARLINKERROR=: names as "org.example.Error"; "" = not said, or no such name. */
    char bus_error[NOTIFY_ERROR_MAX], varlink_error[NOTIFY_ERROR_MAX];
    char fd_name[NOTIFY_FD_NAME_MAX]; /* FDNAME=; "" = not said, or not fit to be one */
    /* What came along, valid until the call returns; whoever keeps one puts -1 in its place, the
     * others are closed. */
    int *fds;
    size_t nfds;
};

/* Creates and binds the socket (SOCK_DGRAM, SO_PASSCRED) at `path`; when that folder is not
 * writable at an abstract name made from it.  *ret_name (malloc'ed) is what NOTIFY_SOCKET must say.
 */
int notify_open(const char *path, int *ret_fd, char **ret_name, struct err *err);
/* The name of an inherited socket, as for NOTIFY_SOCKET; malloc'ed or NULL. */
char *notify_name(int fd);

struct notify;
/* fd stays the caller's.  BARRIER=1 needs nobody's help: its descriptor is closed after all that
 * was sent before has been told, which is what its sender waits for. */
struct notify *notify_new(struct loop *loop, int fd,
                          void (*fn)(void *context, const struct notify_message *message),
                          void *context, struct err *err);
void notify_free(struct notify *notify);
/* Tells what has come but was not served yet: so that what a process said is known before its end
 * is.  A message stays in the socket until `fn` has returned: what a core was told when it was
 * killed is told again to the next. */
void notify_drain(struct notify *notify);
/* Pure: one datagram. */
void notify_parse(const char *data, size_t len, struct notify_message *ret);

#endif
