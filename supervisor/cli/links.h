/* links.h - the names that the init of a host has beside its own: init, telinit, poweroff, reboot,
 * halt, shutdown.  Each is a link to `supervisor`.
 *
 * poweroff, reboot and halt ask the supervisor over its control socket, so that the order is logged
 * with who gave it; where none answers PID 1 gets the signal that means the same.
 */
#ifndef SUPERVISOR_CLI_LINKS_H
#define SUPERVISOR_CLI_LINKS_H

#include <stdbool.h>
#include <stdint.h>

#include "supervisor/guardian/leave.h"

/* If this process is the init of a host, or argv[0] is one of the names: does it, *ret_code is the
 * exit code, true.  As init it never returns. */
bool links_run(int argc, char **argv, int *ret_code);

/* Asks for an orderly end of the host.  Exit code. */
int links_ask(enum leave_how how);

/* "now", "+MINUTES", "MINUTES" or "HH:MM" (the next time the local clock, which is at `wall_s`,
 * shows that): seconds from now, or -1. */
int64_t links_delay_s(const char *text, int64_t wall_s);
/* `shutdown [OPTIONS] [TIME] [MESSAGE...]`. */
int links_shutdown(int argc, char **argv);

/* The options of the links: letters may share a dash. */
struct links_option {
    char letter;
    const char *name; /* long, without dashes */
    unsigned bit;     /* 0 = refused, help says why */
    const char *help;
};
/* Takes the options off argv (in any place before "--"); *ret_bits gets their bits, *ret_words the
 * rest.  False: usage error, told, or help was wanted (*ret_code). */
bool links_options(const struct links_option *rows, const char *usage, int argc, char **argv,
                   unsigned *ret_bits, char ***ret_words, int *ret_code);

#endif
