/* target.h - a log that is no file: datagrams to syslog or to journald, or the supervisor's own
 * output.
 *
 * One line is one message.  A target cannot be cut back as a file can, so a SIGKILL between sending
 * and committing doubles at most one message; none is lost.
 *
 *   syslog    as glibc writes it to /dev/log (RFC 3164): "<30>Nov 28 04:58:50 web-0: line"
 *   journald  the native protocol: MESSAGE, PRIORITY, SYSLOG_FACILITY, SYSLOG_IDENTIFIER,
 *             SUPERVISOR_INSTANCE, SUPERVISOR_OUTPUT; too large for a datagram: in a sealed memfd
 *   console   our own standard output, or error for the errors, in log_format: raw as it is, plain
 *             "TIME web:0 LINE", json an object; never waits for the reader
 *
 * Facility daemon; priority info for standard output, err for standard error, or what "<N>" at the
 * beginning of a line says (sd-daemon), which is then left out.
 */
#ifndef SUPERVISOR_LOGGER_TARGET_H
#define SUPERVISOR_LOGGER_TARGET_H

#include <stddef.h>
#include <stdint.h>

#include "supervisor/ledger/streams.h"

enum {
    TARGET_LINE_MAX = STREAMS_BATCH_MAX, /* a longer line is several messages */
    TARGET_SYSLOG_MAX = 8000, /* likewise for syslog, whose receivers have smaller limits */
    TARGET_CONSOLE_MAX = STREAMS_BATCH_MAX / 2, /* whose json may be six times as long */
    TARGET_HEAD_MAX = 1024,
    TARGET_OUT_MAX = TARGET_HEAD_MAX + 4 * TARGET_LINE_MAX,
};

struct target {
    enum streams_target kind;   /* STREAMS_FILE: none */
    enum streams_format format; /* of the console */
    int fd;                     /* owned; connected socket, -1 = none */
};

void target_init(struct target *target);
void target_close(struct target *target); /* keeps the kind */
/* Connects to the socket unless it is; for the console `path` is "stdout" or "stderr".  0 or
 * -errno.
 */
int target_open(struct target *target, const char *path);
/* How much of `len` bytes the next message is: a line with its newline, or a piece of a long one.
 */
size_t target_piece(const struct target *target, const char *data, size_t len);
/* Puts the message of one line (its newline may be there) into `out`, which has TARGET_OUT_MAX
 * bytes.  Returns its length. */
size_t target_message(const struct target *target, const char *instance, const char *output,
                      int64_t wall_us, const char *line, size_t len, char *out);
/* Sends one message: 0, -EAGAIN when the receiver has no room now, or another -errno (then it is
 * closed). */
int target_send(struct target *target, const char *message, size_t len);

#endif
