/* cmd_release.c - supervisor switch, confirm, rollback: which release a set of services runs. */
#include <stdio.h>
#include <string.h>

#include "base/unit.h"
#include "io/jsonx.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/core/status.h"
#include "supervisor/machine/release.h"

enum { OUT_MAX = 1024 * 1024, CONFIRM_MS = 30000, WATCH_MS = 100 };

/* An option that is a duration, as seconds into params. */
static int put_duration(const struct cli *cli, const char *option, const char *key, json_t *params)
{
    const char *text = cli_value(cli, option);
    struct err err = { 0 };
    int64_t ms;

    if (!text)
        return CLIENT_OK;
    if (unit_duration(text, &ms, &err) != 0) {
        client_say("--%s: %s", option, err.text);
        return CLIENT_USAGE;
    }
    jsonx_set_real(params, key, (double)ms / 1000.0);
    return CLIENT_OK;
}

/* One line for each instance, for who wonders why it went wrong. */
static void put_instances(const json_t *answer, struct buf *out)
{
    json_t *row;
    size_t i;

    json_array_foreach(json_object_get(answer, "instances"), i, row)
    {
        struct buf note;

        buf_init(&note, OUT_MAX);
        status_note(row, &note);
        buf_printf(out, "    %s %s%s on %s%s%s\n", jsonx_text(row, "id", "?"),
                   jsonx_text(row, "state", "?"),
                   jsonx_bool(row, "ready", false) ? " and ready" : "",
                   jsonx_text(row, "release", "no release"), note.len ? ": " : "", buf_text(&note));
        buf_done(&note);
    }
}

static void put_lease(const struct cli *cli, const json_t *answer, struct buf *out)
{
    double left = jsonx_real(answer, "deadline_s", -1);
    char text[UNIT_TEXT_MAX];

    if (left >= 0)
        buf_printf(out, "it is undone in %s unless you say: supervisor confirm %s %s\n",
                   unit_duration_text((int64_t)left * 1000, text), cli->words[0],
                   jsonx_text(answer, "id", "?"));
}

static int print_switch(const struct cli *cli, const json_t *answer)
{
    const char *result = jsonx_text(answer, "result", "?"), *id = jsonx_text(answer, "id", "?");
    const char *from = jsonx_text(answer, "from", NULL), *name = cli->words[0];
    const char *reason = jsonx_text(answer, "reason", NULL);
    const char *pinned = jsonx_text(answer, "pinned", "no release");
    bool done = strcmp(result, "switched") == 0;
    struct buf out;

    buf_init(&out, OUT_MAX);
    if (done) {
        buf_printf(&out, "%s: switched to %s%s%s\n", name, id, from ? " from " : "",
                   from ? from : "");
        put_lease(cli, answer, &out);
    } else {
        buf_printf(&out, "%s: %s %s: %s\n", name, id,
                   strcmp(result, "reverted") == 0 ? "was undone" : "failed",
                   reason ? reason : "no reason was given");
        buf_printf(&out, "%s is on %s now:\n", name, pinned);
        put_instances(answer, &out);
        buf_printf(&out, "\"supervisor why %s\" shows its last output\n", name);
    }
    if (done && client_print(buf_text(&out)) != CLIENT_OK)
        done = false;
    else if (!done)
        fputs(buf_text(&out), stderr);
    buf_done(&out);
    if (jsonx_text(answer, "warning", NULL))
        client_say("warning: %s", jsonx_text(answer, "warning", ""));
    return done ? CLIENT_OK : CLIENT_FAILED;
}

/* As the answer of a switch, from the state of the set. */
static json_t *as_answer(json_t *state, const char *id)
{
    const char *pinned = jsonx_text(state, "pinned", "");
    bool failed = strcmp(jsonx_text(state, "phase", ""), "failed") == 0;
    bool there = !id || strcmp(pinned, id) == 0;

    if (!id)
        jsonx_set_text(state, "id", pinned);
    else
        jsonx_set_text(state, "id", id);
    jsonx_set_text(state, "result", failed ? "failed" : there ? "switched" : "reverted");
    return state;
}

