/* notify.c - the contract is in notify.h. */
#include "supervisor/health/notify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/auto.h"

enum {
    PATH_MAX_BYTES = sizeof(((struct sockaddr_un *)0)->sun_path) - 1, /* with a NUL behind it */
    ABSTRACT_TAIL = 80,                                               /* of the path, in the name */
    FDS_MAX = 253,                                                    /* SCM_MAX_FD */
    TURN_MAX = 64,    /* datagrams read at once, so that a flood leaves time for others */
    DRAIN_MAX = 1024, /* no socket's queue holds more (net.unix.max_dgram_qlen) unless told to */
    SOCKET_MODE = 0666,
};

struct notify {
    struct loop_watch *watch;
    int fd;
    void (*fn)(void *context, const struct notify_message *message);
    void *context;
    bool busy, freed;
    char data[NOTIFY_DATAGRAM_MAX];
};

/* --- the socket --- */

static socklen_t make_address(struct sockaddr_un *at, const char *name)
{
    size_t len = strlen(name);

    memset(at, 0, sizeof *at);
    at->sun_family = AF_UNIX;
    memcpy(at->sun_path, name, len);
    if (name[0] == '@')
        at->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] != '@'));
}

/* A socket that nobody reads is what a dead supervisor left; anything else is not ours. */
static int remove_stale(const char *path, struct err *err)
{
    struct sockaddr_un at;
    struct stat st;

    if (lstat(path, &st) != 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, ERR_EXISTS, "%s is there and is not a socket", path);
    socklen_t len = make_address(&at, path);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_sys(err, errno, "making a socket");
    if (connect(fd, (struct sockaddr *)&at, len) == 0)
        return err_set(err, ERR_EXISTS, "another process reads %s", path);
    if (errno == ECONNREFUSED && unlink(path) != 0 && errno != ENOENT)
        return err_sys(err, errno, "removing the stale socket %s", path);
    return 0;
}

static int bind_path(int fd, const char *path, struct err *err)
{
    struct sockaddr_un at;
    int rc = remove_stale(path, err);

    if (rc != 0)
        return rc;
    socklen_t len = make_address(&at, path);
    if (bind(fd, (struct sockaddr *)&at, len) != 0)
        return err_sys(err, errno, "binding %s", path);
    /* Services of every user write here; who they are, the kernel says. */
    if (chmod(path, SOCKET_MODE) != 0)
        return err_sys(err, errno, "setting the mode of %s", path);
    return 0;
}

/* Containers that share a network namespace share these names too. */
static int bind_abstract(int fd, const char *path, struct err *err)
{
    size_t len = strlen(path);
    char name[PATH_MAX_BYTES + 1];
    struct sockaddr_un at;

    path += len > ABSTRACT_TAIL ? len - ABSTRACT_TAIL : 0;
    snprintf(name, sizeof name, "@%s", path);
    socklen_t size = make_address(&at, name);
    if (bind(fd, (struct sockaddr *)&at, size) == 0)
        return 0;
    if (errno == EADDRINUSE) {
        snprintf(name, sizeof name, "@%s.%d", path, (int)getpid());
        size = make_address(&at, name);
        if (bind(fd, (struct sockaddr *)&at, size) == 0)
            return 0;
    }
    return err_sys(err, errno, "binding the abstract socket %s", name);
}

static bool is_no_place(const struct err *err)
{
    return err->code == ERR_SYSTEM &&
           (err->sys == EACCES || err->sys == EPERM || err->sys == EROFS || err->sys == ENOENT ||
            err->sys == ENOTDIR || err->sys == ENOSPC);
}

static int bind_somewhere(int fd, const char *path, struct err *err)
{
    struct err why = { 0 };

    if (strlen(path) <= PATH_MAX_BYTES && path[0] != '@') {
        int rc = bind_path(fd, path, &why);
        if (rc == 0)
            return 0;
        if (!is_no_place(&why)) {
            if (err)
                *err = why;
            return rc;
        }
    }
    return bind_abstract(fd, path, err);
}

int notify_open(const char *path, int *ret_fd, char **ret_name, struct err *err)
{
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;

    if (fd < 0)
        return err_sys(err, errno, "making the notify socket");
    if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0)
        return err_sys(err, errno, "asking for credentials on the notify socket");
    int rc = bind_somewhere(fd, path, err);
    if (rc != 0)
        return err_wrap(err, "notify socket");
    char *name = notify_name(fd);
    if (!name)
        return err_set(err, ERR_MEMORY, "no memory for the name of the notify socket");
    *ret_name = name;
    *ret_fd = take_fd(&fd);
    return 0;
}

