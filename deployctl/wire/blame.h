/* blame.h - why a connection ended, in a sentence with a remedy.  Pure: texts in, sentence out. */
#ifndef DEPLOYCTL_WIRE_BLAME_H
#define DEPLOYCTL_WIRE_BLAME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct blame {
    const char *host;        /* name for messages */
    const char *login;       /* the ssh command a person can repeat: "ssh -l deploy web1" */
    const char *remote_path; /* of deployctl on the host */
    const char *noise;       /* what came on stdout instead of the magic */
    const char *errors;      /* what came on stderr */
    const char *reason;      /* why the stream closed */
    bool local, opened;      /* opened: the magic was seen */
    bool timed_out;          /* our own deadline for the magic passed */
    int64_t timeout_ms;
    bool exited; /* of its own accord; else `code` is a signal, or 0 when it still lives */
    int code;
};
/* Always sets *err to something that is not ERR_NONE. */
void blame_close(const struct blame *blame, struct err *err);

#endif
