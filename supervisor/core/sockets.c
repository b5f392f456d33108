/* sockets.c - the contract is in sockets.h. */
#include "supervisor/core/sockets.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "io/listen.h"
#include "supervisor/core/users.h"

static void store_name(char *name, size_t size, const struct spec_socket *socket, size_t index)
{
    snprintf(name, size, "socket.%s.%zu", socket->name, index);
}

/* The address is part of what is kept, so that a changed `listen` is recognised: the kernel knows
 * it. */
static bool same_address(int fd, const struct addr *addr)
{
    struct addr bound;
    char a[ADDR_TEXT_MAX], b[ADDR_TEXT_MAX];

    memset(&bound, 0, sizeof bound);
    bound.len = sizeof bound.at;
    if (getsockname(fd, (struct sockaddr *)&bound.at, &bound.len) != 0)
        return false;
    return strcmp(addr_text(&bound, a), addr_text(addr, b)) == 0;
}

static int open_one(struct core *core, const struct spec_socket *socket, size_t index,
                    struct err *err)
{
    struct listen_options options = {
        .backlog = (int)socket->backlog,
        .reuse_port = socket->reuse_port,
        .mode = socket->mode > 0 ? (mode_t)socket->mode : 0,
    };
    char name[STORE_NAME_MAX];

    store_name(name, sizeof name, socket, index);
    int there = store_get(&core->store, name);
    if (there >= 0 && same_address(there, &socket->addrs[index]))
        return 0;
    if (there >= 0)
        core_drop(core, name);
    if (socket->owner) {
        options.set_owner = true;
        int rc = users_owner(socket->owner, &options.uid, &options.gid, err);
        if (rc != 0)
            return rc;
    }
    int fd = listen_open(&socket->addrs[index], &options, err);
    return fd < 0 ? fd : core_keep(core, name, fd, err);
}

static bool named_in(const struct plan *plan, const char *entry)
{
    char name[STORE_NAME_MAX];

    for (size_t i = 0; i < plan->nsockets; i++) {
        for (size_t k = 0; k < plan->sockets[i].naddrs; k++) {
            store_name(name, sizeof name, &plan->sockets[i], k);
            if (strcmp(name, entry) == 0)
                return true;
        }
    }
    return false;
}

static void close_others(struct core *core, const struct plan *plan)
{
    for (size_t i = core->store.count; i > 0; i--) {
        char name[STORE_NAME_MAX];

        snprintf(name, sizeof name, "%s", core->store.entries[i - 1].name);
        if (strncmp(name, "socket.", 7) == 0 && !named_in(plan, name))
            core_drop(core, name);
    }
}

void sockets_configure(struct core *core, const struct plan *plan, struct err_list *errors)
{
    close_others(core, plan);
    for (size_t i = 0; i < plan->nsockets; i++) {
        const struct spec_socket *socket = &plan->sockets[i];

        for (size_t k = 0; k < socket->naddrs; k++) {
            struct err err = { 0 };

            if (open_one(core, socket, k, &err) == 0)
                continue;
            err_list_add(errors, "%s:%d: [socket:%s] listen: %s", socket->file, socket->line,
                         socket->name, err.text);
            log_error("cannot open socket", "socket", socket->name, "error", err.text, NULL);
        }
    }
}

int sockets_of(struct core *core, const struct spec_service *service,
               int fds[static SOCKETS_PER_SERVICE_MAX], size_t *ret_count, struct buf *names,
               struct err *err)
{
    size_t count = 0;

    for (size_t i = 0; i < service->nsockets; i++) {
        const struct spec_socket *socket = &core->plan->sockets[service->socket_index[i]];

        for (size_t k = 0; k < socket->naddrs; k++) {
            char name[STORE_NAME_MAX];

            store_name(name, sizeof name, socket, k);
            int fd = store_get(&core->store, name);
            if (fd < 0 && open_one(core, socket, k, err) != 0)
                return err_wrap(err, "socket %s", socket->name);
            fd = store_get(&core->store, name);
            if (count >= SOCKETS_PER_SERVICE_MAX)
                return err_set(err, ERR_LIMIT, "more than %d sockets", SOCKETS_PER_SERVICE_MAX);
            fds[count++] = fd;
            buf_printf(names, "%s%s", names->len ? ":" : "", socket->name);
        }
    }
    *ret_count = count;
    return 0;
}
