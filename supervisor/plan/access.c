/* access.c - the contract is in access.h. */
#include "supervisor/plan/access.h"

#include <string.h>

#include "base/near.h"

enum { READ = 1, OPERATE = 2, OWN = 4, WIDE = 8 };

static const struct {
    const char *name;
    int traits;
    const char *words; /* "... may not" them; the service follows */
} verbs[ACCESS_NVERBS] = {
    /* clang-format off */
    [ACCESS_STATUS]   = { "status",   READ,        "see the status of" },
    [ACCESS_WHY]      = { "why",      READ,        "ask why of" },
    [ACCESS_EVENTS]   = { "events",   READ,        "see the events of" },
    [ACCESS_DOCTOR]   = { "doctor",   READ | WIDE, "ask doctor" },
    [ACCESS_LOGS]     = { "logs",     OPERATE,     "see the logs of" },
    [ACCESS_START]    = { "start",    OPERATE,     "start" },
    [ACCESS_STOP]     = { "stop",     OPERATE,     "stop" },
    [ACCESS_RESTART]  = { "restart",  OPERATE,     "restart" },
    [ACCESS_SIGNAL]   = { "signal",   OPERATE,     "signal" },
    [ACCESS_SCALE]    = { "scale",    OPERATE,     "scale" },
    [ACCESS_SWITCH]   = { "switch",   OPERATE,     "switch" },
    [ACCESS_CONFIRM]  = { "confirm",  OPERATE,     "confirm" },
    [ACCESS_ROLLBACK] = { "rollback", OPERATE,     "roll back" },
    [ACCESS_RELOAD]   = { "reload",   OWN | WIDE,  "reload" },
    [ACCESS_SHUTDOWN] = { "shutdown", OWN | WIDE,  "shut down" },
    [ACCESS_UPGRADE]  = { "upgrade",  OWN | WIDE,  "upgrade" },
    /* clang-format on */
};
static const struct {
    const char *name;
    int traits;
} classes[] = {
    { "read", READ },
    { "operate", READ | OPERATE },
    { "all", READ | OPERATE | OWN },
};
enum { NCLASSES = sizeof classes / sizeof *classes };

const char *access_verb_name(enum access_verb verb) { return verbs[verb].name; }

bool access_verb_is_wide(enum access_verb verb) { return verbs[verb].traits & WIDE; }

uint32_t access_class(const char *name)
{
    uint32_t ret = 0;

    for (size_t c = 0; c < NCLASSES; c++)
        for (int v = 0; v < ACCESS_NVERBS; v++)
            if (strcmp(classes[c].name, name) == 0 && verbs[v].traits & classes[c].traits)
                ret |= 1u << v;
    return ret;
}

static const char *word_at(size_t i, const void *context)
{
    (void)context;
    return i < NCLASSES ? classes[i].name : verbs[i - NCLASSES].name;
}

static int parse_one(const char *name, uint32_t *ret, struct err *err)
{
    *ret = access_class(name);
    for (int v = 0; v < ACCESS_NVERBS; v++)
        if (strcmp(verbs[v].name, name) == 0)
            *ret = 1u << v;
    if (*ret)
        return 0;
    const char *near = near_name(name, NCLASSES + ACCESS_NVERBS, word_at, NULL);
    if (near)
        return err_set(err, ERR_INVALID, "\"%.64s\" is no command, did you mean \"%s\"?", name,
                       near);
    return err_set(err, ERR_INVALID,
                   "\"%.64s\" is no command, try read, operate, all, or some of status, why, "
                   "events, logs, start, stop, restart",
                   name);
}

int access_parse(const struct opt_names *names, uint32_t *ret, struct err *err)
{
    uint32_t all = 0, one;

    for (size_t i = 0; i < names->count; i++) {
        int rc = parse_one(names->names[i], &one, err);
        if (rc != 0)
            return rc;
        all |= one;
    }
    *ret = all;
    return 0;
}

void access_print(uint32_t bits, struct buf *out)
{
    const char *between = "";

    for (int v = 0; v < ACCESS_NVERBS; v++) {
        if (!(bits & 1u << v))
            continue;
        buf_printf(out, "%s%s", between, verbs[v].name);
        between = ", ";
    }
    if (!bits)
        buf_puts(out, "nothing");
}

/* --- deciding --- */

