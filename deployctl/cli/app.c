/* app.c - the contract is in app.h. */
#include "deployctl/cli/app.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/accounts.h"
#include "base/auto.h"
#include "base/buf.h"
#include "base/unit.h"
#include "deployctl/cli/inventory.h"
#include "deployctl/cli/progress.h"
#include "io/jsonx.h"
#include "deployctl/plan/pace.h"

enum { FILE_MAX = 4 * 1024 * 1024, HOSTNAME_MAX = 256, ERROR_JSON_MAX = 64 * 1024 };

const struct cli_option app_globals[] = {
    { "file", 'f', "FILE", "The recipe; default ./deploy.ini." },
    { "ssh-config", 0, "FILE", "Configuration file for ssh (its -F)." },
    { "hosts", 0, "PATTERN", "Only these hosts: names, web[01-03], web*, label=value." },
    { "json", 0, NULL, "Events and results as JSON lines on stdout." },
    { "verbose", 'v', NULL, "Tell more." },
    { NULL, 0, NULL, NULL },
};

void app_error(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("error: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
}

static void put_json_error(const char *text)
{
    struct buf out;
    json_t *line = json_object();
    jsonx_set_text(line, "event", "error");
    jsonx_set_text(line, "text", text);
    buf_init(&out, ERROR_JSON_MAX);
    if (jsonx_put(line, &out))
        printf("%s\n", buf_text(&out));
    buf_done(&out);
    json_decref(line);
}

void app_fail(const struct app *app, const char *fmt, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, fmt);
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    fprintf(stderr, "error: %s\n", len < 0 ? fmt : text);
    if (app->json && len >= 0)
        put_json_error(text);
    if (len >= 0)
        free(text);
}

char *app_beside(const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');
    char *text = NULL;
    if (path[0] == '/' || !slash)
        return strdup(path);
    if (asprintf(&text, "%.*s/%s", (int)(slash - file), file, path) < 0)
        return NULL;
    return text;
}

static char *name_operator(void)
{
    char host[HOSTNAME_MAX] = "?";
    char *text = NULL;
    char space[ACCOUNTS_ENTRY_BYTES];
    struct passwd entry, *user;
    if (accounts_user(NULL, getuid(), &entry, space, sizeof space, &user) != 0)
        user = NULL;
    gethostname(host, sizeof host - 1);
    const char *dot = strchr(host, '.');
    if (asprintf(&text, "%s@%.*s", user ? user->pw_name : "?",
                 dot ? (int)(dot - host) : (int)strlen(host), host) < 0)
        return NULL;
    return text;
}

static void print_errors(const struct app *app, const struct err_list *errors)
{
    for (size_t i = 0; i < errors->count; i++) {
        fprintf(stderr, "%s\n", errors->lines[i]);
        if (app->json)
            put_json_error(errors->lines[i]);
    }
    if (errors->total > errors->count)
        fprintf(stderr, "... and %zu more\n", errors->total - errors->count);
}

static bool read_recipe(struct app *app)
{
    struct buf text;
    struct err_list errors;
    buf_init(&text, FILE_MAX);
    err_list_init(&errors);
    int rc = buf_read_file(&text, AT_FDCWD, app->file);
    bool ok = false;
    if (rc == -ENOENT)
        app_fail(app, "%s does not exist; `deployctl init` writes one, -f names another",
                 app->file);
    else if (rc < 0)
        app_fail(app, "%s: %s", app->file, strerror(-rc));
    else
        ok = recipe_parse(&app->recipe, app->file, buf_text(&text), text.len, &errors) == 0;
    print_errors(app, &errors);
    err_list_done(&errors);
    buf_done(&text);
    return ok;
}

char *app_source(const struct app *app)
{
    const char *source = app->recipe.deploy.source;
    return source ? app_beside(app->file, source) : NULL;
}

