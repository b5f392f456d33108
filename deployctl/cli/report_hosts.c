/* report_hosts.c - deployctl hosts: what each host has for a release, and what it lacks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/unit.h"
#include "deployctl/cli/report.h"
#include "deployctl/cli/table.h"
#include "io/jsonx.h"

enum {
    SKEW_MOST_MS = 5000, /* more makes the journals of hosts hard to put in order */
    INODES_FEW = 10000,
    CELL_MAX = 64,
};

/* One host in the words of the table; "-" is what could not be asked. */
struct row {
    struct driver_view view;
    const json_t *answer; /* NULL = none */
    const char *login, *agent, *folder;
    char supervisor[CELL_MAX], space[CELL_MAX], clock[CELL_MAX];
    bool unreachable, lacking;
    bool helps; /* `deployctl bootstrap` brings what is missing */
};

static void judge_supervisor(struct row *row)
{
    const char *version = jsonx_text(json_object_get(row->answer, "supervisor"), "version", NULL);
    const char *kind = jsonx_text(row->answer, "supervisor_kind", NULL);
    const char *cell = "-";
    if (version != NULL)
        cell = version;
    else if (kind != NULL)
        cell = strcmp(kind, err_code_name(ERR_DENIED)) == 0 ? "no right" : "no answer";
    snprintf(row->supervisor, sizeof row->supervisor, "%s", cell);
    row->helps = row->helps || (version == NULL && kind != NULL);
}

static void judge_space(struct row *row)
{
    int64_t bytes = jsonx_int(row->answer, "free_bytes", 0);
    int64_t inodes = jsonx_int(row->answer, "free_inodes", INODES_FEW);
    char text[UNIT_TEXT_MAX];
    if (bytes <= 0)
        return;
    if (inodes < INODES_FEW)
        snprintf(row->space, sizeof row->space, "%s, %lld files", unit_size_text(bytes, text),
                 (long long)inodes);
    else
        snprintf(row->space, sizeof row->space, "%s", unit_size_text(bytes, text));
}

static void judge_clock(struct row *row)
{
    int64_t skew = row->view.skew_ms;
    if (skew > SKEW_MOST_MS || skew < -SKEW_MOST_MS)
        snprintf(row->clock, sizeof row->clock, "%+lld s", (long long)(skew / 1000));
    else
        snprintf(row->clock, sizeof row->clock, "ok");
}

static struct row judge(const struct driver *driver, size_t index)
{
    struct row row = { .view = driver_view(driver, index),
                       .login = "-",
                       .agent = "-",
                       .folder = "-",
                       .supervisor = "-",
                       .space = "-",
                       .clock = "-" };
    row.answer = row.view.glance->answer;
    row.unreachable = row.answer == NULL && !row.view.lacks_agent;
    row.lacking = !row.unreachable && *row.view.error != '\0';
    if (row.unreachable)
        return row;
    row.login = "ok";
    row.agent = "missing";
    row.helps = row.view.lacks_agent;
    if (row.answer == NULL)
        return row;
    row.agent = jsonx_text(json_object_get(row.answer, "agent"), "version", "older");
    row.folder = jsonx_text(row.answer, "folder",
                            jsonx_bool(row.answer, "writable", false) ? "ok" : "not writable");
    row.helps = row.helps || strcmp(row.folder, "ok") != 0;
    judge_supervisor(&row);
    judge_space(&row);
    judge_clock(&row);
    row.helps = row.helps && row.lacking;
    return row;
}

static bool is_ssh(const struct row *row) { return !row->view.spec->local; }

static void put_row(struct table *table, const struct row *row)
{
    const char *labels = row->view.spec->labels;
    const char *current = row->view.glance->current;
    table_put(table, "%s", row->view.spec->name);
    table_put(table, "%s", row->view.spec->transport);
    table_put(table, "%s", row->login);
    table_put(table, "%s", row->agent);
    table_put(table, "%s", row->supervisor);
    table_put(table, "%s", row->folder);
    table_put(table, "%s", row->space);
    table_put(table, "%s", row->clock);
    table_put(table, "%s", current != NULL ? current : "-");
    table_put(table, "%s%s%s",
              row->unreachable ? "unreachable"
              : row->lacking   ? "not ready"
                               : "ok",
              labels != NULL ? "  " : "", labels != NULL ? labels : "");
}