char *notify_name(int fd)
{
    struct sockaddr_un at;
    socklen_t len = sizeof at;
    const size_t head = offsetof(struct sockaddr_un, sun_path);

    memset(&at, 0, sizeof at);
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0 || at.sun_family != AF_UNIX ||
        len <= head)
        return NULL;
    size_t size = len - head < sizeof at.sun_path ? len - head : sizeof at.sun_path;
    if (at.sun_path[0] != '\0')
        return strndup(at.sun_path, size);
    char *name = calloc(1, size + 1);
    if (name)
        memcpy(name, at.sun_path, size);
    if (name)
        name[0] = '@';
    return name;
}

/* --- receiving --- */

/* Fills the sender in and closes what came along: the sender of BARRIER=1 waits for just that. */
static void take_control(struct msghdr *msg, struct notify_message *ret, int *ret_fds,
                         size_t *ret_nfds)
{
    *ret_nfds = 0;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(msg); at; at = CMSG_NXTHDR(msg, at)) {
        size_t len = at->cmsg_len - CMSG_LEN(0);
        if (at->cmsg_level != SOL_SOCKET)
            continue;
        if (at->cmsg_type == SCM_CREDENTIALS && len >= sizeof(struct ucred)) {
            struct ucred who;
            memcpy(&who, CMSG_DATA(at), sizeof who);
            ret->sender = who.pid;
            ret->uid = who.uid;
        } else if (at->cmsg_type == SCM_RIGHTS) {
            *ret_nfds = len / sizeof(int) < FDS_MAX ? len / sizeof(int) : FDS_MAX;
            memcpy(ret_fds, CMSG_DATA(at), *ret_nfds * sizeof(int));
        }
    }
}

/* False when there is nothing more to read. */
static bool receive(struct notify *notify)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int) * FDS_MAX)];
    } control;
    struct iovec iov = { notify->data, sizeof notify->data };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
    };
    struct notify_message message, from = { 0 };
    int fds[FDS_MAX];
    size_t nfds;

    ssize_t n = recvmsg(notify->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_PEEK);
    if (n < 0)
        return errno == EINTR;
    take_control(&msg, &from, fds, &nfds);
    /* A sender of another pid namespace has no pid here; half a message is none. */
    if (from.sender > 0 && !(msg.msg_flags & MSG_TRUNC)) {
        notify_parse(notify->data, (size_t)n, &message);
        message.sender = from.sender;
        message.uid = from.uid;
        message.fds = fds;
        message.nfds = nfds;
        notify->fn(notify->context, &message);
    }
    for (size_t i = 0; i < nfds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    (void)recv(notify->fd, notify->data, 0, MSG_DONTWAIT); /* it has been heard: let go of it */
    return true;
}

static void receive_most(struct notify *notify, int most)
{
    if (notify->busy)
        return;
    notify->busy = true;
    for (int i = 0; i < most && !notify->freed; i++)
        if (!receive(notify))
            break;
    notify->busy = false;
    if (notify->freed)
        free(notify);
}

static void on_readable(void *context, unsigned events)
{
    (void)events;
    receive_most(context, TURN_MAX);
}

void notify_drain(struct notify *notify) { receive_most(notify, DRAIN_MAX); }

struct notify *notify_new(struct loop *loop, int fd,
                          void (*fn)(void *context, const struct notify_message *message),
                          void *context, struct err *err)
{
    struct notify *notify = calloc(1, sizeof *notify);

    if (!notify) {
        err_set(err, ERR_MEMORY, "no memory for the notify socket");
        return NULL;
    }
    notify->fd = fd;
    notify->fn = fn;
    notify->context = context;
    notify->watch = loop_watch_new(loop, fd, on_readable, notify, err);
    if (!notify->watch) {
        free(notify);
        return NULL;
    }
    loop_watch_set(notify->watch, LOOP_READ);
    return notify;
}

void notify_free(struct notify *notify)
{
    if (!notify || notify->freed)
        return;
    notify->freed = true;
    loop_watch_free(notify->watch);
    notify->watch = NULL;
    if (!notify->busy)
        free(notify);
}
