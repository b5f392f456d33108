/* log_count.c - the contract is in log_count.h. */
#include "deployctl/agent/log_count.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"

enum { CHUNK = 64 * 1024 };

int log_count_init(struct log_count *log, const char *requests, const char *errors, struct err *err)
{
    *log = (struct log_count){ .fd = -1 };
    int rc = pattern_compile(requests, &log->requests, err);
    return rc < 0 ? rc : pattern_compile(errors, &log->errors, err);
}

void log_count_done(struct log_count *log)
{
    auto_close_(&log->fd);
    log->fd = -1;
}

static void begin_line(struct log_count *log)
{
    log->requests_seen = log->errors_seen = (struct pattern_seen){ 0 };
    log->is_request = log->is_error = false;
}

/* A piece of one line; `whole`: its newline is the last byte. */
static void feed(struct log_count *log, const char *text, size_t len, bool whole)
{
    log->is_request =
        log->is_request || pattern_feed(&log->requests, &log->requests_seen, text, len);
    log->is_error = log->is_error || pattern_feed(&log->errors, &log->errors_seen, text, len);
    if (!whole)
        return;
    log->nrequests += log->is_request;
    log->nerrors += log->is_request && log->is_error;
    begin_line(log);
}

static void feed_lines(struct log_count *log, const char *text, size_t len)
{
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t size = end ? (size_t)(end - text) + 1 : len;
        feed(log, text, size, end != NULL);
        text += size;
        len -= size;
    }
}

static int read_on(struct log_count *log, struct err *err)
{
    char text[CHUNK];
    for (size_t sum = 0; sum < LOG_COUNT_STEP_MAX;) {
        ssize_t n = pread(log->fd, text, sizeof text, log->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, errno, "reading the log");
        if (n == 0)
            return 0;
        feed_lines(log, text, (size_t)n);
        log->at += n;
        sum += (size_t)n;
    }
    return 0;
}

/* Never blocks, whatever the name leads to. */
static int open_log(const char *path, struct stat *ret_file, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return err_sys(err, errno, "%s", path);
    if (fstat(fd, ret_file) == 0 && S_ISREG(ret_file->st_mode))
        return fd;
    close(fd);
    return err_set(err, ERR_INVALID, "%s is not a file", path);
}

int log_count_look(struct log_count *log, const char *path, struct err *err)
{
    struct stat now, before;
    AUTO_CLOSE int fd = open_log(path, &now, err);
    if (fd < 0 && log->fd < 0)
        return fd;
    if (log->fd < 0) { /* what is there already is not ours to judge */
        log->fd = take_fd(&fd);
        log->at = now.st_size;
        begin_line(log);
        return 0;
    }
    int rc = read_on(log, err);
    if (rc < 0 || fd < 0 || fstat(log->fd, &before) < 0)
        return rc;
    bool other = before.st_ino != now.st_ino || before.st_dev != now.st_dev;
    if (!other && now.st_size >= log->at)
        return 0;
    log_count_done(log);
    log->fd = take_fd(&fd);
    log->at = 0;
    begin_line(log);
    return read_on(log, err);
}
