/* rights.c - the contract is in rights.h. */
#include "supervisor/host/rights.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/host/users.h"

enum { BUILT_IN = 2 };

struct making {
    struct rights *rights;
    struct err_list *problems;
    struct access_rule *rules; /* the list that is made */
};

static struct access_rule *add(struct making *m, const char *title)
{
    struct access_rule *rule = &m->rules[m->rights->rules.count++];

    *rule = (struct access_rule){ .title = title, .file = "" };
    return rule;
}

static void add_built_in(struct making *m, const struct spec_supervisor *settings)
{
    gid_t *gid = arena_array(&m->rights->arena, 1, sizeof *gid);
    struct err err = { 0 };

    if (gid && settings->control_group && users_group(settings->control_group, gid, &err) == 0) {
        struct access_rule *rule = add(m, "control_group");
        rule->gids = gid;
        rule->ngids = 1;
        rule->verbs = access_class("operate");
    }
    if (settings->control_read == SPEC_READ_ALL) {
        struct access_rule *rule = add(m, "control_read");
        rule->everybody = true;
        rule->verbs = access_class("read");
    }
}

static void tell(struct making *m, const struct spec_access *spec, int line, const char *key,
                 const struct err *err)
{
    if (!spec->helper)
        err_list_add(m->problems, "%s:%d: [%s] %s: %s", spec->file, line, spec->title, key,
                     err->text);
}

static void find_users(struct making *m, const struct spec_access *spec, struct access_rule *rule)
{
    uid_t *uids = arena_array(&m->rights->arena, spec->users.count + 1, sizeof *uids);

    for (size_t i = 0; uids && i < spec->users.count; i++) {
        struct err err = { 0 };
        gid_t gid;
        if (users_owner(spec->users.names[i], &uids[rule->nuids], &gid, &err) == 0)
            rule->nuids++;
        else
            tell(m, spec, spec->users_line, "users", &err);
    }
    rule->uids = uids;
}

static void find_groups(struct making *m, const struct spec_access *spec, struct access_rule *rule)
{
    gid_t *gids = arena_array(&m->rights->arena, spec->groups.count + 1, sizeof *gids);

    for (size_t i = 0; gids && i < spec->groups.count; i++) {
        struct err err = { 0 };
        if (users_group(spec->groups.names[i], &gids[rule->ngids], &err) == 0)
            rule->ngids++;
        else
            tell(m, spec, spec->groups_line, "groups", &err);
    }
    rule->gids = gids;
}

static void add_section(struct making *m, const struct spec_access *spec)
{
    struct access_rule *rule = add(m, spec->title);

    rule->file = spec->file;
    rule->line = spec->line;
    rule->verbs = spec->verb_bits;
    rule->covers = spec->covers;
    find_users(m, spec, rule);
    find_groups(m, spec, rule);
}

struct rights *rights_make(const struct plan *plan, struct err_list *problems)
{
    struct rights *rights = calloc(1, sizeof *rights);
    struct making m = { .rights = rights, .problems = problems };

    if (!rights)
        return NULL;
    arena_init(&rights->arena);
    m.rules = arena_array(&rights->arena, plan->naccess + BUILT_IN, sizeof *m.rules);
    if (m.rules) {
        rights->rules.list = m.rules;
        add_built_in(&m, &plan->supervisor);
        for (size_t i = 0; i < plan->naccess; i++)
            add_section(&m, &plan->access[i]);
    }
    if (!rights->arena.failed)
        return rights;
    rights_free(rights);
    return NULL;
}

/* --- telling --- */

static uint32_t wide_verbs(void)
{
    uint32_t ret = 0;

    for (int v = 0; v < ACCESS_NVERBS; v++)
        if (access_verb_is_wide((enum access_verb)v))
            ret |= 1u << v;
    return ret;
}

/* The services that are like the first in `of`, on one line. */
static void print_like(const struct plan *plan, const uint32_t *of, size_t first, struct buf *out)
{
    const char *between = ": ";

    buf_puts(out, "  ");
    access_print(of[first], out);
    for (size_t i = first; i < plan->nservices; i++) {
        if (of[i] != of[first])
            continue;
        buf_printf(out, "%s%s", between, plan->services[i].name);
        between = ", ";
    }
    buf_putc(out, '\n');
}

static bool is_first(const uint32_t *of, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (of[i] == of[index])
            return false;
    return true;
}

static void print_peer(const struct rights *rights, const struct plan *plan,
                       const struct access_peer *peer, uint32_t *of, struct buf *out)
{
    uint32_t host = access_verbs(&rights->rules, peer, ACCESS_HOST) & wide_verbs();

    for (size_t i = 0; i < plan->nservices; i++)
        of[i] = access_verbs(&rights->rules, peer, i) & ~wide_verbs();
    for (size_t i = 0; i < plan->nservices; i++)
        if (is_first(of, i))
            print_like(plan, of, i, out);
    if (host) {
        buf_puts(out, "  ");
        access_print(host, out);
        buf_puts(out, ": the supervisor itself\n");
    }
}

int rights_print(const struct rights *rights, const struct plan *plan, const char *user,
                 struct buf *out, struct err *err)
{
    uint32_t *of = calloc(plan->nservices + 1, sizeof *of);
    struct users_identity who;
    struct arena arena;

    arena_init(&arena);
    int rc = of ? users_look(user, &arena, &who, err)
                : err_set(err, ERR_MEMORY, "no memory for the rights");
    if (rc == 0) {
        const struct access_peer peer = { .absolute = who.uid == 0 || who.uid == geteuid(),
                                          .uid = who.uid,
                                          .gid = who.gid,
                                          .groups = who.groups,
                                          .ngroups = who.ngroups };
        buf_printf(out, "%s (uid %u):\n", user, (unsigned)who.uid);
        print_peer(rights, plan, &peer, of, out);
    }
    arena_done(&arena);
    free(of);
    return rc;
}

void rights_free(struct rights *rights)
{
    if (!rights)
        return;
    arena_done(&rights->arena);
    free(rights);
}
