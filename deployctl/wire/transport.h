/* transport.h - one connection to one host: the agent's stdin and stdout, whatever carries them.
 *
 * ssh: `ssh -T -o BatchMode=yes ... -- HOST 'exec REMOTE_PATH agent PATH'` in a session of its own.
 * local: the agent is spawned directly from our own binary; the same code with no ssh.
 * Frames in and out, magic and noise handled, ssh's failures turned into sentences with a remedy.
 */
#ifndef DEPLOYCTL_WIRE_TRANSPORT_H
#define DEPLOYCTL_WIRE_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/wire/frame.h"
#include "io/loop.h"

struct children; /* deployctl/wire/children.h */
struct transport;
struct transport_target {
    struct children *children; /* required: the loop's one, which reaps ssh or the agent */
    const char *host;          /* name for messages */
    bool local;
    const char *local_socket;          /* local: the supervisor's control socket ("" = default) */
    const char *address, *user, *port; /* ssh; user and port may be NULL */
    const char *ssh_config, *const *ssh_options; /* NULL or NULL-terminated "-o" values */
    int64_t connect_timeout_ms;
    const char *remote_path; /* of deployctl on the host */
    const char *path;        /* folder of the app on the host */
};
struct transport_events {
    void (*on_open)(void *context); /* the magic was seen */
    void (*on_frame)(void *context, const struct frame *frame);
    void (*on_drain)(void *context);
    /* Once; err tells why and what to do (unreachable, host key, authentication, no deployctl
     * there, other output than ours...).  err->sys is EAGAIN where an sshd turned us away before
     * the login, as it does when there are too many at once.  Not called after transport_free. */
    void (*on_close)(void *context, const struct err *err);
};
struct transport *transport_open(struct loop *loop, const struct transport_target *target,
                                 const struct transport_events *events, void *context,
                                 struct err *err);
bool transport_send(struct transport *transport, enum frame_type type, const void *payload,
                    size_t len); /* false: queue full (TRANSPORT_QUEUE_MAX), nothing was sent */
size_t transport_queued(const struct transport *transport);
uint64_t transport_sent_bytes(const struct transport *transport);
uint64_t transport_received_bytes(const struct transport *transport);
/* Ends the conversation: end of file to the agent, then TERM after 2 s, KILL after 5 s. */
void transport_free(struct transport *transport);
enum { TRANSPORT_QUEUE_MAX = 32 * 1024 * 1024 };

#endif
