/* builder.c - the contract is in builder.h. */
#include "supervisor/sandbox/builder.h"

#include <string.h>
#include <sys/syscall.h>

static bool grow(struct builder *b)
{
    size_t room = b->room ? b->room * 2 : 64;
    struct child_call *calls = NULL;
    const char **subjects = NULL;

    if (room <= BUILDER_CALLS_MAX) {
        calls = arena_array(b->arena, room, sizeof(*calls));
        subjects = arena_array(b->arena, room, sizeof(*subjects));
    }
    if (!calls || !subjects)
        return false;
    if (b->count > 0) {
        memcpy(calls, b->calls, b->count * sizeof(*calls));
        memcpy(subjects, b->subjects, b->count * sizeof(*subjects));
    }
    b->calls = calls;
    b->subjects = subjects;
    b->room = room;
    return true;
}

void builder_add(struct builder *b, enum builder_act act, const char *subject, unsigned flags,
                 long number, const unsigned long *arguments)
{
    if (b->failed || (b->count == b->room && !grow(b))) {
        b->failed = true;
        return;
    }
    struct child_call *call = &b->calls[b->count];
    *call = (struct child_call){ .number = number,
                                 .what = (uint32_t)act | (uint32_t)b->count << BUILDER_ACT_BITS,
                                 .flags = flags };
    memcpy(call->arguments, arguments, sizeof(call->arguments));
    b->subjects[b->count++] = subject;
}

void builder_mount(struct builder *b, enum builder_act act, unsigned flags, const char *source,
                   const char *target, const char *type, unsigned long mount, const char *data)
{
    BUILDER_CALL(b, act, target, flags, SYS_mount, BUILDER_POINTER(source), BUILDER_POINTER(target),
                 BUILDER_POINTER(type), mount, BUILDER_POINTER(data));
}

const char *builder_act_text(unsigned act)
{
    static const char *const texts[BUILDER_NACTS] = {
        /* clang-format off */
        [BUILDER_MOUNTS]       = "%s: making mounts of its own",
        [BUILDER_SLAVE]        = "%s: parting its mounts from ours",
        [BUILDER_NET]          = "namespaces: making a network of its own",
        [BUILDER_LOOPBACK]     = "namespaces: switching lo on in its network",
        [BUILDER_IPC]          = "namespaces: making ipc of its own",
        [BUILDER_UTS]          = "namespaces: making a host name of its own",
        [BUILDER_CGROUP]       = "namespaces: making its control group the root of its own",
        [BUILDER_PROC]         = "namespaces: mounting the /proc of its own processes",
        [BUILDER_TMP]          = "private_tmp: mounting an empty %s",
        [BUILDER_DEVICES]      = "private_devices: mounting %s",
        [BUILDER_DEVICE]       = "private_devices: making %s",
        [BUILDER_BIND]         = "read_only: making %s a mount of its own",
        [BUILDER_REMOUNT]      = "read_only: remounting %s read-only",
        [BUILDER_HIDE]         = "hidden_paths: covering %s",
        [BUILDER_ROOT_BRING]   = "root: bringing %s into it",
        [BUILDER_ROOT_ENTER]   = "root: making it a mount of its own",
        [BUILDER_ROOT_CHANGE]  = "root: changing to it",
        [BUILDER_ROOT_LEAVE]   = "root: leaving the one before",
        [BUILDER_BOUND]        = "capabilities: taking %s away",
        [BUILDER_KEEP]         = "capabilities: keeping them while the user changes",
        [BUILDER_CAPABILITIES] = "capabilities: setting them",
        [BUILDER_AMBIENT]      = "capabilities: handing %s on to its program",
        [BUILDER_NO_NEW_PRIVS] = "no_new_privs: setting it",
        [BUILDER_FILTER]       = "seccomp: installing the filter",
        [BUILDER_DIRECTORY]    = "entering %s inside its sandbox",
        /* clang-format on */
    };
    return act < BUILDER_NACTS ? texts[act] : NULL;
}
