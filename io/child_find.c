/* child_find.c - what concerns other processes but does not start one; see child.h. */
#include "io/child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"

enum {
    STAT_TEXT_MAX = 1024,
    INFO_TEXT_MAX = 1024,
    FIELDS_BEFORE_START_TIME = 19, /* from the third, the first behind the name, to the 22nd */
};

static const char *search_path(char *const *envp)
{
    for (; envp && *envp; envp++)
        if (strncmp(*envp, "PATH=", 5) == 0)
            return *envp + 5;
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/* 0, or the errno that says why this is no program. */
static int check_program(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return errno;
    if (!S_ISREG(st.st_mode))
        return EACCES;
    return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

char *child_find(const char *command, char *const *envp, struct err *err)
{
    char *found = NULL;
    bool denied = false;

    if (strchr(command, '/')) {
        found = strdup(command);
        if (!found)
            err_set(err, ERR_MEMORY, "no memory to look for %s", command);
        return found;
    }
    const char *part = command[0] ? search_path(envp) : NULL;
    while (part) {
        int len = (int)strcspn(part, ":");
        /* An empty part is the current directory, as it always was. */
        if (asprintf(&found, "%.*s/%s", len ? len : 1, len ? part : ".", command) < 0) {
            err_set(err, ERR_MEMORY, "no memory to look for %s", command);
            return NULL;
        }
        int error = check_program(found);
        if (error == 0)
            return found;
        free(found);
        denied = denied || error == EACCES;
        part = part[len] ? part + len + 1 : NULL;
    }
    if (denied)
        err_set(err, ERR_DENIED, "%s is in PATH but may not be executed", command);
    else
        err_set(err, ERR_NOT_FOUND, "there is no command \"%s\" in PATH (%s)", command,
                search_path(envp));
    return NULL;
}

/* 0, or the errno that says why this is no program.  No link leads out of the root. */
static int check_inside(int root, const char *path)
{
    struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
    struct stat st;

    AUTO_CLOSE int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd < 0 || fstat(fd, &st) != 0)
        return errno;
    return S_ISREG(st.st_mode) && st.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH) ? 0 : EACCES;
}

static char *no_memory_for(const char *command, struct err *err)
{
    err_set(err, ERR_MEMORY, "no memory to look for %s", command);
    return NULL;
}

char *child_find_inside(int root, const char *command, char *const *envp, struct err *err)
{
    char *found = NULL;

    if (strchr(command, '/'))
        return asprintf(&found, "%s%s", command[0] == '/' ? "" : "/", command) < 0
                   ? no_memory_for(command, err)
                   : found;
    const char *part = command[0] ? search_path(envp) : NULL;
    while (part) {
        int len = (int)strcspn(part, ":");
        if (asprintf(&found, "%s%.*s/%s", part[0] == '/' ? "" : "/", len, part, command) < 0)
            return no_memory_for(command, err);
        if (check_inside(root, found) == 0)
            return found;
        free(found);
        part = part[len] ? part + len + 1 : NULL;
    }
    err_set(err, ERR_NOT_FOUND, "there is no command \"%s\" inside its root, in PATH (%s)", command,
            search_path(envp));
    return NULL;
}

int child_pidfd(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : fd;
}

int child_pidfd_signal(int pidfd, int signum)
{
    return syscall(SYS_pidfd_send_signal, pidfd, signum, NULL, 0) < 0 ? -errno : 0;
}

pid_t child_pidfd_pid(int pidfd)
{
    char path[40], text[INFO_TEXT_MAX];

    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (len <= 0)
        return 0;
    text[len] = '\0';
    const char *at = strstr(text, "\nPid:"); /* of pidfds only; -1 once it is reaped */
    long pid = at ? strtol(at + strlen("\nPid:"), NULL, 10) : 0;
    return pid > 0 ? (pid_t)pid : 0;
}

const char *child_own_program(void)
{
    static const char usual[] = "/proc/self/exe";
    const char *given = (const char *)(uintptr_t)getauxval(AT_EXECFN);

    return access(usual, F_OK) == 0 || !given || given[0] != '/' ? usual : given;
}

uint64_t child_start_time(pid_t pid)
{
    char path[32], text[STAT_TEXT_MAX];

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (len <= 0)
        return 0;
    text[len] = '\0';
    char *at = strrchr(text, ')'); /* the name may hold blanks and parentheses itself */
    for (int i = 0; at && i <= FIELDS_BEFORE_START_TIME; i++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at + 1, NULL, 10) : 0;
}
