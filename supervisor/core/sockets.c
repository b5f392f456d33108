/* sockets.c - the contract is in sockets.h. */
#include "supervisor/core/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "base/log.h"
#include "io/jsonx.h"
#include "io/listen.h"
#include "supervisor/host/users.h"

static const char prefix[] = "socket.";
static const char *const type_names[] = { "stream", "datagram", "seqpacket" };
static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };

/* "socket.NAME.K", with reuse_port "socket.NAME.K@INSTANCE". */
static void store_name(char *name, size_t size, const struct spec_socket *socket, size_t index,
                       const char *instance)
{
    bool own = socket->reuse_port && instance;

    snprintf(name, size, "%s%s.%zu%s%s", prefix, socket->name, index, own ? "@" : "",
             own ? instance : "");
}

static bool is_socket(const char *name) { return strncmp(name, prefix, sizeof prefix - 1) == 0; }

/* What a descriptor of the store is: the kernel knows it. */
static bool bound_to(int fd, struct addr *ret, int *ret_type)
{
    socklen_t len = sizeof *ret_type;

    memset(ret, 0, sizeof *ret);
    ret->len = sizeof ret->at;
    return getsockname(fd, (struct sockaddr *)&ret->at, &ret->len) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, ret_type, &len) == 0;
}

static bool is_at(int fd, const struct spec_socket *socket, size_t index)
{
    char a[ADDR_TEXT_MAX], b[ADDR_TEXT_MAX];
    struct addr bound;
    int type;

    return bound_to(fd, &bound, &type) && type == types[socket->type] &&
           strcmp(addr_text(&bound, a), addr_text(&socket->addrs[index], b)) == 0;
}

static int fill_options(const struct spec_socket *socket, struct listen_options *ret,
                        struct err *err)
{
    *ret = (struct listen_options){
        .type = types[socket->type],
        .blocking = true,
        .backlog = (int)socket->backlog,
        .reuse_port = socket->reuse_port,
        .mode = socket->mode > 0 ? (mode_t)socket->mode : 0,
        .set_owner = socket->owner != NULL,
    };
    return socket->owner ? users_owner(socket->owner, &ret->uid, &ret->gid, err) : 0;
}

static int open_one(struct core *core, const struct spec_socket *socket, size_t index,
                    const char *instance, struct err *err)
{
    struct listen_options options;
    char name[STORE_NAME_MAX];

    store_name(name, sizeof name, socket, index, instance);
    int rc = fill_options(socket, &options, err);
    if (rc != 0)
        return rc;
    int fd = listen_open(&socket->addrs[index], &options, err);
    return fd < 0 ? fd : core_keep(core, name, fd, err);
}

/* --- another plan --- */

/* A descriptor of the store, and where the plan wants it. */
struct kept {
    char name[STORE_NAME_MAX];
    char wanted[STORE_NAME_MAX]; /* "" = nowhere any more */
    struct addr at;
    char file[ADDR_TEXT_MAX]; /* of a unix socket, else "" */
    int copy;                 /* while names change, else -1 */
};

/* Where a socket of the store belongs now; with reuse_port the instance stays the same. */
static void find_place(const struct plan *plan, int fd, struct kept *kept)
{
    const char *instance = strchr(kept->name, '@');

    for (size_t i = 0; i < plan->nsockets; i++) {
        const struct spec_socket *socket = &plan->sockets[i];

        for (size_t k = 0; k < socket->naddrs; k++) {
            if (socket->reuse_port != (instance != NULL) || !is_at(fd, socket, k))
                continue;
            store_name(kept->wanted, sizeof kept->wanted, socket, k,
                       instance ? instance + 1 : NULL);
            return;
        }
    }
}

static void note_place(int fd, struct kept *kept)
{
    int type;

    if (!bound_to(fd, &kept->at, &type))
        kept->at.at.ss_family = AF_UNSPEC;
    const char *path = listen_path(&kept->at);
    if (path)
        snprintf(kept->file, sizeof kept->file, "%s", path);
}

static in_port_t port_of(const struct addr *addr)
{
    if (addr->at.ss_family == AF_INET)
        return ((const struct sockaddr_in *)&addr->at)->sin_port;
    return addr->at.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&addr->at)->sin6_port : 0;
}

