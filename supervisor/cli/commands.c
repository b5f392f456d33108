/* commands.c - the contract is in commands.h. */
#include "supervisor/cli/commands.h"

#include <unistd.h>

#include "supervisor/cli/complete.h"

static const struct cli_option globals[] = {
    { "socket", 's', "SOCKET", "Control socket: a path, or @NAME for an abstract one." },
    { NULL, 0, NULL, NULL },
};
#define OPTION_JSON                                                                                \
    {                                                                                              \
        "json", 0, NULL, "Print JSON."                                                             \
    }
#define OPTION_CONFIG                                                                              \
    {                                                                                              \
        "config", 'c', "PATH", "A file, or a folder of *.ini and *.conf files."                    \
    }
#define OPTION_WAIT                                                                                \
    {                                                                                              \
        "timeout", 't', "TIME", "How long it may take to become ready."                            \
    }
#define OPTION_END                                                                                 \
    {                                                                                              \
        NULL, 0, NULL, NULL                                                                        \
    }
static const struct cli_option run_options[] = { OPTION_CONFIG,
                                                 { "verbose", 'v', NULL, "Log more." },
                                                 OPTION_END };
static const struct cli_option check_options[] = {
    { "release", 0, "DIR", "With what the release in this folder says (release_config)." },
    { "access", 0, "USER", "Tell what this user may do, when there are no errors." },
    OPTION_CONFIG,
    OPTION_JSON,
    OPTION_END
};
static const struct cli_option doctor_options[] = { OPTION_CONFIG, OPTION_JSON, OPTION_END };
static const struct cli_option json_options[] = { OPTION_JSON, OPTION_END };
static const struct cli_option order_options[] = {
    { "no-wait", 0, NULL, "Give the order and leave." }, OPTION_JSON, OPTION_END
};
static const struct cli_option reload_options[] = {
    { "plan", 0, NULL, "Only show what would happen, to each instance; changes nothing." },
    { "no-restart", 0, NULL, "What takes a restart waits for the next one." },
    { "undo", 0, NULL, "Back to the configuration before the last reload." },
    { "no-wait", 0, NULL, "With names: give the order and leave." },
    OPTION_JSON,
    OPTION_END
};
static const struct cli_option logs_options[] = {
    { "follow", 'f', NULL, "Go on as it is written." },
    { "lines", 'n', "LINES",
      "How many of the last lines; 10 if not given, all with --since or --grep." },
    { "since", 0, "TIME", "Only lines from then on: 10m, 14:05, 2026-11-24 14:05, or RFC 3339." },
    { "grep", 'g', "REGEX", "Only lines that match this extended regular expression." },
    { "stderr", 0, NULL, "Standard error instead of standard output." },
    { "both", 0, NULL, "Standard output and standard error." },
    OPTION_END
};
static const struct cli_option events_options[] = {
    { "follow", 'f', NULL, "Go on with what comes; without --since only that." },
    { "since", 0, "SEQ", "Begin with the event of this number." },
    { "only", 0, "KINDS", "Only events of these kinds, as patterns: \"exit log-*\"." },
    { "of", 0, "NAMES", "Only events about these services or instances, as patterns." },
    { "resume", 0, "FILE", "Remember in FILE what was taken, and go on behind that." },
    { "as", 0, "NAME", "As --resume, but the supervisor remembers it for the service NAME." },
    { "acks", 0, NULL, "Taken is what the command has acknowledged by number." },
    OPTION_END
};
static const struct cli_option switch_options[] = {
    { "confirm-within", 0, "TIME", "Undo it unless it is confirmed in this time." },
    OPTION_WAIT,
    OPTION_JSON,
    OPTION_END
};
static const struct cli_option rollback_options[] = {
    { "to", 0, "RELEASE", "This one, not the last other one that was good." },
    OPTION_WAIT,
    OPTION_JSON,
    OPTION_END
};
static const struct cli_option shutdown_options[] = {
    { "poweroff", 0, NULL, "Then switch the host off (as its init only)." },
    { "reboot", 0, NULL, "Then restart the host." },
    { "halt", 0, NULL, "Then halt the host." },
    { "keep-services", 0, NULL,
      "Leave the services alone: the service manager (systemd) keeps what they need and starts the "
      "supervisor anew." },
    OPTION_END
};
static const struct cli_option recover_options[] = { { "force", 0, NULL, "Also when it answers." },
                                                     OPTION_END };
static const struct cli_option top_options[] = {
    { "once", '1', NULL, "Print one table and leave." },
    { "interval", 'i', "TIME", "Time between two looks; 2s." },
    OPTION_JSON,
    OPTION_END
};
static const struct cli_option options_options[] = {
    { "sample", 0, NULL, "Print a commented sample configuration." }, OPTION_END
};

