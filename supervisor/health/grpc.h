/* grpc.h - one health check over gRPC: grpc.health.v1.Health/Check, on HTTP/2 without TLS.
 *
 * Pure: bytes in, bytes and a verdict out; one connection, one stream, everything bounded.
 */
#ifndef SUPERVISOR_HEALTH_GRPC_H
#define SUPERVISOR_HEALTH_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum {
    GRPC_FRAME_MAX = 16384,       /* what we allow in one frame, as every client must */
    GRPC_ANSWER_MAX = 128 * 1024, /* of all that we read of one answer */
    GRPC_HEADERS_MAX = 16384,
    GRPC_MESSAGE_MAX = 1024,
    GRPC_SERVICE_MAX = 255,
    GRPC_TEXT_MAX = 128,
};

enum grpc_verdict {
    GRPC_MORE, /* go on reading */
    GRPC_OK,   /* SERVING */
    GRPC_BAD,
};

struct grpc {
    struct buf in, block, message;
    size_t total;
    bool settled;    /* their SETTINGS have come, which must be the first */
    bool in_block;   /* CONTINUATION is the only thing that may follow */
    bool block_ends; /* the stream ends with this block */
    int http_status; /* 0 = not told yet */
    int grpc_status; /* -1 = not told yet */
    char words[64];  /* grpc-message */
};

/* Writes what opens the conversation into `out`; service: "" = the server as a whole. */
void grpc_begin(struct grpc *grpc, const char *authority, const char *service, struct buf *out);
void grpc_done(struct grpc *grpc);
/* Takes what was read; what has to be answered is appended to `out` (its owner bounds it).  With a
 * verdict `text` says "SERVING", "NOT_SERVING", "gRPC status 12 (UNIMPLEMENTED)", ... and `out`
 * has the farewell; nothing is fed after it. */
enum grpc_verdict grpc_feed(struct grpc *grpc, const void *data, size_t len, struct buf *out,
                            char text[static GRPC_TEXT_MAX]);

#endif
