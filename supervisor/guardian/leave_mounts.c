/* leave_mounts.c - the contract is in leave_mounts.h. */
#include "supervisor/guardian/leave_mounts.h"

#include <string.h>

enum { FIELDS_BEFORE = 6 }; /* id, parent, device, root, mount point, its options */

static bool is_one_of(const char *const *names, const char *name)
{
    for (; *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

static bool is_below(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    return strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static enum leave_act act_for(const char *path, const char *type)
{
    static const char *const kernels[] = {
        "proc",     "sysfs",   "devtmpfs", "devpts",    "cgroup",    "cgroup2",     "securityfs",
        "debugfs",  "tracefs", "mqueue",   "hugetlbfs", "pstore",    "bpf",         "configfs",
        "efivarfs", "fusectl", "nsfs",     "autofs",    "selinuxfs", "binfmt_misc", "rpc_pipefs",
        "nfsd",     "rootfs",  "ramfs",    NULL
    };
    static const char *const remote[] = { "nfs", "nfs4", "cifs",     "smb3",      "ceph", "9p",
                                          "afs", "coda", "virtiofs", "glusterfs", NULL };

    if (is_one_of(kernels, type))
        return LEAVE_KEEP;
    if (strcmp(path, "/") == 0)
        return LEAVE_READ_ONLY;
    if (strcmp(type, "tmpfs") == 0 && (is_below(path, "/run") || is_below(path, "/dev")))
        return LEAVE_KEEP;
    return is_one_of(remote, type) || strncmp(type, "fuse", 4) == 0 ? LEAVE_FORCE : LEAVE_UNMOUNT;
}

static bool is_octal(const char *at)
{
    return at[0] >= '0' && at[0] <= '3' && at[1] >= '0' && at[1] <= '7' && at[2] >= '0' &&
           at[2] <= '7';
}

/* "\040" is a blank. */
static void unescape(char *text)
{
    char *to = text;

    for (const char *at = text; *at; to++) {
        if (at[0] == '\\' && is_octal(at + 1)) {
            *to = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
            at += 4;
        } else {
            *to = *at++;
        }
    }
    *to = '\0';
}

static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = list; at; at = strchr(at, ','), at = at ? at + 1 : NULL)
        if (strncmp(at, word, len) == 0 && (at[len] == ',' || at[len] == '\0'))
            return true;
    return false;
}

bool leave_mount_parse(char *line, struct leave_mount *ret)
{
    char *fields[FIELDS_BEFORE], *save = NULL, *word = NULL;

    for (int i = 0; i < FIELDS_BEFORE; i++) {
        fields[i] = strtok_r(i == 0 ? line : NULL, " \n", &save);
        if (!fields[i])
            return false;
    }
    do { /* any number of optional fields, then a dash */
        word = strtok_r(NULL, " \n", &save);
    } while (word && strcmp(word, "-") != 0);
    char *type = word ? strtok_r(NULL, " \n", &save) : NULL;
    const char *source = type ? strtok_r(NULL, " \n", &save) : NULL;
    const char *options = source ? strtok_r(NULL, " \n", &save) : NULL;
    if (!options)
        return false;
    unescape(fields[4]);
    *ret = (struct leave_mount){ .path = fields[4],
                                 .type = type,
                                 .read_only = has_word(options, "ro"),
                                 .act = act_for(fields[4], type) };
    return true;
}
