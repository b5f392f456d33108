/* addr.h - socket addresses as people write them, without any name lookup.
 *
 * "127.0.0.1:80", "[::1]:80", ":80" and "*:80" (all addresses, IPv4), "localhost:80"
 * (127.0.0.1), "/run/x.sock", "unix:/run/x.sock", "@abstract".
 */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"

struct addr {
    struct sockaddr_storage at;
    socklen_t len;
};
enum { ADDR_TEXT_MAX = 128 };

int addr_parse(const char *text, struct addr *ret, struct err *err);
/* True when "host:port" has a host that is a name (not numeric, not localhost). */
bool addr_needs_lookup(const char *text);
const char *addr_text(const struct addr *addr, char text[static ADDR_TEXT_MAX]);

#endif
