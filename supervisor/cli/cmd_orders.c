/* cmd_orders.c - supervisor start, stop, restart, signal, scale. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/unit.h"
#include "io/jsonx.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/words.h"

struct verb {
    const char *method, *done, *failed;
};
static const struct verb verb_start = { "start", "started", "did not start" };
static const struct verb verb_stop = { "stop", "stopped", "did not stop" };
static const struct verb verb_restart = { "restart", "restarted", "did not restart" };
static const struct verb verb_reload = { "service.reload", "has read its files again",
                                         "has not read its files again" };

static int need_names(const struct cli *cli, size_t before)
{
    if (cli->nwords > before)
        return CLIENT_OK;
    client_say("%s: which services? Give names (web, web:0, GROUP:*), or \"all\"",
               cli->command->name);
    return CLIENT_USAGE;
}

static void print_failure(const struct verb *verb, const json_t *row)
{
    const char *reason = jsonx_text(row, "reason", NULL), *output = jsonx_text(row, "output", NULL);
    const char *log = jsonx_text(row, "log", NULL);
    struct buf out;

    buf_init(&out, WORDS_OUTPUT_MAX);
    buf_printf(&out, "%s %s: %s\n", jsonx_text(row, "instance", "?"), verb->failed,
               reason ? reason : jsonx_text(row, "state", "for no reason that was given"));
    if (output)
        words_put_output(&out, output);
    if (log)
        buf_printf(&out, "    (from %s)\n", log);
    fputs(buf_text(&out), stderr);
    buf_done(&out);
}

static int print_results(const struct verb *verb, const json_t *answer, bool waited)
{
    json_t *row;
    size_t i;

    json_array_foreach(json_object_get(answer, "results"), i, row)
    {
        const char *name = jsonx_text(row, "instance", "?");
        const char *state = jsonx_text(row, "state", "");
        const char *reason = jsonx_text(row, "reason", NULL);

        if (!jsonx_bool(row, "ok", false))
            print_failure(verb, row);
        else if (!waited)
            printf("%s: %s ordered, is %s\n", name, verb == &verb_reload ? "reload" : verb->method,
                   state);
        else if (verb == &verb_reload && reason)
            printf("%s %s\n", name, reason);
        else if (strcmp(state, "scheduled") == 0)
            printf("%s is scheduled\n", name);
        else if (strcmp(state, "exited") == 0 && verb != &verb_stop)
            printf("%s done\n", name);
        else
            printf("%s %s\n", name, verb->done);
    }
    if (client_print("") != CLIENT_OK)
        return CLIENT_FAILED;
    return jsonx_bool(answer, "ok", false) ? CLIENT_OK : CLIENT_FAILED;
}

/* `asked_ms`: when it was first asked for, of one that asks again; else 0. */
static json_t *order_params(const struct cli *cli, bool wait, int64_t asked_ms)
{
    return json_pack("{s:o,s:b,s:I}", "names", client_names(cli), "wait", (int)wait, "asked_ms",
                     (json_int_t)asked_ms);
}

/* A core that dies while we wait is replaced, and what was ordered stands.  Asking for the same end
 * again changes nothing but lets us wait for it: after a restart that is `start`. */
static int order(const struct cli *cli, const struct verb *verb, bool wait, json_t **ret)
{
    const char *method = verb->method;
    char path[PLACES_PATH_MAX];
    struct rpc_client *client = client_open(cli, path);
    struct err err = { 0 };
    int64_t began_ms = clock_wall_us() / 1000, asked_ms = 0;
    int rc = 0;

    if (!client)
        return CLIENT_UNKNOWN;
    while (client) {
        err = (struct err){ 0 };
        rc = rpc_client_call(client, method, order_params(cli, wait, asked_ms),
                             wait ? -1 : CLIENT_READ_MS, ret, NULL, &err);
        rpc_client_close(client);
        if (rc != ERR_UNREACHABLE || !wait)
            break;
        client = client_reopen(cli);
        asked_ms = began_ms;
        method = verb == &verb_restart ? verb_start.method : method;
    }
    if (rc == ERR_UNREACHABLE)
        err_wrap(&err, "the order was given, how it ended is not known");
    return rc == 0 ? CLIENT_OK : client_tell(&err);
}

