/* sock_diag.c - the contract is in sock_diag.h. */
#include "deployctl/agent/sock_diag.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/auto.h"

enum { LISTENERS_MAX = 65536, FAMILY_MAX = 256, ANSWER_BYTES = 64 * 1024 };

struct listener {
    uint32_t inode;
    uint16_t port;
};
struct listeners {
    struct listener *at; /* owned */
    size_t count, room;
};

/* --- the kernel's list ------------------------------------------------------------------------ */

typedef int found_fn(void *context, const struct inet_diag_msg *socket);

/* A program for the kernel: passes sockets whose own port is this one. */
struct filter {
    struct inet_diag_bc_op least, least_port, most, most_port;
};
struct request {
    struct nlmsghdr header;
    struct inet_diag_req_v2 what;
    struct nlattr attribute;
    struct filter filter;
};

/* A jump behind the end by 4 means no, one to the end itself yes. */
static void make_filter(struct request *request, uint16_t port)
{
    enum { STEP = 2 * sizeof(struct inet_diag_bc_op), BEYOND = 4 };
    request->attribute.nla_type = INET_DIAG_REQ_BYTECODE;
    request->attribute.nla_len = sizeof request->attribute + sizeof request->filter;
    request->filter = (struct filter){
        .least = { INET_DIAG_BC_S_GE, STEP, 2 * STEP + BEYOND },
        .least_port = { .no = port },
        .most = { INET_DIAG_BC_S_LE, STEP, STEP + BEYOND },
        .most_port = { .no = port },
    };
}

/* port 0 = all. */
static int ask(int fd, int family, unsigned states, uint16_t port, struct err *err)
{
    struct request request = { 0 };
    request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.header.nlmsg_len = offsetof(struct request, attribute);
    request.what.sdiag_family = (uint8_t)family;
    request.what.sdiag_protocol = IPPROTO_TCP;
    request.what.idiag_states = states;
    if (port != 0) {
        make_filter(&request, port);
        request.header.nlmsg_len = sizeof request;
    }
    return send(fd, &request, request.header.nlmsg_len, 0) < 0
               ? err_sys(err, errno, "asking the kernel for its sockets")
               : 0;
}

/* 1: the list is at its end. */
static int take(const char *answer, size_t len, found_fn *fn, void *context, struct err *err)
{
    const struct nlmsghdr *at = (const void *)answer;
    for (int left = (int)len; NLMSG_OK(at, (unsigned)left); at = NLMSG_NEXT(at, left)) {
        if (at->nlmsg_type == NLMSG_DONE)
            return 1;
        if (at->nlmsg_type == NLMSG_ERROR) {
            const struct nlmsgerr *fault = NLMSG_DATA(at);
            return err_sys(err, -fault->error, "listing the kernel's sockets");
        }
        if (at->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
            continue;
        int rc = fn(context, NLMSG_DATA(at));
        if (rc < 0)
            return err_set(err, ERR_MEMORY, "no memory for the kernel's list of sockets");
    }
    return 0;
}

static int list_family(int fd, int family, unsigned states, uint16_t port, found_fn *fn,
                       void *context, struct err *err)
{
    AUTO_FREE char *answer = malloc(ANSWER_BYTES);
    if (answer == NULL)
        return err_set(err, ERR_MEMORY, "no memory for the kernel's list of sockets");
    int rc = ask(fd, family, states, port, err);
    while (rc == 0) {
        ssize_t len = recv(fd, answer, ANSWER_BYTES, 0);
        if (len < 0 && errno == EINTR)
            continue;
        rc = len < 0 ? err_sys(err, errno, "reading the kernel's list of sockets")
                     : take(answer, (size_t)len, fn, context, err);
    }
    return rc < 0 ? rc : 0;
}

static int list(unsigned states, uint16_t port, found_fn *fn, void *context, struct err *err)
{
    AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return err_sys(err, errno, "asking the kernel for its sockets");
    int rc = list_family(fd, AF_INET, states, port, fn, context, err);
    return rc < 0 ? rc : list_family(fd, AF_INET6, states, port, fn, context, err);
}

static int count_one(void *context, const struct inet_diag_msg *socket)
{
    (void)socket;
    ++*(int64_t *)context;
    return 0;
}

int64_t sock_diag_established(const struct sock_diag_ports *ports, struct err *err)
{
    int64_t count = 0;
    for (size_t i = 0; i < ports->count; i++)
        if (list(1U << TCP_ESTABLISHED, ports->at[i], count_one, &count, err) < 0)
            return err->code;
    return count;
}

/* --- whose they are --------------------------------------------------------------------------- */

void sock_diag_add(struct sock_diag_ports *ports, uint16_t port)
{
    for (size_t i = 0; i < ports->count; i++)
        if (ports->at[i] == port)
            return;
    if (ports->count < SOCK_DIAG_PORTS_MAX)
        ports->at[ports->count++] = port;
}

static int keep_listener(void *context, const struct inet_diag_msg *socket)
{
    struct listeners *all = context;
    if (all->count == LISTENERS_MAX)
        return 0;
    if (all->count == all->room) {
        size_t room = all->room == 0 ? FAMILY_MAX : 2 * all->room;
        struct listener *more = realloc(all->at, room * sizeof *more);
        if (more == NULL)
            return -1;
        all->at = more;
        all->room = room;
    }
    all->at[all->count++] = (struct listener){ socket->idiag_inode, ntohs(socket->id.idiag_sport) };
    return 0;
}

/* The sockets among the descriptors of one process. */
static int match(pid_t pid, const struct listeners *all, struct sock_diag_ports *ports,
                 struct err *err)
{
    char path[64], target[64];
    const struct dirent *entry;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    if (dir == NULL && (errno == EACCES || errno == EPERM))
        return err_set(err, ERR_DENIED, "what process %d has open may not be seen", (int)pid);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        uint32_t inode;
        ssize_t len = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        target[len > 0 ? len : 0] = '\0';
        if (sscanf(target, "socket:[%" SCNu32 "]", &inode) != 1)
            continue;
        for (size_t i = 0; i < all->count; i++)
            if (all->at[i].inode == inode)
                sock_diag_add(ports, all->at[i].port);
    }
    if (dir != NULL)
        closedir(dir);
    return 0;
}

/* Adds the children of a process behind those that are known; those of its threads count too. */
static void add_children(pid_t pid, pid_t family[static FAMILY_MAX], size_t *count)
{
    char path[64];
    const struct dirent *entry;
    int child;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", (int)pid, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
        while (file != NULL && *count < FAMILY_MAX && fscanf(file, "%d", &child) == 1)
            family[(*count)++] = child;
        if (file != NULL)
            fclose(file);
    }
    if (dir != NULL)
        closedir(dir);
}

int sock_diag_listening(pid_t pid, struct sock_diag_ports *ports, struct err *err)
{
    struct listeners all = { 0 };
    pid_t family[FAMILY_MAX] = { pid };
    size_t count = 1;
    int rc = list(1U << TCP_LISTEN, 0, keep_listener, &all, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        add_children(family[i], family, &count);
        rc = match(family[i], &all, ports, err);
    }
    free(all.at);
    return rc;
}
