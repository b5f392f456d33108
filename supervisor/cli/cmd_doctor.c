/* cmd_doctor.c - supervisor doctor: which guarantees hold here, with or without a core. */
#include <string.h>
#include <unistd.h>

#include "io/jsonx.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/config.h"
#include "supervisor/core/table.h"
#include "supervisor/host/doctor.h"

enum { REPORT_MAX = 256 * 1024 };
static const char indent[] = "              ";

/* What a core that runs says of itself; NULL = none answers. */
/* NULL with CLIENT_OK: there is none to ask. */
static json_t *ask(const struct cli *cli, int *ret_code)
{
    char path[PLACES_PATH_MAX];
    struct places places;
    struct err err = { 0 };
    json_t *report = NULL;

    places_init(&places, cli_value(cli, "socket"));
    struct rpc_client *client = client_connect(&places, path, &err);
    if (client)
        *ret_code = client_ask(client, "doctor", NULL, CLIENT_READ_MS, &report);
    if (client)
        rpc_client_close(client);
    return report;
}

static json_t *judge(const struct plan *plan, const char *socket)
{
    struct cgroup cgroup;
    struct doctor_facts facts;
    struct doctor_needs needs;

    doctor_needs(plan, geteuid(), &needs);
    if (plan && plan->supervisor.cgroups == SPEC_CGROUPS_OFF)
        cgroup_without(&cgroup, "they are switched off (cgroups = off)");
    else
        cgroup_look(&cgroup);
    doctor_look(&facts, &cgroup, &needs, socket);
    facts.guardian_pid = getpid() == 1 ? 1 : 0;
    return json_pack("{s:b,s:b,s:o}", "running", false, "config", plan != NULL, "guarantees",
                     doctor_judge(&facts, &needs));
}

/* As if it were started here and now. */
static json_t *look(const struct cli *cli)
{
    struct places_socket sockets[PLACES_SOCKETS_MAX];
    char path[PLACES_PATH_MAX];
    struct config config;
    struct places places;
    struct err err = { 0 };
    bool given = cli_value(cli, "config") != NULL;

    places_init(&places, cli_value(cli, "socket"));
    int rc = places_config(&places, cli_value(cli, "config"), path, &err);
    if (rc < 0 && given) {
        client_tell(&err);
        return NULL;
    }
    bool loaded = rc >= 0;
    if (loaded && !config_load(path, &config)) {
        config_print_errors(&config, stderr);
        config_done(&config);
        if (given)
            return NULL;
        loaded = false;
    }
    const char *named = loaded && !places.socket ? config.plan->supervisor.socket : NULL;
    int count = named ? 0 : places_sockets(&places, sockets, &err);
    json_t *report = judge(loaded ? config.plan : NULL, named       ? named
                                                        : count > 0 ? sockets[0].path
                                                                    : "@");
    if (loaded)
        config_done(&config);
    return report;
}

/* --- for people --- */

static void put_row(const json_t *row, bool colour, struct buf *out)
{
    bool holds = jsonx_bool(row, "holds", false), needed = jsonx_bool(row, "needed", false);
    const char *by = jsonx_text(row, "needed_by", NULL);

    table_put(out,
              holds    ? "ok"
              : needed ? "MISSING"
                       : "not here",
              holds    ? TABLE_GOOD
              : needed ? TABLE_BAD
                       : TABLE_WARN,
              colour);
    buf_printf(out, "%*s%s", holds ? 10 : needed ? 5 : 4, "", jsonx_text(row, "what", "?"));
    if (!holds && by)
        buf_printf(out, " (needed by %s)", by);
    buf_putc(out, '\n');
    if (holds)
        return;
    buf_puts(out, indent);
    buf_wrap(out, jsonx_text(row, "why", "?"), sizeof indent - 1, indent);
    buf_puts(out, indent);
    buf_puts(out, "remedy: ");
    buf_wrap(out, jsonx_text(row, "remedy", "?"), sizeof indent - 1 + strlen("remedy: "), indent);
}

static void put_report(const json_t *report, bool colour, struct buf *out)
{
    json_t *rows = json_object_get(report, "guarantees"), *row;
    size_t holding = 0, missing = 0, i;

    if (!jsonx_bool(report, "running", false))
        buf_puts(out, jsonx_bool(report, "config", false)
                          ? "No supervisor runs; this is for one that is started here.\n\n"
                          : "No supervisor runs and there is no configuration; this is for one "
                            "that is started here.\n\n");
    json_array_foreach(rows, i, row)
    {
        put_row(row, colour, out);
        holding += jsonx_bool(row, "holds", false);
        missing += !jsonx_bool(row, "holds", false) && jsonx_bool(row, "needed", false);
    }
    buf_printf(out, "\n%zu of %zu hold; ", holding, json_array_size(rows));
    if (missing == 0)
        buf_puts(out, "nothing that the configuration needs is missing\n");
    else
        buf_printf(out, "%zu that the configuration needs %s missing\n", missing,
                   missing == 1 ? "is" : "are");
}

static int print(const json_t *report)
{
    struct buf out;

    buf_init(&out, REPORT_MAX);
    put_report(report, table_colour(STDOUT_FILENO), &out);
    int code = client_print(buf_text(&out));
    buf_done(&out);
    return code;
}

int cmd_doctor(struct cli *cli)
{
    int asked = CLIENT_OK;
    json_t *report = cli_value(cli, "config") ? NULL : ask(cli, &asked);

    if (asked != CLIENT_OK) /* what one that does not run would have says nothing about this one */
        return asked;
    if (!report)
        report = look(cli);
    if (!report)
        return CLIENT_FAILED;
    int code = cli_flag(cli, "json") ? client_print_json(report) : print(report);
    if (code == CLIENT_OK && !doctor_all_well(json_object_get(report, "guarantees")))
        code = CLIENT_FAILED;
    json_decref(report);
    return code;
}
