/* instance_check.c - the contract is in instance.h. */
#include "supervisor/plan/instance.h"

#include <ctype.h>
#include <string.h>

#include "base/pattern.h"
#include "base/unit.h"
#include "base/words.h"

enum { FD_MIN = 3, FD_MAX = 1023, HOST_LEN_MAX = 255, SERVICE_LEN_MAX = 255 };
static const char no_memory[] = "out of memory";

static int parse_exec(const char *command, struct arena *arena, struct instance_check *ret,
                      struct err *err)
{
    size_t count;
    int rc = words_split(command, arena, &ret->argv, &count, err);

    if (rc < 0)
        return err_wrap(err, "exec");
    if (count == 0 || !*ret->argv[0])
        return err_set(err, ERR_INVALID, "exec: without a command, try exec:/usr/bin/check");
    ret->kind = SPEC_CHECK_EXEC;
    return 0;
}

static int parse_fd(const char *number, struct instance_check *ret, struct err *err)
{
    int64_t fd;

    if (unit_integer(number, 10, &fd, NULL) < 0 || fd < FD_MIN || fd > FD_MAX)
        return err_set(err, ERR_INVALID, "\"fd:%.32s\" is not a descriptor, try fd:%d to fd:%d",
                       number, FD_MIN, FD_MAX);
    ret->kind = SPEC_CHECK_FD;
    ret->fd = (int)fd;
    return 0;
}

/* Blanks and control characters would let a target end the request line. */
static bool printable(const char *text)
{
    for (; *text; text++)
        if (!isgraph((unsigned char)*text))
            return false;
    return true;
}

/* "host:port" into an address, or into host and port when the host is a name.  An empty host is
 * this machine. */
static int parse_hostport(const char *text, struct arena *arena, struct instance_check *ret,
                          struct err *err)
{
    const char *colon = strrchr(text, ':');

    if (*text == '/' || *text == '@' || strncmp(text, "unix:", 5) == 0 || *text == '*' || !colon)
        return err_set(err, ERR_INVALID, "\"%.64s\" is not HOST:PORT, try 127.0.0.1:8080", text);
    if (colon == text) {
        text = arena_printf(arena, "127.0.0.1%s", text);
        if (!text)
            return err_set(err, ERR_MEMORY, no_memory);
    }
    if (!addr_needs_lookup(text))
        return addr_parse(text, &ret->addr, err);
    int64_t port;
    if (colon - text > HOST_LEN_MAX || unit_integer(colon + 1, 10, &port, NULL) < 0 || port < 1 ||
        port > 65535)
        return err_set(err, ERR_INVALID, "\"%.64s\" is not HOST:PORT, try 127.0.0.1:8080", text);
    ret->host = arena_strndup(arena, text, (size_t)(colon - text));
    ret->port = arena_strdup(arena, colon + 1);
    return ret->host && ret->port ? 0 : err_set(err, ERR_MEMORY, no_memory);
}

static int parse_tcp(const char *text, struct arena *arena, struct instance_check *ret,
                     struct err *err)
{
    ret->kind = SPEC_CHECK_TCP;
    return parse_hostport(text, arena, ret, err);
}

/* "host:port/path?query"; the port may be left out. */
static int parse_http(const char *text, struct arena *arena, struct instance_check *ret,
                      struct err *err)
{
    size_t len = strcspn(text, "/?#");
    const char *rest = text + len;

    ret->kind = SPEC_CHECK_HTTP;
    if (!printable(text) || strchr(text, '#') || memchr(text, '@', len))
        return err_set(err, ERR_INVALID,
                       "\"http://%.64s\" is not a plain address, try http://127.0.0.1:8080/health",
                       text);
    const char *authority = arena_strndup(arena, text, len);
    ret->path = arena_printf(arena, "%s%s", *rest == '/' ? "" : "/", rest);
    if (!authority || !ret->path)
        return err_set(err, ERR_MEMORY, no_memory);
    const char *bracket = strrchr(authority, ']');
    bool has_port = strchr(bracket ? bracket : authority, ':') != NULL;
    const char *hostport = has_port ? authority : arena_printf(arena, "%s:80", authority);
    ret->authority = *authority == ':' ? arena_printf(arena, "localhost%s", authority) : authority;
    if (!hostport || !ret->authority)
        return err_set(err, ERR_MEMORY, no_memory);
    if (len == 0)
        return err_set(err, ERR_INVALID,
                       "http:// without a host, try http://127.0.0.1:8080/health");
    return parse_hostport(hostport, arena, ret, err);
}

