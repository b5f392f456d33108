/* addr.c - the contract is in addr.h. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "base/unit.h"

enum { HOST_MAX = 256, PORT_MAX = 65535 };

static const char remedy[] = "try 127.0.0.1:8080, [::1]:8080, :8080 or /run/x.sock";

/* "unix:/x", "unix:@x", "/x", "@x": the part that names the socket; else NULL. */
static const char *unix_name(const char *text)
{
    bool prefixed = strncmp(text, "unix:", 5) == 0;
    const char *name = prefixed ? text + 5 : text;

    return prefixed || *name == '/' || *name == '@' ? name : NULL;
}

static int parse_unix(const char *name, struct addr *ret, struct err *err)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    size_t len = strlen(name);
    bool abstract = *name == '@';

    if ((*name != '/' && !abstract) || len < 2)
        return err_set(err, ERR_INVALID, "\"%.64s\" is not a socket path (try /run/x.sock or @x)",
                       name);
    if (len >= sizeof(un.sun_path))
        return err_set(err, ERR_INVALID, "\"%.40s...\" is too long for a socket path (at most %zu)",
                       name, sizeof(un.sun_path) - 1);
    memcpy(un.sun_path, name, len);
    if (abstract)
        un.sun_path[0] = '\0';
    memset(ret, 0, sizeof(*ret));
    memcpy(&ret->at, &un, sizeof(un));
    ret->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (abstract ? 0 : 1));
    return 0;
}

/* Splits "host:port" and "[host]:port"; false if it is neither. */
static bool split(const char *text, char host[static HOST_MAX], bool *ret_bracketed, int *ret_port)
{
    const char *colon = strrchr(text, ':');
    int64_t port;

    if (!colon || !isdigit((unsigned char)colon[1]) || strlen(colon + 1) > 5 ||
        unit_integer(colon + 1, 10, &port, NULL) < 0 || port < 1 || port > PORT_MAX)
        return false;
    const char *from = text;
    size_t len = (size_t)(colon - text);
    *ret_bracketed = len >= 2 && text[0] == '[' && text[len - 1] == ']';
    if (*ret_bracketed) {
        from++;
        len -= 2;
    }
    if (len >= HOST_MAX)
        return false;
    memcpy(host, from, len);
    host[len] = '\0';
    *ret_port = (int)port;
    return true;
}

static bool is_name(const char *host)
{
    size_t len = strlen(host), i = 0;

    while (i < len && (isalnum((unsigned char)host[i]) || strchr("-._", host[i])))
        i++;
    struct in_addr numeric;
    return len > 0 && i == len && inet_pton(AF_INET, host, &numeric) != 1 &&
           strspn(host, "0123456789.") != len && strcasecmp(host, "localhost") != 0;
}

static bool parse_inet(const char *host, bool bracketed, int port, struct addr *ret)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };

    memset(ret, 0, sizeof(*ret));
    if (bracketed) {
        if (inet_pton(AF_INET6, host, &in6.sin6_addr) != 1)
            return false;
        memcpy(&ret->at, &in6, sizeof(in6));
        ret->len = sizeof(in6);
        return true;
    }
    if (*host == '\0' || strcmp(host, "*") == 0)
        in.sin_addr.s_addr = htonl(INADDR_ANY);
    else if (strcasecmp(host, "localhost") == 0)
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (inet_pton(AF_INET, host, &in.sin_addr) != 1)
        return false;
    memcpy(&ret->at, &in, sizeof(in));
    ret->len = sizeof(in);
    return true;
}

int addr_parse(const char *text, struct addr *ret, struct err *err)
{
    char host[HOST_MAX];
    struct addr parsed;
    bool bracketed;
    int port;
    const char *name = unix_name(text);

    if (name)
        return parse_unix(name, ret, err);
    if (!split(text, host, &bracketed, &port))
        return err_set(err, ERR_INVALID, "\"%.64s\" is not an address (%s)", text, remedy);
    if (!parse_inet(host, bracketed, port, &parsed)) {
        if (!bracketed && is_name(host))
            return err_set(err, ERR_INVALID, "\"%.64s\" needs a name lookup; give numbers (%s)",
                           text, remedy);
        return err_set(err, ERR_INVALID, "\"%.64s\" is not an address (%s)", text, remedy);
    }
    *ret = parsed;
    return 0;
}

bool addr_needs_lookup(const char *text)
{
    char host[HOST_MAX];
    bool bracketed;
    int port;

    return !unix_name(text) && split(text, host, &bracketed, &port) && !bracketed && is_name(host);
}

static void unix_text(const struct addr *addr, char text[static ADDR_TEXT_MAX])
{
    struct sockaddr_un un = { 0 };
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t len = addr->len > sizeof(un) ? sizeof(un) : addr->len;

    memcpy(&un, &addr->at, len);
    len = len > head ? len - head : 0;
    if (len == 0)
        snprintf(text, ADDR_TEXT_MAX, "unix:(unnamed)");
    else if (un.sun_path[0] == '\0')
        snprintf(text, ADDR_TEXT_MAX, "@%.*s", (int)len - 1, un.sun_path + 1);
    else
        snprintf(text, ADDR_TEXT_MAX, "%.*s", (int)len, un.sun_path);
}

const char *addr_text(const struct addr *addr, char text[static ADDR_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "";
    struct sockaddr_in in;
    struct sockaddr_in6 in6;

    if (addr->at.ss_family == AF_UNIX) {
        unix_text(addr, text);
    } else if (addr->at.ss_family == AF_INET) {
        memcpy(&in, &addr->at, sizeof(in));
        inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host));
        snprintf(text, ADDR_TEXT_MAX, "%s:%d", host, ntohs(in.sin_port));
    } else if (addr->at.ss_family == AF_INET6) {
        memcpy(&in6, &addr->at, sizeof(in6));
        inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host));
        snprintf(text, ADDR_TEXT_MAX, "[%s]:%d", host, ntohs(in6.sin6_port));
    } else {
        snprintf(text, ADDR_TEXT_MAX, "(family %d)", addr->at.ss_family);
    }
    return text;
}
