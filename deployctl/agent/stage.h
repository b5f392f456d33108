/* stage.h - one release on its way in: unpacked under releases/.incoming/ID, sealed into
 * releases/ID.
 *
 * begin, chunks and seal are long and run on a thread of the pool; receive runs on the loop, whole
 * contents also beside chunks.  Whatever fails, the incoming folder is removed at once, which frees
 * the disk; what a cut connection leaves is kept for the next try (parts.h).
 *
 * A large content may come as a program (plan/delta.h): its bytes are written where they belong as
 * they arrive, what is copied from bases (bases.h) is noted and done by seal, which compares the
 * digest.  A program that did not make the right content is no failure: it is asked for again.
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
#include "deployctl/agent/idle.h"
#include "deployctl/agent/tree.h"
#include "deployctl/agent/trust.h"
#include "deployctl/plan/delta.h"
#include "deployctl/plan/manifest.h"
#include "deployctl/wire/digest.h"
#include "deployctl/wire/squeeze.h"

enum {
    STAGE_MANIFEST_MAX = 64 * 1024 * 1024, /* compressed */
    STAGE_SHARED_MAX = 256,
    STAGE_RESERVE_PERCENT = 5, /* of space and inodes stay free */
    STAGE_COPIES_MAX = 1000000,
};

/* What the request asks for; texts are owned. */
struct stage_want {
    char id[MANIFEST_ID_MAX];
    char hex[MANIFEST_HEX_MAX]; /* digest of the whole manifest */
    int64_t entries, bytes;
    char *shared_dirs[STAGE_SHARED_MAX], *shared_files[STAGE_SHARED_MAX];
    size_t nshared_dirs, nshared_files;
    bool fsync_each, any_links, keep_modes;
    bool chunks; /* the other side knows programs */
    bool set_owner;
    uid_t uid;
    gid_t gid;
};

/* COMING: its program is complete, and not carried out yet. */
enum stage_content { STAGE_NOT_A_FILE, STAGE_MISSING, STAGE_COMING, STAGE_HERE };
struct stage_copy { /* a step of a program */
    uint32_t entry;
    uint64_t offset; /* in the new content */
    uint64_t index, count;
};
struct bases;
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
    uint32_t *leader;       /* lowest entry with the same content; itself if it is that */
    unsigned char *content; /* enum stage_content, of leaders */
    bool have;              /* the release is here already */
    uint32_t *missing;      /* leaders to be sent, ascending */
    size_t nmissing, nreceived;
    uint64_t missing_bytes;
    struct tree tree;
    struct digest *digest;
    struct unsqueeze *unsqueeze;
    int file;           /* being received; -1 = none */
    uint32_t receiving; /* whose content it is */
    uint64_t got;       /* bytes of it */
    bool program;       /* it comes as one */
    bool joined;        /* contents come as one stream, */
    uint32_t head;      /* before each its entry: */
    unsigned nhead;     /* bytes of it that are there */
    struct delta_reader reader;
    struct bases *bases;       /* NULL = none */
    bool bases_busy;           /* a thread works on them */
    struct stage_copy *copies; /* owned */
    size_t ncopies, copies_cap;
    uint32_t *again; /* owned: programs did not make these; missing once more */
    size_t nagain;
    struct err failed;       /* the first failure; code ERR_NONE if none */
    uint64_t received_bytes; /* on the wire */
    int64_t started_ms;
    double seconds;           /* set by seal */
    size_t reused, damaged;   /* contents from releases here; of them not what they should be */
    size_t resumed;           /* contents from a staging that was cut */
    int reserve;              /* a nameless file that keeps room for what is missing; -1 = none */
    bool cheap;               /* a content that is here needs no room once more */
    uint64_t reserved, ahead; /* its size; what has been given back and is not used yet */
    struct idle idle;         /* of the loop's thread, while contents arrive */
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
/* Completes, proves, makes durable, renames into place (seal.c); or sets `again`. */
int stage_seal(struct stage *stage, struct err *err);
/* Removes the incoming folder, when it is not to be gone on with. */
void stage_drop(struct stage *stage);

#endif
