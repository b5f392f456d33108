/* early.c - the contract is in early.h. */
#include "supervisor/guardian/early.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/pidns.h"

enum { PATH_BYTES = 64 };
static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const struct early_mount early_mounts[] = {
    /* clang-format off */
    { "/proc",          "proc",     NULL,                           MS_NOSUID | MS_NODEV | MS_NOEXEC },
    { "/sys",           "sysfs",    NULL,                           MS_NOSUID | MS_NODEV | MS_NOEXEC },
    { "/dev",           "devtmpfs", "mode=0755",                    MS_NOSUID },
    { "/dev/pts",       "devpts",   "mode=0620,gid=5,ptmxmode=0666", MS_NOSUID | MS_NOEXEC },
    { "/dev/shm",       "tmpfs",    "mode=1777",                    MS_NOSUID | MS_NODEV },
    { "/run",           "tmpfs",    "mode=0755",                    MS_NOSUID | MS_NODEV },
    { "/sys/fs/cgroup", "cgroup2",  NULL,                           MS_NOSUID | MS_NODEV | MS_NOEXEC },
    /* clang-format on */
};
const size_t early_nmounts = sizeof early_mounts / sizeof *early_mounts;

/* Another device than the folder above it. */
static bool is_mounted(const char *path)
{
    char above[PATH_BYTES];
    struct stat here, there;

    snprintf(above, sizeof above, "%s/..", path);
    return stat(path, &here) == 0 && stat(above, &there) == 0 && here.st_dev != there.st_dev;
}

static void mount_one(const struct early_mount *mount_it)
{
    if (is_mounted(mount_it->path))
        return;
    if (mkdir(mount_it->path, 0755) != 0 && errno != EEXIST)
        fprintf(stderr, "supervisor: making %s: %s\n", mount_it->path, strerror(errno));
    if (mount(mount_it->type, mount_it->path, mount_it->type, mount_it->flags, mount_it->data) != 0)
        fprintf(stderr, "supervisor: mounting %s on %s: %s\n", mount_it->type, mount_it->path,
                strerror(errno));
}

/* A kernel that found no /dev/console has left us without any stream. */
static void open_console(void)
{
    if (fcntl(STDERR_FILENO, F_GETFD) >= 0)
        return;
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);
    for (int i = STDIN_FILENO; fd >= 0 && i <= STDERR_FILENO; i++)
        if (fd != i)
            dup2(fd, i);
    if (fd > STDERR_FILENO)
        close(fd);
}

bool early_is_host_init(void) { return getpid() == 1 && pidns_is_initial(); }

void early_prepare(void)
{
    if (getpid() != 1)
        return;
    if (access("/proc/self", F_OK) != 0)
        mount_one(&early_mounts[0]);
    if (!early_is_host_init())
        return;
    umask(022);
    for (size_t i = 0; i < early_nmounts; i++)
        mount_one(&early_mounts[i]);
    open_console();
    setenv("PATH", default_path, 1); /* an initramfs leaves its own behind */
    reboot(RB_DISABLE_CAD);
}
