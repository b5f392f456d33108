/* cmd_run.c - supervisor run: becomes the guardian. */
#include "supervisor/cli/commands.h"

#include <malloc.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/cli/client.h"
#include "supervisor/cli/config.h"
#include "supervisor/guardian/early.h"
#include "supervisor/guardian/guardian.h"
#include "supervisor/guardian/handover.h"
#include "supervisor/guardian/leave.h"

static int run_alone(struct cli *cli)
{
    int code;

    if (cli_value(cli, "config") || cli_value(cli, "socket")) {
        client_say(
            "run -- COMMAND has no configuration and no control socket; leave out -c and -s");
        return CLIENT_USAGE;
    }
    code = guardian_alone(cli->words);
    if (early_is_host_init())
        leave_host(LEAVE_POWEROFF);
    return code;
}

/* -s and $SUPERVISOR_SOCKET go before `socket` in the configuration, that before the default. */
static int choose_socket(const struct cli *cli, const char *configured,
                         char ret[static PLACES_PATH_MAX], struct err *err)
{
    struct places places;

    places_init(&places, cli_value(cli, "socket"));
    if (!places.socket && !places.variable)
        places.socket = configured;
    return places_make_socket(&places, ret, err);
}

/* With the configuration named now, or that of before.  What is wrong in it keeps nobody from going
 * on: it is loaded as by a reload. */
static int run_on(struct cli *cli, struct handover *handed)
{
    char config[PLACES_PATH_MAX];
    struct places places;
    struct err err = { 0 };

    places_init(&places, NULL);
    bool found = places_config(&places, cli_value(cli, "config"), config, &err) == 0;
    const struct guardian_options options = { .config = found ? config : handed->config,
                                              .socket = handed->socket,
                                              .verbose = cli_flag(cli, "verbose") };
    return guardian_continue(&options, handed);
}

int cmd_run(struct cli *cli)
{
    char config[PLACES_PATH_MAX], socket[PLACES_PATH_MAX];
    struct config loaded;
    struct places places;
    struct handover handed;
    struct err err = { 0 };

    if (cli->nwords > 0)
        return run_alone(cli);
    if (handover_take(&handed))
        return run_on(cli, &handed);
    places_init(&places, NULL);
    if (places_config(&places, cli_value(cli, "config"), config, &err) < 0) {
        client_tell(&err);
        return CLIENT_FAILED;
    }
    bool ok = config_load(config, &loaded);
    if (!ok)
        config_print_errors(&loaded, stderr);
    int rc = ok ? choose_socket(cli, loaded.plan->supervisor.socket, socket, &err) : 0;
    config_done(&loaded);
    if (!ok)
        return CLIENT_FAILED;
    if (rc < 0) {
        client_tell(&err);
        return CLIENT_FAILED;
    }
#ifdef __GLIBC__
    malloc_trim(0); /* the guardian lives long and needs little */
#endif
    const struct guardian_options options = { .config = config,
                                              .socket = socket,
                                              .verbose = cli_flag(cli, "verbose") };
    return guardian_run(&options);
}