static int run_verb(struct cli *cli, const struct verb *verb)
{
    bool wait = !cli_flag(cli, "no-wait");
    json_t *answer;

    int code = need_names(cli, 0);
    if (code == CLIENT_OK)
        code = order(cli, verb, wait, &answer);
    if (code != CLIENT_OK)
        return code;
    code = cli_flag(cli, "json") ? client_print_json(answer) : print_results(verb, answer, wait);
    if (code == CLIENT_OK && !jsonx_bool(answer, "ok", false))
        code = CLIENT_FAILED;
    json_decref(answer);
    return code;
}

int cmd_start(struct cli *cli) { return run_verb(cli, &verb_start); }
int cmd_stop(struct cli *cli) { return run_verb(cli, &verb_stop); }
int cmd_restart(struct cli *cli) { return run_verb(cli, &verb_restart); }
int cmd_reload_services(struct cli *cli) { return run_verb(cli, &verb_reload); }

int cmd_signal(struct cli *cli)
{
    json_t *answer, *names = json_array();

    int code = need_names(cli, 1);
    for (size_t i = 1; i < cli->nwords; i++)
        json_array_append_new(names, json_string(cli->words[i]));
    json_t *params =
        json_pack("{s:s,s:o}", "signal", cli->nwords ? cli->words[0] : "", "names", names);
    if (code == CLIENT_OK)
        code = client_call(cli, "signal", json_incref(params), CLIENT_READ_MS, &answer);
    json_decref(params);
    if (code != CLIENT_OK)
        return code;
    int64_t sent = jsonx_int(answer, "signalled", 0), all = jsonx_int(answer, "selected", 0);
    json_decref(answer);
    printf("signal %s sent to %lld of %lld instance%s%s\n", cli->words[0], (long long)sent,
           (long long)all, all == 1 ? "" : "s", sent < all ? ", the others do not run" : "");
    code = client_print("");
    return code == CLIENT_OK && sent == 0 ? CLIENT_FAILED : code;
}

/* --- scale --- */

static int parse_scale(const char *word, json_t *counts)
{
    const char *equals = strchr(word, '=');
    char name[256];
    struct err err = { 0 };
    int64_t count;

    if (!equals || equals == word || (size_t)(equals - word) >= sizeof name) {
        client_say("scale: \"%s\" is not NAME=N (try web=3)", word);
        return CLIENT_USAGE;
    }
    snprintf(name, sizeof name, "%.*s", (int)(equals - word), word);
    if (unit_integer(equals + 1, 10, &count, &err) != 0) {
        client_say("scale: %s: %s", name, err.text);
        return CLIENT_USAGE;
    }
    if (json_object_get(counts, name)) {
        client_say("scale: %s is given twice", name);
        return CLIENT_USAGE;
    }
    if (jsonx_set_int(counts, name, count) == 0)
        return CLIENT_OK;
    client_say("scale: \"%s\" is not valid UTF-8, no service is called so", name);
    return CLIENT_USAGE;
}

static void print_scales(json_t *counts, const json_t *answer)
{
    const char *problem = jsonx_text(answer, "problem", NULL), *name;
    json_t *count;

    json_object_foreach(counts, name, count)
    {
        json_int_t n = json_integer_value(count);
        printf("%s: %lld instance%s\n", name, (long long)n, n == 1 ? "" : "s");
    }
    if (problem)
        client_say("scale: the next start of the supervisor will not know of it: %s", problem);
}

/* One order: all of it is done, or nothing. */
int cmd_scale(struct cli *cli)
{
    json_t *counts = json_object(), *answer;
    int code = CLIENT_OK;

    for (size_t i = 0; i < cli->nwords && code == CLIENT_OK; i++)
        code = parse_scale(cli->words[i], counts);
    if (code == CLIENT_OK)
        code = client_call(cli, "scale", json_pack("{s:O}", "counts", counts), CLIENT_READ_MS,
                           &answer);
    if (code == CLIENT_OK) {
        print_scales(counts, answer);
        json_decref(answer);
        code = client_print("");
    }
    json_decref(counts);
    return code;
}
