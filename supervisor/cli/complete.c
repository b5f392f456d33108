/* complete.c - the contract is in complete.h. */
#include "supervisor/cli/complete.h"

#include <stdio.h>
#include <string.h>

#include "base/signals.h"
#include "io/jsonx.h"
#include "supervisor/cli/client.h"
#include "supervisor/plan/options.h"

enum { PATIENCE_MS = 1000, WORD_MAX = 256, SIGNALS = 32 };

/* The `services` of a status; a new reference, or NULL. */
static json_t *ask(const struct cli *cli)
{
    json_t *status, *services;

    if (client_call(cli, "status", json_pack("{s:[]}", "names"), PATIENCE_MS, &status) != CLIENT_OK)
        return NULL;
    services = json_incref(json_object_get(status, "services"));
    json_decref(status);
    return services;
}

static void offer_instances(const json_t *service, struct cli_offers *offers)
{
    json_t *instance;
    size_t i;

    json_array_foreach(json_object_get(service, "instances"), i, instance)
    {
        cli_offer(offers, jsonx_text(instance, "id", ""), jsonx_text(instance, "state", NULL));
    }
}

/* `suffix` is put behind each service. */
static void offer_services(const json_t *services, const char *suffix, struct cli_offers *offers)
{
    char word[WORD_MAX];
    json_t *service;
    size_t i;

    json_array_foreach((json_t *)services, i, service)
    {
        snprintf(word, sizeof word, "%s%s", jsonx_text(service, "name", ""), suffix);
        cli_offer(offers, word, NULL);
    }
}

void complete_names(struct cli *cli, struct cli_offers *offers)
{
    json_t *services = ask(cli), *service;
    size_t i;

    offer_services(services, "", offers);
    json_array_foreach(services, i, service)
    {
        /* Instances only once the service is named: a thousand of them help nobody. */
        const char *name = jsonx_text(service, "name", "");
        if (strncmp(offers->word, name, strlen(name)) == 0)
            offer_instances(service, offers);
    }
    if (services)
        cli_offer(offers, "all", "everything");
    json_decref(services);
}

void complete_services(struct cli *cli, struct cli_offers *offers)
{
    json_t *services = cli->nwords == 0 ? ask(cli) : NULL;

    offer_services(services, "", offers);
    json_decref(services);
}

void complete_scale(struct cli *cli, struct cli_offers *offers)
{
    json_t *services = ask(cli);

    offer_services(services, "=", offers);
    json_decref(services);
}

void complete_signal(struct cli *cli, struct cli_offers *offers)
{
    if (cli->nwords > 0) {
        complete_names(cli, offers);
        return;
    }
    for (int signum = 1; signum < SIGNALS; signum++)
        cli_offer(offers, signals_name(signum), NULL);
}

void complete_keys(struct cli *cli, struct cli_offers *offers)
{
    if (cli->nwords > 0)
        return;
    for (size_t t = 0; options_all[t]; t++)
        for (size_t i = 0; i < options_all[t]->count; i++)
            cli_offer(offers, options_all[t]->rows[i].key, options_all[t]->rows[i].help);
}

void complete_files(struct cli *cli, struct cli_offers *offers)
{
    (void)cli;
    cli_offer_files(offers);
}
