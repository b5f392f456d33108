/* complete.c - the contract is in complete.h. */
#include "deployctl/cli/complete.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "deployctl/cli/app.h"
#include "deployctl/plan/manifest.h"

enum { WORD_MAX = 512, HOSTS_MAX = 2000, RELEASES_MAX = 200 };

/* The recipe that is meant, or the usual one; the shell throws away what is told of errors. */
static bool read_recipe(struct cli *cli, struct app *app)
{
    int code;
    bool ok = app_open(app, cli, DRIVER_STATUS, &code);
    if (!ok)
        app_done(app);
    return ok;
}

static void offer_labels(const struct recipe_host *host, struct cli_offers *offers)
{
    const char *at = host->labels ? host->labels : "";
    char word[WORD_MAX];
    while (*(at += strspn(at, " \t\n,"))) {
        size_t len = strcspn(at, " \t\n,");
        snprintf(word, sizeof word, "%.*s", (int)len, at);
        cli_offer(offers, word, NULL);
        at += len;
    }
}

void complete_hosts(struct cli *cli, struct cli_offers *offers)
{
    struct app app;
    if (!read_recipe(cli, &app))
        return;
    for (size_t i = 0; i < app.recipe.count && i < HOSTS_MAX; i++)
        cli_offer(offers, app.recipe.hosts[i].name, NULL);
    for (size_t i = 0; i < app.recipe.count && i < HOSTS_MAX && offers->word[0]; i++)
        offer_labels(&app.recipe.hosts[i], offers);
    app_done(&app);
}

void complete_services(struct cli *cli, struct cli_offers *offers)
{
    struct app app;
    if (!read_recipe(cli, &app))
        return;
    for (size_t i = 0; i < app.recipe.deploy.services.count; i++)
        cli_offer(offers, app.recipe.deploy.services.names[i], NULL);
    app_done(&app);
}

static void offer_folder(const char *path, struct cli_offers *offers)
{
    char folder[WORD_MAX];
    snprintf(folder, sizeof folder, "%s/releases", path);
    DIR *dir = opendir(folder);
    size_t shown = 0;
    for (struct dirent *entry; dir && shown < RELEASES_MAX && (entry = readdir(dir)) != NULL;)
        if (manifest_id_parse(entry->d_name, NULL)) {
            cli_offer(offers, entry->d_name, NULL);
            shown++;
        }
    if (dir)
        closedir(dir);
}

void complete_releases(struct cli *cli, struct cli_offers *offers)
{
    struct app app;
    bool done = false;
    if (!read_recipe(cli, &app))
        return;
    for (size_t i = 0; i < app.recipe.count && !done; i++) {
        done = app.recipe.hosts[i].local; /* all of them have the same */
        if (done)
            offer_folder(app.recipe.hosts[i].path, offers);
    }
    app_done(&app);
}

void complete_value(struct cli *cli, const struct cli_option *option, struct cli_offers *offers)
{
    static const struct {
        const char *option;
        void (*complete)(struct cli *cli, struct cli_offers *offers);
    } rows[] = {
        { "hosts", complete_hosts },
        { "canary", complete_hosts },
        { "to", complete_releases },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].option, option->name) == 0)
            rows[i].complete(cli, offers);
}
