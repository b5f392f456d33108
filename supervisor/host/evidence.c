/* evidence.c - the contract is in evidence.h. */
#include "supervisor/host/evidence.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "io/jsonx.h"

enum {
    TEXT_BYTES = 4096,
    WORD_BYTES = 64,
    LINK_BYTES = 160,
    STACK_LINES = 8,
    THREADS_SHOWN = 6,
    FILES_SHOWN = 6,
    FDS_COUNTED = 4096,
    STACK_SAFE_MAJOR = 5,
    STACK_SAFE_MINOR = 11,
};

static bool read_text(int dir, const char *name, char *text, size_t size)
{
    AUTO_CLOSE int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static bool stack_is_safe(void)
{
    struct utsname name;
    int major = 0, minor = 0;

    return uname(&name) == 0 && sscanf(name.release, "%d.%d", &major, &minor) == 2 &&
           (major > STACK_SAFE_MAJOR || (major == STACK_SAFE_MAJOR && minor >= STACK_SAFE_MINOR));
}

/* --- pure --- */

/* The rest of the line that begins with key, or NULL. */
static const char *line_of(const char *text, const char *key)
{
    size_t len = strlen(key);

    for (; *text; text += strcspn(text, "\n"), text += *text == '\n')
        if (strncmp(text, key, len) == 0)
            return text + len + strspn(text + len, " \t");
    return NULL;
}

static bool mask_has(const char *text, const char *key, int signum)
{
    const char *at = line_of(text, key);

    return at && signum > 0 && (strtoull(at, NULL, 16) >> (signum - 1) & 1);
}

static void put_number(json_t *row, const char *key, const char *text)
{
    if (text)
        jsonx_set_int(row, key, strtoll(text, NULL, 10));
}

void evidence_status(json_t *row, const char *text, int stopsignal)
{
    const char *state = line_of(text, "State:");
    char word[WORD_BYTES];

    if (state) {
        snprintf(word, sizeof word, "%.*s", (int)strcspn(state, "\n"), state);
        jsonx_set_text(row, "state", word);
    }
    put_number(row, "parent", line_of(text, "PPid:"));
    put_number(row, "threads", line_of(text, "Threads:"));
    put_number(row, "rss_kb", line_of(text, "VmRSS:"));
    jsonx_set_text(row, "stop_signal",
                   mask_has(text, "SigBlk:", stopsignal)   ? "blocked"
                   : mask_has(text, "SigIgn:", stopsignal) ? "ignored"
                   : mask_has(text, "SigCgt:", stopsignal) ? "caught"
                                                           : "default");
    if (mask_has(text, "SigPnd:", stopsignal) || mask_has(text, "ShdPnd:", stopsignal))
        jsonx_set_bool(row, "stop_signal_pending", true);
}

/* "[<0>] do_wait+0x5e/0x100" */
json_t *evidence_stack(const char *text)
{
    json_t *list = json_array();
    char word[WORD_BYTES];

    for (int i = 0; *text && i < STACK_LINES; i++) {
        size_t len = strcspn(text, "\n");
        const char *blank = memchr(text, ' ', len);
        const char *name = blank ? blank + 1 : text;
        size_t size = strcspn(name, "+\n");
        snprintf(word, sizeof word, "%.*s", (int)(size < WORD_BYTES ? size : WORD_BYTES - 1), name);
        json_array_append_new(list, json_string(word));
        text += len;
        text += *text == '\n';
    }
    return list;
}

/* --- one process --- */

static void put_wchan(json_t *row, int dir)
{
    char text[WORD_BYTES];

    if (read_text(dir, "wchan", text, sizeof text) && strcmp(text, "0") != 0)
        jsonx_set_text(row, "wchan", text);
}

static void put_stack(json_t *row, int dir)
{
    char text[TEXT_BYTES];

    if (stack_is_safe() && read_text(dir, "stack", text, sizeof text))
        json_object_set_new(row, "stack", evidence_stack(text));
}

struct fds {
    size_t all, sockets, pipes;
    json_t *files;
};

static void look_at_fd(struct fds *fds, int dir, const char *name)
{
    char target[LINK_BYTES];

    fds->all++;
    ssize_t n = readlinkat(dir, name, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    if (strncmp(target, "socket:", 7) == 0)
        fds->sockets++;
    else if (strncmp(target, "pipe:", 5) == 0)
        fds->pipes++;
    else if (target[0] == '/' && strcmp(target, "/dev/null") != 0 &&
             json_array_size(fds->files) < FILES_SHOWN) {
        json_t *row = json_object();
        jsonx_set_text(row, "fd", name);
        jsonx_set_text(row, "path", target);
        json_array_append_new(fds->files, row);
    }
}

static void put_fds(json_t *row, int process)
{
    int fd = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct fds fds = { .files = json_array() };

    if (!dir && fd >= 0)
        close(fd);
    for (const struct dirent *entry; dir && fds.all < FDS_COUNTED && (entry = readdir(dir));)
        if (isdigit((unsigned char)entry->d_name[0]))
            look_at_fd(&fds, dirfd(dir), entry->d_name);
    if (dir) {
        closedir(dir);
        jsonx_set_int(row, "fds", (int64_t)fds.all);
        jsonx_set_int(row, "sockets", (int64_t)fds.sockets);
        jsonx_set_int(row, "pipes", (int64_t)fds.pipes);
        json_object_set(row, "files", fds.files);
    }
    json_decref(fds.files);
}

/* What the other threads wait in. */
static void put_threads(json_t *row, int process, pid_t pid)
{
    int fd = openat(process, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    json_t *list = json_array();
    char path[300], wchan[WORD_BYTES];

    if (!dir && fd >= 0)
        close(fd);
    for (const struct dirent *entry;
         dir && json_array_size(list) < THREADS_SHOWN && (entry = readdir(dir));) {
        if (!isdigit((unsigned char)entry->d_name[0]) || strtol(entry->d_name, NULL, 10) == pid)
            continue;
        snprintf(path, sizeof path, "%s/wchan", entry->d_name);
        if (read_text(dirfd(dir), path, wchan, sizeof wchan))
            json_array_append_new(list, json_string(strcmp(wchan, "0") == 0 ? "running" : wchan));
    }
    if (dir)
        closedir(dir);
    if (json_array_size(list) > 0)
        json_object_set(row, "threads_in", list);
    json_decref(list);
}

static json_t *look_at(pid_t pid, int stopsignal)
{
    char path[32], text[TEXT_BYTES];

    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || !read_text(dir, "status", text, sizeof text))
        return NULL;
    json_t *row = json_object();
    jsonx_set_int(row, "pid", pid);
    evidence_status(row, text, stopsignal);
    if (read_text(dir, "comm", text, sizeof text)) {
        text[strcspn(text, "\n")] = '\0';
        jsonx_set_text(row, "comm", text);
    }
    put_wchan(row, dir);
    put_stack(row, dir);
    put_threads(row, dir, pid);
    put_fds(row, dir);
    return row;
}

json_t *evidence_of(const pid_t *pids, size_t count, int stopsignal, int64_t until_ms)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < count && json_array_size(rows) < EVIDENCE_PROCESSES &&
                       (i == 0 || clock_mono_ms() < until_ms);
         i++) {
        json_t *row = look_at(pids[i], stopsignal);
        if (row)
            json_array_append_new(rows, row);
    }
    return rows;
}
