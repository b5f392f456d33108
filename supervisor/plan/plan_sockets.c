/* plan_sockets.c - the contract is in plan_build.h. */
#include <stdlib.h>
#include <string.h>

#include "supervisor/plan/options.h"
#include "supervisor/plan/plan_build.h"

static void fill_listen(struct plan_build *build, const struct plan_section *section,
                        struct spec_socket *to)
{
    const struct plan_key *key = plan_sections_key(section, "listen");
    struct err err;

    if (!key || to->listen.count == 0) {
        if (!key || !*key->value)
            plan_build_error(build, key ? key->file : section->file,
                             key ? key->line : section->line, section->title, "listen",
                             "is missing, try listen = 0.0.0.0:8080");
        return;
    }
    if (to->listen.count > SPEC_LISTEN_MAX)
        plan_build_error(build, key->file, key->line, section->title, key->key,
                         "more than %d addresses, try two sections", SPEC_LISTEN_MAX);
    for (size_t i = 0; i < to->listen.count && i < SPEC_LISTEN_MAX; i++) {
        if (addr_needs_lookup(to->listen.names[i]))
            plan_build_error(build, key->file, key->line, section->title, key->key,
                             "\"%.64s\" has a host name, try its numeric address",
                             to->listen.names[i]);
        else if (addr_parse(to->listen.names[i], &to->addrs[to->naddrs], &err) < 0)
            plan_build_error(build, key->file, key->line, section->title, key->key, "%s", err.text);
        else
            to->naddrs++;
    }
}

static void check_kind(struct plan_build *build, const struct plan_section *section,
                       const struct spec_socket *to)
{
    bool unix_only = to->type == SPEC_SOCKET_SEQPACKET;

    for (size_t i = 0; i < to->naddrs; i++) {
        bool is_unix = to->addrs[i].at.ss_family == AF_UNIX;
        const char *key = unix_only && !is_unix       ? "type"
                          : to->reuse_port && is_unix ? "reuse_port"
                                                      : NULL;
        const struct plan_key *at = key ? plan_sections_key(section, key) : NULL;
        if (!at)
            continue;
        plan_build_error(build, at->file, at->line, section->title, key,
                         unix_only ? "seqpacket wants the path of a unix socket, not %s"
                                   : "has no meaning for the unix socket %s",
                         to->listen.names[i]);
        return;
    }
}

static void fill_socket(struct plan_build *build, const struct plan_section *section,
                        struct spec_socket *to)
{
    char **names = plan_fill_names(build, section->file);
    struct err err;

    to->name = plan_build_text(build, section->name);
    to->file = plan_build_path(build, section->file);
    to->line = section->line;
    plan_fill_check_name(build, section);
    if (!names || opt_defaults(&options_socket, &build->plan->arena, to, &err) < 0) {
        build->no_memory = true;
        return;
    }
    for (size_t i = 0; i < section->nkeys; i++)
        plan_fill_key(build, section, &options_socket, &section->keys[i], names, to);
    fill_listen(build, section, to);
    check_kind(build, section, to);
}

/* One address of one socket. */
struct binding {
    const struct addr *addr;
    const struct spec_socket *socket;
    const struct plan_section *section;
    size_t order;
};

/* UDP and TCP have ports of their own, the kinds of unix sockets share their files. */
static int compare_places(const struct binding *x, const struct binding *y)
{
    if (x->addr->len != y->addr->len)
        return x->addr->len < y->addr->len ? -1 : 1;
    int order = memcmp(&x->addr->at, &y->addr->at, x->addr->len);
    return order || x->addr->at.ss_family == AF_UNIX ? order : x->socket->type - y->socket->type;
}

static int by_address(const void *a, const void *b)
{
    const struct binding *x = a, *y = b;
    int order = compare_places(x, y);

    return order ? order : x->order < y->order ? -1 : 1;
}

/* Two sockets on one address: the second bind would fail. */
static void check_addresses(struct plan_build *build, struct binding *bindings, size_t count)
{
    char text[ADDR_TEXT_MAX];

    if (count)
        qsort(bindings, count, sizeof(*bindings), by_address);
    for (size_t i = 1; i < count; i++) {
        const struct binding *first = &bindings[i - 1], *next = &bindings[i];
        if (compare_places(first, next) != 0)
            continue;
        const struct plan_key *key = plan_sections_key(next->section, "listen");
        plan_build_error(build, key->file, key->line, next->section->title, key->key,
                         "%s is taken by [socket:%s] at %s:%d", addr_text(next->addr, text),
                         first->socket->name, first->socket->file, first->socket->line);
    }
}

void plan_sockets_fill(struct plan_build *build)
{
    size_t count = plan_sections_count(build, PLAN_KIND_SOCKET), nbindings = 0;
    struct plan *plan = build->plan;
    struct binding *bindings =
        plan_build_scratch(build, count * SPEC_LISTEN_MAX, sizeof(*bindings));

    plan->sockets = plan_build_keep(build, count, sizeof(*plan->sockets));
    for (size_t i = 0; bindings && plan->sockets && i < build->nsections; i++) {
        const struct plan_section *section = &build->sections[i];
        struct spec_socket again = { 0 }, *to = &again;
        if (section->kind != PLAN_KIND_SOCKET)
            continue;
        if (!section->again)
            to = &plan->sockets[plan->nsockets++];
        fill_socket(build, section, to);
        for (size_t a = 0; !section->again && a < to->naddrs; a++, nbindings++)
            bindings[nbindings] = (struct binding){ &to->addrs[a], to, section, nbindings };
    }
    check_addresses(build, bindings, nbindings);
}
