/* notify_parse.c - one datagram of sd_notify; the contract is in notify.h. */
#include "supervisor/health/notify.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

enum { ERRNO_MOST = 4095, STATUS_MOST = 255 };

static bool is_line(const char *line, size_t len, const char *text)
{
    return len == strlen(text) && memcmp(line, text, len) == 0;
}

/* The value when the line is KEY=value. */
static const char *value_of(const char *line, size_t *len, const char *key)
{
    size_t size = strlen(key);

    if (*len < size || memcmp(line, key, size) != 0)
        return NULL;
    *len -= size;
    return line + size;
}

/* Digits only, at most `most`; `other` for anything else. */
static int64_t parse_number(const char *text, size_t len, int64_t most, int64_t other)
{
    int64_t value = 0;

    if (len == 0)
        return other;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || value > (most - (text[i] - '0')) / 10)
            return other;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

/* Length of the well-formed UTF-8 character at `text`, 0 = none (RFC 3629: no overlong forms, no
 * surrogates). */
static size_t utf8_len(const unsigned char *text, size_t len)
{
    static const struct {
        unsigned char first, last, second_from, second_to;
        size_t len;
    } forms[] = {
        /* clang-format off */
        { 0x20, 0x7e, 0,    0,    1 },
        { 0xc2, 0xdf, 0x80, 0xbf, 2 },
        { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
        { 0xe1, 0xec, 0x80, 0xbf, 3 },
        { 0xed, 0xed, 0x80, 0x9f, 3 },
        { 0xee, 0xef, 0x80, 0xbf, 3 },
        { 0xf0, 0xf0, 0x90, 0xbf, 4 },
        { 0xf1, 0xf3, 0x80, 0xbf, 4 },
        { 0xf4, 0xf4, 0x80, 0x8f, 4 },
        /* clang-format on */
    };

    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (text[0] < forms[i].first || text[0] > forms[i].last || len < forms[i].len)
            continue;
        size_t n = forms[i].len;
        if (n > 1 && (text[1] < forms[i].second_from || text[1] > forms[i].second_to))
            return 0;
        /* C1 controls move the cursor of a terminal too. */
        if (text[0] == 0xc2 && text[1] < 0xa0)
            return 0;
        for (size_t k = 2; k < n; k++)
            if (text[k] < 0x80 || text[k] > 0xbf)
                return 0;
        return n;
    }
    return 0;
}

/* It goes to terminals and into JSON: whole characters only, no control among them. */
static void copy_status(const char *text, size_t len, char ret[static NOTIFY_STATUS_MAX])
{
    size_t at = 0;

    for (size_t i = 0; i < len;) {
        size_t n = utf8_len((const unsigned char *)text + i, len - i);
        if (at + (n ? n : 1) >= NOTIFY_STATUS_MAX)
            break;
        if (n == 0)
            ret[at++] = '?';
        else
            memcpy(ret + at, text + i, n);
        at += n;
        i += n ? n : 1;
    }
    ret[at] = '\0';
}

/* ASCII, no control characters, no ':' (it separates LISTEN_FDNAMES). */
static void copy_fd_name(const char *text, size_t len, char ret[static NOTIFY_FD_NAME_MAX])
{
    if (len >= NOTIFY_FD_NAME_MAX)
        return;
    for (size_t i = 0; i < len; i++)
        if (text[i] < ' ' || text[i] > '~' || text[i] == ':')
            return;
    memcpy(ret, text, len);
    ret[len] = '\0';
}

/* Words with dots between them, as D-Bus and Varlink have them.  Anything else is not one. */
static void copy_error(const char *text, size_t len, char ret[static NOTIFY_ERROR_MAX])
{
    bool dots = false;

    if (len >= NOTIFY_ERROR_MAX)
        return;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool dot = c == '.';
        if (dot ? i == 0 || i + 1 == len || text[i - 1] == '.'
                : !isalnum(c) && c != '_' && c != '-')
            return;
        dots |= dot;
    }
    if (!dots)
        return;
    memcpy(ret, text, len);
    ret[len] = '\0';
}

static enum notify_access parse_access(const char *text, size_t len)
{
    static const struct {
        const char *name;
        enum notify_access access;
    } names[] = {
        { "none", NOTIFY_ACCESS_NONE },
        { "main", NOTIFY_ACCESS_MAIN },
        { "exec", NOTIFY_ACCESS_MAIN },
        { "all", NOTIFY_ACCESS_ALL },
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is_line(text, len, names[i].name))
            return names[i].access;
    return NOTIFY_ACCESS_UNSAID;
}

/* KEY=1 and the like. */
static bool parse_flag(const char *line, size_t len, struct notify_message *ret)
{
    const struct {
        const char *text;
        bool *flag;
    } flags[] = {
        { "READY=1", &ret->ready },
        { "STOPPING=1", &ret->stopping },
        { "RELOADING=1", &ret->reloading },
        { "WATCHDOG=1", &ret->watchdog },
        { "WATCHDOG=trigger", &ret->watchdog_trigger },
        { "FDSTORE=1", &ret->fd_store },
        { "FDSTOREREMOVE=1", &ret->fd_remove },
        { "FDPOLL=0", &ret->fd_unpolled },
        { "MAINPIDFD=1", &ret->main_pidfd },
        { "RESTART_RESET=1", &ret->restart_reset },
    };

    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (!is_line(line, len, flags[i].text))
            continue;
        *flags[i].flag = true;
        return true;
    }
    return false;
}

static bool parse_count(const char *line, size_t len, struct notify_message *ret)
{
    const struct {
        const char *key;
        int64_t *value, most;
    } counts[] = {
        { "EXTEND_TIMEOUT_USEC=", &ret->extend_timeout_us, INT64_MAX },
        { "WATCHDOG_USEC=", &ret->watchdog_us, INT64_MAX },
        { "MONOTONIC_USEC=", &ret->monotonic_us, INT64_MAX },
        { "MAINPID=", &ret->main_pid, INT_MAX },
        { "ERRNO=", &ret->error, ERRNO_MOST },
        { "EXIT_STATUS=", &ret->exit_status, STATUS_MOST },
    };

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        size_t size = len;
        const char *value = value_of(line, &size, counts[i].key);

        if (!value)
            continue;
        *counts[i].value = parse_number(value, size, counts[i].most, *counts[i].value);
        return true;
    }
    return false;
}

static void parse_line(const char *line, size_t len, struct notify_message *ret)
{
    const char *value;
    size_t size;

    if (parse_flag(line, len, ret) || parse_count(line, len, ret))
        return;
    if (size = len, (value = value_of(line, &size, "STATUS="))) {
        ret->has_status = true;
        copy_status(value, size, ret->status);
    } else if (size = len, (value = value_of(line, &size, "FDNAME="))) {
        copy_fd_name(value, size, ret->fd_name);
    } else if (size = len, (value = value_of(line, &size, "BUSERROR="))) {
        copy_error(value, size, ret->bus_error);
    } else if (size = len, (value = value_of(line, &size, "VARLINKERROR="))) {
        copy_error(value, size, ret->varlink_error);
    } else if (size = len, (value = value_of(line, &size, "NOTIFYACCESS="))) {
        ret->access = parse_access(value, size);
    }
}

void notify_parse(const char *data, size_t len, struct notify_message *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->watchdog_us = ret->exit_status = -1;
    for (size_t at = 0; at < len;) {
        const char *end = memchr(data + at, '\n', len - at);
        size_t size = end ? (size_t)(end - data) - at : len - at;
        parse_line(data + at, size, ret);
        at += size + 1;
    }
}