/* 127.0.0.1:80 stands in the way of 0.0.0.0:80, also while somebody else still has a copy of it
 * (the guardian for a moment, a service until it is restarted). */
static void make_way(struct core *core, const struct kept *all, size_t count,
                     const struct addr *addr)
{
    for (size_t i = 0; i < count && port_of(addr) != 0; i++) {
        int fd = store_get(&core->store, all[i].name), type;
        struct addr now;

        if (!all[i].wanted[0] && port_of(&all[i].at) == port_of(addr) &&
            bound_to(fd, &now, &type) && now.len == all[i].at.len &&
            memcmp(&now.at, &all[i].at.at, now.len) == 0)
            shutdown(fd, SHUT_RDWR);
    }
}

static struct kept *look_at_store(const struct core *core, const struct plan *plan,
                                  size_t *ret_count)
{
    struct kept *all = calloc(core->store.count + 1, sizeof *all);

    *ret_count = 0;
    for (size_t i = 0; all && i < core->store.count; i++) {
        const struct store_entry *entry = &core->store.entries[i];

        if (!is_socket(entry->name))
            continue;
        struct kept *kept = &all[(*ret_count)++];
        kept->copy = -1;
        snprintf(kept->name, sizeof kept->name, "%s", entry->name);
        note_place(entry->fd, kept);
        find_place(plan, entry->fd, kept);
    }
    return all;
}

/* Those that have another name now.  All are copied first: one name may be the old one of another.
 */
static void rename_kept(struct core *core, struct kept *all, size_t count)
{
    struct err err = { 0 };

    for (size_t i = 0; i < count; i++)
        if (all[i].wanted[0] && strcmp(all[i].wanted, all[i].name) != 0)
            all[i].copy = fcntl(store_get(&core->store, all[i].name), F_DUPFD_CLOEXEC, 0);
    for (size_t i = 0; i < count; i++)
        if (all[i].copy >= 0 && core_keep(core, all[i].wanted, all[i].copy, &err) != 0)
            log_error("keeping a socket", "name", all[i].wanted, "error", err.text, NULL);
}

static bool is_wanted(const struct kept *all, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(all[i].wanted, name) == 0)
            return true;
    return false;
}

/* `opened`: a bit for each address of each socket, in order. */
static void close_others(struct core *core, const struct plan *plan, const struct kept *all,
                         size_t count, const bool *opened)
{
    for (size_t i = 0; i < count; i++) {
        bool taken = is_wanted(all, count, all[i].name);

        for (size_t s = 0; s < plan->nsockets; s++) {
            for (size_t k = 0; k < plan->sockets[s].naddrs; k++) {
                char name[STORE_NAME_MAX];

                store_name(name, sizeof name, &plan->sockets[s], k, NULL);
                taken |= opened[s * SPEC_LISTEN_MAX + k] && strcmp(name, all[i].name) == 0;
            }
        }
        if (!taken)
            core_drop(core, all[i].name);
        if (all[i].file[0] && !all[i].wanted[0])
            unlink(all[i].file);
    }
}

static void apply_rights(const struct spec_socket *socket, size_t index, int fd,
                         struct err_list *errors)
{
    struct listen_options options;
    struct err err = { 0 };

    if (socket->type != SPEC_SOCKET_DATAGRAM)
        (void)listen(fd, (int)socket->backlog); /* of one that listens: only its backlog */
    int rc = fill_options(socket, &options, &err);
    if (rc == 0 && listen_path(&socket->addrs[index]))
        rc = listen_rights(&socket->addrs[index], &options, &err);
    if (rc != 0)
        err_list_add(errors, "%s:%d: [socket:%s]: %s", socket->file, socket->line, socket->name,
                     err.text);
}

/* Opens what is missing.  A failure counts only when it is the `last` time: before, what is to be
 * closed may be in the way. */