/* "host:port/service"; a gRPC port has no default. */
static int parse_grpc(const char *text, struct arena *arena, struct instance_check *ret,
                      struct err *err)
{
    size_t len = strcspn(text, "/?#");
    const char *service = text[len] ? text + len + 1 : "";

    ret->kind = SPEC_CHECK_GRPC;
    if (!printable(text) || strpbrk(text, "#?") || memchr(text, '@', len) || strchr(service, '/') ||
        strlen(service) > SERVICE_LEN_MAX || (text[len] && !*service))
        return err_set(err, ERR_INVALID,
                       "\"grpc://%.64s\" is not grpc://HOST:PORT/SERVICE, try "
                       "grpc://127.0.0.1:50051",
                       text);
    const char *authority = arena_strndup(arena, text, len);
    ret->path = arena_strdup(arena, service);
    ret->authority =
        authority && *authority == ':' ? arena_printf(arena, "localhost%s", authority) : authority;
    if (!authority || !ret->path || !ret->authority)
        return err_set(err, ERR_MEMORY, no_memory);
    return parse_hostport(authority, arena, ret, err);
}

static int parse_log(const char *text, struct arena *arena, struct instance_check *ret,
                     struct err *err)
{
    struct pattern pattern;
    int rc = pattern_compile(text, &pattern, err);

    if (rc < 0)
        return err_wrap(err, "log");
    ret->kind = SPEC_CHECK_LOG;
    ret->path = arena_strdup(arena, text);
    return ret->path ? 0 : err_set(err, ERR_MEMORY, no_memory);
}

static const char *after(const char *text, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

static int parse_any(const char *text, struct arena *arena, struct instance_check *ret,
                     struct err *err)
{
    const char *rest;

    if (strcmp(text, "notify") == 0 || strcmp(text, "delay") == 0) {
        ret->kind = *text == 'n' ? SPEC_CHECK_NOTIFY : SPEC_CHECK_DELAY;
        return 0;
    }
    if ((rest = after(text, "http://")))
        return parse_http(rest, arena, ret, err);
    if ((rest = after(text, "grpc://")))
        return parse_grpc(rest, arena, ret, err);
    if ((rest = after(text, "log:")))
        return parse_log(rest, arena, ret, err);
    if ((rest = after(text, "tcp://")))
        return parse_tcp(rest, arena, ret, err);
    if ((rest = after(text, "exec:")))
        return parse_exec(rest, arena, ret, err);
    if ((rest = after(text, "fd:")))
        return parse_fd(rest, ret, err);
    if (after(text, "unix:")) {
        ret->kind = SPEC_CHECK_UNIX;
        return addr_parse(text, &ret->addr, err);
    }
    if (after(text, "https://"))
        return err_set(err, ERR_INVALID,
                       "https is not supported, try http://, tcp:// or exec:COMMAND");
    return err_set(
        err, ERR_INVALID,
        "\"%.64s\" is not a check, try http://HOST:PORT/PATH, grpc://HOST:PORT, tcp://HOST:PORT, "
        "unix:/PATH, exec:COMMAND, or for ready notify, fd:N, log:REGEX or delay",
        text);
}

int instance_check_parse(const char *text, struct arena *arena, struct instance_check *ret,
                         struct err *err)
{
    struct instance_check check = { .kind = SPEC_CHECK_NONE, .fd = -1 };
    int rc = parse_any(text, arena, &check, err);

    if (rc == 0)
        *ret = check;
    return rc;
}