static void put_remedies(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct row *row = &rows[i];
        if (*row->view.error == '\0' && strcmp(row->clock, "-") != 0 &&
            strcmp(row->clock, "ok") != 0)
            printf("\n%s: its clock differs from the one here by %s; set it (NTP), the times in "
                   "its journal count\n",
                   row->view.spec->name, row->clock);
        if (*row->view.error == '\0')
            continue;
        printf("\n%s: ", row->view.spec->name);
        report_text(row->view.error);
        printf("\n");
        if (row->helps && !row->view.lacks_agent && is_ssh(row)) /* the blame of that says it */
            printf("  `deployctl bootstrap %s` brings what is missing\n", row->view.spec->name);
        if (row->unreachable && strstr(row->view.error, "does not accept our key") != NULL)
            printf("  is it new? `deployctl bootstrap %s` logs in as root and makes the user\n",
                   row->view.spec->name);
    }
}

static void put_table(const struct row *rows, size_t count)
{
    static const char *const heads[] = { "HOST",   "TRANSPORT", "LOGIN", "AGENT",   "SUPERVISOR",
                                         "FOLDER", "FREE",      "CLOCK", "RELEASE", "STATE" };
    struct table table;
    table_init(&table, sizeof heads / sizeof *heads);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        table_put(&table, "%s", heads[i]);
    for (size_t i = 0; i < count; i++)
        put_row(&table, &rows[i]);
    table_print(&table);
    table_done(&table);
    put_remedies(rows, count);
}

static void put_json(const struct driver *driver, const struct row *rows, size_t count, int code)
{
    json_t *status = report_status_json(driver, code), *hosts = json_object_get(status, "hosts");
    for (size_t i = 0; i < count; i++) {
        json_t *host = json_array_get(hosts, i);
        char remedy[300] = "";
        if (rows[i].helps && is_ssh(&rows[i]))
            snprintf(remedy, sizeof remedy, "deployctl bootstrap %s", rows[i].view.spec->name);
        jsonx_set_text(host, "login", rows[i].login);
        jsonx_set_text(host, "named_by", report_origin_of(rows[i].view.spec));
        jsonx_set_text(host, "state",
                       rows[i].unreachable ? "unreachable"
                       : rows[i].lacking   ? "not ready"
                                           : "ok");
        if (*remedy != '\0')
            jsonx_set_text(host, "remedy", remedy);
        if (rows[i].answer != NULL)
            jsonx_set_int(host, "skew_ms", rows[i].view.skew_ms);
    }
    report_json(status);
}

const char *report_origin_of(const struct recipe_host *host)
{
    return host->from_command ? "hosts_command" : "hosts";
}

void report_origin(const struct recipe *recipe)
{
    size_t told = 0;
    for (size_t i = 0; i < recipe->count; i++)
        told += recipe->hosts[i].from_command;
    if (told > 0)
        printf("Hosts     %zu of them by hosts_command (`%s`), %zu by %s\n", told,
               recipe->fleet.hosts_command, recipe->count - told, recipe->file);
}

int report_hosts(const struct app *app, const struct driver *driver)
{
    size_t count = driver_count(driver);
    struct row *rows = calloc(count + 1, sizeof *rows);
    int code = APP_DONE;
    if (rows == NULL) {
        app_fail(app, "no memory for %zu hosts", count);
        return APP_CONFIG;
    }
    for (size_t i = 0; i < count; i++) {
        rows[i] = judge(driver, i);
        if (rows[i].unreachable)
            code = APP_UNREACHABLE;
        else if (rows[i].lacking && code == APP_DONE)
            code = APP_CONFIG;
    }
    if (app->json)
        put_json(driver, rows, count, code);
    else
        put_table(rows, count);
    if (!app->json)
        report_origin(&app->recipe);
    free(rows);
    return code;
}
