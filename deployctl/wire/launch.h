/* launch.h - starts ssh, or an agent of this machine, with pipes at its three descriptors. */
#ifndef DEPLOYCTL_WIRE_LAUNCH_H
#define DEPLOYCTL_WIRE_LAUNCH_H

#include <sys/types.h>

#include "base/arena.h"
#include "deployctl/wire/children.h"
#include "deployctl/wire/transport.h"

/* The words of an ssh that runs `command` on the target: the person's own configuration, no
 * questions.  *ret_login is what a person types to log in there as we do.  NULL with err set, or
 * with the arena failed. */
char **launch_ssh_words(struct arena *arena, const struct transport_target *target,
                        const char *command, const char **ret_login, struct err *err);

struct launched {
    pid_t pid;
    int in, out, errors; /* our ends of its 0, 1 and 2; the caller's to close */
};
/* In a session of its own.  fn is called once when it has ended.  On failure no descriptor is open,
 * and a child that was there for a moment is in ret->pid, else 0: children_forget() it. */
int launch(struct children *children, const char *program, char **argv, children_fn *fn,
           void *context, struct launched *ret, struct err *err);
/* The path of ssh, malloc'ed; NULL with err set. */
char *launch_find_ssh(struct err *err);

#endif
