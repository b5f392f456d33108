/* audit_file.h - where the lines of the audit go: a file that is rotated, or a syslog.
 *
 * Nothing here waits: a file is written where the kernel keeps it, and audit_sync.h sees to the
 * disk. A file that was moved away is opened anew at the next line.  With `maxbytes` it becomes
 * WHERE.1 before a line that would not fit, WHERE.1 becomes WHERE.2, and what would be older than
 * `backups` is given up.  Killed in the middle there is a gap in the numbers and nothing is lost; a
 * move that fails leaves all as it is, and the file grows meanwhile.
 */
#ifndef SUPERVISOR_CORE_AUDIT_FILE_H
#define SUPERVISOR_CORE_AUDIT_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

enum { AUDIT_LINE_MAX = 7900 }; /* receivers of syslog have 8 KiB */

struct audit_settings {
    const char *where; /* "none", a path, "syslog", "syslog:/SOCKET" */
    int64_t maxbytes;  /* 0: it is never rotated */
    int64_t backups;
};

struct audit_file {
    char *where;        /* owned; NULL = nowhere */
    const char *syslog; /* inside `where`, or the usual one; NULL = a file */
    int64_t maxbytes, backups;
    int fd;
    dev_t dev;
    ino_t ino;
    int64_t size;
    bool torn;  /* the last line of the file has no end */
    bool fresh; /* its name is new: the folder must be synced, too; the reader clears it */
    /* One that is not written any more: takes over the descriptor. */
    void (*leave)(void *context, int fd);
    void *context;
};

void audit_file_init(struct audit_file *file, void (*leave)(void *context, int fd), void *context);
void audit_file_done(struct audit_file *file);
/* Opens it; what fails is tried again with each line, but for want of memory. */
int audit_file_configure(struct audit_file *file, const struct audit_settings *settings,
                         struct err *err);
/* A line with its newline; 0 or -errno. */
int audit_file_put(struct audit_file *file, const struct buf *line);

#endif
