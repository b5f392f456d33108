/* cmd_leave.c - supervisor shutdown, upgrade, recover: the end of it, or of a part of it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "io/child.h"
#include "io/jsonx.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/ledger/ledger.h"

enum {
    UPGRADE_MS = 30000, /* self-test and the new core */
    NEW_CORE_MS = 30000,
    RECOVERED_MS = 15000,
    LOCK_MS = 15000,
    HAND_OVER_MS = 30000,
    PROBE_MS = 2000,
    PAUSE_MS = 20,
    CORE_RECORD = 0, /* of the ledger, as the guardian numbers them */
};

static void ledger_path(const char *socket, char ret[static PLACES_PATH_MAX + 8])
{
    snprintf(ret, PLACES_PATH_MAX + 8, "%.*s.ledger", PLACES_PATH_MAX - 1, socket);
}

/* --- shutdown --- */

/* The guardian holds the lock on its ledger to its last moment, so that the next supervisor can
 * start as soon as we return. */
static void wait_for_guardian(const char *socket)
{
    int64_t end = clock_mono_ms() + LOCK_MS;
    char path[PLACES_PATH_MAX + 8];

    if (socket[0] == '@')
        return;
    ledger_path(socket, path);
    while (clock_mono_ms() < end) {
        AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0)
            return;
        client_pause(PAUSE_MS);
    }
}

/* Until the connection ends and nobody listens any more. */
static int wait_for_end(struct rpc_client *client, const char *socket)
{
    struct err err = { 0 };

    while (client) {
        json_t *message;
        while (rpc_client_next(client, -1, &message, &err) == 0)
            json_decref(message);
        rpc_client_close(client);
        client_pause(PAUSE_MS);
        client = rpc_client_open(socket, &err);
    }
    wait_for_guardian(socket);
    puts("the supervisor has left, nothing of it runs");
    return client_print("");
}

/* The guardian leaves when the manager has everything; its lock stays with that. */
static int keep_services(struct cli *cli)
{
    char path[PLACES_PATH_MAX];
    json_t *status = NULL, *answer = NULL;
    struct rpc_client *client = client_open(cli, path);

    if (!client)
        return CLIENT_UNKNOWN;
    int code = client_ask(client, "status", NULL, CLIENT_READ_MS, &status);
    pid_t guardian = (pid_t)jsonx_int(json_object_get(status, "supervisor"), "pid", 0);
    json_decref(status);
    AUTO_CLOSE int pidfd = code == CLIENT_OK ? child_pidfd(guardian) : -1;
    if (code == CLIENT_OK)
        code = client_ask(client, "shutdown", json_pack("{s:b}", "keep_services", 1),
                          CLIENT_READ_MS, &answer);
    rpc_client_close(client);
    json_decref(answer);
    if (code != CLIENT_OK)
        return code;
    struct pollfd gone = { .fd = pidfd, .events = POLLIN };
    if (pidfd >= 0 && poll(&gone, 1, HAND_OVER_MS) == 0) {
        client_say("the supervisor (pid %d) is still there after %d s: its own log says why; "
                   "services were not touched",
                   (int)guardian, HAND_OVER_MS / 1000);
        return CLIENT_FAILED;
    }
    puts("the supervisor has left, its services go on");
    return client_print("");
}

int cmd_shutdown(struct cli *cli)
{
    static const char *const actions[] = { "poweroff", "reboot", "halt" };
    const char *action = "exit";
    char path[PLACES_PATH_MAX];
    json_t *answer;
    int given = 0;

    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (cli_flag(cli, actions[i])) {
            action = actions[i];
            given++;
        }
    }
    bool keep = cli_flag(cli, "keep-services");
    if (given + keep > 1) {
        client_say("shutdown: one of --poweroff, --reboot, --halt, --keep-services, not several");
        return CLIENT_USAGE;
    }
    if (keep)
        return keep_services(cli);
    struct rpc_client *client = client_open(cli, path);
    if (!client)
        return CLIENT_UNKNOWN;
    int code = client_ask(client, "shutdown", json_pack("{s:s}", "action", action), CLIENT_READ_MS,
                          &answer);
    if (code != CLIENT_OK) {
        rpc_client_close(client);
        return code;
    }
    json_decref(answer);
    return wait_for_end(client, path);
}

/* --- upgrade --- */

struct seen {
    int64_t core_pid;
    char version[64];
};

/* Which core answers, without a word about those that do not. */
static bool look(const char *socket, int64_t timeout_ms, struct seen *ret)
{
    struct err err = { 0 };
    struct rpc_client *client = rpc_client_open(socket, &err);
    json_t *status = NULL;

    int rc = client ? rpc_client_call(client, "status", NULL, timeout_ms, &status, NULL, &err)
                    : ERR_UNREACHABLE;
    rpc_client_close(client);
    if (rc != 0)
        return false;
    const json_t *supervisor = json_object_get(status, "supervisor");
    ret->core_pid = jsonx_int(supervisor, "core_pid", 0);
    snprintf(ret->version, sizeof ret->version, "%s", jsonx_text(supervisor, "version", "?"));
    json_decref(status);
    return true;
}

static bool wait_for_another(const char *socket, int64_t before, int64_t timeout_ms,
                             struct seen *ret)
{
    int64_t end = clock_mono_ms() + timeout_ms;

