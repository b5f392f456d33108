/* file.h - one open log file: opened safely, looked at, written at an offset. */
#ifndef SUPERVISOR_LOGGER_FILE_H
#define SUPERVISOR_LOGGER_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file {
    int fd;                  /* -1 = not open */
    bool regular;            /* else a character device: no offset, no rotation */
    bool deleted;            /* no name is left (as of the last look) */
    uint64_t dev, ino, size; /* as of the last look */
    int64_t written_s;       /* wall clock of the last write, likewise */
};

void file_init(struct file *file);
void file_close(struct file *file); /* twice is fine */
/* Opens for writing without following a link.  With `create` a missing file is made (0640, given to
 * uid and gid unless they are -1), and its folder (0755).  Looks.  0 or -errno: -ENOTSUP for
 * what is neither a regular file nor a character device. */
int file_open(struct file *file, const char *path, bool create, uint32_t uid, uint32_t gid);
int file_look(struct file *file);
/* False if the file has bytes and the last one is no newline.  True if it cannot be read. */
bool file_ends_in_line(const struct file *file);
/* All of it, or -errno; then part of it may be in the file. */
int file_write(struct file *file, const void *data, size_t len, uint64_t offset);
int file_truncate(struct file *file, uint64_t size);

#endif
