/* listen.h - listening sockets. */
#ifndef IO_LISTEN_H
#define IO_LISTEN_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/err.h"

struct listen_options {
    int backlog;
    bool reuse_port;
    mode_t mode; /* of a unix socket's file; 0 = by umask */
    bool set_owner;
    uid_t uid;
    gid_t gid;
};
/* Binds and listens (stream); CLOEXEC, non-blocking; an IPv6 address for IPv6 only.  A stale unix
 * socket file that nobody answers on is removed first; a live one is ERR_EXISTS.  A descriptor or a
 * negative err_code. */
int listen_open(const struct addr *addr, const struct listen_options *options, struct err *err);
/* Mode and owner of `options` for the file of a unix socket that listens already; other addresses
 * have none. */
int listen_rights(const struct addr *addr, const struct listen_options *options, struct err *err);
/* Starts a non-blocking connect; a descriptor (maybe still connecting) or -errno. */
int listen_connect(const struct addr *addr);

#endif
