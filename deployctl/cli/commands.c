/* commands.c - the table of commands; the contract is in commands.h. */
#include "deployctl/cli/commands.h"

#include <signal.h>

#include "deployctl/cli/app.h"
#include "deployctl/cli/complete.h"

static void complete_keys(struct cli *cli, struct cli_offers *offers)
{
    if (cli->nwords > 0)
        return;
    for (size_t t = 0; recipe_tables[t]; t++)
        for (size_t i = 0; i < recipe_tables[t]->count; i++)
            cli_offer(offers, recipe_tables[t]->rows[i].key, recipe_tables[t]->rows[i].help);
}

static void complete_source(struct cli *cli, struct cli_offers *offers)
{
    if (cli->nwords == 0)
        cli_offer_files(offers);
}

/* clang-format off */
static const struct cli_command commands[] = {
    { .name = "init", .words = "", .run = cmd_init_run,
      .help = "Write a commented deploy.ini.\n\nExisting files are kept." },
    { .name = "bootstrap", .words = "[HOST...]",
      .run = cmd_bootstrap_run, .complete = complete_hosts, .options = cmd_bootstrap_options,
      .help = "Make hosts ready for releases, over ssh.\n\nBoth programs, the user and group that "
              "deploy, the folder of the app, a configuration of the supervisor (and "
              "`service_file`), its service for systemd or init, and the start of it: whatever a "
              "host lacks. Without HOST every host of deploy.ini. It tells first what it will do, and "
              "asks on a terminal; what is there is not touched, so a second run does nothing. The "
              "login by ssh must work before: as root, or with --sudo as the user of deploy.ini. "
              "Exit codes: 0 done, 2 usage, 3 a host cannot be made ready or a step failed, 4 hosts "
              "are unreachable." },
    { .name = "plan", .words = "[SOURCE]", .max_words = 1,
      .run = cmd_plan_run, .complete = complete_source,
      .options = cmd_release_options,
      .help = "Show what a release would do.\n\nHosts, order, capacity floor, bytes, predicted "
              "time; changes nothing." },
    { .name = "release", .words = "[SOURCE]", .max_words = 1,
      .run = cmd_release_run, .complete = complete_source,
      .options = cmd_release_options,
      .help = "Release a folder or an archive: stage everywhere, canary, bake, batches.\n\nAn archive (.tar, "
              ".tar.gz, .tar.zst) is the same release as the folder it was made from. One that a "
              "gate judges bad is brought back everywhere. Exit codes: 0 done, 1 bad and "
              "rolled back, 3 configuration, 4 hosts unreachable or not able to take part, 5 "
              "somebody else is at work, 6 held, frozen, paused or inconclusive, 7 hosts need attention." },
    { .name = "simulate", .words = "[SOURCE]", .max_words = 1,
      .run = cmd_simulate_run, .complete = complete_source,
      .options = cmd_simulate_options,
      .help = "Tell how a release would go, with hosts that are simulated.\n\nReads deploy.ini "
              "and contacts nobody; SOURCE is not read. The decisions are those of release. "
              "Without --fail all goes well: who is canary, the batches, how many hosts are out "
              "at once, how long it takes. --fail web3=switch tells what would happen then, "
              "--rounds tries random faults, orders and deaths of deployctl. Exit codes: 0 "
              "simulated, whatever came of it; 1 a promise was broken, which is a fault of "
              "deployctl." },
    { .name = "rollback", .words = "[SOURCE]", .max_words = 1, .run = cmd_rollback_run,
      .options = cmd_rollback_options, .complete = complete_source,
      .help = "Go back to the last good release.\n\nNo bytes travel, except with --stage, when "
              "SOURCE must be the very release. With an open rollout it is the same as abort. "
              "It says beforehand what it brings back and what not, and over a release that was "
              "marked with --irreversible it wants --yes. Exit codes: 0 done, 3 there is nothing "
              "to go back to, or it was not allowed, 7 hosts need attention." },
    { .name = "promote", .words = "", .run = cmd_order_promote,
      .help = "Go on with a held or paused rollout; its canary counts as good." },
    { .name = "resume", .words = "[SOURCE]", .max_words = 1,
      .run = cmd_order_resume, .complete = complete_source,
      .options = cmd_order_resume_options,
      .help = "Go on with a rollout that stopped.\n\nWithout one, hosts that are not on the "
              "fleet's release are brought to it." },
    { .name = "abort", .words = "", .run = cmd_order_abort,
      .help = "Undo an open rollout on every host." },
    { .name = "pause", .words = "", .run = cmd_order_pause,
      .help = "Stop an open rollout where it is; it stays open." },
    { .name = "freeze", .words = "", .run = cmd_freeze_run, .options = cmd_freeze_options,
      .help = "Let nothing new be released to the hosts, until a time or until unfreeze.\n\nKept on "
              "the hosts, so it holds for everybody, wherever they release from: they are told who, "
              "since when, until when and why. Ways back stay open: rollback, abort and pause work, "
              "and a rollout that is open goes on. `release --despite-freeze` is for whoever must, "
              "and is kept in the journal. Exit codes: 0 frozen, 3 a host could not be, 4 hosts are "
              "unreachable and not frozen." },
    { .name = "unfreeze", .words = "", .run = cmd_unfreeze_run,
      .help = "Let releases through again." },
    { .name = "status", .words = "", .run = cmd_view_status,
      .help = "What every host runs.\n\nExit codes: 0 all as it should be, 1 unhealthy hosts, "
              "4 stale or unreachable hosts, 6 a rollout is open." },
    { .name = "history", .words = "", .run = cmd_view_history,
      .options = cmd_view_history_options,
      .help = "What happened, from the journals of all hosts." },
    { .name = "why", .words = "[RELEASE]", .max_words = 1, .run = cmd_why_run,
      .complete = complete_releases,
      .help = "Why a release went as it did: its verdict, with every number.\n\nOf the last "
              "rollout, or of the release that is named. From the journals of the hosts, so "
              "from any machine. The method: doc/verdict.md." },
    { .name = "logs", .words = "[SERVICE...]", .run = cmd_logs_run, .options = cmd_logs_options,
      .complete = complete_services,
      .help = "What the services print, on all hosts together, in the order of time.\n\nOf the services "
              "of deploy.ini, or those that are named. The order is that of the times that log_format "
              "= plain and json write. With -f a host that is lost is told and connected to again, and "
              "goes on where it was; a slow one holds up nobody. (-f is --follow here: another recipe is "
              "named with --file.) Who has the supervisor's right to logs "
              "sees them. Exit codes: 0 done, 4 hosts could not be asked, 130 ended by Ctrl-C." },
    { .name = "verify", .words = "[RELEASE]", .max_words = 1, .run = cmd_verify_run,
      .complete = complete_releases,
      .options = cmd_verify_options,
      .help = "Whether what lies on the hosts is still what was released.\n\nReads every file "
              "of the release that each host runs (or the one that is named) and compares it "
              "with its manifest. Links to shared folders and files belong to it. Exit codes: "
              "0 nothing differs, 1 files are missing, changed or were added, 3 no host has it, 4 hosts could "
              "not be asked." },
    { .name = "diff", .words = "[A [B]]", .max_words = 2, .run = cmd_diff_run,
      .complete = complete_releases,
      .options = cmd_diff_options,
      .help = "What changes from release A to release B, file by file.\n\nA and B are ids, "
              "numbers or digests; without B it is SOURCE of deploy.ini, without A what the "
              "fleet runs. Compares manifests, on a host that has them; files that are shared "
              "are not part of a release. Hooks that changed are told, too. Exit codes: 0 "
              "nothing differs, 1 something does, 3 no host has them, 4 no host could be asked." },
    { .name = "hosts", .words = "", .run = cmd_view_hosts,
      .help = "The hosts, how they are reached, and whether they can take a release.\n\nLogin, agent, "
              "supervisor and the right to give it orders, folder, space, clock, release; below the "
              "table what is missing and what to do. Exit codes: 0 all can, 3 something is missing, "
              "4 hosts are unreachable." },
    { .name = "keygen", .words = "FILE", .min_words = 1, .max_words = 1, .run = cmd_keygen_run,
      .complete = complete_source,
      .help = "Make a key to sign releases with, and print its public part.\n\nFILE becomes "
              "signing_key in [deploy]; the line that is printed goes into the section [trust] "
              "(or [trust:/srv/APP], for one app) of /etc/deployctl/trust.ini on each host, "
              "which root alone may write. A file that is there is kept. See doc/signing.md." },
    { .name = "agent-check", .words = "PATH", .min_words = 1, .max_words = 1,
      .run = cmd_agent_check_run, .options = cmd_agent_check_options,
      .help = "Answer a load balancer's agent-check on a host.\n\nRuns there as a service of the "
              "supervisor, as any user who may read PATH/.deploy: says drain while a host with "
              "[drain] is about to restart, else ready. HAProxy: agent-check agent-port 5500. "
              "Set up: doc/traffic.md." },
    { .name = "options", .words = "[KEY]", .max_words = 1,
      .run = cmd_options_run, .complete = complete_keys,
      .help = "Every key of deploy.ini with its meaning and default." },
    { .name = "manual", .words = "1|5", .min_words = 1, .max_words = 1, .hidden = true,
      .run = cmd_manual_run, .help = "Print a manual page: deployctl(1) or deploy.ini(5)." },
    { .name = "agent", .words = "PATH|verify DIR", .min_words = 1, .max_words = 2, .hidden = true,
      .run = cmd_agent_run, .options = cmd_agent_options,
      .help = "The other end of a connection; not for people.\n\n`agent verify DIR` compares a "
              "release on this host with its manifest: DIR is its folder, or that of the app "
              "(then the release that current leads to). Exit codes: 0 it is what was released, "
              "1 files are missing or changed, 2 it cannot be told." },
};
/* clang-format on */

int commands_main(int argc, char **argv)
{
    static const struct cli_program program = {
        .name = "deployctl",
        .version = VERSION,
        .help = "Releases to many hosts, with canary and rollback.",
        .globals = app_globals,
        .commands = commands,
        .ncommands = sizeof commands / sizeof commands[0],
        .complete_value = complete_value,
    };
    signal(SIGPIPE, SIG_IGN);
    return cli_main(&program, argc, argv, NULL);
}
