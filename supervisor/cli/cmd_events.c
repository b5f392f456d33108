/* cmd_events.c - supervisor events: what happened, one JSON object a line. */
#include <stdio.h>
#include <string.h>

#include "base/unit.h"
#include "io/jsonx.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/feed.h"

/* Connections in a row that bring nothing. */
enum { FAILURES_MAX = 100, PAUSE_MS = 50, SETTLE_MS = 200 };

struct follow {
    const struct cli *cli;
    struct rpc_client *client;
    int64_t last; /* the number of the last event that was seen */
    struct feed feed;
    char run[FEED_RUN_MAX]; /* of the supervisor that answers */
};

static int print_event(struct follow *follow, const json_t *event)
{
    int64_t number = jsonx_int(event, "seq", jsonx_int(event, "to", 0));

    if (number > follow->last)
        follow->last = number;
    int code = CLIENT_OK;
    if (feed_wants(&follow->feed, event)) {
        code = client_print_json(event);
        follow->feed.written = number;
    }
    follow->feed.seen = number;
    feed_settle(&follow->feed);
    return code;
}

/* Events up to this number that we may not see. */
static void pass(struct follow *follow, int64_t number)
{
    if (number <= follow->last)
        return;
    follow->last = follow->feed.seen = number;
    feed_settle(&follow->feed);
}

/* Prints notifications until `end` (the number after the last one wanted; 0 = for ever). */
static int print_until(struct follow *follow, int64_t end, struct err *err)
{
    while (end == 0 || follow->last < end - 1) {
        json_t *message;
        int64_t limit = end ? CLIENT_READ_MS : feed_waits(&follow->feed) ? SETTLE_MS : -1;
        int rc = rpc_client_next(follow->client, limit, &message, err);

        if (rc == ERR_TIMEOUT && !end) {
            feed_settle(&follow->feed);
            continue;
        }
        if (rc < 0)
            return rc;
        bool event = strcmp(jsonx_text(message, "method", ""), "event") == 0;
        if (strcmp(jsonx_text(message, "method", ""), "passed") == 0)
            pass(follow, jsonx_int(json_object_get(message, "params"), "seq", 0));
        rc = event ? print_event(follow, json_object_get(message, "params")) : 0;
        json_decref(message);
        if (rc != 0)
            return err_set(err, ERR_SYSTEM, "cannot write the events");
    }
    return 0;
}

static int subscribe(struct follow *follow, int64_t since, int64_t *ret_next, struct err *err)
{
    json_t *answer;
    int rc =
        rpc_client_call(follow->client, "events", json_pack("{s:I}", "since", (json_int_t)since),
                        CLIENT_READ_MS, &answer, NULL, err);

    if (rc != 0)
        return rc;
    *ret_next = jsonx_int(answer, "next", 1);
    snprintf(follow->run, sizeof follow->run, "%s", jsonx_text(answer, "run", "?"));
    json_decref(answer);
    return 0;
}

/* One connection, to its end: ERR_UNREACHABLE.  `since` 0 = only what comes. */
static int follow_once(struct follow *follow, int64_t since, struct err *err)
{
    int64_t next;

    int rc = subscribe(follow, since, &next, err);
    if (rc == 0 && since > next) { /* another supervisor, that counts from 1 */
        client_say("the numbers begin again: another supervisor has started");
        follow->last = 0;
        if (follow->feed.name)
            feed_begin(&follow->feed, 0);
        else
            (void)feed_since(&follow->feed, follow->run);
        rc = subscribe(follow, 1, &next, err);
    }
    if (rc == 0 && since == 0)
        follow->last = next - 1;
    return rc == 0 ? print_until(follow, 0, err) : rc;
}

/* A core that is replaced has a successor with the same numbers. */
static int follow_events(struct follow *follow, int64_t since)
{
    int failures = 0;

    for (;;) {
        struct err err = { 0 };
        int64_t before = follow->last;
        if (follow_once(follow, since, &err) != ERR_UNREACHABLE)
            return client_tell(&err);
        failures = follow->last > before ? 0 : failures + 1;
        if (failures > FAILURES_MAX)
            return client_tell(&err);
        rpc_client_close(follow->client);
        client_pause(PAUSE_MS);
        follow->client = client_reopen(follow->cli);
        if (!follow->client)
            return CLIENT_UNKNOWN;
        if (since > 0 || follow->last > 0)
            since = follow->last + 1;
    }
}

static int print_recorded(struct follow *follow, int64_t since)
{
    struct err err = { 0 };
    int64_t next;

    follow->last = since - 1;
    int rc = subscribe(follow, since, &next, &err);
    if (rc == 0)
        rc = print_until(follow, next, &err);
    return rc == 0 ? CLIENT_OK : client_tell(&err);
}

static int keep(void *context, const char *name, int64_t number, struct err *err)
{
    const struct follow *follow = context;
    json_t *answer = NULL, *params = json_object();

    jsonx_set_text(params, "name", name);
    jsonx_set_int(params, "seq", number);
    int rc =
        rpc_client_call(follow->client, "events.ack", params, CLIENT_READ_MS, &answer, NULL, err);
    json_decref(answer);
    return rc;
}

/* Without an answer from the beginning: twice is better than not at all. */
static int64_t resume_there(struct follow *follow, struct rpc_client *client)
{
    json_t *answer = NULL, *params = json_object();

    jsonx_set_text(params, "name", follow->feed.name);
    (void)client_ask(client, "events.resume", params, CLIENT_READ_MS, &answer);
    feed_begin(&follow->feed, jsonx_int(answer, "seq", 0));
    json_decref(answer);
    return follow->feed.saved + 1;
}

/* Where to go on; asked on a connection of its own, since a subscription begins at once.  0: that
 * cannot be known, which is told. */
static int64_t resume_at(struct follow *follow)
{
    char path[PLACES_PATH_MAX];
    struct rpc_client *client = client_open(follow->cli, path);
    json_t *answer = NULL;
    int64_t since = 0;

    if (client && follow->feed.name) {
        since = resume_there(follow, client);
    } else if (client && client_ask(client, "events", json_pack("{s:i}", "since", 0),
                                    CLIENT_READ_MS, &answer) == CLIENT_OK) {
        since = feed_since(&follow->feed, jsonx_text(answer, "run", "?"));
        json_decref(answer);
    }
    rpc_client_close(client);
    return since;
}

int cmd_events(struct cli *cli)
{
    const char *from = cli_value(cli, "since");
    bool forever = cli_flag(cli, "follow");
    struct follow follow = { .cli = cli };
    char path[PLACES_PATH_MAX];
    struct err err = { 0 };
    int64_t since = forever ? 0 : 1;

    if (from && (unit_integer(from, 10, &since, &err) != 0 || since < 1)) {
        client_say("--since wants the number of an event (\"seq\"), 1 or more, not \"%s\"", from);
        return CLIENT_USAGE;
    }
    if (cli->nwords > 0)
        return feed_become(cli);
    feed_init(&follow.feed, cli);
    follow.feed.keep = keep;
    follow.feed.context = &follow;
    follow.client = client_open(cli, path);
    if (!follow.client)
        return CLIENT_UNKNOWN;
    if ((follow.feed.file || follow.feed.name) && !from && (since = resume_at(&follow)) == 0)
        return CLIENT_FAILED;
    follow.last = since > 0 ? since - 1 : 0;
    int code = forever ? follow_events(&follow, since) : print_recorded(&follow, since);
    rpc_client_close(follow.client);
    return code;
}
