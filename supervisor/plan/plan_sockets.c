/* plan_sockets.c - the contract is in plan_build.h. */
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

static void fill_socket(struct plan_build *build, const struct plan_section *section,
                        struct spec_socket *to)
{
    char **names = plan_fill_names(build, section->file);
    struct err err;

    to->name = section->name;
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
}

/* Two sockets on one address: the second bind would fail. */
static void check_addresses(struct plan_build *build)
{
    struct plan *plan = build->plan;

    for (size_t i = 0; i < plan->nsockets; i++)
        for (size_t a = 0; a < plan->sockets[i].naddrs; a++)
            for (size_t k = 0, end = i * SPEC_LISTEN_MAX + a; k < end; k++) {
                const struct spec_socket *other = &plan->sockets[k / SPEC_LISTEN_MAX];
                const struct addr *addr = &plan->sockets[i].addrs[a];
                const struct addr *taken = &other->addrs[k % SPEC_LISTEN_MAX];
                char text[ADDR_TEXT_MAX];
                if (k % SPEC_LISTEN_MAX >= other->naddrs || taken->len != addr->len ||
                    memcmp(&taken->at, &addr->at, addr->len) != 0)
                    continue;
                for (size_t s = 0; s < build->nsections; s++)
                    if (build->sections[s].kind == PLAN_KIND_SOCKET && !build->sections[s].again &&
                        strcmp(build->sections[s].name, plan->sockets[i].name) == 0) {
                        const struct plan_key *key =
                            plan_sections_key(&build->sections[s], "listen");
                        plan_build_error(build, key->file, key->line, build->sections[s].title,
                                         key->key, "%s is taken by [socket:%s] at %s:%d",
                                         addr_text(addr, text), other->name, other->file,
                                         other->line);
                    }
            }
}

void plan_sockets_fill(struct plan_build *build)
{
    size_t count = plan_sections_count(build, PLAN_KIND_SOCKET);
    struct plan *plan = build->plan;

    plan->sockets = plan_build_keep(build, count, sizeof(*plan->sockets));
    for (size_t i = 0; plan->sockets && i < build->nsections; i++) {
        const struct plan_section *section = &build->sections[i];
        struct spec_socket again = { 0 };
        if (section->kind == PLAN_KIND_SOCKET)
            fill_socket(build, section, section->again ? &again : &plan->sockets[plan->nsockets]);
        plan->nsockets += section->kind == PLAN_KIND_SOCKET && !section->again;
    }
    check_addresses(build);
}