static void open_missing(struct core *core, const struct plan *plan, const struct kept *all,
                         size_t count, bool *opened, bool last, struct err_list *errors)
{
    for (size_t s = 0; s < plan->nsockets; s++) {
        const struct spec_socket *socket = &plan->sockets[s];

        for (size_t k = 0; k < socket->naddrs && !socket->reuse_port; k++) {
            bool *done = &opened[s * SPEC_LISTEN_MAX + k];
            char name[STORE_NAME_MAX];
            struct err err = { 0 };

            store_name(name, sizeof name, socket, k, NULL);
            if (*done || is_wanted(all, count, name))
                continue;
            *done = open_one(core, socket, k, NULL, &err) == 0;
            if (!*done && !last && err.code == ERR_EXISTS)
                make_way(core, all, count, &socket->addrs[k]);
            if (*done || !last)
                continue;
            err_list_add(errors, "%s:%d: [socket:%s] listen: %s", socket->file, socket->line,
                         socket->name, err.text);
            log_error("cannot open socket", "socket", socket->name, "error", err.text, NULL);
        }
    }
}

static void refresh_kept(struct core *core, const struct plan *plan, struct err_list *errors)
{
    for (size_t s = 0; s < plan->nsockets; s++) {
        for (size_t k = 0; k < plan->sockets[s].naddrs; k++) {
            char name[STORE_NAME_MAX];

            store_name(name, sizeof name, &plan->sockets[s], k, NULL);
            int fd = store_get(&core->store, name);
            if (fd >= 0)
                apply_rights(&plan->sockets[s], k, fd, errors);
        }
    }
}

void sockets_configure(struct core *core, const struct plan *plan, struct err_list *errors)
{
    size_t count = 0;
    struct kept *all = look_at_store(core, plan, &count);
    bool *opened = calloc(plan->nsockets * SPEC_LISTEN_MAX + 1, sizeof *opened);

    if (!all || !opened) {
        err_list_add(errors, "no memory for the sockets: they stay as they are");
    } else {
        rename_kept(core, all, count);
        open_missing(core, plan, all, count, opened, false, errors);
        close_others(core, plan, all, count, opened);
        open_missing(core, plan, all, count, opened, true, errors);
        refresh_kept(core, plan, errors);
    }
    free(all);
    free(opened);
}

/* --- for an instance --- */

int sockets_of(struct core *core, const struct spec_service *service, const char *instance,
               int fds[static SOCKETS_PER_SERVICE_MAX], size_t *ret_count, struct buf *names,
               struct err *err)
{
    size_t count = 0;

    for (size_t i = 0; i < service->nsockets; i++) {
        const struct spec_socket *socket = &core->plan->sockets[service->socket_index[i]];

        for (size_t k = 0; k < socket->naddrs; k++) {
            char name[STORE_NAME_MAX];

            store_name(name, sizeof name, socket, k, instance);
            int fd = store_get(&core->store, name);
            if (fd < 0 && open_one(core, socket, k, instance, err) != 0)
                return err_wrap(err, "socket %s", socket->name);
            fd = store_get(&core->store, name);
            if (count >= SOCKETS_PER_SERVICE_MAX)
                return err_set(err, ERR_LIMIT, "more than %d sockets", SOCKETS_PER_SERVICE_MAX);
            fds[count++] = fd;
            if (names)
                buf_printf(names, "%s%s", names->len ? ":" : "", socket->name);
        }
    }
    *ret_count = count;
    return 0;
}

void sockets_let_go_unless(struct core *core, bool (*kept)(void *context, const char *instance),
                           void *context)
{
    for (size_t i = core->store.count; i > 0; i--) {
        const char *name = core->store.entries[i - 1].name, *at = strchr(name, '@');
        char copy[STORE_NAME_MAX];

        if (!is_socket(name) || !at || kept(context, at + 1))
            continue;
        snprintf(copy, sizeof copy, "%s", name);
        core_drop(core, copy);
    }
}

static bool is_another(void *context, const char *instance)
{
    return strcmp(context, instance) != 0;
}

void sockets_let_go(struct core *core, const char *instance)
{
    sockets_let_go_unless(core, is_another, (void *)instance);
}

