/* cmd_check.c - supervisor check: a configuration, without any core. */
#include <string.h>

#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/config.h"
#include "supervisor/cli/explain.h"
#include "supervisor/host/rights.h"

enum { ACCESS_MAX = 4 * 1024 * 1024 };

/* "FILE:LINE: warning: ...", as editors know it from compilers. */
static void print_warning(const char *line)
{
    const char *colon = strstr(line, ": ");

    if (colon)
        printf("%.*s: warning: %s\n", (int)(colon - line), line, colon + 2);
    else
        printf("warning: %s\n", line);
}

static void print_warnings(const struct err_list *warnings)
{
    for (size_t i = 0; i < warnings->count; i++)
        print_warning(warnings->lines[i]);
    if (warnings->total > warnings->count)
        printf("... and %zu more warnings\n", warnings->total - warnings->count);
}

static int print_lines(const struct config *config)
{
    print_warnings(&config->warnings);
    if (config->plan && config->errors.total == 0)
        printf("%zu service%s, no errors\n", config->plan->nservices,
               config->plan->nservices == 1 ? "" : "s");
    else
        config_print_errors(config, stdout);
    return client_print("");
}

static int print_json(const struct config *config)
{
    json_t *value = explain_config(config);
    int rc = client_print_json(value);

    json_decref(value);
    return rc;
}

static int print_access(const struct config *config, const char *user)
{
    struct err_list ignored = { 0 }; /* there were none */
    struct rights *rights = rights_make(config->plan, &ignored);
    struct err err = { .code = ERR_MEMORY, .text = "no memory for the rights" };
    struct buf out;

    buf_init(&out, ACCESS_MAX);
    int rc = rights ? rights_print(rights, config->plan, user, &out, &err) : ERR_MEMORY;
    int code = rc == 0 ? client_print(buf_text(&out)) : client_tell(&err);
    buf_done(&out);
    rights_free(rights);
    return code;
}

int cmd_check(struct cli *cli)
{
    char path[PLACES_PATH_MAX];
    struct config config;
    struct places places;
    struct err err = { 0 };

    places_init(&places, NULL);
    if (places_config(&places, cli_value(cli, "config"), path, &err) < 0) {
        client_tell(&err);
        return CLIENT_FAILED;
    }
    const char *release = cli_value(cli, "release");
    bool loaded = config_load(path, &config);
    if (loaded && release && !config_load_release(&config, release, &err) && err.code) {
        config_done(&config);
        return client_tell(&err);
    }
    if (config.plan)
        config_look_around(&config);
    bool ok = config.errors.total == 0;
    const char *user = ok ? cli_value(cli, "access") : NULL;
    int told = user                    ? print_access(&config, user)
               : cli_flag(cli, "json") ? print_json(&config)
                                       : print_lines(&config);
    config_done(&config);
    return ok ? told : CLIENT_FAILED;
}
