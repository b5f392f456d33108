/* target.c - the contract is in target.h. */
#include "supervisor/logger/target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "supervisor/logger/format.h"

enum {
    FACILITY_DAEMON = 3,
    PRIORITY_ERR = 3,
    PRIORITY_INFO = 6,
    IDENTIFIER_MAX = 160,
    PATIENCE_MS = 200,
};

void target_init(struct target *target) { *target = (struct target){ .fd = -1 }; }

void target_close(struct target *target)
{
    if (target->fd >= 0)
        close(target->fd);
    target->fd = -1;
}

static int open_console(struct target *target, const char *output)
{
    bool err = strcmp(output, "stderr") == 0;
    int fd = fcntl(err ? STDERR_FILENO : STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    if (fd < 0)
        return -errno;
    target->fd = fd;
    return 0;
}

int target_open(struct target *target, const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (target->fd >= 0)
        return 0;
    if (target->kind == STREAMS_CONSOLE)
        return open_console(target, path);
    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    target->fd = fd;
    return 0;
}

size_t target_piece(const struct target *target, const char *data, size_t len)
{
    const char *newline = memchr(data, '\n', len);
    size_t max = target->kind == STREAMS_SYSLOG    ? TARGET_SYSLOG_MAX
                 : target->kind == STREAMS_CONSOLE ? TARGET_CONSOLE_MAX
                                                   : TARGET_LINE_MAX;
    size_t piece = newline ? (size_t)(newline + 1 - data) : len;

    return piece > max + (newline != NULL) ? max : piece;
}

/* "<3>" of sd-daemon: taken off the line. */
static int take_priority(const char *output, const char **line, size_t *len)
{
    const char *s = *line;

    if (*len >= 3 && s[0] == '<' && s[1] >= '0' && s[1] <= '7' && s[2] == '>') {
        *line += 3;
        *len -= 3;
        return s[1] - '0';
    }
    return strcmp(output, "stderr") == 0 ? PRIORITY_ERR : PRIORITY_INFO;
}

/* "web-0" of "web:0": a colon would end the tag. */
static void make_identifier(const char *instance, char text[static IDENTIFIER_MAX])
{
    snprintf(text, IDENTIFIER_MAX, "%s", instance);
    for (char *at = text; *at; at++)
        if (*at == ':' || *at == ' ' || *at == '[' || *at == '\n')
            *at = '-';
}

static size_t put_syslog(const char *identifier, int priority, int64_t wall_s, const char *line,
                         size_t len, char *out)
{
    time_t at = (time_t)wall_s;
    char stamp[32];
    struct tm tm;

    localtime_r(&at, &tm);
    strftime(stamp, sizeof stamp, "%b %e %T", &tm);
    size_t to = (size_t)snprintf(out, TARGET_HEAD_MAX,
                                 "<%d>%s %s: ", FACILITY_DAEMON * 8 + priority, stamp, identifier);
    for (size_t i = 0; i < len; i++) {
        if (line[i] == '\0') { /* receivers take it for the end; written as rsyslog does */
            memcpy(out + to, "#000", 4);
            to += 4;
        } else
            out[to++] = line[i];
    }
    return to;
}

static size_t put_journal(const char *identifier, int priority, const char *instance,
                          const char *output, const char *line, size_t len, char *out)
{
    size_t to = (size_t)snprintf(out, TARGET_HEAD_MAX,
                                 "PRIORITY=%d\nSYSLOG_FACILITY=%d\nSYSLOG_IDENTIFIER=%s\n"
                                 "SUPERVISOR_INSTANCE=%s\nSUPERVISOR_OUTPUT=%s\nMESSAGE=",
                                 priority, FACILITY_DAEMON, identifier, instance, output);
    memcpy(out + to, line, len);
    to += len;
    out[to++] = '\n';
    return to;
}

/* A piece of a long line, or a last one without its newline, is a line of its own here. */
static size_t put_console(enum streams_format kind, const char *instance, const char *output,
                          int64_t wall_us, const char *line, size_t len, char *out)
{
    struct streams_line state = { 0 };
    struct format format;
    char now[CLOCK_TEXT_MAX];

    if (kind == STREAMS_RAW) {
        memcpy(out, line, len);
        return len;
    }
    bool whole = len > 0 && line[len - 1] == '\n';
    clock_text(wall_us, now);
    if (kind == STREAMS_PLAIN) {
        size_t to = (size_t)snprintf(out, TARGET_HEAD_MAX, "%s %s ", now, instance);
        memcpy(out + to, line, len);
        to += len;
        if (!whole)
            out[to++] = '\n';
        return to;
    }
    format_init(&format, kind, instance, output, now);
    struct format_piece piece = format_run(&format, &state, line, len, UINT64_MAX, out);
    return piece.len + format_cut(&format, &state, out + piece.len);
}

size_t target_message(const struct target *target, const char *instance, const char *output,
                      int64_t wall_us, const char *line, size_t len, char *out)
{
    char identifier[IDENTIFIER_MAX];

    if (target->kind == STREAMS_CONSOLE)
        return put_console(target->format, instance, output, wall_us, line, len, out);
    if (len > 0 && line[len - 1] == '\n')
        len--;
    int priority = take_priority(output, &line, &len);
    make_identifier(instance, identifier);
    if (target->kind == STREAMS_SYSLOG)
        return put_syslog(identifier, priority, wall_us / 1000000, line, len, out);
    return put_journal(identifier, priority, instance, output, line, len, out);
}

/* journald maps what is sealed, and refuses what could still change. */
static int make_memory(const char *message, size_t len)
{
    AUTO_CLOSE int fd = memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return -errno;
    for (size_t done = 0; done < len;) {
        ssize_t n = write(fd, message + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENOSPC;
        done += (size_t)n;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return -errno;
    return take_fd(&fd);
}

static int send_memory(int socket, const char *message, size_t len)
{
    AUTO_CLOSE int fd = make_memory(message, len);
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { .header = { .cmsg_len = 0 } };
    struct msghdr msg = { .msg_control = &control, .msg_controllen = sizeof control };

    if (fd < 0)
        return fd;
    struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    return sendmsg(socket, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The descriptor is shared with others, so it is not made non-blocking: what poll() promises room
 * for, up to PIPE_BUF, is written without waiting.  A reader that stops in the middle of a message
 * gets its beginning again later. */
static int write_console(int fd, const char *message, size_t len)
{
    for (size_t done = 0; done < len;) {
        struct pollfd room = { .fd = fd, .events = POLLOUT };
        size_t most = len - done < PIPE_BUF ? len - done : PIPE_BUF;
        if (poll(&room, 1, done > 0 ? PATIENCE_MS : 0) <= 0)
            return -EAGAIN;
        ssize_t n = write(fd, message + done, most);
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int send_datagram(int fd, const char *message, size_t len)
{
    int rc;

    do {
        rc = send(fd, message, len, MSG_NOSIGNAL) < 0 ? -errno : 0;
    } while (rc == -EINTR);
    return rc;
}

int target_send(struct target *target, const char *message, size_t len)
{
    int rc = target->kind == STREAMS_CONSOLE ? write_console(target->fd, message, len)
                                             : send_datagram(target->fd, message, len);

    if ((rc == -EMSGSIZE || rc == -ENOBUFS) && target->kind == STREAMS_JOURNALD)
        rc = send_memory(target->fd, message, len);
    if (rc == -ENOBUFS)
        rc = -EAGAIN;
    if (rc != 0 && rc != -EAGAIN)
        target_close(target);
    return rc;
}
