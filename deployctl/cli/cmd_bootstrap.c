/* cmd_bootstrap.c - deployctl bootstrap: what hosts lack for releases, told, asked and done. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/ini.h"
#include "deployctl/cli/app.h"
#include "deployctl/cli/boot_report.h"
#include "deployctl/cli/commands.h"
#include "deployctl/fleet/boot.h"
#include "deployctl/wire/digest.h"
#include "io/child.h"

enum { PROGRAM_MAX = 64 * 1024 * 1024, USER_MAX = 32 };
#define WORD_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"

const struct cli_option cmd_bootstrap_options[] = {
    { "user", 0, "NAME", "Log in as this one; default root, with --sudo the user of deploy.ini." },
    { "sudo", 0, NULL, "Become root by sudo, which must not want a password." },
    { "supervisor", 0, "PATH", "The supervisor to copy; default the one beside this deployctl." },
    { "deployctl", 0, "PATH", "The deployctl to copy; default this one." },
    { "replace", 0, NULL,
      "Replace programs and the service file also when they are newer or differ." },
    { "dry-run", 'n', NULL, "Only tell what would be done." },
    { "yes", 'y', NULL, "Ask nothing." },
    { NULL, 0, NULL, NULL },
};

/* What lives as long as the command. */
struct bring {
    struct app *app;
    struct boot_order order;
    char *deployctl_file, *supervisor_file, *service_path;
    char service_name[BOOTSTRAP_NAME_MAX];
    struct buf deployctl, supervisor, service;
    struct arena arena;
};

static bool is_user(const char *name)
{
    return name != NULL && *name != '\0' && strlen(name) <= USER_MAX &&
           name[strspn(name, WORD_LETTERS)] == '\0' && !strchr("0123456789-.", *name);
}

/* --- what is brought ------------------------------------------------------------------------ */

