/* guardian_host.c - the real guardian with a core and a logger that only do what a test tells them.
 *
 *     guardian_host run SOCKET            guardian_run
 *     guardian_host run -- COMMAND...     guardian_alone
 * and, started by the guardian: core, logger, guardian.
 *
 * The core answers datagrams sent to SOCKET (see `commands` below), so that a test can have it
 * start services, put descriptors, die and leave.  FAKE_CORE in the environment makes it misbehave:
 * "config" leaves with 78, "die" crashes at once, "loading" crashes while loading until the
 * ledger is rebuilt.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/child.h"
#include "supervisor/guardian/guardian.h"
#include "supervisor/ledger/ledger.h"
#include "supervisor/ledger/store.h"

enum { REPLY_MAX = 64 * 1024, WORDS_OF_COMMAND = 16 };

struct core {
    struct store store;
    struct ledger ledger;
    int channel, control;
    struct guardian_options options;
    char reply[REPLY_MAX];
};

static void die(const char *what)
{
    fprintf(stderr, "fake: %s: %s\n", what, strerror(errno));
    exit(3);
}

static const char *option(char **argv, const char *name)
{
    for (; *argv; argv++)
        if (strcmp(*argv, name) == 0)
            return argv[1];
    return NULL;
}

static void inherit(struct store *store, struct ledger *ledger, int *channel)
{
    struct err err;
    if (store_inherit(STORE_INVENTORY_FD, store, &err) < 0 ||
        ledger_map(fcntl(store_get(store, "ledger"), F_DUPFD_CLOEXEC, 0), ledger, &err) < 0)
        die(err.text);
    *channel = store_take(store, "channel");
    if (*channel < 0)
        die("no channel");
}

static void put(struct core *core, const char *name, int fd)
{
    struct err err;
    if (store_send(core->channel, STORE_PUT, name, fd, 5000, &err) < 0 ||
        store_put(&core->store, name, fd, &err) < 0)
        die(err.text);
}

static size_t record_for(struct core *core, const char *instance)
{
    struct err err;
    for (size_t i = 2; i < ledger_used(&core->ledger); i++)
        if (core->ledger.records[i].kind != LEDGER_FREE &&
            strcmp(core->ledger.records[i].instance, instance) == 0) {
            ledger_rearm(&core->ledger, i, core->ledger.records[i].generation + 1);
            return i;
        }
    ssize_t index = ledger_claim(&core->ledger, LEDGER_SERVICE, instance, 1, &err);
    if (index < 0)
        die(err.text);
    return (size_t)index;
}

/* spawn NAME SCRIPT: a service of the guardian's, running a shell. */
static void spawn(struct core *core, const char *instance, const char *script)
{
    size_t index = record_for(core, instance);
    struct ledger_record *record = &core->ledger.records[index];
    char name[LEDGER_NAME_MAX + 64];
    snprintf(name, sizeof(name), "SUPERVISOR_INSTANCE=%s.%u", instance, record->generation);
    char *argv[] = { "sh", "-c", (char *)script, NULL };
    char *envp[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", name, NULL };
    struct child_fd fds[] = { { -1, 0 }, { -1, 1 }, { 2, 2 } };
    struct child_spec spec = { .path = "/bin/sh",
                               .argv = argv,
                               .envp = envp,
                               .fds = fds,
                               .nfds = 3,
                               .directory_fd = -1,
                               .umask = -1,
                               .new_session = true,
                               .sibling = true,
                               .share_memory = true,
                               .pid_slot = &core->ledger.pids[index],
                               .report = &record->report };
    pid_t pid;
    struct err err;
    if (child_start(&spec, &pid, &err) < 0)
        die(err.text);
    record->start_time = child_start_time(pid);
    snprintf(core->reply, sizeof(core->reply), "%d", (int)pid);
}

static void list(struct core *core)
{
    size_t at = 0;
    for (size_t i = 0; i < ledger_used(&core->ledger) && at < sizeof(core->reply) - 512; i++) {
        const struct ledger_record *record = &core->ledger.records[i];
        at += (size_t)snprintf(core->reply + at, sizeof(core->reply) - at, "%s %s %d %u %d %d %u\n",
                               ledger_kind_name(record->kind), record->instance,
                               core->ledger.pids[i], record->exited, record->exit_code,
                               record->exit_status, record->generation);
    }
}

static void header(struct core *core)
{
    struct ledger_header *head = core->ledger.header;
    snprintf(core->reply, sizeof(core->reply),
             "core_restarts=%u logger_restarts=%u guardian_restarts=%u orphans=%llu "
             "shutdown_orders=%u shutdown_signal=%u reload_orders=%u rebuilt=%u nofile_soft=%llu "
             "guardian_pid=%d core_pid=%d",
             head->core_restarts, head->logger_restarts, head->guardian_restarts,
             (unsigned long long)head->orphans, head->shutdown_orders, head->shutdown_signal,
             head->reload_orders, head->rebuilt, (unsigned long long)head->nofile_soft,
             head->guardian_pid, getpid());
}

static void names(struct core *core)
{
    size_t at = 0;
    for (size_t i = 0; i < core->store.count && at < sizeof(core->reply) - 512; i++)
        at += (size_t)snprintf(core->reply + at, sizeof(core->reply) - at, "%s ",
                               core->store.entries[i].name);
}

static void put_log(struct core *core, const char *index)
{
    int ends[2];
    char name[64];
    if (pipe2(ends, O_CLOEXEC) < 0)
        die("pipe");
    snprintf(name, sizeof(name), "log.%s.w", index);
    put(core, name, ends[1]);
    snprintf(name, sizeof(name), "log.%s.r", index);
    put(core, name, ends[0]);
}

static void poke_logger(struct core *core)
{
    eventfd_write(store_get(&core->store, "poke.logger"), 1);
}

static void leave(struct core *core, int finish_code)
{
    core->ledger.header->finish_code = finish_code;
    atomic_store(&core->ledger.header->finished, 1);
    poke_logger(core);
    exit(0);
}

/* put NAME TEXT and die at once: what was sent must survive. */
static void put_and_die(struct core *core, const char *name)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    struct err err;
    if (store_send(core->channel, STORE_PUT, name, fd, 0, &err) < 0)
        die(err.text);
    kill(getpid(), SIGKILL);
}

