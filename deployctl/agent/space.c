/* space.c - the contract is in space.h. */
#include "deployctl/agent/space.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/auto.h"
#include "deployctl/agent/parts.h"
#include "base/unit.h"

enum {
    PROBE_BYTES = 4096,
    EXTRA_BYTES = 1024 * 1024,
    EXTRA_INODES = 64,
    STEP_BYTES = 4 * 1024 * 1024
};

/* Can this file system share blocks between files?  Tried with two nameless files. */
static bool can_clone(const struct host *host)
{
    static const char zeros[PROBE_BYTES];
    AUTO_CLOSE int a = openat(host->releases, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    AUTO_CLOSE int b = openat(host->releases, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return a >= 0 && b >= 0 && write(a, zeros, sizeof zeros) == sizeof zeros &&
           ioctl(b, FICLONE, a) == 0;
}

int space_check(struct stage *stage, const struct reuse *reuse, struct err *err)
{
    struct statvfs fs;
    if (fstatvfs(stage->host->releases, &fs) < 0)
        return err_sys(err, errno, "asking for the free space of %s", stage->host->path);
    bool cheap = stage->cheap =
        can_clone(stage->host) || (stage->host->linkable && !stage->want.set_owner);
    uint64_t block = fs.f_frsize > 0 ? fs.f_frsize : PROBE_BYTES, need = EXTRA_BYTES;
    for (size_t i = 0; i < stage->manifest.count; i++) {
        const struct manifest_entry *entry = &stage->manifest.entries[i];
        bool copied = stage->leader[i] != i || reuse->sources[i].path != NULL;
        if (entry->kind == MANIFEST_FILE && !(cheap && copied))
            need += (entry->size + block - 1) / block * block;
    }
    uint64_t had = parts_bytes(stage);
    need -= had < need - EXTRA_BYTES ? had : need - EXTRA_BYTES;
    uint64_t free_bytes = (uint64_t)fs.f_bavail * block;
    uint64_t keep = (uint64_t)fs.f_blocks * block / 100 * STAGE_RESERVE_PERCENT;
    if (need + keep > free_bytes) {
        char a[UNIT_TEXT_MAX], b[UNIT_TEXT_MAX], c[UNIT_TEXT_MAX];
        return err_set(err, ERR_LIMIT,
                       "%s needs %s in %s, where %s are free and %s (%d %%) are kept free; make "
                       "room, or lower keep_releases",
                       stage->want.id, unit_size_text((int64_t)need, a), stage->host->path,
                       unit_size_text((int64_t)free_bytes, b), unit_size_text((int64_t)keep, c),
                       STAGE_RESERVE_PERCENT);
    }
    uint64_t inodes = stage->manifest.count + EXTRA_INODES;
    uint64_t keep_inodes = (uint64_t)fs.f_files / 100 * STAGE_RESERVE_PERCENT;
    if (fs.f_files > 0 && inodes + keep_inodes > fs.f_favail)
        return err_set(err, ERR_LIMIT,
                       "%s needs %llu inodes in %s, where %llu are free and %llu are kept free; "
                       "make room, or lower keep_releases",
                       stage->want.id, (unsigned long long)inodes, stage->host->path,
                       (unsigned long long)fs.f_favail, (unsigned long long)keep_inodes);
    return 0;
}

static uint64_t whole_blocks(uint64_t bytes)
{
    return (bytes + PROBE_BYTES - 1) / PROBE_BYTES * PROBE_BYTES;
}

int space_reserve(struct stage *stage, struct err *err)
{
    uint64_t need = 0;
    for (size_t i = 0; i < stage->manifest.count; i++)
        if (stage->leader[i] == i ? stage->content[i] == STAGE_MISSING : !stage->cheap)
            need += whole_blocks(stage->manifest.entries[i].size);
    if (need == 0)
        return 0;
    need += EXTRA_BYTES;
    AUTO_CLOSE int fd = openat(stage->host->releases, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 && fallocate(fd, 0, 0, (off_t)need) == 0) {
        stage->reserved = need;
        stage->reserve = take_fd(&fd);
        return 0;
    }
    if (fd < 0 || (errno != ENOSPC && errno != EDQUOT && errno != EFBIG))
        return 0; /* what cannot be kept was at least there a moment ago */
    char bytes[UNIT_TEXT_MAX];
    return err_set(err, ERR_LIMIT, "%s cannot be reserved in %s: %s; make room",
                   unit_size_text((int64_t)need, bytes), stage->host->path, strerror(errno));
}

/* In steps, for each of them is work for the file system. */
void space_use(struct stage *stage, uint64_t size)
{
    uint64_t bytes = whole_blocks(size);
    if (stage->reserve >= 0 && stage->ahead < bytes) {
        uint64_t give = bytes - stage->ahead > STEP_BYTES ? bytes - stage->ahead : STEP_BYTES;
        give = give < stage->reserved ? give : stage->reserved;
        stage->reserved -= give;
        stage->ahead += give;
        if (ftruncate(stage->reserve, (off_t)stage->reserved) < 0 || stage->reserved == 0) {
            close(stage->reserve);
            stage->reserve = -1;
        }
    }
    stage->ahead -= bytes < stage->ahead ? bytes : stage->ahead;
}
