/* store.c - the contract is in store.h.
 *
 * The inventory is text: "store 1 COUNT", then "FD NAME" a line.  A message is its op in one byte
 * and its text, without terminator; a PUT carries one descriptor.
 */
#include "supervisor/ledger/store.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "base/clock.h"

enum {
    INVENTORY_VERSION = 1,
    INVENTORY_MAX = 16 * 1024 * 1024,
    SEND_RETRY_MS = 2,
};

void store_init(struct store *store) { *store = (struct store){ 0 }; }

void store_done(struct store *store)
{
    for (size_t i = 0; i < store->count; i++) {
        close(store->entries[i].fd);
        free(store->entries[i].name);
    }
    free(store->entries);
    store_init(store);
}

/* Index of the name, or where it would go. */
static size_t search(const struct store *store, const char *name, bool *ret_found)
{
    size_t low = 0, high = store->count;
    *ret_found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(store->entries[middle].name, name);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool name_allowed(const char *name)
{
    return *name && strlen(name) < STORE_NAME_MAX && !strchr(name, '\n');
}

static int grow(struct store *store, struct err *err)
{
    if (store->count < store->cap)
        return 0;
    if (store->count >= STORE_ENTRIES_MAX)
        return err_set(err, ERR_LIMIT, "more than %d descriptors", STORE_ENTRIES_MAX);
    size_t cap = store->cap ? store->cap * 2 : 32;
    struct store_entry *entries = reallocarray(store->entries, cap, sizeof(*entries));
    if (!entries)
        return err_set(err, ERR_MEMORY, "no memory for another descriptor's name");
    store->entries = entries;
    store->cap = cap;
    return 0;
}

/* Numbers up to that of the inventory are needed for it and for the standard streams. */
static int move_up(int *fd, struct err *err)
{
    if (*fd > STORE_INVENTORY_FD)
        return 0;
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, STORE_INVENTORY_FD + 1);
    if (moved < 0)
        return err_sys(err, errno, "moving a descriptor");
    close(*fd);
    *fd = moved;
    return 0;
}

/* Takes *own over only when that succeeds. */
static int put(struct store *store, const char *name, int *own, struct err *err)
{
    bool found;
    if (*own < 0 || !name_allowed(name))
        return err_set(err, ERR_INVALID, "\"%.60s\" is not a name for a descriptor", name);
    int rc = move_up(own, err);
    if (rc < 0)
        return err_wrap(err, "keeping %s", name);
    size_t at = search(store, name, &found);
    if (found) {
        close(store->entries[at].fd);
        store->entries[at].fd = take_fd(own);
        return 0;
    }
    rc = grow(store, err);
    if (rc < 0)
        return err_wrap(err, "keeping %s", name);
    char *copy = strdup(name);
    if (!copy)
        return err_set(err, ERR_MEMORY, "keeping %s: no memory", name);
    memmove(&store->entries[at + 1], &store->entries[at],
            (store->count - at) * sizeof(*store->entries));
    store->entries[at] = (struct store_entry){ copy, take_fd(own) };
    store->count++;
    return 0;
}

int store_put(struct store *store, const char *name, int fd, struct err *err)
{
    AUTO_CLOSE int own = fd;
    return put(store, name, &own, err);
}

int store_get(const struct store *store, const char *name)
{
    bool found;
    size_t at = search(store, name, &found);
    return found ? store->entries[at].fd : -1;
}

int store_take(struct store *store, const char *name)
{
    bool found;
    size_t at = search(store, name, &found);
    if (!found)
        return -1;
    int fd = store->entries[at].fd;
    free(store->entries[at].name);
    store->count--;
    memmove(&store->entries[at], &store->entries[at + 1],
            (store->count - at) * sizeof(*store->entries));
    return fd;
}

/* Without closing anything. */
static void forget_all(struct store *store)
{
    for (size_t i = 0; i < store->count; i++)
        free(store->entries[i].name);
    free(store->entries);
    store_init(store);
}

