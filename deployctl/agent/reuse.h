/* reuse.h - contents of a new release that this host has in an older one. */
#ifndef DEPLOYCTL_AGENT_REUSE_H
#define DEPLOYCTL_AGENT_REUSE_H

#include "base/err.h"
#include "deployctl/agent/host.h"
#include "deployctl/agent/stage.h"

enum {
    REUSE_RELEASES_MAX = 5, /* the newest ones are looked at */
    REUSE_ALIKE_MAX = 256,  /* searches through a whole release for a similar name */
};

struct reuse_source {
    const char *path; /* in the older release; NULL = none found */
    uint32_t release; /* index into the names below */
    unsigned char digest[MANIFEST_DIGEST_BYTES];
};
/* A file of an older release that is probably alike. */
struct reuse_base {
    const char *path; /* NULL = none */
    uint32_t release;
    bool same_path;
};
struct reuse {
    struct arena arena;
    struct reuse_source *sources; /* per entry, of leaders */
    struct reuse_base *bases;     /* per entry, of large ones */
    char ids[REUSE_RELEASES_MAX][MANIFEST_ID_MAX];
    size_t nids, searched;
};

/* Sets stage->leader and stage->content (all missing) and looks for sources in the manifests. */
struct reuse *reuse_find(struct stage *stage, const struct host_releases *list, struct err *err);
void reuse_free(struct reuse *reuse);
/* Puts what was found into the tree, each content proved by its digest; what is not what it should
 * be stays missing. */
int reuse_place(struct stage *stage, struct reuse *reuse, struct err *err);

#endif