static void fill_order(struct app *app, enum driver_verb verb)
{
    const struct recipe *recipe = &app->recipe;
    const char *word = app->cli->nwords > 0 ? app->cli->words[0] : NULL;
    app->source = word ? strdup(word) : app_source(app);
    if (recipe->deploy.signing_key)
        app->signing_key = app_beside(app->file, recipe->deploy.signing_key);
    app->order = (struct driver_order){
        .verb = verb,
        .signing_key = app->signing_key,
        .source = app->source,
        .who = app->who,
        .partial = cli_value(app->cli, "hosts") != NULL,
        .canary_hosts = recipe->canary.hosts,
        .canary = recipe->canary.size,
        .batch = recipe->rollout.batch,
        .bake_ms = recipe->canary.bake_ms,
    };
}

static bool take_rate(struct app *app, const char *text)
{
    struct err err;
    int64_t rate = 0;
    if (unit_size(text, &rate, &err) < 0)
        app_fail(app, "--rate-limit: %s", err.text);
    else if (rate < PACE_RATE_MIN)
        app_fail(app, "--rate-limit %s: less than %d KB a second is too slow", text,
                 PACE_RATE_MIN / 1024);
    else
        app->recipe.rollout.rate_limit = rate;
    return rate >= PACE_RATE_MIN;
}

bool app_open(struct app *app, struct cli *cli, enum driver_verb verb, int *ret_code)
{
    struct err err;
    const char *hosts = cli_value(cli, "hosts"), *ssh = cli_value(cli, "ssh-config");
    const char *file = cli_value(cli, "file"), *rate = cli_value(cli, "rate-limit");
    *app = (struct app){ .cli = cli };
    recipe_init(&app->recipe);
    app->recipe.ask = inventory_ask;
    app->json = cli_flag(cli, "json");
    app->verbose = cli_flag(cli, "verbose");
    app->file = strdup(file ? file : "deploy.ini");
    app->recipe.ask_context = app->file;
    app->who = name_operator();
    *ret_code = APP_CONFIG;
    if (!app->file || !app->who || !read_recipe(app))
        return false;
    if (ssh) {
        app->recipe.fleet.ssh_config = ssh;
    } else if (app->recipe.fleet.ssh_config) {
        AUTO_FREE char *path = app_beside(app->file, app->recipe.fleet.ssh_config);
        app->recipe.fleet.ssh_config = path ? arena_strdup(&app->recipe.arena, path) : NULL;
    }
    if (app->recipe.deploy.freeze_file) {
        AUTO_FREE char *path = app_beside(app->file, app->recipe.deploy.freeze_file);
        app->recipe.deploy.freeze_file = path ? arena_strdup(&app->recipe.arena, path) : NULL;
        if (!app->recipe.deploy.freeze_file) { /* not known is not the same as not frozen */
            app_fail(app, "no memory for the path of freeze_file");
            return false;
        }
    }
    if (rate && !take_rate(app, rate)) {
        *ret_code = APP_USAGE;
        return false;
    }
    if (hosts && recipe_select(&app->recipe, hosts, &err) < 0) {
        app_fail(app, "%s", err.text);
        *ret_code = APP_USAGE;
        return false;
    }
    fill_order(app, verb);
    return true;
}

void app_done(struct app *app)
{
    recipe_done(&app->recipe);
    free(app->file);
    free(app->source);
    free(app->signing_key);
    free(app->who);
}

int app_run(struct app *app, bool quiet, struct driver **ret_driver)
{
    struct err err;
    enum progress_style style = progress_choose(app->json);
    if (quiet)
        style = app->json ? PROGRESS_QUIET_JSON : PROGRESS_QUIET;
    *ret_driver = NULL;
    struct progress *progress = progress_new(style, &app->recipe, app->verbose, &err);
    struct driver *driver =
        progress ? driver_new(&app->recipe, &app->order, progress_news, progress, &err) : NULL;
    if (!driver) {
        app_fail(app, "%s", err.text);
        progress_free(progress);
        return APP_CONFIG;
    }
    int code = driver_run(driver);
    progress_free(progress);
    *ret_driver = driver;
    return code;
}
