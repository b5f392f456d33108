/* freeze.h - .deploy/freeze on a host: nothing new is released here, until it is gone or over.
 *
 * {"reason","who","since","until": TEXT|null}, written durably by `deployctl freeze` for everybody
 * who releases to this host, from wherever.  A file that somebody wrote by hand, or that is
 * damaged, counts: its first line is the reason, its owner and time are who and since.
 *
 * Ways back are always open: what was good on this host before, what is undone, and what had begun
 * before (its record is here).  Whoever must may say `despite_freeze`, which the journal keeps.
 */
#ifndef DEPLOYCTL_AGENT_FREEZE_H
#define DEPLOYCTL_AGENT_FREEZE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "deployctl/agent/act.h"

enum { FREEZE_BYTES_MAX = 64 * 1024, FREEZE_TEXT_MAX = 200 };

/* New reference: {"reason","who","since","until": TEXT|null,"over": bool}; NULL = not frozen. */
json_t *freeze_read(int meta);

struct freeze_facts {
    bool frozen, over;
    bool old;     /* the request says that it is no new release: rollback, resume */
    bool undo;    /* it brings back what ran before */
    bool despite; /* whoever asks knows of it */
    bool begun;   /* the record of its rollout is here */
    bool good;    /* it was good on this host before */
};
bool freeze_blocks(const struct freeze_facts *facts);
/* Whether the request (stage, switch) of a release may go on; ERR_STATE says who froze the host,
 * why and until when. */
int freeze_check(struct act *act, const char *id, struct err *err);

void freeze_verb(struct act *act);

#endif