static void take_over(struct core *core)
{
    const char *argv[] = { "supervisor", "guardian",           "--takeover",
                           "--socket",   core->options.socket, NULL };
    struct err err;
    store_exec(&core->store, "/proc/self/exe", (char *const *)argv, &err);
    die(err.text);
}

static void perform(struct core *core, char **words)
{
    struct err err;
    snprintf(core->reply, sizeof(core->reply), "ok");
    if (strcmp(words[0], "spawn") == 0)
        spawn(core, words[1], words[2]);
    else if (strcmp(words[0], "list") == 0)
        list(core);
    else if (strcmp(words[0], "header") == 0)
        header(core);
    else if (strcmp(words[0], "names") == 0)
        names(core);
    else if (strcmp(words[0], "plan") == 0)
        put(core, "plan", memfd_create("plan", MFD_CLOEXEC));
    else if (strcmp(words[0], "log") == 0)
        put_log(core, words[1]);
    else if (strcmp(words[0], "drop") == 0)
        store_send(core->channel, STORE_DROP, words[1], -1, 5000, &err);
    else if (strcmp(words[0], "put-and-die") == 0)
        put_and_die(core, words[1]);
    else if (strcmp(words[0], "finish") == 0)
        leave(core, atoi(words[1]));
    else if (strcmp(words[0], "upgrade") == 0) {
        store_send(core->channel, STORE_UPGRADE, words[1], -1, 5000, &err);
        exit(0);
    }
}

static void on_command(struct core *core)
{
    char text[4096], *words[WORDS_OF_COMMAND] = { NULL }, *rest = text;
    struct sockaddr_un from;
    socklen_t from_len = sizeof(from);
    ssize_t n =
        recvfrom(core->control, text, sizeof(text) - 1, 0, (struct sockaddr *)&from, &from_len);
    if (n <= 0)
        return;
    text[n] = '\0';
    for (size_t i = 0; i < WORDS_OF_COMMAND - 1 && rest; i++)
        words[i] = strsep(&rest, "\t");
    perform(core, words);
    sendto(core->control, core->reply, strlen(core->reply), 0, (struct sockaddr *)&from, from_len);
}