static bool has_group(const struct access_peer *peer, gid_t gid)
{
    bool found = peer->gid == gid;

    for (size_t i = 0; i < peer->ngroups && !found; i++)
        found = peer->groups[i] == gid;
    return found;
}

bool access_applies(const struct access_rule *rule, const struct access_peer *peer)
{
    bool applies = rule->everybody;

    for (size_t i = 0; i < rule->nuids && !applies; i++)
        applies = rule->uids[i] == peer->uid;
    for (size_t i = 0; i < rule->ngids && !applies; i++)
        applies = has_group(peer, rule->gids[i]);
    return applies;
}

static bool is_about(const struct access_rule *rule, size_t service)
{
    return !rule->covers || (service != ACCESS_HOST && rule->covers[service]);
}

uint32_t access_verbs(const struct access_rules *rules, const struct access_peer *peer,
                      size_t service)
{
    uint32_t ret = peer->absolute ? access_class("all") : 0;

    for (size_t i = 0; i < rules->count; i++)
        if (is_about(&rules->list[i], service) && access_applies(&rules->list[i], peer))
            ret |= rules->list[i].verbs;
    return ret;
}

bool access_decide(const struct access_rules *rules, const struct access_peer *peer,
                   enum access_verb verb, size_t service, const struct access_rule **ret_by)
{
    const struct access_rule *by = NULL;

    for (size_t i = 0; i < rules->count && !by && !peer->absolute; i++) {
        const struct access_rule *rule = &rules->list[i];
        if (rule->verbs & 1u << verb && is_about(rule, service) && access_applies(rule, peer))
            by = rule;
    }
    if (ret_by)
        *ret_by = by;
    return by || peer->absolute;
}

bool access_any(const struct access_rules *rules, const struct access_peer *peer,
                enum access_verb verb)
{
    bool ret = peer->absolute;

    for (size_t i = 0; i < rules->count && !ret; i++)
        ret = rules->list[i].verbs & 1u << verb && access_applies(&rules->list[i], peer);
    return ret;
}

/* --- telling --- */

/* The rule that a change of the least is needed in: one that is about the service, if any. */
static const struct access_rule *nearest_rule(const struct access_rules *rules,
                                              const struct access_peer *peer, size_t service)
{
    const struct access_rule *ret = NULL;

    for (size_t i = 0; i < rules->count; i++) {
        const struct access_rule *rule = &rules->list[i];
        if (!access_applies(rule, peer))
            continue;
        if (!ret || (is_about(rule, service) && !is_about(ret, service)))
            ret = rule;
    }
    return ret;
}

static void put_rule(const struct access_rule *rule, struct buf *out)
{
    if (rule->line)
        buf_printf(out, "[%s] at %s:%d", rule->title, rule->file, rule->line);
    else
        buf_puts(out, rule->title);
}

void access_explain(const struct access_rules *rules, const struct access_peer *peer,
                    enum access_verb verb, size_t service, const char *name, struct buf *out)
{
    const struct access_rule *rule = nearest_rule(rules, peer, service);

    buf_printf(out, "uid %u may not %s", (unsigned)peer->uid, verbs[verb].words);
    if (!access_verb_is_wide(verb))
        buf_printf(out, " %s", name ? name : "any service");
    buf_puts(out, "; ");
    if (!rule) {
        buf_puts(out, verbs[verb].traits & OWN
                          ? "root and the supervisor's own user may, and whom an [access:NAME] "
                            "section allows it"
                          : "root and the supervisor's own user may, members of control_group, and "
                            "whom an [access:NAME] section allows it");
        return;
    }
    put_rule(rule, out);
    if (is_about(rule, service)) {
        uint32_t told = access_verbs(rules, peer, service);
        for (int v = 0; v < ACCESS_NVERBS && service != ACCESS_HOST; v++)
            if (access_verb_is_wide((enum access_verb)v))
                told &= ~(1u << v);
        buf_puts(out, " allows: ");
        access_print(told, out);
        buf_printf(out,
                   rule->line ? "; add %s to its verbs and reload"
                              : "; an [access:NAME] section with verbs = %s allows more",
                   verbs[verb].name);
    } else if (name) {
        buf_printf(out, " is for other services; add %s to its services and reload", name);
    } else if (access_verb_is_wide(verb)) {
        buf_puts(out, " is for some services only, this needs services = all");
    } else {
        buf_printf(out, " does not allow it; add %s to its verbs and reload", verbs[verb].name);
    }
}
