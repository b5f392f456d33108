/* client.c - the contract is in client.h. */
#include "supervisor/cli/client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/accounts.h"
#include "base/clock.h"
#include "io/jsonx.h"
#include "supervisor/cli/config.h"

enum { PRINT_MAX = 16 * 1024 * 1024, TRIED_MAX = 1024, AGAIN_MS = 15000, AGAIN_PAUSE_MS = 50 };

void client_say(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fputs("supervisor: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
}

/* The core looks no names up on the way of a request; ours we know. */
static void say_denied(const char *text)
{
    static const char before[] = "permission denied: uid ";
    char space[ACCOUNTS_ENTRY_BYTES], *rest;
    struct passwd entry, *pw = NULL;

    if (strncmp(text, before, strlen(before)) == 0) {
        unsigned long uid = strtoul(text + strlen(before), &rest, 10);
        if (uid == geteuid() &&
            accounts_user(NULL, geteuid(), &entry, space, sizeof space, &pw) == 0 && pw)
            client_say("permission denied: user %s (uid %lu)%s", pw->pw_name, uid, rest);
    }
    if (!pw)
        client_say("%s", text);
}

int client_tell(const struct err *err)
{
    if (err->code == ERR_DENIED)
        say_denied(err->text);
    else
        client_say("%s", err->text);
    return err->code == ERR_NOT_FOUND || err->code == ERR_UNREACHABLE ? CLIENT_UNKNOWN
                                                                      : CLIENT_FAILED;
}

/* Where anybody could listen before us, only our own user or root is believed. */
static bool trusted(const struct places *places, const struct rpc_client *client)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    return getsockopt(rpc_client_fd(client), SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == places->uid || peer.uid == 0);
}

struct rpc_client *client_connect(const struct places *places,
                                  char ret_path[static PLACES_PATH_MAX], struct err *err)
{
    struct places_socket sockets[PLACES_SOCKETS_MAX];
    struct err first = { 0 };
    struct buf tried;
    int count = places_sockets(places, sockets, err);

    jsonx_seed();
    buf_init(&tried, TRIED_MAX);
    for (int i = 0; i < count; i++) {
        const char *path = sockets[i].path;
        struct rpc_client *client = rpc_client_open(path, err);
        bool strange = client && sockets[i].personal && !trusted(places, client);

        if (client && !strange) {
            memcpy(ret_path, path, PLACES_PATH_MAX);
            buf_done(&tried);
            return client;
        }
        rpc_client_close(client);
        if (strange)
            err_set(err, ERR_DENIED, "%s belongs to another user", path);
        /* One that is there but does not answer says more than those that are not. */
        if (!first.code && (path[0] == '@' ? strange : access(path, F_OK) == 0))
            first = *err;
        buf_printf(&tried, "%s%s", i > 0 ? ", " : "", path);
    }
    if (first.code)
        *err = first;
    else if (count > 1)
        err_set(err, ERR_UNREACHABLE,
                "no supervisor is running (tried %s); start one with \"supervisor run\", or name "
                "its socket with -s",
                buf_text(&tried));
    buf_done(&tried);
    return NULL;
}

/* The key `socket` of the configuration in the default place: looked at last, so that commands stay
 * fast where it is not used. */
static struct rpc_client *open_configured(const struct places *places,
                                          char ret_path[static PLACES_PATH_MAX])
{
    struct config config;
    struct places named = *places;
    struct rpc_client *client = NULL;
    struct err err = { 0 };

    if (places_config(places, NULL, ret_path, &err) < 0)
        return NULL;
    if (config_load(ret_path, &config) && config.plan->supervisor.socket) {
        named.socket = config.plan->supervisor.socket;
        client = client_connect(&named, ret_path, &err);
    }
    config_done(&config);
    return client;
}

static struct rpc_client *open_any(const struct cli *cli, char ret_path[static PLACES_PATH_MAX],
                                   struct err *err)
{
    struct places places;

    places_init(&places, cli_value(cli, "socket"));
    struct rpc_client *client = client_connect(&places, ret_path, err);
    if (!client && !places.socket && !places.variable)
        client = open_configured(&places, ret_path);
    return client;
}

struct rpc_client *client_open(const struct cli *cli, char ret_path[static PLACES_PATH_MAX])
{
    struct err err = { 0 };
    struct rpc_client *client = open_any(cli, ret_path, &err);

    if (!client)
        client_tell(&err);
    return client;
}

struct rpc_client *client_reopen(const struct cli *cli)
{
    int64_t end = clock_mono_ms() + AGAIN_MS;
    char path[PLACES_PATH_MAX];
    struct err err = { 0 };

    for (;;) {
        struct rpc_client *client = open_any(cli, path, &err);
        if (client)
            return client;
        if (clock_mono_ms() >= end)
            break;
        client_pause(AGAIN_PAUSE_MS);
    }
    err_wrap(&err, "the core went away and no other has come");
    client_tell(&err);
    return NULL;
}

int client_ask(struct rpc_client *client, const char *method, json_t *params, int64_t timeout_ms,
               json_t **ret)
{
    struct err err = { 0 };
    int rc = rpc_client_call(client, method, params, timeout_ms, ret, NULL, &err);

    return rc == 0 ? CLIENT_OK : client_tell(&err);
}

int client_call(const struct cli *cli, const char *method, json_t *params, int64_t timeout_ms,
                json_t **ret)
{
    char path[PLACES_PATH_MAX];
    struct rpc_client *client = client_open(cli, path);

    if (!client) {
        json_decref(params);
        return CLIENT_UNKNOWN;
    }
    int code = client_ask(client, method, params, timeout_ms, ret);
    rpc_client_close(client);
    return code;
}

int client_try(const struct cli *cli, const char *method, json_t *params, int64_t timeout_ms,
               json_t **ret)
{
    char path[PLACES_PATH_MAX];
    struct err err = { 0 };
    struct rpc_client *client = open_any(cli, path, &err);

    if (!client) {
        json_decref(params);
        return ERR_UNREACHABLE;
    }
    int rc = rpc_client_call(client, method, params, timeout_ms, ret, NULL, &err);
    rpc_client_close(client);
    return rc;
}

void client_pause(int64_t ms)
{
    const struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

    nanosleep(&pause, NULL);
}

json_t *client_names(const struct cli *cli)
{
    json_t *names = json_array();

    for (size_t i = 0; i < cli->nwords; i++)
        json_array_append_new(names, json_string(cli->words[i]));
    return names;
}

int client_print(const char *text)
{
    if (fputs(text, stdout) != EOF && fflush(stdout) != EOF)
        return CLIENT_OK;
    client_say("cannot write to standard output");
    return CLIENT_FAILED;
}

int client_print_json(const json_t *value)
{
    struct buf text;

    buf_init(&text, PRINT_MAX);
    int code = CLIENT_FAILED;
    if (jsonx_put(value, &text)) {
        buf_putc(&text, '\n');
        code = client_print(buf_text(&text));
    } else {
        client_say("the answer is too large to be printed");
    }
    buf_done(&text);
    return code;
}
