/* listen.c - the contract is in listen.h. */
#include "io/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/auto.h"

enum { BACKLOG = 4096 };

static int new_socket(const struct addr *addr, int type)
{
    return socket(addr->at.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static int connect_to(int fd, const struct addr *addr)
{
    if (connect(fd, (const struct sockaddr *)&addr->at, addr->len) == 0 || errno == EINPROGRESS ||
        errno == EINTR)
        return 0;
    return -errno;
}

static int connect_new(const struct addr *addr, int type)
{
    AUTO_CLOSE int fd = new_socket(addr, type);
    int rc = fd < 0 ? -errno : connect_to(fd, addr);

    return rc < 0 ? rc : take_fd(&fd);
}

int listen_connect(const struct addr *addr) { return connect_new(addr, SOCK_STREAM); }

const char *listen_path(const struct addr *addr)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&addr->at;

    if (addr->at.ss_family != AF_UNIX || addr->len <= offsetof(struct sockaddr_un, sun_path))
        return NULL;
    return un->sun_path[0] ? un->sun_path : NULL;
}

static int fail_bind(const struct addr *addr, int error, struct err *err)
{
    char text[ADDR_TEXT_MAX];

    addr_text(addr, text);
    if (error == EADDRINUSE)
        return err_set(err, ERR_EXISTS, "listening on %s: another process has that address", text);
    if (error == EACCES)
        return err_set(err, ERR_DENIED, "listening on %s: no permission%s", text,
                       listen_path(addr) ? " to write to the folder"
                                         : "; ports below 1024 need root");
    return err_sys(err, error, "listening on %s", text);
}

/* Removes the file of a socket when nobody answers on it; 0 when it is out of the way. */
static int remove_stale(const struct addr *addr, int type, struct err *err)
{
    const char *path = listen_path(addr);
    struct stat st;

    if (!path)
        return fail_bind(addr, EADDRINUSE, err);
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : err_sys(err, errno, "looking at %s", path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, ERR_EXISTS, "listening on %s: there is a file that is no socket", path);
    AUTO_CLOSE int fd = connect_new(addr, type);
    if (fd != -ECONNREFUSED && fd != -ENOENT) /* EAGAIN: it is there, but very busy */
        return fail_bind(addr, EADDRINUSE, err);
    if (unlink(path) != 0 && errno != ENOENT)
        return err_sys(err, errno, "removing the old socket %s", path);
    return 0;
}

static int set_options(int fd, const struct addr *addr, const struct listen_options *options)
{
    int on = 1;

    /* A file gets the mode of the socket it is bound from: no moment with wider rights. */
    if (listen_path(addr) && options->mode != 0 && fchmod(fd, options->mode) != 0)
        return errno;
    if (addr->at.ss_family == AF_UNIX)
        return 0;
    /* For datagrams it would let another process take the address from us. */
    if ((options->type != SOCK_DGRAM &&
         setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0) ||
        (options->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0))
        return errno;
    /* "0.0.0.0:80" and "[::]:80" may stand side by side. */
    if (addr->at.ss_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0)
        return errno;
    return 0;
}

/* What the umask took away is given here. */
static int set_rights(const char *path, const struct listen_options *options)
{
    struct stat st;

    if (options->set_owner &&
        fchownat(AT_FDCWD, path, options->uid, options->gid, AT_SYMLINK_NOFOLLOW) != 0)
        return errno;
    if (options->mode == 0)
        return 0;
    if (lstat(path, &st) != 0)
        return errno;
    if (!S_ISSOCK(st.st_mode))
        return EEXIST;
    if ((st.st_mode & 07777) != options->mode && chmod(path, options->mode) != 0)
        return errno;
    return 0;
}

int listen_rights(const struct addr *addr, const struct listen_options *options, struct err *err)
{
    const char *path = listen_path(addr);
    int error = path ? set_rights(path, options) : 0;

    return error != 0 ? err_sys(err, error, "changing the rights of %s", path) : 0;
}

static int bind_to(int fd, const struct addr *addr, int type, struct err *err)
{
    const struct sockaddr *at = (const struct sockaddr *)&addr->at;

    if (bind(fd, at, addr->len) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return fail_bind(addr, errno, err);
    int rc = remove_stale(addr, type, err);
    if (rc < 0)
        return rc;
    return bind(fd, at, addr->len) == 0 ? 0 : fail_bind(addr, errno, err);
}

int listen_open(const struct addr *addr, const struct listen_options *options, struct err *err)
{
    int type = options->type ? options->type : SOCK_STREAM;
    AUTO_CLOSE int fd = new_socket(addr, type);
    const char *path = listen_path(addr);

    if (fd < 0)
        return fail_bind(addr, errno, err);
    int error = set_options(fd, addr, options);
    if (error != 0)
        return fail_bind(addr, error, err);
    int rc = bind_to(fd, addr, type, err);
    if (rc < 0)
        return rc;
    if (path)
        error = set_rights(path, options);
    if (error == 0 && type != SOCK_DGRAM &&
        listen(fd, options->backlog > 0 ? options->backlog : BACKLOG) != 0)
        error = errno;
    int flags = fcntl(fd, F_GETFL);
    if (error == 0 && options->blocking && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0)
        error = errno;
    if (error != 0 && path)
        unlink(path);
    return error != 0 ? fail_bind(addr, error, err) : take_fd(&fd);
}