void store_drop(struct store *store, const char *name)
{
    int fd = store_take(store, name);
    if (fd >= 0)
        close(fd);
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static void inventory_text(const struct store *store, bool (*wanted)(const char *name),
                           struct buf *text)
{
    size_t count = 0;
    for (size_t i = 0; i < store->count; i++)
        count += !wanted || wanted(store->entries[i].name);
    buf_printf(text, "store %d %zu\n", INVENTORY_VERSION, count);
    for (size_t i = 0; i < store->count; i++)
        if (!wanted || wanted(store->entries[i].name))
            buf_printf(text, "%d %s\n", store->entries[i].fd, store->entries[i].name);
}

int store_inventory(const struct store *store, bool (*wanted)(const char *name), int *ret_fd,
                    struct err *err)
{
    struct buf text;
    AUTO_CLOSE int fd = memfd_create("supervisor-inventory", MFD_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno, "creating the inventory");
    buf_init(&text, INVENTORY_MAX);
    inventory_text(store, wanted, &text);
    int rc = 0;
    if (text.failed)
        rc = err_set(err, ERR_MEMORY, "no memory for the inventory");
    else if (write_all(fd, text.data, text.len) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        rc = err_sys(err, errno, "writing the inventory");
    else
        *ret_fd = take_fd(&fd);
    buf_done(&text);
    return rc;
}

struct finder {
    int (*find)(void *context, int number); /* NULL = they have their numbers */
    void *context;
};

/* Reads "FD NAME"; the descriptor must be open and is ours from here on. */
static int inherit_line(char *line, const struct finder *finder, struct store *store,
                        struct err *err)
{
    char *end;
    errno = 0;
    long number = strtol(line, &end, 10);
    if (end == line || *end != ' ' || errno || number <= STORE_INVENTORY_FD || number > INT32_MAX ||
        !name_allowed(end + 1))
        return err_set(err, ERR_CORRUPT, "inventory: \"%.80s\" is not \"NUMBER NAME\"", line);
    int own = finder->find ? finder->find(finder->context, (int)number) : (int)number;
    if (own < 0)
        return 0;
    if (fcntl(own, F_SETFD, FD_CLOEXEC) < 0)
        return err_sys(err, errno, "inventory: descriptor %d (%s)", own, end + 1);
    return put(store, end + 1, &own, err);
}

static int inherit_text(char *text, const struct finder *finder, struct store *store,
                        struct err *err)
{
    int version = 0;
    size_t count = 0, lines = 0;
    char *rest = text, *line = strsep(&rest, "\n");
    if (sscanf(line, "store %d %zu", &version, &count) != 2 || version != INVENTORY_VERSION)
        return err_set(err, ERR_CORRUPT, "this is not an inventory of version %d",
                       INVENTORY_VERSION);
    for (; (line = strsep(&rest, "\n")) && *line; lines++) {
        int rc = inherit_line(line, finder, store, err);
        if (rc < 0)
            return rc;
    }
    if (lines != count)
        return err_set(err, ERR_CORRUPT, "inventory: %zu entries instead of %zu", lines, count);
    return 0;
}

static int read_inventory(int fd, const struct finder *finder, struct store *ret, struct err *err)
{
    struct buf text;
    struct store store;
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return err_sys(err, errno, "no inventory at descriptor %d", fd);
    buf_init(&text, INVENTORY_MAX);
    store_init(&store);
    int got = buf_read_fd(&text, fd);
    int rc = got < 0 ? err_sys(err, -got, "reading the inventory") : 0;
    if (rc == 0) {
        buf_putc(&text, '\n'); /* also makes data non-NULL */
        rc = text.failed ? err_set(err, ERR_LIMIT, "the inventory is too large")
                         : inherit_text(text.data, finder, &store, err);
    }
    buf_done(&text);
    if (rc < 0)
        forget_all(&store);
    else
        *ret = store;
    return rc;
}

int store_inherit(int fd, struct store *ret, struct err *err)
{
    const struct finder as_they_are = { 0 };
    int rc = read_inventory(fd, &as_they_are, ret, err);
    if (rc == 0)
        close(fd);
    return rc;
}

int store_restore(int fd, int (*find)(void *context, int number), void *context, struct store *ret,
                  struct err *err)
{
    const struct finder finder = { find, context };
    return read_inventory(fd, &finder, ret, err);
}

static int set_cloexec(const struct store *store, int flag)
{
    int rc = 0;
    for (size_t i = 0; i < store->count; i++)
        if (fcntl(store->entries[i].fd, F_SETFD, flag) < 0)
            rc = -errno;
    return rc;
}

int store_pass_on(const struct store *store, struct err *err)
{
    int rc = set_cloexec(store, 0);
    return rc < 0 ? err_sys(err, -rc, "handing descriptors on") : 0;
}

int store_exec(const struct store *store, const char *path, char *const argv[], struct err *err)
{
    AUTO_CLOSE int inventory = -1;
    int rc = store_inventory(store, NULL, &inventory, err);
    if (rc < 0)
        return rc;
    /* Something of the caller's may live at that number; it must be there again on failure. */
    AUTO_CLOSE int before = -1;
    int flags = 0;
    if (inventory != STORE_INVENTORY_FD) {
        flags = fcntl(STORE_INVENTORY_FD, F_GETFD);
        before = fcntl(STORE_INVENTORY_FD, F_DUPFD_CLOEXEC, STORE_INVENTORY_FD + 1);
        if (dup2(inventory, STORE_INVENTORY_FD) < 0)
            return err_sys(err, errno, "placing the inventory");
    } else if (fcntl(inventory, F_SETFD, 0) < 0) {
        return err_sys(err, errno, "handing the inventory on");
    }
    /* What is not handed on would be closed by the exec. */
    rc = store_pass_on(store, err);
    if (rc == 0) {
        execv(path, argv);
        rc = err_sys(err, errno, "executing %s", path);
    }
    set_cloexec(store, FD_CLOEXEC);
    if (before >= 0)
        dup3(before, STORE_INVENTORY_FD, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
    else if (inventory != STORE_INVENTORY_FD)
        close(STORE_INVENTORY_FD);
    return rc;
}

static int send_once(int channel, enum store_op op, const char *name, int fd)
{
    unsigned char code = (unsigned char)op;
    struct iovec parts[2] = { { &code, 1 }, { (void *)(uintptr_t)name, strlen(name) } };
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    }
    return sendmsg(channel, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? errno : 0;
}

/* A full pair says so by poll; too many descriptors in flight do not. */
static void wait_for_room(int channel, int why, int64_t left_ms)
{
    struct pollfd poll_fd = { .fd = channel, .events = POLLOUT };
    int slice = left_ms < SEND_RETRY_MS ? (int)left_ms : SEND_RETRY_MS;
    if (why == EAGAIN)
        poll(&poll_fd, 1, (int)(left_ms < INT32_MAX ? left_ms : INT32_MAX));
    else
        poll(NULL, 0, slice > 0 ? slice : 1);
}

int store_send(int channel, enum store_op op, const char *name, int fd, int timeout_ms,
               struct err *err)
{
    int64_t deadline = timeout_ms > 0 ? clock_mono_ms() + timeout_ms : 0;
    if (strlen(name) >= STORE_TEXT_MAX)
        return err_set(err, ERR_LIMIT, "\"%.40s...\" is longer than %d bytes", name,
                       STORE_TEXT_MAX - 1);
    for (;;) {
        int why = send_once(channel, op, name, fd);
        if (why == 0)
            return 0;
        if (why == EINTR)
            continue;
        if (why == EPIPE || why == ECONNRESET || why == ENOTCONN || why == ECONNREFUSED)
            return err_set(err, ERR_UNREACHABLE, "sending %s: the other end is gone", name);
        if (why != EAGAIN && why != ETOOMANYREFS && why != ENOBUFS && why != ENOMEM)
            return err_sys(err, why, "sending %s", name);
        int64_t left = timeout_ms > 0 ? deadline - clock_mono_ms() : 0;
        if (left <= 0) {
            err_set(err, ERR_TIMEOUT, "sending %s: %s", name, strerror(why));
            if (err)
                err->sys = why;
            return ERR_TIMEOUT;
        }
        wait_for_room(channel, why, left);
    }
}

/* The first descriptor of a message; any further ones are closed. */
static int received_fd(struct msghdr *message)
{
    int first = -1;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
            if (first < 0)
                first = fd;
            else
                close(fd);
        }
    }
    return first;
}

static int check_received(const unsigned char *text, size_t len, int flags, int fd,
                          struct store_message *ret, struct err *err)
{
    AUTO_CLOSE int own = fd;
    unsigned op = text[0];
    if (flags & MSG_CTRUNC && fd < 0)
        return err_set(err, ERR_LIMIT, "%.*s: no free descriptor to receive it", (int)(len - 1),
                       (const char *)text + 1);
    if (flags & MSG_TRUNC || op < STORE_PUT || op >= STORE_NOPS || len < 2 ||
        memchr(text + 1, '\0', len - 1) || (op == STORE_PUT) != (fd >= 0))
        return err_set(err, ERR_PROTOCOL, "a message that makes no sense (op %u, %zu bytes)", op,
                       len);
    ret->op = (enum store_op)op;
    memcpy(ret->name, text + 1, len - 1);
    ret->name[len - 1] = '\0';
    ret->fd = take_fd(&own);
    return 1;
}

int store_receive(int channel, struct store_message *ret, struct err *err)
{
    unsigned char text[STORE_TEXT_MAX];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    for (;;) {
        struct iovec part = { text, sizeof(text) };
        struct msghdr message = { .msg_iov = &part,
                                  .msg_iovlen = 1,
                                  .msg_control = &control,
                                  .msg_controllen = sizeof(control) };
        ssize_t n = recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n > 0)
            return check_received(text, (size_t)n, message.msg_flags, received_fd(&message), ret,
                                  err);
        if (n == 0)
            return err_set(err, ERR_UNREACHABLE, "the other end is gone");
        if (errno == EAGAIN)
            return 0;
        /* A peer that left without reading what we sent shows once so; its messages come after. */
        if (errno != EINTR && errno != ECONNRESET)
            return err_sys(err, errno, "receiving a descriptor");
    }
}
