/* capability.c - the contract is in capability.h. */
#include "supervisor/plan/capability.h"

#include <stdio.h>
#include <strings.h>

#include "base/near.h"

enum { BITS = 64 };

static const char *const names[CAPABILITY_COUNT] = {
    [0] = "CHOWN",
    [1] = "DAC_OVERRIDE",
    [2] = "DAC_READ_SEARCH",
    [3] = "FOWNER",
    [4] = "FSETID",
    [5] = "KILL",
    [6] = "SETGID",
    [7] = "SETUID",
    [8] = "SETPCAP",
    [9] = "LINUX_IMMUTABLE",
    [10] = "NET_BIND_SERVICE",
    [11] = "NET_BROADCAST",
    [12] = "NET_ADMIN",
    [13] = "NET_RAW",
    [14] = "IPC_LOCK",
    [15] = "IPC_OWNER",
    [16] = "SYS_MODULE",
    [17] = "SYS_RAWIO",
    [18] = "SYS_CHROOT",
    [19] = "SYS_PTRACE",
    [20] = "SYS_PACCT",
    [21] = "SYS_ADMIN",
    [22] = "SYS_BOOT",
    [23] = "SYS_NICE",
    [24] = "SYS_RESOURCE",
    [25] = "SYS_TIME",
    [26] = "SYS_TTY_CONFIG",
    [27] = "MKNOD",
    [28] = "LEASE",
    [29] = "AUDIT_WRITE",
    [30] = "AUDIT_CONTROL",
    [31] = "SETFCAP",
    [32] = "MAC_OVERRIDE",
    [33] = "MAC_ADMIN",
    [34] = "SYSLOG",
    [35] = "WAKE_ALARM",
    [36] = "BLOCK_SUSPEND",
    [37] = "AUDIT_READ",
    [38] = "PERFMON",
    [39] = "BPF",
    [40] = "CHECKPOINT_RESTORE",
};

const char *capability_name(int number)
{
    return number >= 0 && number < CAPABILITY_COUNT ? names[number] : NULL;
}

static const char *without_prefix(const char *name)
{
    return strncasecmp(name, "cap_", 4) == 0 ? name + 4 : name;
}

int capability_find(const char *name)
{
    for (int i = 0; i < CAPABILITY_COUNT; i++)
        if (strcasecmp(names[i], without_prefix(name)) == 0)
            return i;
    return -1;
}

static const char *name_at(size_t index, const void *unused)
{
    (void)unused;
    return names[index];
}

const char *capability_near(const char *wrong)
{
    return near_name(without_prefix(wrong), CAPABILITY_COUNT, name_at, NULL);
}

void capability_put(uint64_t set, struct buf *out)
{
    const char *between = "";

    if (set == 0)
        buf_puts(out, "none");
    for (int i = 0; i < BITS; i++) {
        const char *name = capability_name(i);
        if (!(set >> i & 1))
            continue;
        buf_puts(out, between);
        if (name)
            buf_puts(out, name);
        else
            buf_printf(out, "%d", i);
        between = " ";
    }
}
