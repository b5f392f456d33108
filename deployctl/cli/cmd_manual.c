/* cmd_manual.c - deployctl manual: the pages deployctl(1) and deploy.ini(5). */
#include <stdio.h>
#include <string.h>

#include "base/manual.h"
#include "deployctl/cli/app.h"
#include "deployctl/cli/commands.h"

enum { PAGE_MAX = 1024 * 1024 };

static const struct manual_part after_commands[] = {
    { "FILES",
      ".Bl -tag -width Ds\n"
      ".It Pa deploy.ini\nWhat is released, where to and how; see\n.Xr deploy.ini 5 .\n"
      ".It Pa PATH/releases/ID\nOn a host: a release, named by number and digest.\n"
      ".It Pa PATH/current , PATH/previous\nLinks to releases, for people and tools.\n"
      ".It Pa PATH/.deploy/journal\nOn a host: what was asked for and what happened.\n.El\n" },
    { "EXIT STATUS",
      ".Bl -tag -width Ds\n"
      ".It 0\nDone.\n"
      ".It 1\nThe release was judged bad and rolled back.\n"
      ".It 2\nThe command line is wrong.\n"
      ".It 3\nThe configuration is wrong.\n"
      ".It 4\nHosts are unreachable beyond the budget; nothing or only named hosts changed.\n"
      ".It 5\nAnother rollout holds the lock, and is named.\n"
      ".It 6\nHeld, paused, or another rollout is open:\n.Cm promote ,\n.Cm abort\nor\n.Cm resume\n"
      "next.\n"
      ".It 7\nA rollback or unwinding is itself incomplete; the hosts are named.\n.El\n" },
    { "EXAMPLES", ".Bd -literal -offset indent\n"
                  "deployctl init\n"
                  "deployctl plan\n"
                  "deployctl release --canary 10%\n"
                  "deployctl rollback\n"
                  ".Ed\n" },
    { "SEE ALSO", ".Xr deploy.ini 5 ,\n.Xr supervisor 8\n" },
    { NULL, NULL },
};
static const struct manual commands_page = {
    .name = "deployctl",
    .section = "1",
    .summary = "releases to many hosts, with canary and rollback",
    .description =
        "Moves a folder to hosts over ssh, switches their services to it, one canary first and the "
        "others in batches, watches what happens, and brings every host back when a gate says that "
        "the release is bad.\n\n"
        "The hosts are the database: nothing is kept where deployctl runs, and any machine can go "
        "on with what another has begun. A host that was switched and not confirmed goes back by "
        "itself when nobody watches it any more.",
    .after = after_commands,
};

static const struct manual_part after_keys[] = {
    { "EXAMPLES", ".Bd -literal -offset indent\n"
                  "[deploy]\n"
                  "app = shop\n"
                  "source = ./shop\n"
                  "service = shop\n"
                  "[fleet]\n"
                  "hosts = web[01-20].example.net\n"
                  "user = deploy\n"
                  "[canary]\n"
                  "size = 10%\n"
                  "bake = 60s\n"
                  ".Ed\n" },
    { "SEE ALSO", ".Xr deployctl 1\n" },
    { NULL, NULL },
};
static const struct manual keys_page = {
    .name = "deploy.ini",
    .section = "5",
    .summary = "what deployctl releases, where to and how",
    .description = "Sections in brackets, keys and values with = between them. Durations: 500ms, "
                   "10s, 5m, 2h, 1d; a bare number is seconds. A share is a number of hosts or a "
                   "percentage of all that are selected.",
    .after = after_keys,
};

int cmd_manual_run(struct cli *cli)
{
    struct buf page;
    int code = APP_DONE;

    buf_init(&page, PAGE_MAX);
    if (strcmp(cli->words[0], "1") == 0)
        manual_commands(&commands_page, cli->program, &page);
    else if (strcmp(cli->words[0], "5") == 0)
        manual_options(&keys_page, recipe_tables, NULL, &page);
    if (page.len == 0) {
        app_error("there is no page in section %s: 1 (commands) or 5 (deploy.ini)", cli->words[0]);
        code = APP_USAGE;
    } else if (page.failed || fputs(buf_text(&page), stdout) == EOF || fflush(stdout) == EOF) {
        code = APP_BAD;
    }
    buf_done(&page);
    return code;
}
