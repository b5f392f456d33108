/* plan_digest.c - the contract is in plan.h. */
#include <string.h>

#include "supervisor/plan/instance.h"
#include "supervisor/plan/options.h"
#include "supervisor/plan/plan.h"

enum { DIGEST_BITS = 48 };

/* FNV-1a: tells settings apart, protects nothing. */
struct digest {
    uint64_t value;
};

static void add_bytes(struct digest *digest, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < len; i++)
        digest->value = (digest->value ^ at[i]) * 0x100000001b3ULL;
}

static void add_text(struct digest *digest, const char *text)
{
    if (text)
        add_bytes(digest, text, strlen(text) + 1);
    else
        add_bytes(digest, "\1", 2); /* no text of a file has this byte */
}

static void add_number(struct digest *digest, int64_t number)
{
    add_bytes(digest, &number, sizeof number);
}

static void add_environment(struct digest *digest, const struct plan *plan)
{
    for (size_t i = 0; plan->environment[i]; i++)
        add_text(digest, plan->environment[i]);
    add_text(digest, NULL);
}

/* An unchanged text may mean something else. */
static void add_meaning(struct digest *digest, const struct plan *plan,
                        const struct spec_service *service, const char *text)
{
    if (!strchr(text, '%'))
        return;
    if (instance_mentions(text, "here"))
        add_text(digest, service->here);
    if (instance_mentions(text, "group_name"))
        add_text(digest, service->group);
    if (instance_mentions(text, "numprocs"))
        add_number(digest, service->numprocs);
    if (instance_mentions(text, "host_node_name"))
        add_text(digest, plan->host);
    if (strstr(text, "%(ENV_"))
        add_environment(digest, plan);
}

static void add_sockets(struct digest *digest, const struct plan *plan,
                        const struct spec_service *service)
{
    for (size_t i = 0; i < service->nsockets; i++) {
        const struct spec_socket *socket = &plan->sockets[service->socket_index[i]];

        for (size_t k = 0; k < socket->listen.count; k++)
            add_text(digest, socket->listen.names[k]);
        add_number(digest, socket->type);
        add_number(digest, socket->reuse_port);
    }
}

static void add_row(struct digest *digest, const struct plan *plan,
                    const struct spec_service *service, size_t row)
{
    const char *key = options_service.rows[row].key, *text = spec_text(service, row);
    bool program = service->kind == SPEC_PROGRAM;
    bool is_log = strcmp(key, "stdout_logfile") == 0 ||
                  (strcmp(key, "stderr_logfile") == 0 && !service->set->redirect_stderr);

    if (text) {
        add_text(digest, key);
        add_text(digest, text);
        add_meaning(digest, plan, service, text);
        if (is_log)
            add_number(digest, strcmp(key, "stdout_logfile") == 0 && service->out.apart);
    } else if (is_log) {
        add_text(digest, plan->supervisor.log_dir);
    }
    if (strcmp(key, "environment") == 0) {
        add_environment(digest, plan);
        add_text(digest, program ? service->group : NULL);
    } else if (strcmp(key, "sockets") == 0) {
        add_sockets(digest, plan, service);
    }
}

uint64_t plan_digest(const struct plan *plan, const struct spec_service *service)
{
    const uint64_t low = (1ULL << DIGEST_BITS) - 1;
    struct digest version = { 0xcbf29ce484222325ULL }, digest = version;

    add_text(&version, VERSION);
    for (size_t i = 0; i < options_service.count; i++)
        if (!(options_service.rows[i].flags & OPTIONS_LIVE))
            add_row(&digest, plan, service, i);
    return (version.value << DIGEST_BITS) | ((digest.value ^ (digest.value >> DIGEST_BITS)) & low);
}

bool plan_digest_differs(uint64_t runs_with, uint64_t planned)
{
    return runs_with != planned && runs_with >> DIGEST_BITS == planned >> DIGEST_BITS;
}
