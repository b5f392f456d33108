/* probe_lookup.c - the contract is in probe_lookup.h. */
#include "supervisor/health/probe_lookup.h"

#include <errno.h>
#include <netdb.h>
#include <nss.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Belongs to the thread until it is done, and may outlive the probe. */
struct query {
    struct probe_lookup *owner; /* only touched on the loop */
    char *host, *port;
    struct addr addrs[PROBE_LOOKUP_ADDRS];
    size_t count;
    int rc, sys;
};

struct probe_lookup {
    struct loop *loop;
    const char *host, *port;
    void (*answered)(void *context);
    void *context;
    struct loop_work *work;
    struct addr addrs[PROBE_LOOKUP_ADDRS];
    size_t count;
    bool asked;
    int64_t asked_ms;
    const char *error;
};

static void resolve(void *context)
{
    struct query *query = context;
    const struct addrinfo hints = { .ai_family = AF_UNSPEC,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_NUMERICSERV };
    struct addrinfo *found = NULL;

#ifdef ACCOUNTS_FILES /* a static build: what these two need is in it, other modules are not */
    __nss_configure_lookup("hosts", "files dns");
#endif
    query->rc = getaddrinfo(query->host, query->port, &hints, &found);
    query->sys = errno;
    if (query->rc != 0)
        return;
    for (struct addrinfo *at = found; at && query->count < PROBE_LOOKUP_ADDRS; at = at->ai_next) {
        struct addr *addr = &query->addrs[query->count];
        if (at->ai_addrlen > sizeof addr->at)
            continue;
        memcpy(&addr->at, at->ai_addr, at->ai_addrlen);
        addr->len = at->ai_addrlen;
        query->count++;
    }
    freeaddrinfo(found);
}

static void resolved(void *context)
{
    struct query *query = context;
    struct probe_lookup *lookup = query->owner;

    lookup->work = NULL;
    lookup->error = query->rc == EAI_SYSTEM ? strerror(query->sys)
                    : query->rc != 0        ? gai_strerror(query->rc)
                                            : "it has no address";
    if (query->count > 0) {
        memcpy(lookup->addrs, query->addrs, sizeof lookup->addrs);
        lookup->count = query->count;
    }
    lookup->answered(lookup->context);
}

static void release(void *context)
{
    struct query *query = context;

    free(query->host);
    free(query->port);
    free(query);
}

static void start(struct probe_lookup *lookup)
{
    struct query *query = calloc(1, sizeof *query);

    lookup->asked = true;
    lookup->asked_ms = loop_now_ms(lookup->loop);
    lookup->error = "no memory";
    if (!query)
        return;
    query->owner = lookup;
    query->host = strdup(lookup->host);
    query->port = strdup(lookup->port);
    if (query->host && query->port)
        lookup->work = loop_work_start(lookup->loop, resolve, resolved, release, query);
    if (!lookup->work)
        release(query);
}

struct probe_lookup *probe_lookup_new(struct loop *loop, const char *host, const char *port,
                                      void (*answered)(void *context), void *context)
{
    struct probe_lookup *lookup = calloc(1, sizeof *lookup);

    if (lookup)
        *lookup = (struct probe_lookup){
            .loop = loop, .host = host, .port = port, .answered = answered, .context = context
        };
    return lookup;
}

void probe_lookup_free(struct probe_lookup *lookup)
{
    if (!lookup)
        return;
    loop_work_cancel(lookup->work);
    free(lookup);
}

bool probe_lookup_refresh(struct probe_lookup *lookup, bool last_attempt_failed)
{
    if (lookup->work)
        return true;
    int64_t age = loop_now_ms(lookup->loop) - lookup->asked_ms;
    bool due = lookup->count > 0 ? last_attempt_failed && age >= PROBE_LOOKUP_KEEP_MS
                                 : age >= PROBE_LOOKUP_RETRY_MS;
    if (!lookup->asked || due)
        start(lookup);
    return lookup->work != NULL;
}

size_t probe_lookup_count(const struct probe_lookup *lookup) { return lookup->count; }

const struct addr *probe_lookup_addrs(const struct probe_lookup *lookup) { return lookup->addrs; }

const char *probe_lookup_error(const struct probe_lookup *lookup) { return lookup->error; }