    do {
        if (look(socket, PROBE_MS, ret) && ret->core_pid != before)
            return true;
        client_pause(PAUSE_MS);
    } while (clock_mono_ms() < end);
    return false;
}

static int finish_upgrade(const char *socket, const struct seen *before, const json_t *answer)
{
    struct seen after;

    if (!wait_for_another(socket, before->core_pid, NEW_CORE_MS, &after)) {
        client_say("no core of %s answers after %d s; services are not touched; look at the "
                   "supervisor's own log, then try \"supervisor recover\"",
                   jsonx_text(answer, "binary", "the new binary"), NEW_CORE_MS / 1000);
        return CLIENT_FAILED;
    }
    printf("upgraded: %s -> %s (%s), no service was touched\n", before->version, after.version,
           jsonx_text(answer, "binary", "?"));
    return client_print("");
}

int cmd_upgrade(struct cli *cli)
{
    char path[PLACES_PATH_MAX], binary[PLACES_PATH_MAX];
    json_t *answer, *params = json_object();
    struct err err = { 0 };
    struct seen before = { 0 };

    if (cli->nwords > 0 && places_absolute(cli->words[0], binary, &err) == 0)
        jsonx_set_text(params, "binary", binary);
    struct rpc_client *client = err.code ? NULL : client_open(cli, path);
    if (!client || !look(path, CLIENT_READ_MS, &before)) {
        json_decref(params);
        rpc_client_close(client);
        return err.code ? client_tell(&err) : CLIENT_UNKNOWN;
    }
    int code = client_ask(client, "upgrade", params, UPGRADE_MS, &answer);
    rpc_client_close(client);
    if (code != CLIENT_OK)
        return code;
    code = finish_upgrade(path, &before, answer);
    json_decref(answer);
    return code;
}

/* --- recover --- */

/* The socket of a supervisor whose ledger is there. */
static bool find_ledger(const struct cli *cli, char socket[static PLACES_PATH_MAX],
                        struct ledger *ret)
{
    struct places_socket sockets[PLACES_SOCKETS_MAX];
    char path[PLACES_PATH_MAX + 8];
    struct places places;
    struct err err = { 0 };

    places_init(&places, cli_value(cli, "socket"));
    int count = places_sockets(&places, sockets, &err);
    for (int i = 0; i < count; i++) {
        if (sockets[i].path[0] == '@') {
            err_set(&err, ERR_NOT_FOUND,
                    "a supervisor on the abstract socket %s keeps its ledger in memory; kill its "
                    "process \"supervisor core\" by hand, the guardian starts another",
                    sockets[i].path);
            continue;
        }
        ledger_path(sockets[i].path, path);
        if (ledger_peek(path, ret, &err) != 0) {
            if (err.code != ERR_NOT_FOUND)
                break;
            continue;
        }
        memcpy(socket, sockets[i].path, sizeof sockets[i].path);
        return true;
    }
    client_say("no supervisor to recover: %s", err.text);
    return false;
}

/* The pid is the core's only if the guardian lives and the process began when the ledger says. */
static pid_t core_of(struct ledger *ledger)
{
    const struct ledger_record *record = &ledger->records[CORE_RECORD];
    pid_t guardian = ledger->header->guardian_pid, core = ledger->pids[CORE_RECORD];

    if (guardian <= 0 || child_start_time(guardian) != ledger->header->guardian_start_time) {
        client_say("the guardian (pid %d) is not there any more; start the supervisor again with "
                   "\"supervisor run\", it takes over what still runs",
                   (int)guardian);
        return 0;
    }
    if (core <= 0 || child_start_time(core) == 0 ||
        (record->start_time && child_start_time(core) != record->start_time)) {
        client_say("there is no core now; the guardian (pid %d) starts one by itself",
                   (int)guardian);
        return 0;
    }
    return core;
}

static int replace_core(const char *socket, pid_t core, const char *why)
{
    struct seen after;
    struct err err = { 0 };
    AUTO_CLOSE int pidfd = child_pidfd(core);

    int rc = pidfd < 0 ? pidfd : child_pidfd_signal(pidfd, SIGKILL);
    if (rc < 0) {
        err_sys(&err, -rc, "killing the core (pid %d)", (int)core);
        return client_tell(&err);
    }
    if (!wait_for_another(socket, core, RECOVERED_MS, &after)) {
        client_say("the core (pid %d) was killed, but no other answers after %d s; look at the "
                   "supervisor's own log",
                   (int)core, RECOVERED_MS / 1000);
        return CLIENT_FAILED;
    }
    printf("the core (pid %d) %s and was killed; another one (pid %lld) has taken over, no service "
           "was touched\n",
           (int)core, why, (long long)after.core_pid);
    return client_print("");
}

int cmd_recover(struct cli *cli)
{
    char socket[PLACES_PATH_MAX];
    struct ledger ledger;
    struct seen seen;

    if (!find_ledger(cli, socket, &ledger))
        return CLIENT_UNKNOWN;
    pid_t core = core_of(&ledger);
    ledger_unmap(&ledger);
    if (core <= 0)
        return CLIENT_FAILED;
    bool answers = look(socket, PROBE_MS, &seen);
    if (answers && !cli_flag(cli, "force")) {
        printf("the core (pid %lld) answers, nothing was done (--force replaces it all the same)\n",
               (long long)seen.core_pid);
        return client_print("");
    }
    return replace_core(socket, core, answers ? "answered" : "did not answer");
}