#define NAMES_NOTE                                                                                 \
    "\n\nNAME is a service (web: all its instances), an instance (web:0), a group "                \
    "(GROUP:*), or all."
#define ORDER_NOTE                                                                                 \
    "\n\nWaits until it is done. Exit code: 0 done, 1 failed (with the reason and "                \
    "the last lines of output), 4 unknown name or no supervisor."
#define SET_NOTE                                                                                   \
    "\n\nNAME is any service of the release set: all services with the same release "              \
    "folder. Exit code: 0 done, 1 undone or failed, 4 unknown name or no supervisor."

static const struct cli_command commands[] = {
    /* clang-format off */
    { .name = "run", .words = "[-- COMMAND [ARG...]]", .options = run_options, .run = cmd_run,
      .help = "Run in the foreground: start services and keep them running.\n\n"
              "With a COMMAND only that one is run, as the entrypoint of a container; leaves with "
              "its exit code.\n\n"
              "The configuration is -c, else /etc/supervisor/supervisor.ini, else "
              "/etc/supervisor/conf.d.\n\n"
              "The socket is -s, else $SUPERVISOR_SOCKET, else the key socket, else "
              "/run/supervisor/control.sock, else $XDG_RUNTIME_DIR/supervisor/control.sock, else "
              "/tmp/supervisor-UID/control.sock, else the abstract @supervisor-UID.\n\n"
              "Below a service manager that sets $NOTIFY_SOCKET (systemd with Type=notify) it tells "
              "READY=1 when nothing is on its way any more, after 60 s in any case, and how it goes "
              "from then on; with $WATCHDOG_USEC also that it lives." },
    { .name = "check", .words = "", .options = check_options, .run = cmd_check,
      .help = "Validate a configuration without running it.\n\n"
              "Every error is a line FILE:LINE: message; warnings are what works but is most "
              "likely not meant. With --json every service with the value of each key, and where "
              "it was given. With --access what a user may do by [access:NAME], control_group and "
              "control_read. With --release as it would be with that release: a folder below releases/, or "
              "one that is to become a release. Exit code: 0 no errors, 1 errors." },
    { .name = "doctor", .words = "", .options = doctor_options, .run = cmd_doctor,
      .help = "Tell which guarantees hold here, which do not, why, and what to do about it.\n\n"
              "Asks the supervisor that runs; without one, or with -c, it looks as if one were "
              "started here. Exit code: 0 all that the configuration needs is there, 1 some of it "
              "is missing." },
    { .name = "status", .words = "[NAME...]", .options = json_options,
      .run = cmd_status, .complete = complete_names,
      .help = "Show what runs.\n\n"
              "Exit code: 0 all that is wanted is running and ready, 3 some of it is not, 4 "
              "unknown name or no supervisor. What was stopped by an order is not wanted; what "
              "ended as it should counts as well, and a scheduled service counts by how its last "
              "run ended." NAMES_NOTE },
    { .name = "top", .words = "", .options = top_options, .run = cmd_top,
      .help = "Show what instances use: processor, memory, processes.\n\n"
              "On a terminal it is a live table; q leaves. CPU% is per cent of one core. A process "
              "counts for the instance in whose session it is or from which it descends." },
    { .name = "why", .words = "NAME...", .options = json_options, .min_words = 1,
      .run = cmd_why, .complete = complete_names,
      .help = "Explain the state of a service: reason, last exits, orders, output." NAMES_NOTE },
    { .name = "start", .words = "NAME...", .options = order_options,
      .run = cmd_start, .complete = complete_names,
      .help = "Start services and what they require.\n\n"
              "A scheduled service that is asked for by its name runs now, and its times count "
              "again if it was stopped; as one of all or of a group only its times count "
              "again." ORDER_NOTE NAMES_NOTE },
    { .name = "stop", .words = "NAME...", .options = order_options,
      .run = cmd_stop, .complete = complete_names,
      .help = "Stop services, with all of their processes.\n\n"
              "A scheduled service is suspended as well: its times do not count until it is "
              "started." ORDER_NOTE NAMES_NOTE },
    { .name = "restart", .words = "NAME...", .options = order_options,
      .run = cmd_restart, .complete = complete_names,
      .help = "Restart services, as their restart_mode says." ORDER_NOTE NAMES_NOTE },
    { .name = "signal", .words = "SIGNAL NAME...", .min_words = 1,
      .run = cmd_signal, .complete = complete_signal,
      .help = "Send a signal (HUP, SIGUSR1, 10) to main processes." NAMES_NOTE },
    { .name = "scale", .words = "NAME=N...", .min_words = 1,
      .run = cmd_scale, .complete = complete_scale,
      .help = "Set the number of instances; kept across restarts. Of several services all or "
              "none are changed." },
    { .name = "reload", .words = "[NAME...]", .options = reload_options, .run = cmd_reload,
      .complete = complete_names,
      .help = "Apply changed files; or ask services to read their own files again.\n\n"
              "Without a name: what has changed in the files is applied to what runs where that is "
              "possible, and only what was started with something else is restarted ('supervisor "
              "options KEY' tells which). What an order has stopped stays stopped. With errors in "
              "the files nothing is changed. --undo leaves the files as they are and applies what "
              "they said before; --undo again takes that back. Scales stay. After --no-restart the "
              "next reload without it, or a restart, catches up.\n\n"
              "With names: sends their reload_signal (systemctl reload), and with ready = notify "
              "waits until they are ready again.\n\n"
              "Exit code: 0 done (with --plan: there are no errors), 1 errors in the files, or some "
              "of it could not be done, 4 unknown name or no supervisor. For scripts: \"interrupts\" "
              "of --plan --json is the number of processes that would be ended." NAMES_NOTE },
    { .name = "logs", .words = "NAME...", .options = logs_options, .min_words = 1,
      .run = cmd_logs, .complete = complete_names,
      .help = "Print the output of services.\n\n"
              "Reads the log files, also rotated and compressed ones. Lines of several instances "
              "are put in the order of their times, each behind the name of its instance. --since "
              "needs the times that log_format = plain and json write; of raw logs it prints the "
              "files that were written to since then. Who has the right to logs, but may not read "
              "the files, is told the last lines by the supervisor." NAMES_NOTE },
    { .name = "events", .words = "[-- COMMAND...]", .options = events_options, .run = cmd_events,
      .help = "Print what happened as JSON lines.\n\n"
              "Without options all that is still recorded.\n\n"
              "With a command it becomes that command, which gets the events (past and coming) on "
              "its standard input: as the command of a service, a helper that is supervised. With "
              "--resume or --as it goes on behind what was taken, also after a crash: what the "
              "command has read from its input, or with --acks the numbers (\"seq\") that it writes, one a "
              "line, to descriptor 3 (SUPERVISOR_ACK_FD)." },
    { .name = "switch", .words = "NAME RELEASE", .options = switch_options, .min_words = 2,
      .max_words = 2,
      .run = cmd_switch, .complete = complete_services,
      .help = "Make services run another release; undone if it does not become ready." SET_NOTE },
    { .name = "confirm", .words = "NAME RELEASE", .min_words = 2, .max_words = 2,
      .run = cmd_confirm, .complete = complete_services,
      .help = "Keep a release that was switched to with --confirm-within." SET_NOTE },
    { .name = "rollback", .words = "NAME", .options = rollback_options, .min_words = 1,
      .max_words = 1,
      .run = cmd_rollback, .complete = complete_services,
      .help = "Go back to the last other release that was good." SET_NOTE },
    { .name = "shutdown", .words = "", .options = shutdown_options, .run = cmd_shutdown,
      .help = "Stop all services in order and leave; waits until all is gone." },
    { .name = "upgrade", .words = "[BINARY]", .options = NULL, .max_words = 1,
      .run = cmd_upgrade, .complete = complete_files,
      .help = "Replace the running supervisor by a new binary, services untouched.\n\n"
              "Without BINARY the file it was started from. The new one is tested first; if that "
              "fails nothing is changed." },
    { .name = "recover", .words = "", .options = recover_options, .run = cmd_recover,
      .help = "Replace a core that does not answer, services untouched." },
    { .name = "options", .words = "[KEY]", .options = options_options, .max_words = 1,
      .run = cmd_options, .complete = complete_keys,
      .help = "Explain every key of the configuration, or one." },
    { .name = "utmp", .words = "boot", .min_words = 1, .max_words = 1, .run = cmd_utmp,
      .hidden = true, .help = "Write the record of a boot (utmp, wtmp); for a oneshot service." },
    { .name = "manual", .words = "8|5", .min_words = 1, .max_words = 1, .run = cmd_manual,
      .hidden = true, .help = "Print a manual page: supervisor(8) or supervisor.ini(5)." },
    /* clang-format on */
};

int commands_main(int argc, char **argv)
{
    const struct cli_program program = {
        .name = "supervisor",
        .version = VERSION,
        .help = "Keep services running, on a host or in a container.\n\n"
                "NAME is a service (web: all its instances), an instance (web:0), a group "
                "(GROUP:*), or all.",
        .globals = globals,
        .commands = commands,
        .ncommands = sizeof commands / sizeof *commands,
        .default_command = getpid() == 1 ? "run" : NULL,
    };

    return cli_main(&program, argc, argv, NULL);
}
