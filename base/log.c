/* log.c - the program's own log; the only file with state of its own. */
#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

/* A pipe that is ready for writing has room for this much, so such a write never blocks. */
enum { LINE_BYTES = PIPE_BUF };
static const char cut_mark[] = "...\n";

static struct {
    int fd;
    enum log_level level;
    const char *who;
    uint64_t lost; /* threads of a pool may log too: only touched atomically */
} state = { .fd = STDERR_FILENO, .level = LOG_LEVEL_INFO };

static const char *const level_names[LOG_NLEVELS] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

/* One line in the making; there is always room left for the mark of a cut one. */
struct line {
    char text[LINE_BYTES];
    size_t len;
    bool cut;
};

static void put(struct line *line, const char *text, size_t len)
{
    if (line->cut || len > sizeof(line->text) - sizeof(cut_mark) - line->len) {
        line->cut = true;
        return;
    }
    memcpy(line->text + line->len, text, len);
    line->len += len;
}

/* Puts text so that it can neither end the line nor play tricks on a terminal. */
static void put_escaped(struct line *line, const char *text, bool quoted)
{
    for (; *text && !line->cut; text++) {
        char escape[8];
        unsigned char c = (unsigned char)*text;
        if (c == '\n')
            put(line, "\\n", 2);
        else if (c == '\t')
            put(line, "\\t", 2);
        else if (c < 0x20 || c == 0x7f)
            put(line, escape, (size_t)snprintf(escape, sizeof(escape), "\\x%02x", c));
        else if (quoted && (c == '"' || c == '\\'))
            put(line, (const char[]){ '\\', (char)c }, 2);
        else
            put(line, text, 1);
    }
}

static bool needs_quotes(const char *value)
{
    if (*value == '\0')
        return true;
    for (; *value; value++)
        if (isspace((unsigned char)*value) || iscntrl((unsigned char)*value) ||
            strchr("\"'=\\", *value))
            return true;
    return false;
}

static void put_pair(struct line *line, const char *key, const char *value)
{
    put(line, " ", 1);
    put_escaped(line, key, false);
    put(line, "=", 1);
    if (!needs_quotes(value)) {
        put(line, value, strlen(value) < LINE_BYTES ? strlen(value) : LINE_BYTES);
        return;
    }
    put(line, "\"", 1);
    put_escaped(line, value, true);
    put(line, "\"", 1);
}

static void put_head(struct line *line, enum log_level level)
{
    char head[128], when[CLOCK_TEXT_MAX];
    const char *who = state.who ? state.who : program_invocation_short_name;
    int len = snprintf(head, sizeof(head), "%s %s %.40s[%d] ", clock_text(clock_wall_us(), when),
                       log_level_name(level), who, (int)getpid());

    put(line, head, (size_t)len < sizeof(head) ? (size_t)len : sizeof(head) - 1);
}

/* The sink may be a terminal that was stopped, or a pipe that nobody reads: ask first. */
static bool write_line(const struct line *line)
{
    struct pollfd sink = { .fd = state.fd, .events = POLLOUT };

    if (poll(&sink, 1, 0) != 1 || sink.revents != POLLOUT)
        return false;
    ssize_t done;
    do
        done = write(state.fd, line->text, line->len);
    while (done < 0 && errno == EINTR);
    return done == (ssize_t)line->len;
}

void log_open(int fd, enum log_level level, const char *who)
{
    state.fd = fd;
    state.level = level;
    state.who = who;
}

void log_set_level(enum log_level level) { state.level = level; }

void log_line(enum log_level level, const char *message, ...)
{
    if (level > state.level)
        return;
    int saved = errno; /* so that callers may log before they look at errno */
    struct line line = { .len = 0 };
    put_head(&line, level);
    put_escaped(&line, message, false);

    va_list args;
    va_start(args, message);
    for (const char *key; (key = va_arg(args, const char *));) {
        const char *value = va_arg(args, const char *);
        put_pair(&line, key, value ? value : "");
        if (!value)
            break;
    }
    va_end(args);

    size_t end = line.cut ? sizeof(cut_mark) - 1 : 1;
    memcpy(line.text + line.len, line.cut ? cut_mark : "\n", end);
    line.len += end;
    if (!write_line(&line))
        __atomic_add_fetch(&state.lost, 1, __ATOMIC_RELAXED);
    errno = saved;
}

uint64_t log_lost(void) { return __atomic_load_n(&state.lost, __ATOMIC_RELAXED); }

const char *log_level_name(enum log_level level)
{
    return (unsigned)level < LOG_NLEVELS ? level_names[level] : "unknown";
}
