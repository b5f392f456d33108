/* stage.h - one release on its way in: unpacked under releases/.incoming/ID, sealed into
 * releases/ID.
 *
 * begin and seal are long and run on a thread of the pool; receive runs on the loop.  Never two of
 * them at once.  Whatever fails, the incoming folder is removed at once, which frees the disk.
 */
#ifndef DEPLOYCTL_AGENT_STAGE_H
#define DEPLOYCTL_AGENT_STAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "deployctl/agent/host.h"
#include "deployctl/agent/tree.h"
#include "deployctl/agent/trust.h"
#include "deployctl/plan/manifest.h"
#include "deployctl/wire/digest.h"
#include "deployctl/wire/squeeze.h"

enum {
    STAGE_MANIFEST_MAX = 64 * 1024 * 1024, /* compressed */
    STAGE_SHARED_MAX = 256,
    STAGE_RESERVE_PERCENT = 5, /* of space and inodes stay free */
};

/* What the request asks for; texts are owned. */
struct stage_want {
    char id[MANIFEST_ID_MAX];
    char hex[MANIFEST_HEX_MAX]; /* digest of the whole manifest */
    int64_t entries, bytes;
    char *shared_dirs[STAGE_SHARED_MAX], *shared_files[STAGE_SHARED_MAX];
    size_t nshared_dirs, nshared_files;
    bool fsync_each, any_links, keep_modes;
    bool set_owner;
    uid_t uid;
    gid_t gid;
};

enum stage_content { STAGE_NOT_A_FILE, STAGE_MISSING, STAGE_HERE };
struct stage {
    struct host *host; /* = &view */
    struct host
        view; /* the descriptors are borrowed; the cache is ours, for a thread works on it */
    struct stage_want want;
    json_t *about;               /* what comes with it (about.h); owned, NULL = nothing */
    char signer[TRUST_NAME_MAX]; /* set by begin; "" = nobody that is known here */
    struct buf packed;           /* the manifest as it arrives */
    struct manifest manifest;
    /* per entry: */
    uint32_t *leader;              /* lowest entry with the same content; itself if it is that */
    unsigned char *content;        /* enum stage_content, of leaders */
    bool have;                     /* the release is here already */
    uint32_t *missing;             /* leaders to be sent, ascending */
    size_t nmissing, next_missing; /* how many of them are complete */
    uint64_t missing_bytes;
    struct tree tree;
    struct digest *digest;
    struct unsqueeze *unsqueeze;
    int file;                /* being received; -1 = none */
    uint64_t got;            /* bytes of it */
    struct err failed;       /* the first failure; code ERR_NONE if none */
    uint64_t received_bytes; /* on the wire */
    int64_t started_ms;
    double seconds;         /* set by seal */
    size_t reused, damaged; /* contents from releases here; of them not what they should be */
};

/* Reads and checks the request; users and groups are looked up.  The manifest comes after. */
struct stage *stage_new(const struct host *host, const json_t *request, struct err *err);
/* Closes everything; removes the incoming folder unless it was sealed. */
void stage_free(struct stage *stage);

int stage_manifest_piece(struct stage *stage, const void *data, size_t len, struct err *err);
/* The manifest is complete: cleans up what earlier ones left, checks names, space and inodes, makes
 * the tree, takes what is here already.  Sets have, or missing. */
int stage_begin(struct stage *stage, struct err *err);
/* One data frame's payload.  A failure is kept in stage->failed and told at seal. */
void stage_receive(struct stage *stage, const char *payload, size_t len);
/* Completes, proves, makes durable, renames into place (seal.c). */
int stage_seal(struct stage *stage, struct err *err);
/* Removes the incoming folder. */
void stage_drop(struct stage *stage);

#endif
