/* shell.h - a POSIX sh on a host, over ssh, that does one script after another.
 *
 * `exec sh -s` (or `exec sudo -n sh -s`), whatever the login shell is: sh, csh and fish take these
 * words alike.  The scripts print the lines with the mark that bootstrap_script.h tells of.
 */
#ifndef DEPLOYCTL_WIRE_SHELL_H
#define DEPLOYCTL_WIRE_SHELL_H

#include <stdbool.h>
#include <stddef.h>

#include "deployctl/wire/transport.h"

struct shell;
struct shell_events {
    void (*on_ready)(void *context); /* the script waits for its payload */
    void (*on_drain)(void *context); /* what had to wait is written */
    /* The script is done; `said` is what it printed. */
    void (*on_end)(void *context, int code, const char *said);
    /* Once; not after shell_free(). */
    void (*on_close)(void *context, const struct err *err);
};
enum { SHELL_SAID_MAX = 64 * 1024, SHELL_QUEUE_MAX = 1024 * 1024 };

/* `mark` begins the lines that are for us; as long as no program prints it by chance.  Everything
 * is copied but children. */
struct shell *shell_open(struct loop *loop, const struct transport_target *target, bool sudo,
                         const char *mark, const struct shell_events *events, void *context,
                         struct err *err);
/* One at a time; it has `timeout_ms`, anew after each on_drain. */
bool shell_run(struct shell *shell, const char *script, int64_t timeout_ms);
bool shell_write(struct shell *shell, const void *data, size_t len); /* false: queue full */
size_t shell_queued(const struct shell *shell);
void shell_free(struct shell *shell); /* NULL is fine */

#endif
