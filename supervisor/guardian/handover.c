/* handover.c - the contract is in handover.h. */
#include "supervisor/guardian/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/log.h"

enum {
    FIRST_FD = 3,           /* of LISTEN_FDS */
    FDS_MAX = 65536,        /* of LISTEN_FDS */
    NAMES_MAX = 120 * 1024, /* the kernel takes 128 KiB as one variable: LISTEN_FDNAMES */
    NAME_BYTES = 16,        /* "s123456" and more */
    NUMBER_MAX = 1 << 20,
    TEXT_MAX = 128,
};
static const char inventory_name[] = "supervisor", options_name[] = "options";

/* --- giving --- */

static int connect_manager(const struct upward *upward, struct err *err)
{
    const struct timeval wait = { .tv_sec = HANDOVER_WAIT_MS / 1000 };

    if (upward->to_len == 0)
        return err_set(err, ERR_UNREACHABLE, "there is no service manager above (NOTIFY_SOCKET)");
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) < 0 ||
        connect(fd, (const struct sockaddr *)&upward->to, upward->to_len) < 0)
        return err_sys(err, errno, "reaching the service manager");
    return take_fd(&fd);
}

static int send_text(int manager, const char *text, int fd, struct err *err)
{
    struct iovec part = { (void *)(uintptr_t)text, strlen(text) };
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    while (sendmsg(manager, &message, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            return err_sys(err, errno, "handing a descriptor to the service manager");
    return 0;
}

/* FDPOLL=0: a pipe whose other end is closed for the moment is kept all the same. */
static int send_kept(int manager, const char *name, int fd, struct err *err)
{
    char text[TEXT_MAX];

    snprintf(text, sizeof text, "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
    return send_text(manager, text, fd, err);
}

/* Output pipes last: they are many, and the rest is needed by all. */
static int send_entries(int manager, const struct store *store, bool pipes, size_t *room,
                        struct err *err)
{
    for (size_t i = 0; i < store->count; i++) {
        const struct store_entry *entry = &store->entries[i];
        char name[NAME_BYTES];
        size_t len = (size_t)snprintf(name, sizeof name, "s%d", entry->fd) + 1;
        if ((strncmp(entry->name, "log.", 4) == 0) != pipes)
            continue;
        if (len > *room) {
            log_warn("too many descriptors for the service manager: the services of those that "
                     "are left out will be started anew",
                     NULL);
            return 0;
        }
        *room -= len;
        int rc = send_kept(manager, name, entry->fd, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* The manager closes its end of a pipe when it has come to this message. */
static int wait_until_read(int manager, struct err *err)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_sys(err, errno, "making a barrier");
    int rc = send_text(manager, "BARRIER=1", ends[1], err);
    close(ends[1]);
    struct pollfd end = { .fd = ends[0] };
    if (rc == 0 && poll(&end, 1, HANDOVER_WAIT_MS) <= 0)
        rc = err_set(err, ERR_TIMEOUT, "the service manager does not read what it was given");
    close(ends[0]);
    return rc;
}

/* "CONFIG\nSOCKET\n", as an entry of the store. */
static int put_options(struct store *store, const struct guardian_options *options, struct err *err)
{
    int fd = memfd_create("supervisor-options", MFD_CLOEXEC);

    if (fd < 0)
        return err_sys(err, errno, "keeping the options");
    if (dprintf(fd, "%s\n%s\n", options->config ? options->config : "",
                options->socket ? options->socket : "") < 0) {
        int why = errno;
        close(fd);
        return err_sys(err, why, "keeping the options");
    }
    return store_put(store, options_name, fd, err);
}

int handover_give(const struct upward *upward, struct store *store,
                  const struct guardian_options *options, struct err *err)
{
    AUTO_CLOSE int manager = connect_manager(upward, err), inventory = -1;
    size_t room = NAMES_MAX - sizeof inventory_name;

    if (manager < 0)
        return manager;
    int rc = put_options(store, options, err);
    if (rc == 0)
        rc = store_inventory(store, NULL, &inventory, err);
    if (rc == 0)
        rc = send_kept(manager, inventory_name, inventory, err);
    if (rc == 0)
        rc = send_entries(manager, store, false, &room, err);
    if (rc == 0)
        rc = send_entries(manager, store, true, &room, err);
    if (rc == 0)
        rc = wait_until_read(manager, err);
    store_drop(store, options_name);
    return rc;
}

/* --- taking --- */

struct passed {
    int number; /* that it had; -1 = none of ours */
    bool used;
};
struct come {
    struct passed *fds; /* of FIRST_FD + i */
    int count;
    int *places;   /* by the number that it had: i + 1, 0 = it has not come */
    int highest;   /* number */
    int inventory; /* borrowed, -1 = it has not come */
};

/* "s17" is 17; others are none of ours. */
static int number_of(const char *name)
{
    char *end;

    if (name[0] != 's' || name[1] < '0' || name[1] > '9')
        return -1;
    errno = 0;
    long number = strtol(name + 1, &end, 10);
    return *end || errno || number > NUMBER_MAX ? -1 : (int)number;
}

static void read_names(char *names, struct come *come)
{
    for (int i = 0; i < come->count; i++) {
        const char *name = names ? strsep(&names, ":") : NULL;
        come->fds[i].number = name ? number_of(name) : -1;
        if (come->fds[i].number > come->highest)
            come->highest = come->fds[i].number;
        if (name && strcmp(name, inventory_name) == 0)
            come->inventory = FIRST_FD + i;
    }
}

static int find(void *context, int number)
{
    struct come *come = context;
    int place = number <= come->highest ? come->places[number] : 0;

    if (place == 0)
        return -1;
    come->fds[place - 1].used = true;
    return FIRST_FD + place - 1;
}

static int restore(struct come *come, struct store *ret, struct err *err)
{
    AUTO_FREE int *places = calloc((size_t)come->highest + 1, sizeof *places);

    if (!places)
        return err_set(err, ERR_MEMORY, "no memory");
    for (int i = 0; i < come->count; i++)
        if (come->fds[i].number >= 0)
            places[come->fds[i].number] = i + 1;
    come->places = places;
    return store_restore(come->inventory, find, come, ret, err);
}

/* Whether anything was passed, to this process. */
static int count_passed(void)
{
    const char *count = getenv("LISTEN_FDS"), *whose = getenv("LISTEN_PID");

    if (!count || !whose || strtol(whose, NULL, 10) != getpid())
        return 0;
    long n = strtol(count, NULL, 10);
    return n > 0 && n <= FDS_MAX ? (int)n : 0;
}

static void read_line(FILE *file, char ret[static GUARDIAN_PATH_MAX])
{
    if (!file || !fgets(ret, GUARDIAN_PATH_MAX, file))
        ret[0] = '\0';
    ret[strcspn(ret, "\n")] = '\0';
}

static void read_options(struct handover *handover)
{
    int fd = store_take(&handover->store, options_name);
    FILE *file = fd >= 0 && lseek(fd, 0, SEEK_SET) == 0 ? fdopen(fd, "r") : NULL;

    read_line(file, handover->config);
    read_line(file, handover->socket);
    if (file)
        fclose(file);
    else if (fd >= 0)
        close(fd);
}

static bool take(struct come *come, char *names, struct handover *ret)
{
    struct err err;

    read_names(names, come);
    if (come->inventory < 0 && come->highest == 0)
        return false; /* sockets that somebody passes are none of ours */
    bool taken = come->inventory >= 0 && restore(come, &ret->store, &err) == 0;
    if (taken)
        read_options(ret);
    else
        log_error("what the service manager has kept cannot be used", "reason",
                  come->inventory < 0 ? "there is no inventory" : err.text, NULL);
    if (come->inventory >= 0)
        close(come->inventory);
    for (int i = 0; i < come->count; i++)
        if (come->fds[i].number >= 0 && !(taken && come->fds[i].used))
            close(FIRST_FD + i);
    return taken;
}

void handover_release(struct handover *handover)
{
    struct upward upward;
    struct err err;
    upward_init(&upward, false);
    AUTO_CLOSE int manager = connect_manager(&upward, &err);
    char text[TEXT_MAX], *rest = handover->names;

    for (const char *name; manager >= 0 && (name = strsep(&rest, ":"));) {
        if (number_of(name) < 0 && strcmp(name, inventory_name) != 0)
            continue;
        snprintf(text, sizeof text, "FDSTOREREMOVE=1\nFDNAME=%s", name);
        if (send_text(manager, text, -1, &err) < 0)
            break;
    }
    free(handover->names);
    handover->names = NULL;
}

bool handover_take(struct handover *ret)
{
    struct come come = { .count = count_passed(), .inventory = -1 };
    const char *variable = getenv("LISTEN_FDNAMES");
    AUTO_FREE char *names = variable ? strdup(variable) : NULL;
    AUTO_FREE struct passed *fds = come.count > 0 ? calloc((size_t)come.count, sizeof *fds) : NULL;

    *ret = (struct handover){ .names = variable ? strdup(variable) : NULL };
    come.fds = fds;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    bool taken = fds && take(&come, names, ret);
    if (!taken)
        handover_release(ret);
    return taken;
}