static void open_control(struct core *core)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    core->control = store_get(&core->store, "control");
    if (core->control >= 0)
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", core->options.socket);
    unlink(address.sun_path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die("control");
    put(core, "control", fd);
    core->control = store_get(&core->store, "control");
}

static void misbehave(struct core *core)
{
    const char *how = getenv("FAKE_CORE");
    if (how && strcmp(how, "config") == 0)
        exit(GUARDIAN_CONFIG_ERROR);
    if (how && strcmp(how, "die") == 0)
        kill(getpid(), SIGKILL);
    if (how && strcmp(how, "loading") == 0 && !core->ledger.header->rebuilt) {
        core->ledger.header->core_loading = 1;
        kill(getpid(), SIGKILL);
    }
}

static void run_core(char **argv)
{
    static struct core core;
    core.options.socket = option(argv, "--socket");
    inherit(&core.store, &core.ledger, &core.channel);
    misbehave(&core);
    open_control(&core);
    struct ledger_header *head = core.ledger.header;
    for (;;) {
        uint64_t count;
        struct pollfd fds[] = { { .fd = core.control, .events = POLLIN },
                                { .fd = core.channel, .events = 0 },
                                { .fd = store_get(&core.store, "poke"), .events = POLLIN } };
        if (poll(fds, 3, -1) < 0)
            continue;
        if (fds[1].revents & POLLHUP)
            take_over(&core);
        if (fds[2].revents && read(fds[2].fd, &count, sizeof(count)) < 0)
            continue;
        if (head->shutdown_orders != head->shutdown_seen && !getenv("FAKE_DEAF"))
            leave(&core, 0);
        if (fds[0].revents)
            on_command(&core);
    }
}

/* Writes what it has been handed to SOCKET.logger-like file named by FAKE_LOGGER. */
static void write_names(const struct store *store)
{
    char temporary[4096];
    const char *path = getenv("FAKE_LOGGER");
    if (!path)
        return;
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    FILE *file = fopen(temporary, "w");
    if (!file)
        die(temporary);
    fprintf(file, "%d\n", (int)getpid());
    for (size_t i = 0; i < store->count; i++)
        fprintf(file, "%s\n", store->entries[i].name);
    fclose(file);
    rename(temporary, path);
}

static void take_mail(struct store *store, int channel)
{
    struct store_message message;
    struct err err;
    int rc;
    while ((rc = store_receive(channel, &message, &err)) == 1) {
        if (message.op == STORE_PUT)
            store_put(store, message.name, message.fd, &err);
        else
            store_drop(store, message.name);
    }
    write_names(store);
    if (rc == ERR_UNREACHABLE)
        exit(0);
}

static void run_logger(void)
{
    struct store store;
    struct ledger ledger;
    int channel;
    inherit(&store, &ledger, &channel);
    write_names(&store);
    for (;;) {
        struct pollfd fds[] = { { .fd = channel, .events = POLLIN },
                                { .fd = store_get(&store, "poke.logger"), .events = POLLIN } };
        if (atomic_load(&ledger.header->finished))
            exit(0);
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[0].revents)
            take_mail(&store, channel);
    }
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    struct guardian_options options = { .socket = option(argv, "--socket") };
    if (strcmp(command, "core") == 0)
        run_core(argv);
    if (strcmp(command, "logger") == 0)
        run_logger();
    if (strcmp(command, "guardian") == 0)
        return guardian_resume(&options, STORE_INVENTORY_FD, option(argv, "--takeover") != NULL);
    if (strcmp(command, "run") != 0 || argc < 3)
        return 2;
    if (strcmp(argv[2], "--") == 0)
        return guardian_alone(argv + 3);
    options.socket = argv[2];
    return guardian_run(&options);
}
