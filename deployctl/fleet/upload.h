/* upload.h - one release on its way to one host: manifest, missing contents, seal. */
#ifndef DEPLOYCTL_FLEET_UPLOAD_H
#define DEPLOYCTL_FLEET_UPLOAD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/fleet/session.h"
#include "deployctl/fleet/source.h"
#include "deployctl/fleet/turns.h"
#include "io/loop.h"

enum { UPLOAD_PIECE_BYTES = 128 * 1024, UPLOAD_AHEAD = 8 };
enum { UPLOAD_STAGE_MS = 600000, UPLOAD_SEAL_MS = 1800000 };

struct upload;
struct upload_result {
    bool had;          /* the release was there already */
    uint64_t bytes;    /* raw bytes that travelled: of whole contents, and what is new in others */
    uint64_t contents; /* how many */
};
struct upload_order {
    struct session *session;
    struct source *source;
    struct turns *turns; /* NULL = as fast as it goes */
    const char *id, *token;
    /* Called once when the host has taken the room for what it lacks (not when it lacks nothing);
     * no content is sent before upload_go.  NULL: nobody wants to know. */
    void (*on_reserved)(void *context);
    json_t *stage; /* stolen: {"shared_dirs","shared_files","durability","owner","links","modes"} */
    void (*behind_seal)(void *context); /* NULL, or called once, when `seal` has been asked for */
};
/* fn is called once, from the loop; err NULL = the release is complete and durable on the host.
 * When the session breaks fn is not called: its owner frees the upload. */
struct upload *upload_start(struct loop *loop, const struct upload_order *order,
                            void (*fn)(void *context, const struct upload_result *result,
                                       const struct err *err),
                            void *context, struct err *err);
bool upload_held(const struct upload *upload); /* it waits for upload_go */
void upload_go(struct upload *upload);
void upload_room(struct upload *upload); /* the session's queue has drained */
void upload_progress(const struct upload *upload, uint64_t *ret_done, uint64_t *ret_total);
void upload_free(struct upload *upload); /* NULL is fine; requests under way are forgotten */

#endif
