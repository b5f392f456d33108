/* access.h - who may do what to which service, decided without looking anything up.
 *
 * Rules only grant: what no rule gives is refused, and no rule takes anything away.  Root and the
 * supervisor's own user stand above them.  The rules are those of [access:NAME], of control_group
 * and of control_read, with users and groups as numbers (host/rights.h makes them).
 */
#ifndef SUPERVISOR_PLAN_ACCESS_H
#define SUPERVISOR_PLAN_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/opt.h"
#include "supervisor/plan/spec.h"

enum access_verb {
    ACCESS_STATUS,
    ACCESS_WHY,
    ACCESS_EVENTS,
    ACCESS_DOCTOR,
    ACCESS_LOGS,
    ACCESS_START,
    ACCESS_STOP,
    ACCESS_RESTART,
    ACCESS_SIGNAL,
    ACCESS_SCALE,
    ACCESS_SWITCH,
    ACCESS_CONFIRM, /* and extending the lease that a confirmation ends */
    ACCESS_ROLLBACK,
    ACCESS_RELOAD,
    ACCESS_SHUTDOWN,
    ACCESS_UPGRADE,
    ACCESS_NVERBS
};
const char *access_verb_name(enum access_verb verb);
/* About the supervisor or the host, not about services: a rule gives it with services = all. */
bool access_verb_is_wide(enum access_verb verb);

/* The verbs of a class, as bits 1 << verb: "read", "operate" (and read), "all"; 0 = no such class.
 */
uint32_t access_class(const char *name);
/* Verbs and classes by name, as bits.  ERR_INVALID names the first unknown one and the nearest
 * right name. */
int access_parse(const struct opt_names *names, uint32_t *ret, struct err *err);
/* "start, stop", in the order of the enum; "nothing". */
void access_print(uint32_t verbs, struct buf *out);

/* In the place of a service: the supervisor itself, or all services there are and will be. */
#define ACCESS_HOST SIZE_MAX

struct access_rule {
    const char *title, *file; /* "access:deploy", "control_group": for messages */
    int line;                 /* 0: [supervisor] control_group or control_read */
    bool everybody;           /* whoever can connect */
    const uid_t *uids;
    size_t nuids;
    const gid_t *gids;
    size_t ngids;
    uint32_t verbs;
    const bool *covers; /* by index of plan->services; NULL = all */
};
struct access_rules {
    const struct access_rule *list;
    size_t count;
};
struct access_peer {
    bool absolute; /* root, or the supervisor's own user */
    uid_t uid;
    gid_t gid;
    const gid_t *groups; /* supplementary */
    size_t ngroups;
};

/* Whether the rule is about this peer at all. */
bool access_applies(const struct access_rule *rule, const struct access_peer *peer);
/* What the peer may do to this service (an index of the plan that the rules are of, or
 * ACCESS_HOST), as bits. */
uint32_t access_verbs(const struct access_rules *rules, const struct access_peer *peer,
                      size_t service);
/* *ret_by (may be NULL): the first rule that gives it; NULL for those who need none. */
bool access_decide(const struct access_rules *rules, const struct access_peer *peer,
                   enum access_verb verb, size_t service, const struct access_rule **ret_by);
/* Whether there is any service, or the host, that the peer may do this to. */
bool access_any(const struct access_rules *rules, const struct access_peer *peer,
                enum access_verb verb);

/* Why not, and what would help: "uid 1002 may not stop web; [access:deploy] at FILE:12 allows
 * start, restart: ...".  `name` of the service, NULL = the host. */
void access_explain(const struct access_rules *rules, const struct access_peer *peer,
                    enum access_verb verb, size_t service, const char *name, struct buf *out);

#endif
