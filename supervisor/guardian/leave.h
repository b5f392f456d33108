/* leave.h - the last act on a host: kill what is left, sync, unmount, and reboot(2).
 *
 * A process of its own that PID 1 becomes by exec (`supervisor leave --poweroff`), because a binary
 * or library that was replaced while it ran keeps its file system from becoming read-only.
 *
 * The whole is bounded: a second process pulls the plug after LEAVE_LIMIT_S seconds, however long a
 * disk or a server that is gone lets us wait.
 */
#ifndef SUPERVISOR_GUARDIAN_LEAVE_H
#define SUPERVISOR_GUARDIAN_LEAVE_H

enum { LEAVE_LIMIT_S = 60 };

enum leave_how { LEAVE_REBOOT, LEAVE_POWEROFF, LEAVE_HALT, LEAVE_NHOWS };

/* What a signal to the init of a host orders (CONTRACT: "Signals"); 0, no signal, powers off. */
enum leave_how leave_how_of(int signum);
/* A signal that orders it. */
int leave_signal(enum leave_how how);

/* As PID 1: executes the helper if that can be executed, otherwise does it itself.  Never returns.
 */
void leave_host(enum leave_how how) __attribute__((noreturn));
/* reboot(2) at once; with a kernel loaded by kexec that one is started.  Returns -errno. */
int leave_now(enum leave_how how);

/* The role `supervisor leave`: with --reboot, --poweroff or --halt the above as PID 1; with --try
 * nothing, successfully; with --limit only the plug is pulled when the time is over. */
int leave_main(int argc, char **argv);

#endif
