/* verify.h - whether a release that lies here is still what its manifest says, and signed by
 * somebody this host trusts (trust.h).
 *
 * Reads every content, so it takes as long as the disk does: call it on a thread.  Links to shared
 * folders and files belong to a release and are no difference.
 */
#ifndef DEPLOYCTL_AGENT_VERIFY_H
#define DEPLOYCTL_AGENT_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/agent/host.h"
#include "deployctl/agent/trust.h"

enum { VERIFY_LISTED_MAX = 1000 };
enum verify_kind { VERIFY_MISSING, VERIFY_CHANGED, VERIFY_ADDED, VERIFY_NKINDS };
struct verify_difference {
    enum verify_kind kind;
    const char *how; /* "has other contents"; static */
    char *path;      /* a folder that was added stands for all in it */
};
struct verify_report {
    size_t most;                  /* how many are listed at most; set by the caller */
    size_t counts[VERIFY_NKINDS]; /* of all */
    size_t entries;               /* of the manifest */
    char digest[MANIFEST_HEX_MAX];
    char signer[TRUST_NAME_MAX];  /* whose signature it has; "" = nobody's that is known here */
    struct err trust;             /* why this host does not take it; ERR_NONE = it does */
    struct verify_difference *at; /* owned; the first `count`, added ones last */
    size_t count;
};

const char *verify_kind_name(enum verify_kind kind); /* "missing", "changed", "added" */
/* Compares all of it.  0 also when it differs; an error when it cannot be compared: not here, or
 * without a manifest that fits its name.  Also after a failure verify_report_done is due. */
int verify_compare(const struct host *host, const char *id, struct verify_report *report,
                   struct err *err);
void verify_report_done(struct verify_report *report);

/* What a switch wants to know: ERR_CORRUPT names the first entry that is missing or changed, how,
 * and the remedy; ERR_DENIED: not signed as this host wants it.  What was added does not matter. */
int verify_release(const struct host *host, const char *id, struct err *err);
/* `deployctl agent verify DIR`: DIR is a release, or the folder of an app (then the one that
 * current leads to).  Tells on stdout what differs.  Returns the exit code: 0 nothing (or only
 * additions, unless they count), 1 it differs or is not trusted, 2 it cannot be compared. */
int verify_command(const char *dir, bool additions_count);

#endif
