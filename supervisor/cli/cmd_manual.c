/* cmd_manual.c - supervisor manual: the pages supervisor(8) and supervisor.ini(5). */
#include <string.h>

#include "base/manual.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/plan/options.h"

enum { PAGE_MAX = 1024 * 1024 };

static const struct manual_part after_commands[] = {
    { "ENVIRONMENT", ".Bl -tag -width Ds\n"
                     ".It Ev SUPERVISOR_SOCKET\nThe control socket, where\n.Fl s\nis not given.\n"
                     ".It Ev NOTIFY_SOCKET , WATCHDOG_USEC\nSet by a service manager that wants to "
                     "know how it goes (sd_notify).\n"
                     ".It Ev NO_COLOR\nNothing is coloured.\n.El\n" },
    { "FILES",
      ".Bl -tag -width Ds\n"
      ".It Pa /etc/supervisor/supervisor.ini\nThe configuration; without it every\n.Pa *.ini\nand\n"
      ".Pa *.conf\nin\n.Pa /etc/supervisor/conf.d .\n"
      ".It Pa /run/supervisor/control.sock\nThe control socket.\n"
      ".It Pa /var/lib/supervisor\nWhich release each service runs, and how many instances.\n"
      ".It Pa /var/log/supervisor\nThe output of services.\n.El\n" },
    { "SIGNALS", "As init of a host, TERM, INT (ctrl-alt-del) and RTMIN+5 reboot; PWR, USR2 and "
                 "RTMIN+4 power\n"
                 "off; USR1 and RTMIN+3 halt.\n"
                 "Everywhere else all of these stop the services in order and leave.\n"
                 "A second TERM hurries.\n"
                 "HUP reloads the configuration.\n" },
    { "AS INIT OF A HOST",
      "As process 1 of a host it mounts what is missing of\n.Pa /proc , /sys , /dev , /run\nand\n"
      ".Pa /sys/fs/cgroup ,\nand leaves the rest of a boot to services of type\n"
      ".Ic oneshot .\n"
      ".Pp\nIt never leaves: where it cannot start, the reason and a shell\n(sulogin, else sh)\n"
      "come on the console, and at the end of the shell it tries again.\n"
      "The word\n.Li single , emergency\nor\n.Li rescue\non the kernel's command line asks for "
      "that shell before anything is started.\n"
      ".Pp\nAt the end all processes are killed, disks synced, file systems unmounted or, as the "
      "root,\nmade read-only; after at most 60 seconds the machine goes down without.\n"
      "A kernel loaded by kexec is what a reboot starts.\n"
      ".Pp\nUnder the names poweroff, reboot, halt, shutdown and telinit (links) it does what "
      "these "
      "do;\neach knows\n.Fl -help .\n"
      "A shutdown that is to come later is waited for in the foreground.\n" },
    { "EXIT STATUS",
      ".Bl -tag -width Ds\n"
      ".It 0\nDone; all that was asked for is so.\n"
      ".It 1\nFailed, and the reason was told.\n"
      ".It 2\nThe command line is wrong.\n"
      ".It 3\n.Cm status :\nsomething that is wanted is not running and ready.\n"
      ".It 4\nUnknown name, or no supervisor.\n.El\n"
      ".Pp\n.Cm run\nleaves with 0 after an orderly shutdown; with\n.Ic on_exit = shutdown\n"
      "with the code of that service, 128+N for a signal.\n" },
    { "EXAMPLES", ".Bd -literal -offset indent\n"
                  "supervisor check\n"
                  "supervisor status\n"
                  "supervisor why web\n"
                  "supervisor logs web -f\n"
                  "supervisor reload --plan\n"
                  ".Ed\n" },
    { "SEE ALSO", ".Xr deployctl 1 ,\n.Xr supervisor.ini 5\n" },
    { NULL, NULL },
};
static const struct manual commands_page = {
    .name = "supervisor",
    .section = "8",
    .summary = "keep services running, on a host or in a container",
    .description =
        "Starts services in order, restarts them with a growing delay, probes their health, owns "
        "their listening sockets, captures their output, and decides which release each of them "
        "runs. It can be process 1.\n\n"
        "Three processes share the work: the guardian, which is the parent of everything and uses "
        "nothing but the C library; the core, which decides; and the logger. Killing core or "
        "logger "
        "at any moment stops no service, loses no exit status and no line of output.",
    .after = after_commands,
};

static const struct manual_part before_keys[] = {
    { "FORMAT",
      "Sections in brackets, keys and values with = between them; a line that begins with a blank\n"
      "continues the value before it.\n"
      "A comment is a line that begins with ; or #, or what follows one of them after white space\n"
      "outside quotes.\n"
      ".Pp\n"
      "Durations: 500ms, 10s, 5m, 2h, 1d; a bare number is seconds.\n"
      "Sizes: KB, MB, GB (1024).\n"
      "Booleans: true, yes, on, 1; false, no, off, 0.\n"
      ".Pp\n"
      "In values these are replaced: %(here)s (folder of the file), %(program_name)s,\n"
      "%(group_name)s, %(process_num)02d, %(numprocs)d, %(host_node_name)s, %(ENV_X)s,\n"
      "%(release_dir)s, %(release_id)s; %% is a percent sign.\n"
      ".Pp\n"
      "An unknown section or key, and a key given twice, is an error that names the nearest right\n"
      "one.\n"
      "In the sections of supervisord ([program:], [group:], [supervisord] and so on) the rules "
      "of\n"
      "supervisord hold instead, so that its files load unchanged.\n" },
    { NULL, NULL },
};
static const struct manual_part after_keys[] = {
    { "EXAMPLES", ".Bd -literal -offset indent\n"
                  "[service:web]\n"
                  "command = /usr/bin/python3 -m http.server 8080\n"
                  "user = www-data\n"
                  "directory = /srv/site\n"
                  "ready = http://127.0.0.1:8080/\n"
                  ".Ed\n" },
    { "SEE ALSO", ".Xr supervisor 8\n" },
    { NULL, NULL },
};
static const struct manual keys_page = {
    .name = "supervisor.ini",
    .section = "5",
    .summary = "configuration of supervisor",
    .description =
        "One file, or a folder of *.ini and *.conf files. `supervisor check` tells every "
        "mistake with its file and line, `supervisor reload --plan` what a change would "
        "do.",
    .before = before_keys,
    .after = after_keys,
};

static void note(const struct opt_table *table, const struct opt *row, struct buf *out)
{
    const char *program = table == &options_service ? options_program_initial(row->key) : NULL;

    if (program)
        buf_printf(out, ".br\nDefault in [program:NAME]: %s\n", program);
    if (table != &options_service)
        return;
    buf_printf(out, ".br\n%s\n", options_takes(row));
}

int cmd_manual(struct cli *cli)
{
    struct buf page;
    int code;

    buf_init(&page, PAGE_MAX);
    if (strcmp(cli->words[0], "8") == 0)
        manual_commands(&commands_page, cli->program, &page);
    else if (strcmp(cli->words[0], "5") == 0)
        manual_options(&keys_page, options_all, note, &page);
    if (page.len == 0) {
        client_say("there is no page in section %s: 8 (commands) or 5 (configuration)",
                   cli->words[0]);
        code = CLIENT_USAGE;
    } else {
        code = page.failed ? CLIENT_FAILED : client_print(buf_text(&page));
    }
    buf_done(&page);
    return code;
}