/* The supervisor that was installed with this deployctl, or built beside it. */
static char *find_supervisor(const char *given, struct err *err)
{
    static const char *const beside[] = { "supervisor", "../sbin/supervisor" };
    char own[BOOTSTRAP_PATH_MAX];
    if (given != NULL)
        return strdup(given);
    ssize_t len = readlink("/proc/self/exe", own, sizeof own - 1);
    own[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(own, '/');
    for (size_t i = 0; slash != NULL && i < sizeof beside / sizeof *beside; i++) {
        char *path = NULL;
        if (asprintf(&path, "%.*s/%s", (int)(slash - own), own, beside[i]) < 0)
            return NULL;
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return child_find("supervisor", environ, err);
}

static bool digest_hex(const struct buf *contents, char hex[static BOOTSTRAP_HEX_MAX])
{
    unsigned char digest[MANIFEST_DIGEST_BYTES];
    struct err err;
    if (digest_of(buf_text(contents), contents->len, digest, &err) < 0) {
        app_error("%s", err.text);
        return false;
    }
    manifest_hex(digest, hex);
    return true;
}

static bool read_program(struct bootstrap_program *program, const char *file, struct buf *contents)
{
    int rc = buf_read_file(contents, AT_FDCWD, file);
    if (rc < 0) {
        app_error("%s: %s", file, strerror(-rc));
        return false;
    }
    program->file = file;
    program->bytes = contents->len;
    if (!bootstrap_program_read(program, (const unsigned char *)buf_text(contents),
                                contents->len)) {
        app_error("%s is not a program for Linux (ELF)", file);
        return false;
    }
    return digest_hex(contents, program->digest);
}

static bool read_programs(struct bring *bring)
{
    struct cli *cli = bring->app->cli;
    struct bootstrap_wish *wish = &bring->order.wish;
    struct err err = { 0 };
    const char *given = cli_value(cli, "deployctl");
    bring->deployctl_file = strdup(given != NULL ? given : child_own_program());
    bring->supervisor_file = find_supervisor(cli_value(cli, "supervisor"), &err);
    if (bring->supervisor_file == NULL) {
        app_error("there is no supervisor beside deployctl or in PATH; name one with --supervisor");
        return false;
    }
    wish->deployctl.name = "deployctl";
    wish->deployctl.target = bring->app->recipe.fleet.remote_path;
    wish->supervisor.name = "supervisor";
    wish->supervisor.target = BOOTSTRAP_SUPERVISOR;
    wish->version = VERSION;
    if (bring->deployctl_file == NULL ||
        !read_program(&wish->deployctl, bring->deployctl_file, &bring->deployctl) ||
        !read_program(&wish->supervisor, bring->supervisor_file, &bring->supervisor))
        return false;
    if (given == NULL)
        wish->deployctl.file = "this deployctl";
    return true;
}

/* --- the service file ----------------------------------------------------------------------- */

static void add_service_user(struct bootstrap_wish *wish, const char *user)
{
    if (!is_user(user) || strcmp(user, "root") == 0)
        return;
    for (size_t i = 0; i < wish->nservice_users; i++)
        if (strcmp(wish->service_users[i], user) == 0)
            return;
    if (wish->nservice_users < BOOTSTRAP_USERS_MAX)
        wish->service_users[wish->nservice_users++] = user;
}

/* Only its users matter here: the host's own `supervisor check` is the judge of the rest. */
static bool read_service_users(struct bring *bring)
{
    struct err_list errors;
    struct ini ini = { 0 };
    err_list_init(&errors);
    bool ok = ini_parse_text(bring->service_path, buf_text(&bring->service), bring->service.len,
                             &bring->arena, &ini, &errors) == 0;
    for (size_t i = 0; i < errors.count; i++)
        app_error("%s", errors.lines[i]);
    err_list_done(&errors);
    for (size_t i = 0; i < ini.count; i++) {
        const struct ini_entry *entry = &ini.entries[i];
        if (entry->key != NULL && strcmp(entry->key, "user") == 0 &&
            strncmp(entry->section, "service:", 8) == 0)
            add_service_user(&bring->order.wish, entry->value);
    }
    return ok;
}

static bool read_service(struct bring *bring)
{
    const struct recipe_deploy *deploy = &bring->app->recipe.deploy;
    struct bootstrap_wish *wish = &bring->order.wish;
    if (deploy->service_file == NULL || *deploy->service_file == '\0')
        return true;
    bring->service_path = app_beside(bring->app->file, deploy->service_file);
    int rc = bring->service_path == NULL
                 ? -ENOMEM
                 : buf_read_file(&bring->service, AT_FDCWD, bring->service_path);
    if (rc < 0) {
        app_error("%s: [deploy] service_file: %s: %s", bring->app->file, deploy->service_file,
                  strerror(-rc));
        return false;
    }
    snprintf(bring->service_name, sizeof bring->service_name, "%.50s.ini", deploy->app);
    wish->service_file = bring->service_name;
    return digest_hex(&bring->service, wish->service_digest) && read_service_users(bring);
}

/* --- the order ------------------------------------------------------------------------------ */

/* HOST... are names or patterns, as --hosts. */
static bool select_hosts(struct app *app)
{
    struct err err;
    struct buf words;
    bool ok = true;
    buf_init(&words, INI_LINE_MAX);
    for (size_t i = 0; i < app->cli->nwords; i++)
        buf_printf(&words, "%s%s", i > 0 ? " " : "", app->cli->words[i]);
    if (words.len > 0 && recipe_select(&app->recipe, buf_text(&words), &err) < 0) {
        app_error("%s", err.text);
        ok = false;
    }
    buf_done(&words);
    return ok;
}

/* Words that a shell on the hosts will read: plain ones only. */
static bool check_hosts(const struct app *app)
{
    for (size_t i = 0; i < app->recipe.count; i++) {
        const struct recipe_host *host = &app->recipe.hosts[i];
        if (!host->local && (host->user == NULL || *host->user == '\0')) {
            app_error("%s: [fleet] user: name who deploys, for instance `user = deploy`; bootstrap "
                      "makes this user on the hosts",
                      app->file);
            return false;
        }
        if (!host->local && !is_user(host->user)) {
            app_error("%s: user \"%s\" is not a name that a host takes", app->file, host->user);
            return false;
        }
        if (host->path[0] != '/' || host->path[strspn(host->path, WORD_LETTERS "/")] != '\0') {
            app_error("%s: path \"%s\" must be absolute and have only the characters "
                      "A-Z a-z 0-9 _ . / -",
                      app->file, host->path);
            return false;
        }
    }
    return true;
}

static int prepare(struct bring *bring)
{
    struct app *app = bring->app;
    struct boot_order *order = &bring->order;
    const char *user = cli_value(app->cli, "user");
    if (!select_hosts(app))
        return APP_USAGE;
    if (user != NULL && !is_user(user)) {
        app_error("--user %s is not a name of a user", user);
        return APP_USAGE;
    }
    order->recipe = &app->recipe;
    order->wish.sudo = cli_flag(app->cli, "sudo");
    order->wish.replace = cli_flag(app->cli, "replace");
    order->login = user != NULL ? user : order->wish.sudo ? NULL : "root";
    order->deployctl = &bring->deployctl;
    order->supervisor = &bring->supervisor;
    order->service_file = &bring->service;
    return check_hosts(app) && read_programs(bring) && read_service(bring) ? APP_DONE : APP_CONFIG;
}

static bool may_begin(const struct app *app, size_t hosts)
{
    char answer[16];
    if (cli_flag(app->cli, "yes") || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return true;
    fprintf(stderr, "Do this on %zu host%s? [y/N] ", hosts, hosts == 1 ? "" : "s");
    fflush(stderr);
    return fgets(answer, sizeof answer, stdin) != NULL && (*answer == 'y' || *answer == 'Y');
}

static int bring_all(struct bring *bring)
{
    struct app *app = bring->app;
    struct err err;
    struct boot *boot = boot_new(&bring->order, boot_report_news, app, &err);
    if (boot == NULL) {
        app_error("%s", err.text);
        return APP_CONFIG;
    }
    boot_look(boot);
    size_t hosts = boot_report_plan(app, boot);
    bool begun = hosts > 0 && !cli_flag(app->cli, "dry-run") && may_begin(app, hosts);
    if (begun)
        boot_apply(boot);
    int code = boot_report_end(app, boot, begun);
    boot_free(boot);
    return code;
}

int cmd_bootstrap_run(struct cli *cli)
{
    struct app app;
    int code;
    if (app_open(&app, cli, DRIVER_STATUS, &code)) {
        struct bring bring = { .app = &app };
        buf_init(&bring.deployctl, PROGRAM_MAX);
        buf_init(&bring.supervisor, PROGRAM_MAX);
        buf_init(&bring.service, INI_FILE_MAX);
        arena_init(&bring.arena);
        code = prepare(&bring);
        if (code == APP_DONE)
            code = bring_all(&bring);
        buf_done(&bring.deployctl);
        buf_done(&bring.supervisor);
        buf_done(&bring.service);
        arena_done(&bring.arena);
        free(bring.deployctl_file);
        free(bring.supervisor_file);
        free(bring.service_path);
    }
    app_done(&app);
    return code;
}
