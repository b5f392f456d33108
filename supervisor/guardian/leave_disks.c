/* leave_disks.c - the contract is in leave_disks.h. */
#include "supervisor/guardian/leave_disks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/swap.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "supervisor/guardian/leave_mounts.h"

enum { TABLE_MAX = 16 * 1024 * 1024, ROUNDS_MAX = 64, NAME_BYTES = 320 };

/* Calls `fn` for the lines of a file, the last one first; how often it returned true. */
static size_t each_line(const char *path, bool (*fn)(char *line, void *context), void *context)
{
    struct buf text;
    size_t count = 0;

    buf_init(&text, TABLE_MAX);
    if (buf_read_file(&text, AT_FDCWD, path) == 0 && text.len > 0) {
        char *begin = text.data;
        for (char *end = begin + text.len; end > begin;) {
            end[-1] = '\0'; /* the newline of this line */
            char *line = memrchr(begin, '\n', (size_t)(end - 1 - begin));
            line = line ? line + 1 : begin;
            count += fn(line, context);
            end = line;
        }
    }
    buf_done(&text);
    return count;
}

static bool swap_off(char *line, void *context)
{
    (void)context;
    line[strcspn(line, " \t")] = '\0';
    return line[0] == '/' && swapoff(line) == 0;
}

static bool unmount(char *line, void *context)
{
    struct leave_mount found;

    (void)context;
    if (!leave_mount_parse(line, &found))
        return false;
    if (found.act == LEAVE_UNMOUNT)
        return umount2(found.path, UMOUNT_NOFOLLOW) == 0;
    return found.act == LEAVE_FORCE && umount2(found.path, UMOUNT_NOFOLLOW | MNT_FORCE) == 0;
}

static bool make_read_only(char *line, void *context)
{
    struct leave_mount found;

    (void)context;
    if (!leave_mount_parse(line, &found) || found.act == LEAVE_KEEP || found.read_only)
        return false;
    if (found.act == LEAVE_FORCE)
        return umount2(found.path, UMOUNT_NOFOLLOW | MNT_FORCE | MNT_DETACH) == 0;
    if (mount(NULL, found.path, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0)
        return true;
    fprintf(stderr, "supervisor: %s (%s) stays writable: %s\n", found.path, found.type,
            strerror(errno));
    return false;
}

static bool let_loop_go(const char *name)
{
    char path[NAME_BYTES];

    snprintf(path, sizeof path, "/sys/block/%.64s/loop/backing_file", name);
    if (access(path, F_OK) != 0)
        return false;
    snprintf(path, sizeof path, "/dev/%.64s", name);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return fd >= 0 && ioctl(fd, LOOP_CLR_FD, 0) == 0;
}

static bool let_mapped_go(const char *name)
{
    char path[NAME_BYTES];
    unsigned numbers[2];
    struct dm_ioctl order = { .version = { DM_VERSION_MAJOR, 0, 0 },
                              .data_size = sizeof order,
                              .data_start = sizeof order };

    snprintf(path, sizeof path, "/sys/block/%.64s/dev", name);
    FILE *file = fopen(path, "re");
    int n = file ? fscanf(file, "%u:%u", &numbers[0], &numbers[1]) : 0;
    if (file)
        fclose(file);
    if (n != 2)
        return false;
    order.dev = makedev(numbers[0], numbers[1]);
    AUTO_CLOSE int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
    return fd >= 0 && ioctl(fd, DM_DEV_REMOVE, &order) == 0;
}

/* How many devices that lay on something else were let go. */
static size_t let_devices_go(void)
{
    DIR *dir = opendir("/sys/block");
    size_t count = 0;

    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strncmp(entry->d_name, "loop", 4) == 0)
            count += let_loop_go(entry->d_name);
        else if (strncmp(entry->d_name, "dm-", 3) == 0)
            count += let_mapped_go(entry->d_name);
    }
    if (dir)
        closedir(dir);
    return count;
}

void leave_disks(void)
{
    static const char mounts[] = "/proc/self/mountinfo";

    sync();
    each_line("/proc/swaps", swap_off, NULL);
    for (int round = 0; round < ROUNDS_MAX; round++)
        if (each_line(mounts, unmount, NULL) + let_devices_go() == 0)
            break;
    each_line(mounts, make_read_only, NULL);
    let_devices_go();
    sync();
}
