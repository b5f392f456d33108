/* listen.c - the contract is in listen.h. */
#include "io/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/auto.h"

static const char *unix_path(const struct addr *addr)
{
    const struct sockaddr_un *at = (const struct sockaddr_un *)&addr->at;

    return addr->at.ss_family == AF_UNIX && at->sun_path[0] != '\0' ? at->sun_path : NULL;
}

int listen_connect(const struct addr *addr)
{
    int fd = socket(addr->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&addr->at, addr->len) == 0 || errno == EINPROGRESS)
        return fd;
    int saved = errno;
    close(fd);
    return -saved;
}

/* A socket file that nobody answers on is what a killed process leaves behind. */
static int clear_stale(const struct addr *addr, const char *path, struct err *err)
{
    struct stat st;

    if (lstat(path, &st) != 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, ERR_EXISTS, "%s is there already and is not a socket", path);
    int fd = listen_connect(addr);
    if (fd >= 0 || fd == -EAGAIN) { /* EAGAIN: somebody listens, with a full queue */
        if (fd >= 0)
            close(fd);
        return err_set(err, ERR_EXISTS, "somebody listens on %s already", path);
    }
    if (fd != -ECONNREFUSED)
        return err_sys(err, -fd, "%s is there and cannot be asked", path);
    return unlink(path) == 0 || errno == ENOENT ? 0
                                                : err_sys(err, errno, "removing stale %s", path);
}

static int set_options(int fd, const struct addr *addr, const struct listen_options *options,
                       struct err *err)
{
    const int on = 1;

    if (addr->at.ss_family == AF_UNIX)
        return 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        return err_sys(err, errno, "setting SO_REUSEADDR");
    if (options->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0)
        return err_sys(err, errno, "setting SO_REUSEPORT");
    if (addr->at.ss_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0)
        return err_sys(err, errno, "setting IPV6_V6ONLY");
    return 0;
}

/* Mode and owner before anybody can connect: bind makes the file, listen opens the door. */
static int set_access(const char *path, const struct listen_options *options, struct err *err)
{
    if (options->set_owner && chown(path, options->uid, options->gid) != 0)
        return err_sys(err, errno, "setting the owner of %s", path);
    if (options->mode != 0 && chmod(path, options->mode) != 0)
        return err_sys(err, errno, "setting the mode of %s", path);
    return 0;
}

int listen_open(const struct addr *addr, const struct listen_options *options, struct err *err)
{
    const char *path = unix_path(addr);
    char text[ADDR_TEXT_MAX];
    AUTO_CLOSE int fd = -1;

    int rc = path ? clear_stale(addr, path, err) : 0;
    if (rc != 0)
        return rc;
    fd = socket(addr->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_sys(err, errno, "making a socket for %s", addr_text(addr, text));
    rc = set_options(fd, addr, options, err);
    if (rc != 0)
        return rc;
    if (bind(fd, (const struct sockaddr *)&addr->at, addr->len) != 0) {
        if (errno == EADDRINUSE)
            return err_set(err, ERR_EXISTS, "%s is in use by another program",
                           addr_text(addr, text));
        return err_sys(err, errno, "binding %s", addr_text(addr, text));
    }
    rc = path ? set_access(path, options, err) : 0;
    if (rc != 0)
        return rc;
    if (listen(fd, options->backlog > 0 ? options->backlog : SOMAXCONN) != 0)
        return err_sys(err, errno, "listening on %s", addr_text(addr, text));
    return take_fd(&fd);
}
