/* agent_check.c - the contract is in agent_check.h. */
#include "deployctl/agent/agent_check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#include "base/addr.h"
#include "base/auto.h"
#include "deployctl/agent/drain_mark.h"
#include "deployctl/agent/host.h"
#include "io/listen.h"

enum { BACKLOG = 128, ANSWER_S = 1, BREATH_MS = 100 };

/* The folder of marks; -1 with *ret_fault 0: not there yet, so nothing was ever drained. */
static int open_meta(const char *path, int *ret_fault)
{
    AUTO_CLOSE int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int meta =
        root < 0 ? -1 : openat(root, HOST_META, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    *ret_fault = meta < 0 && !(root >= 0 && errno == ENOENT) ? errno : 0;
    return meta;
}

/* One line, then what it has sent is thrown away, for closing with something unread would take the
 * line back. */
static void answer(int peer, const char *path)
{
    static const struct timeval patience = { .tv_sec = ANSWER_S };
    char unread[256];
    int fault;
    AUTO_CLOSE int meta = open_meta(path, &fault);
    if (fault != 0)
        return;
    const char *line = drain_mark_counts(meta) ? "drain\n" : "ready\n";
    setsockopt(peer, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (send(peer, line, strlen(line), MSG_NOSIGNAL) < 0)
        return;
    shutdown(peer, SHUT_WR);
    while (recv(peer, unread, sizeof unread, MSG_DONTWAIT) > 0)
        ;
}

/* Without descriptors or memory it tries again a little later. */
static bool passes(int fault)
{
    if (fault != EMFILE && fault != ENFILE && fault != ENOBUFS && fault != ENOMEM)
        return fault == EINTR || fault == ECONNABORTED || fault == EPERM || fault == EAGAIN;
    nanosleep(&(struct timespec){ .tv_nsec = BREATH_MS * 1000000L }, NULL);
    return true;
}

int agent_check_run(const char *path, const char *listen, struct err *err)
{
    struct listen_options options = { .blocking = true, .backlog = BACKLOG };
    struct addr addr;
    int fault;
    signal(SIGPIPE, SIG_IGN);
    AUTO_CLOSE int meta = open_meta(path, &fault);
    if (fault != 0)
        return err_sys(err, fault, "%s: opening the folder of the app (as this user)", path);
    if (addr_parse(listen, &addr, err) < 0)
        return err_wrap(err, "--listen %s", listen);
    AUTO_CLOSE int fd = listen_open(&addr, &options, err);
    if (fd < 0)
        return fd;
    for (;;) {
        AUTO_CLOSE int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (peer >= 0)
            answer(peer, path);
        else if (!passes(errno))
            return err_sys(err, errno, "accepting connections on %s", listen);
    }
}