/* The core was replaced while we waited; the switch goes on without us, to one end or the other. It
 * is not ordered again: what was undone must not be tried twice. */
static int watch(const struct cli *cli, const char *id, json_t **ret)
{
    struct rpc_client *client = client_reopen(cli);
    int code = client ? CLIENT_OK : CLIENT_UNKNOWN;
    bool moving = true;

    while (code == CLIENT_OK && moving) {
        json_t *state;
        code = client_ask(client, "release.state", json_pack("{s:s}", "name", cli->words[0]),
                          CLIENT_READ_MS, &state);
        if (code != CLIENT_OK)
            break;
        const char *phase = jsonx_text(state, "phase", "");
        moving = strcmp(phase, "switching") == 0 || strcmp(phase, "reverting") == 0;
        if (moving) {
            json_decref(state);
            client_pause(WATCH_MS);
        } else {
            *ret = as_answer(state, id);
        }
    }
    rpc_client_close(client);
    return code;
}

static int call(const struct cli *cli, const char *method, json_t *params, int64_t timeout_ms,
                json_t **ret)
{
    char path[PLACES_PATH_MAX], id[RELEASE_ID_MAX];
    struct rpc_client *client = client_open(cli, path);
    struct err err = { 0 };

    snprintf(id, sizeof id, "%s", jsonx_text(params, "id", ""));
    if (!client) {
        json_decref(params);
        return CLIENT_UNKNOWN;
    }
    int rc = rpc_client_call(client, method, params, timeout_ms, ret, NULL, &err);
    rpc_client_close(client);
    if (rc == ERR_UNREACHABLE)
        return watch(cli, id[0] ? id : NULL, ret);
    return rc == 0 ? CLIENT_OK : client_tell(&err);
}

static int run_switch(const struct cli *cli, const char *method, json_t *params)
{
    json_t *answer = NULL;
    int code = call(cli, method, params, -1, &answer);

    if (code != CLIENT_OK)
        return code;
    if (cli_flag(cli, "json")) {
        code = client_print_json(answer);
        if (code == CLIENT_OK && strcmp(jsonx_text(answer, "result", ""), "switched") != 0)
            code = CLIENT_FAILED;
    } else {
        code = print_switch(cli, answer);
    }
    json_decref(answer);
    return code;
}

int cmd_switch(struct cli *cli)
{
    json_t *params = json_pack("{s:s,s:s}", "name", cli->words[0], "id", cli->words[1]);
    int code =
        params ? put_duration(cli, "confirm-within", "confirm_within", params) : CLIENT_USAGE;

    if (code == CLIENT_OK)
        code = put_duration(cli, "timeout", "ready_timeout", params);
    if (code == CLIENT_OK)
        return run_switch(cli, "release.switch", params);
    json_decref(params);
    return code;
}

int cmd_rollback(struct cli *cli)
{
    const char *to = cli_value(cli, "to");
    json_t *params = json_pack("{s:s}", "name", cli->words[0]);
    int code = params ? put_duration(cli, "timeout", "ready_timeout", params) : CLIENT_USAGE;

    if (to)
        jsonx_set_text(params, "id", to);
    if (code == CLIENT_OK)
        return run_switch(cli, "release.rollback", params);
    json_decref(params);
    return code;
}

int cmd_confirm(struct cli *cli)
{
    json_t *answer = NULL;
    int code = call(cli, "release.confirm",
                    json_pack("{s:s,s:s}", "name", cli->words[0], "id", cli->words[1]), CONFIRM_MS,
                    &answer);

    if (code != CLIENT_OK)
        return code;
    json_decref(answer);
    printf("%s: %s is confirmed\n", cli->words[0], cli->words[1]);
    return client_print("");
}