bool sockets_called(struct core *core, const struct spec_service *service, const char *instance)
{
    int fds[SOCKETS_PER_SERVICE_MAX];
    struct pollfd polled[SOCKETS_PER_SERVICE_MAX];
    struct err err = { 0 };
    size_t count = 0;

    if (sockets_of(core, service, instance, fds, &count, NULL, &err) != 0)
        return false;
    for (size_t i = 0; i < count; i++)
        polled[i] = (struct pollfd){ fds[i], POLLIN, 0 };
    return poll(polled, count, 0) > 0;
}

/* An epoll of its own: several instances may wait for one socket, and libuv would make it
 * non-blocking for those who accept on it. */
struct sockets_watch {
    int epoll;
    struct loop_watch *watch;
    void (*called)(void *context);
    void *context;
};

static void on_called(void *context, unsigned events)
{
    struct sockets_watch *watch = context;

    (void)events;
    loop_watch_set(watch->watch, 0);
    watch->called(watch->context);
}

static int fill_epoll(struct core *core, const struct spec_service *service, const char *instance,
                      int epoll, struct err *err)
{
    int fds[SOCKETS_PER_SERVICE_MAX];
    size_t count = 0;

    if (epoll < 0)
        return err_sys(err, errno, "making an epoll");
    int rc = sockets_of(core, service, instance, fds, &count, NULL, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct epoll_event event = { .events = EPOLLIN };
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) != 0)
            rc = err_sys(err, errno, "watching a socket");
    }
    return rc;
}

struct sockets_watch *sockets_watch_new(struct core *core, const struct spec_service *service,
                                        const char *instance, void (*called)(void *context),
                                        void *context, struct err *err)
{
    AUTO_CLOSE int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct sockets_watch *watch = calloc(1, sizeof *watch);

    if (!watch || fill_epoll(core, service, instance, epoll, err) != 0) {
        if (!watch)
            err_set(err, ERR_MEMORY, "no memory to wait for a connection");
        free(watch);
        return NULL;
    }
    watch->called = called;
    watch->context = context;
    watch->watch = loop_watch_new(core->loop, epoll, on_called, watch, err);
    if (!watch->watch) {
        free(watch);
        return NULL;
    }
    watch->epoll = take_fd(&epoll);
    loop_watch_set(watch->watch, LOOP_READ);
    return watch;
}

void sockets_watch_free(struct sockets_watch *watch)
{
    if (!watch)
        return;
    loop_watch_free(watch->watch);
    close(watch->epoll);
    free(watch);
}

/* --- status --- */

static bool is_open(const struct core *core, const struct spec_socket *socket, size_t index)
{
    char name[STORE_NAME_MAX];

    store_name(name, sizeof name, socket, index, NULL);
    if (!socket->reuse_port)
        return store_get(&core->store, name) >= 0;
    size_t len = strlen(name);
    for (size_t i = 0; i < core->store.count; i++)
        if (strncmp(core->store.entries[i].name, name, len) == 0 &&
            core->store.entries[i].name[len] == '@')
            return true;
    return false;
}

static json_t *users_of(const struct plan *plan, size_t index)
{
    json_t *list = json_array();

    for (size_t i = 0; i < plan->nservices; i++)
        for (size_t k = 0; k < plan->services[i].nsockets; k++)
            if (plan->services[i].socket_index[k] == index)
                json_array_append_new(list, json_string(plan->services[i].name));
    return list;
}

json_t *sockets_view(const struct core *core)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < core->plan->nsockets; i++) {
        const struct spec_socket *socket = &core->plan->sockets[i];
        json_t *row = json_object(), *listen_on = json_array();
        bool all_open = true;

        for (size_t k = 0; k < socket->naddrs; k++) {
            char text[ADDR_TEXT_MAX];

            json_array_append_new(listen_on, json_string(addr_text(&socket->addrs[k], text)));
            all_open &= is_open(core, socket, k);
        }
        jsonx_set_text(row, "name", socket->name);
        json_object_set_new(row, "listen", listen_on);
        jsonx_set_text(row, "type", type_names[socket->type]);
        jsonx_set_bool(row, "reuse_port", socket->reuse_port);
        jsonx_set_bool(row, "open", all_open);
        json_object_set_new(row, "services", users_of(core->plan, i));
        json_array_append_new(rows, row);
    }
    return rows;
}
