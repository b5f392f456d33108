/* builder.h - the growing list of calls.  Not for other folders. */
#ifndef SUPERVISOR_SANDBOX_BUILDER_H
#define SUPERVISOR_SANDBOX_BUILDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "io/child.h"

/* What a call is for; with its text in builder.c.  Numbers are kept in ledgers: add at the end. */
enum builder_act {
    BUILDER_NOTHING, /* not said */
    BUILDER_MOUNTS,
    BUILDER_SLAVE,
    BUILDER_NET,
    BUILDER_LOOPBACK,
    BUILDER_IPC,
    BUILDER_UTS,
    BUILDER_CGROUP,
    BUILDER_PROC,
    BUILDER_TMP,
    BUILDER_DEVICES,
    BUILDER_DEVICE,
    BUILDER_BIND,
    BUILDER_REMOUNT,
    BUILDER_HIDE,
    BUILDER_ROOT_BRING,
    BUILDER_ROOT_ENTER,
    BUILDER_ROOT_CHANGE,
    BUILDER_ROOT_LEAVE,
    BUILDER_BOUND,
    BUILDER_KEEP,
    BUILDER_CAPABILITIES,
    BUILDER_AMBIENT,
    BUILDER_NO_NEW_PRIVS,
    BUILDER_FILTER,
    BUILDER_DIRECTORY,
    BUILDER_NACTS
};
enum { BUILDER_ACT_BITS = 8, BUILDER_CALLS_MAX = 1 << 15 };

struct builder {
    struct arena *arena;
    struct child_call *calls;
    const char **subjects;
    size_t count, room, first; /* first: of these, those before the ids change */
    bool failed;               /* no memory, or too many */
};
#define BUILDER_POINTER(pointer) ((unsigned long)(uintptr_t)(pointer))
/* `subject` may be NULL and is not copied; `arguments`: six. */
void builder_add(struct builder *builder, enum builder_act act, const char *subject, unsigned flags,
                 long number, const unsigned long *arguments);
#define BUILDER_CALL(builder, act, subject, flags, number, ...)                                    \
    builder_add((builder), (act), (subject), (flags), (number),                                    \
                (const unsigned long[6]){ __VA_ARGS__ })
void builder_mount(struct builder *builder, enum builder_act act, unsigned flags,
                   const char *source, const char *target, const char *type, unsigned long mount,
                   const char *data);
/* "%s" in it stands for the subject; NULL for a number that is none. */
const char *builder_act_text(unsigned act);

#endif
