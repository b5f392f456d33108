/* listen.h - listening sockets. */
#ifndef IO_LISTEN_H
#define IO_LISTEN_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/err.h"

struct listen_options {
    int type;      /* SOCK_STREAM (or 0), SOCK_SEQPACKET, or SOCK_DGRAM, which only binds */
    bool blocking; /* for somebody else to accept on, as he knows it from other supervisors */
    int backlog;
    bool reuse_port;
    mode_t mode; /* of a unix socket's file; 0 = by umask */
    bool set_owner;
    uid_t uid;
    gid_t gid;
};
/* Binds and listens; CLOEXEC, non-blocking unless asked; an IPv6 address for IPv6 only.  A stale
 * unix socket file that nobody answers on is removed first; a live one is ERR_EXISTS.  A descriptor
 * or a negative err_code. */
int listen_open(const struct addr *addr, const struct listen_options *options, struct err *err);
/* Mode and owner of `options` for the file of a unix socket that listens already; other addresses
 * have none. */
int listen_rights(const struct addr *addr, const struct listen_options *options, struct err *err);
/* The path of a unix socket's file; NULL for other addresses. */
const char *listen_path(const struct addr *addr);
/* Starts a non-blocking connect (stream); a descriptor (maybe still connecting) or -errno. */
int listen_connect(const struct addr *addr);

#endif
